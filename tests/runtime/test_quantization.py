"""Networks in FP16 and INT8, and the command that says what it costs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from calibration import quantization
from calibration.card import insert_section
from calibration.quantization import (
    convert,
    describe,
    load_windows,
    main,
    measure,
)
from engines.errors import EngineError, UserError
from engines.runtime.onnx_runtime import OnnxRuntimeRunner
from engines.runtime.shipped import find_graphs

COMPOSITE3 = Path(__file__).parents[3] / "shared" / "data" / "composite3"
(STSTNET,) = find_graphs("ststnet")
SOURCE = STSTNET.read_bytes()
WINDOWS = {"planes": np.random.default_rng(0).standard_normal((12, 3, 28, 28)).astype(np.float32)}


def outputs(model: bytes) -> np.ndarray:
    with OnnxRuntimeRunner(model) as graph:
        return graph.run(WINDOWS)["probabilities"]


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 0), ("fp16", 1e-3), ("int8", 0.05)])
def test_a_converted_network_computes_nearly_the_same(precision: str, apart: float) -> None:
    converted = convert(SOURCE, precision, WINDOWS)
    np.testing.assert_allclose(outputs(converted), outputs(SOURCE), atol=apart)


def test_conversion_is_deterministic() -> None:
    for precision in ("fp16", "int8"):
        assert convert(SOURCE, precision, WINDOWS) == convert(SOURCE, precision, WINDOWS)


def test_int8_is_symmetric_and_leaves_biases_and_ends_alone() -> None:
    graph = onnx.load_from_string(convert(SOURCE, "int8", WINDOWS)).graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    zero_points = [value for name, value in weights.items() if name.endswith("zero_point")]
    assert zero_points
    assert not any(value.any() for value in zero_points)
    assert weights["kernel_bias"].dtype == np.float32
    assert {node.op_type for node in graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    assert weights["kernel_scale"].shape == (160,)  # per channel


def test_int8_needs_windows() -> None:
    with pytest.raises(EngineError, match="--windows"):
        convert(SOURCE, "int8")


def test_int8_is_never_measured_on_the_subjects_that_it_was_calibrated_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subjects = np.repeat(["a", "b", "c", "d"], 3)
    marked = {"planes": WINDOWS["planes"].copy()}
    marked["planes"][:, 0, 0, 0] = np.repeat([1, 2, 3, 4], 3)
    calibrated: list[set[float]] = []

    def spy(model: bytes, precision: str, windows: dict[str, np.ndarray]) -> bytes:
        if precision == "int8":
            calibrated.append(set(windows["planes"][:, 0, 0, 0].tolist()))
        return model

    monkeypatch.setattr(quantization, "convert", spy)
    losses = measure(STSTNET, marked, subjects)
    assert calibrated == [{1.0, 3.0}, {2.0, 4.0}]
    assert [(loss.precision, loss.changed) for loss in losses] == [
        ("fp32", 0),
        ("fp16", 0),
        ("int8", 0),
    ]


def test_a_section_takes_the_place_of_its_older_self() -> None:
    losses = measure(STSTNET, WINDOWS, np.arange(12))
    section = describe(losses, None, "python -m calibration.quantization")
    card = "# Card\n\n## Data\ntext\n\n## Limits\n- one\n"
    once = insert_section(card, section)
    assert once.index("## Data") < once.index("## Lower precision") < once.index("## Limits")
    assert insert_section(once, section) == once
    assert insert_section(once, section.replace("fp16", "bf16")).count("## Lower precision") == 1
    assert insert_section("# Card\n\n", section).endswith(section)


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_windows_that_cannot_be_read_are_one_clear_sentence(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "windows.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"windows\.npz"):
        load_windows(path)


def test_the_command_measures_and_fills_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copy(STSTNET, tmp_path / "ststnet.onnx")
    card = tmp_path / "model_card.md"
    card.write_text("# Card\n\n## Limits\n- one\n", "utf-8")
    monkeypatch.setattr(quantization, "find_graphs", lambda engine: [model])
    windows, saved = tmp_path / "windows.npz", tmp_path / "saved.npz"
    np.savez(windows, **WINDOWS, label=np.arange(12) % 3, subject=np.arange(12) // 2)
    options = ["--engine", "ststnet", "--windows", str(windows), "--save", str(saved), "--card"]
    assert main(options) == 0
    assert "| int8 |" in capsys.readouterr().out
    assert "trained on" in card.read_text("utf-8")
    assert "python -m calibration.quantization --engine ststnet" in card.read_text("utf-8")
    np.testing.assert_array_equal(load_windows(saved)["planes"], WINDOWS["planes"])


def test_a_user_s_mistake_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--engine", "ststnet", "--windows", "missing.npz"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.shared_data
@pytest.mark.skipif(not COMPOSITE3.exists(), reason=f"no data set in {COMPOSITE3}")
def test_the_model_card_says_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--engine", "ststnet", "--composite3", str(COMPOSITE3)]) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    card = (STSTNET.parent / "model_card.md").read_text("utf-8")
    for line in printed[:4]:  # FP32, FP16: the same on every machine
        assert line in card
