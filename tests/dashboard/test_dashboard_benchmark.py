"""The benchmark of the dashboard: what it reads out of pictures, and its tables."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.dashboard import _BITS, _CELL, _CODE_TOP, report, resolve_code, write_code


@given(st.integers(0, 2**20), st.integers(0, 2**_BITS - 1))
def test_a_code_means_the_last_frame_that_bore_it(newest: int, behind: int) -> None:
    frame = newest - behind
    assert resolve_code(frame % 2**_BITS, newest) == frame


NOISE = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)


@settings(max_examples=25)
@given(st.integers(0, 2**20))
def test_the_code_survives_compression(index: int) -> None:
    image = NOISE.copy()
    write_code(image, index)
    seen = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], 0)
    cells = seen[_CODE_TOP : _CODE_TOP + _BITS * _CELL, -_CELL:]
    bits = cells.reshape(_BITS, -1).mean(axis=1) > 127
    assert sum(int(on) << bit for bit, on in enumerate(bits)) == index % 2**_BITS


def test_the_tables_hold_what_was_measured() -> None:
    row = {
        "viewers": 0,
        "seconds": 60.0,
        "captured": 12_000,
        "lost": {},
        "capture_to_score_ms": {"p99": 6.25},
        "longest_wait_ms": 12.0,
        "stolen": 0.021,
        "cores": 0.7,
        "memory": {"end_mb": 800.0, "growth_mb_per_min": 0.1},
        "objects_per_min": -1250.0,
        "light": None,
        "light_slowest_fps": None,
        "chromium": None,
    }
    seen = {"fps": 19.9, "p50": 21.0, "p95": 48.0, "p99": 60.0}
    watched = {
        **row,
        "viewers": 4,
        "lost": {"driver_overrun": 3},
        "light": seen,
        "light_slowest_fps": 18.2,
        "chromium": {**seen, "fps": 17.5},
    }
    text = report([row, watched])
    assert "none" in text
    assert "2.1%" in text
    assert "-1,250" in text
    assert "3 driver_overrun" in text
    assert "17.5" in text
    assert "18.2" in text
