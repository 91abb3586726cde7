"""Clips as backbones see them: the pictures and region motion of every tick, kept on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.features.clip_features import VIEWS, preprocessing_of
from engines.features.grid import CHUNK_TICKS, STEP_TICKS
from engines.features.ticks import TickSampler
from engines.features.views import APPEARANCE, FLOW, mirrored_regions
from engines.training.clips import ClipSource, FaceClip
from engines.training.streaming import measure


@dataclass(frozen=True, slots=True)
class TickClip:
    """The ticks of a clip, as `engines.features.ticks.TickSampler` gives them live.

    Attributes:
        times: (K,) float64, stream time of each tick.
        starts: (K,) bool, whether it is the first of a stretch.
        regions: (K, 49) float32 region motion.
        pictures: Stream to (K, …) float16, may be memory-mapped.
    """

    times: npt.NDArray[np.float64]
    starts: npt.NDArray[np.bool_]
    regions: npt.NDArray[np.float32]
    pictures: dict[str, npt.NDArray[np.float16]]

    def chunks(self, length: int = CHUNK_TICKS) -> npt.NDArray[np.intp]:
        """First ticks of all runs of so many ticks that lie in one stretch."""
        stretch = np.cumsum(self.starts)
        last = len(stretch) - length + 1
        if last <= 0:
            return np.empty(0, np.intp)
        return np.flatnonzero(stretch[:last] == stretch[length - 1 :])

    def steps(self) -> npt.NDArray[np.intp]:
        """First ticks of the chunks for which there are features, live or here."""
        first = self.chunks()
        began = np.flatnonzero(self.starts)
        into = first - began[np.searchsorted(began, first, side="right") - 1]
        kept: npt.NDArray[np.intp] = first[into % STEP_TICKS == 0]
        return kept

    def mirrored(self) -> TickClip:
        """The ticks of the mirrored face."""
        flow = self.pictures[FLOW][..., ::-1].copy()
        flow[:, 0] *= -1
        return TickClip(
            self.times,
            self.starts,
            mirrored_regions(self.regions),
            {APPEARANCE: self.pictures[APPEARANCE][..., ::-1], FLOW: flow},
        )


def tick_clip(clip: FaceClip, backbone: str) -> TickClip:
    """Measure a clip as a live session does and sample it on the grid.

    Args:
        clip: A clip.
        backbone: One of `engines.features.clip_features.VIEWS`.
    """
    sampler = TickSampler(VIEWS[backbone]())
    times, starts, regions = [], [], []
    pictures: dict[str, list[npt.NDArray[np.float16]]] = {name: [] for name in sampler.pictures}
    for sample in measure(clip):
        sampler.push(sample)
        while sampler.take():
            times.append(sampler.time_s)
            starts.append(sampler.starts)
            regions.append(sampler.regions.copy())
            for name, picture in sampler.pictures.items():
                pictures[name].append(picture.astype(np.float16))
    empty = {name: (0, *picture.shape) for name, picture in sampler.pictures.items()}
    return TickClip(
        np.array(times, np.float64),
        np.array(starts, np.bool_),
        np.array(regions, np.float32).reshape(len(times), -1),
        {
            name: np.stack(kept) if kept else np.empty(empty[name], np.float16)
            for name, kept in pictures.items()
        },
    )


class TickCache:
    """The ticks of a source's clips, measured once.

    Args:
        folder: Where they are kept, apart by data and representation.
        source: The clips.
        backbone: Who looks at them.
    """

    def __init__(self, folder: Path, source: ClipSource, backbone: str) -> None:
        seen = json.dumps([source.fingerprint, preprocessing_of(backbone)], sort_keys=True)
        self._folder = folder / f"{backbone}-ticks-{hashlib.sha256(seen.encode()).hexdigest()[:12]}"
        self._backbone = backbone

    def ticks(self, clip: FaceClip) -> TickClip:
        """The ticks of a clip; measured now if they never were."""
        folder = self._folder / clip.name
        if not folder.exists():
            _write(tick_clip(clip, self._backbone), folder)
        return TickClip(
            np.load(folder / "times.npy"),
            np.load(folder / "starts.npy"),
            np.load(folder / "regions.npy"),
            {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in (APPEARANCE, FLOW)},
        )


def _write(ticks: TickClip, folder: Path) -> None:
    """Write all or nothing."""
    part = folder.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    arrays = {"times": ticks.times, "starts": ticks.starts, "regions": ticks.regions}
    for name, array in (arrays | ticks.pictures).items():
        np.save(part / f"{name}.npy", array)
    part.rename(folder)
