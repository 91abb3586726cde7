"""MER-GCN: a graph of action units over 3-D convolution features.

Lo, Xie, Shuai and Cheng, "MER-GCN: Micro-expression recognition based on relation modeling with
graph convolutional networks", MIPR 2020. Nodes are action units with features from a 3-D
convolutional network, edges how often units occur together; what the graph makes of the nodes is
joined with the features of the whole clip. No code was published. Differences: the features come
from a small network on eight faces, and the nodes are also taught which units were coded.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from engines.training.event_clips import EventSamples
from engines.training.networks.sequence import SequenceNetwork, Targets
from engines.training.networks.unit_graph import (
    UNITS,
    ClipStem,
    GraphConv,
    UnitNodes,
    UnitPresence,
    co_occurrence,
    normalised,
    unit_presence,
)
from engines.training.samples import NOT_LEARNED

CHANNELS = 64
NODE = 32
PLACES = 256
PRESENCE = "presence"


class UnitGraphNetwork(SequenceNetwork):
    """What the networks with a graph of action units have in common: loss and targets.

    Attributes:
        unit_weight: Weight of the action units in the loss, beside the emotion.
    """

    unit_weight = 1.0
    outputs = ("logits", "action_units")
    units = UNITS
    adjacency: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("adjacency", torch.from_numpy(co_occurrence()))

    def study(self, samples: EventSamples) -> None:
        """Count which units go together in the training samples."""
        self.adjacency.copy_(torch.from_numpy(co_occurrence(unit_presence(samples))))

    def answer(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C) logits of the emotions and (N, A) logits of the units' presence."""
        raise NotImplementedError

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, C) logits of the emotions and (N, A) probabilities of the units."""
        emotion, units = self.answer(faces)
        return emotion, units.sigmoid()

    def loss(
        self, faces: torch.Tensor, emotion: torch.Tensor, targets: Targets, weights: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy of the emotion, and of every unit where units were coded at all."""
        logits, units = self.answer(faces)
        presence = targets[PRESENCE]
        coded = presence.any(dim=1, keepdim=True).float()
        unit_loss = functional.binary_cross_entropy_with_logits(units, presence, reduction="none")
        loss = (
            self.unit_weight * (unit_loss * coded).sum() / (coded.sum() * len(UNITS)).clamp(min=1)
        )
        if (emotion != NOT_LEARNED).any():
            loss = loss + functional.cross_entropy(
                logits, emotion, weights, ignore_index=NOT_LEARNED
            )
        return loss

    @staticmethod
    def teach(samples: EventSamples) -> dict[str, npt.NDArray[np.float32]]:
        """Which units were coded; the mirrored face has the same."""
        return {PRESENCE: unit_presence(samples)}


class MerGcn(UnitGraphNetwork):
    """Two graph convolutions over action units, joined with the whole clip.

    Args:
        emotions: Number of emotions.
    """

    def __init__(self, emotions: int) -> None:
        super().__init__()
        self.stem = ClipStem(CHANNELS)
        self.nodes = UnitNodes(CHANNELS, PLACES)
        self.presence = UnitPresence(CHANNELS)
        self.first = GraphConv(CHANNELS, NODE)
        self.second = GraphConv(NODE, NODE)
        self.dropout = nn.Dropout(0.3)
        self.emotion = nn.Linear(len(UNITS) * NODE + CHANNELS, emotions)

    def answer(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `UnitGraphNetwork.answer`."""
        features = self.stem(faces)
        nodes = self.nodes(features)
        linked = normalised(self.adjacency)
        related = functional.relu(self.first(nodes, linked))
        related = functional.relu(self.second(related, linked))
        joined = torch.cat([related.flatten(1), features.mean(dim=2)], dim=1)
        return self.emotion(self.dropout(joined)), self.presence(nodes)
