"""What training reads: clips of aligned faces with the expressions in them, by identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engines.evaluation.spotting import Interval
from engines.events import EventKind
from engines.synthesis.expressions import EMOTIONS
from engines.synthesis.performance import Performance
from engines.training.synthetic_set import SyntheticSet


@dataclass(frozen=True, slots=True)
class ClipEvent:
    """One expression of a clip.

    Attributes:
        kind: Micro or macro.
        onset_s: Start, in the clip's time.
        apex_s: Largest displacement.
        offset_s: End.
        emotion: One of the source's classes; None when it belongs to none of them.
        action_units: Numbers of the action units that were coded; empty where none were.
    """

    kind: EventKind
    onset_s: float
    apex_s: float
    offset_s: float
    emotion: str | None
    action_units: tuple[int, ...] = ()

    @property
    def interval(self) -> Interval:
        """For evaluation."""
        return Interval(self.onset_s, self.offset_s, self.kind, self.apex_s)


@dataclass(frozen=True, slots=True)
class FaceClip:
    """Aligned faces as the live aligner gives them, and what they show.

    Attributes:
        name: Name of the clip, unique in its source.
        identity: Whom it shows; what a split never divides.
        fps: Nominal frame rate.
        faces: (N, 128, 128) uint8, may be memory-mapped.
        times: (N,) float64 stream time in seconds.
        valid: (N,) bool, whether a face was followed.
        restart: (N,) bool, whether measurement started anew.
        mesh: (468, 3) float32 canonical landmarks.
        events: Expressions in order of onset.
        depth: (N, 64, 64) float32 depth maps, may be memory-mapped (`engines.motion.depth`); None
            without a depth camera.
    """

    name: str
    identity: str
    fps: float
    faces: npt.NDArray[np.uint8]
    times: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]
    restart: npt.NDArray[np.bool_]
    mesh: npt.NDArray[np.float32]
    events: tuple[ClipEvent, ...]
    depth: npt.NDArray[np.float32] | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.times) / self.fps


def at_rate(clip: FaceClip, fps: float) -> FaceClip:
    """The same clip filmed at a lower rate: of every frame interval, the nearest frame.

    Args:
        clip: A clip.
        fps: At most the clip's own rate.
    """
    count = int(np.floor((clip.times[-1] - clip.times[0]) * fps + 1e-6)) + 1
    kept = np.rint(np.arange(count) * clip.fps / fps).astype(np.intp)
    kept = kept[kept < len(clip.times)]
    # A restart between two kept frames shows at the later one.
    after_last = np.concatenate([[0], kept[:-1] + 1])
    restarts = np.logical_or.reduceat(clip.restart[: kept[-1] + 1], after_last)
    return FaceClip(
        name=clip.name,
        identity=clip.identity,
        fps=fps,
        faces=clip.faces[kept],
        times=clip.times[kept],
        valid=clip.valid[kept],
        restart=restarts,
        mesh=clip.mesh,
        events=clip.events,
        depth=None if clip.depth is None else clip.depth[kept],
    )


class ClipSource(Protocol):
    """Where clips come from.

    Attributes:
        title: What the data are, for model cards.
        synthetic: Whether nobody was filmed for them.
        command: The command line that makes them.
        fingerprint: Changes with the data.
        classes: Emotions.
        splits: `train`, `validation` and `test` to identities; empty where the data have none.
        identities: Everybody, in order.
    """

    title: str
    synthetic: bool
    command: str
    fingerprint: str
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    identities: tuple[str, ...]

    def clips(self, identities: Sequence[str]) -> Iterator[FaceClip]:
        """Yield the clips of some identities, in order."""
        ...


class SyntheticSource:
    """The synthetic set as a source.

    Args:
        folder: Where the set is.

    Raises:
        UserError: There is no complete set.
    """

    def __init__(self, folder: Path) -> None:
        self._set = SyntheticSet(folder)
        described = self._set.description
        self.title = (
            f"synthetic set, generator version {described.generator}, seed {described.seed}, "
            f"{described.identities} identities, {len(described.clips)} clips"
            + (", with a depth camera" if described.depth else "")
        )
        self.synthetic = True
        self.command = (
            "python -m engines.training.synthetic_set --out FOLDER "
            f"--identities {described.identities} "
            f"--clips-per-identity {len(described.clips) // described.identities} "
            f"--seconds {described.clips[0].seconds:g} "
            f"--fps {' '.join(f'{fps:g}' for fps in described.fps)} --seed {described.seed}"
            + (" --depth" if described.depth else "")
        )
        self.fingerprint = described.fingerprint
        self.classes: tuple[str, ...] = EMOTIONS
        self.splits: Mapping[str, tuple[str, ...]] = MappingProxyType(
            {
                name: tuple(f"{member:03d}" for member in members)
                for name, members in described.splits.items()
            }
        )
        self.identities = tuple(sorted(who for members in self.splits.values() for who in members))

    def scripts(self) -> Iterator[tuple[str, Performance]]:
        """Yield the name of every clip with what was performed in it; a quarter second each."""
        for plan in self._set.description.clips:
            yield plan.name, Performance(plan.seed, plan.seconds, expressions=plan.expressions)

    def clips(self, identities: Sequence[str]) -> Iterator[FaceClip]:
        """Yield the clips of some identities; see `ClipSource.clips`."""
        for clip in self._set.clips():
            if f"{clip.identity:03d}" in identities:
                yield FaceClip(
                    name=clip.name,
                    identity=f"{clip.identity:03d}",
                    fps=clip.fps,
                    faces=clip.faces,
                    times=clip.times,
                    valid=clip.valid,
                    restart=clip.restart,
                    mesh=clip.mesh,
                    depth=clip.depth,
                    events=tuple(
                        ClipEvent(
                            e.kind, e.onset_s, e.apex_s, e.offset_s, e.emotion, e.action_units
                        )
                        for e in clip.events
                    ),
                )
