"""The calibration file: what was measured of a rig and a subject, and how a session uses it."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from calibration.baseline import BaselineResult
from calibration.clock import ClockResult
from calibration.image import ImageResult
from calibration.light import LightResult
from calibration.result import Finding, Result, Verdict
from calibration.threshold import ThresholdResult
from calibration.visibility import VisibilityResult
from streamer.config import GlintConfig
from streamer.errors import ConfigError
from streamer.sources.base import SourceInfo

MAX_AGE_S = 24 * 3600.0
"""An older calibration is used with a warning: light, focus and people change."""

_RATE_TOLERANCE = 0.05


class SourceFacts(Result):
    """The source that was calibrated; see `SourceInfo`."""

    name: str
    kind: str
    width: int
    height: int
    channels: int
    fps_asked: float | None
    fps_nominal: float
    live: bool
    device: dict[str, str | float] = Field(default_factory=dict)

    @classmethod
    def of(cls, info: SourceInfo) -> SourceFacts:
        """Take the facts of an opened source."""
        return cls(
            name=info.name,
            kind=info.kind,
            width=info.width,
            height=info.height,
            channels=info.channels,
            fps_asked=info.fps_asked,
            fps_nominal=info.fps_nominal,
            live=info.live,
            device=dict(info.device),
        )


class Calibration(Result):
    """A calibration of one camera and one subject.

    Attributes:
        format: Version of this file's format.
        glint: Version of Glint.
        created_utc: When it was made.
        camera: The operator's name for the camera; None when none was given.
        subject: Pseudonym of the subject; None when none was given.
        source: The source that was calibrated.
        spotter: Engine whose threshold was calibrated.
        takes: How many still takes were recorded before the face kept still.
        clock: Step 1; None when it could not be measured, as with the others.
        light: Step 2.
        image: Step 3.
        baseline: Step 4.
        threshold: Step 5.
        visibility: Step 6.
        findings: What the operator must know.
        verdict: Whether recordings can be trusted.
    """

    format: Literal[1] = 1
    glint: str
    created_utc: datetime
    camera: str | None
    subject: str | None
    source: SourceFacts
    spotter: str
    takes: int
    clock: ClockResult | None
    light: LightResult | None
    image: ImageResult | None
    baseline: BaselineResult | None
    threshold: ThresholdResult | None
    visibility: VisibilityResult | None
    findings: tuple[Finding, ...]
    verdict: Verdict

    @property
    def age_s(self) -> float:
        """Seconds since it was made."""
        return (datetime.now(timezone.utc) - self.created_utc).total_seconds()

    @property
    def applies(self) -> bool:
        """Whether its threshold is used. What was measured on an unfit rig is not."""
        return self.verdict is not Verdict.NOT_FIT and self.threshold is not None

    def applied_to(self, config: GlintConfig) -> GlintConfig:
        """Return a session's configuration with what was calibrated in it."""
        if not self.applies:
            return config
        assert self.threshold is not None
        settings: dict[str, float] = {"threshold_factor": self.threshold.factor}
        if self.baseline is not None:
            least = config.flow_spotter.noise_floor_iod
            settings["prior_noise_iod"] = max(self.baseline.noise_iod, least)
        spotter = config.flow_spotter.model_copy(update=settings)
        return config.model_copy(update={"flow_spotter": spotter})

    def check(self, info: SourceInfo, spotter: str, subject: str | None) -> tuple[str, ...]:
        """Compare the source of a session with the one that was calibrated.

        Args:
            info: The session's source.
            spotter: The session's spotting engine, name and version.
            subject: The session's subject; None when it is not named.

        Returns:
            What a reader of the session must be warned of.

        Raises:
            ConfigError: It is another size, rate or camera.
        """
        mine, serial = self.source, self.source.device.get("serial")
        if (mine.width, mine.height) != (info.width, info.height):
            self._refuse(f"pictures of {mine.width}x{mine.height}", f"{info.width}x{info.height}")
        if abs(info.fps_nominal - mine.fps_nominal) > _RATE_TOLERANCE * mine.fps_nominal:
            self._refuse(f"{mine.fps_nominal:g} frames a second", f"{info.fps_nominal:g}")
        if serial is not None and info.device.get("serial", serial) != serial:
            self._refuse(f"the camera {serial}", f"{info.device['serial']}")
        notes = []
        if not self.applies:
            notes.append(
                "The calibration's verdict is 'not fit': its threshold is not used, and what this "
                "session finds is not to be relied on."
            )
        if (mine.kind, mine.name) != (info.kind, info.name):
            notes.append(
                f"The calibration was made on {mine.name}, and this is {info.name}: make sure that "
                "camera, place and subject are the same."
            )
        if None not in (subject, self.subject) and subject != self.subject:
            notes.append(
                f"The calibration was made for the subject {self.subject}, and this session is of "
                f"{subject}: calibrate again."
            )
        if spotter != self.spotter:
            notes.append(
                f"The calibration's threshold is that of the spotter {self.spotter}; it says "
                f"nothing about {spotter}."
            )
        if self.age_s > MAX_AGE_S:
            notes.append(
                f"The calibration is {age_text(self.age_s)} old: light, focus and people change, "
                "calibrate again."
            )
        return tuple(notes)

    def _refuse(self, calibrated: str, given: str) -> None:
        raise ConfigError(
            f"The calibration was made for {calibrated}, and the source delivers {given}: "
            "calibrate this setting, or start without --calibration."
        )

    def summary(self, path: Path) -> dict[str, Any]:
        """Return what a session's record says of it, JSON-ready."""
        return {
            "path": str(path),
            "date": self.created_utc.isoformat(timespec="seconds"),
            "age_s": round(self.age_s),
            "verdict": self.verdict.value,
            "camera": self.camera,
            "subject": self.subject,
            "applied": self.applies,
        }

    def save(self, path: Path) -> None:
        """Write it as JSON; a file that is there is replaced in one step.

        Raises:
            ConfigError: It cannot be written.
        """
        fresh = path.with_suffix(path.suffix + ".tmp")
        try:
            fresh.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
            os.replace(fresh, path)
        except OSError as error:
            raise ConfigError(
                f"The calibration cannot be written to {path} ({error.strerror}): name another "
                "file with --out."
            ) from error

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read a calibration file.

        Raises:
            ConfigError: It is missing, or no calibration of this version.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(
                f"The calibration {path} cannot be read ({(error.strerror or 'unreadable').lower()}"
                "): check the path."
            ) from None
        except (ValidationError, UnicodeDecodeError) as error:
            where = ""
            if isinstance(error, ValidationError):
                place = ".".join(str(part) for part in error.errors()[0]["loc"])
                where = f" ({place}: {error.errors()[0]['msg'].lower()})" if place else ""
            raise ConfigError(
                f"{path} is no calibration that this version of Glint reads{where}: make a new "
                "one with python -m calibration."
            ) from None


def age_text(seconds: float) -> str:
    """Return an age in words: minutes, hours or days."""
    for unit, length in (("day", 86_400.0), ("hour", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s"
    return f"{max(seconds, 0.0) / 60:.0f} minutes"
