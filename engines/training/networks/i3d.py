"""I3D: Inception-v1 with its kernels inflated to space and time.

Carreira and Zisserman, "Quo vadis, action recognition? A new model and the Kinetics dataset" (CVPR
2017). The features of a chunk are the mean of what the last block gives, as LSSNet and LGSNet take
them: 1024 of appearance and 1024 of flow.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from engines.training.networks.two_stream import TwoStream

FEATURES = 1024
"""Features of each stream."""

SIDE = 224
"""Side of the pictures that the network was made for, in pixels."""

Triple = tuple[int, int, int]


def _same(kernel: Triple, stride: Triple) -> list[int]:
    """TensorFlow's padding `SAME` for extents that the stride divides; last axis first."""
    padding = []
    for extent, step in zip(reversed(kernel), reversed(stride), strict=True):
        beyond = max(extent - step, 0)
        padding += [beyond // 2, beyond - beyond // 2]
    return padding


class Unit(nn.Module):
    """Convolution, batch normalisation, rectification.

    Args:
        inputs: Channels.
        outputs: Channels.
        side: Side of the kernel, in time too.
        stride: The same in all three.
    """

    def __init__(self, inputs: int, outputs: int, side: int = 1, stride: int = 1) -> None:
        super().__init__()
        self._padding = _same((side,) * 3, (stride,) * 3)
        self.conv = nn.Conv3d(inputs, outputs, side, stride, bias=False)
        self.norm = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W) to (N, outputs, T / stride, H / stride, W / stride)."""
        return functional.relu(self.norm(self.conv(functional.pad(maps, self._padding))))


class Pool(nn.Module):
    """The largest of a neighbourhood; maps are not negative, so zeros beyond the border do."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self._padding = _same(kernel, stride)
        self._kernel, self._stride = kernel, stride

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, T, H, W), smaller by the stride."""
        return functional.max_pool3d(
            functional.pad(maps, self._padding), self._kernel, self._stride
        )


class Inception(nn.Module):
    """Four branches side by side: 1×1×1; two of 3×3×3 behind a bottleneck; pooled, then 1×1×1.

    Args:
        inputs: Channels.
        one: Channels of the first branch.
        wide: Bottleneck and channels of the second.
        narrow: Bottleneck and channels of the third.
        pooled: Channels of the fourth.
    """

    def __init__(
        self, inputs: int, one: int, wide: tuple[int, int], narrow: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                Unit(inputs, one),
                nn.Sequential(Unit(inputs, wide[0]), Unit(*wide, side=3)),
                nn.Sequential(Unit(inputs, narrow[0]), Unit(*narrow, side=3)),
                nn.Sequential(Pool((3, 3, 3), (1, 1, 1)), Unit(inputs, pooled)),
            ]
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Channels of all branches; extents stay."""
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


class I3dStream(nn.Module):
    """One stream of I3D, up to its features.

    Args:
        planes: Planes that the network looks at: 3 of colour, 2 of flow. A picture with a single
            one, gray, stands in all of them.
    """

    def __init__(self, planes: int) -> None:
        super().__init__()
        self._planes = planes
        self.body = nn.Sequential(
            Unit(planes, 64, side=7, stride=2),
            Pool((1, 3, 3), (1, 2, 2)),
            Unit(64, 64),
            Unit(64, 192, side=3),
            Pool((1, 3, 3), (1, 2, 2)),
            Inception(192, 64, (96, 128), (16, 32), 32),
            Inception(256, 128, (128, 192), (32, 96), 64),
            Pool((3, 3, 3), (2, 2, 2)),
            Inception(480, 192, (96, 208), (16, 48), 64),
            Inception(512, 160, (112, 224), (24, 64), 64),
            Inception(512, 128, (128, 256), (24, 64), 64),
            Inception(512, 112, (144, 288), (32, 64), 64),
            Inception(528, 256, (160, 320), (32, 128), 128),
            Pool((2, 2, 2), (2, 2, 2)),
            Inception(832, 256, (160, 320), (32, 128), 128),
            Inception(832, 384, (192, 384), (48, 128), 128),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, T, C, H, W) to (N, 1024)."""
        count, ticks, planes = pictures.shape[:3]
        large = functional.interpolate(
            pictures.flatten(0, 1), size=(SIDE, SIDE), mode="bilinear", align_corners=False
        )
        maps = large.reshape(count, ticks, planes, SIDE, SIDE).transpose(1, 2)
        features: torch.Tensor = self.body(maps.expand(-1, self._planes, -1, -1, -1))
        return features.mean(dim=(2, 3, 4))


def i3d() -> TwoStream:
    """The published backbone: colour and flow."""
    return TwoStream(I3dStream(3), I3dStream(2))
