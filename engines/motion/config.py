"""Settings of motion measurement."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MotionConfig(BaseModel):
    """How motion is measured on the canonical face. All durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flow: Literal["dis", "farneback"] = Field("dis", description="Dense optical flow method.")
    delta_s: float = Field(
        0.1, gt=0, le=0.5, description="Span of the second flow, from t - delta to t."
    )
    reference_s: float = Field(
        2.0, gt=0, le=60, description="Age at which the neutral reference is renewed."
    )
    reference_limit_s: float = Field(
        20.0, gt=0, le=600, description="Age at which it is renewed even if the face has changed."
    )
    still_speed: float = Field(
        0.05, gt=0, description="Largest region speed of a still face, inter-ocular distances/s."
    )
    neutral_iod: float = Field(
        0.006, gt=0, description="Largest displacement from the reference of a neutral face, IOD."
    )
