"""From the pixels of a camera's buffer to the picture that Glint works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from streamer.frame import Image


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How pixels lie in a buffer and what they become.

    Attributes:
        depth: Bytes of a pixel in the buffer.
        channels: 3 when they become BGR, 1 when they become gray.
        conversion: OpenCV's colour conversion; None when the bytes are taken as they are.
    """

    depth: int
    channels: int
    conversion: int | None

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """Shape of a buffer without padding."""
        return (height, width) if self.depth == 1 else (height, width, self.depth)

    def convert(self, pixels: npt.NDArray[Any], out: Image) -> Image:
        """Bring a buffer's pixels into `out`, in one pass.

        Args:
            pixels: (H, W) or (H, W, depth) uint8, a view into the driver's buffer.
            out: Where to; (H, W, 3) or (H, W) uint8.

        Returns:
            `out`, or a new picture when it has another shape.
        """
        if self.conversion is not None:
            return cv2.cvtColor(pixels, self.conversion, dst=out)  # type: ignore[return-value]
        if pixels.shape != out.shape:
            return pixels.copy()
        np.copyto(out, pixels)
        return out


# Names of the EMVA's Pixel Format Naming Convention, in the order in which they are chosen when a
# camera is set to none of them. OpenCV names a Bayer pattern after other pixels than the EMVA.
PIXEL_FORMATS: Mapping[str, PixelFormat] = MappingProxyType(
    {
        "Mono8": PixelFormat(1, 1, None),
        "BGR8": PixelFormat(3, 3, None),
        "RGB8": PixelFormat(3, 3, cv2.COLOR_RGB2BGR),
        "BayerRG8": PixelFormat(1, 3, cv2.COLOR_BayerRGGB2BGR),
        "BayerGR8": PixelFormat(1, 3, cv2.COLOR_BayerGRBG2BGR),
        "BayerGB8": PixelFormat(1, 3, cv2.COLOR_BayerGBRG2BGR),
        "BayerBG8": PixelFormat(1, 3, cv2.COLOR_BayerBGGR2BGR),
        "YUV422_8": PixelFormat(2, 3, cv2.COLOR_YUV2BGR_YUY2),
        "YCbCr422_8": PixelFormat(2, 3, cv2.COLOR_YUV2BGR_YUY2),
        "YUV422_8_UYVY": PixelFormat(2, 3, cv2.COLOR_YUV2BGR_UYVY),
        "BGRa8": PixelFormat(4, 3, cv2.COLOR_BGRA2BGR),
        "RGBa8": PixelFormat(4, 3, cv2.COLOR_RGBA2BGR),
    }
)


def pixel_format(name: str) -> PixelFormat | None:
    """The format of this name, old (`BGR8Packed`) or new (`BGR8`); None when it is not known."""
    return PIXEL_FORMATS.get(name.removesuffix("Packed"))
