from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.synthesis import FaceAnimator, Portrait, Scenario, ScenarioConfig

ROOT = Path(__file__).parents[2]
FPS = 60.0
SECONDS = 4.0


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of strong scripted expressions."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    scenario = Scenario(
        ScenarioConfig(
            head_motion=False,
            blinks=False,
            ripple=False,
            lead_s=2.2,
            expressions_per_min=60,
            micro_amplitude_px=(2.5, 3.0),
            macro_amplitude_px=(2.5, 3.0),
            macro_duration_s=(0.7, 1.0),
        ),
        seed=3,
        duration_s=SECONDS,
    )
    animator = FaceAnimator(Portrait.astronaut(), scenario, 480, 360)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (480, 360))
    image = np.empty((360, 480, 3), np.uint8)
    for index in range(int(SECONDS * FPS)):
        animator.render(index / FPS, image, index)
        writer.write(image)
    writer.release()
    return path


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def glint() -> Iterator[Start]:
    """Starts `run_live.py` with options; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run_live.py"), *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
