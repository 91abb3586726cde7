"""Running a trained network over whole clips as a live session would, and judging what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from engines.evaluation.spotting import Recording, Tally, interval_of_event, tally
from engines.events import Event, EventKind, EventState
from engines.motion.config import MotionConfig
from engines.motion.meter import MotionMeter
from engines.motion.planes import PLANES_SIZE
from engines.network_files import INPUT_NAME
from engines.recognition.base import EventClip
from engines.runtime import GraphRunner
from engines.spotting.base import MotionSample, Spotter
from engines.spotting.network_spotter import OUTPUT_NAME, ScoreJudge, draw_planes
from engines.training.clips import ClipEvent, FaceClip

_CLIP_MARGIN_S = 0.05
_AFTER_APEX_S = 0.1


def measure(clip: FaceClip, *, delta_flow: bool = True) -> Iterator[MotionSample]:
    """The motion samples of a clip, as live analysis measures them.

    Args:
        clip: A clip; the speed of the head is not known of it and given as 0.
        delta_flow: Measure the flow over the last 0.1 s too.

    Yields:
        Samples whose arrays the next one overwrites.
    """
    meter = MotionMeter(MotionConfig(), clip.fps, delta_flow=delta_flow)
    epochs = np.cumsum(clip.restart)
    for index, time_s in enumerate(clip.times.tolist()):
        yield meter.measure(
            index,
            time_s,
            0,
            np.ascontiguousarray(clip.faces[index]) if clip.valid[index] else None,
            epoch=int(epochs[index]),
            mesh=clip.mesh,
            head_speed=0.0,
            depth=None if clip.depth is None or not delta_flow else clip.depth[index],
        )


def kept(sample: MotionSample) -> MotionSample:
    """A copy that outlives the next frame, without picture, flow field and landmarks."""
    return replace(
        sample,
        motion=sample.motion.copy(),
        velocity=sample.velocity.copy(),
        strain=None if sample.strain is None else sample.strain.copy(),
        eyes=sample.eyes.copy(),
        face=None,
        flow_delta=None,
        mesh=None,
        depth_change=None,
    )


def event_clip(clip: FaceClip, event: ClipEvent) -> EventClip:
    """The faces of a true event, as a live session cuts them."""
    first = int(np.searchsorted(clip.times, event.onset_s - _CLIP_MARGIN_S))
    last = int(np.searchsorted(clip.times, event.apex_s + _AFTER_APEX_S))
    times = clip.times[first:last]
    onset, apex = (int(np.abs(times - t).argmin()) for t in (event.onset_s, event.apex_s))
    return EventClip(
        np.array(clip.faces[first:last]),
        times.copy(),
        onset,
        max(onset, apex),
        clip.mesh,
        None if clip.depth is None else np.array(clip.depth[first:last]),
    )


@dataclass(frozen=True, slots=True)
class ScoredClip:
    """A clip's scores beside the motion that the decision reads: enough to decide anew.

    Attributes:
        clip: The clip.
        samples: Motion of every frame, without pictures and flow fields.
        scores: (N,) float64, NaN where there is none.
    """

    clip: FaceClip
    samples: tuple[MotionSample, ...]
    scores: npt.NDArray[np.float64]


def score_clip(clip: FaceClip, graph: GraphRunner, *, depth: bool = False) -> ScoredClip:
    """Run a spotting network over a clip, frame by frame; see `draw_planes` for `depth`."""
    samples, scores = [], []
    planes = np.empty((1, 3, PLANES_SIZE, PLANES_SIZE), np.float32)
    for sample in measure(clip):
        known = draw_planes(sample, planes[0], depth=depth)
        scores.append(float(graph.run({INPUT_NAME: planes})[OUTPUT_NAME][0]) if known else np.nan)
        samples.append(kept(sample))
    return ScoredClip(clip, tuple(samples), np.array(scores))


def decide(scored: ScoredClip, judge: ScoreJudge) -> Tally:
    """Micro-expressions that a decision finds in a scored clip, against the truth."""
    outputs = (
        judge.push(sample, score).events
        for sample, score in zip(scored.samples, scored.scores.tolist(), strict=True)
    )
    return judged(scored.clip, chain(chain.from_iterable(outputs), judge.finish()))


def spot(clip: FaceClip, spotter: Spotter) -> Tally:
    """Micro-expressions that a spotter finds in a clip, against the truth."""
    return spot_samples(clip, spotter, measure(clip, delta_flow=spotter.reads_delta_flow))


def spot_samples(clip: FaceClip, spotter: Spotter, samples: Iterable[MotionSample]) -> Tally:
    """The same on motion that was measured before."""
    outputs = (spotter.push(sample).events for sample in samples)
    return judged(clip, chain(chain.from_iterable(outputs), spotter.finish()))


def judged(clip: FaceClip, events: Iterable[Event]) -> Tally:
    """Compare the closed events of a stream with a clip's truth, micro-expressions only."""
    detections = [interval_of_event(e) for e in events if e.state is EventState.CLOSED]
    truths = [event.interval for event in clip.events]
    return tally(Recording(truths, detections, clip.duration_s, clip.name), EventKind.MICRO)
