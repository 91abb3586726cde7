"""Records one clip of the synthetic set: a performance, as the live path sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from engines.motion.canonical import FACE_SIZE, REGION_NAMES
from engines.motion.config import MotionConfig
from engines.motion.depth import DEPTH_CELLS, DepthMap
from engines.motion.meter import MotionMeter
from engines.synthesis.depth import DepthCamera
from engines.synthesis.identities import Identity, Setting, make_portrait
from engines.synthesis.performance import Performance
from engines.synthesis.renderer import FaceAnimator

_LANDMARKS = 468
_NEAREST_PX, _FARTHEST_PX = 104.0, 72.0
_R = len(REGION_NAMES)
MEASURED: tuple[tuple[str, tuple[int, ...], type], ...] = (
    ("valid", (), np.bool_),
    ("restart", (), np.bool_),
    ("motion", (_R, 2), np.float32),
    ("velocity", (_R, 2), np.float32),
    ("strain", (_R,), np.float32),
    ("eyes", (2, 2), np.float32),
    ("head_speed", (), np.float32),
    ("delta_s", (), np.float64),
)
"""Fields of `MotionSample` that are kept of every frame, with their shape and type."""

# The picture reaches as far around the face as alignment and the heads' motion need.
_PICTURE = (3.2, 3.4)
_CLIP_SEEDS = 2**31


class AlignedFace(Protocol):
    """What alignment knows of one frame; see `streamer.alignment.base.Alignment`."""

    @property
    def valid(self) -> bool:
        """Whether the canonical face is good for measuring motion."""

    @property
    def epoch(self) -> int:
        """Grows whenever alignment starts anew."""

    @property
    def mesh(self) -> npt.NDArray[np.float32] | None:
        """(468, 3) landmarks in the canonical face; None without a face."""

    @property
    def head_speed(self) -> float:
        """Inter-ocular distances a second."""

    @property
    def depth(self) -> DepthMap | None:
        """Depth map of the canonical face; None without a depth picture."""


class Align(Protocol):
    """Aligns the frames of one clip in order."""

    def __call__(
        self,
        index: int,
        time_s: float,
        picture: npt.NDArray[np.uint8],
        out: npt.NDArray[np.uint8],
        depth: npt.NDArray[np.uint16] | None = None,
    ) -> AlignedFace:
        """Align one frame.

        Args:
            index: Frame index.
            time_s: Its time in seconds.
            picture: (H, W, 3) or (H, W).
            out: (128, 128) canonical face, to be drawn.
            depth: (H, W) millimetres; None without a depth camera.
        """


Alignment = Callable[[], AbstractContextManager[Align]]
"""Opens alignment for one clip."""


class ClipPlan(BaseModel):
    """What a clip is made of. Everything in it follows from this."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    set_seed: int
    identity: int
    clip: int
    fps: float
    seconds: float
    expressions: bool

    @property
    def seed(self) -> int:
        """Seed of the setting and of the performance."""
        rng = np.random.default_rng([self.set_seed, self.identity, self.clip, 22])
        return int(rng.integers(_CLIP_SEEDS))


def record_clip(plan: ClipPlan, folder: Path, alignment: Alignment, *, depth: bool = False) -> None:
    """Animate a person, align and measure every frame, and write the clip.

    Args:
        plan: What to record.
        folder: An existing, empty folder.
        alignment: The live path's aligner, waiting for its landmarks.
        depth: Let a depth camera look on.
    """
    seed = plan.seed
    performance = Performance(seed, plan.seconds, expressions=plan.expressions)
    portrait = make_portrait(Identity.draw(plan.set_seed, plan.identity), Setting.draw(seed))
    span = float(np.random.default_rng([seed, 23]).uniform(_FARTHEST_PX, _NEAREST_PX))
    width, height = (round(span * size) for size in _PICTURE)
    animator = FaceAnimator(portrait, performance, width, height, span)
    camera = DepthCamera(portrait, animator, (height, width), seed) if depth else None
    frames = round(plan.seconds * plan.fps)
    create = partial(np.lib.format.open_memmap, mode="w+")
    faces = create(folder / "faces.npy", dtype=np.uint8, shape=(frames, FACE_SIZE, FACE_SIZE))
    if camera is not None:
        shape = (frames, DEPTH_CELLS, DEPTH_CELLS)
        depths = create(folder / "depth.npy", dtype=np.float32, shape=shape)
    times = np.arange(frames) / plan.fps
    measured: dict[str, npt.NDArray[Any]] = {
        name: np.zeros((frames, *shape), dtype) for name, shape, dtype in MEASURED
    }
    mesh = np.zeros((_LANDMARKS, 3), np.float32)
    meter = MotionMeter(MotionConfig(), plan.fps)
    picture = np.empty((height, width, 3), np.uint8)
    face = np.empty((FACE_SIZE, FACE_SIZE), np.uint8)
    with alignment() as align:
        for index, time_s in enumerate(times.tolist()):
            animator.render(time_s, picture, index)
            seen = camera.picture(performance.at(time_s), index) if camera else None
            aligned = align(index, time_s, picture, face, seen)
            sample = meter.measure(
                index,
                time_s,
                0,
                face if aligned.valid else None,
                epoch=aligned.epoch,
                mesh=aligned.mesh,
                head_speed=aligned.head_speed,
            )
            faces[index] = face
            if camera is not None and aligned.depth is not None:
                depths[index] = aligned.depth
            for name, values in measured.items():
                values[index] = getattr(sample, name)
            if aligned.mesh is not None:
                mesh = aligned.mesh
    faces.flush()
    for name, values in {"times": times, "mesh": mesh, **measured}.items():
        np.save(folder / f"{name}.npy", values)
    truth: dict[str, Any] = {"identity": plan.identity, "fps": plan.fps, **performance.truth()}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
