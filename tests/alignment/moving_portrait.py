"""A real face (NASA's portrait of an astronaut, public domain) moved by known transforms."""

import cv2
import numpy as np
from skimage import data

from streamer.frame import Depth, Frame, Image

SIZE = (640, 480)


def portrait() -> Image:
    return cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)


def picture(
    x: float = 0.0,
    y: float = 0.0,
    angle_deg: float = 0.0,
    zoom: float = 1.5,
    gain: float = 1.0,
    size: tuple[int, int] = SIZE,
) -> Image:
    """The face near the middle of the picture, shifted, turned and zoomed."""
    face = (290.0, 122.0)
    matrix = cv2.getRotationMatrix2D(face, angle_deg, zoom)
    matrix[:, 2] += (size[0] / 2 + x - face[0], size[1] / 2 + y - face[1])
    drawn = cv2.warpAffine(
        portrait(), matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.convertScaleAbs(drawn, alpha=gain)


def frame(index: int, fps: float, image: Image, depth: Depth | None = None) -> Frame:
    return Frame(index, index / fps, None, 0.0, 0, "", image, depth=depth)


def blank(size: tuple[int, int] = SIZE) -> Image:
    return np.full((size[1], size[0], 3), 90, np.uint8)
