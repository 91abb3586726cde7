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

Noise level, threshold and neutral face are learned from rest: they stand still while an event is
open or the eyes are shut. Eyelids follow every blink and every glance, so they accompany an event
but never make one; while the eyes are shut the brows are mute too, and the rest must be clearer,
as everything must be right after a glance.

A mouth that speaks moves as fast and as far as a micro-expression, but one syllable follows
another: a short movement of the mouth right after others is withdrawn as speech. The first
syllable cannot be told from an expression without waiting for the second.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from engines.events import Event, EventKind, EventState
from engines.motion.canonical import REGION_NAMES
from engines.spotting.base import MotionSample, SpotterOutput
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.running import History, LowPass, RunningMedian, crossing

_R = len(REGION_NAMES)
_ROWS = _R + 2  # regions, then the two eye apertures
_STRONGEST = 3
_RAYLEIGH_MEDIAN = 1.1774  # median length of a 2-D normal vector of unit variance
_EYELIDS = np.array([name.endswith("eyelid") for name in REGION_NAMES])
_BROWS = np.array(["brow" in name for name in REGION_NAMES])
_MOUTH = frozenset(
    name for name in REGION_NAMES if "lip" in name or "mouth" in name or name == "chin"
)


@dataclass(frozen=True, slots=True)
class _Look:
    """One frame as the decision sees it."""

    time_s: float
    index: int
    moved: npt.NDArray[np.float32]  # (ROWS, 2) displacement from neutral
    strength: npt.NDArray[np.float64]  # (R,) in noise levels, mute regions 0
    score: float
    bar: float  # what the score must exceed now
    blinking: bool
    steady: bool  # the head moves slowly enough


@dataclass(slots=True)
class _Open:
    """The event that is going on."""

    event: Event
    neutral: npt.NDArray[np.float32]  # (ROWS, 2)
    began_s: float
    rest: float  # score at which the face counts as neutral again
    direction: npt.NDArray[np.float32]  # (ROWS, 2), weights of the projection; the apex gives 1
    fall_to: float  # the interval is where the course exceeds this
    seen_s: float  # when the apex was seen, filter delay included
    last: tuple[float, float]  # time of the frame before, and how far it was from the end
    weak: bool = True  # not far above the threshold so far
    brows_only: bool = False
    firm_onset_s: float = math.inf  # onset when it was confirmed, if it was strong by then
    blinked: bool = False
    gap: bool = False


class FlowSpotter:
    """Spots expressions by region motion, without training.

    Args:
        config: Thresholds and time constants.
        fps: Highest frame rate to expect; only sizes the history.
    """

    name = "flow"
    version = "2"
    reads_delta_flow = False
    reads_strain = False

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
        self._sigma = self._noise.median / _RAYLEIGH_MEDIAN
        self._level.reset()
        self._next_id = 1
        self._open: _Open | None = None
        self._restart()

    def _restart(self) -> None:
        """Start measuring anew; what is known of noise stays."""
        self._smooth.reset()
        self._neutral.reset()
        self._history.reset()
        self._started_s: float | None = None
        self._armed = True  # the score has been below the bar since the last event
        self._eyes_shut_s = -math.inf
        self._eyes_open_s = -math.inf
        self._glance_s = -math.inf
        self._mouth_moved_s: deque[float] = deque()  # apexes of recent short mouth movements

    def push(self, sample: MotionSample) -> SpotterOutput:
        """Take the next frame; see `Spotter.push`."""
        changes: list[Event] = []
        if not sample.valid or sample.restart:
            if self._open is not None:
                self._cut_off(self._open, "realigned" if sample.valid else "face_lost", changes)
            self._restart()
        elif sample.gap_before and self._open is not None:
            self._open.gap = True
        threshold = float(self._level.median + self.threshold_factor * self._level.mad)
        if not sample.valid:
            return SpotterOutput(0.0, threshold, tuple(changes))
        if self._started_s is None:
            self._started_s = sample.time_s
        look = self._look(sample, threshold)
        if self._open is not None:
            self._follow(self._open, look, changes)
        elif look.score <= look.bar:
            self._armed = True
        elif self._armed and look.steady and look.time_s - self._started_s >= self.config.settle_s:
            self._begin(look, changes)
        return SpotterOutput(look.score, threshold, tuple(changes))

    def finish(self) -> tuple[Event, ...]:
        """End the open event at the last frame."""
        changes: list[Event] = []
        if self._open is not None:
            self._cut_off(self._open, "end_of_stream", changes)
        return tuple(changes)

    def _look(self, sample: MotionSample, threshold: float) -> _Look:
        """Smooth, compare with neutral and noise, score; learn from rest."""
        config, now = self.config, sample.time_s
        self._sample[:_R] = sample.motion
        self._sample[_R:] = sample.eyes
        smooth = self._smooth.push(now, self._sample)
        self._history.push(now, sample.index, smooth)
        if self._open is None or self._open.weak:
            # A drift that crosses the threshold is caught up with, an expression is not.
            self._neutral.push(now, smooth)
            neutral = self._neutral.median
            if self._open is not None:
                np.copyto(self._open.neutral, neutral)
        else:
            neutral = self._open.neutral
        moved = smooth - neutral
        length = np.sqrt(np.square(moved).sum(axis=1))
        # Lids close downwards on both eyes; a raised or tightened lid moves the other way.
        # What stays shut is no blink: cheeks push the eyes shut in a smile.
        if (moved.item(_R, 1) + moved.item(_R + 1, 1)) / 2 <= config.blink_iod:
            self._eyes_open_s = now
        elif now - self._eyes_open_s <= config.blink_s:
            self._eyes_shut_s = now
        blinking = now - self._eyes_shut_s <= config.blink_hold_s
        # A glance drags the skin around the eyes along: whatever begins with it must be clearer.
        before = self._history.since(now - config.gaze_s)[2][0]
        across = smooth.item(_R, 0) + smooth.item(_R + 1, 0)
        if abs(across - before.item(_R, 0) - before.item(_R + 1, 0)) / 2 > config.gaze_iod:
            self._glance_s = now
        caution = config.gaze_caution if now - self._glance_s <= config.gaze_s else 1.0
        if blinking:
            caution = config.blink_caution
        strength = length[:_R] / self._sigma[:_R]
        strength[_EYELIDS] = 0
        if blinking:
            strength[_BROWS] = 0
        strongest = np.partition(strength, _R - _STRONGEST)[_R - _STRONGEST :]
        score = math.sqrt(float(strongest @ strongest) / _STRONGEST)
        if self._open is None and not blinking:
            if self._noise.push(now, length):
                floor = config.noise_floor_iod
                self._sigma = np.maximum(self._noise.median / _RAYLEIGH_MEDIAN, floor)
            if self._level.push(now, score):
                self._level.refresh_mad()
        return _Look(
            time_s=now,
            index=sample.index,
            moved=moved,
            strength=strength,
            score=score,
            bar=threshold * caution,
            blinking=blinking,
            steady=sample.head_speed <= config.max_head_speed,
        )

    # -- the life of an event ----------------------------------------------------------------

    def _begin(self, look: _Look, changes: list[Event]) -> None:
        apex_s = look.time_s - self._smooth.delay_s
        event = Event(
            id=self._next_id,
            state=EventState.TENTATIVE,
            onset_s=apex_s,
            apex_s=apex_s,
            offset_s=None,
            onset_frame=look.index,
            apex_frame=look.index,
            offset_frame=None,
            score=look.score,
            regions=(),
            spotter=f"{self.name} {self.version}",
        )
        self._next_id += 1
        self._open = _Open(
            event=event,
            neutral=self._neutral.median.copy(),
            began_s=look.time_s,
            rest=self.config.rest_share * look.bar,
            direction=np.zeros((_ROWS, 2), np.float32),
            fall_to=1.0,
            seen_s=look.time_s,
            last=(look.time_s, 1.0),
            blinked=look.blinking,
        )
        self._set_apex(self._open, look)
        changes.append(self._open.event)

    def _set_apex(self, open_: _Open, look: _Look) -> None:
        """Take this frame as the apex: its displacement becomes the event's direction."""
        order = np.argsort(-look.strength)
        carried = order[look.strength[order] >= 0.5 * look.strength[order[0]]]
        weights = np.zeros((_ROWS, 2), np.float32)
        weights[carried] = look.moved[carried] / np.square(self._sigma[carried, None])
        open_.direction = weights / max(float((weights * look.moved).sum()), 1e-12)
        # As far down the course as the noise lets it be followed.
        open_.fall_to = max(self.config.fall_to, min(0.5, open_.rest / look.score))
        open_.seen_s = look.time_s
        open_.brows_only = bool(_BROWS[carried].all())
        open_.weak = look.score < self.config.strong_share * look.bar
        open_.event = replace(
            open_.event,
            apex_s=look.time_s - self._smooth.delay_s,
            apex_frame=look.index,
            score=look.score,
            regions=tuple(REGION_NAMES[i] for i in carried[:6]),
        )

    def _follow(self, open_: _Open, look: _Look, changes: list[Event]) -> None:
        """One more frame of the open event: a higher apex, its confirmation, or the end."""
        config, now = self.config, look.time_s
        if look.blinking and not open_.blinked:
            open_.blinked = True
            if now - open_.began_s <= config.blink_lead_s and look.score <= look.bar:
                # What began right before the eyes were seen to shut, and is mute now, were lids.
                self._withdraw(open_, "blink", changes)
                self._armed = True  # for whatever is clear enough to be seen beside the blink
                return
        if look.score > open_.event.score and look.steady:
            self._set_apex(open_, look)
        waited = now - open_.seen_s >= config.look_ahead_s - 1e-6
        if waited and open_.event.state is EventState.TENTATIVE:
            self._confirm(open_, changes)
        # The apex's own movement must have gone, and every other too, for the face to be neutral;
        # brows alone cannot be scored while the eyes are shut.
        left = float((open_.direction * look.moved).sum()) / open_.fall_to
        if not (look.blinking and open_.brows_only):
            end = max(config.rest_score_share * open_.event.score, open_.rest)
            left = max(left, look.score / end)
        before, open_.last = open_.last, (now, left)
        if open_.event.state is EventState.CONFIRMED and left <= 1.0:
            seen_s = before[0] + crossing(before[1], left, 1.0) * (now - before[0])
            self._close(open_, seen_s, now, changes)
        elif now - open_.event.onset_s >= config.macro_s <= now - self._onset(open_):
            self._close(open_, now, now, changes, "sustained")
            # What lasts this long is the new neutral face.
            self._neutral.fill(self._smooth.value)

    def _onset(self, open_: _Open) -> float:
        """Time at which the course last rose through `fall_to` before the apex.

        A rise takes no longer than the longest expression; the neutral face before it is trusted
        for `neutral_s`.
        """
        since = max(open_.began_s - self.config.neutral_s, open_.seen_s - self.config.macro_s)
        times, _, samples = self._history.since(since)
        stop = int(np.searchsorted(times, open_.seen_s + 1e-9))
        course = ((samples[:stop] - open_.neutral) * open_.direction).sum(axis=(1, 2))
        below = np.flatnonzero(course <= open_.fall_to)
        at = int(below[-1] if len(below) else course.argmin())
        onset_s = float(times[at])
        if len(below) and at + 1 < stop:
            share = crossing(float(course[at]), float(course[at + 1]), open_.fall_to)
            onset_s += share * float(times[at + 1] - times[at])
        return min(onset_s - self._smooth.delay_s, open_.event.apex_s)

    def _confirm(self, open_: _Open, changes: list[Event]) -> None:
        """The apex stands: find the onset behind it."""
        onset_s = self._onset(open_)
        if not open_.weak:
            open_.firm_onset_s = onset_s
        open_.event = replace(
            open_.event,
            state=EventState.CONFIRMED,
            onset_s=onset_s,
            onset_frame=self._history.index_at(onset_s),
            apex_frame=self._history.index_at(open_.event.apex_s),
        )
        changes.append(open_.event)

    def _close(
        self, open_: _Open, seen_s: float, now: float, changes: list[Event], *quality: str
    ) -> None:
        """The offset is known: decide what it was."""
        config = self.config
        if open_.event.state is EventState.TENTATIVE:
            self._confirm(open_, changes)
        event = open_.event
        onset_s = min(self._onset(open_), open_.firm_onset_s)
        offset_s = max(seen_s - self._smooth.delay_s, event.apex_s)
        if offset_s - onset_s < config.min_event_s:
            self._withdraw(open_, "too_short", changes)
            return
        if event.apex_s - onset_s < config.min_rise_s:
            # Only a way back: the neutral face has not caught up with the one before.
            self._withdraw(open_, "no_rise", changes)
            return
        kind = EventKind.MICRO if offset_s - onset_s <= config.micro_s else EventKind.MACRO
        if kind is EventKind.MICRO and self._speaks(event, onset_s):
            self._withdraw(open_, "speech", changes)
            return
        seen = (("gap", open_.gap), ("blink", open_.blinked))
        self._leave()
        changes.append(
            replace(
                event,
                state=EventState.CLOSED,
                onset_s=onset_s,
                offset_s=offset_s,
                onset_frame=self._history.index_at(onset_s),
                apex_frame=self._history.index_at(event.apex_s),
                offset_frame=self._history.index_at(offset_s),
                kind=kind,
                decided_s=now,
                quality=(*quality, *(name for name, is_so in seen if is_so)),
            )
        )

    def _speaks(self, event: Event, onset_s: float) -> bool:
        """Whether a short movement follows others of the mouth as one syllable does another."""
        mouth = sum(region in _MOUTH for region in event.regions)
        if 2 * mouth < len(event.regions):
            return False
        moved_s = self._mouth_moved_s
        while moved_s and moved_s[0] < onset_s - self.config.speech_s:
            moved_s.popleft()
        just_now = bool(moved_s) and moved_s[-1] >= onset_s - self.config.speech_gap_s
        speaks = just_now or len(moved_s) >= 2
        moved_s.append(event.apex_s)
        return speaks

    def _cut_off(self, open_: _Open, reason: str, changes: list[Event]) -> None:
        """The face or the stream ends during an event.

        What has lasted longer than a micro-expression is a macro-expression whose offset nobody
        saw; anything shorter could still have become either, so it is withdrawn.
        """
        now = open_.last[0]
        if open_.event.state is EventState.TENTATIVE:
            self._confirm(open_, changes)
        if now - self._smooth.delay_s - self._onset(open_) > self.config.micro_s:
            self._close(open_, now, now, changes, "truncated", reason)
        else:
            self._withdraw(open_, reason, changes)

    def _withdraw(self, open_: _Open, reason: str, changes: list[Event]) -> None:
        self._leave()
        changes.append(replace(open_.event, state=EventState.WITHDRAWN, quality=(reason,)))

    def _leave(self) -> None:
        """No event is open; the next one needs a score that has been at rest in between."""
        self._open = None
        self._armed = False
