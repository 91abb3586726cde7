"""The command line: options and a configuration file in, a session out."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.events import EventKind
from engines.runtime.registry import BACKENDS
from streamer.config import GlintConfig, read_toml
from streamer.consent import Consent
from streamer.errors import ConfigError
from streamer.process import MISTAKE, CommandParser, run_command
from streamer.review.cli import COMMANDS
from streamer.review.cli import main as run_review
from streamer.sinks.base import SessionInfo, SessionMetrics, Sink
from streamer.sinks.progress import ProgressSink
from streamer.sinks.session_folder import SessionFolderSink
from streamer.version import VERSION

if TYPE_CHECKING:
    from streamer.pipeline import Pipeline
    from streamer.sources.browser import BrowserCamera

_POLL_S = 0.2  # Windows delivers Ctrl-C only between two waits
DEMO_SHOW_S = 600.0  # long enough to look around on the dashboard

_UNSTORED = (
    "Nothing is stored before the subject's consent is confirmed: do so on the page, under Setup, "
    "or start with --consent NAME."
)

_DESCRIPTION = """\
Glint finds micro-expressions, facial movements of 0.04 to 0.5 s, while they happen.
"""

_EPILOG = """\
examples:
  run_live.py                                         camera 0, dashboard in the browser
  run_live.py --source demo                           no camera: scripted micro-expressions
  run_live.py --list-sources                          what is plugged in, and what to type
  run_live.py --fps 200 --size 640x480 --fourcc MJPG  a fast webcam
  run_live.py --source basler:0 --fps 200             a laboratory camera (docs/cameras.md)
  run_live.py --source clip.mp4 --headless --session out
  run_live.py --source frames/ --fps 200 --headless --session out
  run_live.py --source rtsp://camera.lab/stream       a network camera

commands on finished sessions and archives, each with its own --help:
{commands}

Ctrl-C ends the session in order, with everything written. Exit code 0: done; 2: something that
you can mend, said in one sentence; 1: a fault in the program.

A micro-expression is a movement of the face. It does not prove that a person lies.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Options, or a command on finished sessions with its own; those of the process
            when None.

    Returns:
        0 done, 2 a user's mistake, 1 a fault.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        return run_review(arguments)
    try:
        options = _parser().parse_args(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    return run_command(lambda: _run(options), options.log_level)


def _run(options: argparse.Namespace) -> None:
    if options.list_sources:
        _list_sources()
        return
    configs = [configuration(options, number) for number in range(len(options.source or [None]))]
    config = configs[0]
    if options.headless:
        _run_headless(configs, options.session)
    elif len(configs) > 1:
        raise ConfigError(
            "Several sources have no dashboard together: add --headless, or start Glint once for "
            "each."
        )
    else:
        _run_dashboard(config, options.session, options.auth)


# -- options ---------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    default = GlintConfig.from_tree({})
    parser = CommandParser(
        prog="run_live.py",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(
            commands="\n".join(f"  run_live.py {name:<8}{what}" for name, what in COMMANDS.items())
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"Glint {VERSION}")

    source = parser.add_argument_group("source")
    source.add_argument(
        "--source",
        action="append",
        metavar="WHAT",
        help="camera number, device or name (0, /dev/video2, basler:…, aravis:…, gentl:…), video "
        "file, folder of pictures, recorded session, rtsp:// or http:// address, 'browser' (a "
        "visitor's webcam, through the dashboard's page /camera), or 'demo'; "
        "may be given several times with --headless (default: camera 0)",
    )
    source.add_argument(
        "--list-sources", action="store_true", help="show the cameras that are plugged in, and end"
    )
    source.add_argument(
        "--fps",
        type=float,
        metavar="HZ",
        help="rate to ask a camera for, or the rate at which a folder was recorded "
        "(default: what the source has)",
    )
    source.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help="picture size to ask for, for example 640x480 (default: what the source has)",
    )
    source.add_argument(
        "--fourcc",
        metavar="CODE",
        help="pixel format to ask a camera for; many reach their full rate with MJPG only",
    )
    source.add_argument(
        "--duration",
        type=float,
        metavar="S",
        help="end after so many seconds of stream time (default: the demo ends after 60 s, on the "
        "dashboard after 10 minutes, anything else where it ends)",
    )
    source.add_argument(
        "--speed",
        choices=("realtime", "max"),
        help="pace of files and the demo: their own, or as fast as they can be analysed; the "
        "results are the same (default: max with --headless, otherwise realtime)",
    )
    source.add_argument(
        "--seed", type=int, metavar="N", help="seed of the demo; another seed, another script"
    )

    analysis = parser.add_argument_group("analysis")
    analysis.add_argument(
        "--spotter", metavar="NAME", help=f"spotting engine (default: {default.spotter})"
    )
    analysis.add_argument(
        "--recognizer",
        metavar="NAME",
        help=f"recognition engine, or 'none' (default: {default.recognizer})",
    )
    analysis.add_argument(
        "--backend",
        choices=BACKENDS,
        help="what runs the engines' networks: onnx (ONNX Runtime on the processor), tensorrt or "
        "tensorrt-rtx (an NVIDIA GPU; see python -m engines.build --help), or auto, which takes a "
        f"plan that was built and verified and otherwise onnx (default: {default.backend})",
    )
    analysis.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="calibration of this rig and subject (python -m calibration): its threshold is used, "
        "and the session's record names it",
    )
    analysis.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with any setting; options given here win over it",
    )

    output = parser.add_argument_group("output")
    output.add_argument(
        "--session",
        type=Path,
        metavar="DIR",
        help="write events, frames and figures into this folder; it must be empty or new "
        "(default: nothing is written)",
    )
    output.add_argument(
        "--subject",
        metavar="ID",
        help="pseudonym of the person, never a name: it goes into session.json, and "
        "run_live.py purge --subject ID deletes the sessions that bear it",
    )
    output.add_argument(
        "--consent",
        metavar="NAME",
        help="who confirms that the subject has consented (the experimenter); it is stored with "
        "the time and the version of the text. The dashboard stores nothing of a person before "
        "somebody has confirmed, here or on the page",
    )
    output.add_argument(
        "--record",
        action="store_true",
        default=None,
        help="keep the pictures too, without loss, in the session folder; --source DIR plays them "
        "again (default: no picture is stored)",
    )
    output.add_argument(
        "--lsl",
        action="store_true",
        default=None,
        help="send every frame's measurements and every event on the Lab Streaming Layer "
        "(streams Glint-Frames and Glint-Events)",
    )
    output.add_argument(
        "--json-lines",
        action="store_true",
        default=None,
        help="print a line of JSON on standard output whenever an event changes its state; "
        "everything else then goes to standard error",
    )
    output.add_argument(
        "--headless", action="store_true", help="no dashboard; end when the source ends"
    )
    output.add_argument(
        "--host",
        help="address of the dashboard; any but this machine's own needs a login "
        f"(default: {default.dashboard.host})",
    )
    output.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help="login that every route of the dashboard asks for; the environment variable "
        "GLINT_LOGIN does the same and does not show in the list of processes; GLINT_TOKEN holds "
        "a token instead, the password of any user",
    )
    output.add_argument(
        "--port",
        type=int,
        help=f"port of the dashboard, 0 for a free one (default: {default.dashboard.port})",
    )
    output.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="warning",
        metavar="LEVEL",
        help="debug, info, warning or error; debug adds tracebacks and the messages of "
        "MediaPipe and OpenCV (default: warning)",
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 640x480")
    return int(found[1]), int(found[2])


def configuration(options: argparse.Namespace, number: int = 0) -> GlintConfig:
    """Merge the defaults, the configuration file and the options, the latter winning.

    Args:
        options: The parsed command line.
        number: Which of several sources it is for, from 0.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    tree: dict[str, Any] = {}
    if options.config is not None:
        tree = read_toml(options.config)
        GlintConfig.from_tree(tree, str(options.config))  # a mistake in the file names the file
    width, height = options.size or (None, None)
    source = {
        "spec": options.source[number] if options.source else None,
        "fps": options.fps,
        "width": width,
        "height": height,
        "fourcc": options.fourcc,
        "duration_s": options.duration,
        "seed": options.seed,
        "speed": options.speed,
    }
    if options.headless and "speed" not in tree.get("source", {}):
        source["speed"] = source["speed"] or "max"
    given: dict[str, Any] = {
        "source": source,
        "dashboard": {"host": options.host, "port": options.port},
        "spotter": options.spotter,
        "recognizer": options.recognizer,
        "backend": options.backend,
        "calibration": options.calibration,
        "subject": options.subject,
        "consent": options.consent and Consent.now(options.consent, tree.get("consent_form")),
        "recording": {"enabled": options.record},
        "outputs": {"lsl": options.lsl, "json_lines": options.json_lines},
    }
    merged = _overlay(tree, given)
    if not options.headless and merged["source"].get("spec") == "demo":
        merged["source"].setdefault("duration_s", DEMO_SHOW_S)
    return GlintConfig.from_tree(merged)


def _overlay(tree: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for key, value in given.items():
        if isinstance(value, Mapping):
            merged[key] = _overlay(merged.get(key, {}), value)
        elif value is not None:
            merged[key] = value
    return merged


# -- running ---------------------------------------------------------------------------------


def _list_sources() -> None:
    from streamer.sources.discovery import describe, find_sources  # noqa: PLC0415

    print(describe(find_sources()))


@dataclass(slots=True)
class _Run:
    """A session without a dashboard, one of several perhaps."""

    config: GlintConfig
    folder: Path | None
    progress: ProgressSink
    pipeline: Pipeline
    session: SessionInfo | None = None


def _run_headless(configs: Sequence[GlintConfig], folder: Path | None) -> None:
    """Run a session for each source, side by side; several number their folders."""
    alone = len(configs) == 1
    runs = []
    for number, config in enumerate(configs, 1):
        place = folder if alone or folder is None else folder / str(number)
        progress = ProgressSink(bar=alone and sys.stderr.isatty())
        runs.append(_Run(config, place, progress, _pipeline(config, [progress], place)))
    try:
        with suppress(KeyboardInterrupt):
            for run in runs:
                run.session = run.pipeline.start()
                _tell(run.session.source.notes)
            while not all([run.pipeline.wait(_POLL_S) for run in runs]):
                pass
    finally:
        for run in runs:
            run.pipeline.close()
    for run in runs:
        if run.pipeline.failure is not None:
            raise run.pipeline.failure
    for run in runs:
        if run.session is not None:
            _tell_end(run, run.session, name=not alone)


def _tell_end(run: _Run, session: SessionInfo, name: bool) -> None:
    """Print what a session found, below the name of its source where there are several."""
    metrics, config = run.pipeline.metrics(), run.config
    _tell(note for note in metrics.notes if note not in session.source.notes)
    # At full speed a file's frames wait in the rings: the time from capture says nothing.
    paced = session.source.live or config.source.speed == "realtime"
    summary = _summary(metrics, run.progress, run.folder, paced)
    print(
        f"Source:    {session.source.name}\n{summary}" if name else summary,
        file=sys.stderr if config.outputs.json_lines else sys.stdout,
    )


def _run_dashboard(config: GlintConfig, folder: Path | None, auth: str | None) -> None:
    from streamer.dashboard.access import check_bind, login_of  # noqa: PLC0415

    dashboard = config.dashboard
    login = login_of(auth)
    check_bind(dashboard.host, login)

    from streamer.dashboard.app import DashboardServer  # noqa: PLC0415
    from streamer.dashboard.desk import SessionDesk  # noqa: PLC0415
    from streamer.dashboard.event_socket import EventSocket  # noqa: PLC0415
    from streamer.dashboard.live_session import LiveSession  # noqa: PLC0415
    from streamer.dashboard.sink import DashboardSink  # noqa: PLC0415
    from streamer.review.desk import ReviewDesk  # noqa: PLC0415
    from streamer.review.library import Library  # noqa: PLC0415
    from streamer.sources.browser import BrowserCamera  # noqa: PLC0415

    view, events, browser = DashboardSink(), EventSocket(), BrowserCamera()
    library = Library([])  # of the sessions that are made here, one after the other

    def build(chosen: GlintConfig, sinks: Sequence[Sink], place: Path | None) -> Pipeline:
        return _pipeline(chosen, sinks, place, browser)

    desk = SessionDesk(config, folder, build, on_folder=library.include)
    session = LiveSession(desk.build, [view, events], desk.threshold_factor)
    review = ReviewDesk(library, busy=lambda: session.running) if desk.can_store else None
    server = DashboardServer(
        session,
        view,
        host=dashboard.host,
        port=dashboard.port,
        auth=login,
        events=events,
        browser=browser,
        desk=desk,
        review=review,
    )
    try:
        with suppress(KeyboardInterrupt):
            # The page first: loading it would hold up a camera that is already delivering.
            address = server.start()
            session.start()
            print(
                f"The dashboard is at {address}; Ctrl-C ends the session.",
                file=sys.stderr if config.outputs.json_lines else sys.stdout,
                flush=True,
            )
            if session.session_info is not None:
                _tell(session.session_info.source.notes)
            if desk.can_store and not desk.store:
                _tell([_UNSTORED])
            while True:
                time.sleep(_POLL_S)
    finally:
        session.close()
        server.stop()
        if review is not None:
            review.close()


def _pipeline(
    config: GlintConfig,
    sinks: Sequence[Sink],
    folder: Path | None,
    browser: BrowserCamera | None = None,
) -> Pipeline:
    # Imported here: the engines take seconds to load, --help and a wrong option need none of it.
    from streamer.session import build_pipeline  # noqa: PLC0415

    sinks = [*sinks, *_outputs(config)]
    if folder is None:
        return build_pipeline(config, sinks, browser=browser)
    written = SessionFolderSink(folder)
    pipeline = build_pipeline(config, [*sinks, written], folder=folder, browser=browser)
    written.follow(pipeline.metrics)
    return pipeline


def _outputs(config: GlintConfig) -> Iterator[Sink]:
    """The sinks that pass results on to other programs."""
    if config.outputs.lsl:
        from streamer.sinks.lab_streaming_layer import LabStreamingLayerSink  # noqa: PLC0415

        yield LabStreamingLayerSink()
    if config.outputs.json_lines:
        from streamer.sinks.json_lines import JsonLinesSink  # noqa: PLC0415

        yield JsonLinesSink(sys.stdout)


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)


def _summary(
    metrics: SessionMetrics, progress: ProgressSink, folder: Path | None, paced: bool
) -> str:
    rate = "" if metrics.fps_measured is None else f", {metrics.fps_measured:.1f} frames a second"
    kinds = ", ".join(f"{progress.events[kind]} {kind.value}" for kind in EventKind)
    emotions = ", ".join(f"{number} {name}" for name, number in progress.emotions.most_common())
    lost = ", ".join(f"{number} by {cause}" for cause, number in metrics.lost.items())
    recording = metrics.recording
    lines = [
        f"Analysed:  {metrics.analysed} frames, {progress.seconds:.2f} s{rate}",
        f"Events:    {kinds}{f' ({emotions})' if emotions else ''}",
        f"Lost:      {lost or 'nothing'}",
    ]
    latency = metrics.latency_ms.get("capture_to_score")
    if latency is not None and paced:
        figures = ", ".join(f"{name} {ms:.1f} ms" for name, ms in latency.items())
        lines.append(f"Latency:   {figures} from capture to score")
    if recording is not None:
        missed = sum(recording.lost.values())
        lines.append(f"Recorded:  {recording.frames} frames, {missed or 'nothing'} left out")
    if folder is not None:
        lines.append(f"Session:   {folder}")
    lines.append("A micro-expression does not prove that a person lies.")
    return "\n".join(lines)
