import json
import os

import numpy as np
import pytest

from engines.evaluation.spotting import read_intervals
from engines.events import EventState
from streamer.cli import main
from streamer.errors import SessionError
from streamer.review.session_reader import is_session, read_frames, read_session


def test_a_session_is_read_as_it_was_written(recorded):
    session = read_session(recorded)
    assert session.name == "P07 first"
    assert session.subject == "P07"
    assert session.end_state == "finished"
    assert session.fps_nominal == 60.0
    assert session.started.tzinfo is not None
    assert session.recording == recorded / "recording"
    assert session.lost == {}
    assert session.notes == ()
    intervals = read_intervals(recorded / "events.jsonl")
    assert len(session.events) == len(intervals) > 1
    for event, interval in zip(session.events, intervals, strict=True):
        assert event.state is EventState.CLOSED
        assert (event.kind, event.onset_s, event.offset_s) == (
            interval.kind,
            interval.onset_s,
            interval.offset_s,
        )
    assert session.truth is not None
    assert len(session.truth) == len(read_intervals(recorded / "truth.jsonl"))


def test_a_subject_is_a_pseudonym(capsys):
    assert main(["--subject", "Ada Lovelace", "--headless"]) == 2
    assert "subject in the options is not usable" in capsys.readouterr().err


def test_frames_are_read_with_their_empty_cells(recorded):
    frames = read_frames(recorded)
    lines = (recorded / "frames.csv").read_text().splitlines()
    assert frames.values.shape == (360, lines[0].count(",") + 1)
    assert not frames.torn
    first = lines[1].split(",")
    for name, cell, value in zip(frames.names, first, frames.values[0], strict=True):
        assert np.isnan(value) if cell == "" else value == float(cell), name
    chosen = read_frames(recorded, ("score", "timestamp"))
    assert np.array_equal(chosen["timestamp"], frames["timestamp"])
    assert chosen.values.shape == (360, 2)


@pytest.mark.parametrize("cells", [",,", "1,,3", ",2,", ",,3", "1,,"])
def test_every_place_of_an_empty_cell(tmp_path, cells):
    (tmp_path / "frames.csv").write_text(f"a,b,c\n{cells}\n")
    row = read_frames(tmp_path).values[0]
    assert ["" if np.isnan(v) else f"{v:g}" for v in row] == cells.split(",")


def test_a_session_that_broke_off_is_read_up_to_there(session):
    document = json.loads((session / "session.json").read_text())
    (session / "session.json").write_text(json.dumps({**document, "end_state": "running"}))
    (session / "metrics.json").unlink()
    assert "still running" in " ".join(read_session(session).notes)
    for name in ("events.jsonl", "frames.csv", "truth.jsonl"):
        data = (session / name).read_bytes()
        (session / name).write_bytes(data[:-10])
    for path in session.iterdir():
        os.utime(path, (1e9, 1e9))
    whole = read_session(session)
    notes = " ".join(whole.notes)
    assert "program was killed" in notes
    assert "losses are not known" in notes
    assert "events.jsonl was cut off" in notes
    assert "truth.jsonl was cut off" in notes
    assert whole.lost == {}
    frames = read_frames(session)
    assert frames.torn
    assert len(frames.values) == 359


def test_a_session_that_ended_at_its_start(session):
    for name in ("events.jsonl", "frames.csv"):
        (session / name).write_text("")
    assert read_session(session).events == ()
    assert read_frames(session).values.shape == (0, 0)
    (session / "events.jsonl").unlink()
    assert "events.jsonl is missing" in read_session(session).notes[0]


def test_what_is_no_session_is_said_in_one_sentence(tmp_path, session):
    with pytest.raises(SessionError, match="There is no session folder"):
        read_session(tmp_path / "nowhere")
    with pytest.raises(SessionError, match=r"holds no session\.json"):
        read_session(tmp_path)
    (tmp_path / "session.json").write_text('{"name": "another program"}')
    with pytest.raises(SessionError, match="not written by Glint"):
        read_session(tmp_path)
    assert not is_session(tmp_path)
    assert is_session(session)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("session.json", "{", "session.json cannot be read"),
        ("metrics.json", "[]", "metrics.json is no JSON object"),
        ("events.jsonl", '{"id": 1}\n', "line 1 is no event"),
        ("events.jsonl", "nonsense\n", "events.jsonl cannot be read"),
        ("annotations.jsonl", '{"event": 1, "action": "praise"}\n', "line 1 is no annotation"),
    ],
)
def test_a_damaged_file_is_named(session, file, content, said):
    (session / file).write_text(content)
    with pytest.raises(SessionError, match=said):
        read_session(session)


def test_damaged_frames_are_named(session):
    (session / "frames.csv").write_text("frame,score\n1,much\n")
    with pytest.raises(SessionError, match=r"frames\.csv cannot be read"):
        read_frames(session)
    with pytest.raises(SessionError, match=r"frames\.csv cannot be read"):
        read_frames(session, ("speed",))
