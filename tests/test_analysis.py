"""Analysis of aligned faces: what an operator may change while it goes on."""

from __future__ import annotations

import math

import cv2
import numpy as np
import skimage.data

from engines.events import Event, EventState
from engines.motion.config import MotionConfig
from engines.motion.meter import MotionMeter
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.flow_spotter import FlowSpotter
from streamer.alignment.base import Alignment, AlignmentState
from streamer.analysis import Analysis
from streamer.frame import Frame, Image
from streamer.ring import Slot

FPS = 100.0
FACE = cv2.resize(
    cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2GRAY)[0:220, 110:330], (128,) * 2
)
MESH = np.random.default_rng(0).uniform(20, 108, (468, 3)).astype(np.float32)


def lowered(pixels: float) -> Image:
    """The face with its lower part moved down."""
    down, across = np.mgrid[0:128, 0:128].astype(np.float32)
    shift = pixels / (1 + np.exp((80 - down) / 4))
    moved: Image = cv2.remap(FACE, across, down - shift.astype(np.float32), cv2.INTER_CUBIC)
    return moved


def slot(index: int, face: Image) -> Slot[Alignment]:
    frame = Frame(index, index / FPS, None, index / FPS, 0, "", face)
    alignment = Alignment(
        AlignmentState.FOLLOWING, True, 0, 0, 1.0, (math.nan,) * 3, None, None, MESH, 64.0, 0.0, ()
    )
    return Slot(frame, alignment, lambda: True)


def test_a_neutral_face_taken_by_hand_is_what_motion_is_measured_from():
    spotter = FlowSpotter(FlowSpotterConfig(), FPS)
    analysis = Analysis(MotionMeter(MotionConfig(), FPS), spotter)
    shifted = lowered(1.5)
    events: list[Event] = []
    moved: list[float] = []
    for index in range(400):
        if index == 330:  # 0.3 s into the movement
            analysis.take_neutral()
        analysed = analysis.push(slot(index, FACE if index < 300 else shifted))
        events += analysed.events
        moved.append(float(np.abs(analysed.record.motion).max()))
    assert max(moved[:300]) < 1e-3
    assert min(moved[301:330]) > 0.005
    assert max(moved[330:]) < 1e-3
    (last,) = {event.id: event for event in events}.values()
    assert last.state in (EventState.CLOSED, EventState.WITHDRAWN), "left open"
    assert "realigned" in last.quality
