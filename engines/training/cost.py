"""What a network costs: multiplications, counted, and time of the processor, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

_BLOCKS, _RUNS = 7, 20


def multiplications(network: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiplications of the convolutions and linear layers of one run.

    Args:
        network: Any.
        inputs: One sample.
    """
    total = 0

    def count(layer: nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        nonlocal total
        weight = layer.get_parameter("weight")
        total += made.numel() * weight[0].numel()

    layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, layers)
    ]
    with torch.no_grad():
        network.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    return total


def processor_ms(work: Callable[[], object]) -> float:
    """Milliseconds of processor time of one call: the least of several blocks.

    Whatever else the machine does can only add.
    """
    blocks = []
    for _ in range(_BLOCKS):
        started = time.process_time()
        for _ in range(_RUNS):
            work()
        blocks.append(time.process_time() - started)
    return 1e3 * min(blocks) / _RUNS
