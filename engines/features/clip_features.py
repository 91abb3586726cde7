"""Features of the last chunk of a stream, computed once a step and never again.

A chunk is what I3D was made for: a few pictures, a third of a second together, in two streams,
appearance and flow. Its features are computed when its last picture has come and handed on; who
needs the last seconds keeps them (`FeatureWindow`), so that a new chunk costs one chunk.

Two backbones give them. `light` ships: a (2+1)-D network over the cells that MEAN sees, beside the
motion of facial regions that is measured anyway; it runs live. `i3d` is the published one, two
Inception-v1 networks inflated to three dimensions; its weights are made by a command
(docs/clip-features.md) and need a GPU to keep up with a camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.errors import EngineError
from engines.features.grid import CHUNK_TICKS, STEP_TICKS, TICK_S
from engines.features.ticks import TickSampler
from engines.features.views import (
    APPEARANCE,
    FLOW,
    REGION_VALUES,
    UNIT_REGION_IOD,
    UNIT_REGION_STRAIN,
    FaceView,
    StripsView,
    View,
    scaled,
)
from engines.network_files import NetworkManifest, open_network
from engines.spotting.base import MotionSample

LIGHT = Path(__file__).parent / "light"
"""Folder of the backbone that ships."""

OUTPUTS: Mapping[str, str] = MappingProxyType(
    {APPEARANCE: "appearance_features", FLOW: "flow_features"}
)
"""Stream to the output of its network."""

VIEWS: Mapping[str, type[View]] = MappingProxyType({"light": StripsView, "i3d": FaceView})
"""Backbone to what it looks at."""

WITH_REGIONS = frozenset({"light"})
"""Backbones whose flow features go on with the region motion of each tick of the step."""


class FeaturesManifest(NetworkManifest):
    """The manifest of a backbone.

    Attributes:
        sizes: Stream to the number of its features, region motion not counted.
    """

    sizes: dict[str, int]


def preprocessing_of(backbone: str) -> dict[str, object]:
    """Everything that a backbone's features depend on besides its weights.

    Raises:
        EngineError: There is no such backbone.
    """
    if backbone not in VIEWS:
        raise EngineError(
            f"There is no backbone named {backbone!r}; choose one of: {', '.join(VIEWS)}."
        )
    regions: dict[str, object] = {}
    if backbone in WITH_REGIONS:
        regions = {"unit_region_iod": UNIT_REGION_IOD, "unit_region_strain": UNIT_REGION_STRAIN}
    return {
        **VIEWS[backbone].preprocessing,
        "tick_s": TICK_S,
        "chunk_ticks": CHUNK_TICKS,
        "step_ticks": STEP_TICKS,
        **regions,
    }


@dataclass(frozen=True, slots=True)
class Step:
    """Features of one chunk.

    Attributes:
        time_s: Stream time of the chunk's last picture.
        starts: True when nothing before it belongs to the same stretch of measurement.
        values: (F,) float32, the features of appearance, then those of flow.
    """

    time_s: float
    starts: bool
    values: npt.NDArray[np.float32]


class ChunkEncoder:
    """A backbone: chunks in, features out.

    Args:
        folder: Where the backbone's files lie; its name is the backbone's.
        backend: What runs it, one of `engines.runtime.BACKENDS`.

    Attributes:
        name: Name of the backbone.
        sha256: Hash of its network.
        appearance: Number of features of appearance F_a; they come first.
        size: Number of all features F.

    Raises:
        EngineError: A file is missing or corrupt, or made for another representation.
    """

    def __init__(self, folder: Path = LIGHT, backend: str = "auto") -> None:
        self.name = folder.name
        manifest, self._graph = open_network(
            folder, self.name, FeaturesManifest, preprocessing_of(self.name), backend
        )
        self.sha256 = manifest.sha256
        self.fallback = self._graph.fallback
        self.backend = self._graph.backend
        self._regions = STEP_TICKS * REGION_VALUES if self.name in WITH_REGIONS else 0
        self.appearance = manifest.sizes[APPEARANCE]
        self.size = sum(manifest.sizes.values()) + self._regions

    def encode(
        self, pictures: Mapping[str, npt.NDArray[Any]], regions: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Compute the features of some chunks.

        Args:
            pictures: Stream to (N, 8, …) float32 pictures as the backbone's view makes them.
            regions: (N, 2, 49) float32 region motion at the last two ticks.

        Returns:
            (N, F) float32.
        """
        found = self._graph.run(pictures)
        parts = [found[OUTPUTS[APPEARANCE]], found[OUTPUTS[FLOW]]]
        if self._regions:
            parts.append(scaled(regions).reshape(len(regions), -1))
        values: npt.NDArray[np.float32] = np.concatenate(parts, axis=1)
        return values

    def warm_up(self) -> None:
        """Do what is done lazily before the first chunk."""
        self._graph.warm_up()

    def close(self) -> None:
        """Close the network."""
        self._graph.close()


class ClipFeatures:
    """The features of a stream, frame by frame and causal.

    Args:
        encoder: The backbone; who made it closes it.
    """

    def __init__(self, encoder: ChunkEncoder) -> None:
        self._encoder = encoder
        self._ticks = TickSampler(VIEWS[encoder.name]())
        self._chunk = {
            name: np.zeros((1, CHUNK_TICKS, *picture.shape), np.float32)
            for name, picture in self._ticks.pictures.items()
        }
        self._regions = np.zeros((1, STEP_TICKS, REGION_VALUES), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._ticks.reset()
        self._count = 0  # ticks since the start of the stretch

    @property
    def going_on(self) -> bool:
        """Whether the next step will belong to the same stretch as the last one."""
        return self._ticks.going_on

    def push(self, sample: MotionSample) -> tuple[Step, ...]:
        """Take the next frame.

        Returns:
            The steps that it completes: none for most frames, several only where frames are
            farther apart than steps.
        """
        self._ticks.push(sample)
        steps = []
        while self._ticks.take():
            self._count = 1 if self._ticks.starts else self._count + 1
            for name, picture in self._ticks.pictures.items():
                _shift_in(self._chunk[name][0], picture)
            _shift_in(self._regions[0], self._ticks.regions)
            beyond = self._count - CHUNK_TICKS
            if beyond >= 0 and beyond % STEP_TICKS == 0:
                values = self._encoder.encode(self._chunk, self._regions)[0]
                steps.append(Step(self._ticks.time_s, beyond == 0, values))
        return tuple(steps)


class FeatureWindow:
    """The features of the last seconds of one stretch, oldest first.

    Args:
        steps: Number of steps T that are kept.
        size: Number of features F of each.
    """

    def __init__(self, steps: int, size: int) -> None:
        # A last column says which steps there are.
        self._kept = np.zeros((steps, size + 1), np.float32)
        self.time_s = np.nan

    def reset(self) -> None:
        """Forget everything."""
        self._kept[:] = 0
        self.time_s = np.nan

    def push(self, step: Step) -> None:
        """Take the next step; one that starts a stretch clears what was before."""
        if step.starts:
            self.reset()
        self._kept[:-1] = self._kept[1:]
        self._kept[-1, :-1] = step.values
        self._kept[-1, -1] = 1
        self.time_s = step.time_s

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """(T, F + 1) float32 view: features, and 1 where there is a step, else all zeros."""
        return self._kept


def _shift_in(kept: npt.NDArray[np.float32], newest: npt.NDArray[np.float32]) -> None:
    """Drop the oldest row and append a new one."""
    kept[:-1] = kept[1:]
    kept[-1] = newest
