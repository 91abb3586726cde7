from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs requirements-train.txt")
pytest.importorskip("onnx", reason="training needs requirements-train.txt")

from engines.network_files import INPUT_NAME  # noqa: E402
from engines.recognition.ststnet.recognizer import OUTPUT_NAME  # noqa: E402
from engines.recognition.ststnet.representation import mirror  # noqa: E402
from engines.runtime.onnx_runtime import OnnxRuntimeRunner  # noqa: E402
from engines.training.export import build_model, fold_ensemble  # noqa: E402
from engines.training.fitting import mirrored_logits  # noqa: E402
from engines.training.network import StstnetBank  # noqa: E402


def bank(members: int, seed: int = 0) -> StstnetBank:
    built = StstnetBank(members, 3, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return built


def planes(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(7))


def test_one_member_has_the_parameters_of_ststnet_without_normalisation() -> None:
    assert sum(p.numel() for p in bank(1).parameters()) == 16 * 27 + 16 + 400 * 3 + 3 == 1651


@pytest.mark.parametrize(("count", "members"), [(1, 1), (2, 3), (5, 68)])
def test_shapes(count: int, members: int) -> None:
    built = bank(members)
    assert built.features(planes(count)).shape == (count, members, 400)
    assert built(planes(count)).shape == (count, members, 3)


def test_every_parameter_receives_a_gradient() -> None:
    built = bank(2)
    built(planes(8)).square().sum().backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_no_gradient_passes_from_one_member_to_another() -> None:
    built = bank(3)
    built(planes(4))[:, 1].square().sum().backward()
    for parameter in built.parameters():
        assert parameter.grad is not None
        by_member = parameter.grad.reshape(3, -1).abs().sum(1)
        assert by_member[1] > 0
        assert by_member[0] == by_member[2] == 0


def test_a_member_in_a_bank_is_the_member_alone() -> None:
    together, alone = bank(3), bank(1)
    with torch.no_grad():
        alone.kernel.copy_(together.kernel[16:32])
        alone.kernel_bias.copy_(together.kernel_bias[16:32])
        alone.head.copy_(together.head[1:2])
        alone.head_bias.copy_(together.head_bias[1:2])
        torch.testing.assert_close(together(planes(4))[:, 1], alone(planes(4))[:, 0])


@pytest.mark.parametrize("count", [1, 6])
def test_the_exported_graph_is_the_mirrored_ensemble(count: int) -> None:
    banks = [bank(1, 1), bank(2, 2)]
    temperature = 1.7
    model = build_model(fold_ensemble(banks), temperature).SerializeToString()
    graph = OnnxRuntimeRunner(model)
    inputs = planes(count).numpy()
    exported = graph.run({INPUT_NAME: inputs})[OUTPUT_NAME]
    logits = np.concatenate([mirrored_logits(b, inputs) for b in banks], axis=1).mean(axis=1)
    expected = torch.softmax(torch.from_numpy(logits) / temperature, dim=1).numpy()
    np.testing.assert_allclose(exported, expected, atol=1e-5)


def test_the_exported_graph_gives_a_face_and_its_mirror_image_the_same_answer() -> None:
    model = build_model(fold_ensemble([bank(2)]), 1.0).SerializeToString()
    graph = OnnxRuntimeRunner(model)
    inputs = planes(3).numpy()
    direct = graph.run({INPUT_NAME: inputs})[OUTPUT_NAME]
    mirrored = graph.run({INPUT_NAME: np.ascontiguousarray(mirror(inputs))})[OUTPUT_NAME]
    np.testing.assert_allclose(direct, mirrored, atol=1e-5)
