"""A graph of facial landmarks on a flow picture, fused with a graph of action units.

After Lei, Chen, Li and Li, "Micro-expression recognition based on facial graph representation
learning and facial action unit fusion", CVPRW 2021: patches around landmarks of brows and mouth are
nodes, a transformer encoder learns what lies between them, and embeddings of action units, which a
graph convolution relates by how often units occur together, are fused with what it finds. There the
patches are cut out of magnified pictures; here out of the flow from onset to apex, at the landmarks
of an average face, as flow pictures have no landmarks of their own.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from engines.recognition.ststnet.representation import COLUMNS, ROWS
from engines.training.networks.unit_graph import (
    UNITS,
    GraphConv,
    UnitPresence,
    co_occurrence,
    normalised,
)

LANDMARKS = (
    (24.0, 36.0), (28.0, 32.5), (34.5, 31.0), (43.0, 31.5), (53.0, 33.0),  # right brow
    (74.5, 32.5), (84.5, 31.5), (93.5, 30.5), (100.0, 32.5), (104.0, 36.0),  # left brow
    (40.0, 42.0), (87.5, 42.0),  # upper lids
    (29.5, 67.0), (98.5, 67.5), (49.0, 72.0), (78.5, 72.0),  # cheeks, nose wings
    (44.0, 87.5), (48.5, 86.5), (63.5, 87.0), (79.5, 87.0), (83.5, 87.5),  # upper lip
    (78.5, 93.5), (63.5, 99.0), (49.5, 93.0),  # lower lip
    (63.5, 121.5), (63.5, 114.0),  # chin
)  # fmt: skip
"""x and y in the average canonical face."""

PATCH = 5
"""Side of a patch in cells of the flow picture."""

NODE = 24
HEADS = 2
CHANNELS = 2
"""Of the flow picture, u and v are looked at; strain follows from them."""


def patch_cells() -> torch.Tensor:
    """(L * 25,) cells of a flattened 28x28 picture that are patches; none lies beyond its edge."""
    around = np.arange(PATCH) - PATCH // 2
    cells = []
    for x, y in LANDMARKS:
        column, row = np.abs(COLUMNS - x).argmin(), np.abs(ROWS - y).argmin()
        down = np.clip(row + around, 0, len(ROWS) - 1)
        across = np.clip(column + around, 0, len(COLUMNS) - 1)
        cells.append((down[:, None] * len(COLUMNS) + across).ravel())
    return torch.from_numpy(np.concatenate(cells))


class SelfAttention(nn.Module):
    """One layer of a transformer encoder over all nodes, written out so that it exports plainly."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(NODE), nn.LayerNorm(NODE)
        self.project = nn.Linear(NODE, 3 * NODE)
        self.join = nn.Linear(NODE, NODE)
        self.think = nn.Sequential(nn.Linear(NODE, 2 * NODE), nn.ReLU(), nn.Linear(2 * NODE, NODE))

    def forward(self, nodes: torch.Tensor) -> torch.Tensor:
        """(N, L, 24) to the same shape."""
        asked, offered, told = (
            part.reshape(-1, len(LANDMARKS), HEADS, NODE // HEADS).transpose(1, 2)
            for part in self.project(self.first(nodes)).chunk(3, dim=2)
        )
        attention = (asked @ offered.transpose(2, 3) / (NODE // HEADS) ** 0.5).softmax(dim=3)
        nodes = nodes + self.join((attention @ told).transpose(1, 2).flatten(2))
        thought: torch.Tensor = nodes + self.think(self.second(nodes))
        return thought


class LandmarkGraph(nn.Module):
    """Emotion and action units from a flow picture.

    Args:
        emotions: Number of emotions.
    """

    cells: torch.Tensor
    adjacency: torch.Tensor

    def __init__(self, emotions: int) -> None:
        super().__init__()
        self.register_buffer("cells", patch_cells())
        self.register_buffer("adjacency", normalised(torch.from_numpy(co_occurrence())))
        self.look = nn.Linear(CHANNELS * PATCH**2, NODE)
        self.place = nn.Parameter(0.1 * torch.randn(len(LANDMARKS), NODE))
        self.relate = SelfAttention()
        self.embedding = nn.Parameter(torch.randn(len(UNITS), NODE))
        self.first, self.second = GraphConv(NODE, NODE), GraphConv(NODE, NODE)
        self.presence = UnitPresence(NODE)
        self.moved = nn.Linear(len(LANDMARKS) * NODE, len(UNITS))
        self.dropout = nn.Dropout(0.5)
        self.emotion = nn.Linear((len(LANDMARKS) + len(UNITS)) * NODE, emotions)

    def forward(self, planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Recognise.

        Args:
            planes: (N, 3, 28, 28) standardised flow pictures.

        Returns:
            (N, C) logits of the emotions and (N, A) logits of the units' presence.
        """
        patches = planes[:, :CHANNELS].flatten(2)[:, :, self.cells]
        patches = patches.reshape(-1, CHANNELS, len(LANDMARKS), PATCH**2)
        patches = patches.transpose(1, 2).flatten(2)
        nodes = self.relate(functional.relu(self.look(patches)) + self.place)
        units = functional.relu(self.first(self.embedding, self.adjacency))
        units = self.second(units, self.adjacency)
        # Each unit looks for itself among the landmarks.
        where = (units @ nodes.transpose(1, 2) / NODE**0.5).softmax(dim=2)
        found = units * (where @ nodes)
        landmarks = nodes.flatten(1)
        joined = torch.cat([landmarks, found.flatten(1)], dim=1)
        return self.emotion(self.dropout(joined)), self.presence(found) + self.moved(landmarks)
