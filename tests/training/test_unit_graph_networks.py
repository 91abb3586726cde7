"""The networks with a graph of action units, whole."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

import torch

from engines.motion.canonical import FACE_SIZE
from engines.runtime import open_graph
from engines.training.event_clips import live_sequences
from engines.training.golden import golden_faces
from engines.training.networks.au_gacn import AuGacn
from engines.training.networks.mer_gcn import PRESENCE, MerGcn, UnitGraphNetwork
from engines.training.networks.unit_graph import UNITS, co_occurrence, unit_presence
from engines.training.onnx_export import write_graph
from tests.training.face_clips import CLASSES, clip

NETWORKS = (MerGcn, AuGacn)


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def sequences(count: int) -> torch.Tensor:
    """Different sequences of faces, ten at most."""
    golden = torch.from_numpy(golden_faces())
    turned = [golden.flip(axes) for axes in ((2,), (3,), (2, 3), (1,))]
    return torch.cat([golden, *turned])[:count]


def units(count: int) -> torch.Tensor:
    return (torch.rand(count, len(UNITS)) < 0.3).float()


@pytest.mark.parametrize("build", NETWORKS)
def test_learning_reaches_every_weight(build: type[UnitGraphNetwork]) -> None:
    network = build(3)
    faces = sequences(4)
    emotion = torch.tensor([0, 1, 2, -1])
    network.loss(faces, emotion, {PRESENCE: units(4)}, torch.ones(3)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_what_was_not_coded_teaches_no_units() -> None:
    network, faces = MerGcn(3), sequences(4)
    nothing = {PRESENCE: torch.zeros(4, len(UNITS))}
    network.loss(faces, torch.tensor([0, 1, 2, 0]), nothing, torch.ones(3)).backward()
    assert network.presence.weight.grad.abs().max() == 0
    assert network.emotion.weight.grad.abs().max() > 0


def test_the_graph_is_that_of_the_people_learned_from() -> None:
    network, samples = MerGcn(3), live_sequences([clip("a")], CLASSES)
    assert {tuple(np.array(UNITS)[row > 0]) for row in unit_presence(samples)} == {
        (4,), (12,), (1, 2),
    }  # fmt: skip
    network.study(samples)
    expected = co_occurrence(unit_presence(samples))
    np.testing.assert_array_equal(network.adjacency.numpy(), expected)
    assert not np.array_equal(expected, co_occurrence())


@pytest.mark.parametrize("build", NETWORKS)
def test_learns_ten_clips_by_heart(build: type[UnitGraphNetwork]) -> None:
    network = build(3)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    # Displacement has no weights: what it gives stays the same.
    moved = network.stem.displacement(sequences(10))
    network.stem.displacement = torch.nn.Identity()
    emotion, presence = torch.arange(10) % 3, units(10)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for _ in range(80):
        logits, found = network.answer(moved)
        known = logits.argmax(dim=1) == emotion
        told = ((found > 0) == (presence > 0)).float().mean()
        if known.all() and told > 0.9:
            return
        optimiser.zero_grad()
        network.loss(moved, emotion, {PRESENCE: presence}, torch.ones(3)).backward()
        optimiser.step()
    raise AssertionError(f"{int((~known).sum())} of 10 not learned, units {told:.0%}")


@pytest.mark.parametrize("build", NETWORKS)
def test_the_exported_graph_computes_what_torch_does(build, tmp_path) -> None:
    network = build(3)
    network(torch.from_numpy(golden_faces()))  # statistics that are not trivial
    golden, file = golden_faces(), tmp_path / "network.onnx"
    write_graph(network, {"faces": golden}, network.outputs, file)
    with open_graph(file) as graph:
        assert graph.inputs["faces"].shape == (None, 8, FACE_SIZE, FACE_SIZE)
        one_by_one = [graph.run({"faces": golden[i : i + 1]}) for i in range(len(golden))]
        together = graph.run({"faces": golden})
    assert together["action_units"].shape == (len(golden), len(UNITS))
    assert (together["action_units"] >= 0).all()
    assert (together["action_units"] <= 1).all()
    for name in network.outputs:
        np.testing.assert_allclose(
            np.concatenate([each[name] for each in one_by_one]), together[name], atol=1e-4
        )
