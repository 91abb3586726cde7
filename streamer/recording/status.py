"""How a recording goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

RecordingState = Literal["recording", "finished", "failed"]


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """How a recording goes.

    Attributes:
        state: `recording`, `finished`, or `failed` when the disk did not take any more.
        frames: Pictures written.
        lost: Cause to number of captured pictures that are not in the recording.
    """

    state: RecordingState
    frames: int
    lost: Mapping[str, int]
