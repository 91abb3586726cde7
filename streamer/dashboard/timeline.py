"""Names and numbers that every timeline shares: on the live page, in reviews and in reports."""

from __future__ import annotations

import math

EMOTIONS = ("negative", "positive", "surprise", "unsure")
"""Emotions that have a colour of their own."""


def colour_of(emotion: str | None) -> str:
    """Return the colour class of an emotion."""
    return emotion if emotion in EMOTIONS else "other"


def clock(seconds: float) -> str:
    """Return a stream time as m:ss, from an hour on as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def round_up(value: float) -> float:
    """Return the next of a few round numbers, so that an axis keeps still."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(s * power for s in (1, 1.5, 2, 3, 5, 7.5, 10) if s * power >= value * (1 - 1e-9))
