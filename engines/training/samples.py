"""Single flow pictures with their labels, drawn from clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.errors import UserError
from engines.events import EventKind
from engines.motion.planes import PLANES_SIZE, SPAN_S, PairPlanes
from engines.training.clips import ClipEvent, FaceClip

NOT_LEARNED = -1
"""Emotion of a picture that says nothing about emotions."""

RATE_HZ = 25.0
"""Pictures are drawn from clips at this rate at most: neighbours are nearly the same picture."""

NEGATIVES = 5.0
"""Pictures without a micro-expression for each one with it (MEAN)."""

_EPSILON_S = 1e-6
_RISEN_S = 0.03
"""An expression younger than this has not moved anything yet."""

_VOTE_S = 0.1
_AFTER_APEX_S = 0.02


@dataclass(frozen=True, slots=True)
class FrameSamples:
    """Flow pictures and what is known of them.

    Attributes:
        planes: (N, 3, 42, 42) float16 as `engines.motion.planes` makes them, of either kind.
        micro: (N,) float32, 1 while a micro-expression goes on.
        emotion: (N,) int64 class; the number of classes for *neutral*, `NOT_LEARNED` for neither.
    """

    planes: npt.NDArray[np.float16]
    micro: npt.NDArray[np.float32]
    emotion: npt.NDArray[np.int64]


def earlier_frames(clip: FaceClip, span_s: float = SPAN_S) -> npt.NDArray[np.intp]:
    """The frame that each frame's flow starts from, chosen as `MotionMeter` does.

    Args:
        clip: A clip.
        span_s: Span of the flow.

    Returns:
        (N,) index of the newest frame at least `span_s` older; -1 where there is none within the
        same stretch of measurement, or only one of twice that age.
    """
    indices = np.arange(len(clip.times))
    before = np.searchsorted(clip.times, clip.times - span_s + _EPSILON_S, side="right") - 1
    known = before >= 0
    before = np.maximum(before, 0)
    breaks = np.cumsum(clip.restart | ~clip.valid)
    good = known & clip.valid & (breaks[indices] == breaks[before])
    good &= clip.times - clip.times[before] < 2 * span_s
    return np.where(good, before, -1).astype(np.intp)


def micro_labels(
    times: npt.NDArray[np.float64], events: Sequence[ClipEvent]
) -> npt.NDArray[np.float32]:
    """1 where the flow from t - 0.1 s to t shares time with a micro-expression (IoU > 0; MEAN).

    Args:
        times: (N,) time of each frame.
        events: The clip's expressions.

    Returns:
        (N,) float32.
    """
    labels = np.zeros(len(times), np.float32)
    for event in events:
        if event.kind is EventKind.MICRO:
            labels[(times > event.onset_s) & (times < event.offset_s + SPAN_S)] = 1
    return labels


def emotion_labels(
    times: npt.NDArray[np.float64], events: Sequence[ClipEvent], classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """The class on the last part of the way to an apex, *neutral* away from any expression.

    What lies between says nothing: the onset has not moved much yet, and on the way back the flow
    is that of another movement.

    Args:
        times: (N,) time of each frame.
        events: The clip's expressions.
        classes: Names of the classes.

    Returns:
        (N,) int64; `len(classes)` is neutral.
    """
    labels = np.full(len(times), len(classes), np.int64)
    for event in events:
        labels[(times > event.onset_s) & (times < event.offset_s + SPAN_S)] = NOT_LEARNED
    for event in events:
        if event.emotion is not None:
            rising = times >= max(event.onset_s + _RISEN_S, event.apex_s - _VOTE_S)
            labels[rising & (times <= event.apex_s + _AFTER_APEX_S)] = classes.index(event.emotion)
    return labels


def draw_samples(
    clips: Iterable[FaceClip], classes: Sequence[str], seed: int, *, depth: bool = False
) -> FrameSamples:
    """Draw labelled pictures: every micro-expression and apex, and five times as many others.

    Args:
        clips: Where from.
        classes: Names of the classes.
        seed: Seed of the choice among the others.
        depth: Make depth change the third plane, not strain.

    Returns:
        The samples, in order of clips and time. With depth, without those whose depth maps show
        too little.

    Raises:
        UserError: Depth is asked for, and a clip has none.
    """
    pools = [_Pool.of(clip, classes) for clip in clips]
    telling = [pool.micro.astype(np.bool_) | pool.has_emotion(len(classes)) for pool in pools]
    others = sum(int((~mask).sum()) for mask in telling)
    wanted = NEGATIVES * sum(float(pool.micro.sum()) for pool in pools)
    share = wanted / max(others, 1)
    rng = np.random.default_rng(seed)
    chosen = [mask | (rng.random(len(mask)) < share) for mask in telling]
    drawn = [pool.draw(mask, depth=depth) for pool, mask in zip(pools, chosen, strict=True)]
    return FrameSamples(
        np.concatenate([each.planes for each in drawn]),
        np.concatenate([each.micro for each in drawn]),
        np.concatenate([each.emotion for each in drawn]),
    )


@dataclass(frozen=True, slots=True)
class _Pool:
    """The frames of a clip that may be drawn."""

    clip: FaceClip
    frames: npt.NDArray[np.intp]
    before: npt.NDArray[np.intp]
    micro: npt.NDArray[np.float32]
    emotion: npt.NDArray[np.int64]

    @classmethod
    def of(cls, clip: FaceClip, classes: Sequence[str]) -> _Pool:
        before = earlier_frames(clip)
        frames = np.arange(0, len(clip.times), max(1, round(clip.fps / RATE_HZ)))
        frames = frames[before[frames] >= 0]
        times = clip.times[frames]
        return cls(
            clip,
            frames,
            before[frames],
            micro_labels(times, clip.events),
            emotion_labels(times, clip.events, classes),
        )

    def has_emotion(self, classes: int) -> npt.NDArray[np.bool_]:
        return (self.emotion >= 0) & (self.emotion < classes)

    def draw(self, chosen: npt.NDArray[np.bool_], *, depth: bool) -> FrameSamples:
        """Measure the chosen frames."""
        if depth and self.clip.depth is None:
            raise UserError(
                f"The clip {self.clip.name} has no depth maps, which this engine learns from: "
                "make the set with a depth camera (--depth), or give one that has depth frames."
            )
        measure, clip = PairPlanes(), self.clip
        planes = np.empty((int(chosen.sum()), 3, PLANES_SIZE, PLANES_SIZE), np.float16)
        known = np.ones(len(planes), np.bool_)
        pairs = zip(self.before[chosen], self.frames[chosen], strict=True)
        for at, (before, after) in enumerate(pairs):
            span_s = float(clip.times[after] - clip.times[before])
            faces = clip.faces[before], clip.faces[after]
            if not depth or clip.depth is None:
                planes[at] = measure(*faces, span_s)
                continue
            found = measure.scene(*faces, (clip.depth[before], clip.depth[after]), span_s)
            known[at] = found is not None
            planes[at] = 0 if found is None else found
        return FrameSamples(planes[known], self.micro[chosen][known], self.emotion[chosen][known])
