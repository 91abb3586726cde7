"""Two spotters on the same frames, of which the second must agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.errors import EngineError
from engines.events import Event, EventKind, EventState
from engines.spotting.base import MotionSample, Spotter, SpotterOutput
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.ensemble import EnsembleSpotter
from engines.spotting.flow_spotter import FlowSpotter
from engines.spotting.registry import create_spotter
from streamer.config import GlintConfig
from streamer.session import build_pipeline
from tests.spotting.scripted_motion import Movement, samples

FPS = 50.0


class Scripted:
    """Confirms an interval at its end, and closes or withdraws it some time later."""

    version = "1"
    reads_delta_flow = False
    reads_strain = False

    def __init__(self, name: str, *script: tuple[float, float, str], later_s: float = 0.1) -> None:
        self.name = name
        self.look_ahead_s = later_s
        self.threshold_factor = 4.0
        self._script = script
        self.reset()

    def reset(self) -> None:
        self._told: dict[tuple[int, EventState], Event] = {}

    def push(self, sample: MotionSample) -> SpotterOutput:
        return SpotterOutput(1.0, 2.0, tuple(self._due(sample.time_s)))

    def _due(self, now: float) -> list[Event]:
        events = []
        for number, (onset_s, offset_s, end) in enumerate(self._script, start=1):
            event = Event(
                id=number, state=EventState.CONFIRMED, onset_s=onset_s, apex_s=onset_s,
                offset_s=None, onset_frame=0, apex_frame=0, offset_frame=None, score=1.0,
                regions=(), spotter=self.name,
            )  # fmt: skip
            if end in ("micro", "macro"):
                last = replace(
                    event, state=EventState.CLOSED, offset_s=offset_s, offset_frame=0,
                    kind=EventKind(end), decided_s=now,
                )  # fmt: skip
            else:
                last = replace(event, state=EventState.WITHDRAWN, quality=(end,))
            for at, each in ((offset_s, event), (offset_s + self.look_ahead_s, last)):
                if now >= at and (number, each.state) not in self._told:
                    self._told[number, each.state] = each
                    events.append(each)
        return events

    def finish(self) -> tuple[Event, ...]:
        return tuple(self._due(1e9))


def ended(first: Scripted, second: Scripted, seconds: float = 5.0) -> list[Event]:
    spotter = EnsembleSpotter(first, second)
    events = [e for s in samples(FPS, seconds) for e in spotter.push(s).events]
    events += spotter.finish()
    return [e for e in events if e.state in (EventState.CLOSED, EventState.WITHDRAWN)]


def test_what_both_find_stands_with_the_interval_of_the_first():
    (event,) = ended(Scripted("a", (1.0, 1.3, "micro")), Scripted("b", (1.1, 1.35, "micro")))
    assert event.state is EventState.CLOSED
    assert (event.onset_s, event.offset_s) == (1.0, 1.3)
    assert event.spotter == "a+b 1+1"


@pytest.mark.parametrize(
    "other", [(), ((1.4, 1.6, "micro"),), ((1.1, 1.3, "no_return"),), ((3.0, 3.2, "micro"),)]
)
def test_what_the_second_does_not_find_is_withdrawn(other):
    second = Scripted("b", *other, later_s=0.0)
    (event,) = ended(Scripted("a", (1.0, 1.3, "micro"), later_s=0.05), second)
    assert event.state is EventState.WITHDRAWN
    assert event.quality == ("not_confirmed",)
    assert event.offset_s is event.kind is event.decided_s is None


def test_the_second_is_heard_out_for_its_look_ahead_and_no_longer():
    late = Scripted("b", (1.1, 1.5, "micro"), later_s=0.3)
    (event,) = ended(Scripted("a", (1.0, 1.3, "micro")), late)
    assert event.state is EventState.CLOSED
    assert event.decided_s == pytest.approx(1.5, abs=1 / FPS)
    hasty = Scripted("b", (1.1, 1.5, "micro"), later_s=0.1)
    (event,) = ended(Scripted("a", (1.0, 1.3, "micro")), hasty)
    assert event.state is EventState.WITHDRAWN


def test_macro_expressions_need_no_agreement():
    (event,) = ended(Scripted("a", (1.0, 2.3, "macro")), Scripted("b"))
    assert event.kind is EventKind.MACRO


def test_what_waits_at_the_end_is_decided():
    (event,) = ended(Scripted("a", (4.7, 4.95, "micro")), Scripted("b"), seconds=5.0)
    assert event.quality == ("not_confirmed",)


def test_the_threshold_is_the_firsts():
    first, second = Scripted("a", later_s=0.1), Scripted("b", later_s=0.3)
    spotter = EnsembleSpotter(first, second)
    assert isinstance(spotter, Spotter)
    spotter.threshold_factor = 7.0
    assert (first.threshold_factor, second.threshold_factor) == (7.0, 4.0)
    assert spotter.look_ahead_s == 0.3


def test_streamed_in_pieces_is_one_pass():
    def pair() -> EnsembleSpotter:
        config = FlowSpotterConfig()
        return EnsembleSpotter(FlowSpotter(config, FPS), FlowSpotter(config, FPS))

    stream = list(samples(FPS, 8.0, [Movement(4.0, 0.3), Movement(6.0, 0.4)]))
    whole, part = pair(), pair()
    outputs = [whole.push(sample) for sample in stream]
    stop = round(4.4 * FPS)
    assert [part.push(sample) for sample in stream[:stop]] == outputs[:stop]
    part.reset()
    assert [part.push(sample) for sample in stream] == outputs
    assert part.finish() == whole.finish()
    closed = [e for o in outputs for e in o.events if e.state is EventState.CLOSED]
    assert len(closed) == 2
    whole.close()


def test_a_plus_makes_a_pair_and_says_what_runs_its_network():
    spotter = create_spotter("flow+mean", FlowSpotterConfig(), FPS, "onnx")
    assert isinstance(spotter, EnsembleSpotter)
    assert spotter.name == "flow+mean"
    assert spotter.reads_delta_flow
    assert spotter.backend == create_spotter("mean", FlowSpotterConfig(), FPS, "onnx").backend
    assert spotter.fallback is None
    assert not hasattr(create_spotter("flow+ltp-ml", FlowSpotterConfig(), FPS), "backend")
    spotter.close()


def test_a_wrong_part_is_named_before_a_camera_is_opened():
    with pytest.raises(EngineError, match="'flwo'"):
        build_pipeline(GlintConfig.from_tree({"spotter": "mean+flwo"}, "a test"), ())


def test_a_pair_with_a_network_needs_the_flow_that_it_has_learned():
    tree = {"spotter": "flow+mean", "motion": {"flow": "farneback"}}
    with pytest.raises(EngineError, match="dis"):
        build_pipeline(GlintConfig.from_tree(tree, "a test"), ())
