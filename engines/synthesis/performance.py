"""The script of a training clip: expressions among everything else that a face does.

Beside what the demo does (`Scenario`), action units come from re-encoded matrices (`aumr`), the
mouth talks, features drift slowly, and the head nods, shakes and settles anew. Nothing of that is
an expression; the truth names it as a distractor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.events import EventKind
from engines.synthesis.action_units import ACTION_UNITS
from engines.synthesis.aumr import measured_matrix, reencode
from engines.synthesis.expressions import EMOTIONS, prototypes_of
from engines.synthesis.hammerstein import Hammerstein
from engines.synthesis.head import HeadPose
from engines.synthesis.scenario import (
    REFERENCE_INTER_OCULAR_PX,
    FaceState,
    Scenario,
    ScenarioConfig,
    ScriptedExpression,
    place_expression,
    script_expressions,
)

_TALK_UNITS = (26, 20, 24, 10, 17)
_TALK_STEP_S = 0.005
_MATRIX_ROWS = 60
_SUPPORTED_UNITS = {
    emotion: tuple(sorted({u for p in prototypes_of(emotion) for u in p.action_units}))
    for emotion in EMOTIONS
}


@dataclass(frozen=True, slots=True)
class Distractor:
    """Something that is not an expression.

    Attributes:
        kind: `blink`, `saccade`, `talking`, `drift`, `nod`, `shake`, `tilt` or `posture`.
        start_s: When it starts.
        end_s: When it ends.
    """

    kind: str
    start_s: float
    end_s: float

    def truth(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "kind": self.kind,
            "start_s": round(self.start_s, 4),
            "end_s": round(self.end_s, 4),
        }


@dataclass(frozen=True, slots=True)
class Movement:
    """Action units that move without an expression.

    Attributes:
        action_units: Numbers of the units.
        start_s: Time of the first value of `courses`.
        step_s: Time between two values.
        courses: (len(action_units), N) displacement in inter-ocular distances, 0 at both ends.
    """

    action_units: tuple[int, ...]
    start_s: float
    step_s: float
    courses: npt.NDArray[np.float64]

    def at(self, time_s: float) -> tuple[tuple[int, float], ...]:
        """Return the displaced units at a time."""
        position = (time_s - self.start_s) / self.step_s
        before = math.floor(position)
        if not 0 <= before < self.courses.shape[1] - 1:
            return ()
        share = position - before
        values = (1 - share) * self.courses[:, before] + share * self.courses[:, before + 1]
        return tuple(zip(self.action_units, values.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Gesture:
    """The head goes to another pose, and back where `swings` is above 0.

    Attributes:
        start_s: When it starts.
        duration_s: How long it takes.
        pose: Largest difference from the pose without it (scale 1 means none).
        swings: Number of half waves; 0 stays at the new pose.
    """

    start_s: float
    duration_s: float
    pose: HeadPose
    swings: int

    def at(self, time_s: float) -> float:
        """Return the share of `pose` at a time."""
        share = min(max((time_s - self.start_s) / self.duration_s, 0.0), 1.0)
        if self.swings == 0:
            return share * share * (3 - 2 * share)
        return math.sin(math.pi * share) * math.sin(math.pi * self.swings * share)


class Performance:
    """The script of one training clip.

    Args:
        seed: Any number from 0; the same seed gives the same clip.
        duration_s: Length in seconds.
        expressions: False for a clip in which there is nothing to find.

    Attributes:
        config: What happens in it, as drawn from the seed.
        expressions: Expressions in order of time.
        distractors: Everything else that moves, in order of time.
    """

    def __init__(self, seed: int, duration_s: float, *, expressions: bool = True) -> None:
        self.seed = seed
        style, script, mouth, head = (np.random.default_rng([seed, 10 + k]) for k in range(4))
        talking = list(_talking_spells(mouth, duration_s))
        self.config = _draw_config(style, expressions, tuple(talking))
        self._calm = float(np.exp(style.uniform(math.log(0.3), math.log(1.6))))
        self._base = Scenario(
            self.config.model_copy(update={"expressions": False}), seed, duration_s
        )
        self.expressions = (
            tuple(script_expressions(script, self.config, duration_s, _draw_expression))
            if expressions
            else ()
        )
        drifts = list(_drifts(mouth, duration_s))
        self._movements: list[Movement] = [_talk(mouth, start, end) for start, end in talking]
        self._movements += [movement for movement, _ in drifts]
        gestures = list(_gestures(head, duration_s))
        self._gestures = [gesture for gesture, _ in gestures]
        happened = [Distractor("blink", b.start_s, b.end_s) for b in self._base.blinks]
        happened += [
            Distractor("saccade", s.start_s, s.start_s + s.duration_s) for s in self._base.saccades
        ]
        happened += [Distractor("talking", *spell) for spell in talking]
        happened += [distractor for _, distractor in (*drifts, *gestures)]
        self.distractors = tuple(sorted(happened, key=lambda d: d.start_s))

    def at(self, time_s: float) -> FaceState:
        """Return what the picture shows at a time."""
        state = self._base.at(time_s)
        moving: tuple[ScriptedExpression | Movement, ...] = (*self.expressions, *self._movements)
        units = tuple(unit for movement in moving for unit in movement.at(time_s))
        return replace(state, action_units=units, head=self._head(state.head, time_s))

    def truth(self) -> dict[str, Any]:
        """Return the JSON-ready truth: `events` and `distractors`."""
        events = [
            {**e.truth(), "amplitude": round(float(np.max(e.courses)), 5)} for e in self.expressions
        ]
        return {"events": events, "distractors": [d.truth() for d in self.distractors]}

    def _head(self, sway: HeadPose, time_s: float) -> HeadPose:
        pose = [self._calm * value for value in _offsets(sway)]
        for gesture in self._gestures:
            if time_s > gesture.start_s:
                share = gesture.at(time_s)
                pose = [a + share * b for a, b in zip(pose, _offsets(gesture.pose), strict=True)]
        x, y, roll, zoom, yaw, pitch = pose
        return HeadPose(x, y, roll, 1.0 + zoom, yaw, pitch)


def _offsets(pose: HeadPose) -> tuple[float, float, float, float, float, float]:
    """Difference of a pose from rest."""
    return pose.x, pose.y, pose.roll, pose.scale - 1.0, pose.yaw, pose.pitch


def _draw_config(
    rng: np.random.Generator, expressions: bool, talking: tuple[tuple[float, float], ...]
) -> ScenarioConfig:
    micro_per_min, macro_per_min = rng.uniform(10, 18), rng.uniform(3, 6)
    return ScenarioConfig(
        expressions=expressions,
        expressions_per_min=micro_per_min + macro_per_min,
        micro_share=micro_per_min / (micro_per_min + macro_per_min),
        micro_duration_s=(0.1, 0.5),
        macro_duration_s=(0.7, 3.0),
        macro_amplitude_px=(0.8, 5.0),
        min_gap_s=0.6,
        lead_s=2.0,
        quiet_s=talking,
        blinks_per_min=float(rng.uniform(6, 30)),
        ripple_hz=float(rng.choice([100.0, 120.0])),
        ripple_depth=float(rng.uniform(0.0, 0.03)),
        noise_sigma=float(rng.uniform(0.5, 3.5)),
    )


def _draw_expression(
    rng: np.random.Generator, config: ScenarioConfig, onset_s: float
) -> ScriptedExpression:
    """Draw an expression whose activations come from a re-encoded action-unit matrix."""
    micro = rng.random() < config.micro_share
    visible_s = float(rng.uniform(*(config.micro_duration_s if micro else config.macro_duration_s)))
    low, high = config.micro_amplitude_px if micro else config.macro_amplitude_px
    amplitude = float(rng.uniform(low, high)) / REFERENCE_INTER_OCULAR_PX
    emotion = EMOTIONS[int(rng.integers(len(EMOTIONS)))]
    units, matrix, apex = _draw_matrix(rng, emotion)

    # The activation lasts one unit of time: up, a hold at the apex, down.
    hold = float(rng.uniform(0.0, 0.15) if micro else rng.uniform(0.2, 0.5))
    rise = apex / (len(matrix) - 1)
    corners = np.array([0.0, rise, rise, 1.0]) * (1 - hold) + np.array([0.0, 0.0, hold, hold])
    peaks = matrix[apex]
    muscle = Hammerstein(float(rng.uniform(1.0, 2.0)), float(rng.uniform(14.0, 24.0)))
    times = np.linspace(0.0, 2.0, 800)
    lags = rng.uniform(0.0, 0.08, len(units))
    lags[int(peaks.argmax())] = 0.0
    activation = np.stack([np.interp(times - lag, corners, [0.0, 1.0, 1.0, 0.0]) for lag in lags])
    courses = muscle.response(activation, float(times[1]))
    courses *= (peaks / courses.max(axis=1))[:, None]
    return place_expression(
        kind=EventKind.MICRO if micro else EventKind.MACRO,
        emotion=emotion,
        action_units=units,
        courses=courses * (amplitude / courses.max()),
        onset_s=onset_s,
        visible_s=visible_s,
    )


def _draw_matrix(
    rng: np.random.Generator, emotion: str
) -> tuple[tuple[int, ...], npt.NDArray[np.float64], int]:
    """Units, their re-encoded matrix without absent units, and its row of the apex."""
    prototypes = prototypes_of(emotion)
    prototype = prototypes[int(rng.integers(len(prototypes)))]
    strengths = {unit: s * float(rng.uniform(0.7, 1.1)) for unit, s in prototype.strengths}
    if rng.random() < 0.35:  # people mix the ways to show one emotion
        strengths.setdefault(
            int(rng.choice(_SUPPORTED_UNITS[emotion])), float(rng.uniform(0.1, 0.5))
        )
    others = [unit for unit in ACTION_UNITS if unit not in strengths]
    stray = tuple(int(unit) for unit in rng.choice(others, 3, replace=False))
    units, intensity, presence = measured_matrix(rng, strengths, stray, _MATRIX_ROWS)
    matrix, apex = reencode(intensity, presence)
    kept = np.flatnonzero(matrix[apex] > 0)
    return tuple(units[column] for column in kept), matrix[:, kept], apex


def _talking_spells(rng: np.random.Generator, duration_s: float) -> Iterator[tuple[float, float]]:
    """When the mouth talks; never in most clips."""
    if rng.random() > 0.4:
        return
    start_s = 2.0 + float(rng.uniform(0, 8))
    while True:
        end_s = start_s + float(rng.uniform(1.5, 5.0))
        if end_s > duration_s - 1:
            return
        yield start_s, end_s
        start_s = end_s + float(rng.uniform(6, 15))


def _talk(rng: np.random.Generator, start_s: float, end_s: float) -> Movement:
    """Jaw and lips in the rhythm of syllables, 3 to 6 a second."""
    times = np.arange(0.0, end_s - start_s, _TALK_STEP_S)
    courses = np.zeros((len(_TALK_UNITS), len(times)))
    loudness = float(rng.uniform(0.012, 0.045))
    time_s = 0.0
    while True:
        syllable_s = float(rng.uniform(1 / 6, 1 / 3))
        if time_s + syllable_s > times[-1]:
            break
        bump = _bump((times - time_s) / (syllable_s * 1.15))
        shape = rng.uniform(0, 1, len(_TALK_UNITS)) * (1.0, 0.5, 0.5, 0.3, 0.3)
        courses += loudness * shape[:, None] * bump
        time_s += syllable_s + (float(rng.uniform(0.1, 0.5)) if rng.random() < 0.15 else 0.0)
    courses[:, -1] = 0.0
    return Movement(_TALK_UNITS, start_s, _TALK_STEP_S, courses)


def _drifts(rng: np.random.Generator, duration_s: float) -> Iterator[tuple[Movement, Distractor]]:
    """Features that move too slowly for an expression: 5 to 10 s up and down."""
    start_s = float(rng.uniform(0, 30))
    while start_s < duration_s - 2:
        lasts_s = float(rng.uniform(5, 10))
        unit = int(rng.choice([1, 2, 4, 12, 15, 17, 24]))
        height = float(rng.uniform(0.005, 0.015))
        share = np.linspace(0, 1, 101)
        movement = Movement((unit,), start_s, lasts_s / 100, height * _bump(share)[None])
        yield movement, Distractor("drift", start_s, start_s + lasts_s)
        start_s += lasts_s + float(rng.uniform(5, 40))


def _gestures(rng: np.random.Generator, duration_s: float) -> Iterator[tuple[Gesture, Distractor]]:
    """Nods, shakes, tilts and new postures, a few a minute."""
    start_s = 2.0 + float(rng.exponential(15))
    while start_s < duration_s - 1:
        size = float(rng.uniform(0.3, 1.0)) * (1 if rng.random() < 0.5 else -1)
        kind = str(rng.choice(["nod", "shake", "tilt", "posture"]))
        lasts_s = float(rng.uniform(0.5, 1.3))
        swings = int(rng.integers(1, 4))
        if kind == "nod":
            pose = HeadPose(y=0.06 * size, pitch=0.04 * size)
        elif kind == "shake":
            pose = HeadPose(x=0.04 * size, yaw=0.04 * size)
        elif kind == "tilt":
            pose, swings = HeadPose(roll=0.07 * size), 1
        else:
            x, y, yaw, pitch = rng.uniform(-1, 1, 4).tolist()
            pose = HeadPose(0.06 * x, 0.04 * y, 0.03 * size, 1 + 0.03 * y, 0.03 * yaw, 0.03 * pitch)
            swings = 0
        gesture = Gesture(start_s, lasts_s, pose, swings)
        yield gesture, Distractor(kind, start_s, start_s + lasts_s)
        start_s += lasts_s + float(rng.exponential(15))


def _bump(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Raised cosine between 0 and 1, nothing outside."""
    bump: npt.NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.clip(share, 0.0, 1.0))
    return bump
