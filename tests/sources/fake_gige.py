"""Aravis' fake camera: a program that speaks GigE Vision over loopback."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from streamer.errors import SourceError
from streamer.sources.aravis_library import Aravis

PROGRAM = "arv-fake-gv-camera-0.8"
_LOOKS = 10


class FakeGigE:
    """A running fake camera.

    Args:
        serial: Its serial number.
        lost_per_thousand: Packets that it leaves out.
    """

    def __init__(self, serial: str, lost_per_thousand: int = 0) -> None:
        self.serial = serial
        self._lost = lost_per_thousand
        self._process: subprocess.Popen[bytes] | None = None

    def plug_in(self) -> None:
        """Start it and wait until it answers."""
        command = [PROGRAM, "-i", "127.0.0.1", "-s", self.serial, "-r", str(self._lost)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        aravis = Aravis()
        for _ in range(_LOOKS):
            if self.serial in {device.serial for device in aravis.devices()}:
                return
        self.unplug()
        pytest.skip("another program has GigE Vision's port on loopback")

    def unplug(self) -> None:
        """Kill it, as a pulled cable does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def need_fake_gige() -> None:
    """Skip where Aravis or its fake camera is not installed."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"needs {PROGRAM} (Debian: aravis-tools)")
    try:
        Aravis()
    except SourceError as error:
        pytest.skip(str(error))
