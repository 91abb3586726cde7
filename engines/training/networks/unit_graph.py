"""Dense graph layers over action units, and the features that their nodes start from.

A graph has the same few nodes for every sample, so adjacency is a small matrix and every layer is
made of matrix products and masks: nothing is gathered or scattered, which TensorRT takes as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from engines.synthesis.action_units import ACTION_UNITS
from engines.synthesis.expressions import emotion_matrix
from engines.training.event_clips import EventSamples

UNITS = ACTION_UNITS
"""Numbers of the action units that are nodes, in order."""

LINKED_FROM = 0.1
"""Units are neighbours where one is seen in this share of the other's expressions, or more."""

_FAR = -1e4


def unit_presence(samples: EventSamples) -> npt.NDArray[np.float32]:
    """(N, A) 1 where a unit was coded."""
    presence = [[unit in event.action_units for unit in UNITS] for event in samples.events]
    return np.array(presence, np.float32).reshape(len(presence), len(UNITS))


def co_occurrence(presence: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
    """How often one unit is seen with another: P(column | row).

    The table of prototypical expressions is always counted in, so that nothing is divided by zero
    and a data set without codes has a graph too.

    Args:
        presence: (N, A) coded expressions of the training identities.

    Returns:
        (A, A) float32, 1 on the diagonal.
    """
    seen = (emotion_matrix() > 0).astype(np.float32)
    if presence is not None:
        seen = np.concatenate([seen, presence])
    counts = seen.T @ seen
    shares: npt.NDArray[np.float32] = counts / np.diag(counts)[:, None]
    return shares


def normalised(shares: torch.Tensor) -> torch.Tensor:
    """D^-1/2 A D^-1/2 of the symmetric part A of (A, A) shares (Kipf and Welling, ICLR 2017)."""
    both = (shares + shares.T) / 2
    degree = both.sum(dim=1).rsqrt()
    return degree[:, None] * both * degree


class Displacement(nn.Module):
    """Displacement of the skin from the first face to each later one (Lucas and Kanade, 1981).

    Without weights: in a window around each cell of 4x4 pixels, the displacement that explains the
    change of gray by the gradient, least squares. Micro-expressions move less than the gradient's
    own length, for which one step is enough. What is learned after it need not know what the skin
    looks like.
    """

    cell = 4
    gray = 10.0
    """Gray of the input times this is of order one where skin has texture."""

    doubt = 0.05
    """Added to the squared gradients: without texture there is no displacement."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(N, T, H, W) faces to (N, 2, T - 1, H / 4, W / 4), x and y in pixels."""
        smooth = functional.avg_pool2d(faces, 3, 1, 1, count_include_pad=False) * self.gray
        # Rows, then columns: a tenth of the sums of a square.
        around = functional.avg_pool2d(smooth, (1, 15), 1, (0, 7), count_include_pad=False)
        around = functional.avg_pool2d(around, (15, 1), 1, (7, 0), count_include_pad=False)
        detail = smooth - around
        first, change = detail[:, :1], detail[:, 1:] - detail[:, :1]
        wide = functional.pad(first, (1, 1, 1, 1), mode="replicate")
        x = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2
        y = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2
        xx, yy, xy = (self._windows(product) for product in (x * x, y * y, x * y))
        xt, yt = self._windows(x * change), self._windows(y * change)
        xx, yy = xx + self.doubt, yy + self.doubt
        determinant = xx * yy - xy * xy
        across = (xy * yt - yy * xt) / determinant
        down = (xy * xt - xx * yt) / determinant
        return torch.stack([across, down], dim=1)

    def _windows(self, maps: torch.Tensor) -> torch.Tensor:
        """Means of 12x12 pixels around each cell, the middle ones counting most."""
        cells = functional.avg_pool2d(maps, self.cell)
        return functional.avg_pool2d(cells, 3, 1, 1, count_include_pad=False)


class ClipStem(nn.Module):
    """3-D convolutions over how the skin moves in a sequence.

    Args:
        channels: Number of features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter, half = channels // 4, channels // 2
        self.displacement = Displacement()
        self.layers = nn.Sequential(
            nn.Conv3d(2, quarter, (3, 5, 5), 1, (1, 2, 2)),
            nn.BatchNorm3d(quarter),
            nn.ReLU(),
            nn.Conv3d(quarter, half, 3, 2, 1),
            nn.BatchNorm3d(half),
            nn.ReLU(),
            nn.Conv3d(half, channels, 3, (2, 1, 1), 1),
            nn.BatchNorm3d(channels),
            nn.ReLU(),
        )

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(N, 8, 128, 128) faces to (N, C, 256) features of 16x16 places, time averaged."""
        maps: torch.Tensor = self.layers(self.displacement(faces))
        return maps.mean(dim=2).flatten(2)


class UnitNodes(nn.Module):
    """Looks for each action unit where it moves the face.

    Every unit has its own attention over places; what it attends to is its node.

    Args:
        channels: Features of a place, and of a node.
        places: Number of places.
    """

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        self.where = nn.Parameter(torch.zeros(len(UNITS), places))
        self.what = nn.Conv1d(channels, len(UNITS), 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, P) features to (N, A, C) nodes."""
        attention = (self.what(features) + self.where).softmax(dim=2)
        nodes: torch.Tensor = attention @ features.transpose(1, 2)
        return nodes


class UnitPresence(nn.Module):
    """Whether a unit is there, from its own node alone: (N, A, C) to (N, A) logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(UNITS), channels) * channels**-0.5)
        self.bias = nn.Parameter(torch.zeros(len(UNITS)))

    def forward(self, nodes: torch.Tensor) -> torch.Tensor:
        """One linear classifier for each unit."""
        logits: torch.Tensor = (nodes * self.weight).sum(dim=2) + self.bias
        return logits


class GraphConv(nn.Module):
    """X to A X W + b (Kipf and Welling, ICLR 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Linear(inputs, outputs)

    def forward(self, nodes: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        """(N, A, inputs) nodes and (A, A) or (N, A, A) normalised adjacency to (N, A, outputs)."""
        answer: torch.Tensor = self.weight(adjacency @ nodes)
        return answer


class GraphAttention(nn.Module):
    """Neighbours weighted by attention (Veličković et al., ICLR 2018); several heads, joined.

    Args:
        inputs: Features of a node.
        outputs: Features of a node after it, a multiple of `heads`.
        heads: Number of heads.
    """

    def __init__(self, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(inputs, outputs, bias=False)
        self.own = nn.Parameter(torch.randn(heads, outputs // heads, 1) * 0.1)
        self.other = nn.Parameter(torch.randn(heads, outputs // heads, 1) * 0.1)

    def forward(self, nodes: torch.Tensor, linked: torch.Tensor) -> torch.Tensor:
        """Attend.

        Args:
            nodes: (N, A, inputs).
            linked: (A, A) or (N, 1, A, A), 1 where the column is a neighbour of the row.

        Returns:
            (N, A, outputs).
        """
        count, units, _ = nodes.shape
        projected = self.project(nodes).reshape(count, units, self.heads, -1).transpose(1, 2)
        towards = (projected @ self.other).transpose(2, 3)
        score = functional.leaky_relu(projected @ self.own + towards, 0.2)
        attention = (score + (1 - linked) * _FAR).softmax(dim=3)
        joined: torch.Tensor = (attention @ projected).transpose(1, 2).flatten(2)
        return functional.elu(joined)


class SelfAttentionPool(nn.Module):
    """Keeps the nodes that matter and mutes the others (SAGPool: Lee, Lee and Kang, ICML 2019).

    The published layer takes the others out of the graph; here they stay as zeros without
    neighbours, so that shapes do not change.

    Args:
        channels: Features of a node.
        keep: How many nodes stay.
    """

    def __init__(self, channels: int, keep: int) -> None:
        super().__init__()
        self.keep = keep
        self.score = GraphConv(channels, 1)

    def forward(
        self, nodes: torch.Tensor, adjacency: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool.

        Args:
            nodes: (N, A, C).
            adjacency: (A, A) normalised.

        Returns:
            (N, A, C) nodes scaled by their score, zero where muted, and (N, A, 1) 1 where kept.
        """
        score = self.score(nodes, adjacency)
        least = score.topk(self.keep, dim=1).values[:, -1:]
        kept = (score >= least).to(nodes.dtype)
        return nodes * torch.tanh(score) * kept, kept
