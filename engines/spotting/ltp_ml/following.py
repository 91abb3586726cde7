"""From the fused answers to events: where the movement that a pattern began in reaches, and ends.

A pattern that fits says that something began at its start. The regions that said so are then
followed: their common course from there has its apex where they are farthest away, and the event
lasts while they are at least `fall_to` of that far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from engines.events import Event, EventKind, EventState
from engines.spotting.ltp_ml.fusion import Fused
from engines.spotting.ltp_ml.patches import PATCH_NAMES
from engines.spotting.ltp_ml.patterns import PATTERN_S
from engines.spotting.running import History, crossing

_FOLLOWED = 4
"""Most regions whose course is followed."""


class FollowingConfig(BaseModel):
    """How long an event lasts. Durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_run_s: float = Field(
        0.03, ge=0, le=0.2, description="The answer must stand this long before it is believed."
    )
    look_ahead_s: float = Field(
        PATTERN_S, gt=0, le=1, description="A movement whose apex is older is not begun any more."
    )
    settle_s: float = Field(
        0.05, gt=0, le=0.2, description="An apex stands when nothing exceeds it this long."
    )
    fall_to: float = Field(
        0.2, gt=0, lt=1, description="Share of the apex's displacement at which the interval ends."
    )
    hold_s: float = Field(0.03, ge=0, le=1, description="A dip that is shorter ends nothing.")
    min_event_s: float = Field(0.06, gt=0, description="Shorter movements are noise.")
    micro_s: float = Field(0.5, gt=0, description="Longest micro-expression.")


@dataclass(slots=True)
class _Open:
    """The event that is going on."""

    event: Event
    began_s: float  # when the answer rose over the threshold
    best: float  # the clearest answer so far
    start_s: float  # start of the pattern that gave it
    regions: npt.NDArray[np.intp]
    gap: bool = False


@dataclass(frozen=True, slots=True)
class _Course:
    """How far the regions of an event have gone."""

    times: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float32]  # of the displacement at the apex
    apex: int

    @property
    def apex_s(self) -> float:
        return float(self.times[self.apex])

    def onset_s(self, level: float) -> float:
        """When the course rose through a level for the last time before its apex."""
        below = np.flatnonzero(self.shares[: self.apex] <= level)
        return self._crossed(int(below[-1]), level) if len(below) else float(self.times[0])

    def fell_s(self, level: float) -> float | None:
        """When it fell through a level and stayed below until now."""
        above = np.flatnonzero(self.shares > level)
        last = int(above[-1])
        return None if last + 1 == len(self.times) else self._crossed(last, level)

    def _crossed(self, before: int, level: float) -> float:
        share = crossing(float(self.shares[before]), float(self.shares[before + 1]), level)
        return float(self.times[before] + share * (self.times[before + 1] - self.times[before]))


class Following:
    """Makes events of fused answers, one at a time.

    Args:
        config: Durations.
        fps: Highest frame rate to expect; only sizes the history.
        spotter: Name and version that events carry.
    """

    def __init__(self, config: FollowingConfig, fps: float, spotter: str) -> None:
        self.config = config
        self.spotter = spotter
        span_s = config.micro_s + config.hold_s + 2 * PATTERN_S + 0.5
        self.history = History((len(PATCH_NAMES), 2), span_s, fps)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._next_id = 1
        self._open: _Open | None = None
        self._quiet_s = -np.inf  # nothing begins before the patterns of the last event are over
        self._last_s = 0.0
        self.history.reset()

    def interrupt(self, reason: str) -> list[Event]:
        """The face is lost, measurement starts anew, or the stream ends.

        Whatever is open could still have become longer than a micro-expression, so it goes.
        """
        changes: list[Event] = []
        if self._open is not None:
            self._withdraw(self._open, reason, changes)
        self.history.reset()
        self._quiet_s = -np.inf
        return changes

    def push(
        self, time_s: float, index: int, fused: Fused | None, threshold: float, gap: bool
    ) -> list[Event]:
        """Take the next moment; its coordinates are in `history` already.

        Args:
            time_s: Stream time in seconds.
            index: Frame index.
            fused: The answer; None while no whole pattern is known.
            threshold: What the answer must exceed.
            gap: Whether frames were lost right before.
        """
        changes: list[Event] = []
        self._last_s = time_s
        if fused is None:
            return changes
        fires = fused.score > threshold
        if self._open is None:
            if fires and not fused.head and time_s >= self._quiet_s:
                self._begin(time_s, index, fused, changes)
            return changes
        open_ = self._open
        open_.gap |= gap
        if open_.event.state is EventState.TENTATIVE:
            if fused.head:
                self._withdraw(open_, "head_motion", changes)
                return changes
            if fires and fused.score > open_.best:
                self._improve(open_, time_s, fused)
            if not fires and time_s - open_.began_s < self.config.min_run_s - 1e-6:
                self._withdraw(open_, "too_short", changes)
                return changes
        self._follow(open_, time_s, changes)
        return changes

    # -- the life of an event ----------------------------------------------------------------

    def _begin(self, now: float, index: int, fused: Fused, changes: list[Event]) -> None:
        event = Event(
            id=self._next_id,
            state=EventState.TENTATIVE,
            onset_s=now - PATTERN_S,
            apex_s=now - PATTERN_S,
            offset_s=None,
            onset_frame=self.history.index_at(now - PATTERN_S),
            apex_frame=self.history.index_at(now - PATTERN_S),
            offset_frame=None,
            score=fused.score,
            regions=_names(fused.regions),
            spotter=self.spotter,
        )
        self._next_id += 1
        regions = np.array(fused.regions[:_FOLLOWED], np.intp)
        self._open = _Open(event, now, fused.score, now - PATTERN_S, regions)
        changes.append(event)

    def _improve(self, open_: _Open, now: float, fused: Fused) -> None:
        """A later pattern fits better: the movement began where that one does."""
        open_.best = fused.score
        open_.start_s = now - PATTERN_S
        open_.regions = np.array(fused.regions[:_FOLLOWED], np.intp)
        open_.event = replace(open_.event, score=fused.score, regions=_names(fused.regions))

    def _follow(self, open_: _Open, now: float, changes: list[Event]) -> None:
        config = self.config
        course = self._course(open_)
        if open_.event.state is EventState.TENTATIVE:
            if now - open_.began_s < config.min_run_s - 1e-6:
                return
            if now - course.apex_s > config.look_ahead_s + 1e-6:
                self._withdraw(open_, "too_late", changes, moved=True)
                return
            if now - course.apex_s >= config.settle_s - 1e-6:
                self._confirm(open_, course, changes)
        onset_s = course.onset_s(config.fall_to)
        fell_s = course.fell_s(config.fall_to)
        if fell_s is not None and fell_s - onset_s <= config.micro_s:
            over = now - fell_s >= config.hold_s - 1e-6
            if over and open_.event.state is EventState.CONFIRMED:
                self._close(open_, course, onset_s, fell_s, now, changes)
        elif now - onset_s > config.micro_s:
            self._withdraw(open_, "too_long", changes, moved=True)

    def _course(self, open_: _Open) -> _Course:
        times, _, coordinates = self.history.since(open_.start_s)
        moved = coordinates[:, open_.regions] - coordinates[0, open_.regions]
        far = np.einsum("nrc,nrc->n", moved, moved)
        apex = int(far.argmax())
        along = np.einsum("nrc,rc->n", moved, moved[apex])
        return _Course(times, along / max(float(far[apex]), 1e-12), apex)

    def _confirm(self, open_: _Open, course: _Course, changes: list[Event]) -> None:
        onset_s = course.onset_s(self.config.fall_to)
        open_.event = replace(
            open_.event,
            state=EventState.CONFIRMED,
            onset_s=onset_s,
            onset_frame=self.history.index_at(onset_s),
            apex_s=course.apex_s,
            apex_frame=self.history.index_at(course.apex_s),
        )
        changes.append(open_.event)

    def _close(
        self,
        open_: _Open,
        course: _Course,
        onset_s: float,
        offset_s: float,
        now: float,
        changes: list[Event],
    ) -> None:
        if offset_s - onset_s < self.config.min_event_s:
            self._withdraw(open_, "too_short", changes)
            return
        self._leave(moved=True)
        changes.append(
            replace(
                open_.event,
                state=EventState.CLOSED,
                onset_s=onset_s,
                apex_s=course.apex_s,
                offset_s=offset_s,
                onset_frame=self.history.index_at(onset_s),
                apex_frame=self.history.index_at(course.apex_s),
                offset_frame=self.history.index_at(offset_s),
                kind=EventKind.MICRO,
                decided_s=now,
                quality=("gap",) if open_.gap else (),
            )
        )

    def _withdraw(
        self, open_: _Open, reason: str, changes: list[Event], *, moved: bool = False
    ) -> None:
        self._leave(moved=moved)
        changes.append(replace(open_.event, state=EventState.WITHDRAWN, quality=(reason,)))

    def _leave(self, *, moved: bool) -> None:
        """No event is open; patterns that start before now would find the same movement again."""
        self._open = None
        if moved:
            self._quiet_s = self._last_s + PATTERN_S


def _names(regions: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(PATCH_NAMES[region] for region in regions)
