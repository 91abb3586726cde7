"""The comparison of spotters: thresholds for equal false positives, and what they are judged on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import spotters
from benchmarks.spotters import FACTORS, Found, equal_false_positives, figures_of, within
from engines.events import Event, EventKind, EventState
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.registry import SPOTTERS, create_spotter
from engines.training.clips import ClipEvent, FaceClip

TRUE_S = (2.0, 5.0, 8.0)


def event(onset_s: float, kind: EventKind = EventKind.MICRO) -> Event:
    return Event(
        id=1, state=EventState.CLOSED, onset_s=onset_s, apex_s=onset_s + 0.1,
        offset_s=onset_s + 0.3, onset_frame=0, apex_frame=0, offset_frame=0, score=1.0,
        regions=("upper_lip",), kind=kind, decided_s=onset_s + 0.5,
    )  # fmt: skip


def found(identity: str, by_spotter: dict[str, list[tuple[int, int]]]) -> Found:
    """What spotters found: at each threshold so many of the truths, and so many false ones."""
    count = 60 * 30
    empty = np.zeros(count, bool)
    clip = FaceClip(
        name=identity, identity=identity, fps=30.0, faces=np.zeros((count, 128, 128), np.uint8),
        times=np.arange(count) / 30, valid=~empty, restart=empty,
        mesh=np.zeros((468, 3), np.float32),
        events=tuple(
            ClipEvent(EventKind.MICRO, t, t + 0.1, t + 0.3, None, (12,)) for t in TRUE_S
        ),
    )  # fmt: skip
    closed = {}
    for name, several in by_spotter.items():
        for position, (right, false) in enumerate(several):
            onsets = [*TRUE_S[:right], *(20.0 + 3 * i for i in range(false))]
            closed[name, position] = [event(t) for t in onsets]
    return Found(clip, closed)


def thresholds(*pairs: tuple[int, int]) -> list[tuple[int, int]]:
    """The last one for all further thresholds."""
    return [*pairs, *[pairs[-1]] * (len(FACTORS) - len(pairs))]


def test_the_best_threshold_within_the_budget_is_taken():
    deciding = [found("a", {"flow": thresholds((3, 9), (3, 3), (2, 1), (1, 0))})]
    assert within(deciding, "flow", 10.0) == 1
    assert within(deciding, "flow", 1.0) == 2
    assert within(deciding, "flow", 0.5) == 3


def test_the_highest_threshold_stands_where_none_keeps_within_the_budget():
    assert within([found("a", {"flow": thresholds((3, 9))})], "flow", 0.5) == len(FACTORS) - 1


def test_what_is_judged_chooses_nothing():
    deciding = [
        found("a", {"flow": thresholds((2, 1), (1, 0)), "mean": thresholds((3, 1), (2, 0))})
    ]
    judging = [
        found(who, {"flow": thresholds((1, 2), (3, 0)), "mean": thresholds((2, 1), (3, 0))})
        for who in ("b", "c")
    ]
    rows = equal_false_positives(deciding, {"fresh": judging}, ["flow", "mean"])
    assert {row["videos"] for row in rows} == {"fresh"}
    row = next(r for r in rows if r["spotter"] == "mean" and r["budget"] == 1.0)
    # The threshold of the validation identity, although another would be perfect here.
    assert row["found"] == 4
    assert row["gain"] == pytest.approx(2 * 4 / (2 * 4 + 2 + 2) - 2 * 2 / (2 * 2 + 4 + 4))
    assert row["gain_interval"][0] == pytest.approx(row["gain"])


def test_a_spotter_of_micro_expressions_has_no_figure_for_macro_expressions():
    one = found("a", {"mean": [(2, 0)]})
    assert np.isnan(figures_of([one], "mean")["macro_f1"])
    assert figures_of([one], "mean")["f1"] == pytest.approx(0.8)


def test_areas_follow_the_action_units():
    tallies = found("a", {"mean": [(2, 1)]}).areas("mean")
    assert (tallies["mouth"].tp, tallies["mouth"].fp, tallies["mouth"].fn) == (2, 1, 1)
    assert tallies["brows"].fn == 0


@pytest.mark.parametrize("name", SPOTTERS)
def test_every_spotter_can_be_set_to_find_less(name):
    several = spotters.with_thresholds(name, 60.0, every=True)
    assert len(several) == len(FACTORS)
    values = [getattr(s, "threshold_factor", None) or s.threshold for s in several]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    as_shipped = create_spotter(name, FlowSpotterConfig(), 60.0)
    own = getattr(as_shipped, "threshold_factor", None) or as_shipped.threshold
    assert values[spotters.shipped(True)] == pytest.approx(own)


@pytest.mark.parametrize("name", SPOTTERS)
def test_learned_spotters_say_how_much_they_have_learned(name):
    size = spotters.size_of(name)
    assert (size["parameters"] > 0) == (name != "flow")
    assert (size["multiplications"] > 0) == (name != "flow")


def test_the_same_people_are_not_fresh(tmp_path, monkeypatch, capsys):
    class Known:
        fingerprint = "0"
        title = "known"

        def __init__(self, folder):
            self.folder = folder

    monkeypatch.setattr(spotters, "SyntheticSource", Known)
    assert spotters.main(["--data", "a", "--fresh", "b"]) == 2
    assert "another --seed" in capsys.readouterr().err


def test_of_two_that_must_agree_only_what_both_find_counts():
    # Both find the first truth; each has a false one of its own, and one further truth.
    def pair(who: str) -> Found:
        one = found(who, {"flow": thresholds((2, 1))})
        mean = [event(TRUE_S[0]), event(40.0)]
        return Found(one.clip, {**one.closed, **{("mean", at): mean for at in range(len(FACTORS))}})

    judging = {"fresh": [pair("b"), pair("c")]}
    rows = spotters.ensembles([pair("a")], judging, ["flow", "mean"])
    first = next(row for row in rows if row["spotter"] == "flow+mean")
    assert (first["videos"], first["found"], first["detections"]) == ("fresh", 2, 2)
    assert first["alone"] == "flow"
    assert first["gain"] == pytest.approx(0.5 - 2 / 3)
