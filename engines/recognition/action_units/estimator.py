"""Action units from the motion of facial regions between onset and apex.

What an action unit of unit displacement does to the measured motion of the regions is a pattern;
the motion of an event is explained as a sum of patterns with coefficients that are not negative,
weighted by the covariance of what patterns leave unexplained (generalised least squares). A
coefficient is the displacement of the unit in inter-ocular distances. Units that are small beside
the strongest one, or no larger than what a still face gives, are left out: the truth may hold them,
the motion does not show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import nnls

from engines.errors import EngineError
from engines.motion.canonical import REGION_NAMES
from engines.motion.config import MotionConfig
from engines.motion.meter import MotionMeter
from engines.recognition.base import EventClip, steady_face

MANIFEST_FILE = "action_units.json"

FULL_IOD = 0.03
"""Displacement of intensity 1, in inter-ocular distances: a large micro-expression."""

FEATURES = 3 * len(REGION_NAMES) + 4
"""Length of `event_features`."""

_FLOW = "dis"
_EVENT_FPS = 30.0  # of a meter that is shown two faces; only its buffers depend on it


class ActionUnitManifest(BaseModel):
    """What the estimator consists of.

    Attributes:
        version: Version of the weights.
        units: Numbers of the K action units.
        features: Number of features F.
        flow: Flow method that the patterns hold for.
        patterns: (K, F) features of each unit at a displacement of 1 inter-ocular distance.
        whitening: (F, F) what makes the unexplained rest of features white.
        share: Least displacement beside that of the strongest unit.
        floor: (K,) displacement below which a still face gives as much.
        training: Data and protocol.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    units: tuple[int, ...]
    features: int
    flow: str
    patterns: tuple[tuple[float, ...], ...]
    whitening: tuple[tuple[float, ...], ...]
    share: float = Field(ge=0, le=1)
    floor: tuple[float, ...]
    training: dict[str, Any]


class ActionUnitEstimator:
    """Names the action units of an event.

    Args:
        path: The manifest.

    Attributes:
        units: Numbers of the K units.
        share: A unit that moved less than this share of the strongest one is left out.

    Raises:
        EngineError: It is missing or corrupt, or made for other features.
    """

    def __init__(self, path: Path = Path(__file__).parent / MANIFEST_FILE) -> None:
        try:
            manifest = ActionUnitManifest.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise EngineError(
                f"The action units of {path} cannot be read; reinstall Glint, or make them as "
                "their model card says."
            ) from error
        if manifest.features != FEATURES or manifest.flow != _FLOW:
            raise EngineError(
                f"{path} was made for other measurements than this version of Glint makes; "
                "reinstall Glint, or make it as its model card says."
            )
        self.version = manifest.version
        self.units = manifest.units
        self.share = manifest.share
        self._floor = np.array(manifest.floor)
        self._fit = PatternFit(np.array(manifest.patterns), np.array(manifest.whitening))

    def __call__(self, clip: EventClip) -> dict[str, float] | None:
        """Action units of an event.

        Args:
            clip: The event's aligned faces.

        Returns:
            As `engines.events.Event.action_units`; None where the landmarks are not known.
        """
        displacements = self.displacements(clip)
        if displacements is None:
            return None
        shown = evident(displacements, self.share, self._floor)
        return named_units(self.units, np.where(shown, displacements, 0.0))

    def displacements(self, clip: EventClip) -> npt.NDArray[np.float64] | None:
        """(K,) displacement of every unit in inter-ocular distances; None without landmarks."""
        features = event_features(clip)
        return None if features is None else self.explained(features)

    def explained(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(K,) displacements that explain (F,) features, in what these are measured in."""
        return self._fit(features)


class PatternFit:
    """Explains features as a sum of patterns with coefficients that are not negative.

    Args:
        patterns: (K, F) patterns.
        whitening: (F, F) what makes the unexplained rest of features white.
    """

    def __init__(
        self, patterns: npt.NDArray[np.float64], whitening: npt.NDArray[np.float64]
    ) -> None:
        self._whitening = whitening
        self._white = patterns @ whitening

    def __call__(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(K,) coefficients of (F,) features."""
        coefficients = nnls(self._white.T, features @ self._whitening)[0]
        return np.asarray(coefficients, np.float64)


def evident(
    displacements: npt.NDArray[np.float64], share: float, floor: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which units the motion is evidence of.

    Args:
        displacements: (..., K) displacements.
        share: Least share of the strongest unit's.
        floor: (K,) displacement that a still face may give.

    Returns:
        (..., K) bool.
    """
    strongest = displacements.max(axis=-1, keepdims=True)
    return np.asarray((displacements >= share * strongest) & (displacements > floor))


def named_units(
    units: Sequence[int], displacements: npt.NDArray[np.floating[Any]]
) -> dict[str, float]:
    """Intensities by name, of the units that are displaced at all.

    Args:
        units: Numbers of the units, ascending.
        displacements: (K,) in inter-ocular distances.
    """
    return {
        f"AU{unit}": min(float(displacement) / FULL_IOD, 1.0)
        for unit, displacement in zip(units, displacements, strict=True)
        if displacement > 0
    }


def event_features(clip: EventClip) -> npt.NDArray[np.float64] | None:
    """Motion from the onset to the apex of an event, the head's part subtracted.

    Args:
        clip: The event's aligned faces.

    Returns:
        (F,) float64: (x, y) of every region and of both eyes' apertures, then the strain of every
        region, in inter-ocular distances as `engines.motion.meter` measures them. None where the
        landmarks are not known.
    """
    if clip.mesh is None:
        return None
    meter = MotionMeter(MotionConfig(flow=_FLOW), _EVENT_FPS, delta_flow=False)
    sample = None
    for index, position in enumerate((clip.onset, clip.apex)):
        sample = meter.measure(
            index,
            float(clip.times_s[position]),
            0,
            np.rint(steady_face(clip, position)).astype(np.uint8),
            epoch=0,
            mesh=clip.mesh,
            head_speed=0.0,
        )
    assert sample is not None
    assert sample.strain is not None
    parts = (sample.motion.ravel(), sample.eyes.ravel(), sample.strain)
    return np.concatenate(parts, dtype=np.float64)
