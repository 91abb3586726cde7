"""Licensed recordings as training clips: aligned once by the live aligner, kept in a folder.

python -m engines.training.aligned_set --dataset casme2 --data FOLDER --out ALIGNED --classes 3

ALIGNED holds faces of people and falls under the licence of the data set. The same command
continues where it was cut off. What is wrong with the data set is listed by
python -m engines.datasets; a recording without frames is left out and counted here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm

from engines.datasets import (
    ADAPTERS,
    Dataset,
    Problem,
    Recording,
    find_adapter,
    read_depth,
    read_frames,
)
from engines.errors import UserError
from engines.events import EventKind
from engines.motion.canonical import FACE_SIZE
from engines.motion.depth import DEPTH_CELLS
from engines.training.clips import ClipEvent, FaceClip
from engines.training.synthetic_clip import Alignment
from engines.training.synthetic_set import live_alignment

PROGRAM = "python -m engines.training.aligned_set"
SET_FILE = "aligned.json"
FORMAT = 1
"""Version of the files; a reader of another version refuses them."""

_LANDMARKS = 468
_MAP = (DEPTH_CELLS, DEPTH_CELLS)
_ARRAYS = ("faces", "times", "valid", "restart", "mesh")
_DEPTH = "depth.npy"  # of recordings that have depth frames


class AlignedClip(BaseModel):
    """One clip of an aligned set.

    Attributes:
        name: Name of its folder.
        identity: The subject.
        fps: Nominal frame rate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    identity: str
    fps: float


class AlignedDescription(BaseModel):
    """What `aligned.json` holds.

    Attributes:
        format: Version of the files.
        dataset: Name of the adapter.
        title: The data set's name in print.
        classes: Emotions.
        clips: The clips, in order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    dataset: str
    title: str
    classes: tuple[str, ...]
    clips: tuple[AlignedClip, ...]


def align_dataset(
    dataset: Dataset, classes: int, out: Path, alignment: Alignment = live_alignment
) -> list[Problem]:
    """Align the recordings of a data set that have frames and have not been aligned yet.

    Args:
        dataset: What an adapter read.
        classes: Number of emotions.
        out: Folder of the aligned set.
        alignment: Opens the aligner, anew for every recording.

    Returns:
        Pictures that could not be decoded.

    Raises:
        UserError: No recording has frames, or the folder holds another set.
    """
    filmed = [recording for recording in dataset.recordings if recording.path is not None]
    if not filmed:
        raise UserError(
            f"No frames of {dataset.title} were found in {dataset.folder}: unpack them there."
        )
    description = AlignedDescription(
        format=FORMAT,
        dataset=dataset.name,
        title=dataset.title,
        classes=dataset.classes(classes),
        clips=tuple(
            AlignedClip(name=_folder_name(r.name), identity=r.subject, fps=r.fps) for r in filmed
        ),
    )
    _claim(out, description)
    problems: list[Problem] = []
    for recording in tqdm(filmed, unit="recording", disable=None):
        target = out / _folder_name(recording.name)
        if not target.exists():
            part = target.with_name(f".part-{target.name}")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            _align(recording, part, alignment, problems)
            _write_truth(dataset, recording, classes, part)
            part.rename(target)
    return problems


class AlignedSource:
    """An aligned set as a source of clips; see `engines.training.clips.ClipSource`.

    Args:
        folder: Where the set is.

    Raises:
        UserError: There is no complete set.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._description = _read_description(folder)
        missing = sum(not (folder / clip.name).is_dir() for clip in self._description.clips)
        if missing:
            raise UserError(
                f"{missing} of {len(self._description.clips)} clips of {folder} are missing: run "
                f"{PROGRAM} again, it will continue."
            )
        self.identities = tuple(sorted({clip.identity for clip in self._description.clips}))
        self.title = (
            f"{self._description.title}, {len(self.identities)} subjects, "
            f"{len(self._description.clips)} recordings"
        )
        self.synthetic = False
        self.command = (
            f"{PROGRAM} --dataset {self._description.dataset} --data DATASET --out FOLDER "
            f"--classes {len(self._description.classes)}"
        )
        self.fingerprint = _fingerprint(folder, self._description)
        self.classes = self._description.classes
        self.splits: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def clips(self, identities: Sequence[str]) -> Iterator[FaceClip]:
        """Yield the clips of some identities; see `ClipSource.clips`."""
        for clip in self._description.clips:
            if clip.identity in identities:
                folder = self._folder / clip.name
                truth = json.loads((folder / "truth.json").read_text("utf-8"))
                depth = folder / _DEPTH
                yield FaceClip(
                    name=clip.name,
                    identity=clip.identity,
                    fps=clip.fps,
                    events=tuple(
                        ClipEvent(
                            **{
                                **event,
                                "kind": EventKind(event["kind"]),
                                "action_units": tuple(event.get("action_units", ())),
                            }
                        )
                        for event in truth["events"]
                    ),
                    depth=np.load(depth, mmap_mode="r") if depth.exists() else None,
                    **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS},
                )


def _align(
    recording: Recording, folder: Path, alignment: Alignment, problems: list[Problem]
) -> None:
    """Write the canonical faces of a recording, and its depth maps where it has depth."""
    faces, times, valid, restart, depths = [], [], [], [], []
    mesh = np.zeros((_LANDMARKS, 3), np.float32)
    epoch: int | None = None
    with alignment() as align:
        for index, (time_s, picture) in enumerate(read_frames(recording, problems.append)):
            face: npt.NDArray[np.uint8] = np.zeros((FACE_SIZE, FACE_SIZE), np.uint8)
            depth = read_depth(recording, time_s, picture.shape, problems.append)
            aligned = align(index, time_s, picture, face, depth)
            faces.append(face)
            times.append(time_s)
            valid.append(aligned.valid)
            restart.append(aligned.valid and aligned.epoch != epoch)
            epoch = aligned.epoch if aligned.valid else None
            if recording.depth is not None:
                seen = aligned.depth
                depths.append(np.zeros(_MAP, np.float32) if seen is None else seen)
            if aligned.mesh is not None:
                mesh = aligned.mesh
    arrays: tuple[npt.NDArray[Any], ...] = (
        np.array(faces, np.uint8),
        np.array(times),
        np.array(valid),
        np.array(restart),
        mesh,
    )
    for name, values in zip(_ARRAYS, arrays, strict=True):
        np.save(folder / f"{name}.npy", values)
    if depths:
        np.save(folder / _DEPTH, np.stack(depths))


def _write_truth(dataset: Dataset, recording: Recording, classes: int, folder: Path) -> None:
    """Write the expressions; without an apex it is taken to be in the middle."""
    events: list[dict[str, Any]] = [
        {
            "kind": event.kind.value,
            "onset_s": event.onset_s,
            "apex_s": event.apex_s
            if event.apex_s is not None
            else (event.onset_s + event.offset_s) / 2,
            "offset_s": event.offset_s,
            "emotion": dataset.label(event, classes),
            "action_units": sorted({unit.number for unit in event.action_units}),
        }
        for event in recording.events
    ]
    text = json.dumps({"identity": recording.subject, "fps": recording.fps, "events": events})
    (folder / "truth.json").write_text(text + "\n", "utf-8", newline="\n")


def _folder_name(recording: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in recording)


def _fingerprint(folder: Path, description: AlignedDescription) -> str:
    digest = hashlib.sha256(description.model_dump_json().encode())
    for clip in description.clips:
        digest.update((folder / clip.name / "truth.json").read_bytes())
    return digest.hexdigest()


def _claim(out: Path, description: AlignedDescription) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / SET_FILE
    if not path.exists():
        part = out / f"{SET_FILE}.part"
        part.write_text(description.model_dump_json(indent=1) + "\n", "utf-8", newline="\n")
        part.replace(path)
    elif _read_description(out) != description:
        raise UserError(
            f"{out} holds another aligned set: give the same options to continue it, or choose "
            "another folder."
        )


def _read_description(folder: Path) -> AlignedDescription:
    path = folder / SET_FILE
    try:
        description = AlignedDescription.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"There is no aligned set in {folder}: make one with {PROGRAM}.") from error
    except ValidationError as error:
        raise UserError(f"{path} does not describe an aligned set: make it anew.") from error
    if description.format != FORMAT:
        raise UserError(f"{folder} is of format {description.format}, not {FORMAT}: make it anew.")
    return description


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", choices=sorted(ADAPTERS), required=True, help="which data set")
    add("--data", type=Path, required=True, metavar="FOLDER", help="its folder, as it was unpacked")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where the aligned clips go")
    add("--classes", type=int, default=3, metavar="N", help="number of emotions (default: 3)")
    options = parser.parse_args(argv)
    try:
        dataset = find_adapter(options.dataset).read(options.data)
        problems = align_dataset(dataset, options.classes, options.out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    absent = sum(recording.path is None for recording in dataset.recordings)
    print(
        f"{len(dataset.recordings) - absent} recordings aligned, {absent} without frames left out, "
        f"{len(problems)} pictures unreadable."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
