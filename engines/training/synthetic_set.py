r"""The synthetic training set: people who do not exist, seen through the live path.

    python -m engines.training.synthetic_set --out FOLDER --identities 30 --clips-per-identity 3 \
        --seconds 25 --seed 1 --jobs 2
    python -m engines.training.synthetic_set --summary FOLDER

Every clip is an animated portrait that goes through the aligner and the motion meter of a live
session. `docs/synthetic.md` says what it is good for and what not. The same command continues a
set that was cut off; the same options give the same bytes whatever the number of jobs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm

from engines.errors import UserError
from engines.events import EventKind
from engines.spotting.base import MotionSample
from engines.training.synthetic_clip import (
    MEASURED,
    Align,
    AlignedFace,
    ClipPlan,
    record_clip,
)

FORMAT = 1
"""Version of the files; a reader of another version refuses them."""

GENERATOR = "2"
"""Version of what is drawn; a set is continued only by the version that began it."""

SPLITS = ("train", "validation", "test")
_HELD_OUT_SHARE = 0.2  # of the identities, for validation and for test each
_QUIET_SHARE = 0.25
_PART = ".part-"


class SetDescription(BaseModel):
    """What `set.json` holds.

    Attributes:
        format: Version of the files.
        generator: Version of the generator.
        synthetic: Always True: nobody who was measured is in here.
        seed: Seed of everything.
        identities: Number of people.
        fps: Frame rates that occur.
        splits: Name of a split to its identities; no identity is in two of them.
        clips: The clips in order.
        depth: Whether a depth camera looked on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    generator: str
    synthetic: bool = True
    seed: int
    identities: int
    fps: tuple[float, ...]
    splits: dict[str, tuple[int, ...]]
    clips: tuple[ClipPlan, ...]
    depth: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes with whatever the set follows from."""
        # Sets are older than depth cameras: without one the fingerprint is what it was.
        told = self.model_dump_json(exclude=None if self.depth else {"depth"})
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """One expression of a clip.

    Attributes:
        kind: Micro or macro.
        onset_s: Time of the onset.
        apex_s: Time of the apex.
        offset_s: Time of the offset.
        emotion: `negative`, `positive` or `surprise`.
        action_units: Numbers of the action units.
        amplitude: Largest displacement in inter-ocular distances.
    """

    kind: EventKind
    onset_s: float
    apex_s: float
    offset_s: float
    emotion: str
    action_units: tuple[int, ...]
    amplitude: float


@dataclass(frozen=True, slots=True)
class SyntheticClip:
    """One clip. Its arrays are memory-mapped and read-only.

    Attributes:
        name: Name of its folder.
        identity: Number of the person.
        split: `train`, `validation` or `test`.
        fps: Nominal frame rate.
        faces: (N, 128, 128) uint8 canonical faces; zeros where not `valid`.
        times: (N,) float64 stream time in seconds.
        motion: (N, R, 2) float32 region motion as `MotionSample.motion`.
        valid: (N,) bool, whether a face was followed.
        restart: (N,) bool, whether measurement started anew.
        velocity: (N, R, 2) float32 as `MotionSample.velocity`.
        strain: (N, R) float32 as `MotionSample.strain`.
        eyes: (N, 2, 2) float32 as `MotionSample.eyes`.
        head_speed: (N,) float32 as `MotionSample.head_speed`.
        delta_s: (N,) float64 as `MotionSample.delta_s`.
        mesh: (468, 3) float32 canonical landmarks at the end of the clip.
        events: Expressions in order of time.
        distractors: Everything else that moved: `kind`, `start_s`, `end_s`.
        depth: (N, 64, 64) float32 depth maps (`engines.motion.depth`); None without a depth camera.
    """

    name: str
    identity: int
    split: str
    fps: float
    faces: npt.NDArray[np.uint8]
    times: npt.NDArray[np.float64]
    motion: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    restart: npt.NDArray[np.bool_]
    velocity: npt.NDArray[np.float32]
    strain: npt.NDArray[np.float32]
    eyes: npt.NDArray[np.float32]
    head_speed: npt.NDArray[np.float32]
    delta_s: npt.NDArray[np.float64]
    mesh: npt.NDArray[np.float32]
    events: tuple[TrueEvent, ...]
    distractors: tuple[dict[str, Any], ...]
    depth: npt.NDArray[np.float32] | None = None

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.times) / self.fps

    def samples(self) -> Iterator[MotionSample]:
        """Yield what a spotter sees in a live session, without flow fields."""
        for index, time_s in enumerate(self.times.tolist()):
            yield MotionSample(
                index=index,
                time_s=time_s,
                gap_before=0,
                face=self.faces[index] if self.valid[index] else None,
                mesh=self.mesh if self.valid[index] else None,
                **{
                    name: value if shape else value.item()
                    for name, shape, _ in MEASURED
                    for value in [getattr(self, name)[index]]
                },
            )


class SyntheticSet:
    """Reader of a synthetic set.

    Args:
        folder: Where the set is.
        partial: Accept a set that is not complete yet; its missing clips are left out.

    Attributes:
        description: What the set consists of.
        missing: Names of clips that have not been made.

    Raises:
        UserError: There is no set, it is of another format, or it is not complete.
    """

    def __init__(self, folder: Path, *, partial: bool = False) -> None:
        self.folder = Path(folder)
        self.description = _read_description(self.folder)
        self.missing = tuple(
            plan.name for plan in self.description.clips if not (self.folder / plan.name).is_dir()
        )
        if self.missing and not partial:
            raise UserError(
                f"{len(self.missing)} of {len(self.description.clips)} clips of {self.folder} "
                "are missing: run the command that made it again, it will continue."
            )

    def clips(self, split: str | None = None) -> Iterator[SyntheticClip]:
        """Yield the clips in order.

        Args:
            split: `train`, `validation` or `test`; None for all.

        Raises:
            UserError: There is no such split.
        """
        splits = self.description.splits
        if split is not None and split not in splits:
            raise UserError(f"There is no split '{split}': choose one of {', '.join(splits)}.")
        split_of = {identity: name for name, members in splits.items() for identity in members}
        for plan in self.description.clips:
            if plan.name not in self.missing and split in (None, split_of[plan.identity]):
                yield _read_clip(self.folder / plan.name, plan, split_of[plan.identity])


def describe(
    *,
    identities: int,
    clips_per_identity: int,
    seconds: float,
    fps: Sequence[float],
    seed: int,
    depth: bool = False,
) -> SetDescription:
    """Plan a set: who is in which split, and what every clip is.

    Frame rates and clips without expressions are dealt out evenly within each split.

    Raises:
        UserError: Too few people for three splits, or lengths and rates that make no sense.
    """
    if identities < 3 or clips_per_identity < 1:
        raise UserError("Ask for at least 3 identities and 1 clip of each, one for every split.")
    if not 3 <= seconds <= 600 or not all(10 <= rate <= 1000 for rate in fps) or not fps:
        raise UserError("Clips last from 3 to 600 s, at 10 to 1000 frames a second: ask for that.")
    if seed < 0:
        raise UserError("Seeds start at 0: choose another one.")
    held_out = max(1, round(_HELD_OUT_SHARE * identities))
    order = np.random.default_rng([seed, 30]).permutation(identities).tolist()
    members = (order[2 * held_out :], order[:held_out], order[held_out : 2 * held_out])
    splits = {name: tuple(sorted(people)) for name, people in zip(SPLITS, members, strict=True)}
    clips = []
    for number, people in enumerate(splits.values()):
        rng = np.random.default_rng([seed, 31, number])
        count = len(people) * clips_per_identity
        rates = rng.permutation(np.resize(np.array(fps, float), count)).tolist()
        quiet = rng.permutation(count) < round(_QUIET_SHARE * count)
        for position in range(count):
            identity, clip = people[position // clips_per_identity], position % clips_per_identity
            clips.append(
                ClipPlan(
                    name=f"{identity:03d}-{clip:02d}",
                    set_seed=seed,
                    identity=identity,
                    clip=clip,
                    fps=rates[position],
                    seconds=seconds,
                    expressions=not quiet[position],
                )
            )
    return SetDescription(
        format=FORMAT,
        generator=GENERATOR,
        seed=seed,
        identities=identities,
        fps=tuple(sorted(float(rate) for rate in fps)),
        splits=splits,
        clips=tuple(sorted(clips, key=lambda plan: plan.name)),
        depth=depth,
    )


def generate(folder: Path, description: SetDescription, jobs: int) -> None:
    """Make the clips that are missing.

    Args:
        folder: Where the set is or will be.
        description: What it consists of.
        jobs: Number of processes.

    Raises:
        UserError: Another set is there already.
    """
    _claim(folder, description)
    frames = {plan.name: round(plan.fps * plan.seconds) for plan in description.clips}
    # Longest first, so that no process is left alone with a long one at the end.
    todo = sorted(
        (plan for plan in description.clips if not (folder / plan.name).is_dir()),
        key=lambda plan: -frames[plan.name],
    )
    done = sum(frames.values()) - sum(frames[plan.name] for plan in todo)
    # MediaPipe's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        tqdm(
            total=sum(frames.values()), initial=done, unit=" frames", unit_scale=True, disable=None
        ) as bar,
        ProcessPoolExecutor(jobs, context, _prepare_worker) as workers,
    ):
        make = partial(_make_clip, folder, description.depth)
        futures = {workers.submit(make, plan): plan.name for plan in todo}
        try:
            for future in as_completed(futures):
                future.result()
                bar.update(frames[futures[future]])
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise


def _claim(folder: Path, description: SetDescription) -> None:
    """Begin a set in a folder or go on with it; remove what a kill has left half done."""
    folder.mkdir(parents=True, exist_ok=True)
    file, part = folder / "set.json", folder / "set.json.part"
    if file.exists():
        if _read_description(folder) != description:
            raise UserError(
                f"{folder} holds a set that was made with other options: "
                "give the same ones to continue it, or choose another folder."
            )
    elif any(path != part for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose a new folder.")
    else:
        part.write_text(description.model_dump_json(indent=1) + "\n", encoding="utf-8")
        part.replace(file)
    for left_over in folder.glob(f"{_PART}*"):
        shutil.rmtree(left_over)


def summary(folder: Path) -> str:
    """Return what a set contains, as a table."""
    data = SyntheticSet(folder, partial=True)
    lines = [
        f"synthetic set, generator {data.description.generator}, seed {data.description.seed}: "
        f"{data.description.identities} identities, {len(data.description.clips)} clips"
        + (f", {len(data.missing)} of them still missing" if data.missing else ""),
        "",
        "split       people  clips  quiet  minutes   frames  valid  micro  macro  micro/min",
    ]
    for split in (*SPLITS, None):
        clips = list(data.clips(split))
        kinds = Counter(event.kind for clip in clips for event in clip.events)
        minutes = sum(clip.seconds for clip in clips) / 60
        busy = sum(clip.seconds for clip in clips if clip.events) / 60
        frames = sum(len(clip.times) for clip in clips)
        valid = sum(int(clip.valid.sum()) for clip in clips) / max(frames, 1)
        lines.append(
            f"{split or 'all':<11} {len({c.identity for c in clips}):>6} {len(clips):>6} "
            f"{sum(not clip.events for clip in clips):>6} {minutes:>8.1f} {frames:>8} "
            f"{valid:>6.1%} {kinds[EventKind.MICRO]:>6} {kinds[EventKind.MACRO]:>6} "
            f"{kinds[EventKind.MICRO] / max(busy, 1e-9):>10.1f}"
        )
    clips = list(data.clips())
    for title, counts in (
        ("clips by frame rate", Counter(f"{clip.fps:g}" for clip in clips)),
        ("events by emotion", Counter(e.emotion for clip in clips for e in clip.events)),
        ("distractors", Counter(str(d["kind"]) for clip in clips for d in clip.distractors)),
    ):
        listed = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
        lines += ["", f"{title}: {listed or 'none'}"]
    return "\n".join(lines)


@contextmanager
def live_alignment() -> Iterator[Align]:
    """Open the aligner of live sessions as it runs on files: it waits for its landmarks.

    The one place where an engine reaches for the live path. It is imported here, not above,
    because `streamer` imports `engines`; recording itself takes any `Align`.
    """
    from streamer.alignment.face_aligner import FaceAligner  # noqa: PLC0415
    from streamer.config import AlignmentConfig  # noqa: PLC0415
    from streamer.frame import Frame  # noqa: PLC0415

    aligner = FaceAligner(AlignmentConfig(), wait=True)

    def align(
        index: int,
        time_s: float,
        picture: npt.NDArray[np.uint8],
        out: npt.NDArray[np.uint8],
        depth: npt.NDArray[np.uint16] | None = None,
    ) -> AlignedFace:
        frame = Frame(index, time_s, time_s, 0.0, 0, "", picture, depth=depth)
        return aligner.align(frame, out)

    try:
        aligner.open()
        yield align
    finally:
        aligner.close()


def _make_clip(folder: Path, depth: bool, plan: ClipPlan) -> None:
    """Record a clip beside its place and move it there; the entry point of a worker."""
    part = Path(tempfile.mkdtemp(prefix=f"{_PART}{plan.name}-", dir=folder))
    record_clip(plan, part, live_alignment, depth=depth)
    part.chmod(0o755)  # mkdtemp keeps others out
    part.rename(folder / plan.name)


def _prepare_worker() -> None:
    """One thread for each process, and MediaPipe's notes kept off the progress bar."""
    cv2.setNumThreads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, name="glint-parent-watch", daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next clip for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read_description(folder: Path) -> SetDescription:
    try:
        description = SetDescription.model_validate_json((folder / "set.json").read_bytes())
    except OSError as error:
        raise UserError(
            f"There is no synthetic set in {folder} ({error.strerror}): "
            "make one with python -m engines.training.synthetic_set."
        ) from error
    except ValidationError as error:
        raise UserError(f"{folder / 'set.json'} is not a description of a set: {error}.") from error
    if description.format != FORMAT:
        raise UserError(
            f"{folder} is of format {description.format}, not {FORMAT}: make the set anew."
        )
    return description


def _read_clip(folder: Path, plan: ClipPlan, split: str) -> SyntheticClip:
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    load = partial(np.load, mmap_mode="r")
    return SyntheticClip(
        name=plan.name,
        identity=plan.identity,
        split=split,
        fps=plan.fps,
        events=tuple(
            TrueEvent(
                **{
                    **event,
                    "kind": EventKind(event["kind"]),
                    "action_units": tuple(event["action_units"]),
                }
            )
            for event in truth["events"]
        ),
        distractors=tuple(truth["distractors"]),
        depth=load(folder / "depth.npy") if (folder / "depth.npy").exists() else None,
        **{
            name: load(folder / f"{name}.npy")
            for name in ("faces", "times", "mesh", *(name for name, _, _ in MEASURED))
        },
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m engines.training.synthetic_set",
        description="Make the synthetic training set, or print what one contains.",
        epilog="A set that was cut off is continued by the same command.",
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--out", type=Path, metavar="FOLDER", help="make or continue a set here")
    task.add_argument("--summary", type=Path, metavar="FOLDER", help="print what a set contains")
    parser.add_argument("--identities", type=int, default=30, help="number of people (%(default)s)")
    parser.add_argument("--clips-per-identity", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=25.0, help="of each clip (%(default)s)")
    parser.add_argument(
        "--fps",
        type=float,
        nargs="+",
        default=[30.0, 60.0, 120.0, 200.0],
        help="frame rates, dealt out evenly (30 60 120 200)",
    )
    parser.add_argument(
        "--depth", action="store_true", help="let a depth camera look on (see docs/synthetic.md)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        if options.summary:
            print(summary(options.summary))
            return 0
        description = describe(
            identities=options.identities,
            clips_per_identity=options.clips_per_identity,
            seconds=options.seconds,
            fps=options.fps,
            seed=options.seed,
            depth=options.depth,
        )
        generate(options.out, description, max(1, options.jobs))
        print(summary(options.out))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
