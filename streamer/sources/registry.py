"""Every kind of source, and the choice of one for what the user typed."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from streamer.errors import SourceError
from streamer.sources.base import FrameSource, SourceFactory, SourceOptions

# The first kind that matches is taken. Modules are named, not imported, so that one with an
# optional SDK costs nothing to those who do not use it.
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "demo": "streamer.sources.demo:DemoSource",
        "browser": "streamer.sources.browser:BrowserSource",
        "camera": "streamer.sources.camera:CameraSource",
        "basler": "streamer.sources.basler:BaslerSource",
        "aravis": "streamer.sources.aravis:AravisSource",
        "gentl": "streamer.sources.gentl:GenTLSource",
        "stream": "streamer.sources.network_stream:NetworkStreamSource",
        "recording": "streamer.sources.recording:RecordingSource",
        "folder": "streamer.sources.image_folder:ImageFolderSource",
        "video": "streamer.sources.video_file:VideoFileSource",
    }
)
_CHOICES = (
    "a camera number or name (--list-sources shows them), a video file, a folder of pictures, a "
    "session folder with a recording, an "
    "address (rtsp://…, http://…), browser or demo"
)
_LIMITS = MappingProxyType({"fps": 10_000.0, "width": 16_384, "height": 16_384})


def source_kinds() -> tuple[str, ...]:
    """Names of the registered kinds, in the order in which they are tried."""
    return tuple(_KINDS)


def source_factory(kind: str) -> SourceFactory:
    """Import a registered kind.

    Raises:
        SourceError: No such kind.
    """
    if kind not in _KINDS:
        raise SourceError(
            f"There is no source kind {kind!r}: choose one of {', '.join(source_kinds())}."
        )
    module, name = _KINDS[kind].split(":")
    return cast(SourceFactory, getattr(importlib.import_module(module), name))


def create_source(spec: str, options: SourceOptions) -> FrameSource:
    """Build the source that `--source spec` means; it is opened later.

    Args:
        spec: Camera number or device, path, address or `demo`.
        options: What the user asked for; checked here, once for every kind.

    Raises:
        SourceError: Nothing matches the specification, or an option is absurd.
    """
    _check(options)
    for kind in source_kinds():
        factory = source_factory(kind)
        if factory.matches(spec):
            return factory(spec, options)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", spec)
    if scheme:
        raise SourceError(
            f"Addresses that start with {scheme.group(0)} cannot be opened: give {_CHOICES}."
        )
    if not spec.strip():
        raise SourceError(f"The source is empty: give {_CHOICES}.")
    raise SourceError(f"{spec} does not exist: check the path, or give {_CHOICES}.")


def _check(options: SourceOptions) -> None:
    for name, limit in _LIMITS.items():
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and 0 < value <= limit):
            raise SourceError(
                f"{name} {value:g} is not possible: give a number above 0 and up to {limit:g}."
            )
    duration_s = options.duration_s
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s > 0):
        raise SourceError(f"A duration of {duration_s:g} s is not possible: give seconds above 0.")
    if (options.width is None) != (options.height is None):
        raise SourceError("A picture size needs both width and height: give both or none.")
    fourcc = options.fourcc
    if fourcc is not None and not (len(fourcc) == 4 and fourcc.isascii() and fourcc.isprintable()):
        raise SourceError(
            f"{fourcc!r} is not a pixel format: give four characters, for example MJPG."
        )
