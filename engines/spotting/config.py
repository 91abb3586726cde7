"""Settings of the training-free spotter."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FlowSpotterConfig(BaseModel):
    """The optical-flow spotter. Durations in seconds, motion in inter-ocular distances (IOD).

    See `engines.spotting.flow_spotter`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold_factor: float = Field(
        6.0, gt=0, le=100, description="c in threshold = median + c * MAD of the recent score."
    )
    threshold_window_s: float = Field(
        30.0, gt=2, le=600, description="Length of the recent score that the threshold rests on."
    )
    warm_up_s: float = Field(
        2.0, gt=0, le=60, description="Weight of the prior noise level, in seconds of samples."
    )
    settle_s: float = Field(
        0.4, gt=0, le=10, description="No event starts this soon after measurement (re)starts."
    )
    smooth_s: float = Field(
        0.008, gt=0, le=0.1, description="Time constant of each pole of the low-pass."
    )
    neutral_s: float = Field(
        1.0, gt=0.2, le=10, description="Span of the running median that is the neutral face."
    )
    look_ahead_s: float = Field(
        0.06, gt=0, le=0.5, description="An apex is confirmed when nothing exceeds it this long."
    )
    fall_to: float = Field(
        0.2, gt=0, lt=1, description="Share of the apex at which the interval ends, noise allowing."
    )
    rest_share: float = Field(
        0.7, gt=0, lt=1, description="Share of the threshold below which a face is at rest."
    )
    strong_share: float = Field(
        1.2, gt=1, description="An event this far above the threshold freezes the neutral face."
    )
    rest_score_share: float = Field(
        0.25, gt=0, lt=1, description="Share of the peak score below which a face is at rest."
    )
    min_event_s: float = Field(0.04, gt=0, description="Shorter movements are noise.")
    min_rise_s: float = Field(
        0.025, ge=0, description="A movement that rises faster is the end of another one."
    )
    micro_s: float = Field(0.5, gt=0, description="Longest micro-expression.")
    macro_s: float = Field(4.0, gt=0, description="Longest macro-expression.")
    noise_floor_iod: float = Field(
        0.0004, gt=0, description="Least motion noise that is believed of a region."
    )
    prior_noise_iod: float = Field(
        0.002, gt=0, description="Motion noise that is assumed before any was measured."
    )
    blink_iod: float = Field(
        0.007, gt=0, description="Downward motion of both eyes that mutes the regions around them."
    )
    blink_s: float = Field(0.5, gt=0, description="Longest blink; eyes shut longer are not muted.")
    blink_lead_s: float = Field(
        0.15, ge=0, description="What begins this soon before the eyes are seen to shut are lids."
    )
    blink_caution: float = Field(
        1.6, ge=1, description="Factor on the threshold while the eyes are shut."
    )
    gaze_s: float = Field(0.15, gt=0, le=1, description="Span in which a glance is noticed.")
    gaze_iod: float = Field(
        0.002, gt=0, description="Sideways motion of both eyes that is a glance."
    )
    gaze_caution: float = Field(
        1.4, ge=1, description="Factor on the threshold during and right after a glance."
    )
    blink_hold_s: float = Field(
        0.12, ge=0, description="How long the regions stay muted after the eyes are still."
    )
    speech_gap_s: float = Field(
        0.5, ge=0, le=2, description="Two movements of the mouth this close are syllables."
    )
    speech_s: float = Field(
        1.5, ge=0, le=10, description="Three movements of the mouth within this are, too."
    )
    max_head_speed: float = Field(
        0.8, gt=0, description="Faster head motion (IOD/s) lets no event start."
    )
