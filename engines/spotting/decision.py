"""From a score curve to events, causal: the decision that all learned spotters share.

A learned spotter gives one number a frame. The field decides on such curves when the video is over
(Moilanen et al., ICPR 2014: threshold between mean and maximum, peaks, peak ± half a mean
expression). Here every step that looks ahead is replaced:

======================================  =====================================================
published                               here
======================================  =====================================================
centred smoothing                       mean of the last `smooth_s`, its delay declared
threshold from the whole video          rise within `rise_s` by c·MAD of the last `window_s`
local maximum within ±k frames          maximum that nothing exceeds for `look_ahead_s`
peak ± k frames                         where the score falls to a share of its peak
non-maximum suppression                 one open event at a time, held over short dips
======================================  =====================================================

A micro-expression is a quick way out and back, so that what counts is how far the curve rises
within a short time, not how high it stands: a slow drift, or a level that differs between people,
is no event. The measure of far is the spread of the curve itself. All of it is in seconds:
multiplying a score by a constant, adding one, or sampling the same curve at another rate changes
no event by more than a frame.

The curve should spread while nothing happens. A network that ends in a sigmoid gives its logit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from engines.events import Event, EventKind, EventState
from engines.spotting.base import SpotterOutput
from engines.spotting.running import BoxMean, History, RunningMedian, crossing


class DecisionConfig(BaseModel):
    """How a score curve becomes events. Durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    smooth_s: float = Field(0.2, gt=0, le=1, description="Window of the running mean.")
    threshold_factor: float = Field(
        6.0, gt=0, le=100, description="c: an event rises by c * MAD of the recent score."
    )
    rise_s: float = Field(0.5, gt=0, le=4, description="Time in which an event rises that far.")
    window_s: float = Field(
        30.0, gt=2, le=600, description="Length of the recent score whose MAD is taken."
    )
    min_spread: float = Field(
        0.0, ge=0, description="Least MAD that is believed, in the score's own units."
    )
    warm_up_s: float = Field(
        2.0, gt=0, le=60, description="No event starts before the score was seen for this long."
    )
    look_ahead_s: float = Field(
        0.2, gt=0, le=1, description="A peak is confirmed when nothing exceeds it this long."
    )
    fall_to: float = Field(
        0.5, gt=0, lt=1, description="Share of the peak's height at which the interval ends."
    )
    prior_s: float | None = Field(
        None, gt=0, le=1, description="Give micro-expressions this length around their apex."
    )
    hold_s: float = Field(
        0.05, ge=0, le=1, description="A dip that is shorter does not end an event."
    )
    max_gap_s: float = Field(
        0.2, gt=0, le=2, description="An event does not survive a longer time without a score."
    )
    min_event_s: float = Field(0.04, gt=0, description="Shorter movements are noise.")
    micro_s: float = Field(0.5, gt=0, description="Longest micro-expression.")
    macro_s: float = Field(4.0, gt=0, description="Longest macro-expression.")


@dataclass(slots=True)
class _Open:
    """The event that is going on; times are those of the smoothed curve, delay included."""

    event: Event
    base: float  # the curve at rest
    peak_seen_s: float
    fell_s: float | None = None  # when the curve last fell through the end of the interval
    gap: bool = False


class CausalDecision:
    """Finds events on a score curve, pushed one frame at a time.

    Args:
        config: Durations and threshold.
        fps: Highest frame rate to expect; only sizes the history.
        spotter: Name and version that events carry.
        lag_s: How long before its frame the middle of what a score speaks of lies; half the span
            of the flow for a score of the flow from `t - span` to `t`.
    """

    def __init__(
        self, config: DecisionConfig, fps: float, spotter: str, lag_s: float = 0.0
    ) -> None:
        self.config = config
        self.threshold_factor = config.threshold_factor
        self.spotter = spotter
        self._smooth = BoxMean(config.smooth_s)
        self._delay_s = lag_s + self._smooth.delay_s
        self._level = RunningMedian((), config.window_s, 20.0, 0.25)
        self._history = History((), config.macro_s + config.hold_s + 2.0, fps)
        self.reset()

    @property
    def look_ahead_s(self) -> float:
        """Seconds after an apex that pass before it is confirmed, all delays included."""
        return self.config.look_ahead_s + self._delay_s

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._level.reset()
        self._learned_s = 0.0
        self._next_id = 1
        self._open: _Open | None = None
        self._restart()

    def _restart(self) -> None:
        """Start a new curve; what is known of the score's level and spread stays."""
        self._smooth.reset()
        self._history.reset()
        self._started_s: float | None = None
        self._last_s = -math.inf
        self._rest_s = -math.inf  # since when no event is open

    def push(
        self,
        index: int,
        time_s: float,
        score: float,
        *,
        gap_before: int = 0,
        valid: bool = True,
        restart: bool = False,
        regions: tuple[str, ...] = (),
    ) -> SpotterOutput:
        """Take the next frame.

        Args:
            index: Frame index in the stream.
            time_s: Stream time in seconds, rising.
            score: Score of the frame; NaN where there is none, which counts as not `valid`.
            gap_before: Frames lost right before this one.
            valid: Whether a face is followed; when False, the score is not looked at.
            restart: Whether measurement starts anew at this frame.
            regions: Facial regions that carry the score of this frame, strongest first.

        Returns:
            The smoothed score, the threshold in force (infinite while warming up), and the
            events that changed.
        """
        changes: list[Event] = []
        valid = valid and math.isfinite(score)
        reason = self._interruption(time_s, valid, restart)
        if reason:
            if self._open is not None:
                self._cut_off(self._open, reason, time_s, changes)
            self._restart()
        elif gap_before and self._open is not None:
            self._open.gap = True
        if not valid:
            return SpotterOutput(0.0, math.inf, tuple(changes))
        if self._started_s is None:
            self._started_s = time_s
        else:
            self._learned_s += time_s - self._last_s
        self._last_s = time_s
        smooth = self._smooth.push(time_s, score)
        self._history.push(time_s, index, smooth)
        lowest, threshold = self._threshold(time_s)
        if self._open is not None:
            self._follow(self._open, time_s, index, smooth, regions, changes)
        elif smooth > threshold and time_s - self._started_s >= self.config.smooth_s:
            self._begin(time_s, index, smooth, lowest, regions, changes)
        if self._level.push(time_s, smooth):
            self._level.refresh_mad()
        return SpotterOutput(smooth, threshold, tuple(changes))

    def finish(self) -> tuple[Event, ...]:
        """End the open event at the last frame."""
        changes: list[Event] = []
        if self._open is not None:
            self._cut_off(self._open, "end_of_stream", self._last_s, changes)
        return tuple(changes)

    def _interruption(self, time_s: float, valid: bool, restart: bool) -> str | None:
        """Why the curve does not go on at this frame, if it does not."""
        if not valid:
            return "face_lost"
        if restart:
            return "realigned"
        if self._started_s is not None and time_s - self._last_s > self.config.max_gap_s + 1e-6:
            return "gap"
        return None

    def _threshold(self, now: float) -> tuple[float, float]:
        """Where the curve last was at rest, and how far it must rise from there."""
        since = max(now - self.config.rise_s, self._rest_s)
        lowest = float(self._history.since(since)[2].min())
        spread = max(float(self._level.mad), self.config.min_spread)
        warm = self._learned_s >= self.config.warm_up_s - 1e-6 and spread > 0
        return lowest, lowest + self.threshold_factor * spread if warm else math.inf

    # -- the life of an event ----------------------------------------------------------------

    def _begin(
        self,
        now: float,
        index: int,
        smooth: float,
        lowest: float,
        regions: tuple[str, ...],
        changes: list[Event],
    ) -> None:
        apex_s = now - self._delay_s
        event = Event(
            id=self._next_id,
            state=EventState.TENTATIVE,
            onset_s=apex_s,
            apex_s=apex_s,
            offset_s=None,
            onset_frame=index,
            apex_frame=index,
            offset_frame=None,
            score=smooth,
            regions=regions,
            spotter=self.spotter,
        )
        self._next_id += 1
        self._open = _Open(event, base=lowest, peak_seen_s=now)
        changes.append(event)

    def _follow(
        self,
        open_: _Open,
        now: float,
        index: int,
        smooth: float,
        regions: tuple[str, ...],
        changes: list[Event],
    ) -> None:
        """One more frame of the open event: a higher peak, its confirmation, or the end."""
        config = self.config
        if smooth > open_.event.score:
            open_.peak_seen_s = now
            open_.fell_s = None
            open_.event = replace(
                open_.event,
                apex_s=now - self._delay_s,
                apex_frame=index,
                score=smooth,
                regions=regions or open_.event.regions,
            )
        waited = now - open_.peak_seen_s >= config.look_ahead_s - 1e-6
        if waited and open_.event.state is EventState.TENTATIVE:
            self._confirm(open_, changes)
        level = self._fall_level(open_)
        if smooth > level:
            open_.fell_s = None
        elif open_.fell_s is None:
            times, _, curve = self._history.since(-math.inf)
            share = crossing(float(curve[-2]), smooth, level)
            open_.fell_s = float(times[-2] + share * (times[-1] - times[-2]))
        fell_s = open_.fell_s
        if fell_s is not None:
            over = now - fell_s >= config.hold_s - 1e-6
            if over and open_.event.state is EventState.CONFIRMED:
                self._close(open_, fell_s, now, changes)
        elif now - self._onset_seen(open_) >= config.macro_s:
            self._close(open_, now, now, changes, "sustained")

    def _fall_level(self, open_: _Open) -> float:
        return open_.base + self.config.fall_to * (open_.event.score - open_.base)

    def _onset_seen(self, open_: _Open) -> float:
        """When the curve rose through `fall_to` for the last time before its peak."""
        times, _, curve = self._history.since(open_.peak_seen_s - self.config.macro_s)
        stop = int(np.searchsorted(times, open_.peak_seen_s + 1e-9))
        level = self._fall_level(open_)
        below = np.flatnonzero(curve[:stop] <= level)
        if not len(below):
            return float(times[0])
        at = int(below[-1])
        if at + 1 >= stop:
            return float(times[at])
        share = crossing(float(curve[at]), float(curve[at + 1]), level)
        return float(times[at] + share * (times[at + 1] - times[at]))

    def _confirm(self, open_: _Open, changes: list[Event]) -> None:
        """The peak stands: find the onset before it."""
        onset_s = self._onset_seen(open_) - self._delay_s
        open_.event = replace(
            open_.event,
            state=EventState.CONFIRMED,
            onset_s=onset_s,
            onset_frame=self._history.index_at(onset_s),
            apex_frame=self._history.index_at(open_.event.apex_s),
        )
        changes.append(open_.event)

    def _close(
        self, open_: _Open, fell_s: float, now: float, changes: list[Event], *quality: str
    ) -> None:
        """The offset is known: decide what it was."""
        if open_.event.state is EventState.TENTATIVE:
            self._confirm(open_, changes)
        event = open_.event
        onset_s = self._onset_seen(open_) - self._delay_s
        offset_s = max(fell_s - self._delay_s, event.apex_s)
        if offset_s - onset_s < self.config.min_event_s:
            self._withdraw(open_, "too_short", changes)
            return
        micro = offset_s - onset_s <= self.config.micro_s
        if micro and self.config.prior_s is not None:
            onset_s = event.apex_s - self.config.prior_s / 2
            offset_s = event.apex_s + self.config.prior_s / 2
        self._leave(fell_s)
        changes.append(
            replace(
                event,
                state=EventState.CLOSED,
                onset_s=onset_s,
                offset_s=offset_s,
                onset_frame=self._history.index_at(onset_s),
                apex_frame=self._history.index_at(event.apex_s),
                offset_frame=self._history.index_at(offset_s),
                kind=EventKind.MICRO if micro else EventKind.MACRO,
                decided_s=now,
                quality=(*quality, "gap") if open_.gap else quality,
            )
        )

    def _cut_off(self, open_: _Open, reason: str, now: float, changes: list[Event]) -> None:
        """The face or the stream ends during an event.

        What has fallen already is whole. What has lasted longer than a micro-expression is a
        macro-expression whose offset nobody saw; anything shorter could still have become either,
        so it is withdrawn.
        """
        last_s = self._last_s
        if open_.event.state is EventState.CONFIRMED and open_.fell_s is not None:
            self._close(open_, open_.fell_s, now, changes)
        elif last_s - self._onset_seen(open_) > self.config.micro_s:
            self._close(open_, last_s, now, changes, "truncated", reason)
        else:
            self._withdraw(open_, reason, changes)

    def _withdraw(self, open_: _Open, reason: str, changes: list[Event]) -> None:
        self._leave(self._last_s)
        changes.append(replace(open_.event, state=EventState.WITHDRAWN, quality=(reason,)))

    def _leave(self, rest_s: float) -> None:
        """No event is open; the next one must rise from where the curve is from now on."""
        self._open = None
        self._rest_s = rest_s
