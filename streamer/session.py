"""Assembly: a configuration becomes a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engines.errors import EngineError
from engines.motion.meter import MotionMeter
from engines.recognition.registry import DEPTH_RECOGNIZERS, RECOGNIZERS, create_recognizer
from engines.spotting.registry import (
    DEPTH_SPOTTERS,
    LEARNED_SPOTTERS,
    SPOTTERS,
    create_spotter,
)
from streamer.alignment.face_aligner import FaceAligner
from streamer.calibrated import use_calibration
from streamer.config import GlintConfig
from streamer.errors import ConfigError
from streamer.pipeline import Pipeline, Stages
from streamer.recording.layout import FOLDER
from streamer.recording.recorder import Recorder
from streamer.recording.writer import RecordingWriter
from streamer.sinks.base import Sink
from streamer.sources.base import FrameSource, SourceInfo
from streamer.sources.browser import BrowserCamera, BrowserSource
from streamer.sources.registry import create_source


def build_pipeline(
    config: GlintConfig,
    sinks: Sequence[Sink],
    source: FrameSource | None = None,
    folder: Path | None = None,
    browser: BrowserCamera | None = None,
) -> Pipeline:
    """Build the pipeline that a configuration asks for; nothing is opened yet.

    Args:
        config: The session's configuration.
        sinks: Who is told of the results.
        source: A closed source to use instead of the one that the configuration names.
        folder: Session folder, where the session is stored; a recording goes into it.
        browser: Where a visitor's browser delivers, for the source `browser`.

    Raises:
        UserError: The source or an engine does not exist, a recording has no folder, or
            the calibration file is none.
    """
    # A wrong name is said before a camera is opened or a model is loaded.
    spotters = config.spotter.split("+")  # two must agree
    wanted: list[tuple[str, tuple[str, ...]]] = [
        (name, (*SPOTTERS, *DEPTH_SPOTTERS)) for name in spotters
    ]
    wanted.append((config.recognizer, (*RECOGNIZERS, *DEPTH_RECOGNIZERS, "none")))
    for name, known in wanted:
        if name not in known:
            raise EngineError(
                f"There is no engine named {name!r}; choose one of: {', '.join(known)}."
            )
    config, calibration = use_calibration(config)
    learned = {*LEARNED_SPOTTERS, *DEPTH_SPOTTERS}
    if config.motion.flow != "dis" and not learned.isdisjoint(spotters):
        raise EngineError(
            f"The spotter {config.spotter} has learned flow of the method dis: set motion.flow to "
            "dis, or choose the spotter flow."
        )
    recognizer = config.recognizer
    read_depth = [name for name in spotters if name in DEPTH_SPOTTERS]
    read_depth += [recognizer] if recognizer in DEPTH_RECOGNIZERS else []

    def aligner(info: SourceInfo) -> FaceAligner:
        if read_depth and not info.depth:
            raise EngineError(
                f"The engine {read_depth[0]} reads depth, and {info.name} gives none: choose "
                "another engine, or a folder of pictures named color with a folder depth beside it."
            )
        return FaceAligner(config.alignment, wait=not info.live)

    stages = Stages(
        aligner=aligner,
        meter=lambda info, spotter: MotionMeter(
            config.motion,
            info.fps_nominal,
            delta_flow=spotter.reads_delta_flow,
            strain=spotter.reads_strain,
        ),
        spotter=lambda info: create_spotter(
            config.spotter, config.flow_spotter, info.fps_nominal, config.backend
        ),
        recognizer=None
        if recognizer == "none"
        else lambda: create_recognizer(recognizer, config.backend),
    )
    if source is None:
        spec = config.source.spec
        asked = replace(config.source.options(), depth=bool(read_depth))
        if browser is not None and BrowserSource.matches(spec):
            source = BrowserSource(spec, asked, browser, recorded=config.recording.enabled)
        else:
            source = create_source(spec, asked)
    recorder = None
    if config.recording.enabled:
        if folder is None:
            raise ConfigError("A recording needs a session folder: add --session DIR.")
        recorder = Recorder(RecordingWriter(folder / FOLDER, config.recording.codec))
    return Pipeline(source, stages, sinks, config, recorder, calibration, folder)
