"""What is plugged in: the answer to `run_live.py --list-sources`."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from streamer.errors import SourceError
from streamer.sources import v4l2

_log = logging.getLogger(__name__)

_LONGEST_COLUMN = 40
_PATIENCE_S = 5.0  # cameras on the network have one second to answer


@dataclass(frozen=True, slots=True)
class FoundSource:
    """Something that can be given to `--source`.

    Attributes:
        spec: What to type.
        name: What it is.
        modes: What it offers, one format each; empty when it does not say before it is opened.
    """

    spec: str
    name: str
    modes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found, and what could not be looked for and why."""

    sources: tuple[FoundSource, ...]
    notes: tuple[str, ...]


Seeker = Callable[[], list[FoundSource]]


def demo() -> list[FoundSource]:
    """The demo is always there."""
    return [FoundSource("demo", "animated portrait with scripted expressions; needs no camera")]


def browsers() -> list[FoundSource]:
    """A visitor's browser is always possible; whether one comes cannot be known."""
    return [FoundSource("browser", "webcam of a visitor, through the dashboard's page /camera")]


def webcams() -> list[FoundSource]:
    """Cameras of the system, where it lists them."""
    if sys.platform != "linux":
        raise SourceError(
            "Webcams have no names that can be listed on this system: try --source 0, then 1."
        )
    return [
        FoundSource(str(device.number), device.name, tuple(str(mode) for mode in device.modes))
        for device in v4l2.video_devices(v4l2.system_ioctl())
    ]


def basler_cameras() -> list[FoundSource]:
    """Cameras that pylon sees."""
    from streamer.sources.basler import load_pylon  # noqa: PLC0415 - optional SDK

    devices = load_pylon().TlFactory.GetInstance().EnumerateDevices()
    return [
        FoundSource(f"basler:{device.GetSerialNumber()}", device.GetFriendlyName())
        for device in devices
    ]


def genicam_cameras() -> list[FoundSource]:
    """Cameras that Aravis sees."""
    from streamer.sources.aravis_library import Aravis  # noqa: PLC0415 - optional library

    return [
        FoundSource(
            f"aravis:{device.id}",
            " ".join(
                part
                for part in (device.vendor, device.model, device.serial, device.protocol)
                if part
            ),
        )
        for device in Aravis().devices()
    ]


def gentl_cameras() -> list[FoundSource]:
    """Cameras that the installed GenTL producers see."""
    from streamer.sources import gentl  # noqa: PLC0415 - optional SDK

    installed = gentl.producers()
    if not installed:
        return []
    harvesters = gentl.load_harvesters()
    found = []
    for producer in installed:
        harvester = gentl.look_through(harvesters, producer)
        try:
            for device in harvester.device_info_list:
                said = gentl.described(device)
                parts = ("vendor", "model", "serial_number")
                name = " ".join(said[part] for part in parts if part in said)
                found.append(FoundSource(f"gentl:{producer}#{said['id_']}", name))
        finally:
            harvester.reset()
    return found


SEEKERS: Mapping[str, Seeker] = MappingProxyType(
    {
        "demo": demo,
        "browser": browsers,
        "camera": webcams,
        "basler": basler_cameras,
        "aravis": genicam_cameras,
        "gentl": gentl_cameras,
    }
)


def find_sources(
    seekers: Mapping[str, Seeker] = SEEKERS, patience_s: float = _PATIENCE_S
) -> Discovery:
    """Look everywhere at once.

    A missing SDK, a failure and a driver that does not come back each become a note.

    Args:
        seekers: Kind of source to who looks for it.
        patience_s: Seconds after which a seeker is not waited for any longer.
    """
    found: dict[str, list[FoundSource]] = {}
    failed: dict[str, str] = {}

    def seek(kind: str, seeker: Seeker) -> None:
        try:
            found[kind] = seeker()
        except SourceError as error:
            failed[kind] = str(error)
        except Exception as error:  # a driver's own mistake must not hide the other cameras
            _log.debug("looking for %s failed", kind, exc_info=True)
            failed[kind] = f"Looking for {kind} failed ({error}): set its driver up again."

    threads = {
        kind: threading.Thread(
            target=seek, args=(kind, seeker), name=f"glint-find-{kind}", daemon=True
        )
        for kind, seeker in seekers.items()
    }
    for thread in threads.values():
        thread.start()
    deadline_s = time.perf_counter() + patience_s
    for kind, thread in threads.items():
        thread.join(max(deadline_s - time.perf_counter(), 0.0))
        if thread.is_alive():
            failed[kind] = f"The driver of {kind} did not answer: plug its cameras in again."
    return Discovery(
        sources=tuple(source for kind in seekers for source in found.get(kind, ())),
        notes=tuple(failed[kind] for kind in seekers if kind in failed),
    )


def describe(discovery: Discovery) -> str:
    """The discovery as text, one source a line with its modes below it."""
    lengths = (len(source.spec) for source in discovery.sources)
    width = max((length for length in lengths if length <= _LONGEST_COLUMN), default=0)
    lines = []
    for source in discovery.sources:
        lines.append(f"{source.spec:<{width}}  {source.name}")
        lines += [f"{'':<{width}}    {mode}" for mode in source.modes]
    return "\n".join([*lines, *(f"Note: {note}" for note in discovery.notes)])
