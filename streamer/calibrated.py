"""A session under a calibration: its threshold, its warnings, and what the record says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.config import GlintConfig
from streamer.sources.base import SourceInfo

if TYPE_CHECKING:
    from calibration.file import Calibration


@dataclass(frozen=True, slots=True)
class UsedCalibration:
    """A calibration file that a session uses.

    Attributes:
        path: Where it was read from.
        calibration: What it says.
    """

    path: Path
    calibration: Calibration

    def check(self, info: SourceInfo, spotter: str, subject: str | None) -> tuple[str, ...]:
        """Return warnings for a source; see `Calibration.check`.

        Raises:
            ConfigError: It was made for another size, rate or camera.
        """
        return self.calibration.check(info, spotter, subject)

    def summary(self) -> Mapping[str, Any]:
        """Return what the session's record says of it, its age now included."""
        return self.calibration.summary(self.path)


def use_calibration(config: GlintConfig) -> tuple[GlintConfig, UsedCalibration | None]:
    """Return a configuration with what its calibration file says, and the calibration.

    Raises:
        ConfigError: The file is missing or no calibration.
    """
    if config.calibration is None:
        return config, None
    # Imported here: statistics take long to load, and most sessions' start needs none.
    from calibration.file import Calibration  # noqa: PLC0415

    calibration = Calibration.load(config.calibration)
    return calibration.applied_to(config), UsedCalibration(config.calibration, calibration)
