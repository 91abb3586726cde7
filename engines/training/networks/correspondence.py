"""Channel-correspondence convolution: each channel learns from the channels most like it.

The other half of MOL's F5C block (Shao et al., TPAMI 2025): a graph whose nodes are channels, an
edge from each to its nearest by cosine, an edge convolution as in dynamic graph CNNs (Wang et al.,
ACM TOG 2019).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def nearest_channels(channels: torch.Tensor, count: int) -> torch.Tensor:
    """The channels most like each one by cosine, itself left out.

    Args:
        channels: (N, C, F) a row of features for each channel.
        count: How many.

    Returns:
        (N, C, count) int64, the most alike first.
    """
    # No division inside a norm: half precision has to survive a dead channel.
    length = channels.square().mean(dim=2, keepdim=True).add(1e-4).sqrt()
    unit = channels / length
    alike = unit @ unit.transpose(1, 2)
    own = torch.eye(channels.shape[1], dtype=channels.dtype, device=channels.device)
    return (alike - 1e4 * own).topk(count, dim=2).indices


class ChannelCorrespondenceConv(nn.Module):
    """Edge convolution over the graph of the most similar channels.

    An edge from channel i to its neighbour j carries (x_i, x_j - x_i); a 1×1 convolution reads it,
    and the largest answer over the neighbours counts. The convolution is linear, so it is computed
    once for each channel and not once for each edge: A x_i + B (x_j - x_i) = (A - B) x_i + B x_j.

    Args:
        channels: Number of channels.
        features: Cells of a channel.
        neighbours: Edges of a channel.
    """

    def __init__(self, channels: int, features: int, neighbours: int = 4) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.edge = nn.Conv1d(2 * features, features, 1)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        nodes = maps.flatten(2)
        chosen = nearest_channels(nodes.detach(), self.neighbours)
        own, other = self.edge.weight[:, :, 0].chunk(2, dim=1)
        centre = functional.linear(nodes, own - other, self.edge.bias)
        moved = functional.linear(nodes, other)
        # Rows of all graphs below each other: one gather along the first axis.
        first = torch.arange(nodes.shape[0], device=nodes.device)[:, None, None] * nodes.shape[1]
        picked = moved.flatten(0, 1).index_select(0, (chosen + first).flatten())
        largest = picked.reshape(*chosen.shape, -1).amax(dim=2)
        return functional.relu(self.norm(centre + largest)).reshape(maps.shape)
