"""Spotters with a network: the flow of the last 0.1 s to a score, the score to micro-expressions.

MEAN and SFAMNet score single pictures of flow. Published, their scores are smoothed and thresholded
when the video is over; here a causal decision (`engines.spotting.decision`) takes them as they
come, and the region motion that is measured anyway says whether an event stands
(`engines.spotting.gating`). The networks learn micro-expressions only, so that is all that they
report: an event that lasts longer is withdrawn.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from engines.events import Event, EventState
from engines.motion.planes import (
    PLANES_SIZE,
    SPAN_S,
    composite_planes,
    preprocessing_of,
    scene_planes,
)
from engines.network_files import INPUT_NAME, NetworkManifest, open_network
from engines.runtime import GraphRunner
from engines.spotting.base import MotionSample, SpotterOutput
from engines.spotting.decision import CausalDecision, DecisionConfig
from engines.spotting.gating import EventGate, GateConfig, withdrawn

OUTPUT_NAME = "scores"

_HISTORY_S = 3.0
"""How far back region motion is kept: the longest event that can be judged, and its decision."""


class SpottingManifest(NetworkManifest):
    """The manifest of a spotting network.

    Attributes:
        decision: How its score becomes events.
        gates: Which events are withdrawn.
    """

    decision: DecisionConfig
    gates: GateConfig


class ScoreJudge:
    """From a network's scores and the motion of the same frames to micro-expressions.

    Args:
        decision: How the score becomes events.
        gates: Which events are withdrawn.
        fps: Highest frame rate to expect; only sizes histories.
        spotter: Name and version that events carry.
        lag_s: How long before its frame the middle of what a score speaks of lies.
        bounded: Take the interval from the motion of the face, and not from the score's width.
    """

    def __init__(
        self,
        decision: DecisionConfig,
        gates: GateConfig,
        fps: float,
        spotter: str,
        lag_s: float = SPAN_S / 2,
        *,
        bounded: bool = False,
    ) -> None:
        self._bounded = bounded
        self.decision = CausalDecision(decision, fps, spotter, lag_s)
        self._gate = EventGate(gates, _HISTORY_S, fps)

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self.decision.reset()
        self._gate.reset()

    def push(self, sample: MotionSample, score: float) -> SpotterOutput:
        """Take the score of the next frame; NaN where there is none."""
        goes_on = sample.valid and not sample.restart
        if goes_on:
            self._gate.push(sample)
        output = self.decision.push(
            sample.index,
            sample.time_s,
            score,
            gap_before=sample.gap_before,
            valid=sample.valid,
            restart=sample.restart,
        )
        if output.events:
            output = replace(output, events=self._judged(output.events))
        if not goes_on:  # what ended here was judged by the motion before
            self._gate.reset()
            if sample.valid:
                self._gate.push(sample)
        return output

    def finish(self) -> tuple[Event, ...]:
        """End of stream."""
        return self._judged(self.decision.finish())

    def _judged(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        return tuple(map(self._judge, events))

    def _judge(self, event: Event) -> Event:
        if event.state is EventState.CONFIRMED:
            return self._gate.located(event)
        if event.state is not EventState.CLOSED:
            return event
        if self._bounded:
            event = self._gate.bounded(event)
        objection = self._gate.objection(event)
        if objection is None:
            return self._gate.located(event)
        return withdrawn(event, objection)


class ScoringSpotter(ABC):
    """A spotter of which a network scores frames, and a causal decision judges the scores.

    Args:
        manifest: What the network was shipped with.
        graph: The network, warm.
        judge: From its scores to events.
    """

    name: str
    reads_delta_flow = True
    reads_strain = False

    def __init__(self, manifest: SpottingManifest, graph: GraphRunner, judge: ScoreJudge) -> None:
        self.version = manifest.version
        self.model_sha256 = manifest.sha256
        self.backend = graph.backend
        self.fallback = graph.fallback
        self._graph = graph
        self._judge = judge

    @abstractmethod
    def score(self, sample: MotionSample) -> float:
        """The score that stands at the next frame; NaN where there is none."""

    @property
    def look_ahead_s(self) -> float:
        """Seconds after an apex that pass before it is confirmed, all delays included."""
        return self._judge.decision.look_ahead_s

    @property
    def threshold_factor(self) -> float:
        """Factor of the running threshold; larger spots less."""
        return self._judge.decision.threshold_factor

    @threshold_factor.setter
    def threshold_factor(self, factor: float) -> None:
        self._judge.decision.threshold_factor = factor

    def push(self, sample: MotionSample) -> SpotterOutput:
        """Take the next frame; see `Spotter.push`."""
        return self.judge(sample, self.score(sample))

    def judge(self, sample: MotionSample, score: float) -> SpotterOutput:
        """Take the next frame, whose score is known already."""
        return self._judge.push(sample, score)

    def finish(self) -> tuple[Event, ...]:
        """End of stream: close or withdraw the open event."""
        return self._judge.finish()

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._judge.reset()

    def close(self) -> None:
        """Close the network."""
        self._graph.close()


class NetworkSpotter(ScoringSpotter):
    """A spotting network with its causal decision.

    Args:
        folder: Where the engine's files lie; its name is the engine's.
        fps: Highest frame rate to expect; only sizes histories.
        backend: What runs the network, one of `engines.runtime.BACKENDS`.

    Raises:
        EngineError: A file is missing or corrupt, or made for another flow representation.
    """

    depth: ClassVar[bool] = False

    def __init__(self, folder: Path, fps: float, backend: str = "auto") -> None:
        self.name = folder.name
        manifest, graph = open_network(
            folder, self.name, SpottingManifest, preprocessing_of(self.depth), backend
        )
        spotter = f"{self.name} {manifest.version}"
        judge = ScoreJudge(manifest.decision, manifest.gates, fps, spotter)
        super().__init__(manifest, graph, judge)
        self._planes = np.empty((1, 3, PLANES_SIZE, PLANES_SIZE), np.float32)
        graph.warm_up()

    def score(self, sample: MotionSample) -> float:
        """The network's score of one frame; NaN without a flow over the last 0.1 s."""
        if not draw_planes(sample, self._planes[0], depth=self.depth):
            return math.nan
        return float(self._graph.run({INPUT_NAME: self._planes})[OUTPUT_NAME][0])


class DepthSpotter(NetworkSpotter):
    """A spotting network that sees depth change in place of strain.

    A frame whose depth picture is missing, or shows too little of the face, has no score.
    """

    depth = True


def draw_planes(sample: MotionSample, out: npt.NDArray[np.float32], *, depth: bool) -> bool:
    """Draw what a network sees of a frame.

    Args:
        sample: The frame.
        out: (3, 42, 42) float32, overwritten.
        depth: Whether the network sees depth change in place of strain.

    Returns:
        False where that is not known: without a flow, or without depth where depth is seen.
    """
    flow, change = sample.flow_delta, sample.depth_change
    if flow is None or (depth and change is None):
        return False
    if depth and change is not None:
        scene_planes(flow, change, sample.delta_s, out)
    else:
        composite_planes(flow, sample.delta_s, out)
    return True
