"""The command line of calibration: options in, a calibration file and a report out."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from streamer.config import GlintConfig, read_toml
from streamer.errors import ConfigError
from streamer.process import MISTAKE, CommandParser, run_command
from streamer.sources.base import FrameSource

_DESCRIPTION = """\
Checks a camera, its light and a subject before a session: clock and rate, flicker, picture, the
subject's neutral face, the threshold for a budget of false alarms, and the smallest movement that
can be seen. Ends with a verdict, a calibration file for run_live.py --calibration, and a report
beside it as a page for the browser.

Works on every source. A file is gone through stretch by stretch; the demo's face keeps still.
"""

_EPILOG = """\
examples:
  python -m calibration --source 0 --fps 200 --size 640x480 --camera left --subject P07
  python -m calibration --source rest.mp4 --false-alarms-per-minute 0.5 --neutral-seconds 300
  python -m calibration --source demo
  python -m calibration lens --print-board board.png
  python -m calibration lens --source 0 --out lens.json

Exit code 0: done, whatever the verdict; 2: something that you can mend, said in one sentence; 1: a
fault in the program.
"""

_LENS_DESCRIPTION = """\
Measures focal length and distortion from a ChArUco board that is shown to the camera, or that the
pictures of a folder show. Optional: motion on an aligned face hardly feels the lens.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Options; those of the process when None.

    Returns:
        0 done, 2 a user's mistake, 1 a fault.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    lens = given[:1] == ["lens"]
    try:
        options = (_lens_parser() if lens else _parser()).parse_args(given[1:] if lens else given)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    work = _measure_lens if lens else _calibrate
    return run_command(lambda: work(options), options.log_level)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m calibration",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_source(parser)
    take = parser.add_argument_group("takes")
    take.add_argument(
        "--still-seconds",
        type=_at_least(6.0),
        default=10.0,
        metavar="S",
        help="length of the still take, at least 6 (default: 10)",
    )
    take.add_argument(
        "--neutral-seconds",
        type=_at_least(10.0),
        default=60.0,
        metavar="S",
        help="length of the neutral take that the threshold rests on (default: 60)",
    )
    take.add_argument(
        "--false-alarms-per-minute",
        type=_at_least(0.001),
        default=1.0,
        metavar="B",
        help="false alarms that you accept; the threshold is chosen for it (default: 1)",
    )
    take.add_argument(
        "--eye-distance-mm",
        type=_at_least(20.0),
        metavar="MM",
        help="the subject's distance between the outer corners of the eyes, for millimetres "
        "(default: 90, the mean of adults)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--camera", metavar="NAME", help="your name for the camera")
    output.add_argument("--subject", metavar="ID", help="pseudonym of the subject")
    output.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="calibration file, the report goes beside it as .html; it must not exist "
        "(default: calibration-CAMERA-SUBJECT-TIME.json here)",
    )
    _add_log_level(output)
    return parser


def _lens_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m calibration lens",
        description=_LENS_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_source(parser)
    board = parser.add_argument_group("board")
    board.add_argument(
        "--board",
        type=_size,
        default=(7, 5),
        metavar="CxR",
        help="squares across and down (default: 7x5)",
    )
    board.add_argument(
        "--square-mm",
        type=_at_least(1.0),
        default=30.0,
        metavar="MM",
        help="side of a printed square (default: 30)",
    )
    board.add_argument(
        "--print-board", type=Path, metavar="PNG", help="write the board to print, and end"
    )
    board.add_argument(
        "--views", type=int, default=20, metavar="N", help="positions to collect (default: 20)"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, default=Path("lens.json"), help="file (default: lens.json)"
    )
    _add_log_level(output)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("source, as with run_live.py")
    source.add_argument("--source", metavar="WHAT", help="camera, file, folder, address or demo")
    source.add_argument("--fps", type=float, metavar="HZ", help="rate to ask a camera for")
    source.add_argument("--size", type=_size, metavar="WxH", help="picture size to ask for")
    source.add_argument("--fourcc", metavar="CODE", help="pixel format to ask a camera for")
    source.add_argument(
        "--speed",
        choices=("realtime", "max"),
        default="max",
        help="pace of files and the demo (default: max)",
    )
    source.add_argument("--seed", type=int, metavar="N", help="seed of the demo")
    source.add_argument("--config", type=Path, metavar="FILE", help="TOML file with any setting")


def _add_log_level(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="warning",
        metavar="LEVEL",
        help="debug, info, warning or error (default: warning)",
    )


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 640x480")
    return int(found[1]), int(found[2])


def _at_least(least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not {least:g} or more")
        return value

    return number


def _configuration(options: argparse.Namespace, duration_s: float | None) -> GlintConfig:
    tree = {} if options.config is None else read_toml(options.config)
    if options.config is not None:
        GlintConfig.from_tree(tree, str(options.config))
    width, height = options.size or (None, None)
    given = {
        "spec": options.source,
        "fps": options.fps,
        "width": width,
        "height": height,
        "fourcc": options.fourcc,
        "speed": options.speed,
        "seed": options.seed,
        "duration_s": duration_s if options.source == "demo" else None,
    }
    source = {name: value for name, value in given.items() if value is not None}
    return GlintConfig.from_tree({**tree, "source": {**tree.get("source", {}), **source}})


# -- calibration -----------------------------------------------------------------------------


def _calibrate(options: argparse.Namespace) -> None:
    # Imported here: the engines take seconds to load, --help and a wrong option need none of it.
    from calibration.guide import Plan, calibrate  # noqa: PLC0415
    from calibration.report import as_html, as_text  # noqa: PLC0415

    out = options.out or Path(_default_name(options.camera, options.subject))
    page = out.with_suffix(".html")
    for path in (out, page):
        if path.exists():
            raise ConfigError(f"{path} exists: nothing is overwritten, name another with --out.")
    if not out.parent.is_dir():
        raise ConfigError(f"The folder {out.parent} does not exist: make it first.")
    plan = Plan(
        still_s=options.still_seconds,
        neutral_s=options.neutral_seconds,
        false_alarms_per_min=options.false_alarms_per_minute,
        eye_distance_mm=options.eye_distance_mm,
        camera=options.camera,
        subject=options.subject,
    )
    config = _configuration(options, 4 * plan.still_s + plan.neutral_s)
    result = calibrate(_source(config), config, plan, TerminalConsole())
    result.save(out)
    page.write_text(as_html(result), encoding="utf-8")
    print(f"\n{as_text(result)}\n\nCalibration: {out}\nReport:      {page}")


def _source(config: GlintConfig) -> FrameSource:
    from engines.synthesis import ScenarioConfig  # noqa: PLC0415
    from streamer.sources.demo import DemoSource  # noqa: PLC0415
    from streamer.sources.registry import create_source  # noqa: PLC0415

    spec, options = config.source.spec, config.source.options()
    if DemoSource.matches(spec):
        # Its subject keeps still when asked to, as others do.
        return DemoSource(spec, options, ScenarioConfig(expressions=False))
    return create_source(spec, options)


def _default_name(camera: str | None, subject: str | None) -> str:
    words = [word for word in (camera, subject) if word]
    time = datetime.now().strftime("%Y%m%d-%H%M%S")
    return re.sub(r"[^\w.-]+", "_", "-".join(["calibration", *words, time])) + ".json"


class TerminalConsole:
    """Speaks to the operator in the terminal; see `calibration.guide.Console`."""

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def wait_for_operator(self, text: str) -> None:
        """Wait for Enter, where there is somebody to press it."""
        if sys.stdin is not None and sys.stdin.isatty():
            input(f"{text} Press Enter when ready. ")
        else:
            self.say(text)

    def progress(self, name: str, total: float) -> Callable[[float], None]:
        """Draw a bar on a terminal; nothing elsewhere."""
        bar = _Bar(
            total=total,
            desc=name,
            bar_format="{desc}: {bar} {n:.0f}/{total:.0f}",
            leave=False,
            disable=not sys.stderr.isatty(),
        )

        def told(done: float) -> None:
            bar.update(min(done, total) - bar.n)
            if done >= total:
                bar.close()

        return told


class _Bar(tqdm):  # type: ignore[misc]  # tqdm carries no types
    monitor_interval = 0  # no thread of its own: it would outlive the command


# -- lens ------------------------------------------------------------------------------------


def _measure_lens(options: argparse.Namespace) -> None:
    from calibration import lens  # noqa: PLC0415
    from calibration.guide import collect_views  # noqa: PLC0415
    from streamer.sources.registry import create_source  # noqa: PLC0415

    columns, rows = options.board
    board = lens.Board(columns=columns, rows=rows, square_mm=options.square_mm)
    if options.print_board is not None:
        lens.draw_board(options.print_board, board)
        print(f"Print {options.print_board} and measure a square; give it as --square-mm.")
        return
    if options.source is None:
        raise ConfigError("The lens needs pictures: give a camera or a folder with --source.")
    if options.out.exists():
        raise ConfigError(f"{options.out} exists: nothing is overwritten, name another with --out.")
    config = _configuration(options, None)
    source = create_source(config.source.spec, config.source.options())
    views, size = collect_views(source, board, TerminalConsole(), options.views)
    result = lens.measure(views, size, board)
    options.out.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (fx, fy), (ex, ey) = result.focal_px, result.focal_error_px
    print(
        f"Focal length {fx:.1f} ± {ex:.1f} and {fy:.1f} ± {ey:.1f} pixels, centre "
        f"{result.centre_px[0]:.1f}, {result.centre_px[1]:.1f}; {result.rms_px:.2f} pixels off in "
        f"{result.views} views."
    )
    for finding in lens.findings(result):
        print(f"{finding.severity.upper()}: {finding.what} {finding.advice}")
    print(f"Lens: {options.out}")
