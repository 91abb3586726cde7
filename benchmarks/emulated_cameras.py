"""Cameras without hardware: Basler's own emulator, and Aravis' fake GigE Vision camera."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from streamer.errors import SourceError
from streamer.sources.aravis_library import Aravis
from streamer.sources.base import SourceOptions
from streamer.sources.basler import BaslerSource

_PROGRAM = "arv-fake-gv-camera-0.8"
_LOOKS = 10  # of a second each


class EmulatedBasler(BaslerSource):
    """An emulated Basler camera that is kept at hand, to make it fail.

    The SDK emulates as many cameras as the environment variable `PYLON_CAMEMU` says.

    Args:
        spec: As for every Basler camera.
        options: As for every source.
        folder: Pictures that the camera shall see; None for its own test picture.
    """

    def __init__(self, spec: str, options: SourceOptions, folder: Path | None = None) -> None:
        super().__init__(spec, options, first_retry_s=0.01)
        self.cameras: list[Any] = []
        self._folder = folder

    def _open_camera(self, pylon: Any, device: Any) -> Any:
        camera = super()._open_camera(pylon, device)
        if self._folder is not None:
            camera.TestImageSelector.Value = "Off"
            camera.ImageFilename.Value = str(self._folder)
            camera.ImageFileMode.Value = "On"
        self.cameras.append(camera)
        return camera


class FakeGigE:
    """Aravis' fake camera, a program that speaks GigE Vision over loopback.

    As a context manager it is unplugged at the end.


    Args:
        serial: Its serial number.
        lost_per_thousand: Packets that it leaves out.
    """

    def __init__(self, serial: str, lost_per_thousand: int = 0) -> None:
        self.serial = serial
        self._lost = lost_per_thousand
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> FakeGigE:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unplug()

    def plug_in(self) -> None:
        """Start it and wait until it answers.

        Raises:
            SourceError: The program or the library is missing, or another has its port.
        """
        if shutil.which(_PROGRAM) is None:
            raise SourceError(
                f"The fake camera {_PROGRAM} is not installed: apt-get install aravis-tools."
            )
        aravis = Aravis()
        command = [_PROGRAM, "-i", "127.0.0.1", "-s", self.serial, "-r", str(self._lost)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(_LOOKS):
            if self.serial in {device.serial for device in aravis.devices()}:
                return
        self.unplug()
        raise SourceError("The fake camera does not answer: end the one that runs already.")

    def unplug(self) -> None:
        """Kill it, as a pulled cable does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
