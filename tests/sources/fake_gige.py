"""Aravis' fake camera for tests, which skip visibly where it cannot be had."""

from __future__ import annotations

import pytest

from benchmarks.emulated_cameras import FakeGigE
from streamer.errors import SourceError


def plugged_in(serial: str, lost_per_thousand: int = 0) -> FakeGigE:
    """A fake camera that answers; the caller unplugs it."""
    camera = FakeGigE(serial, lost_per_thousand)
    try:
        camera.plug_in()
    except SourceError as error:
        pytest.skip(str(error))
    return camera
