"""What every step of a calibration gives: figures, and findings that the operator can act on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """A frozen part of the calibration file; unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(Result):
    """Median, 99th percentile and maximum of one quantity; its field's name says the unit."""

    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: npt.NDArray[np.floating[Any]]) -> Spread:
        """Summarise (N,) values, N at least 1."""
        p50, p99 = np.percentile(values, [50, 99])
        return cls(p50=float(p50), p99=float(p99), max=float(values.max()))


class Finding(Result):
    """Something that the operator must know of.

    Attributes:
        step: Name of the step that found it.
        severity: A failure makes the rig unfit, a warning does not.
        what: What was measured.
        advice: What to do about it.
    """

    step: str
    severity: Literal["warning", "failure"]
    what: str
    advice: str


class Verdict(str, Enum):
    """Whether recordings of this rig and subject can be trusted."""

    FIT = "fit"
    WARNINGS = "fit with warnings"
    NOT_FIT = "not fit"


def verdict(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict that findings lead to."""
    severities = {finding.severity for finding in findings}
    if "failure" in severities:
        return Verdict.NOT_FIT
    return Verdict.WARNINGS if severities else Verdict.FIT
