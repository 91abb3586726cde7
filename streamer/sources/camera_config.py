"""Settings of a camera, the same whatever drives it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]


class CameraConfig(BaseModel):
    """What a camera is set to before it starts; None leaves what it has.

    A source that lacks a setting says so in a note. Size and rate are the source's own settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    exposure_s: float | None = Field(
        None, gt=0, le=1, description="Exposure time; switches automatic exposure off."
    )
    gain_db: float | None = Field(
        None, ge=0, le=60, description="Gain in dB; switches automatic gain off."
    )
    pixel_format: Name | None = Field(
        None, description="GenICam pixel format, e.g. Mono8 or BayerRG8."
    )
    offset_x: int | None = Field(
        None, ge=0, description="Left edge of the region of interest, in sensor pixels."
    )
    offset_y: int | None = Field(
        None, ge=0, description="Upper edge of the region of interest, in sensor pixels."
    )
    trigger: Name | None = Field(
        None, description="Input that releases each frame, e.g. Line1; None: the camera's clock."
    )
    trigger_edge: Literal["rising", "falling"] = Field(
        "rising", description="Edge of the trigger input that releases a frame."
    )
    ptp: bool = Field(
        False, description="Let the camera follow the network's clock (IEEE 1588, GigE Vision)."
    )
    packet_bytes: int | None = Field(
        None, ge=576, le=16_384, description="Packet size on the network (GigE Vision)."
    )
    buffer_s: float = Field(
        1.0, gt=0, le=60, description="Longest pause of the reader that the driver bridges."
    )
    power_line_hz: Literal[0, 50, 60] | None = Field(
        None, description="Mains frequency for a webcam's flicker filter; 0 switches it off."
    )
