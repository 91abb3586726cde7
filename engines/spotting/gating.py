"""What a learned spotter's events must stand up to: the motion of the face while they lasted.

A network that sees a tenth of a second of flow cannot know whether the face came back. The region
motion of the same frames does know: a micro-expression ends where it began, the rise or the fall
of a macro-expression does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from engines.events import Event, EventState
from engines.motion.canonical import REGION_NAMES
from engines.spotting.base import MotionSample
from engines.spotting.running import History, LowPass

_R = len(REGION_NAMES)
_AROUND_EYES = np.array(["brow" in name or "eyelid" in name for name in REGION_NAMES])


class GateConfig(BaseModel):
    """Which events are withdrawn. Motion in inter-ocular distances (IOD), durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    micro_s: float = Field(0.5, gt=0, description="Longest micro-expression.")
    return_share: float = Field(
        0.6, gt=0, description="Share of its largest displacement that an event may leave behind."
    )
    movement_reach_s: float = Field(
        0.2, gt=0, le=1, description="The movement that a score points at is looked for this far."
    )
    movement_fall_to: float = Field(
        0.2, gt=0, lt=1, description="Share of its largest displacement at which a movement ends."
    )
    max_head_speed: float = Field(
        0.8, gt=0, description="Head motion (IOD/s) in which nothing is believed."
    )
    blink_iod: float = Field(
        0.007, gt=0, description="Downward motion of both eyes that is a blink."
    )
    blink_lead_s: float = Field(
        0.15, ge=0, description="The lids are compared with where they were this long before."
    )
    blink_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of its motion that an event must have away from brows and lids when "
        "the eyes shut during it.",
    )


@dataclass(frozen=True, slots=True)
class _Movement:
    """What the face did during an event, in inter-ocular distances."""

    peak: npt.NDArray[np.float32]  # (R, 2) displacement from the onset where it is largest
    peak_s: float  # when that was, delay of the filter removed
    left: npt.NDArray[np.float32]  # (R, 2) displacement from the onset now
    lids: float  # how far both lids went down
    head_speed: float  # IOD/s


class EventGate:
    """Remembers region motion and judges closed events by it.

    Args:
        config: Thresholds.
        history_s: Longest event, its decision included, that is judged.
        fps: Highest frame rate to expect; only sizes the history.
    """

    def __init__(self, config: GateConfig, history_s: float, fps: float) -> None:
        self.config = config
        self._smooth = LowPass((_R + 3, 2), 0.008)
        self._history = History((_R + 3, 2), history_s, fps)
        self._sample = np.zeros((_R + 3, 2), np.float32)  # regions, eyes, head speed

    def reset(self) -> None:
        """Measurement starts anew."""
        self._smooth.reset()
        self._history.reset()

    def push(self, sample: MotionSample) -> None:
        """Remember a frame in which a face is followed."""
        self._sample[:_R] = sample.motion
        self._sample[_R : _R + 2] = sample.eyes
        self._sample[_R + 2] = sample.head_speed
        self._history.push(
            sample.time_s, sample.index, self._smooth.push(sample.time_s, self._sample)
        )

    def located(self, event: Event) -> Event:
        """Say of an event when the face was farthest away, and which regions went there.

        The score of a flow follows the speed of the face, which peaks before the displacement
        does. An apex that is confirmed never moves before the score's own peak, so that the
        declared look-ahead holds.
        """
        found = self._movement(event)
        if found is None:
            return event
        far = np.square(found.peak).sum(axis=1)
        order = np.argsort(-far)[:6]
        regions = tuple(REGION_NAMES[i] for i in order if far[i] >= 0.25 * far[order[0]] > 0)
        if event.state is EventState.CONFIRMED and found.peak_s < event.apex_s:
            return replace(event, regions=regions)
        return replace(
            event,
            regions=regions,
            apex_s=found.peak_s,
            apex_frame=self._history.index_at(found.peak_s),
        )

    def bounded(self, event: Event) -> Event:
        """Give a closed event the interval of the movement that it points at.

        For scores that tell that something moved, and only roughly when. The regions' course is
        followed from where they are farthest from their median down to `movement_fall_to` of that.
        """
        config = self.config
        assert event.offset_s is not None
        delay_s = self._smooth.delay_s
        times, _, samples = self._history.since(event.onset_s + delay_s - config.micro_s)
        within = (times >= event.onset_s + delay_s - config.movement_reach_s) & (
            times <= event.offset_s + delay_s + config.movement_reach_s
        )
        if not within.any():
            return event
        moved = (samples[:, :_R] - np.median(samples[:, :_R], axis=0)).reshape(len(times), -1)
        far = np.where(within, np.square(moved).sum(axis=1), -1.0)
        apex = int(far.argmax())
        below = (moved @ moved[apex]) < config.movement_fall_to * far[apex]
        before, after = np.flatnonzero(below[:apex]), np.flatnonzero(below[apex:])
        onset = int(before[-1]) if len(before) else 0
        offset = apex + int(after[0]) if len(after) else len(times) - 1
        onset_s, apex_s, offset_s = (float(times[at]) - delay_s for at in (onset, apex, offset))
        return replace(
            event,
            onset_s=onset_s,
            apex_s=apex_s,
            offset_s=offset_s,
            onset_frame=self._history.index_at(onset_s),
            apex_frame=self._history.index_at(apex_s),
            offset_frame=self._history.index_at(offset_s),
        )

    def objection(self, event: Event) -> str | None:
        """Why a closed event is no micro-expression; None when nothing speaks against it."""
        config = self.config
        assert event.offset_s is not None
        if event.offset_s - event.onset_s > config.micro_s:
            return "too_long"
        found = self._movement(event)
        if found is None:
            return None
        if found.head_speed > config.max_head_speed:
            return "head_motion"
        energy = np.square(found.peak).sum(axis=1)
        away = float(energy[~_AROUND_EYES].sum())
        if found.lids > config.blink_iod and away < config.blink_share * float(energy.sum()):
            return "blink"
        if float((found.left * found.peak).sum()) > config.return_share * float(energy.sum()):
            return "no_return"
        return None

    def _movement(self, event: Event) -> _Movement | None:
        """How the face moved during an event; None where too little is remembered of it."""
        delay_s = self._smooth.delay_s
        times, _, samples = self._history.since(event.onset_s + delay_s - self.config.blink_lead_s)
        first = int(np.searchsorted(times, event.onset_s + delay_s - 1e-6))
        if first >= len(times):
            return None
        last = len(times)
        if event.offset_s is not None:
            last = max(first + 1, int(np.searchsorted(times, event.offset_s + delay_s + 1e-6)))
        during = samples[first:last]
        moved = during[:, :_R] - during[0, :_R]
        peak = int(np.square(moved).sum(axis=(1, 2)).argmax())
        lids = during[:, _R : _R + 2, 1].mean(axis=1) - samples[0, _R : _R + 2, 1].mean()
        return _Movement(
            peak=moved[peak],
            peak_s=float(times[first + peak]) - delay_s,
            left=samples[-1, :_R] - during[0, :_R],
            lids=float(lids.max()),
            head_speed=float(during[:, _R + 2, 0].max()),
        )


def withdrawn(event: Event, reason: str) -> Event:
    """A closed event that is taken back."""
    return replace(
        event,
        state=EventState.WITHDRAWN,
        offset_s=None,
        offset_frame=None,
        kind=None,
        decided_s=None,
        quality=(reason,),
    )
