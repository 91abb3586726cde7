"""Spotting evaluation: invariants, edge cases, and published outputs as golden values."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.evaluation.offline_peaks import moilanen_threshold, offline_intervals
from engines.evaluation.reading import FrameNumbers, pair, read_listing
from engines.evaluation.spotting import (
    EvaluationError,
    Interval,
    Recording,
    Tally,
    bootstrap_intervals,
    choose_threshold,
    difference,
    error_summary,
    free_stretches,
    interval_of_event,
    is_false_alarm,
    leave_one_subject_out,
    match,
    poisson_interval,
    pool,
    read_intervals,
    tallies_by_subject,
    tally,
    temporal_iou,
)
from engines.events import Event, EventKind, EventState

MICRO, MACRO = EventKind.MICRO, EventKind.MACRO
SHARED = Path(__file__).parents[3] / "shared" / "data"


def micro(onset_s: float, offset_s: float, **times: float) -> Interval:
    return Interval(onset_s, offset_s, MICRO, **times)


@st.composite
def intervals(draw: st.DrawFn) -> list[Interval]:
    """Up to six intervals on a coarse grid, so that overlaps and ties are frequent."""
    pairs = st.tuples(st.integers(0, 40), st.integers(0, 15), st.sampled_from(EventKind))
    return [
        Interval(onset / 4, (onset + length) / 4, kind)
        for onset, length, kind in draw(st.lists(pairs, max_size=6))
    ]


@given(intervals(), intervals())
def test_iou_is_symmetric_and_bounded(truths, detections):
    iou = temporal_iou(truths, detections)
    assert iou.shape == (len(truths), len(detections))
    assert np.array_equal(iou, temporal_iou(detections, truths).T)
    assert np.all((iou >= 0) & (iou <= 1))


@given(intervals())
def test_iou_with_itself_is_one(truths):
    for i, truth in enumerate(truths):
        if truth.duration_s > 0:
            assert temporal_iou(truths, truths)[i, i] == 1


@given(intervals(), intervals())
def test_matching_is_one_to_one_above_the_threshold(truths, detections):
    pairs = match(truths, detections)
    assert len({p.truth for p in pairs}) == len(pairs) == len({p.detection for p in pairs})
    iou = temporal_iou(truths, detections)
    assert all(p.iou == iou[p.truth, p.detection] >= 0.5 for p in pairs)


@given(intervals(), intervals())
def test_matching_has_the_most_pairs_then_the_highest_iou(truths, detections):
    truths, detections = truths[:4], detections[:4]
    iou = temporal_iou(truths, detections)
    best = (0, 0.0)
    slots = [*range(len(detections)), *[None] * len(truths)]
    for choice in set(itertools.permutations(slots, len(truths))):
        values = [iou[t, d] for t, d in enumerate(choice) if d is not None and iou[t, d] >= 0.5]
        best = max(best, (len(values), sum(values)))
    pairs = match(truths, detections)
    assert len(pairs) == best[0]
    assert sum(p.iou for p in pairs) == pytest.approx(best[1])


@given(intervals(), intervals(), st.randoms())
def test_tally_ignores_the_order_and_adds_up(truths, detections, random):
    recording = Recording(truths, detections, duration_s=60)
    shuffled = Recording(
        random.sample(truths, len(truths)), random.sample(detections, len(detections)), 60
    )
    for kind in (None, MICRO, MACRO):
        found, again = tally(recording, kind), tally(shuffled, kind)
        assert found == again
        assert found.tp + found.fn == sum(kind in (None, t.kind) for t in truths)
        assert found.tp + found.fp == sum(kind in (None, d.kind) for d in detections)
        assert found.false_alarms <= found.fp
        assert len(found.onset_errors_s) == len(found.offset_errors_s) == found.tp
        assert math.isnan(found.f1) or 0 <= found.f1 <= 1


@given(intervals(), intervals())
def test_exchanging_truth_and_detection_exchanges_precision_and_recall(truths, detections):
    there, back = (
        tally(Recording(truths, detections, 60)),
        tally(Recording(detections, truths, 60)),
    )
    assert (there.tp, there.fp, there.fn) == (back.tp, back.fn, back.fp)


@given(intervals(), st.floats(0, 2))
def test_free_time_is_what_lies_away_from_every_truth(truths, margin):
    stretches = free_stretches(truths, 10.0, margin)
    assert all(a < b for a, b in stretches)
    assert all(b1 <= a2 for (_, b1), (a2, _) in itertools.pairwise(stretches))
    for time in np.linspace(0.01, 9.99, 57):
        away = all(time < t.onset_s - margin or time > t.offset_s + margin for t in truths)
        inside = any(a <= time <= b for a, b in stretches)
        on_edge = any(min(abs(time - a), abs(time - b)) < 1e-9 for a, b in stretches)
        assert away == inside or on_edge


def test_one_detection_does_not_count_for_two_truths():
    truths = [micro(0, 1), micro(1, 2)]
    found = tally(Recording(truths, [micro(0, 2)], 10))
    assert (found.tp, found.fp, found.fn) == (1, 0, 1)


def test_a_detection_gives_way_so_that_two_pairs_are_found():
    truths = [micro(0.0, 1.0), micro(0.4, 1.4)]
    detections = [micro(0.1, 1.1), micro(-0.3, 0.7)]
    assert temporal_iou(truths, detections).argmax() == 0
    assert {(p.truth, p.detection) for p in match(truths, detections)} == {(1, 0), (0, 1)}


def test_iou_of_exactly_one_half_counts_at_any_frame_rate():
    for fps in (30, 60, 120, 200):
        for start in range(400):
            truth = micro(start / fps, (start + 10) / fps)
            assert len(match([truth], [micro(start / fps, (start + 5) / fps)])) == 1


def test_a_kind_is_matched_with_its_own_kind():
    recording = Recording([micro(1, 1.4)], [Interval(1, 1.5, MACRO)], 10)
    assert tally(recording).f1 == 1
    assert (tally(recording, MICRO).fn, tally(recording, MACRO).fp) == (1, 1)
    assert tally(recording, MACRO).false_alarms == 0


def test_false_alarms_are_those_away_from_every_truth():
    truths = [micro(10, 10.4)]
    detections = [micro(10.6, 10.8), micro(20, 20.2), micro(9.2, 9.49), micro(9.2, 9.5)]
    found = tally(Recording(truths, detections, duration_s=61.4))
    assert (found.fp, found.false_alarms) == (4, 2)
    assert found.free_s == pytest.approx(60)
    assert found.false_alarms_per_min == pytest.approx(2)
    assert is_false_alarm(micro(0, 1), [])


def test_errors_and_latency_are_signed():
    truths = [micro(1, 1.4, apex_s=1.2)]
    detections = [micro(1.05, 1.35, apex_s=1.19, decided_s=1.5)]
    found = tally(Recording(truths, detections, 10))
    assert found.onset_errors_s == pytest.approx((0.05,))
    assert found.apex_errors_s == pytest.approx((-0.01,))
    assert found.offset_errors_s == pytest.approx((-0.05,))
    assert found.latencies_s == pytest.approx((0.15,))


def test_error_summary_keeps_the_sign_only_in_the_bias():
    summary = error_summary([-0.02, -0.02, 0.04])
    assert (summary.bias_s, summary.median_s, summary.count) == (-0.02, 0.02, 3)
    assert math.isnan(error_summary([]).median_s)


def test_nothing_to_find_and_nothing_found_is_undefined_not_perfect():
    nothing = tally(Recording([], [], 60))
    assert math.isnan(nothing.precision)
    assert math.isnan(nothing.recall)
    assert math.isnan(nothing.f1)
    assert nothing.false_alarms_per_min == 0
    assert pool([]) == Tally()


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=2, max_size=8))
def test_bootstrap_stays_within_what_the_recordings_span(counts):
    tallies = [Tally(tp=tp, fp=fp, fn=fn) for tp, fp, fn in counts]
    low, high = bootstrap_intervals(tallies, {"f1": lambda t: t.f1}, resamples=50)["f1"]
    each = [t.f1 for t in tallies if not math.isnan(t.f1)]
    if each:
        assert min(each) - 1e-12 <= low <= high <= max(each) + 1e-12
    else:
        assert math.isnan(low)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(60):
        tallies = [Tally(tp=int(n), fn=20 - int(n)) for n in rng.binomial(20, 0.7, size=20)]
        bounds = bootstrap_intervals(tallies, {"recall": lambda t: t.recall}, resamples=200)
        low, high = bounds["recall"]
        covered += low <= 0.7 <= high
        assert low < high, trial
    assert covered >= 50


def test_one_recording_has_no_interval():
    assert all(map(math.isnan, bootstrap_intervals([Tally(tp=1)], {"f1": lambda t: t.f1})["f1"]))


def test_rate_bounds_agree_with_published_tables():
    assert poisson_interval(0, 1) == pytest.approx((0, 3.689), abs=1e-3)
    assert poisson_interval(10, 2) == pytest.approx((4.795 / 2, 18.390 / 2), abs=1e-3)


def test_a_subject_has_no_say_in_its_own_setting():
    good, bad = Tally(tp=1), Tally(fn=1)
    tallies = {"a": [good, bad], "b": [bad, good], "c": [bad, good]}
    pooled, chosen = leave_one_subject_out(tallies)
    assert chosen == {"a": 1, "b": 0, "c": 0}
    assert (pooled.tp, pooled.fn) == (0, 3)


def test_a_setting_keeps_within_the_false_alarms_that_are_allowed_if_it_can():
    loud, quiet = Tally(tp=2, fp=2, duration_s=60), Tally(tp=1, fn=1, duration_s=60)
    tallies = {"a": [loud, quiet], "b": [loud, quiet]}
    assert leave_one_subject_out(tallies)[1] == {"a": 0, "b": 0}
    assert leave_one_subject_out(tallies, max_fp_per_min=1)[1] == {"a": 1, "b": 1}
    assert leave_one_subject_out(tallies, max_fp_per_min=-1)[1] == {"a": 0, "b": 0}


def test_recordings_of_one_subject_are_one_tally():
    recordings = [
        Recording([micro(1, 2)], [micro(1, 2)], 10, "x", "a"),
        Recording([micro(1, 2)], [], 10, "y", "a"),
        Recording([], [micro(1, 2)], 10, "z"),
    ]
    found = tallies_by_subject(recordings)
    assert {name: (t.tp, t.fp, t.fn) for name, t in found.items()} == {
        "a": (1, 0, 1),
        "z": (0, 1, 0),
    }


@settings(max_examples=20)
@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=2, max_size=8))
def test_a_spotter_does_not_differ_from_itself(counts):
    tallies = [Tally(tp=tp, fp=fp, fn=fn) for tp, fp, fn in counts]
    found = difference(tallies, tallies, lambda t: t.f1, resamples=20)
    if any(map(any, counts)):
        assert (found.value, found.low, found.high, found.above) == (0, 0, 0, 0.5)


def test_a_paired_difference_is_narrower_than_the_spread_of_subjects():
    """One misses everything that the other misses, and one expression of each subject more."""
    better = [Tally(tp=n, fn=10 - n) for n in (1, 3, 5, 7, 9, 10)]
    worse = [Tally(tp=t.tp - 1, fn=t.fn + 1) for t in better]
    found = difference(better, worse, lambda t: t.recall)
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.above == 1
    with pytest.raises(ValueError, match="same subjects"):
        difference(better, worse[1:], lambda t: t.recall)


def test_a_recording_of_unknown_length_has_no_rate():
    found = tally(Recording([micro(1, 2)], [micro(5, 6)], math.nan))
    assert math.isnan(found.false_positives_per_min)
    assert math.isnan(found.false_alarms_per_min)
    assert (found.fp, found.false_alarms) == (1, 1)


def test_an_interval_cannot_end_before_it_starts():
    with pytest.raises(ValueError, match="lies after"):
        micro(2, 1)
    with pytest.raises(ValueError, match="lies after"):
        micro(math.nan, 1)


def test_only_a_closed_event_is_an_interval():
    event = Event(1, EventState.CONFIRMED, 1.0, 1.1, None, 1, 2, None, 3.0, ())
    with pytest.raises(ValueError, match="not closed"):
        interval_of_event(event)


def test_session_files_are_read_and_a_cut_last_line_is_left_out(tmp_path):
    path = tmp_path / "events.jsonl"
    event = {"kind": "micro", "onset_s": 1, "apex_s": None, "offset_s": 1.5, "decided_s": 2}
    whole = json.dumps(event) + "\n"
    path.write_text(whole + "\n" + whole + whole[:20], encoding="utf-8")
    assert read_intervals(path) == [micro(1, 1.5, decided_s=2)] * 2


@pytest.mark.parametrize("line", ['{"kind": "nano"}', "[]", "no json", '{"kind": "micro"}'])
def test_a_line_that_is_no_expression_is_named(tmp_path, line):
    path = tmp_path / "truth.jsonl"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="line 1 is not"):
        read_intervals(path)
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_intervals(tmp_path / "missing.jsonl")


def test_moilanen_threshold_runs_from_mean_to_maximum():
    score = [0.0, 0.0, 3.0, 1.0]
    assert moilanen_threshold(score, 0) == 1
    assert moilanen_threshold(score, 1) == 3


def test_an_offline_interval_lies_around_its_peak():
    score = np.zeros(100)
    score[45:57] = 1
    assert offline_intervals(score, k=6, p=0.8).tolist() == [[45, 57]]


# Published outputs of other systems, re-evaluated: expected numbers are in shared/data/README.md.

shared_data = pytest.mark.shared_data
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no data in {SHARED}")


@shared_data
@needs_data
@pytest.mark.parametrize(("p", "expected"), [(0.6, (12, 204, 45)), (0.8, (8, 74, 49))])
def test_slswin_curves_decided_offline(p, expected):
    """F1 .0879 and .1151 on CAS(ME)²; score 0 belongs to frame 1, as the data set counts."""
    about = json.loads((SHARED / "curves" / "slswin_cas2_me.json").read_text())
    fps, k = about["fps"], about["k"]
    tallies = []
    with np.load(SHARED / "curves" / "slswin_cas2_me.npz") as curves:
        for video in about["videos"]:
            score = curves[f"{video['subject']}_{video['video']}"]
            frames = offline_intervals(score, k, p) + 1
            recording = Recording(
                truths=[micro(a / fps, b / fps) for a, b in video["intervals"]],
                detections=[micro(a / fps, b / fps) for a, b in frames],
                duration_s=video["frames"] / fps,
            )
            tallies.append(tally(recording, MICRO))
    total = pool(tallies)
    assert (total.tp, total.fp, total.fn) == expected
    assert total.f1 == pytest.approx({0.6: 0.0879, 0.8: 0.1151}[p], abs=5e-5)
    if p == 0.6:
        assert total.false_positives_per_min == pytest.approx(4.56, abs=0.01)


@shared_data
@needs_data
def test_lgsnet_detections_with_a_nested_threshold():
    """F1 .4013: threshold of each subject chosen on the others among 0, .005, .010 …"""
    frames = FrameNumbers(fps=30)
    truth = read_listing(SHARED / "annotations/cas_me_2_annotation_357.csv", "truth", frames)
    found = read_listing(SHARED / "detections/lgsnet_cas2_epoch29.csv", "detections", frames)
    thresholds = np.round(np.arange(0.3, 0.6, 0.005), 3).tolist()
    kept = choose_threshold(pair(truth, found), thresholds, most=14)
    total = pool(tallies_by_subject(kept).values())
    assert (total.tp, total.tp + total.fp, total.tp + total.fn) == (124, 261, 357)
    assert total.f1 == pytest.approx(0.4013, abs=5e-5)
