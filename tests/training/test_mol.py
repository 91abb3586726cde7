"""MOL: each block against what it is meant to compute, and the whole network."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

import torch

from engines.motion.canonical import FACE_SIZE
from engines.runtime import open_graph
from engines.training.golden import golden_faces
from engines.training.half_weights import store_half
from engines.training.networks.circular import CircularConv, FullyConnectedConv
from engines.training.networks.correspondence import ChannelCorrespondenceConv, nearest_channels
from engines.training.networks.mol import (
    FLOW_SIZE,
    FLOW_UNIT_PX,
    LANDMARKS,
    MIRRORED_LANDMARKS,
    PAIRS,
    Mol,
)
from engines.training.onnx_export import write_graph
from engines.training.sequence_fold import WithHeads
from tests.training.face_clips import MESH


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def some_faces(count: int) -> torch.Tensor:
    """Up to ten different sequences."""
    golden = torch.from_numpy(golden_faces())
    changed = (golden, golden.flip(2), golden.flip(3), golden.flip(2, 3), golden.flip(1))
    return torch.cat(changed)[:count]


# -- fully-connected convolution ------------------------------------------------------------------


@pytest.mark.parametrize("axis", [2, 3])
def test_a_circular_convolution_follows_a_shift_around(axis: int) -> None:
    convolution, maps = CircularConv(3, 8, axis), torch.randn(2, 3, 8, 8)
    for shift in (1, 5):
        moved = convolution.around(maps.roll(shift, axis))
        torch.testing.assert_close(moved, convolution.around(maps).roll(shift, axis))


@pytest.mark.parametrize("axis", [2, 3])
def test_a_circular_convolution_is_that_of_the_textbook(axis: int) -> None:
    convolution, maps = CircularConv(2, 5, axis), torch.randn(1, 2, 5, 5)
    kernel = convolution.kernel.detach().reshape(2, 5)
    expected = torch.zeros_like(maps)
    for step in range(5):
        expected += kernel[None, :, step, None, None] * maps.roll(-step, axis)
    torch.testing.assert_close(convolution.around(maps), expected)


def test_positions_end_the_equivalence_of_places() -> None:
    convolution, maps = CircularConv(3, 8, 2), torch.randn(2, 3, 8, 8)
    moved = convolution(maps.roll(1, 2))
    assert not torch.allclose(moved, convolution(maps).roll(1, 2), atol=1e-4)


def test_every_place_of_a_fully_connected_convolution_sees_every_other_of_its_channel() -> None:
    block = FullyConnectedConv(4, 6).eval()
    block.mix[1] = torch.nn.Identity()
    maps = torch.randn(1, 4, 6, 6, requires_grad=True)
    for channel in range(4):
        (seen,) = torch.autograd.grad(block(maps)[0, channel, 2, 3], maps)
        assert (seen[0, channel] != 0).all()
        assert (seen[0].flatten(1).abs().sum(dim=1) > 0).tolist() == [
            other == channel for other in range(4)
        ]


# -- channel correspondence -----------------------------------------------------------------------


def looped(block: ChannelCorrespondenceConv, maps: torch.Tensor) -> torch.Tensor:
    """The edge convolution as it is written down, edge by edge."""
    result = torch.empty_like(maps)
    for n, sample in enumerate(maps.flatten(2)):
        answers = []
        for i, own in enumerate(sample):
            alike = [
                -torch.inf if j == i else float(torch.cosine_similarity(own, other, dim=0))
                for j, other in enumerate(sample)
            ]
            nearest = sorted(range(len(sample)), key=lambda j: -alike[j])[: block.neighbours]
            edges = [torch.cat([own, sample[j] - own])[None, :, None] for j in nearest]
            answers.append(torch.stack([block.edge(edge)[0, :, 0] for edge in edges]).amax(dim=0))
        normed = block.norm(torch.stack(answers)[None])
        result[n] = torch.relu(normed).reshape(maps.shape[1:])
    return result


@pytest.mark.parametrize("neighbours", [1, 4])
def test_the_correspondence_of_channels_equals_plain_loops(neighbours: int) -> None:
    block = ChannelCorrespondenceConv(7, 12, neighbours).eval()
    block.norm.running_mean.normal_()
    block.norm.running_var.uniform_(0.5, 2)
    maps = torch.randn(3, 7, 3, 4)
    torch.testing.assert_close(block(maps), looped(block, maps), rtol=1e-4, atol=1e-5)


def test_a_channel_is_no_neighbour_of_its_own_and_a_dead_one_does_no_harm() -> None:
    channels = torch.randn(2, 6, 20)
    channels[1, 3] = 0
    chosen = nearest_channels(channels, 5)
    assert chosen.shape == (2, 6, 5)
    for sample in chosen:
        for own, others in enumerate(sample.tolist()):
            assert sorted([own, *others]) == list(range(6))


def test_samples_of_a_batch_do_not_see_each_other() -> None:
    block = ChannelCorrespondenceConv(5, 9, 2).eval()
    maps = torch.randn(4, 5, 3, 3)
    alone = torch.cat([block(sample[None]) for sample in maps])
    torch.testing.assert_close(block(maps), alone)


# -- the network ----------------------------------------------------------------------------------


def targets(count: int) -> dict[str, torch.Tensor]:
    return {
        "flow": torch.randn(count, PAIRS, 2, FLOW_SIZE, FLOW_SIZE) * 0.1,
        "landmarks": torch.rand(count, PAIRS, len(LANDMARKS), 2),
    }


def test_joint_learning_reaches_every_weight() -> None:
    network = Mol(3)
    faces = some_faces(4)
    network.loss(faces, torch.tensor([0, 1, 2, -1]), targets(4), torch.ones(3)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_emotion_is_learned_where_there_is_one_only() -> None:
    network = Mol(3)
    faces = some_faces(4)
    network.loss(faces, torch.full((4,), -1), targets(4), torch.ones(3)).backward()
    assert network.emotion[0].weight.grad is None
    assert network.landmarks[0].weight.grad is not None


def test_shown_flow_and_landmarks_have_a_place_for_every_pair() -> None:
    flow, landmarks = Mol(3).eval().show(some_faces(4))
    assert flow.shape == (4, PAIRS, 2, FLOW_SIZE, FLOW_SIZE)
    assert landmarks.shape == (4, PAIRS, 68, 2)


def test_landmarks_start_from_the_mean_face() -> None:
    from engines.training.event_clips import EventSamples  # noqa: PLC0415

    network = Mol(3)
    meshes = np.stack([MESH, MESH + 2])
    nobody = np.zeros((2, PAIRS + 1, FACE_SIZE, FACE_SIZE), np.float16)
    network.study(EventSamples(nobody, np.zeros(2, np.int64), (), meshes, ()))
    _, landmarks = network.eval().show(some_faces(2))
    expected = MESH[list(LANDMARKS), :2] + 1
    np.testing.assert_allclose(landmarks[1, 3].detach().numpy(), expected, atol=1e-3)


def test_the_order_of_mirrored_landmarks_is_its_own_inverse() -> None:
    order = np.array(MIRRORED_LANDMARKS)
    np.testing.assert_array_equal(order[order], np.arange(len(LANDMARKS)))
    assert len(set(LANDMARKS)) == len(LANDMARKS)


def test_targets_of_the_mirrored_face_are_the_mirrored_targets() -> None:
    given = targets(2)
    twice = Mol.mirrored(Mol.mirrored(given))
    for name, values in given.items():
        torch.testing.assert_close(twice[name], values)
    once = Mol.mirrored(given)
    torch.testing.assert_close(once["flow"][0, 0, 0, :, 3], -given["flow"][0, 0, 0, :, -4])
    torch.testing.assert_close(once["flow"][0, 0, 1, :, 3], given["flow"][0, 0, 1, :, -4])
    # The tip of the chin stays the tip of the chin.
    chin = once["landmarks"][0, 0, 8] * FACE_SIZE
    expected = given["landmarks"][0, 0, 8] * FACE_SIZE
    torch.testing.assert_close(chin, torch.stack([FACE_SIZE - 1 - expected[0], expected[1]]))


def test_the_teachers_follow_what_moves() -> None:
    """A texture that slides to the right: u is positive, and the landmarks slide along."""
    from engines.training.event_clips import EventSamples  # noqa: PLC0415

    noise = golden_faces()[0, 0]
    faces = np.stack([np.roll(noise, step, axis=1) for step in range(PAIRS + 1)])
    samples = EventSamples(
        faces[None].astype(np.float16), np.zeros(1, np.int64), (), MESH[None], ()
    )
    taught = Mol.teach(samples)
    inner = taught["flow"][0, :, :, 4:-4, 4:-4] * FLOW_UNIT_PX
    assert inner[:, 0].mean() == pytest.approx(1, abs=0.1)
    assert abs(inner[:, 1].mean()) < 0.1
    moved = (taught["landmarks"][0, -1] - taught["landmarks"][0, 0]) * FACE_SIZE
    assert np.median(moved[:, 0]) == pytest.approx(PAIRS - 1, abs=0.3)


def test_what_is_shown_resembles_its_teachers_as_far_as_it_does() -> None:
    taught = {name: values.numpy() for name, values in targets(3).items()}
    perfect = {
        "flow": taught["flow"] * FLOW_UNIT_PX,
        "landmarks": taught["landmarks"] * FACE_SIZE,
    }
    explained, inside, apart = Mol.resemblance(perfect, taught).values()
    assert explained == inside == pytest.approx(1)
    assert apart == pytest.approx(0)
    blind = {"flow": 0 * perfect["flow"], "landmarks": perfect["landmarks"] + [64, 0]}
    explained, inside, apart = Mol.resemblance(blind, taught).values()
    assert explained == inside == pytest.approx(0)
    assert apart == pytest.approx(1)


def test_learns_ten_clips_by_heart() -> None:
    network = Mol(3)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    faces = some_faces(10)
    emotion, taught = torch.arange(10) % 3, targets(10)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(40):
        logits = network(faces)
        known = logits.argmax(dim=1) == emotion
        if known.all():
            return
        optimiser.zero_grad()
        network.loss(faces, emotion, taught, torch.ones(3)).backward()
        optimiser.step()
    raise AssertionError(f"{int((~known).sum())} of 10 not learned")


def test_the_exported_graph_computes_what_torch_does(tmp_path) -> None:
    network = Mol(3)
    golden, file = some_faces(4).numpy(), tmp_path / "mol.onnx"
    network(torch.from_numpy(golden))  # statistics that are not trivial
    outputs = ("logits", "flow", "landmarks")
    write_graph(WithHeads(network), {"faces": golden}, outputs, file)
    with open_graph(file) as graph:
        assert graph.inputs["faces"].shape == (None, 8, FACE_SIZE, FACE_SIZE)
        one_by_one = [graph.run({"faces": golden[i : i + 1]}) for i in range(len(golden))]
        together = graph.run({"faces": golden})
    for name in outputs:
        np.testing.assert_allclose(
            np.concatenate([each[name] for each in one_by_one]),
            together[name],
            rtol=1e-3,
            atol=1e-4,
        )
    size = file.stat().st_size
    store_half(file)
    assert file.stat().st_size < 0.55 * size
    with open_graph(file) as graph:
        halved = graph.run({"faces": golden})
    np.testing.assert_allclose(halved["logits"], together["logits"], atol=2e-2)
