"""AU-GACN: graph attention over action units, pooled by self-attention.

Xie, Lo, Shuai and Cheng, "AU-assisted graph attention convolutional network for micro-expression
recognition", ACM MM 2020. Nodes are action units with features from a 3-D convolutional network;
graph attention layers look at units that go together, and each is followed by self-attention
pooling (SAGPool), which keeps the units that matter. No code was published. Differences: those of
`mer_gcn`; what pooling leaves out is muted and not taken out of the graph.
"""

from __future__ import annotations

import torch
from torch import nn

from engines.training.networks.mer_gcn import CHANNELS, PLACES, UnitGraphNetwork
from engines.training.networks.unit_graph import (
    LINKED_FROM,
    ClipStem,
    GraphAttention,
    SelfAttentionPool,
    UnitNodes,
    UnitPresence,
    normalised,
)

NODE = 32
HEADS = 4
KEPT = (10, 5)
"""Units that are left after each pooling, of fifteen."""


class AuGacn(UnitGraphNetwork):
    """Two graph attention layers over action units, each pooled; the readouts are added.

    Args:
        emotions: Number of emotions.
    """

    unit_weight = 5.0

    def __init__(self, emotions: int) -> None:
        super().__init__()
        self.stem = ClipStem(CHANNELS)
        self.nodes = UnitNodes(CHANNELS, PLACES)
        self.presence = UnitPresence(CHANNELS)
        self.attend = nn.ModuleList(
            [GraphAttention(CHANNELS, NODE, HEADS), GraphAttention(NODE, NODE, HEADS)]
        )
        self.pool = nn.ModuleList([SelfAttentionPool(NODE, keep) for keep in KEPT])
        self.dropout = nn.Dropout(0.3)
        self.emotion = nn.Linear(2 * NODE, emotions)

    def answer(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `UnitGraphNetwork.answer`."""
        found = nodes = self.nodes(self.stem(faces))
        adjacency = normalised(self.adjacency)
        linked = ((self.adjacency + self.adjacency.T) / 2 >= LINKED_FROM).to(nodes.dtype)
        readout = torch.zeros(1, device=faces.device)
        neighbours = linked
        for attend, pool in zip(self.attend, self.pool, strict=True):
            nodes, kept = pool(attend(nodes, neighbours), adjacency)
            share = nodes.sum(dim=1) / kept.sum(dim=1)
            readout = readout + torch.cat([share, nodes.amax(dim=1)], dim=1)
            # A muted unit is nobody's neighbour any more.
            neighbours = linked * kept.transpose(1, 2).unsqueeze(1)
        return self.emotion(self.dropout(readout)), self.presence(found)
