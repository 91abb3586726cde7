"""The configuration: one validated tree, from defaults, a TOML file and the command line.

All durations are seconds. Nothing here depends on a frame rate.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.motion.config import MotionConfig
from engines.runtime.registry import Backend
from engines.spotting.config import FlowSpotterConfig
from streamer.consent import Consent, Line
from streamer.errors import ConfigError
from streamer.recording.layout import CodecName
from streamer.sources.base import SourceOptions
from streamer.sources.camera_config import CameraConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Seconds = Annotated[float, Field(gt=0, le=3600 * 24 * 7)]
Fps = Annotated[float, Field(gt=0, le=10_000)]
Pixels = Annotated[int, Field(ge=64, le=16_384)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceConfig(Section):
    """Where frames come from."""

    spec: str = Field("0", description="Camera number or device, file, folder, URL, or 'demo'.")
    fps: Fps | None = Field(None, description="Rate to ask a camera for, or of a folder, in Hz.")
    width: Pixels | None = Field(None, description="Picture width to ask for, in pixels.")
    height: Pixels | None = Field(None, description="Picture height to ask for, in pixels.")
    fourcc: Annotated[str, Field(pattern=r"^[ -~]{4}$")] | None = Field(
        None, description="Pixel format to ask a camera for, four characters such as MJPG."
    )
    duration_s: Seconds | None = Field(None, description="Stop after this much stream time.")
    seed: int = Field(0, ge=0, description="Seed of the demo source.")
    speed: Literal["realtime", "max"] = Field(
        "realtime", description="Pace of files and the demo: their own, or as fast as possible."
    )
    camera: CameraConfig = CameraConfig()

    def options(self) -> SourceOptions:
        """Return what a source is built with."""
        return SourceOptions(
            fps=self.fps,
            width=self.width,
            height=self.height,
            fourcc=self.fourcc,
            duration_s=self.duration_s,
            seed=self.seed,
            realtime=self.speed == "realtime",
            camera=self.camera,
        )


class AlignmentConfig(Section):
    """How the face is found, followed and brought to the canonical picture."""

    mesh_hz: float = Field(20.0, ge=5, le=60, description="Rate of Face Mesh results, in Hz.")
    search_hz: float = Field(10.0, ge=1, le=30, description="Rate of face search, in Hz.")
    correction_s: Seconds = Field(
        1.0, description="Time constant with which landmarks correct the tracked alignment."
    )
    lost_after_s: Seconds = Field(
        0.25, description="Without a confirmed face for this long, the face is lost."
    )
    min_inter_ocular_px: float = Field(
        30.0, gt=0, description="Smaller faces are flagged small_face."
    )
    max_rotation_deg: float = Field(
        30.0, gt=0, le=90, description="Stronger head rotation is flagged rotated."
    )
    check_faces_s: Seconds = Field(1.0, description="Interval of the search for further faces.")


class PipelineConfig(Section):
    """Rings and queues between the threads."""

    capture_budget_s: Seconds = Field(
        0.4, description="Longest stall of alignment that loses no frame of a live source."
    )
    analysis_budget_s: Seconds = Field(
        1.0, description="Longest stall of analysis that loses no frame of a live source."
    )
    sink_budget_s: Seconds = Field(
        5.0, description="Longest stall of the sinks that loses no record of a live source."
    )
    recognition_budget_s: Seconds = Field(
        2.0, description="Longest wait for an emotion before a live event is written without it."
    )


class RecordingConfig(Section):
    """Whether the captured pictures are kept."""

    enabled: bool = Field(False, description="Record the pictures into the session folder.")
    codec: CodecName = Field(
        "fast", description="fast, small (slow) or raw (large); all of them lossless."
    )


class OutputsConfig(Section):
    """Where results go while they happen, beside the session folder and the dashboard."""

    lsl: bool = Field(False, description="Send frames and events on the Lab Streaming Layer.")
    json_lines: bool = Field(False, description="Print events as JSON lines on standard output.")


class DashboardConfig(Section):
    """Where the dashboard listens."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to bind.")
    port: int = Field(7860, ge=0, le=65535, description="Port; 0 takes a free one.")


class GlintConfig(Section):
    """Everything that a session can be told."""

    source: SourceConfig = SourceConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    motion: MotionConfig = MotionConfig()
    spotter: str = Field("flow", min_length=1, description="Name of the spotting engine.")
    recognizer: str = Field(
        "ststnet", min_length=1, description="Name of the recognition engine, or 'none'."
    )
    backend: Backend = Field(
        "auto", description="What runs the engines' networks; auto: a verified plan, or ONNX."
    )
    flow_spotter: FlowSpotterConfig = FlowSpotterConfig()
    subject: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")] | None = Field(
        None, description="Pseudonym of the person; letters, digits, _, . and -."
    )
    consent: Consent | None = Field(
        None, description="Who confirmed the subject's consent, when, and to which text."
    )
    consent_form: Line | None = Field(
        None, description="The laboratory's own consent form; default: Glint's text."
    )
    calibration: Path | None = Field(
        None, description="Calibration file of this rig and subject; its threshold is used."
    )
    pipeline: PipelineConfig = PipelineConfig()
    recording: RecordingConfig = RecordingConfig()
    outputs: OutputsConfig = OutputsConfig()
    dashboard: DashboardConfig = DashboardConfig()

    @classmethod
    def from_tree(cls, tree: dict[str, Any], origin: str = "the options") -> GlintConfig:
        """Validate nested values.

        Raises:
            ConfigError: A key is unknown or a value out of range; names the first one.
        """
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the top level"
            given = first.get("input")
            shown = f" (given: {given!r})" if isinstance(given, str | int | float) else ""
            raise ConfigError(
                f"{where} in {origin} is not usable: {first['msg'].lower()}{shown}; "
                "mend it and start again."
            ) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a configuration file into nested values for `GlintConfig.from_tree`.

    Raises:
        ConfigError: The file is missing or is not TOML.
    """
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return tree
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise ConfigError(
            f"The configuration file {path} cannot be read ({reason.lower()}); check the path."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML ({error}); mend that line.") from None
