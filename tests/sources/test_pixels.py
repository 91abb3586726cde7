from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamer.sources.pixels import PIXEL_FORMATS, pixel_format

HEIGHT, WIDTH = 8, 10
BLUE, GREEN, RED = 40, 120, 200
PICTURE = np.full((HEIGHT, WIDTH, 3), (BLUE, GREEN, RED), np.uint8)
MOSAICS = {
    "BayerRG8": ((RED, GREEN), (GREEN, BLUE)),
    "BayerGR8": ((GREEN, RED), (BLUE, GREEN)),
    "BayerGB8": ((GREEN, BLUE), (RED, GREEN)),
    "BayerBG8": ((BLUE, GREEN), (GREEN, RED)),
}
CODES = {
    "Mono8": cv2.COLOR_BGR2GRAY,
    "RGB8": cv2.COLOR_BGR2RGB,
    "BGRa8": cv2.COLOR_BGR2BGRA,
    "RGBa8": cv2.COLOR_BGR2RGBA,
    "YUV422_8": cv2.COLOR_BGR2YUV_YUY2,
    "YCbCr422_8": cv2.COLOR_BGR2YUV_YUY2,
    "YUV422_8_UYVY": cv2.COLOR_BGR2YUV_UYVY,
}


def _sent(name: str) -> np.ndarray:
    """What a camera sends of `PICTURE` in this format."""
    if name in MOSAICS:
        return np.tile(np.array(MOSAICS[name], np.uint8), (HEIGHT // 2, WIDTH // 2))
    return PICTURE if name == "BGR8" else cv2.cvtColor(PICTURE, CODES[name])


@pytest.mark.parametrize("name", PIXEL_FORMATS)
def test_colours_survive_every_format(name: str) -> None:
    format_ = PIXEL_FORMATS[name]
    sent = _sent(name)
    assert sent.shape == format_.shape(WIDTH, HEIGHT)
    colour = format_.channels == 3
    out = np.zeros((HEIGHT, WIDTH, 3) if colour else (HEIGHT, WIDTH), np.uint8)
    assert format_.convert(sent, out) is out
    expected = PICTURE if colour else cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY)
    assert np.abs(out.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("name", ["Mono8", "BGR8", "BayerRG8"])
def test_picture_of_another_size_is_returned_and_the_place_left_alone(name: str) -> None:
    format_ = PIXEL_FORMATS[name]
    shape = (4, 6, 3) if format_.channels == 3 else (4, 6)
    out = np.zeros(shape, np.uint8)
    converted = format_.convert(_sent(name), out)
    assert converted is not out
    assert converted.shape[:2] == (HEIGHT, WIDTH)
    assert not out.any()


def test_old_names_are_known_and_deep_formats_are_not() -> None:
    assert pixel_format("BGR8Packed") is PIXEL_FORMATS["BGR8"]
    assert pixel_format("Mono12") is None
