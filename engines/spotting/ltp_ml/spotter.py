"""LTP-ML live: patches, patterns, a linear machine, late fusion, events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import EngineError
from engines.events import Event, EventState
from engines.spotting.base import MotionSample, SpotterOutput
from engines.spotting.gating import EventGate, GateConfig, withdrawn
from engines.spotting.ltp_ml.following import Following, FollowingConfig
from engines.spotting.ltp_ml.fusion import Fused, FusionConfig, LateFusion
from engines.spotting.ltp_ml.patches import PATCH_NAMES, FacePatches
from engines.spotting.ltp_ml.patterns import FEATURES, PATTERN_S, features_of, pattern_at
from engines.spotting.running import History

Array = npt.NDArray[np.float32]

NAME = "ltp-ml"

MANIFEST = Path(__file__).parent / "ltp_ml.json"

_GATE_HISTORY_S = 3.0
_MAX_GAP_S = 0.1
"""Over a longer time without a face no pattern is interpolated."""


class Machine(BaseModel):
    """A linear support vector machine on patterns.

    Attributes:
        weights: Of CN and the distances.
        bias: What is added.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: tuple[float, ...] = Field(min_length=FEATURES, max_length=FEATURES)
    bias: float


class JudgeConfig(BaseModel):
    """Everything that decides on the machine's answers.

    Attributes:
        fusion: How answers become one.
        following: How long an event lasts.
        gates: Which events are withdrawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fusion: FusionConfig
    following: FollowingConfig
    gates: GateConfig


class LtpMlManifest(BaseModel):
    """All that was learned, and from what.

    Attributes:
        name: Name of the engine.
        version: Version of the weights.
        machine: Answers for each pattern; positive where something begins.
        decision: What decides on the answers.
        training: Data, protocol and seeds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    machine: Machine
    decision: JudgeConfig
    training: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PatchAnswers:
    """What the patches of a frame say.

    Attributes:
        coordinates: (12, 2) displacement in canonical pixels; overwritten by the next frame.
        answers: (12,) what the machine says; None while no whole pattern is known.
        cn: (12,) CN of each patch's pattern; None with `answers`.
    """

    coordinates: Array
    answers: Array | None
    cn: Array | None


class LocalPatterns:
    """The features of every patch's pattern, moment by moment.

    Args:
        fps: Highest frame rate to expect; only sizes the history.
    """

    def __init__(self, fps: float) -> None:
        self._history = History((len(PATCH_NAMES), 2), PATTERN_S + 2 * _MAX_GAP_S, fps)

    def reset(self) -> None:
        """Measurement starts anew."""
        self._history.reset()

    def push(self, time_s: float, coordinates: Array) -> Array | None:
        """Take the next moment.

        Args:
            time_s: Stream time in seconds.
            coordinates: (12, 2) displacement of the patches in canonical pixels.

        Returns:
            (12, FEATURES); None while no whole pattern is known.
        """
        self._history.push(time_s, 0, coordinates)
        times, _, known = self._history.since(time_s - PATTERN_S - _MAX_GAP_S)
        distances = pattern_at(times, known)
        return None if distances is None else features_of(distances)


class FaceJudge:
    """From the answers of the patches to micro-expressions.

    Args:
        config: What decides.
        fps: Highest frame rate to expect; only sizes histories.
        spotter: Name and version that events carry.
    """

    def __init__(self, config: JudgeConfig, fps: float, spotter: str) -> None:
        self.fusion = LateFusion(config.fusion)
        self.following = Following(config.following, fps, spotter)
        self._gate = EventGate(config.gates, _GATE_HISTORY_S, fps)

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self.interrupt("reset")
        self.following.reset()

    def interrupt(self, reason: str) -> tuple[Event, ...]:
        """The face is lost, measurement starts anew, or the stream ends."""
        events = self.following.interrupt(reason)
        self.fusion.reset()
        self._gate.reset()
        return tuple(events)

    def push(self, sample: MotionSample, coordinates: Array, fused: Fused | None) -> SpotterOutput:
        """Take a frame in which a face is followed.

        Args:
            sample: The frame.
            coordinates: (12, 2) displacement of the patches.
            fused: What `fusion` makes of it; None while no whole pattern is known.
        """
        self._gate.push(sample)
        self.following.history.push(sample.time_s, sample.index, coordinates)
        threshold = self.fusion.threshold
        events = self.following.push(
            sample.time_s, sample.index, fused, threshold, sample.gap_before > 0
        )
        score = 0.0 if fused is None else fused.score
        return SpotterOutput(score, threshold, tuple(map(self._judged, events)))

    def _judged(self, event: Event) -> Event:
        """A closed event must stand up to the motion of the face."""
        reason = self._gate.objection(event) if event.state is EventState.CLOSED else None
        return event if reason is None else withdrawn(event, reason)


class LtpMlSpotter:
    """Spots micro-expressions by how they begin in twelve patches of the face.

    Args:
        fps: Highest frame rate to expect; only sizes histories.
        manifest: What was learned; what ships when None.

    Raises:
        EngineError: The manifest is missing or corrupt.
    """

    name = NAME
    reads_delta_flow = False
    reads_strain = False

    def __init__(self, fps: float, manifest: LtpMlManifest | None = None) -> None:
        manifest = manifest or read_manifest(MANIFEST)
        self.version = manifest.version
        self._patches = FacePatches()
        self._local = LocalPatterns(fps)
        self._weights = np.array(manifest.machine.weights, np.float32)
        self._bias = np.float32(manifest.machine.bias)
        self._judge = FaceJudge(manifest.decision, fps, f"{self.name} {self.version}")
        self._seen_s = self._last_s = -np.inf

    @property
    def look_ahead_s(self) -> float:
        """Seconds after an apex that pass before it is confirmed, at most."""
        return self._judge.following.config.look_ahead_s

    @property
    def threshold(self) -> float:
        """What the face's answer must exceed; larger spots less."""
        return self._judge.fusion.threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        self._judge.fusion.threshold = threshold

    def push(self, sample: MotionSample) -> SpotterOutput:
        """Take the next frame; see `Spotter.push`."""
        return self.judge(sample, self.score(sample))

    def score(self, sample: MotionSample) -> PatchAnswers | None:
        """What the patches of the next frame say, whatever the threshold; None without a face."""
        if interruption(sample, self._seen_s):
            self._patches.reset()
            self._local.reset()
        if sample.face is None or sample.mesh is None:
            return None
        self._seen_s = sample.time_s
        coordinates = self._patches.push(sample.time_s, sample.face, sample.mesh)
        features = self._local.push(sample.time_s, coordinates)
        if features is None:
            return PatchAnswers(coordinates, None, None)
        return PatchAnswers(coordinates, features @ self._weights + self._bias, features[:, 0])

    def judge(self, sample: MotionSample, score: PatchAnswers | None) -> SpotterOutput:
        """Take the next frame, whose patches are known already."""
        reason = interruption(sample, self._last_s)
        events = self._judge.interrupt(reason) if reason else ()
        if score is None:
            return SpotterOutput(0.0, self.threshold, events)
        self._last_s = sample.time_s
        fused = None
        if score.answers is not None and score.cn is not None:
            fused = self._judge.fusion.push(sample.time_s, score.answers, score.cn)
        output = self._judge.push(sample, score.coordinates, fused)
        return SpotterOutput(output.score, output.threshold, events + output.events)

    def finish(self) -> tuple[Event, ...]:
        """End of stream: the open event is withdrawn."""
        return self._judge.interrupt("end_of_stream")

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._judge.reset()
        self._patches.reset()
        self._local.reset()
        self._seen_s = self._last_s = -np.inf


def interruption(sample: MotionSample, last_s: float) -> str | None:
    """Why measurement does not go on at a frame, if it does not.

    Args:
        sample: The frame.
        last_s: Time of the last frame with a face.
    """
    if sample.face is None or sample.mesh is None:
        return "face_lost"
    if sample.restart:
        return "realigned"
    return "gap" if sample.time_s - last_s > _MAX_GAP_S + 1e-6 else None


def read_manifest(path: Path) -> LtpMlManifest:
    """Read what was learned.

    Raises:
        EngineError: The file is missing or corrupt.
    """
    try:
        return LtpMlManifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise EngineError(
            f"The manifest {path} is missing or corrupt; reinstall Glint, or make it as its model "
            "card says."
        ) from error
