"""MEAN and SFAMNet as networks: shapes, gradients, attention, and that they can learn at all."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

import torch

from engines.errors import UserError
from engines.runtime import open_graph
from engines.training.networks.base import RecognitionPath, SpottingPath
from engines.training.networks.cbam import Cbam, ChannelAttention, SpatialAttention
from engines.training.networks.mean import Mean
from engines.training.networks.sfamnet import AttentiveBlock, SfamNet
from engines.training.onnx_export import write_onnx

NETWORKS = [Mean, SfamNet]


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def planes(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 42, 42)


@pytest.mark.parametrize("build", NETWORKS)
def test_shapes_and_a_gradient_for_every_weight(build) -> None:
    network = build(4)
    scores, logits = network(planes(3))
    assert scores.shape == (3,)
    assert logits.shape == (3, 4)
    assert network.squash(scores).shape == (3,)
    (scores.square().sum() + logits.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_spotting_path_of_mean_has_the_published_number_of_weights() -> None:
    state = Mean(3).state_dict()
    counted = [
        tensor.numel()
        for name, tensor in state.items()
        if not name.startswith("recognition") and not name.endswith("num_batches_tracked")
    ]
    assert sum(counted) == 3621


def test_streams_see_one_plane_each() -> None:
    """The features of a stream change with its own plane and with no other."""
    network = SfamNet(3).eval()
    given = planes(1)
    before = network.shared(given)
    for plane in range(3):
        changed = given.clone()
        changed[:, plane] += torch.randn(42, 42)
        moved = (network.shared(changed) - before).abs().amax(dim=(0, 2, 3)) > 0
        assert moved.reshape(3, 3).any(dim=1).tolist() == [plane == own for own in range(3)]


@pytest.mark.parametrize("module", [ChannelAttention(4), SpatialAttention(), Cbam(4)])
def test_attention_keeps_shape_and_only_weakens(module) -> None:
    maps = torch.randn(2, 4, 9, 7)
    attended = module(maps)
    assert attended.shape == maps.shape
    share = (attended / maps).detach()
    assert share.min() > 0
    assert share.max() < 1


def test_channel_attention_is_one_weight_a_channel_and_spatial_one_a_place() -> None:
    maps = torch.rand(1, 4, 9, 7) + 0.5
    by_channel = ChannelAttention(4)(maps) / maps
    assert by_channel.std(dim=(2, 3)).max() < 1e-6
    by_place = SpatialAttention()(maps) / maps
    assert by_place.std(dim=1).max() < 1e-6


def test_the_attentive_block_pools_by_three() -> None:
    assert AttentiveBlock()(torch.randn(2, 1, 42, 42)).shape == (2, 3, 14, 14)


@pytest.mark.parametrize("build", NETWORKS)
def test_learns_ten_pictures_by_heart(build) -> None:
    network = build(3)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    # Smooth, as flow is.
    given = torch.nn.functional.interpolate(torch.randn(10, 3, 6, 6), size=(42, 42)) * 2
    micro, emotion = torch.arange(10) % 2, torch.arange(10) % 3
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(150):
        scores, logits = network(given)
        loss = torch.nn.functional.mse_loss(network.squash(scores), micro.float())
        loss = loss + torch.nn.functional.cross_entropy(logits, emotion)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        known = ((network.squash(scores) > 0.5) == micro.bool()) & (logits.argmax(1) == emotion)
        if known.all():
            return
    raise AssertionError(f"{int((~known).sum())} of 10 not learned")


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("path", [SpottingPath, RecognitionPath])
def test_the_exported_graph_computes_what_torch_does(build, path, tmp_path) -> None:
    network = build(3)
    for module in network.modules():  # statistics of batch normalisation that are not trivial
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    golden = planes(5).numpy()
    write_onnx(path(network), "out", tmp_path / "network.onnx", golden)
    with open_graph(tmp_path / "network.onnx") as graph:
        one_by_one = [graph.run({"planes": golden[i : i + 1]})["out"][0] for i in range(5)]
        together = graph.run({"planes": golden})["out"]
        assert graph.inputs["planes"].shape == (None, 3, 42, 42)
    np.testing.assert_allclose(np.array(one_by_one), together, rtol=1e-4, atol=1e-5)


def test_a_graph_that_differs_from_its_network_is_not_kept(tmp_path) -> None:
    class Fickle(torch.nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return given.sum(dim=(1, 2, 3)) * (1.0 if torch.jit.is_tracing() else 1.01)

    with pytest.raises(UserError, match="differs"):
        write_onnx(Fickle(), "out", tmp_path / "network.onnx", planes(2).numpy() + 1)
    assert not (tmp_path / "network.onnx").exists()
