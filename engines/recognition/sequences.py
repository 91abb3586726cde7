"""Faces of an event as a short sequence, spread over it by time: what MOL and its like see.

The published networks take every eighth part of a clip that was cut from onset to offset. Live, an
event is recognised when its apex has passed, so the sequence ends there; the instants lie evenly in
time, whatever the frame rate, and each face is the mean of the frames around its instant.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.motion.canonical import FACE_SIZE
from engines.recognition.base import EventClip

FRAMES = 8
"""Faces of a sequence (MOL)."""

STEADY_S = 0.012
"""Frames this near to an instant are averaged against sensor noise."""

GRAY_MEAN = 110.0
"""Gray that becomes 0: what the aligner brings every face to."""

GRAY_UNIT = 50.0
"""Gray levels that become 1."""

PREPROCESSING: dict[str, object] = {
    "sequence": "gray canonical faces, evenly from onset to confirmation",
    "frames": FRAMES,
    "size": FACE_SIZE,
    "steady_s": STEADY_S,
    "gray_mean": GRAY_MEAN,
    "gray_unit": GRAY_UNIT,
}
"""What a network must have been trained on to be fed by this file; kept in its manifest."""


def instants(first_s: float, last_s: float, count: int = FRAMES) -> npt.NDArray[np.float64]:
    """Evenly spaced times from the first to the last.

    Args:
        first_s: Start, in seconds.
        last_s: End, not before the start.
        count: How many, at least 2.

    Returns:
        (count,) float64.
    """
    return np.linspace(first_s, last_s, count)


def faces_at(
    faces: npt.NDArray[np.uint8],
    times_s: npt.NDArray[np.float64],
    wanted_s: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """The face at each of some instants, averaged over the frames around it.

    Args:
        faces: (N, 128, 128) uint8 aligned faces, N at least 1.
        times_s: (N,) their times, ascending.
        wanted_s: (T,) instants.

    Returns:
        (T, 128, 128) float32 around 0: the nearest frame to each instant and those within
        `STEADY_S` of it, `GRAY_MEAN` taken off, in units of `GRAY_UNIT`.
    """
    sequence = np.empty((len(wanted_s), *faces.shape[1:]), np.float32)
    for out, wanted in zip(sequence, wanted_s, strict=True):
        centre = times_s[np.abs(times_s - wanted).argmin()]
        near = np.abs(times_s - centre) <= STEADY_S
        np.mean(faces[near], axis=0, dtype=np.float32, out=out)
    sequence -= np.float32(GRAY_MEAN)
    sequence /= np.float32(GRAY_UNIT)
    return sequence


def event_sequence(clip: EventClip) -> npt.NDArray[np.float32]:
    """The sequence of an event: from its onset to the frame that confirmed it.

    Args:
        clip: The event's aligned faces. Its apex is not looked at.

    Returns:
        (8, 128, 128) float32 as `faces_at`.
    """
    wanted = instants(clip.times_s[clip.onset], clip.times_s[-1])
    return faces_at(clip.faces, clip.times_s, wanted)
