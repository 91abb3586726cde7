"""What a learned spotter's events must stand up to: the motion of the face while they lasted.

A network that sees a tenth of a second of flow cannot know whether the face came back. The region
motion of the same frames does know: a micro-expression ends where it began, the rise or the fall
of a macro-expression does not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from engines.events import Event
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

    def objection(self, event: Event) -> str | None:
        """Why a closed event is no micro-expression; None when nothing speaks against it."""
        assert event.offset_s is not None
        if event.offset_s - event.onset_s > self.config.micro_s:
            return "too_long"
        delay_s = self._smooth.delay_s
        times, _, samples = self._history.since(event.onset_s + delay_s - self.config.blink_lead_s)
        if len(times) < 2:
            return None
        onset = int(np.searchsorted(times, event.onset_s + delay_s - 1e-6))
        offset = int(np.searchsorted(times, event.offset_s + delay_s + 1e-6))
        during = slice(min(onset, len(times) - 1), max(offset, onset + 1))
        if float(samples[during, _R + 2, 0].max()) > self.config.max_head_speed:
            return "head_motion"
        moved = samples[:, :_R] - samples[during.start, :_R]
        energy = np.square(moved).sum(axis=(1, 2))
        peak = during.start + int(energy[during].argmax())
        lids = samples[during, _R : _R + 2, 1].mean(axis=1) - samples[0, _R : _R + 2, 1].mean()
        if lids.max() > self.config.blink_iod and self._around_eyes(moved[peak]):
            return "blink"
        left = float((moved[-1] * moved[peak]).sum())
        if left > self.config.return_share * float(energy[peak]):
            return "no_return"
        return None

    def _around_eyes(self, moved: npt.NDArray[np.float32]) -> bool:
        """Whether too little moves but what moves in a blink."""
        energy = np.square(moved).sum(axis=1)
        away = float(energy[~_AROUND_EYES].sum())
        return away < self.config.blink_share * float(energy.sum())
