"""Compile the networks of an engine for an NVIDIA GPU.

Plan and manifest go into the user's cache folder, where the next session looks for them. On the
GPU itself the plan is also compared with ONNX Runtime at once; a session does so at every start.
A later plan of the same network and backend takes the place of an earlier one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from engines.errors import UserError
from engines.runtime.bindings import PLAN_BACKENDS
from engines.runtime.parity import TOLERANCES
from engines.runtime.plans import PROGRAM, PlanFiles, build_plan, open_plan
from engines.runtime.shipped import find_graphs, graph_title

_EPILOG = f"""\
examples:
  {PROGRAM} --engine ststnet --backend tensorrt --precision fp16
  {PROGRAM} --engine ststnet --backend tensorrt --precision int8 --windows windows.npz
  {PROGRAM} --engine ststnet --backend tensorrt-rtx --compute-capability SM86

FP16 and INT8 change results a little: python -m calibration.quantization measures by how much, and
the engine's model card says so. Exit code 0: done; 2: something that you can mend, said in one
sentence; 1: a fault in the program.
"""


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        0 done, 2 a user's mistake.
    """
    options = _parser().parse_args(argv)
    try:
        build(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def build(options: argparse.Namespace) -> None:
    """Build the plan of every network of an engine and say where it is.

    Raises:
        UserError: The engine, the backend or the GPU is missing, or a network does not compile.
    """
    windows = None
    if options.windows is not None:
        from calibration.quantization import load_windows  # noqa: PLC0415

        windows = load_windows(options.windows)
    for model in tqdm(find_graphs(options.engine), desc="plans", unit="plan", disable=None):
        files, manifest = build_plan(
            model,
            options.backend,
            options.precision,
            windows=windows,
            capability=options.compute_capability,
        )
        made = f"{graph_title(model)}: {files.plan}, {manifest.backend} {manifest.version}"
        if options.compute_capability is None:
            _compare(model, files)
            print(f"{made}, {manifest.gpu}, compared with ONNX Runtime.")
        else:
            print(f"{made}, for {options.compute_capability}, not run on it.")


def _compare(model: Path, files: PlanFiles) -> None:
    """Open a new plan as a session would; one that is refused is not kept."""
    try:
        open_plan(model, files.backend).close()
    except UserError:
        files.manifest.unlink(missing_ok=True)
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--engine", required=True, metavar="NAME", help="a shipped engine that has a network"
    )
    parser.add_argument(
        "--backend",
        choices=PLAN_BACKENDS,
        required=True,
        help="tensorrt 10 or 11 for any NVIDIA GPU, tensorrt-rtx for GeForce and RTX cards",
    )
    parser.add_argument(
        "--precision",
        choices=tuple(TOLERANCES),
        default="fp32",
        help="of the network; inputs and outputs stay FP32 (default: %(default)s)",
    )
    parser.add_argument(
        "--windows",
        type=Path,
        metavar="NPZ",
        help="typical inputs to calibrate INT8 on, one array for each input of the network, as "
        "python -m calibration.quantization --save writes it",
    )
    parser.add_argument(
        "--compute-capability",
        metavar="SMxx",
        help="compile for this architecture, such as SM86, on a machine without it (tensorrt-rtx)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
