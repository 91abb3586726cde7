"""What a recording looks like on disk.

    recording.json   what was recorded, from which device, in which codec
    video.nut        the pictures, lossless, every one a key frame
    times.csv        a row for each picture: index, times, the gap before it, flags

The pictures lie in NUT, FFmpeg's own container: it takes every lossless codec, and a file that
breaks off anywhere can be read up to there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict

FOLDER = "recording"
"""Name of a recording inside its session folder."""

DESCRIPTION_FILE = "recording.json"
VIDEO_FILE = "video.nut"
TIMES_FILE = "times.csv"
TIMES_COLUMNS = ("index", "time_s", "device_s", "gap_before", "gap_cause", "flags")

CodecName = Literal["fast", "small", "raw"]


@dataclass(frozen=True, slots=True)
class Codec:
    """How pictures are encoded.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        pixel_format: The encoder's pixel format, to which pictures convert without loss.
        options: Options of the encoder.
    """

    encoder: str
    pixel_format: str
    options: Mapping[str, str] = field(default_factory=dict)


_FFV1 = MappingProxyType({"level": "3", "coder": "0", "context": "0", "g": "1"})

CODECS: Mapping[tuple[CodecName, int], Codec] = MappingProxyType(
    {
        ("fast", 3): Codec("utvideo", "gbrp"),
        ("fast", 1): Codec("magicyuv", "gray"),
        ("small", 3): Codec("ffv1", "bgr0", _FFV1),
        ("small", 1): Codec("ffv1", "gray", _FFV1),
        ("raw", 3): Codec("rawvideo", "bgr24"),
        ("raw", 1): Codec("rawvideo", "gray"),
    }
)
"""Codec by name and number of channels. `fast` is for high rates; `small` (FFV1) takes several
times as long for less space; `raw` costs no time and all space."""

PICTURE_FORMATS: Mapping[int, str] = MappingProxyType({1: "gray", 3: "bgr24"})
"""FFmpeg's name of a captured picture's layout, by number of channels."""


class RecordingDescription(BaseModel):
    """What was recorded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal[1] = 1
    glint: str
    started_utc: str
    source: str
    kind: str
    device: dict[str, str | float]
    width: int
    height: int
    channels: Literal[1, 3]
    fps_asked: float | None
    fps_nominal: float
    device_clock: bool
    codec: CodecName


def find_recording(path: Path) -> Path | None:
    """Return the folder of the recording that `path` is or holds; None when there is none."""
    for folder in (path, path / FOLDER):
        if (folder / DESCRIPTION_FILE).is_file():
            return folder
    return None
