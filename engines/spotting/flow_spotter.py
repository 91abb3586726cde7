"""The training-free spotter: optical flow of facial regions, causal from end to end.

It follows the optical-flow family that won the MEGC spotting challenge of 2021 (He 2021; region
flow, head motion removed by the nose, band-limited, thresholded, peaks to intervals), with every
step that looks ahead replaced:

======================================  =====================================================
published                               here
======================================  =====================================================
flow against a window's first frame     flow against a rolling neutral reference, minus the
                                        running median of the last second
FFT band-pass, EMD                      two-pole low-pass and the running median
whole-video threshold                   running median + c·MAD, warmed up from a prior
local maximum within ±k frames          maximum that nothing exceeds for `look_ahead_s`
non-maximum suppression                 one open event at a time, merged while it lasts
======================================  =====================================================

Each region's displacement is divided by its own running noise level, so that a brow and a chin
count alike. The score is the root mean square of the three strongest regions. At the apex the
displacement of all regions is kept as the event's direction; the course of the event is the
projection on it, which is much less noisy than the score, and the interval is where that course
exceeds a share of its apex.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engines.events import Event, EventKind, EventState
from engines.motion.canonical import REGION_NAMES
from engines.spotting.base import MotionSample, SpotterOutput
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.running import History, LowPass, RunningMedian

_R = len(REGION_NAMES)
_ROWS = _R + 2  # regions, then the two eye apertures
_STRONGEST = 3
_RAYLEIGH_MEDIAN = 1.1774  # median length of a 2-D normal vector of unit variance
_MUTED_NAMES = frozenset(
    name for name in REGION_NAMES if name.endswith(("eyelid", "brow_inner", "brow_outer"))
)
_MUTED_BY_EYES = np.array([name in _MUTED_NAMES for name in REGION_NAMES])


@dataclass(slots=True)
class _Open:
    """The event that is going on."""

    event: Event
    neutral: npt.NDArray[np.float32]  # (ROWS, 2)
    direction: npt.NDArray[np.float32]  # (ROWS, 2), weights of the projection, apex gives 1
    seen_s: float  # when the apex was seen, filter delay included
    peak: float  # largest score
    course: float  # projection at the last frame
    fall_to: float  # the interval is where the course exceeds this
    last: tuple[float, float]  # time and course of the frame before
    blinked: bool
    gap: bool


class FlowSpotter:
    """Spots expressions by region motion, without training.

    Args:
        config: Thresholds and time constants.
        fps: Highest frame rate to expect; only sizes the history.
    """

    name = "flow"
    version = "1"

    def __init__(self, config: FlowSpotterConfig, fps: float) -> None:
        self.config = config
        self.threshold_factor = config.threshold_factor
        self._smooth = LowPass((_ROWS, 2), config.smooth_s)
        self._neutral = RunningMedian((_ROWS, 2), config.neutral_s, 20.0, 0.05)
        self._noise = RunningMedian(
            (_ROWS,),
            20.0,
            20.0,
            0.25,
            prior=config.prior_noise_iod * _RAYLEIGH_MEDIAN,
            prior_s=config.warm_up_s,
        )
        self._level = RunningMedian(
            (),
            config.threshold_window_s,
            30.0,
            0.1,
            prior=1.3,
            prior_spread=0.3,
            prior_s=config.warm_up_s,
        )
        self._history = History((_ROWS, 2), config.macro_s + 1.5, fps)
        self._sample = np.zeros((_ROWS, 2), np.float32)
        self._next_id = 1
        self.reset()

    @property
    def look_ahead_s(self) -> float:
        """Seconds after an apex that pass before it is confirmed, filter delay included."""
        return self.config.look_ahead_s + self._smooth.delay_s

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._noise.reset()
        self._level.reset()
        self._next_id = 1
        self._open: _Open | None = None
        self._score = 0.0
        self._restart()

    def _restart(self) -> None:
        """Start measuring anew; what is known of noise stays."""
        self._smooth.reset()
        self._neutral.reset()
        self._history.reset()
        self._started_s: float | None = None
        self._armed = True  # the score has been below the threshold since the last event
        self._eyes_moved_s = -math.inf

    def push(self, sample: MotionSample) -> SpotterOutput:
        """Take the next frame; see `Spotter.push`."""
        changes: list[Event] = []
        config = self.config
        if not sample.valid or sample.restart or sample.gap_before:
            self._interrupt(sample, changes)
        if not sample.valid:
            self._restart()
            self._score = 0.0
            return SpotterOutput(0.0, self._threshold(), tuple(changes))
        now = sample.time_s
        if self._started_s is None:
            self._started_s = now
        self._sample[:_R] = sample.motion
        self._sample[_R:] = sample.eyes
        smooth = self._smooth.push(now, self._sample)
        self._history.push(now, sample.index, smooth)
        if self._open is None:
            self._neutral.push(now, smooth)
        moved = smooth - (self._neutral.median if self._open is None else self._open.neutral)
        length = np.sqrt(np.square(moved).sum(axis=1))
        if self._noise.push(now, length):
            self._sigma = np.maximum(self._noise.median / _RAYLEIGH_MEDIAN, config.noise_floor_iod)
        strength = length / self._sigma
        if length[_R:].max() > config.blink_iod:
            self._eyes_moved_s = now
        blinking = now - self._eyes_moved_s <= config.blink_hold_s
        usable = strength[:_R]
        if blinking:
            usable = np.where(_MUTED_BY_EYES, 0.0, usable)
        strongest = np.partition(usable, _R - _STRONGEST)[_R - _STRONGEST :]
        score = float(np.sqrt(np.square(strongest).mean()))
        self._score = score
        threshold = self._threshold()
        if self._level.push(now, score):
            self._level.refresh_mad()
        if self._open is not None:
            self._follow(self._open, sample, score, moved, usable, blinking, changes)
        elif score <= threshold:
            self._armed = True
        elif (
            self._armed
            and now - self._started_s >= config.settle_s
            and sample.head_speed <= config.max_head_speed
        ):
            self._begin(sample, score, moved, usable, blinking, changes)
        return SpotterOutput(score, threshold, tuple(changes))

    def finish(self) -> tuple[Event, ...]:
        """End the open event at the last frame."""
        changes: list[Event] = []
        if self._open is not None:
            self._cut_off(self._open, "end_of_stream", changes)
        return tuple(changes)

    # -- the life of an event ----------------------------------------------------------------

    def _threshold(self) -> float:
        return float(self._level.median + self.threshold_factor * self._level.mad)

    def _interrupt(self, sample: MotionSample, changes: list[Event]) -> None:
        """What a lost face, a restart or a gap does to the event that is open."""
        if not sample.valid or sample.restart:
            if self._open is not None:
                self._cut_off(self._open, "realigned" if sample.valid else "face_lost", changes)
            self._restart()
        elif self._open is not None:
            self._open.gap = True

    def _begin(
        self,
        sample: MotionSample,
        score: float,
        moved: npt.NDArray[np.float32],
        usable: npt.NDArray[np.float32],
        blinking: bool,
        changes: list[Event],
    ) -> None:
        apex_s = sample.time_s - self._smooth.delay_s
        event = Event(
            id=self._next_id,
            state=EventState.TENTATIVE,
            onset_s=apex_s,
            apex_s=apex_s,
            offset_s=None,
            onset_frame=sample.index,
            apex_frame=sample.index,
            offset_frame=None,
            score=score,
            regions=(),
            spotter=f"{self.name} {self.version}",
        )
        self._next_id += 1
        self._open = _Open(
            event=event,
            neutral=self._neutral.median.copy(),
            direction=np.zeros((_ROWS, 2), np.float32),
            seen_s=sample.time_s,
            peak=score,
            course=1.0,
            fall_to=1.0,
            last=(sample.time_s, 1.0),
            blinked=blinking,
            gap=False,
        )
        self._set_apex(self._open, sample, score, moved, usable)
        changes.append(self._open.event)

    def _set_apex(
        self,
        open_: _Open,
        sample: MotionSample,
        score: float,
        moved: npt.NDArray[np.float32],
        usable: npt.NDArray[np.float32],
    ) -> None:
        """Take this frame as the apex: its displacement becomes the event's direction."""
        order = np.argsort(-usable)
        carried = order[usable[order] >= 0.5 * usable[order[0]]]
        weights = np.zeros((_ROWS, 2), np.float32)
        weights[carried] = moved[carried] / np.square(self._sigma[carried, None])
        open_.direction = weights / max(float((weights * moved).sum()), 1e-12)
        open_.seen_s = sample.time_s
        open_.peak = score
        # As far down as the noise lets the course be followed.
        noise = float(self._level.median) / score
        open_.fall_to = min(max(self.config.fall_to, 2.0 * noise), 0.4)
        open_.event = replace(
            open_.event,
            apex_s=sample.time_s - self._smooth.delay_s,
            apex_frame=sample.index,
            score=score,
            regions=tuple(REGION_NAMES[i] for i in carried[:6]),
        )

    def _follow(
        self,
        open_: _Open,
        sample: MotionSample,
        score: float,
        moved: npt.NDArray[np.float32],
        usable: npt.NDArray[np.float32],
        blinking: bool,
        changes: list[Event],
    ) -> None:
        config = self.config
        now = sample.time_s
        open_.blinked |= blinking
        if blinking and not set(open_.event.regions) - _MUTED_NAMES:
            # It began with the lids, before the eye itself was seen to close.
            self._withdraw(open_, "blink", changes)
            return
        if score > open_.peak and sample.head_speed <= config.max_head_speed:
            self._set_apex(open_, sample, score, moved, usable)
        before = open_.last
        # Both the apex's own movement and any other must have gone for the face to be neutral.
        open_.course = max(
            float((open_.direction * moved).sum()), 0.6 * score / open_.peak
        )
        open_.last = (now, open_.course)
        if open_.event.state is EventState.TENTATIVE:
            if now - open_.seen_s >= config.look_ahead_s - 1e-6:
                self._confirm(open_, changes)
        if open_.event.state is EventState.CONFIRMED and open_.course <= open_.fall_to:
            share = _crossing(before[1], open_.course, open_.fall_to)
            self._close(open_, before[0] + share * (now - before[0]), now, changes)
        elif now - open_.event.onset_s >= config.macro_s:
            if open_.event.state is EventState.TENTATIVE:
                self._confirm(open_, changes)
            self._close(open_, now, now, changes, "sustained")
            # What lasts this long is the new neutral face.
            self._neutral.fill(self._smooth.value)

    def _confirm(self, open_: _Open, changes: list[Event]) -> None:
        """The apex stands: find the onset behind it."""
        config = self.config
        since = open_.seen_s - config.macro_s
        times, _, samples = self._history.since(since)
        before = int(np.searchsorted(times, open_.seen_s + 1e-9))
        course = ((samples[:before] - open_.neutral) * open_.direction).sum(axis=(1, 2))
        below = np.flatnonzero(course <= open_.fall_to)
        at = int(below[-1]) if len(below) else 0
        onset_s = float(times[at])
        if len(below) and at + 1 < before:
            share = _crossing(float(course[at]), float(course[at + 1]), open_.fall_to)
            onset_s += share * float(times[at + 1] - times[at])
        onset_s = min(onset_s - self._smooth.delay_s, open_.event.apex_s)
        open_.event = replace(
            open_.event,
            state=EventState.CONFIRMED,
            onset_s=onset_s,
            onset_frame=self._frame_at(onset_s),
            apex_frame=self._frame_at(open_.event.apex_s),
        )
        changes.append(open_.event)

    def _close(
        self,
        open_: _Open,
        seen_s: float,
        now: float,
        changes: list[Event],
        *quality: str,
    ) -> None:
        """The offset is known: decide what it was."""
        config = self.config
        if open_.event.state is EventState.TENTATIVE:
            self._confirm(open_, changes)
        event = open_.event
        offset_s = max(seen_s - self._smooth.delay_s, event.apex_s)
        duration = offset_s - event.onset_s
        if duration < config.min_event_s:
            self._withdraw(open_, "too_short", changes)
            return
        flags = [*quality]
        if open_.gap:
            flags.append("gap")
        if open_.blinked:
            flags.append("blink")
        self._open = None
        self._armed = False
        changes.append(
            replace(
                event,
                state=EventState.CLOSED,
                offset_s=offset_s,
                apex_frame=self._frame_at(event.apex_s),
                offset_frame=self._frame_at(offset_s),
                kind=EventKind.MICRO if duration <= config.micro_s else EventKind.MACRO,
                decided_s=now,
                quality=tuple(flags),
            )
        )

    def _frame_at(self, time_s: float) -> int:
        """Index of the frame nearest to a time."""
        times, indices, _ = self._history.since(time_s)
        around = self._history.since(-math.inf)
        first = len(around[0]) - len(times)
        if first and (not len(times) or time_s - around[0][first - 1] < times[0] - time_s):
            return int(around[1][first - 1])
        return int(indices[0])

    def _cut_off(self, open_: _Open, reason: str, changes: list[Event]) -> None:
        """The face or the stream ends during an event.

        What has lasted longer than a micro-expression is a macro-expression whose offset nobody
        saw; anything shorter could still have become either, so it is withdrawn.
        """
        now = open_.last[0]
        if open_.event.state is EventState.TENTATIVE:
            self._confirm(open_, changes)
        if now - self._smooth.delay_s - open_.event.onset_s > self.config.micro_s:
            self._close(open_, now, now, changes, "truncated", reason)
        else:
            self._withdraw(open_, reason, changes)

    def _withdraw(self, open_: _Open, reason: str, changes: list[Event]) -> None:
        self._open = None
        self._armed = False
        changes.append(replace(open_.event, state=EventState.WITHDRAWN, quality=(reason,)))


def _crossing(before: float, after: float, level: float) -> float:
    """Where between two values a level is crossed, 0 to 1."""
    if before == after:
        return 1.0
    return min(1.0, max(0.0, (before - level) / (before - after)))
