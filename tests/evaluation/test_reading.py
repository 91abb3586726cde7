"""Files of every form that is read, and how truth and detections find each other."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.datasets.base import AnnotatedEvent, Dataset
from engines.datasets.base import Recording as AnnotatedRecording
from engines.datasets.export import write_truth
from engines.evaluation.megc import write_log, write_predictions
from engines.evaluation.reading import FrameNumbers, Listing, pair, read_listing, with_classes
from engines.evaluation.spotting import EvaluationError, Interval, Recording, pool, tally
from engines.events import EventKind

MICRO, MACRO = EventKind.MICRO, EventKind.MACRO
FPS30 = FrameNumbers(30)


def intervals_of(listing: Listing) -> dict[tuple[str, str], list[Interval]]:
    found: dict[tuple[str, str], list[Interval]] = {key: [] for key in listing.durations_s}
    for key, interval in listing.found:
        found[key].append(interval)
    return found


def read(path: Path, text: str, role="truth", frames=FPS30) -> Listing:
    path.write_text(text, encoding="utf-8")
    return read_listing(path, role, frames)


def test_frames_and_seconds_of_one_expression_are_the_same(tmp_path):
    frames = read(
        tmp_path / "frames.csv",
        "Subject,Video,Type,startFrame,Apex,endFrame,frame_num\n"
        "s1,./videos/s1_2,micro-expression,30,33,41,900\n",
    )
    seconds = read(
        tmp_path / "seconds.csv",
        "subject,recording,kind,onset_s,apex_s,offset_s,duration_s\ns1,s1_2,micro,1.0,1.1,1.4,30\n",
    )
    assert intervals_of(frames) == intervals_of(seconds)
    assert frames.durations_s == seconds.durations_s == {("s1", "s1_2"): 30.0}


def test_the_first_frame_is_at_zero_seconds(tmp_path):
    listing = read(tmp_path / "a.csv", "video,onset,offset\nv,1,30\n", frames=FrameNumbers(30, 1))
    assert listing.found == [(("", "v"), Interval(0.0, 1.0, MACRO))]


@pytest.mark.parametrize(
    ("word", "offset_s", "kind"),
    [("ME", 3, MICRO), ("MaE", 1.2, MACRO), ("", 1.5, MICRO), ("", 1.6, MACRO)],
)
def test_the_kind_is_what_the_file_says_or_what_the_duration_tells(tmp_path, word, offset_s, kind):
    listing = read(tmp_path / "a.csv", f"video,type,onset_s,offset_s\nv,{word},1,{offset_s}\n")
    assert listing.found[0][1].kind is kind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,onset_s\nv,1\n", "line 2 is not an expression"),
        ("video,onset_s,offset_s\nv,2,1\n", "line 2 is not an expression"),
        ("video,onset_s,offset_s,kind\nv,1,2,nano\n", "neither micro nor macro"),
        ("video,onset_s,offset_s\nv,one,2\n", "line 2 is not an expression"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(tmp_path, text, message):
    with pytest.raises(EvaluationError, match=message):
        read(tmp_path / "a.csv", text)


def test_frame_numbers_need_a_rate(tmp_path):
    with pytest.raises(EvaluationError, match="--fps"):
        read(tmp_path / "a.csv", "video,onset,offset\nv,1,2\n", frames=FrameNumbers())


def test_what_is_none_of_the_forms_is_refused(tmp_path):
    for path, text in ((tmp_path / "a.xml", ""), (tmp_path / "b.jsonl", "[1]\n")):
        with pytest.raises(EvaluationError):
            read(path, text)
    with pytest.raises(EvaluationError, match="no session"):
        read_listing(tmp_path, "truth", FPS30)
    with pytest.raises(EvaluationError, match="six columns"):
        read(tmp_path / "c.txt", "v 1 2 3 TP\n")


def session(folder: Path, events: list[dict], truth: list[dict] | None) -> None:
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "events.jsonl").write_text(lines + '{"id": 7, "onset', encoding="utf-8")
    if truth is not None:
        text = "".join(json.dumps(event) + "\n" for event in truth)
        (folder / "truth.jsonl").write_text(text, encoding="utf-8")
    rows = "".join(f"{k},{k / 100:.6f}\n" for k in range(1000))
    (folder / "frames.csv").write_text("frame,timestamp\n" + rows, encoding="utf-8")


def event(onset_s: float, offset_s: float, **more) -> dict:
    frames = {"onset_frame": round(onset_s * 100), "offset_frame": round(offset_s * 100)}
    return {"kind": "micro", "onset_s": onset_s, "offset_s": offset_s, **frames, **more}


def test_session_folders_are_judged_against_their_own_truth(tmp_path):
    session(tmp_path / "one", [event(1, 1.3, score=7.0, emotion="joy")], [event(1, 1.3)])
    session(tmp_path / "two", [event(5, 5.3)], [])
    recordings = pair(
        *(read_listing(tmp_path, role, FrameNumbers()) for role in ("truth", "detections"))
    )
    assert [r.name for r in recordings] == ["one", "two"]
    total = pool(map(tally, recordings))
    assert (total.tp, total.fp, total.fn) == (1, 1, 0)
    assert total.duration_s == pytest.approx(20)
    detection = recordings[0].detections[0]
    assert (detection.score, detection.emotion) == (7.0, "joy")
    assert detection.offset_s == 1.3  # seconds, although frames are there too


def test_a_session_without_truth_says_so(tmp_path):
    session(tmp_path / "live", [], None)
    with pytest.raises(EvaluationError, match=r"no truth\.jsonl"):
        read_listing(tmp_path / "live", "truth", FPS30)


def test_a_data_set_counts_recordings_without_an_expression(tmp_path):
    def recording(name: str, *events: AnnotatedEvent) -> AnnotatedRecording:
        return AnnotatedRecording(name, "s1", 30.0, 1, 1800, events, tmp_path / name)

    expression = AnnotatedEvent(MICRO, 1.0, 1.1, 1.4, 31, 34, 42, "fear")
    dataset = Dataset("x", "X", tmp_path, (recording("a", expression), recording("b")), (), {})
    write_truth(dataset, tmp_path / "truth")
    found = tmp_path / "found.csv"
    found.write_text("recording,onset_s,offset_s\nb,7,7.3\n")
    truth = read_listing(tmp_path / "truth", "truth", FrameNumbers())
    recordings = pair(truth, read_listing(found, "detections", FrameNumbers()))
    total = pool(map(tally, recordings))
    assert (len(recordings), total.fp, total.fn) == (2, 1, 1)
    assert total.duration_s == pytest.approx(120)
    assert {r.subject for r in recordings} == {"s1"}
    found.write_text("recording,onset_s,offset_s\nb,7,7.3\nc,1,1.2\n")
    with pytest.raises(EvaluationError, match="does not know"):
        pair(truth, read_listing(found, "detections", FrameNumbers()))


def test_one_name_of_two_subjects_is_two_recordings(tmp_path):
    truth = read(tmp_path / "t.csv", "subject,video,onset,offset\n1,v,30,40\n2,v,90,99\n")
    found = read(tmp_path / "p.csv", "subject,video,onset,offset\n2,v,90,99\n1,v,90,99\n")
    recordings = pair(truth, found)
    assert [(r.name, tally(r).tp) for r in recordings] == [("1/v", 0), ("2/v", 1)]


def test_single_recordings_belong_together_and_strangers_do_not(tmp_path):
    truth = read(tmp_path / "t.csv", "video,onset,offset\na,30,40\n")
    found = read(tmp_path / "p.csv", "video,onset,offset\nb,30,40\n")
    assert tally(pair(truth, found)[0]).tp == 1
    more = read(tmp_path / "p.csv", "video,onset,offset\nb,30,40\nc,30,40\n")
    with pytest.raises(EvaluationError, match="name recordings alike"):
        pair(truth, more)


intervals = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 60), st.sampled_from(EventKind)), max_size=6
)


@given(intervals, intervals, st.sampled_from([25.0, 30.0, 200.0]), st.integers(0, 1))
def test_a_result_log_keeps_every_frame_and_verdict(tmp_path_factory, truths, found, fps, first):
    def at_rate(drawn):
        # The log knows no kind, so the duration must tell the same one.
        made = [Interval(a / fps, (a + n + 1) / fps, MICRO) for a, n, _ in drawn]
        return [
            Interval(i.onset_s, i.offset_s, MICRO if i.duration_s <= 0.5 + 1e-9 else MACRO)
            for i in made
        ]

    recording = Recording(at_rate(truths), at_rate(found), math.nan, "v_1")
    path = tmp_path_factory.mktemp("log") / "log.txt"
    write_log(path, [recording], fps, first)
    verdicts = [line.split()[-1] for line in path.read_text().splitlines()]
    total = pool(tally(recording, kind) for kind in EventKind)
    assert [verdicts.count(each) for each in ("TP", "FP", "FN")] == [total.tp, total.fp, total.fn]
    if truths or found:
        numbers = FrameNumbers(fps, first)
        again = pair(*(read_listing(path, role, numbers) for role in ("truth", "detections")))
        back = pool(tally(again[0], kind) for kind in EventKind)
        assert (back.tp, back.fp, back.fn) == (total.tp, total.fp, total.fn)


def test_predictions_are_written_as_the_challenge_takes_them(tmp_path):
    found = [Interval(1.0, 1.4, MICRO, emotion="negative"), Interval(3.0, 3.2, MICRO)]
    recordings = [Recording([], found, 60, "v", "s")]
    write_predictions(tmp_path / "pred.csv", recordings, 30, 1)
    assert (tmp_path / "pred.csv").read_text().splitlines() == [
        "subject,video,onset,offset,emotion",
        "s,v,31,42,negative",
        "s,v,91,96,",
    ]
    listing = read_listing(tmp_path / "pred.csv", "detections", FrameNumbers(30, 1))
    assert [(i.onset_s, i.offset_s, i.emotion) for _, i in listing.found] == [
        (1.0, 1.4, "negative"),
        (3.0, 3.2, None),
    ]


def test_emotions_are_pooled_into_classes():
    recording = Recording([Interval(0, 1, MACRO, emotion="Fear")], [Interval(0, 1, MACRO)], 9)
    pooled = with_classes([recording], {"fear": "negative"})[0]
    assert (pooled.truths[0].emotion, pooled.detections[0].emotion) == ("negative", None)
