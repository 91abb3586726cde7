import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from engines.events import EventKind
from streamer.cli import main
from streamer.errors import SessionError
from streamer.review.annotations import Annotations
from streamer.review.comparison import compare
from streamer.review.pictures import faces
from streamer.review.report import report, save
from streamer.review.session_reader import Frames, read_session
from streamer.review.timeline import COLUMNS, LEFT, WIDTH, strips

VOID = {"meta", "rect", "line", "path", "br", "img", "input"}


class Text(HTMLParser):
    """What a page says, and that its elements close."""

    def __init__(self, page):
        super().__init__()
        self.open, self.words = [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "pre"} & set(self.open):
            self.words.append(data)

    def __str__(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def frames_of(times, scores, success=None):
    count = len(times)
    columns = {
        "frame": np.arange(count),
        "timestamp": times,
        "success": np.ones(count) if success is None else success,
        "score": scores,
        "threshold": np.full(count, 2.0),
    }
    values = np.column_stack([columns[name] for name in COLUMNS]).astype(np.float64)
    return Frames(COLUMNS, values, torn=False)


def test_the_report_tells_what_was_measured_and_stands_alone(recorded):
    session = read_session(recorded)
    page = report(session)
    text = str(Text(page))
    for words in (
        *("P07 first", "Finished", "do not prove lying", "an animated photograph: synthetic"),
        *(
            "360 frames, 6.00 s",
            "Frames lost none",
            "flow 2, 0.076 s look-ahead",
            "320\N{MULTIPLICATION SIGN}240",
        ),
        *("none: the threshold is the engine's own", "Beside the truth: truth.jsonl"),
        *("No reviewer has looked at the events", "Limits of the method", "360 pictures"),
    ):
        assert words in text, words
    assert not re.search(r"(?:src|href)=", page)
    assert "http" not in page
    for event in session.events:
        assert f"{event.apex_s:.3f}" in text
        assert event.emotion in text


def test_no_picture_of_the_person_unless_it_is_asked_for(recorded, tmp_path, capsys):
    assert main(["report", str(recorded), "--out", str(tmp_path / "without.html")]) == 0
    assert "data:image" not in (tmp_path / "without.html").read_text(encoding="utf-8")
    assert main(["report", str(recorded), "--faces", "--out", str(tmp_path / "with.html")]) == 0
    page = (tmp_path / "with.html").read_text(encoding="utf-8")
    events = read_session(recorded).events
    explained = sum(event.explanation is not None for event in events)
    assert page.count("data:image/jpeg;base64,") == 2 * len(events) + explained
    assert page.count('class="course"') == len(events)
    assert "These pictures show a person" in str(Text(page))


def test_faces_need_a_recording(session, capsys):
    assert main(["report", str(session), "--faces"]) == 2
    assert "holds no recording" in capsys.readouterr().err


def test_a_frame_that_was_not_recorded_has_no_face(recorded):
    found = faces(recorded / "recording", [10, 99999])
    assert list(found) == [10]
    assert found[10].startswith(b"\xff\xd8")


def test_a_damaged_recording_is_named(recorded, tmp_path):
    (tmp_path / "times.csv").write_text("index,time_s\n0,0.0\n")
    (tmp_path / "video.nut").write_bytes(b"no video")
    with pytest.raises(SessionError, match="cannot be read"):
        faces(tmp_path, [0])


def test_what_reviewers_said_is_shown_safely(session):
    Annotations(session).reject(1, "Ada", note="<script>alert(1)</script>")
    Annotations(session).relabel(2, "Ada", "contempt")
    page = report(read_session(session))
    assert "<script>" not in page
    text = str(Text(page))
    assert "Reviewed by Ada" in text
    assert "reviewer; found" in text
    assert "rejected" in text
    comparison = compare(read_session(session), None, 6.0)
    assert all(p.event is None or p.event.event.id != 1 for p in comparison.pairings)


def test_an_annotators_file_is_compared_one_to_one(session, tmp_path):
    (session / "truth.jsonl").unlink()
    whole = read_session(session)
    assert compare(whole, None, 6.0) is None
    first = whole.events[0]
    truth = tmp_path / "ada.csv"
    truth.write_text(
        "video,onset_s,apex_s,offset_s,kind,emotion\n"
        f"P07.mp4,{first.onset_s},{first.apex_s},{first.offset_s},{first.kind.value},surprise\n"
        "P07.mp4,5.0,5.1,5.2,micro,negative\n"
    )
    comparison = compare(whole, truth, 6.0)
    assert comparison.source == "ada.csv"
    verdicts = [pairing.verdict for pairing in comparison.pairings]
    assert sorted(verdicts) == sorted(["TP", "FN"] + ["FP"] * (len(whole.events) - 1))
    assert sum(t.tp for t in comparison.tallies.values()) == 1
    assert comparison.tallies[EventKind.MICRO].fn == 1
    text = str(Text(report(whole, truth)))
    assert "Beside the truth: ada.csv" in text
    assert "missed truth, false event" in text


def test_a_file_about_other_recordings_is_refused(session, tmp_path):
    truth = tmp_path / "set.csv"
    truth.write_text("video,onset_s,offset_s\na.mp4,1,2\nb.mp4,1,2\n")
    with pytest.raises(SessionError, match="speaks of 2 recordings, and 0 of them"):
        compare(read_session(session), truth, 6.0)
    truth.write_text("video,onset_s,offset_s\na.mp4,1,2\nP07,3,4\n")
    comparison = compare(read_session(session), truth, 6.0)
    assert [t.onset_s for t in comparison.truths] == [3.0]


def test_losses_and_a_broken_off_session_are_told(session):
    document = json.loads((session / "session.json").read_text())
    document.update(end_state="running", calibration={"verdict": "not fit", "date": "2026-01-01"})
    (session / "session.json").write_text(json.dumps(document))
    metrics = json.loads((session / "metrics.json").read_text())
    metrics["lost"] = {"alignment_overrun": 7}
    (session / "metrics.json").write_text(json.dumps(metrics))
    text = str(Text(report(read_session(session))))
    for words in (
        "not in the folder any more",
        "Broken off",
        "alignment overrun 7",
        "7 (1.91%)",
        "not fit (2026-01-01)",
    ):
        assert words in text, words
    (session / "metrics.json").unlink()
    for name in ("frames.csv", "events.jsonl"):
        (session / name).write_bytes((session / name).read_bytes()[:-5])
    text = str(Text(report(read_session(session))))
    for words in ("Frames lost not known", "The last row of frames.csv was cut off"):
        assert words in text, words


def test_a_session_without_a_frame_has_a_report(session):
    header = (session / "frames.csv").read_text().splitlines()[0]
    (session / "frames.csv").write_text(f"{header}\n")
    (session / "events.jsonl").write_text("")
    text = str(Text(report(read_session(session))))
    assert "No frame was analysed" in text
    assert "No event was found" in text


def test_only_a_report_is_replaced(session, tmp_path, capsys):
    assert main(["report", str(session)]) == 0
    assert main(["report", str(session)]) == 0
    assert (session / "report.html").is_file()
    (tmp_path / "thesis.html").write_text("<p>years of work</p>")
    with pytest.raises(SessionError, match="is no report of Glint"):
        save(tmp_path / "thesis.html", report(read_session(session)))
    assert (tmp_path / "thesis.html").read_text() == "<p>years of work</p>"


@pytest.mark.parametrize(
    ("seconds", "count", "length_s"), [(29, 1, 30), (95, 4, 30), (3600, 60, 60)]
)
def test_a_session_is_cut_into_readable_strips(seconds, count, length_s):
    times = np.arange(0, seconds - 0.05, 0.1)
    drawn = strips(frames_of(times, np.ones(len(times))), (), None)
    assert len(drawn) == count
    assert drawn[0]["ticks"][-1]["text"] == f"{length_s // 60}:{length_s % 60:02d}"


def test_a_peak_of_one_frame_is_drawn_at_any_length():
    times = np.arange(0, 60, 0.005)
    scores = np.zeros(len(times))
    scores[7001] = 10.0
    _, second = strips(frames_of(times, scores), (), None)
    points = [tuple(map(float, p.split())) for p in re.split("[ML]", second["score"])[1:]]
    assert len(points) <= WIDTH + 1
    x, y = min(points, key=lambda point: point[1])
    assert y == second["score_y"]
    assert x == pytest.approx(LEFT + WIDTH * (7001 * 0.005 - 30) / 30, abs=1)
    assert {y for _, y in points if y != second["score_y"]} == {float(second["height"] - 18)}


def test_the_line_breaks_where_nothing_was_measured_and_losses_are_marked():
    times = np.arange(0, 5, 0.01)
    success = np.ones(len(times))
    success[200:300] = 0
    frames = frames_of(times, np.ones(len(times)), success)
    frames["frame"][400:] += 12
    (strip,) = strips(frames, (), None)
    assert strip["score"].count("M") == 2
    (blind,) = strip["blind"]
    assert blind["x"] == pytest.approx(LEFT + WIDTH * 0.4, abs=1)
    assert blind["width"] == pytest.approx(WIDTH * 0.2, abs=1)
    (loss,) = strip["losses"]
    assert loss["title"] == "12 lost"


def test_a_session_out_of_a_preview_is_drawn_from_where_it_begins():
    times = np.arange(1800.5, 1806.5, 0.02)
    (strip,) = strips(frames_of(times, np.ones(len(times))), (), None)
    assert strip["ticks"][0]["text"] == "30:00"
