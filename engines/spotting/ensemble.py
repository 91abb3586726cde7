"""Two spotters on the same frames: the first proposes, the second must agree.

A micro-expression that the first spotter closes stands when the second has confirmed something
that overlaps it. Interval, apex and regions are those of the first. The second is heard out for as
long as it needs to confirm, so that an event may be final that much later.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

from engines.events import Event, EventKind, EventState
from engines.spotting.base import MotionSample, Spotter, SpotterOutput
from engines.spotting.gating import withdrawn

_MEMORY_S = 5.0
"""Longest that an expression of the first spotter may have lasted when it is proposed."""


class EnsembleSpotter:
    """A spotter that is checked by another one.

    Macro-expressions are not checked: most learned spotters report none.

    Args:
        first: Proposes events.
        second: Agrees or not.
    """

    def __init__(self, first: Spotter, second: Spotter) -> None:
        self._first, self._second = first, second
        self.name = f"{first.name}+{second.name}"
        self.version = f"{first.version}+{second.version}"
        self.reads_delta_flow = first.reads_delta_flow or second.reads_delta_flow
        self.reads_strain = first.reads_strain or second.reads_strain
        networks = [each for each in (first, second) if hasattr(each, "backend")]
        if networks:  # sessions tell what runs a network, and why it is not what was asked for
            self.backend = "+".join(dict.fromkeys(each.backend for each in networks))
            told = (getattr(each, "fallback", None) for each in networks)
            self.fallback = next((why for why in told if why is not None), None)
        self._noticed: dict[int, Event] = {}
        self._waiting: deque[Event] = deque()
        self._now = -math.inf

    @property
    def look_ahead_s(self) -> float:
        """Seconds after an apex that pass before it is confirmed, at most."""
        return max(self._first.look_ahead_s, self._second.look_ahead_s)

    @property
    def agreement_s(self) -> float:
        """Seconds after an offset in which the second spotter may still agree."""
        return self._second.look_ahead_s

    @property
    def threshold_factor(self) -> float:
        """Factor of the first spotter's threshold; larger spots less."""
        return float(getattr(self._first, "threshold_factor", 0.0))

    @threshold_factor.setter
    def threshold_factor(self, factor: float) -> None:
        if hasattr(self._first, "threshold_factor"):
            self._first.threshold_factor = factor

    def push(self, sample: MotionSample) -> SpotterOutput:
        """Take the next frame; see `Spotter.push`."""
        self._now = sample.time_s
        proposed = self._first.push(sample)
        self._hear(self._second.push(sample).events)
        events = self._take(proposed.events)
        while self._waiting and self._decidable(self._waiting[0]):
            events.append(self._decided(self._waiting.popleft()))
        return SpotterOutput(proposed.score, proposed.threshold, tuple(events))

    def finish(self) -> tuple[Event, ...]:
        """End of stream: nothing further can be noticed."""
        proposed = self._first.finish()
        self._hear(self._second.finish())
        events = self._take(proposed)
        events += map(self._decided, self._waiting)
        self._waiting.clear()
        return tuple(events)

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._first.reset()
        self._second.reset()
        self._noticed.clear()
        self._waiting.clear()
        self._now = -math.inf

    def close(self) -> None:
        """Close what the spotters hold."""
        for spotter in (self._first, self._second):
            close = getattr(spotter, "close", None)
            if close is not None:
                close()

    def _hear(self, events: tuple[Event, ...]) -> None:
        """Remember what the second spotter is sure enough of to confirm it."""
        for event in events:
            if event.state is EventState.WITHDRAWN:
                self._noticed.pop(event.id, None)
            elif event.state is not EventState.TENTATIVE:
                self._noticed[event.id] = event
        oldest_s = min((e.onset_s for e in self._waiting), default=self._now) - _MEMORY_S
        for number in [n for n, each in self._noticed.items() if _end_s(each) < oldest_s]:
            del self._noticed[number]

    def _take(self, events: tuple[Event, ...]) -> list[Event]:
        """Hand on what needs no agreement; what does, waits."""
        spotter = f"{self.name} {self.version}"
        passed = []
        for event in events:
            named = replace(event, spotter=spotter)
            if event.state is EventState.CLOSED and event.kind is EventKind.MICRO:
                self._waiting.append(named)
            else:
                passed.append(named)
        return passed

    def _decidable(self, event: Event) -> bool:
        assert event.offset_s is not None
        waited = self._now - event.offset_s >= self.agreement_s - 1e-6
        return waited or self._agreed(event)

    def _decided(self, event: Event) -> Event:
        if self._agreed(event):
            return replace(event, decided_s=self._now)
        return withdrawn(event, "not_confirmed")

    def _agreed(self, event: Event) -> bool:
        assert event.offset_s is not None
        return any(
            each.onset_s < event.offset_s and event.onset_s < _end_s(each)
            for each in self._noticed.values()
        )


def _end_s(event: Event) -> float:
    """When an event ended; infinite while it goes on."""
    return math.inf if event.offset_s is None else event.offset_s
