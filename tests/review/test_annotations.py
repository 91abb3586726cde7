import json

import pytest

from streamer.errors import SessionError
from streamer.review.annotations import Annotations
from streamer.review.session_reader import read_session


def test_the_last_word_counts_and_nothing_is_overwritten(session):
    found = (session / "events.jsonl").read_bytes()
    first, second, *rest = read_session(session).events
    annotations = Annotations(session)
    annotations.confirm(first.id, "Ada")
    annotations.reject(first.id, "Bob", note="a yawn")
    annotations.relabel(second.id, "Ada", "contempt")
    annotations.relabel(second.id, "Ada", "surprise")
    annotations.note(second.id, "Bob", "see the left brow")
    # Another program goes on with the same file.
    Annotations(session).confirm(second.id, "Bob")

    assert (session / "events.jsonl").read_bytes() == found
    lines = (session / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["action"] for line in lines] == [
        *("confirm", "reject", "relabel", "relabel", "note", "confirm")
    ]
    reviewed = read_session(session).reviewed()
    assert reviewed[0].rejected
    assert reviewed[0].notes == ("a yawn (Bob)",)
    assert reviewed[1].verdict == "confirmed"
    assert reviewed[1].event.emotion == "surprise"
    assert reviewed[1].found_emotion == second.emotion
    assert reviewed[1].reviewers == ("Ada", "Bob")
    whole = read_session(session)
    assert [each.event.id for each in whole.kept()] == [second.id, *(e.id for e in rest)]
    summary = whole.review_summary()
    assert summary.startswith("Reviewed by Ada, Bob: ")
    assert "1 confirmed, 1 rejected, 1 given another emotion" in summary


def test_nobody_has_looked(session):
    assert Annotations(session).read() == ()
    assert read_session(session).review_summary() == "No reviewer has looked at the events."


def test_a_torn_line_is_left_out_said_and_replaced(session):
    annotations = Annotations(session)
    annotations.confirm(1, "Ada")
    with annotations.path.open("ab") as file:
        file.write(b'{"event": 1, "acti')
    assert len(annotations.read()) == 1
    assert any("annotations.jsonl was cut off" in note for note in read_session(session).notes)
    annotations.reject(1, "Ada")
    assert [edit.action for edit in annotations.read()] == ["confirm", "reject"]
    assert read_session(session).notes == ()


def test_an_edit_that_says_nothing_is_refused(session):
    annotations = Annotations(session)
    with pytest.raises(SessionError, match="no annotation"):
        annotations.note(1, "Ada", "")
    with pytest.raises(SessionError, match="no annotation"):
        annotations.confirm(1, "")
    with pytest.raises(SessionError, match="no annotation"):
        annotations.note(1, "Ada", "a bell \x07")
    assert not annotations.path.exists()


def test_edits_of_an_unknown_event_are_said(session):
    Annotations(session).confirm(99, "Ada")
    assert "event 99, which the session does not hold" in read_session(session).notes[0]


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(SessionError, match="cannot be written"):
        Annotations(tmp_path / "gone").confirm(1, "Ada")
