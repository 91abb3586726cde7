"""Does a rig see what its calibration says? Tried on emulated rigs of known noise.

    python -m benchmarks.visibility
    python -m benchmarks.visibility --noise 2,5,10 --takes 3 --movements 60

A rig is a gray camera of known sensor noise in front of the demo's face. It is calibrated from a
still and a neutral take. Then a session under that calibration watches a film of the same rig that
the calibration has never seen: other blinks, other sway, other noise. In it the face moves, drawn
before the sensor's noise by the demo and not, as in calibration, into recorded pictures: single
action units, half as large, as large, and twice as large as the smallest visible movement that the
calibration states. If it is right, 90 % of those of its size are found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from scipy.stats import beta
from tqdm import tqdm

from benchmarks.arguments import exit_with, floats
from benchmarks.headless import run_headless
from benchmarks.results import RESULTS, number, save, table
from calibration.file import Calibration
from calibration.guide import Plan, calibrate
from calibration.injection import UNITS, Trial
from calibration.result import Verdict
from calibration.visibility import STEP
from engines.events import EventState
from engines.synthesis import FaceAnimator, Portrait, Scenario, ScenarioConfig
from engines.synthesis.scenario import REFERENCE_INTER_OCULAR_PX, FaceState
from streamer.config import GlintConfig
from streamer.frame import Frame, Image
from streamer.sources.base import SourceInfo, SourceState

SHARES = (0.5, 1.0, 2.0)
"""Sizes of the movements that are tried, in stated sizes."""

_GRID = 48
_STRENGTH = 0.01
_OTHER_TIME = 1000
_LEAD_S = 10.0
_SPACING_S = (1.8, 2.4)
_SCENARIO = ScenarioConfig(expressions=False, ripple=False, noise=False)


@dataclass(frozen=True, slots=True)
class Rig:
    """A camera and a face before it.

    Attributes:
        noise: Standard deviation of the sensor's noise in grey levels.
        size: Picture width and height in pixels; the face fills it as a portrait does.
        fps: Frames a second.
    """

    noise: float
    size: tuple[int, int] = (320, 240)
    fps: float = 30.0

    @property
    def inter_ocular_px(self) -> float:
        """Distance between the outer eye corners in the picture."""
        width, height = self.size
        return REFERENCE_INTER_OCULAR_PX * min(width / 640, height / 480)


class RigSource:
    """Pictures of a rig; a source that waits for its reader.

    Args:
        rig: Camera and face.
        seconds: Length in seconds.
        seed: Of blinks, sway and noise.
        movements: What the face does beside that, in order of time.
    """

    def __init__(
        self, rig: Rig, seconds: float, seed: int, movements: Sequence[Trial] = ()
    ) -> None:
        self._rig = rig
        self._frames = round(seconds * rig.fps)
        self._movements = movements
        self._scenario = Scenario(_SCENARIO, seed, seconds)
        width, height = rig.size
        self._animator = FaceAnimator(Portrait.astronaut(), self._scenario, width, height)
        self._strength = {unit: 1 / _longest(self._animator, unit) for unit in UNITS}
        self._drawn = np.empty((height, width, 3), np.uint8)
        self._noise = np.empty((height, width), np.float32)
        self._rng = np.random.default_rng([seed, 1])
        self._next = 0
        self.state = SourceState.CLOSED

    def open(self) -> SourceInfo:
        """Describe the film."""
        self.state = SourceState.LIVE
        return SourceInfo(
            name="emulated rig",
            kind="rig",
            width=self._rig.size[0],
            height=self._rig.size[1],
            channels=1,
            fps_asked=self._rig.fps,
            fps_nominal=self._rig.fps,
            live=False,
            frames=self._frames,
            device_clock=False,
        )

    def read(self, out: Image) -> Frame | None:
        """Draw the next picture."""
        index, self._next = self._next, self._next + 1
        if index >= self._frames:
            self.state = SourceState.ENDED
            return None
        time_s = index / self._rig.fps
        neutral = self._scenario.at(time_s)
        units = tuple(
            (trial.unit, self._strength[trial.unit] * trial.at(time_s))
            for trial in self._movements
            if trial.start_s < time_s < trial.end_s
        )
        state = FaceState(units, neutral.head, neutral.closure, neutral.gaze)
        self._animator.draw(state, self._drawn, index)
        cv2.cvtColor(self._drawn, cv2.COLOR_BGR2GRAY, dst=out)
        self._rng.standard_normal(dtype=np.float32, out=self._noise)
        self._noise *= self._rig.noise
        self._noise += out
        np.clip(np.rint(self._noise, out=self._noise), 0, 255, out=self._noise)
        out[:] = self._noise
        return Frame(index, time_s, None, time_s, 0, "", out)

    def interrupt(self) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Nothing is held."""
        self.state = SourceState.CLOSED


def _longest(animator: FaceAnimator, unit: int) -> float:
    """How far the skin that moves most is drawn, in inter-ocular distances, for a strength of 1."""
    low, high = animator.landmarks.min(axis=0), animator.landmarks.max(axis=0)
    x, y = np.meshgrid(*(np.linspace(a, b, _GRID) for a, b in zip(low, high, strict=True)))
    points = np.column_stack([x.ravel(), y.ravel()])
    moved = animator.positions(FaceState(((unit, _STRENGTH),)), points) - points
    return float(np.hypot(*moved.T).max()) / animator.inter_ocular_px / _STRENGTH


# -- trying it -----------------------------------------------------------------------------------


class Silent:
    """A console that nobody reads."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def wait_for_operator(self, text: str) -> None:
        """Wait for nobody."""

    def progress(self, name: str, total: float) -> Callable[[float], None]:
        """Show nothing."""
        return lambda done: None


def calibrated(rig: Rig, plan: Plan, seed: int) -> Calibration:
    """Calibrate a rig."""
    source = RigSource(rig, plan.still_s + plan.neutral_s + 1, seed)
    return calibrate(source, GlintConfig(), plan, Silent())


def movements(sizes: Sequence[float], count: int, rng: np.random.Generator) -> list[Trial]:
    """Movements in random order, as many of each size.

    Args:
        sizes: Displacements in inter-ocular distances.
        count: Number of movements of each size.
        rng: Order and times.
    """
    chosen = rng.permutation(np.repeat(sizes, count))
    units = rng.permutation(np.resize(UNITS, len(chosen)))
    starts = _LEAD_S + np.cumsum(rng.uniform(*_SPACING_S, len(chosen)))
    return [
        Trial(float(start), int(unit), float(size))
        for start, unit, size in zip(starts, units, chosen, strict=True)
    ]


def found(rig: Rig, calibration: Calibration, trials: Sequence[Trial], seed: int) -> list[bool]:
    """Which movements a session under a calibration finds in a film of the rig."""
    source = RigSource(rig, trials[-1].end_s + 2, seed, trials)
    with TemporaryDirectory() as folder:
        # Sessions leave the threshold of an unfit rig alone; here it is what is asked for.
        path = Path(folder) / "rig.json"
        calibration.model_copy(update={"verdict": Verdict.WARNINGS}).save(path)
        run = run_headless(GlintConfig(calibration=path, recognizer="none"), source)
    apexes = [event.apex_s for event in run.events if event.state is EventState.CLOSED]
    return [any(t.start_s <= apex <= t.end_s for apex in apexes) for t in trials]


def tried(rig: Rig, plan: Plan, count: int, seed: int) -> dict[str, Any]:
    """Calibrate a rig once, and see what a session under that calibration finds."""
    calibration = calibrated(rig, plan, seed)
    result = calibration.visibility
    row: dict[str, Any] = {
        "noise": rig.noise,
        "seed": seed,
        "verdict": calibration.verdict.value,
        "amplitude_px": None if result is None else result.amplitude_px,
        "low_px": None if result is None else result.low_px,
        "high_px": None if result is None else result.high_px,
        "checked": 0 if result is None else result.checked,
        "check_found": 0 if result is None else result.found,
        "told": [each.what for each in calibration.findings if each.step == STEP],
        "found": {},
    }
    if result is None or result.amplitude_px is None:
        return row
    sizes = [share * result.amplitude_px / rig.inter_ocular_px for share in SHARES]
    trials = movements(sizes, count, np.random.default_rng([seed, 2]))
    hits = found(rig, calibration, trials, _OTHER_TIME + seed)
    for share, size in zip(SHARES, sizes, strict=True):
        row["found"][f"{share:g}"] = [
            hit for hit, trial in zip(hits, trials, strict=True) if trial.amplitude == size
        ]
    return row


# -- report --------------------------------------------------------------------------------------


def bounds(hits: Sequence[bool]) -> tuple[float, float]:
    """Exact 95 % interval of a share (Clopper and Pearson, Biometrika 26, 1934)."""
    k, n = sum(hits), len(hits)
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return low, high


def take_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One row a calibration."""
    header = ("noise", "take", "smallest visible, pixels", "90 % interval", "its own check",
              *(f"found at {share:g} of it" for share in SHARES))  # fmt: skip
    return table(
        header,
        [
            (
                f"{row['noise']:g}",
                row["seed"],
                number(row["amplitude_px"]) if row["amplitude_px"] else "cannot tell",
                _span(row["low_px"], row["high_px"]),
                f"{row['check_found']} of {row['checked']}",
                *(_share(row["found"].get(f"{share:g}", [])) for share in SHARES),
            )
            for row in rows
        ],
    )


def pooled_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All calibrations of a noise together."""
    lines = []
    for noise in dict.fromkeys(row["noise"] for row in rows):
        of_rig = [row for row in rows if row["noise"] == noise]
        stated = [row["amplitude_px"] for row in of_rig if row["amplitude_px"]]
        hits = [
            [hit for row in of_rig for hit in row["found"].get(f"{share:g}", [])]
            for share in SHARES
        ]
        lines.append(
            (
                f"{noise:g}",
                f"{len(stated)} of {len(of_rig)}",
                number(float(np.mean(stated))) if stated else "-",
                *map(_share, hits),
            )
        )
    header = ("noise", "told", "smallest visible, pixels, mean",
              *(f"found at {share:g} of it" for share in SHARES))  # fmt: skip
    return table(header, lines)


def _share(hits: Sequence[bool]) -> str:
    if not hits:
        return "-"
    low, high = bounds(hits)
    return f"{sum(hits)} of {len(hits)} [{low:.2f}, {high:.2f}]"


def _span(low: float | None, high: float | None) -> str:
    if low is None:
        return "-"
    return f"{low:.2f} to {'no upper end' if high is None else f'{high:.2f}'}"


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.visibility",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--noise", type=floats, default=(2.0, 5.0, 10.0), help="grey levels (2,5,10)")
    add("--takes", type=int, default=3, help="calibrations of each rig (3)")
    add("--movements", type=int, default=40, help="movements of each size after each (40)")
    add("--fps", type=float, default=30.0, help="frames a second (30)")
    add("--still-seconds", type=float, default=Plan().still_s, help="(10)")
    add("--neutral-seconds", type=float, default=Plan().neutral_s, help="(60)")
    add("--json", type=Path, default=RESULTS / "visibility.json", help="result file (%(default)s)")
    options = parser.parse_args()
    plan = Plan(still_s=options.still_seconds, neutral_s=options.neutral_seconds)
    runs = list(product(options.noise, range(options.takes)))
    rows = [
        tried(Rig(noise, fps=options.fps), plan, options.movements, seed)
        for noise, seed in tqdm(runs, unit="calibration", file=sys.stderr)
    ]
    eyes = Rig(0.0).inter_ocular_px
    report = (
        f"The demo's face, eyes {eyes:g} pixels apart, {options.fps:g} frames a second, gray, "
        "noise in grey levels. Synthetic. In brackets exact 95 % intervals of a share.\n\n"
        f"{pooled_table(rows)}\n\n## Every calibration\n\n{take_table(rows)}"
    )
    print(report)
    print(f"\n{save('visibility', {'rows': rows}, report, options.json)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    exit_with(main)
