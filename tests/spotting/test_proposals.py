"""Proposals to events: suppression on recordings, and the merge of what comes live."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.spotting.proposals import (
    MergeConfig,
    OnlineMerge,
    Proposals,
    half_overlapping,
    keep_best,
    keep_best_of_windows,
    overlap,
    window_of,
)


def proposals(*rows: tuple[float, float, float]) -> Proposals:
    values = np.array(rows, np.float64).reshape(-1, 3)
    return Proposals(values[:, 0], values[:, 1], values[:, 2])


intervals = st.tuples(st.floats(0.05, 0.99), st.floats(0, 8), st.floats(0.05, 2)).map(
    lambda row: (row[0], row[1], row[1] + row[2])
)


def test_a_network_s_output_is_read_from_the_window_s_end() -> None:
    found = Proposals.of(np.array([[0.0, 2.0, -1.5, -1.2]], np.float32), end_s=10.0)
    assert found.score[0] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert found.onset_s[0] == pytest.approx(8.5)
    assert found.offset_s[0] == pytest.approx(8.8)


@settings(max_examples=40, deadline=None)
@given(st.lists(intervals, max_size=12), st.sampled_from([0.01, 0.2, 0.5]))
def test_what_is_kept_does_not_overlap_and_what_is_dropped_overlaps_better(rows, limit) -> None:
    given = proposals(*rows)
    kept = keep_best(given, limit)
    assert (np.diff(kept.score) <= 0).all()
    for k in range(len(kept.score)):
        shared = overlap(kept.onset_s[k], kept.offset_s[k], kept)
        shared[k] = 0
        assert (shared <= limit).all()
    for score, onset_s, offset_s in rows:
        better = kept.only(kept.score >= score)
        same = (kept.onset_s == onset_s) & (kept.offset_s == offset_s)
        assert same.any() or (overlap(onset_s, offset_s, better) > limit).any()


def test_only_what_an_expression_can_be_is_believed() -> None:
    given = proposals((0.9, 1, 1.2), (0.4, 1, 1.2), (0.9, 1, 1.01), (0.9, 1, 6), (0.9, 2, 1))
    assert len(given.believable(MergeConfig(threshold=0.5)).score) == 1


# -- live ------------------------------------------------------------------------------------


def streamed(windows, config: MergeConfig):
    merge = OnlineMerge(config)
    told = []
    for now, seen in windows:
        told += [
            (now, each.id, each.score, each.onset_s, each.offset_s)
            for each in merge.push(now, seen)[1]
        ]
    return told + [(None, e.id, e.score, e.onset_s, e.offset_s) for e in merge.finish()]


def test_an_event_is_told_once_and_the_better_proposal_wins() -> None:
    config = MergeConfig(hold_s=0.2)
    windows = [
        (1.0, proposals((0.6, 0.6, 0.95))),
        (1.1, proposals((0.8, 0.62, 0.93), (0.55, 0.4, 1.0))),
        (1.2, proposals((0.7, 0.5, 0.9))),
        (1.3, proposals((0.9, 0.61, 0.93))),  # decided at 1.2: the same event again
    ]
    assert streamed(windows, config) == [(1.2, 1, 0.8, 0.62, 0.93)]


def test_what_has_not_ended_or_ended_long_ago_is_not_told() -> None:
    config = MergeConfig(hold_s=0.0, reach_s=0.5)
    assert streamed([(1.0, proposals((0.9, 0.8, 1.1)))], config) == []
    assert streamed([(2.0, proposals((0.9, 0.8, 1.1)))], config) == []
    assert len(streamed([(1.2, proposals((0.9, 0.8, 1.1)))], config)) == 1


def test_what_follows_must_have_been_seen() -> None:
    config = MergeConfig(hold_s=0.0, settle_s=0.3)
    seen = proposals((0.9, 0.8, 1.1))
    assert streamed([(1.3, seen)], config) == []
    assert [row[0] for row in streamed([(1.3, seen), (1.5, seen)], config)] == [1.5]


def test_two_events_apart_are_two() -> None:
    seen = proposals((0.9, 0.2, 0.4), (0.8, 0.6, 0.9))
    assert [row[1] for row in streamed([(0.9, seen), (1.2, seen)], MergeConfig())] == [1, 2]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(intervals, max_size=4), min_size=1, max_size=20),
    st.sampled_from([0.0, 0.1, 0.4]),
    st.integers(0, 20),
)
def test_what_is_told_does_not_depend_on_what_follows(rows, hold_s: float, cut: int) -> None:
    config = MergeConfig(hold_s=hold_s)
    windows = [(0.5 + 0.4 * k, proposals(*each)) for k, each in enumerate(rows)]
    whole = [row for row in streamed(windows, config) if row[0] is not None]
    part = [row for row in streamed(windows[:cut], config) if row[0] is not None]
    assert whole[: len(part)] == part
    for now, _, score, onset_s, offset_s in whole:
        assert score >= config.threshold
        assert onset_s < offset_s <= now


# -- recordings ------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.lists(st.integers(1, 299), max_size=3))
def test_windows_cover_every_stretch_and_cross_no_start(count: int, cuts: list[int]) -> None:
    starts = np.zeros(count, bool)
    starts[0] = True
    starts[[cut for cut in cuts if cut < count]] = True
    seen = np.zeros(count, bool)
    for first, stop in half_overlapping(starts, 64):
        assert starts[first]
        assert not starts[first + 1 : stop].any()
        seen[max(first, stop - 64) : stop] = True
    assert seen.all()


def test_a_window_at_the_start_is_filled_up_with_nothing() -> None:
    values = np.arange(10, dtype=np.float32)[:, None] + 1
    np.testing.assert_array_equal(window_of(values, 2, 4, 3), [[0, 0], [3, 1], [4, 1]])
    np.testing.assert_array_equal(window_of(values, 2, 9, 3), [[7, 1], [8, 1], [9, 1]])


def test_a_recording_is_decided_over_all_its_windows() -> None:
    parts = [proposals((0.9, 1.0, 1.3)), proposals((0.8, 1.02, 1.3), (0.7, 3.0, 3.2))]
    kept = keep_best_of_windows(parts, MergeConfig())
    assert kept.onset_s.tolist() == [1.0, 3.0]
