"""Networks in half and in eight bits, and what that costs.

python -m calibration.quantization --engine ststnet --composite3 ../shared/data/composite3

TensorRT takes the precision of a network from its graph, so the graph is converted: to FP16 by
casting it, to INT8 by Q/DQ nodes whose ranges are calibrated on windows of real input. Weights are
quantised per channel and symmetrically, activations symmetrically by their range (Jacob et al.,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference",
CVPR 2018); only convolutions and matrix products are, everything else stays FP32.

The command converts a shipped network and prints what its outputs lose by it. INT8 is calibrated on
one half of the subjects and measured on the other, both ways round. ONNX Runtime computes FP16
graphs in FP32 on the CPU: there, FP16 shows the rounding of the weights alone.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from calibration.card import insert_section
from engines.errors import EngineError, UserError
from engines.evaluation.recognition import scores
from engines.runtime.base import Tensor, Tensors
from engines.runtime.onnx_runtime import OnnxRuntimeRunner
from engines.runtime.shipped import find_graphs

PROGRAM = "python -m calibration.quantization"
PRECISIONS = ("fp32", "fp16", "int8")

_QUANTISED_OPERATORS = ("Conv", "Gemm", "MatMul")
_HEADING = "## Lower precision\n"


def convert(model: bytes, precision: str, windows: Tensors | None = None) -> bytes:
    """Return a graph in another precision; inputs and outputs stay FP32.

    Args:
        model: The FP32 ONNX graph.
        precision: One of `PRECISIONS`.
        windows: Samples of every input, for INT8.

    Raises:
        EngineError: INT8 was asked for without windows, the package onnx is missing, or the graph
            cannot be converted.
    """
    if precision == "fp32":
        return model
    try:
        if precision == "fp16":
            return _to_fp16(model)
        if windows is None:
            raise EngineError(
                "INT8 needs typical inputs to calibrate on: give them with --windows FILE.npz."
            )
        return _to_int8(model, windows)
    except ImportError as error:
        raise EngineError(
            f"A package for converting networks is missing ({error}): install Glint's gpu extra."
        ) from error


def load_windows(path: Path) -> dict[str, Tensor]:
    """Read samples of a network's inputs.

    Args:
        path: An .npz with one array of samples for every input, by its name; other arrays, such
            as `label` and `subject`, may be there too.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"The windows {path} cannot be read as .npz; check the path.") from error


@dataclass(frozen=True, slots=True)
class Loss:
    """What the outputs of a converted network lose.

    Attributes:
        precision: One of `PRECISIONS`.
        size: Bytes of the ONNX file.
        largest: Largest difference of an output from FP32's.
        mean: Mean absolute difference.
        changed: Samples with another most probable class.
        samples: Samples compared.
        classes: The most probable class of each sample.
    """

    precision: str
    size: int
    largest: float
    mean: float
    changed: int
    samples: int
    classes: npt.NDArray[np.intp]


def measure(model: Path, windows: Tensors, groups: npt.NDArray[Any]) -> list[Loss]:
    """Compare every precision with FP32, by ONNX Runtime on the CPU.

    Args:
        model: A shipped network; its first output is compared.
        windows: (N, …) samples of every input.
        groups: (N,) what must not be on both sides of calibration and measurement (subjects).

    Raises:
        EngineError: The network cannot be converted or run.
    """
    source = model.read_bytes()
    samples = len(groups)
    right = _run(source, windows)
    second = np.isin(groups, np.unique(groups)[1::2])
    result = []
    for precision in PRECISIONS:
        got = np.empty_like(right)
        # Only INT8 learns anything from the windows.
        for measured in (second, ~second) if precision == "int8" else (np.ones(samples, np.bool_),):
            converted = convert(source, precision, _rows(windows, ~measured))
            got[measured] = _run(converted, _rows(windows, measured))
        apart = np.abs(got - right)
        result.append(
            Loss(
                precision,
                len(converted),
                float(apart.max()),
                float(apart.mean()),
                int(np.sum(got.argmax(-1) != right.argmax(-1))),
                samples,
                got.argmax(-1),
            )
        )
    return result


def report(losses: Sequence[Loss], labels: npt.NDArray[np.int64] | None) -> str:
    """Return the comparison as a Markdown table, with scores where there are labels."""
    head = ["precision", "ONNX bytes", "largest difference", "mean difference", "classes changed"]
    if labels is not None:
        head += ["accuracy", "UF1", "UAR"]
    rows = []
    for loss in losses:
        row = [
            loss.precision,
            f"{loss.size:,}",
            f"{loss.largest:.1e}",
            f"{loss.mean:.1e}",
            f"{loss.changed} of {loss.samples}",
        ]
        if labels is not None:
            found = scores(labels, loss.classes.astype(np.int64), int(labels.max()) + 1)
            row += [f"{value:.3f}" for value in (found.accuracy, found.uf1, found.uar)]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def describe(losses: Sequence[Loss], labels: npt.NDArray[np.int64] | None, command: str) -> str:
    """Return the section of a model card that holds the comparison."""
    about = (
        "Outputs of the converted network against FP32, by ONNX Runtime on the CPU. It computes\n"
        "FP16 graphs in FP32 there: the row shows the rounding of the weights alone. INT8 was\n"
        "calibrated on one half of the subjects and measured on the other, both ways round."
    )
    if labels is not None:
        about += (
            "\nThe scores are of samples that the network was trained on: only their differences "
            "mean\nanything."
        )
    return f"{_HEADING}{about}\n\n{report(losses, labels)}\n\n```\n{command}\n```\n"


# -- converting ------------------------------------------------------------------------------


def _to_fp16(model: bytes) -> bytes:
    import onnx  # noqa: PLC0415
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415

    half = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=True)
    return bytes(half.SerializeToString(deterministic=True))


def _to_int8(model: bytes, windows: Tensors) -> bytes:
    import onnx  # noqa: PLC0415
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    names = {node.name for node in onnx.load_from_string(model).graph.input}
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        prepared, quantised = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(onnx.load_from_string(model), prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            _reader({name: windows[name] for name in names}),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED_OPERATORS),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                # What TensorRT takes: no zero points, weights quantised in the graph, FP32 biases.
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "AddQDQPairToWeight": True,
                "QuantizeBias": False,
            },
        )
        return quantised.read_bytes()


def _reader(windows: Tensors) -> Any:
    from onnxruntime.quantization import CalibrationDataReader  # noqa: PLC0415

    class OneByOne(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = zip(*windows.values(), strict=True)

        def get_next(self) -> dict[str, Tensor] | None:
            row = next(self._rows, None)
            return None if row is None else {n: r[None] for n, r in zip(windows, row, strict=True)}

    return OneByOne()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Mute what the quantiser logs about preparing a graph that is prepared."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


# -- measuring -------------------------------------------------------------------------------


def _run(model: bytes, windows: Tensors) -> Tensor:
    with OnnxRuntimeRunner(model) as graph:
        given = {name: windows[name] for name in graph.inputs}
        return graph.run(given)[next(iter(graph.outputs))]


def _rows(windows: Tensors, chosen: npt.NDArray[np.bool_]) -> dict[str, Tensor]:
    return {name: rows[chosen] for name, rows in windows.items()}


# -- the command -----------------------------------------------------------------------------


def composite3_windows(path: Path) -> dict[str, Tensor]:
    """Return the composite data set as STSTNet's input, with `label` and `subject`.

    Raises:
        UserError: The data set cannot be read.
    """
    from engines.network_files import INPUT_NAME  # noqa: PLC0415
    from engines.recognition.ststnet.representation import standardise  # noqa: PLC0415
    from engines.training.composite3 import load_composite3  # noqa: PLC0415

    data = load_composite3(path)
    return {INPUT_NAME: standardise(data.pictures), "label": data.labels, "subject": data.subjects}


def main(argv: Sequence[str]) -> int:
    """Run the command line; 0 done, 2 a user's mistake."""
    options = _parser().parse_args(argv)
    try:
        _run_command(options, f"{PROGRAM} {shlex.join(argv)}")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run_command(options: argparse.Namespace, command: str) -> None:
    if options.composite3 is not None:
        windows = composite3_windows(options.composite3)
    else:
        windows = load_windows(options.windows)
    if options.save is not None:
        np.savez_compressed(options.save, **windows)
    for model in find_graphs(options.engine):
        labels = windows.get("label")
        samples = len(next(iter(windows.values())))
        losses = measure(model, windows, windows.get("subject", np.arange(samples)))
        print(report(losses, labels))
        if options.card:
            card = model.parent / "model_card.md"
            text = insert_section(card.read_text("utf-8"), describe(losses, labels, command))
            card.write_text(text, "utf-8", newline="\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", required=True, metavar="NAME", help="a shipped engine")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--windows",
        type=Path,
        metavar="NPZ",
        help="samples of the network's inputs, one array each by its name, and subject if known",
    )
    source.add_argument(
        "--composite3",
        type=Path,
        metavar="PATH",
        help="flow_u_v_strain_28.npz or its folder, for STSTNet; gives scores too",
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="NPZ",
        help="also write the windows, for python -m engines.build --precision int8 --windows NPZ",
    )
    parser.add_argument(
        "--card", action="store_true", help="also put the table into the engine's model card"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
