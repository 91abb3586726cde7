"""Clips as spotting networks of clip features see them: the features of every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.features.clip_features import ChunkEncoder
from engines.features.grid import CHUNK_TICKS, STEP_TICKS
from engines.training.clips import ClipSource, FaceClip
from engines.training.ticks import TickCache, TickClip

_BATCH = 64


@dataclass(frozen=True, slots=True)
class FeatureClip:
    """The features of a clip, those that `engines.features.clip_features.ClipFeatures` gives live.

    Attributes:
        clip: The clip, with its faces and the truth.
        times: (S,) float64 stream time of each step, that of its chunk's last picture.
        starts: (S,) bool, whether it is the first of a stretch.
        values: (S, F) float32, appearance first.
        mirrored: (S, F) float32, the same of the mirrored face; None where nobody asked for it.
        appearance: Number of features of appearance.
    """

    clip: FaceClip
    times: npt.NDArray[np.float64]
    starts: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float32]
    mirrored: npt.NDArray[np.float32] | None
    appearance: int


class FeatureCache:
    """The features of a source's clips, computed once and kept on disk in half precision.

    Args:
        folder: Where features and ticks are kept, apart by data, representation and weights.
        source: The clips.
        encoder: The backbone; who made it closes it.
    """

    def __init__(self, folder: Path, source: ClipSource, encoder: ChunkEncoder) -> None:
        self._source = source
        self._encoder = encoder
        self._ticks = TickCache(folder, source, encoder.name)
        key = f"{source.fingerprint[:12]}-{encoder.sha256[:12]}"
        self._folder = folder / f"{encoder.name}-features-{key}"

    def clips(self, identities: Sequence[str], *, mirrored: bool = False) -> Iterator[FeatureClip]:
        """Yield the clips of some identities with their features, in order.

        Args:
            identities: Whose.
            mirrored: Give the features of the mirrored faces too.
        """
        for clip in self._source.clips(identities):
            yield self.features(clip, mirrored=mirrored)

    def features(self, clip: FaceClip, *, mirrored: bool = False) -> FeatureClip:
        """The features of a clip; computed now if they never were."""
        seen = self._kept(clip, "")
        other = self._kept(clip, "-mirrored") if mirrored else None
        return FeatureClip(
            clip,
            seen["times"],
            seen["starts"],
            seen["values"].astype(np.float32),
            None if other is None else other["values"].astype(np.float32),
            self._encoder.appearance,
        )

    def _kept(self, clip: FaceClip, side: str) -> dict[str, npt.NDArray[Any]]:
        """What is kept of a clip, or of its mirror image."""
        path = self._folder / f"{clip.name}{side}.npz"
        if not path.exists():
            ticks = self._ticks.ticks(clip)
            first = ticks.steps()
            self._folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            values = encoded(self._encoder, ticks.mirrored() if side else ticks, first)
            with part.open("wb") as file:
                np.savez(
                    file,
                    times=ticks.times[first + CHUNK_TICKS - 1],
                    starts=ticks.starts[first],
                    values=values.astype(np.float16),
                )
            part.replace(path)
        with np.load(path) as kept:
            return dict(kept)


def encoded(
    encoder: ChunkEncoder, ticks: TickClip, first: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    """Features of chunks.

    Args:
        encoder: The backbone.
        ticks: The pictures.
        first: (S,) the first tick of each chunk.

    Returns:
        (S, F) float32.
    """
    ticks_of = first[:, None] + np.arange(CHUNK_TICKS)
    values = np.empty((len(first), encoder.size), np.float32)
    for at in range(0, len(first), _BATCH):
        chosen = ticks_of[at : at + _BATCH]
        pictures = {name: of[chosen].astype(np.float32) for name, of in ticks.pictures.items()}
        values[at : at + _BATCH] = encoder.encode(pictures, ticks.regions[chosen[:, -STEP_TICKS:]])
    return values
