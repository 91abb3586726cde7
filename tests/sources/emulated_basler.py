"""The SDK's own emulator, with a handle on the emulated camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
from skimage import data

from streamer.sources.base import SourceOptions
from streamer.sources.basler import BaslerSource


class EmulatedBasler(BaslerSource):
    """A Basler source that keeps the camera at hand, to make it fail.

    Args:
        folder: Pictures that the camera shall see; None for its test picture.
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


def write_portrait(folder: Path, width: int, height: int) -> Path:
    """Write the astronaut's photograph where the camera shall see it."""
    folder.mkdir(exist_ok=True)
    portrait = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "portrait.bmp"), cv2.resize(portrait, (width, height)))
    return folder
