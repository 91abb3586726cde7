"""Spot expressions in a recording with all of it in view, as LSSNet and LGSNet were published.

Windows overlap by half, and non-maximum suppression decides when the recording is over. That is no
live mode: an event is found with the help of what came after it, and none is told before the end.
For decisions that a live session would make, use run_live.py --source FILE --spotter lgsnet.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engines.errors import UserError
from engines.events import Event, EventState
from engines.motion.canonical import FACE_SIZE
from engines.motion.config import MotionConfig
from engines.motion.meter import MotionMeter
from engines.spotting.base import MotionSample
from engines.spotting.registry import OFFLINE_SPOTTERS, create_offline_spotter
from streamer.alignment.face_aligner import FaceAligner
from streamer.config import AlignmentConfig
from streamer.errors import SourceError
from streamer.sources.base import FrameSource, SourceInfo, SourceOptions
from streamer.sources.registry import create_source

PROGRAM = "python -m streamer.offline"

COLUMNS = ("recording", "spotter", "kind", "onset_s", "apex_s", "offset_s", "onset", "apex",
           "offset", "score", "decided_s")  # fmt: skip
"""Columns of the table, as `python -m engines.evaluation spotting` reads them."""


def spot_recording(
    spec: str, spotter: str, *, fps: float | None = None, backend: str = "auto"
) -> tuple[Event, ...]:
    """Spot a recording.

    Args:
        spec: A video, a folder of pictures or a recorded session, as for `--source`.
        spotter: One of `engines.spotting.registry.OFFLINE_SPOTTERS`.
        fps: Frame rate of a folder of pictures.
        backend: What runs the networks.

    Returns:
        Its events, closed, in order of onset.

    Raises:
        UserError: The recording cannot be read, or is no recording.
    """
    engine = create_offline_spotter(spotter, backend)
    try:
        source = create_source(spec, SourceOptions(fps=fps, realtime=False))
        for sample in _samples(source):
            engine.push(sample)
        return tuple(event for event in engine.finish() if event.state is EventState.CLOSED)
    finally:
        engine.close()


def _samples(source: FrameSource) -> Iterator[MotionSample]:
    """The motion of every frame; arrays are overwritten by the next."""
    info = source.open()
    try:
        if info.live:
            raise SourceError(
                f"{info.name} is live: give a recording, or let run_live.py spot as it comes."
            )
        aligner = FaceAligner(AlignmentConfig(), wait=True)
        aligner.open()
        try:
            yield from _measured(source, info, aligner)
        finally:
            aligner.close()
    finally:
        source.close()


def _measured(
    source: FrameSource, info: SourceInfo, aligner: FaceAligner
) -> Iterator[MotionSample]:
    meter = MotionMeter(MotionConfig(), info.fps_nominal, delta_flow=True)
    picture = np.zeros(info.shape, np.uint8)
    face = np.zeros((FACE_SIZE, FACE_SIZE), np.uint8)
    with tqdm(total=info.frames, unit="frame", disable=None) as bar:
        while (frame := source.read(picture)) is not None:
            found = aligner.align(frame, face)
            yield meter.measure(
                frame.index,
                frame.time_s,
                frame.gap_before,
                face if found.valid else None,
                epoch=found.epoch,
                mesh=found.mesh,
                head_speed=found.head_speed,
            )
            bar.update()


def write_table(events: Sequence[Event], recording: str, path: Path) -> None:
    """Write one event a line.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for event in events:
                assert event.kind is not None
                writer.writerow(
                    (recording, event.spotter, event.kind.value, event.onset_s, event.apex_s,
                     event.offset_s, event.onset_frame, event.apex_frame, event.offset_frame,
                     event.score, event.decided_s)
                )  # fmt: skip
    except OSError as error:
        raise UserError(f"{path} cannot be written; choose another --out.") from error


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--source", required=True, metavar="FILE", help="video, folder of pictures, or recording")
    add("--spotter", choices=OFFLINE_SPOTTERS, required=True, help="which network")
    add("--fps", type=float, metavar="N", help="frame rate of a folder of pictures")
    add("--out", type=Path, required=True, metavar="FILE.csv", help="table of events")
    options = parser.parse_args(argv)
    try:
        events = spot_recording(options.source, options.spotter, fps=options.fps)
        write_table(events, Path(options.source).stem, options.out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(events)} events, decided with all of the recording in view: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
