import json
import math
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engines.events import Event, EventKind, EventState
from streamer.errors import SessionError
from streamer.review.annotations import Annotations, Course, Edit, review
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


COURSE = Course(
    onset_s=1.0, apex_s=1.1, offset_s=1.25, onset_frame=60, apex_frame=66, offset_frame=75
)
FOUND = Event(1, EventState.CLOSED, 0.5, 0.6, 1.2, 30, 36, 72, 9.0, (), kind=EventKind.MACRO)


def edit(action, who="Ada", **more):
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Edit(event=1, action=action, who=who, when_utc=now, **more)


SAID = [
    edit("confirm"),
    edit("reject", who="Bob"),
    edit("relabel", emotion="surprise"),
    edit("move", course=COURSE),
    edit("note", note="left brow"),
]


def test_times_that_were_moved_decide_the_kind():
    (moved,) = review([FOUND], [edit("move", course=COURSE)])
    assert moved.moved
    assert moved.event.kind is EventKind.MICRO
    assert (moved.event.onset_frame, moved.event.offset_s) == (60, 1.25)
    assert moved.as_found() == review([FOUND], [])[0]


def test_one_reviewer_can_be_listened_to_alone():
    said = [edit("reject", who="Bob"), edit("confirm", who="Ada")]
    assert review([FOUND], said, "Bob")[0].rejected
    assert not review([FOUND], said)[0].rejected


@pytest.mark.parametrize(
    "times",
    [{"apex_s": 0.9}, {"offset_s": 1.0, "apex_s": 1.0}, {"onset_s": -1.0}, {"offset_s": math.inf}],
)
def test_a_course_is_in_order(times):
    with pytest.raises(ValidationError):
        Course.model_validate({**COURSE.model_dump(), **times})


@given(st.lists(st.sampled_from(SAID), max_size=6), st.lists(st.sampled_from(SAID), min_size=1))
def test_what_is_taken_back_might_never_have_been_said_and_can_be_said_again(before, after):
    everything = [*before, *after]
    lines = range(len(everything), len(before), -1)
    undone = [*everything, *(edit("undo", undoes=line) for line in lines)]
    assert review([FOUND], undone) == review([FOUND], before)
    redone = [*undone]
    for line in range(len(undone), len(everything), -1):
        redone.append(edit("undo", undoes=line))
    assert review([FOUND], redone) == review([FOUND], everything)
