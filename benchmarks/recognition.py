"""Check that live recognition sees what it was trained on, on faces whose truth is known.

    python -m benchmarks.recognition --data ../shared/data/composite3

Animates the public-domain portrait (synthetic: no person showed these expressions) and prints, as
Markdown, how the animated expressions are recognised, what recognition costs and, with the
training data at hand, how live and training representation compare.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.results import number, save, table
from engines.errors import UserError
from engines.motion.canonical import FACE_SIZE, LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from engines.motion.tvl1 import TvL1Flow
from engines.recognition.base import EventClip, Recognition, steady_face
from engines.recognition.registry import RECOGNIZERS, create_recognizer
from engines.recognition.ststnet import recognizer as ststnet
from engines.recognition.ststnet.representation import (
    CROP_X,
    CROP_Y,
    PICTURE_SIZE,
    WINDOW,
    flow_picture,
    standardise,
)
from engines.runtime import open_graph
from engines.synthesis.expressions import PROTOTYPES, Prototype
from engines.synthesis.portrait import LEFT_EYE_OUTER as LEFT_EYE
from engines.synthesis.portrait import RIGHT_EYE_OUTER as RIGHT_EYE
from engines.synthesis.portrait import Portrait
from engines.synthesis.renderer import FaceAnimator
from engines.synthesis.scenario import FaceState, Scenario, ScenarioConfig
from engines.training.composite3 import CLASSES, Composite3, load_composite3

AMPLITUDES_PX = (0.5, 1.0, 2.0)
"""Largest displacement in pixels of a 640x480 picture with 100 pixels between the eyes."""

FPS = 200
HELD_FRAMES = 5
UPPER_FACE = slice(0, 14)
"""Rows of the flow picture that hold brows and eyes."""

PIXELS_PER_INTER_OCULAR = 100

Planes = npt.NDArray[np.float32]
Gray = npt.NDArray[np.float32]


class Held:
    """A script that shows one state until it is given another."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.config = ScenarioConfig()
        self.state = FaceState()

    def at(self, time_s: float) -> FaceState:
        """The state, whatever the time."""
        return self.state


class Studio:
    """Films clips of one animated face, with sensor noise and perfect alignment."""

    def __init__(self, seed: int) -> None:
        self._script = Held(seed)
        self._animator = FaceAnimator(
            Portrait.astronaut(), cast(Scenario, self._script), width=640, height=480
        )
        eyes = self._animator.landmarks[[RIGHT_EYE, LEFT_EYE]]
        self._to_face = cv2.getAffineTransform(
            _with_corner(eyes), _with_corner(np.array([RIGHT_EYE_OUTER, LEFT_EYE_OUTER]))
        )
        flat = cv2.transform(self._animator.landmarks[:, np.newaxis], self._to_face)[:, 0]
        self._mesh = np.pad(flat, ((0, 0), (0, 1))).astype(np.float32)  # depth is of no use here
        self._picture = np.empty((480, 640, 3), np.uint8)
        self._count = 0

    def film(self, prototype: Prototype, amplitude_px: float) -> EventClip:
        """A neutral face for a few frames, then the expression at its apex."""
        scale = amplitude_px / PIXELS_PER_INTER_OCULAR
        apex = FaceState(tuple((unit, scale * value) for unit, value in prototype.strengths))
        faces = [self._face(state) for state in (FaceState(), apex) for _ in range(HELD_FRAMES)]
        return EventClip(
            np.stack(faces),
            np.arange(2 * HELD_FRAMES) / FPS,
            onset=HELD_FRAMES // 2,
            apex=HELD_FRAMES + HELD_FRAMES // 2,
            mesh=self._mesh,
        )

    def _face(self, state: FaceState) -> npt.NDArray[np.uint8]:
        self._script.state = state
        self._count += 1
        self._animator.render(0.0, self._picture, self._count)
        gray = cv2.cvtColor(self._picture, cv2.COLOR_BGR2GRAY)
        face = cv2.warpAffine(gray, self._to_face, (FACE_SIZE, FACE_SIZE))
        return np.asarray(face, np.uint8)


def _with_corner(eyes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The two eye corners and the point that makes them a square's side: fixes a similarity."""
    right, left = eyes
    across = left - right
    return np.array([right, left, right + np.array([-across[1], across[0]])], np.float32)


@dataclass(frozen=True, slots=True)
class Filmed:
    """One recognised clip.

    Attributes:
        clip: The faces.
        prototype: What was animated.
        amplitude_px: How strongly.
        recognition: What it was taken for.
        planes: (3, 28, 28) what the network saw.
        cost_s: Time of one core that recognition took.
    """

    clip: EventClip
    prototype: Prototype
    amplitude_px: float
    recognition: Recognition
    planes: Planes
    cost_s: float

    @property
    def correct(self) -> bool:
        """Whether the emotion was found."""
        return self.recognition.most_probable == self.prototype.emotion


def film_all(seeds: int, engine: str) -> list[Filmed]:
    """Recognise every prototype at every amplitude, on as many animated faces as seeds."""
    recognizer = create_recognizer(engine)
    flow = TvL1Flow()
    filmed = []
    for seed in tqdm(range(seeds), unit="face", file=sys.stderr):
        studio = Studio(seed)
        for prototype, amplitude in product(PROTOTYPES, AMPLITUDES_PX):
            clip = studio.film(prototype, amplitude)
            start = time.thread_time()
            recognition = recognizer.recognize(clip)
            cost = time.thread_time() - start
            field = flow(clip.faces[clip.onset][WINDOW], clip.faces[clip.apex][WINDOW])
            planes = standardise(flow_picture(field)[np.newaxis])[0]
            filmed.append(Filmed(clip, prototype, amplitude, recognition, planes, cost))
    recognizer.close()
    return filmed


def synthetic_table(filmed: Sequence[Filmed]) -> str:
    """Share of clips whose emotion was found, by prototype and amplitude."""
    rows = []
    for prototype in PROTOTYPES:
        own = [each for each in filmed if each.prototype is prototype]
        found = [
            [each.correct for each in own if each.amplitude_px == amplitude]
            for amplitude in AMPLITUDES_PX
        ]
        rows.append(
            (
                prototype.emotion,
                "+".join(str(unit) for unit in prototype.action_units),
                *(f"{sum(hits)}/{len(hits)}" for hits in found),
                number(
                    float(np.mean([e.recognition.probabilities[prototype.emotion] for e in own]))
                ),
            )
        )
    header = ("emotion", "action units", *(f"{a:g} px" for a in AMPLITUDES_PX), "mean p of it")
    return table(header, rows)


def geometry_table(filmed: Sequence[Filmed], data: Composite3) -> str:
    """Where brows and eyes of the training crop lie in the live crop.

    Fits the mean brow motion of animated faces (u and v of negative, v of surprise) to that of the
    training data over scale and shift. The lower face is left out: the animated portrait smiles,
    her mouth lies three cells higher than a neutral one.
    """
    training = standardise(data.pictures)
    labels = np.array([CLASSES.index(each.prototype.emotion) for each in filmed])
    live = _brow_motion(np.stack([each.planes for each in filmed]), labels)
    rows = []
    for name in ("composite", "smic", "casme2", "samm"):
        chosen = (data.datasets == name) | (name == "composite")
        target = _brow_motion(training[chosen], data.labels[chosen])
        best = max(
            (_correlation(_moved(live, sx, sy, dx, dy), target), sx, sy, dx, dy)
            for sx, sy in product((0.85, 1.0, 1.15), repeat=2)
            for dx, dy in product(np.arange(-3, 3.5, 0.5), repeat=2)
        )
        rows.append(
            (
                name,
                f"{best[1]:g}, {best[2]:g}",
                f"{best[3]:g}, {best[4]:g}",
                number(best[0]),
                number(_correlation(live, target)),
            )
        )
    return table(
        ("training data", "best scale x, y", "best shift x, y", "correlation", "unmoved"), rows
    )


def flow_table(filmed: Sequence[Filmed]) -> str:
    """The same clips seen through other flows."""
    model = Path(ststnet.__file__).parent / ststnet.MODEL_FILE
    graph = open_graph(model, "onnx")
    cheap = cv2.optflow.DualTVL1OpticalFlow_create(nscales=3, warps=3, scaleStep=0.5)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows: dict[str, Callable[[Gray, Gray], Gray]] = {
        "TV-L1, as used": TvL1Flow(),
        "TV-L1, iterated to 0.01 as in OpenCV": TvL1Flow(0.01),
        "TV-L1, iterated to 0.05": TvL1Flow(0.05),
        "TV-L1, three scales, three warps": lambda a, b: cheap.calc(a / 255, b / 255, None),
        "TV-L1, as used, half the resolution": _half_resolution(TvL1Flow()),
        "DIS medium": lambda a, b: dis.calc(_bytes(a), _bytes(b), None),
        "Farneback": lambda a, b: cv2.calcOpticalFlowFarneback(
            _bytes(a), _bytes(b), None, 0.5, 3, 15, 5, 7, 1.5, 0
        ),
    }
    rows = []
    for name, flow in flows.items():
        costs, correct = [], []
        for each in filmed:
            onset, apex = (
                np.ascontiguousarray(steady_face(each.clip, position)[WINDOW], np.float32)
                for position in (each.clip.onset, each.clip.apex)
            )
            start = time.thread_time()
            field = flow(onset, apex)
            costs.append(time.thread_time() - start)
            planes = standardise(flow_picture(field)[np.newaxis])
            output = graph.run({ststnet.INPUT_NAME: planes})[ststnet.OUTPUT_NAME]
            correct.append(CLASSES[int(output[0].argmax())] == each.prototype.emotion)
        rows.append((name, f"{100 * np.mean(correct):.0f} %", number(1e3 * np.median(costs), 0)))
    return table(("flow", "correct", "ms of one core"), rows)


def _half_resolution(flow: TvL1Flow) -> Callable[[Gray, Gray], Gray]:
    def half(first: Gray, second: Gray) -> Gray:
        small = (
            cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            for x in (first, second)
        )
        return np.asarray(cv2.resize(flow(*small), first.shape[::-1]) * 2, np.float32)

    return half


def _bytes(face: Gray) -> npt.NDArray[np.uint8]:
    return np.rint(face).astype(np.uint8)


def landmark_table(data: Composite3) -> str:
    """Where the training data move most, and where that lies in the canonical face."""
    training = standardise(data.pictures)
    negative, positive, surprise = (
        training[data.labels == label].mean(axis=0) for label in range(len(CLASSES))
    )
    right, left, everywhere = slice(0, 14), slice(14, 28), slice(0, 28)
    rows = []
    for what, plane, first_row, columns in (
        ("surprise, up: right brow", surprise[1], 0, right),
        ("surprise, up: left brow", surprise[1], 0, left),
        ("all, strain: right eye", training[:, 2].mean(axis=0) * -1, 0, right),
        ("all, strain: left eye", training[:, 2].mean(axis=0) * -1, 0, left),
        ("positive, up: right mouth corner and cheek", positive[1], 0, right),
        ("positive, up: left mouth corner and cheek", positive[1], 0, left),
        ("negative, up: chin", negative[1], 20, everywhere),
    ):
        part = plane[first_row:, columns]
        # The middle of the strongest cells is steadier than the one extreme cell.
        strongest = np.argwhere(part <= np.quantile(part, 0.05))
        row, column = strongest.mean(axis=0) + np.array([first_row, columns.start])
        x = CROP_X[0] + (column + 0.5) * (CROP_X[1] - CROP_X[0]) / PICTURE_SIZE
        y = CROP_Y[0] + (row + 0.5) * (CROP_Y[1] - CROP_Y[0]) / PICTURE_SIZE
        rows.append((what, f"{column:.1f}, {row:.1f}", f"{x:.0f}, {y:.0f}"))
    return table(("strongest mean motion", "cell x, y", "canonical pixel x, y"), rows)


def statistics_table(filmed: Sequence[Filmed], data: Composite3) -> str:
    """Smoothness and tails of the standardised channels, live and training."""
    rows = []
    sources = {
        "training": standardise(data.pictures),
        "live, synthetic": np.stack([each.planes for each in filmed]),
    }
    for (channel, name), (source, planes) in product(
        enumerate(("u", "v", "strain")), sources.items()
    ):
        plane = planes[:, channel] - planes[:, channel].mean(axis=(1, 2), keepdims=True)
        variance = (plane**2).mean(axis=(1, 2))
        x = (plane[:, :, 1:] * plane[:, :, :-1]).mean(axis=(1, 2)) / variance
        y = (plane[:, 1:] * plane[:, :-1]).mean(axis=(1, 2)) / variance
        tails = float((np.abs(plane) > 2).mean())
        rows.append(
            (
                name,
                source,
                number(float(np.median(x))),
                number(float(np.median(y))),
                number(tails, 3),
            )
        )
    return table(
        ("channel", "data", "neighbours x", "neighbours y", "share beyond 2 deviations"), rows
    )


def _brow_motion(planes: Planes, labels: npt.NDArray[np.int64]) -> Planes:
    """(28, 28, 3): mean u and v of negative, mean v of surprise."""
    negative, _, surprise = (planes[labels == label].mean(axis=0) for label in range(len(CLASSES)))
    return np.dstack([negative[0], negative[1], surprise[1]])


def _moved(maps: Planes, sx: float, sy: float, dx: float, dy: float) -> Planes:
    """Scale about the middle of the brows and eyes, then shift by cells."""
    x, y = (PICTURE_SIZE - 1) / 2, UPPER_FACE.stop / 2
    matrix = np.array([[sx, 0, x * (1 - sx) + dx], [0, sy, y * (1 - sy) + dy]])
    size = (PICTURE_SIZE, PICTURE_SIZE)
    return np.asarray(cv2.warpAffine(maps, matrix, size, borderMode=cv2.BORDER_REPLICATE))


def _correlation(first: Planes, second: Planes) -> float:
    """Mean correlation of corresponding maps over the upper face."""
    pairs = zip(
        np.moveaxis(first[UPPER_FACE], -1, 0), np.moveaxis(second[UPPER_FACE], -1, 0), strict=True
    )
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recognition",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="training data: flow_u_v_strain_28.npz")
    parser.add_argument("--seeds", type=int, default=5, help="animated faces (default: 5)")
    parser.add_argument(
        "--engine", default="ststnet", choices=sorted(RECOGNIZERS), help="default: ststnet"
    )
    parser.add_argument("--json", type=Path, help="where the result goes")
    arguments = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        data = None if arguments.data is None else load_composite3(arguments.data)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    filmed = film_all(arguments.seeds, arguments.engine)
    cost_ms = 1e3 * float(np.median([each.cost_s for each in filmed]))
    correct = float(np.mean([each.correct for each in filmed]))
    sections = [
        f"## Animated expressions (synthetic)\n\n{synthetic_table(filmed)}\n\n"
        f"{correct:.1%} of {len(filmed)} clips correct; {cost_ms:.0f} ms of one core an event "
        f"(median).",
        f"## Flows\n\n{flow_table(filmed)}",
    ]
    if data is not None:
        sections.append(f"## Landmarks of the training data\n\n{landmark_table(data)}")
        sections.append(f"## Geometry\n\n{geometry_table(filmed, data)}")
        sections.append(f"## Statistics\n\n{statistics_table(filmed, data)}")
    report = "\n\n".join(sections)
    print(report)
    clips = [
        {
            "emotion": each.prototype.emotion,
            "action_units": each.prototype.action_units,
            "amplitude_px": each.amplitude_px,
            "probabilities": each.recognition.probabilities,
        }
        for each in filmed
    ]
    measured = {"correct": correct, "cost_ms": cost_ms, "clips": clips}
    print(f"\n{save('recognition', measured, report, arguments.json)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
