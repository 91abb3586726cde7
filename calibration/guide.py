"""Leads through a calibration: says what to do, records takes, asks each step for its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial, reduce
from typing import Protocol

import numpy as np

from calibration import baseline, clock, image, light, threshold, visibility
from calibration.baseline import BaselineResult
from calibration.file import Calibration, SourceFacts
from calibration.injection import Injector
from calibration.lens import Board, View, find_corners
from calibration.recorder import Recorder
from calibration.result import verdict
from calibration.tracks import MotionTrack, Take
from calibration.visibility import VisibilityResult
from engines.spotting.base import Spotter
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.flow_spotter import FlowSpotter
from streamer.config import GlintConfig
from streamer.sources.base import FrameSource, SourceInfo
from streamer.version import VERSION

_ATTEMPTS = 3
_SETTLE_S = 2.0  # of a live source: auto-exposure, and the subject
_AROUND_S = 1.0  # of an expression is not neutral either


class Console(Protocol):
    """Where the guide speaks to the operator."""

    def say(self, text: str) -> None:
        """Tell the operator something."""
        ...

    def wait_for_operator(self, text: str) -> None:
        """Ask the operator to do something, and wait until it is done."""
        ...

    def progress(self, name: str, total: float) -> Callable[[float], None]:
        """Start to show how far something is; the returned function is told how much is done."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What the operator asked for.

    Attributes:
        still_s: Length of the still take in seconds.
        neutral_s: Length of the neutral take that the threshold rests on, in seconds.
        false_alarms_per_min: Budget of false alarms.
        eye_distance_mm: The subject's distance of the outer eye corners; None when unknown.
        passes: Passes over the still take from which step 6 learns.
        checks: Passes over it that try what was learned.
        camera: The operator's name of the camera.
        subject: Pseudonym of the subject.
    """

    still_s: float = 10.0
    neutral_s: float = 60.0
    false_alarms_per_min: float = 1.0
    eye_distance_mm: float | None = None
    passes: int = 6
    checks: int = 3
    camera: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class _Still:
    """A still take and what it gave."""

    take: Take
    baseline: BaselineResult | None

    @property
    def worth(self) -> tuple[bool, int, float]:
        """Takes that keep still are better, then those with fewer movements, then longer ones."""
        if self.baseline is None:
            return False, -1_000_000, 0.0
        moved = len(self.baseline.expressions) + self.baseline.restarts
        return self.baseline.still, -moved, self.baseline.seconds


def calibrate(
    source: FrameSource, config: GlintConfig, plan: Plan, console: Console
) -> Calibration:
    """Lead through all steps.

    Args:
        source: A closed source.
        config: Settings of alignment, motion and spotting.
        plan: What the operator asked for.
        console: Where the operator is spoken to.

    Returns:
        The calibration, whatever its verdict.

    Raises:
        UserError: The source cannot be opened, or fails.
    """
    with Recorder(source, config) as recorder:
        info = recorder.info
        console.say(
            f"{info.name}: {info.width}x{info.height} at {info.fps_nominal:g} frames a second"
        )
        if info.live:
            recorder.record(_SETTLE_S, pictures=False)
        still, takes = _still_take(recorder, config.flow_spotter, plan, console)
        neutral = _neutral_takes(recorder, plan, console) if still.take.complete else ()
    return _evaluate(info, still, takes, neutral, config, plan, console)


def _still_take(
    recorder: Recorder, settings: FlowSpotterConfig, plan: Plan, console: Console
) -> tuple[_Still, int]:
    """Steps 1 to 4 rest on one take of a still face; it is repeated when the face moves."""
    ask = console.wait_for_operator if recorder.info.live else console.say
    ask(f"Steps 1 to 4: the subject looks into the camera and keeps still for {plan.still_s:g} s.")
    best: _Still | None = None
    attempt = 0
    while attempt < _ATTEMPTS:
        attempt += 1
        told = console.progress("still take", plan.still_s)
        take = recorder.record(plan.still_s, pictures=True, progress=told)
        fresh = _Still(take, _baseline(take, settings, recorder.info.fps_nominal))
        if best is None or fresh.worth > best.worth:
            best = fresh
        if best.take is take and best.worth[0]:
            break
        if not take.complete:
            console.say(f"The source ended after {_seconds(take):.1f} s of this take.")
            break
        if attempt < _ATTEMPTS:
            ask(_why_again(fresh.baseline))
    assert best is not None
    return best, attempt


def _baseline(take: Take, settings: FlowSpotterConfig, fps: float) -> BaselineResult | None:
    if not len(take.face) or not len(take.motion):
        return None
    moved = baseline.clear_movements(take.motion, FlowSpotter(settings, fps))
    return baseline.measure(take.motion, take.face, moved, float(take.times.time_s[0]))


def _why_again(result: BaselineResult | None) -> str:
    if result is None:
        return "No face was followed. One more time, with the face in the picture."
    if result.expressions:
        times = ", ".join(f"{time:.1f}" for time in result.expressions)
        return f"The face moved (at {times} s). One more time: rest, and look at one point."
    return "The face was lost in between. One more time: keep it in the picture, in even light."


def _neutral_takes(recorder: Recorder, plan: Plan, console: Console) -> tuple[Take, ...]:
    """Step 5 rests on a longer take; movements in it are cut out.

    The end of a take that is long enough is filmed, for step 6: a face looks different by then.
    """
    ask = console.wait_for_operator if recorder.info.live else console.say
    ask(f"Step 5: the subject rests for {plan.neutral_s:g} s; blinking and breathing are welcome.")
    told = console.progress("neutral take", plan.neutral_s)
    filmed_s = plan.still_s if plan.neutral_s >= 2 * plan.still_s else 0.0
    unfilmed_s = plan.neutral_s - filmed_s
    first = recorder.record(unfilmed_s, pictures=False, progress=told)
    if not filmed_s or not first.complete:
        return (first,)
    last = recorder.record(
        filmed_s, pictures=True, progress=lambda seconds: told(unfilmed_s + seconds)
    )
    return first, last


def _evaluate(
    info: SourceInfo,
    still: _Still,
    takes: int,
    neutral: Sequence[Take],
    config: GlintConfig,
    plan: Plan,
    console: Console,
) -> Calibration:
    """All results from all takes; nothing is recorded any more."""
    take, rest, fps = still.take, still.baseline, info.fps_nominal
    face = take.face
    clocked = clock.measure(take.times, fps_asked=info.fps_asked, fps_nominal=fps, live=info.live)
    lit = light.measure(face.time_s, face.luminance, face.bands, face.band_rows)
    seen = image.measure(face, take.looks, fps)
    findings = [*clock.findings(clocked), *image.findings(seen)]
    chosen = visible = None
    if seen is not None:  # without a face, that is all there is to say
        findings += [*light.findings(lit), *baseline.findings(rest)]
    if rest is not None:
        motion = reduce(MotionTrack.then, (each.motion for each in neutral), take.motion)
        quiet, moved_s = _neutral_only(motion, config.flow_spotter, fps)
        spotter = _spotters(config.flow_spotter, rest, fps)
        console.say("Step 5: choosing the threshold.")
        half = len(quiet) // 2
        chosen = threshold.measure(
            quiet.between(0, half), quiet.between(half), spotter, plan.false_alarms_per_min
        )
        if chosen is not None and rest.still:
            takes_filmed = [take, *(each for each in neutral if _rests(each, config, fps))]
            visible = _visibility(
                takes_filmed, rest, quiet, partial(spotter, chosen.factor), config, plan, console
            )
        findings += threshold.findings(chosen, left_out_s=moved_s)
        findings += visibility.findings(visible)
    engine = FlowSpotter(config.flow_spotter, fps)
    return Calibration(
        glint=VERSION,
        created_utc=datetime.now(timezone.utc),
        camera=plan.camera,
        subject=plan.subject,
        source=SourceFacts.of(info),
        spotter=f"{engine.name} {engine.version}",
        takes=takes,
        clock=clocked,
        light=lit,
        image=seen,
        baseline=rest,
        threshold=chosen,
        visibility=visible,
        findings=tuple(findings),
        verdict=verdict(findings),
    )


def _rests(take: Take, config: GlintConfig, fps: float) -> bool:
    """Whether nothing moves clearly in a take."""
    moved = baseline.clear_movements(take.motion, FlowSpotter(config.flow_spotter, fps))
    return bool(len(take.motion)) and not moved


def _visibility(
    takes: Sequence[Take],
    rest: BaselineResult,
    quiet: MotionTrack,
    spotter: Callable[[], Spotter],
    config: GlintConfig,
    plan: Plan,
    console: Console,
) -> VisibilityResult | None:
    """Step 6, with the threshold of step 5, in all pictures of a resting face."""
    console.say("Step 6: looking for the smallest visible movement.")
    times = takes[0].times.time_s
    fps = (len(times) - 1) / float(times[-1] - times[0])
    footage = [take.footage for take in takes if take.footage is not None]
    return visibility.measure(
        [Injector(each, config.alignment, config.motion, fps) for each in footage],
        quiet,
        rest,
        spotter,
        inter_ocular_px=float(np.median(takes[0].face.inter_ocular_px)),
        eye_distance_mm=plan.eye_distance_mm,
        least_noise=config.flow_spotter.noise_floor_iod,
        passes=plan.passes,
        checks=plan.checks,
        progress=console.progress("passes", plan.passes + plan.checks),
    )


def _spotters(
    settings: FlowSpotterConfig, rest: BaselineResult, fps: float
) -> threshold.SpotterFactory:
    """Fresh spotters with a factor, and with the noise that was measured."""
    prior = max(rest.noise_iod, settings.noise_floor_iod)

    def make(factor: float) -> FlowSpotter:
        update = {"threshold_factor": factor, "prior_noise_iod": prior}
        return FlowSpotter(settings.model_copy(update=update), fps)

    return make


def _neutral_only(
    motion: MotionTrack, settings: FlowSpotterConfig, fps: float
) -> tuple[MotionTrack, float]:
    """Motion without what was clearly an expression, and how many seconds that left out."""
    moved = baseline.clear_movements(motion, FlowSpotter(settings, fps))
    spans = [
        (event.onset_s - _AROUND_S, (event.offset_s or event.apex_s) + _AROUND_S) for event in moved
    ]
    quiet = motion.without(spans)
    return quiet, motion.measured_s - quiet.measured_s


def _seconds(take: Take) -> float:
    """Length of a take in stream time."""
    times = take.times.time_s
    return float(times[-1] - times[0]) if len(times) else 0.0


# -- lens ------------------------------------------------------------------------------------

_VIEW_EVERY_S = 0.4
_NEW_VIEW_SHARE = 0.03


def collect_views(
    source: FrameSource, board: Board, console: Console, wanted: int
) -> tuple[list[View], tuple[int, int]]:
    """Collect views of a ChArUco board, each in another position than those before.

    Args:
        source: A closed source.
        board: The board.
        console: Where the operator is spoken to.
        wanted: Number of views at which to stop; otherwise at the end of the source.

    Returns:
        The views, and width and height of the pictures.

    Raises:
        UserError: The source cannot be opened, or fails.
    """
    views: list[View] = []
    try:
        info = source.open()
        console.say("Show the board near and far, tilted, and in every corner of the picture.")
        told = console.progress("views", wanted)
        picture = np.empty(info.shape, np.uint8)
        next_s = 0.0
        while len(views) < wanted and (frame := source.read(picture)) is not None:
            # Pictures of a folder are views each; a film's neighbours are not.
            if info.kind != "folder" and frame.time_s < next_s:
                continue
            next_s = frame.time_s + _VIEW_EVERY_S
            view = find_corners(picture, board)
            if view is not None and all(_differ(view, seen, info.width) for seen in views):
                views.append(view)
                told(len(views))
    finally:
        source.close()
    return views, (info.width, info.height)


def _differ(one: View, other: View, width: int) -> bool:
    """Whether the board moved by a few per cent of the picture between two views."""
    shared, at_one, at_other = np.intersect1d(one[1], other[1], return_indices=True)
    if not len(shared):
        return True
    moved = np.linalg.norm(one[0][at_one, 0] - other[0][at_other, 0], axis=1)
    return float(moved.mean()) > _NEW_VIEW_SHARE * width
