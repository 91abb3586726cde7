"""The script of a synthetic session: what the face, the head and the lamp do, and when.

A scenario lives in continuous time and knows no frame rate: sampled at 30 or 200 frames a second
it is the same session. Everything follows from a seed and a `ScenarioConfig`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from engines.events import EventKind
from engines.synthesis.expressions import EMOTIONS, prototypes_of
from engines.synthesis.hammerstein import Hammerstein, trapezoid, visible_interval
from engines.synthesis.head import AT_REST, HeadMotion, HeadPose, HeadRange

REFERENCE_INTER_OCULAR_PX = 100.0
"""Distance between the outer eye corners in a VGA picture, which amplitudes in pixels refer to."""


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError("the lower bound must not exceed the upper one")
    return span


Micro = Annotated[float, Field(ge=0.05, le=0.5)]
Macro = Annotated[float, Field(gt=0.5, le=4.0)]
Amplitude = Annotated[float, Field(gt=0.0, le=6.0)]
PerMinute = Annotated[float, Field(gt=0.0, le=60.0)]


class ScenarioConfig(BaseModel):
    """What happens in a synthetic session. Amplitudes are pixels of a 640×480 picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expressions: bool = Field(default=True, description="Micro- and macro-expressions.")
    head_motion: bool = Field(default=True, description="Sway, drift and turning of the head.")
    blinks: bool = Field(default=True, description="Blinks.")
    gaze: bool = Field(default=True, description="Small saccades.")
    ripple: bool = Field(default=True, description="Lamp ripple.")
    noise: bool = Field(default=True, description="Sensor noise.")

    expressions_per_min: PerMinute = Field(default=18.0, description="Mean rate of expressions.")
    micro_share: float = Field(default=0.7, ge=0, le=1, description="Share of micro-expressions.")
    micro_duration_s: Annotated[tuple[Micro, Micro], AfterValidator(_ordered)] = (0.12, 0.45)
    macro_duration_s: Annotated[tuple[Macro, Macro], AfterValidator(_ordered)] = (0.7, 3.0)
    micro_amplitude_px: Annotated[tuple[Amplitude, Amplitude], AfterValidator(_ordered)] = (
        0.3,
        3.0,
    )
    macro_amplitude_px: Annotated[tuple[Amplitude, Amplitude], AfterValidator(_ordered)] = (
        0.8,
        3.0,
    )
    min_gap_s: float = Field(
        default=1.0, gt=0, description="Shortest neutral time between expressions."
    )
    lead_s: float = Field(default=3.0, ge=0, description="Neutral time at the start.")
    quiet_s: tuple[tuple[float, float], ...] = Field(
        default=(), description="Stretches (from, to) without expressions, in seconds."
    )
    blinks_per_min: PerMinute = 17.0
    ripple_hz: float = Field(default=100.0, gt=0, description="Twice the mains frequency.")
    ripple_depth: float = Field(
        default=0.02, ge=0, le=0.2, description="Amplitude of the lamp's gain."
    )
    noise_sigma: float = Field(default=2.0, ge=0, le=4, description="Sensor noise in grey levels.")


@dataclass(frozen=True, slots=True)
class ScriptedExpression:
    """One expression and the course of its action units.

    Onset and offset are the first and last time at which the largest action unit shows at least
    10 % of its peak, the apex is the peak.

    Attributes:
        kind: Micro or macro.
        emotion: Class of the expression.
        action_units: Numbers of its action units.
        onset_s: Time of the onset.
        apex_s: Time of the apex.
        offset_s: Time of the offset.
        start_s: Time of the first value of `courses`.
        step_s: Time between two values.
        courses: (len(action_units), N) displacement in inter-ocular distances.
    """

    kind: EventKind
    emotion: str
    action_units: tuple[int, ...]
    onset_s: float
    apex_s: float
    offset_s: float
    start_s: float
    step_s: float
    courses: npt.NDArray[np.float64]

    @property
    def end_s(self) -> float:
        """Time after which nothing moves any more."""
        return self.start_s + self.step_s * (self.courses.shape[1] - 1)

    def at(self, time_s: float) -> tuple[tuple[int, float], ...]:
        """Return the action units that are displaced at a time, in inter-ocular distances."""
        position = (time_s - self.start_s) / self.step_s
        last = self.courses.shape[1] - 1
        if not 0 < position < last:
            return ()
        before = int(position)
        share = position - before
        values = (1 - share) * self.courses[:, before] + share * self.courses[:, before + 1]
        return tuple(zip(self.action_units, values.tolist(), strict=True))

    def truth(self) -> dict[str, Any]:
        """Return the JSON-ready truth of this expression."""
        return {
            "kind": self.kind.value,
            "onset_s": round(self.onset_s, 4),
            "apex_s": round(self.apex_s, 4),
            "offset_s": round(self.offset_s, 4),
            "emotion": self.emotion,
            "action_units": list(self.action_units),
        }


@dataclass(frozen=True, slots=True)
class ScriptedBlink:
    """One blink: the lid falls quickly, stays, and rises slowly.

    Attributes:
        start_s: Time at which the lid starts to fall.
        closing_s: Time from open to closed.
        hold_s: Time closed.
        opening_s: Time from closed to open.
        depth: Closure at the lowest point; 1 is closed.
    """

    start_s: float
    closing_s: float
    hold_s: float
    opening_s: float
    depth: float

    @property
    def end_s(self) -> float:
        """Time at which the eye is open again."""
        return self.start_s + self.closing_s + self.hold_s + self.opening_s

    def at(self, time_s: float) -> float:
        """Return the closure of the eye at a time."""
        down = _ease((time_s - self.start_s) / self.closing_s)
        up = _ease((self.end_s - time_s) / self.opening_s)
        return self.depth * min(down, up)


@dataclass(frozen=True, slots=True)
class Saccade:
    """The eyes jump and stay there until the next saccade.

    Attributes:
        start_s: Time at which the eyes start to turn.
        duration_s: Time of the jump.
        origin: Shift of the iris before, in inter-ocular distances.
        target: Shift of the iris after, in inter-ocular distances.
    """

    start_s: float
    duration_s: float
    origin: tuple[float, float]
    target: tuple[float, float]

    def at(self, time_s: float) -> tuple[float, float]:
        """Return the shift of the iris at a time."""
        share = _ease((time_s - self.start_s) / self.duration_s)
        x, y = (a + share * (b - a) for a, b in zip(self.origin, self.target, strict=True))
        return (x, y)


@dataclass(frozen=True, slots=True)
class FaceState:
    """Everything that a picture shows at one moment.

    Attributes:
        action_units: Displaced action units with their displacement in inter-ocular distances.
        head: Pose of the head.
        closure: Closure of the eyes; 0 open, 1 closed.
        gaze: Shift of the irises in inter-ocular distances.
        gain: Brightness of the lamp; 1 on average.
    """

    action_units: tuple[tuple[int, float], ...] = ()
    head: HeadPose = AT_REST
    closure: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0


class Script(Protocol):
    """What a picture can be drawn from."""

    config: ScenarioConfig
    seed: int

    def at(self, time_s: float) -> FaceState:
        """Return what the picture shows at a time."""
        ...


class Scenario:
    """The script of a session.

    Every aspect draws from its own random stream, so that switching one off leaves the others
    as they were.

    Args:
        config: What happens.
        seed: Any number from 0; the same seed gives the same session.
        duration_s: Length of the session in seconds. Expressions end before it does.

    Attributes:
        expressions: Expressions in order of time; they do not overlap.
        blinks: Blinks in order of time.
        saccades: Saccades in order of time.
    """

    def __init__(self, config: ScenarioConfig, seed: int, duration_s: float) -> None:
        self.config = config
        self.seed = seed
        self.duration_s = duration_s
        script, lids, eyes, head, lamp = (
            np.random.default_rng([seed, aspect]) for aspect in range(5)
        )
        self.expressions = tuple(script_expressions(script, config, duration_s, draw_expression))
        self.blinks = tuple(_blinks(lids, config.blinks_per_min, duration_s))
        self.saccades = tuple(_saccades(eyes, duration_s))
        if not config.expressions:
            self.expressions = ()
        self._head = HeadMotion(head, HeadRange())
        # Mains frequency is never exact: the ripple creeps through its phases.
        self._ripple_hz = config.ripple_hz * (1 + float(lamp.uniform(-5e-4, 5e-4)))
        self._ripple_phase = float(lamp.uniform(0, 2 * math.pi))
        self._expression_starts = [expression.start_s for expression in self.expressions]
        self._blink_starts = [blink.start_s for blink in self.blinks]
        self._saccade_starts = [saccade.start_s for saccade in self.saccades]

    def at(self, time_s: float) -> FaceState:
        """Return what the picture shows at a time."""
        config = self.config
        return FaceState(
            action_units=self._action_units(time_s),
            head=self._head.at(time_s) if config.head_motion else AT_REST,
            closure=self._closure(time_s) if config.blinks else 0.0,
            gaze=self._gaze(time_s) if config.gaze else (0.0, 0.0),
            gain=self._gain(time_s) if config.ripple else 1.0,
        )

    def truth(self) -> tuple[dict[str, Any], ...]:
        """Return the JSON-ready truth, one object an expression, in order of time."""
        return tuple(expression.truth() for expression in self.expressions)

    def _action_units(self, time_s: float) -> tuple[tuple[int, float], ...]:
        started = bisect_right(self._expression_starts, time_s)
        # The faint end of an expression may outlast the gap to the next one.
        recent = self.expressions[max(started - 2, 0) : started]
        return tuple(unit for expression in recent for unit in expression.at(time_s))

    def _closure(self, time_s: float) -> float:
        latest = bisect_right(self._blink_starts, time_s) - 1
        return self.blinks[latest].at(time_s) if latest >= 0 else 0.0

    def _gaze(self, time_s: float) -> tuple[float, float]:
        latest = bisect_right(self._saccade_starts, time_s) - 1
        return self.saccades[latest].at(time_s) if latest >= 0 else (0.0, 0.0)

    def _gain(self, time_s: float) -> float:
        phase = 2 * math.pi * self._ripple_hz * time_s + self._ripple_phase
        return 1.0 + self.config.ripple_depth * math.sin(phase)


def _ease(share: float) -> float:
    """From 0 to 1 with rest at both ends."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


# -- writing the script ---------------------------------------------------------------------------

_TAIL_SHARE = 0.001


def script_expressions(
    rng: np.random.Generator,
    config: ScenarioConfig,
    duration_s: float,
    draw: Callable[[np.random.Generator, ScenarioConfig, float], ScriptedExpression],
) -> Iterator[ScriptedExpression]:
    """Yield expressions at random times, never closer than the gap, never in a quiet stretch.

    Args:
        rng: Where everything is drawn from.
        config: How many and where.
        duration_s: Length of the session; the last expression ends before it does.
        draw: Draws one expression that starts to show at a time.
    """
    mean_s = (1 - config.micro_share) * sum(config.macro_duration_s) / 2
    mean_s += config.micro_share * sum(config.micro_duration_s) / 2
    mean_wait_s = max(60.0 / config.expressions_per_min - config.min_gap_s - mean_s, 0.05)
    free_s = config.lead_s
    while True:
        onset_s = free_s + float(rng.exponential(mean_wait_s))
        expression = draw(rng, config, onset_s)
        free_s = expression.offset_s + config.min_gap_s
        if expression.end_s >= duration_s:
            return
        if not any(
            expression.start_s < end and start < expression.end_s for start, end in config.quiet_s
        ):
            yield expression


def draw_expression(
    rng: np.random.Generator, config: ScenarioConfig, onset_s: float
) -> ScriptedExpression:
    """Draw one expression that starts to show at `onset_s`."""
    micro = rng.random() < config.micro_share
    kind = EventKind.MICRO if micro else EventKind.MACRO
    visible_s = float(rng.uniform(*(config.micro_duration_s if micro else config.macro_duration_s)))
    low, high = config.micro_amplitude_px if micro else config.macro_amplitude_px
    amplitude = float(rng.uniform(low, high)) / REFERENCE_INTER_OCULAR_PX
    emotion = EMOTIONS[int(rng.integers(len(EMOTIONS)))]
    prototypes = prototypes_of(emotion)
    strengths = prototypes[int(rng.integers(len(prototypes)))].strengths

    # Courses are drawn with the activation lasting one unit of time, then stretched to length.
    hold = float(rng.uniform(0.05, 0.25) if micro else rng.uniform(0.25, 0.5))
    attack = float(rng.uniform(0.3, 0.5)) * (1 - hold)
    muscle = Hammerstein(float(rng.uniform(1.0, 2.0)), float(rng.uniform(14.0, 24.0)))
    units = np.linspace(0.0, 2.0, 800)
    step = float(units[1])
    lags = rng.uniform(0.0, 0.08, len(strengths))
    lags[0] = 0.0
    activation = trapezoid(units - lags[:, None], attack, hold, 1 - attack - hold)
    courses = muscle.response(activation, step)
    courses /= courses.max(axis=1, keepdims=True)
    courses *= np.array([[strength] for _, strength in strengths])
    courses *= rng.uniform(0.85, 1.0, (len(strengths), 1))
    return place_expression(
        kind=kind,
        emotion=emotion,
        action_units=tuple(unit for unit, _ in strengths),
        courses=courses * (amplitude / courses.max()),
        onset_s=onset_s,
        visible_s=visible_s,
    )


def place_expression(
    *,
    kind: EventKind,
    emotion: str,
    action_units: tuple[int, ...],
    courses: npt.NDArray[np.float64],
    onset_s: float,
    visible_s: float,
) -> ScriptedExpression:
    """Stretch the courses of an expression so that it shows from `onset_s` for `visible_s`.

    Args:
        kind: Micro or macro.
        emotion: Class of the expression.
        action_units: Numbers of its action units.
        courses: (len(action_units), N) displacement in inter-ocular distances, at even steps.
        onset_s: Time at which the largest action unit reaches 10 % of its peak.
        visible_s: Time until it falls below 10 %.
    """
    largest = courses.max(axis=0)
    onset, apex, offset = visible_interval(largest)
    step_s = visible_s / (offset - onset)
    start_s = onset_s - onset * step_s
    end = int(np.flatnonzero(largest > _TAIL_SHARE * largest[apex])[-1]) + 2
    return ScriptedExpression(
        kind=kind,
        emotion=emotion,
        action_units=action_units,
        onset_s=onset_s,
        apex_s=start_s + apex * step_s,
        offset_s=onset_s + visible_s,
        start_s=start_s,
        step_s=step_s,
        courses=courses[:, :end],
    )


def _blinks(rng: np.random.Generator, per_min: float, duration_s: float) -> Iterator[ScriptedBlink]:
    """Blinks as people blink: 0.1 to 0.4 s long, seldom close together."""
    start_s = 0.0
    while True:
        start_s += 0.5 + float(rng.gamma(2.0, max(60.0 / per_min - 0.5, 0.1) / 2.0))
        if start_s >= duration_s:
            return
        blink = ScriptedBlink(
            start_s,
            closing_s=float(rng.uniform(0.05, 0.1)),
            hold_s=float(rng.uniform(0.0, 0.04)),
            opening_s=float(rng.uniform(0.1, 0.22)),
            depth=float(rng.uniform(0.8, 1.0)),
        )
        yield blink
        start_s = blink.end_s


def _saccades(rng: np.random.Generator, duration_s: float) -> Iterator[Saccade]:
    """Small jumps of the eyes around the camera."""
    start_s, gaze = 0.0, (0.0, 0.0)
    while True:
        start_s += 0.3 + float(rng.exponential(1.5))
        if start_s >= duration_s:
            return
        target = (float(rng.uniform(-0.015, 0.015)), float(rng.uniform(-0.005, 0.005)))
        yield Saccade(start_s, float(rng.uniform(0.03, 0.05)), gaze, target)
        gaze = target
