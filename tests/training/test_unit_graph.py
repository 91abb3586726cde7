"""The blocks of the networks with a graph of action units."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.synthesis.expressions import PROTOTYPES  # noqa: E402
from engines.training.networks.unit_graph import (  # noqa: E402
    UNITS,
    Displacement,
    GraphAttention,
    GraphConv,
    SelfAttentionPool,
    co_occurrence,
    normalised,
)

A = len(UNITS)


def textured(shift: tuple[float, float], seed: int = 0, size: int = 128) -> np.ndarray:
    """Smooth waves, moved."""
    rng = np.random.default_rng(seed)
    columns, rows = np.meshgrid(np.arange(size) - shift[0], np.arange(size) - shift[1])
    waves = zip(rng.uniform(0.2, 0.6, 12), rng.uniform(0, 2 * np.pi, (12, 2)), strict=True)
    return (
        sum(
            np.sin(size_ * (np.cos(turn) * columns + np.sin(turn) * rows) + phase)
            for size_, (turn, phase) in waves
        ).astype(np.float32)
        / 4
    )


@pytest.mark.parametrize("shift", [(0.3, 0.0), (0.0, -0.4), (-0.5, 0.5), (0.0, 0.0)])
def test_displacement_is_read_in_pixels_whatever_the_texture(shift) -> None:
    for seed in (0, 1):
        faces = np.stack([textured((0, 0), seed), textured(shift, seed)])[np.newaxis]
        found = Displacement()(torch.from_numpy(faces))[0, :, 0, 3:-3, 3:-3].numpy()
        assert found.shape == (2, 26, 26)
        assert np.median(found[0]) == pytest.approx(shift[0], abs=0.08)
        assert np.median(found[1]) == pytest.approx(shift[1], abs=0.08)


def test_light_alone_moves_nothing() -> None:
    face = textured((0, 0))
    faces = torch.from_numpy(np.stack([face, face + 0.3])[np.newaxis])
    assert Displacement()(faces).abs().max() < 1e-3
    flat = torch.zeros(1, 3, 128, 128)
    assert Displacement()(flat).abs().max() == 0


def test_co_occurrence_is_what_the_prototypes_say() -> None:
    shares = co_occurrence()
    both = [set(p.action_units) for p in PROTOTYPES]
    for row, unit in enumerate(UNITS):
        with_unit = [units for units in both if unit in units]
        for column, other in enumerate(UNITS):
            expected = np.mean([other in units for units in with_unit])
            assert shares[row, column] == pytest.approx(expected)
    presence = np.zeros((1000, A), np.float32)
    presence[:, [UNITS.index(4), UNITS.index(12)]] = 1
    assert co_occurrence(presence)[UNITS.index(4), UNITS.index(12)] > 0.95


def test_normalised_adjacency_is_symmetric_with_a_spectrum_within_one() -> None:
    adjacency = normalised(torch.from_numpy(co_occurrence())).numpy()
    np.testing.assert_allclose(adjacency, adjacency.T, atol=1e-6)
    assert np.abs(np.linalg.eigvalsh(adjacency)).max() <= 1 + 1e-5


def test_a_graph_convolution_mixes_neighbours_only() -> None:
    layer = GraphConv(4, 3)
    nodes = torch.randn(2, A, 4, requires_grad=True)
    adjacency = torch.eye(A)
    adjacency[0, 1] = 0.5
    layer(nodes, adjacency)[:, 0].sum().backward()
    touched = nodes.grad.abs().sum(dim=(0, 2)) > 0
    assert touched.tolist() == [True, True, *[False] * (A - 2)]


def test_attention_looks_at_neighbours_only_and_sums_to_one() -> None:
    torch.manual_seed(0)
    layer = GraphAttention(4, 8, heads=2)
    linked = torch.eye(A)
    linked[0, :3] = 1
    nodes = torch.randn(2, A, 4, requires_grad=True)
    found = layer(nodes, linked)
    assert found.shape == (2, A, 8)
    found[:, 0].sum().backward()
    touched = nodes.grad.abs().sum(dim=(0, 2)) > 1e-12
    assert touched.tolist() == [True, True, True, *[False] * (A - 3)]
    same = layer(torch.ones(1, A, 4), torch.ones(A, A))
    assert torch.allclose(same, same[:, :1].expand_as(same))


@pytest.mark.parametrize("keep", [1, 7, A])
def test_pooling_keeps_so_many_nodes(keep: int) -> None:
    torch.manual_seed(0)
    pool = SelfAttentionPool(4, keep)
    nodes, kept = pool(torch.randn(5, A, 4), normalised(torch.from_numpy(co_occurrence())))
    assert kept.sum(dim=1).flatten().tolist() == [keep] * 5
    assert (nodes[kept.expand_as(nodes) == 0] == 0).all()
