from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.sources.picture_check import PictureCheck


def _noisy(level: float, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(level, 3.0, shape)
    return np.clip(noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(480, 640, 3), (480, 640), (1080, 1920, 3), (7, 5), (64, 48, 3)])
def test_ordinary_pictures_are_in_order(shape: tuple[int, ...]) -> None:
    check = PictureCheck(shape)
    for seed in range(5):
        assert check.judge(_noisy(110.0, shape, seed)) == ()


@pytest.mark.parametrize(
    ("level", "flags"), [(2.0, ("black",)), (30.0, ()), (235.0, ()), (254.0, ("saturated",))]
)
@pytest.mark.parametrize("shape", [(480, 640, 3), (480, 640)])
def test_too_little_and_too_much_light(
    level: float, flags: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    assert PictureCheck(shape).judge(_noisy(level, shape)) == flags


def test_bright_background_is_no_saturation() -> None:
    picture = _noisy(120.0, (480, 640))
    picture[:, 400:] = 255
    assert PictureCheck(picture.shape).judge(picture) == ()


def test_repeated_picture_is_frozen_until_it_changes() -> None:
    first, second = _noisy(120.0, (480, 640), 1), _noisy(120.0, (480, 640), 2)
    check = PictureCheck(first.shape)
    shown = [check.judge(picture) for picture in (first, first, first, second, first)]
    assert shown == [(), ("frozen",), ("frozen",), (), ()]


@given(st.integers(24, 200), st.integers(24, 200), st.integers(0, 2**32 - 1))
def test_any_size_is_judged_alike(height: int, width: int, seed: int) -> None:
    check = PictureCheck((height, width))
    picture = _noisy(120.0, (height, width), seed)
    assert check.judge(picture) == ()
    assert check.judge(picture) == ("frozen",)
    assert check.judge(255 - picture) == ()
    assert check.judge(np.zeros_like(picture)) == ("black",)
