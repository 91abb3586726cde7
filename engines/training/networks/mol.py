"""MOL: micro-expression recognition learned together with optical flow and landmarks.

Shao et al., "MOL: Joint estimation of micro-expression, optical flow, and landmark via transformer-
graph-style convolution", TPAMI 2025. It reads raw faces; which of them is the apex it need not be
told. `engines/training/recipes.py` says where this differs from what was published.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX
from engines.motion.flow import create_flow
from engines.recognition.sequences import FRAMES, GRAY_MEAN, GRAY_UNIT
from engines.training.event_clips import EventSamples
from engines.training.networks.circular import FullyConnectedConv
from engines.training.networks.correspondence import ChannelCorrespondenceConv
from engines.training.networks.sequence import SequenceNetwork, Targets
from engines.training.networks.unit_graph import Displacement
from engines.training.samples import NOT_LEARNED

CHANNELS = 64
HIDDEN = 128
MAP_SIZE = 8
"""Half of what was published, each."""

CHANGE_GAIN = 8.0
"""Gray levels change by a twentieth of what they are: both shall be of order one."""

DISPLACEMENT_GAIN = 2.0
"""Displacements are of half a pixel."""

PAIRS = FRAMES - 1

FLOW_SIZE = 16
"""Side of the flow that is learned, in cells of 8 canonical pixels."""

FLOW_UNIT_PX = 0.25
"""Movement between two faces that is 1.0 in the flow's loss."""

_FACE_CELLS = (..., slice(3, 15), slice(3, 13))
"""Rows and columns of the flow that hold face and no background."""

FLOW_WEIGHT = 10.0
LANDMARK_WEIGHT = 0.1

LANDMARKS = (
    127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # outer lips
    78, 82, 13, 312, 308, 317, 14, 87,  # inner lips
)  # fmt: skip
"""Face Mesh landmarks that stand for the 68 of the usual annotation, in its order."""

MIRRORED_LANDMARKS = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,
    64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
"""Which landmark of the mirrored face stands where each one of the face is."""


def _layer(inputs: int, outputs: int, kernel: int, padding: int = 0) -> tuple[nn.Module, ...]:
    """A convolution that halves the resolution."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=padding)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


class F5C(nn.Module):
    """Fully-connected convolution, then channel-correspondence convolution, each beside a shortcut.

    Args:
        channels: Number of channels.
        size: Height and width of the maps.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.places = FullyConnectedConv(channels, size)
        self.channels = ChannelCorrespondenceConv(channels, size * size)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        maps = maps + self.places(maps)
        refined: torch.Tensor = maps + self.channels(maps)
        return refined


class FlowHead(nn.Module):
    """Flow between two faces from the maps of both and their correlation with neighbouring cells.

    A cell is 16 canonical pixels and an expression moves one or two: one cell around is looked at.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(2 * CHANNELS, 24, 1)
        finer = (FLOW_SIZE // MAP_SIZE) ** 2
        self.decode = nn.Sequential(
            nn.Conv2d(24 + 9, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 2 * finer, 3, padding=1),
            nn.PixelShuffle(FLOW_SIZE // MAP_SIZE),
        )

    def forward(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """(N, C, 8, 8) twice to (N, 2, 16, 16), in `FLOW_UNIT_PX`."""
        around = functional.pad(after, (1, 1, 1, 1))
        alike = [
            (before * around[:, :, y : y + MAP_SIZE, x : x + MAP_SIZE]).mean(dim=1, keepdim=True)
            for y in range(3)
            for x in range(3)
        ]
        both = self.reduce(torch.cat([before, after], dim=1))
        flow: torch.Tensor = self.decode(torch.cat([both, *alike], dim=1))
        return flow


class LandmarkHead(nn.Sequential):
    """Landmarks of a face from its maps: (N, C, 8, 8) to (N, 136), x and y in face widths."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(CHANNELS, 16, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * MAP_SIZE**2, 2 * len(LANDMARKS)),
        )


def _explained(found: npt.NDArray[np.float32], flow: npt.NDArray[np.float32]) -> float:
    return float(1 - np.square(found - flow).mean() / np.square(flow).mean())


def _sampled(
    flow: npt.NDArray[np.float32], places: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """The flow at (K, 2) places."""
    across, down = places[:, :1], places[:, 1:]
    found = cv2.remap(flow, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found[:, 0], np.float32)


class Mol(SequenceNetwork):
    """One stem for all faces, an F5C block for each side of a pair, and three heads.

    Args:
        classes: Number of emotions.
    """

    shown = ("flow", "landmarks")

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.displacement = Displacement()
        self.look = nn.Sequential(nn.AvgPool2d(2), *_layer(2, CHANNELS // 4, 4, padding=1))
        self.stem = nn.Sequential(
            *_layer(CHANNELS // 4 + 2, CHANNELS // 2, 3, padding=1),
            *_layer(CHANNELS // 2, CHANNELS, 2),
            nn.Conv2d(CHANNELS, CHANNELS, 1),
        )
        self.before = F5C(CHANNELS, MAP_SIZE)
        self.after = F5C(CHANNELS, MAP_SIZE)
        self.emotion = nn.Sequential(
            nn.Conv3d(CHANNELS, 32, (5, 2, 2), stride=(1, 2, 2)),
            nn.BatchNorm3d(32),
            nn.ReLU(),
            nn.MaxPool3d(2),
            nn.Flatten(),
            nn.Linear(32 * 5 * (MAP_SIZE // 4) ** 2, HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(HIDDEN, classes),
        )
        self.flow = FlowHead()
        self.landmarks = LandmarkHead()

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Logits (N, C) of (N, 8, 128, 128) faces."""
        return self._recognise(*self._pairs(faces))

    def show(self, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Flow (N, 7, 2, 16, 16) in pixels, and landmarks (N, 7, 68, 2) in pixels after it."""
        before, after = self._pairs(faces)
        flow = self.flow(before, after).reshape(-1, PAIRS, 2, FLOW_SIZE, FLOW_SIZE)
        marks = self.landmarks(after).reshape(-1, PAIRS, len(LANDMARKS), 2)
        return flow * FLOW_UNIT_PX, marks * FACE_SIZE

    def loss(
        self, faces: torch.Tensor, emotion: torch.Tensor, targets: Targets, weights: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy, 10 times the flow's error and a tenth of the landmarks'."""
        before, after = self._pairs(faces)
        flow = self.flow(before, after)
        marks = self.landmarks(after)
        total: torch.Tensor = functional.mse_loss(flow, targets["flow"].flatten(0, 1))
        # In inter-ocular distances, as it is published.
        apart = (marks - targets["landmarks"].flatten(0, 1).flatten(1)).abs().mean()
        total = FLOW_WEIGHT * total + LANDMARK_WEIGHT * apart * (FACE_SIZE / INTER_OCULAR_PX)
        known = emotion != NOT_LEARNED
        if known.any():
            logits = self._recognise(before, after)
            total = total + functional.cross_entropy(logits[known], emotion[known], weights)
        return total

    def study(self, samples: EventSamples) -> None:
        """Let the landmarks start where they lie on the mean face."""
        mean = samples.meshes[:, list(LANDMARKS), :2].mean(axis=0) / FACE_SIZE
        last = self.landmarks[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.zero_()
            last.bias.copy_(torch.from_numpy(mean).flatten())

    @staticmethod
    def teach(samples: EventSamples) -> dict[str, npt.NDArray[np.float32]]:
        """Flow of every pair by dense inverse search, and the mesh moved along by it."""
        measure = create_flow("dis")
        count = len(samples.faces)
        flow = np.empty((count, PAIRS, 2, FLOW_SIZE, FLOW_SIZE), np.float32)
        marks = np.empty((count, PAIRS, len(LANDMARKS), 2), np.float32)
        for n, faces in enumerate(samples.faces):
            gray = np.clip(faces.astype(np.float32) * GRAY_UNIT + GRAY_MEAN, 0, 255)
            pictures = np.rint(gray).astype(np.uint8)
            places = samples.meshes[n, list(LANDMARKS), :2].astype(np.float32)
            for pair in range(PAIRS):
                step = measure(pictures[pair], pictures[pair + 1])
                small = cv2.resize(step, (FLOW_SIZE, FLOW_SIZE), interpolation=cv2.INTER_AREA)
                flow[n, pair] = small.transpose(2, 0, 1) / FLOW_UNIT_PX
                places = places + _sampled(step, places)
                marks[n, pair] = places
        return {"flow": flow, "landmarks": marks / FACE_SIZE}

    @staticmethod
    def mirrored(targets: Targets) -> dict[str, torch.Tensor]:
        """Columns reversed, u negated, landmarks in their mirrored order."""
        flow = targets["flow"].flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None]
        marks = targets["landmarks"][:, :, MIRRORED_LANDMARKS, :]
        across = torch.tensor([(FACE_SIZE - 1) / FACE_SIZE, 0.0])
        return {"flow": flow, "landmarks": across + marks * torch.tensor([-1.0, 1.0])}

    @staticmethod
    def resemblance(
        shown: Mapping[str, npt.NDArray[np.float32]], taught: Mapping[str, npt.NDArray[np.float32]]
    ) -> dict[str, float]:
        """Share of the flow's energy that is explained, and the landmarks' mean distance."""
        flow, marks = taught["flow"] * FLOW_UNIT_PX, taught["landmarks"] * FACE_SIZE
        apart = np.linalg.norm(shown["landmarks"] - marks, axis=-1).mean()
        return {
            "share of the flow explained": _explained(shown["flow"], flow),
            "share explained between the brows and the chin": _explained(
                shown["flow"][_FACE_CELLS], flow[_FACE_CELLS]
            ),
            "distance of the landmarks in inter-ocular distances": float(apart / INTER_OCULAR_PX),
        }

    def _pairs(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps (7 N, C, 8, 8) of the earlier and of the later face of every pair."""
        change = CHANGE_GAIN * (faces - faces.mean(dim=1, keepdim=True))
        seen = torch.stack([faces, change], dim=2)
        looks = self.look(seen.reshape(-1, 2, FACE_SIZE, FACE_SIZE))
        # The first face has not moved.
        moved = functional.pad(self.displacement(faces), (0, 0, 0, 0, 1, 0)).transpose(1, 2)
        moved = DISPLACEMENT_GAIN * moved.flatten(0, 1)
        maps = self.stem(torch.cat([looks, moved], dim=1))
        maps = maps.reshape(-1, FRAMES, CHANNELS, MAP_SIZE, MAP_SIZE)
        before: torch.Tensor = self.before(maps[:, :-1].flatten(0, 1))
        after: torch.Tensor = self.after(maps[:, 1:].flatten(0, 1))
        return before, after

    def _recognise(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Logits from the maps of all pairs, in their order in time."""
        pairs = torch.stack([before, after], dim=1)
        course = pairs.reshape(-1, 2 * PAIRS, CHANNELS, MAP_SIZE, MAP_SIZE).transpose(1, 2)
        logits: torch.Tensor = self.emotion(course)
        return logits
