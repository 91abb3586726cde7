"""LSSNet and LGSNet, live and on recordings: clip features to proposals, proposals to events.

Live (`ProposalSpotter`), the network sees the last 4.3 s whenever a step of features is complete,
nothing of what follows, and its proposals are merged as they come. An interval can be judged when
it is over and not before: a micro-expression is confirmed and closed at the same moment.

On recordings (`OfflineProposalSpotter`), it sees windows that overlap by half, with what comes
after an expression as well as what came before, and non-maximum suppression decides when the stream
has ended, as published. That is no live mode: nothing is told before the end.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError
from engines.events import Event, EventKind, EventState
from engines.features import clip_features
from engines.features.clip_features import ChunkEncoder, ClipFeatures, FeatureWindow, Step
from engines.features.grid import STEP_S
from engines.network_files import NetworkManifest, open_network
from engines.runtime import GraphRunner
from engines.spotting.base import MotionSample, SpotterOutput
from engines.spotting.gating import EventGate, GateConfig, withdrawn
from engines.spotting.proposals import (
    Candidate,
    MergeConfig,
    OnlineMerge,
    Proposals,
    half_overlapping,
    keep_best_of_windows,
    window_of,
)
from engines.spotting.running import History

INPUT_NAME, OUTPUT_NAME = "features", "proposals"

OFFLINE = "-offline"
"""What the name of an engine ends in that decides when the recording is over."""

STEPS = 64
"""Steps of a window."""

_MARGIN_S = 2.0


class ProposalManifest(NetworkManifest):
    """The manifest of a network of proposals.

    Attributes:
        backbone: Whose features it reads.
        live: How proposals become events as they come.
        offline: How they do when the recording is over.
    """

    backbone: str
    live: MergeConfig
    offline: MergeConfig


def preprocessing_of(encoder: ChunkEncoder) -> dict[str, object]:
    """What a network must have been trained on to read the features of a backbone."""
    return {"backbone": encoder.name, "backbone_sha256": encoder.sha256, "steps": STEPS}


class _Network:
    """The network of an engine and the backbone that it reads.

    Args:
        folder: Where the engine's files lie; its name is the engine's.
        backend: What runs both, one of `engines.runtime.BACKENDS`.
        backbones: Where the folders of backbones lie.

    Raises:
        EngineError: A file is missing or corrupt, or the network reads another backbone.
    """

    def __init__(self, folder: Path, backend: str, backbones: Path) -> None:
        described = folder / f"{folder.name}.json"
        try:
            backbone = ProposalManifest.model_validate_json(described.read_bytes()).backbone
        except (OSError, ValueError) as error:
            raise EngineError(
                f"The manifest {described} cannot be read; reinstall Glint, or make it as its "
                "model card says."
            ) from error
        self.encoder = ChunkEncoder(backbones / backbone, backend)
        try:
            self.manifest, self.graph = open_network(
                folder, folder.name, ProposalManifest, preprocessing_of(self.encoder), backend
            )
        except EngineError:
            self.encoder.close()
            raise
        self.encoder.warm_up()
        self.graph.warm_up()

    def propose(self, window: npt.NDArray[np.float32], end_s: float) -> Proposals:
        """Proposals of a window (64, F + 1) that ends at `end_s`."""
        return propose(self.graph, window[np.newaxis], [end_s])[0]

    @property
    def fallback(self) -> str | None:
        """Why a network does not run where it was asked to."""
        return self.graph.fallback or self.encoder.fallback

    def close(self) -> None:
        """Close both networks."""
        self.graph.close()
        self.encoder.close()


def propose(
    graph: GraphRunner, windows: npt.NDArray[np.float32], ends_s: Sequence[float]
) -> list[Proposals]:
    """Proposals of (N, 64, F + 1) windows that end at the given times."""
    outputs = graph.run({INPUT_NAME: windows})[OUTPUT_NAME]
    return [Proposals.of(each, end_s) for each, end_s in zip(outputs, ends_s, strict=True)]


class _Events:
    """Makes events of decided intervals: apex and regions by the motion of the face meanwhile.

    Args:
        config: What is micro and what is macro.
        fps: Highest frame rate to expect; only sizes histories.
        spotter: Name and version that events carry.
        history_s: How far back intervals may lie.
    """

    def __init__(self, config: MergeConfig, fps: float, spotter: str, history_s: float) -> None:
        self._config = config
        self._spotter = spotter
        self._gate = EventGate(
            GateConfig(micro_s=config.macro_s, return_share=math.inf, blink_share=0.0),
            history_s,
            fps,
        )
        self._frames = History((), history_s, fps)

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._gate.reset()
        self._frames.reset()

    def push(self, sample: MotionSample) -> None:
        """Remember a frame; what was measured before a restart does not compare."""
        self._frames.push(sample.time_s, sample.index, 0.0)
        if sample.restart or not sample.valid:
            self._gate.reset()
        if sample.valid:
            self._gate.push(sample)

    def tentative(self, found: Candidate) -> Event:
        """An interval that was proposed for the first time."""
        apex_s = (found.onset_s + found.offset_s) / 2
        return Event(
            id=found.id,
            state=EventState.TENTATIVE,
            onset_s=found.onset_s,
            apex_s=apex_s,
            offset_s=None,
            onset_frame=self._frames.index_at(found.onset_s),
            apex_frame=self._frames.index_at(apex_s),
            offset_frame=None,
            score=found.score,
            regions=(),
            spotter=self._spotter,
        )

    def decided(self, found: Candidate, now: float) -> tuple[Event, ...]:
        """An interval that stands: its confirmation and its end, or its withdrawal."""
        micro = found.offset_s - found.onset_s <= self._config.micro_s
        closed = self._gate.located(
            Event(
                id=found.id,
                state=EventState.CLOSED,
                onset_s=found.onset_s,
                apex_s=(found.onset_s + found.offset_s) / 2,
                offset_s=found.offset_s,
                onset_frame=self._frames.index_at(found.onset_s),
                apex_frame=self._frames.index_at((found.onset_s + found.offset_s) / 2),
                offset_frame=self._frames.index_at(found.offset_s),
                score=found.score,
                regions=(),
                kind=EventKind.MICRO if micro else EventKind.MACRO,
                decided_s=now,
                spotter=self._spotter,
            )
        )
        objection = self._gate.objection(closed)
        if objection is not None:
            return (withdrawn(closed, objection),)
        return confirmed(closed), closed


def confirmed(closed: Event) -> Event:
    """The confirmation that goes before the end of an event."""
    return replace(
        closed,
        state=EventState.CONFIRMED,
        offset_s=None,
        offset_frame=None,
        kind=None,
        decided_s=None,
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What the networks make of one frame.

    Attributes:
        goes_on: Whether what is measured goes on after it.
        proposed: The end of each window that it completes, and what is proposed for that window.
    """

    goes_on: bool
    proposed: tuple[tuple[float, Proposals], ...]


def _told_after_s(config: MergeConfig) -> float:
    """How long after its end an event is decided at the latest."""
    return config.settle_s + config.reach_s + config.hold_s + 2 * STEP_S


class ProposalSpotter:
    """LSSNet or LGSNet, live.

    Args:
        folder: Where the engine's files lie; its name is the engine's.
        fps: Highest frame rate to expect; only sizes histories.
        backend: What runs the networks, one of `engines.runtime.BACKENDS`.
        backbones: Where the folders of backbones lie.

    Raises:
        EngineError: A file is missing or corrupt, or the network reads another backbone.
    """

    reads_delta_flow = True
    reads_strain = True

    def __init__(
        self,
        folder: Path,
        fps: float,
        backend: str = "auto",
        backbones: Path = clip_features.LIGHT.parent,
    ) -> None:
        self.name = folder.name
        self._network = _Network(folder, backend, backbones)
        manifest = self._network.manifest
        self.version = manifest.version
        self.model_sha256 = manifest.sha256
        self.backend = self._network.graph.backend
        self.fallback = self._network.fallback
        self.config = manifest.live
        self._features = ClipFeatures(self._network.encoder)
        self._window = FeatureWindow(STEPS, self._network.encoder.size)
        self._merge = OnlineMerge(self.config)
        history_s = self.config.macro_s + _told_after_s(self.config) + _MARGIN_S
        self._events = _Events(self.config, fps, f"{self.name} {self.version}", history_s)
        self.reset()

    @property
    def look_ahead_s(self) -> float:
        """Seconds after the apex of a micro-expression that pass before it is confirmed, at most.

        A macro-expression is confirmed when it is over, too.
        """
        config = self.config
        return config.micro_s + _told_after_s(config)

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._features.reset()
        self._window.reset()
        self._merge.reset()
        self._events.reset()
        self._score = 0.0
        self._last_s = -math.inf

    @property
    def threshold(self) -> float:
        """Least log-odds of an event; larger spots less."""
        return math.log(self.config.threshold / (1 - self.config.threshold))

    @threshold.setter
    def threshold(self, log_odds: float) -> None:
        probability = 1 / (1 + math.exp(-log_odds))
        self.config = self.config.model_copy(update={"threshold": probability})
        self._merge.config = self.config

    def score(self, sample: MotionSample) -> Seen:
        """What the networks make of the next frame."""
        proposed = []
        for step in self._features.push(sample):
            self._window.push(step)
            found = self._network.propose(self._window.values, step.time_s)
            proposed.append((step.time_s, found))
        return Seen(self._features.going_on, tuple(proposed))

    def judge(self, sample: MotionSample, seen: Seen) -> SpotterOutput:
        """What becomes of that; `seen` may be another spotter's of the same network."""
        changes: list[Event] = []
        if not seen.goes_on:
            changes += self._close(self._merge.finish(), sample.time_s)
            self._score = 0.0
        self._events.push(sample)
        self._last_s = sample.time_s
        for time_s, proposals in seen.proposed:
            self._score = float(self._recent(proposals, time_s).score.max(initial=0.0))
            new, decided = self._merge.push(time_s, proposals)
            changes += map(self._events.tentative, new)
            changes += self._close(decided, sample.time_s)
        return SpotterOutput(self._score, self.config.threshold, tuple(changes))

    def push(self, sample: MotionSample) -> SpotterOutput:
        """Take the next frame; see `Spotter.push`."""
        return self.judge(sample, self.score(sample))

    def finish(self) -> tuple[Event, ...]:
        """End of stream: what was proposed stands."""
        return tuple(self._close(self._merge.finish(), self._last_s))

    def close(self) -> None:
        """Close the networks."""
        self._network.close()

    def _recent(self, proposals: Proposals, now: float) -> Proposals:
        """Those that a decision may be made on now."""
        latest_s = now - self.config.settle_s
        ended = proposals.offset_s <= latest_s
        return proposals.only(ended & (proposals.offset_s >= latest_s - self.config.reach_s))

    def _close(self, decided: Sequence[Candidate], now: float) -> list[Event]:
        return [event for each in decided for event in self._events.decided(each, now)]


class OfflineProposalSpotter:
    """LSSNet or LGSNet on a recording, as published: it decides when the stream has ended.

    `push` only collects; every event comes from `finish`, confirmed and closed. Its decisions use
    what came after an expression, so it is no spotter for a live source.

    Args:
        folder: Where the engine's files lie.
        backend: What runs the networks, one of `engines.runtime.BACKENDS`.
        backbones: Where the folders of backbones lie.

    Raises:
        EngineError: A file is missing or corrupt, or the network reads another backbone.
    """

    reads_delta_flow = True
    reads_strain = True
    look_ahead_s = math.inf

    def __init__(
        self, folder: Path, backend: str = "auto", backbones: Path = clip_features.LIGHT.parent
    ) -> None:
        self.name = f"{folder.name}{OFFLINE}"
        self._network = _Network(folder, backend, backbones)
        manifest = self._network.manifest
        self.version = manifest.version
        self.model_sha256 = manifest.sha256
        self.backend = self._network.graph.backend
        self.fallback = self._network.fallback
        self.config = manifest.offline
        self._features = ClipFeatures(self._network.encoder)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._features.reset()
        self._steps: list[Step] = []
        self._frames: list[tuple[float, int]] = []

    def push(self, sample: MotionSample) -> SpotterOutput:
        """Take the next frame; nothing is told of it yet."""
        self._steps += self._features.push(sample)
        self._frames.append((sample.time_s, sample.index))
        return SpotterOutput(0.0, math.inf)

    def finish(self) -> tuple[Event, ...]:
        """The recording is over: all its events, in order of onset."""
        if not self._steps:
            return ()
        starts = np.array([step.starts for step in self._steps])
        values = np.stack([step.values for step in self._steps])
        found = keep_best_of_windows(
            (
                self._network.propose(
                    window_of(values, first, stop, STEPS), self._steps[stop - 1].time_s
                )
                for first, stop in half_overlapping(starts, STEPS)
            ),
            self.config,
        )
        events: list[Event] = []
        for number, at in enumerate(np.argsort(found.onset_s, kind="stable"), start=1):
            closed = self._closed(number, found.only(np.array([at])))
            events += [confirmed(closed), closed]
        return tuple(events)

    def close(self) -> None:
        """Close the networks."""
        self._network.close()

    def _closed(self, number: int, found: Proposals) -> Event:
        onset_s, offset_s = float(found.onset_s[0]), float(found.offset_s[0])
        apex_s = (onset_s + offset_s) / 2
        micro = offset_s - onset_s <= self.config.micro_s
        return Event(
            id=number,
            state=EventState.CLOSED,
            onset_s=onset_s,
            apex_s=apex_s,
            offset_s=offset_s,
            onset_frame=self._frame_at(onset_s),
            apex_frame=self._frame_at(apex_s),
            offset_frame=self._frame_at(offset_s),
            score=float(found.score[0]),
            regions=(),
            kind=EventKind.MICRO if micro else EventKind.MACRO,
            decided_s=self._frames[-1][0],
            spotter=f"{self.name} {self.version}",
        )

    def _frame_at(self, time_s: float) -> int:
        after = bisect_left(self._frames, (time_s, 0))
        near = self._frames[max(after - 1, 0) : after + 1]
        return min(near, key=lambda frame: abs(frame[0] - time_s))[1]
