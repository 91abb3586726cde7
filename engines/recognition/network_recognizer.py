"""Recognisers with a network that reads flow over 0.1 s: MEAN and SFAMNet.

The flows that end between the apex and a little before it are all shown to the network, and their
logits averaged: the causal form of the published vote over the frames up to the peak.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from calibration.temperature import probabilities
from engines.errors import EngineError
from engines.events import Explanation
from engines.motion.planes import (
    COLUMNS,
    PLANES_SIZE,
    ROWS,
    SPAN_S,
    PairPlanes,
    preprocessing_of,
)
from engines.network_files import INPUT_NAME
from engines.recognition.base import EventClip, Recognition, name_emotion
from engines.recognition.explanation import (
    LEAST_SHARE,
    blame,
    log_odds,
    named_regions,
    region_centres,
    region_masks,
)
from engines.recognition.graph_recognizer import GraphRecognizer
from engines.runtime import GraphRunner

OUTPUT_NAME = "logits"

VOTE_S = 0.1
"""Flows that end this long before the apex, and up to it, are averaged."""

_EPSILON_S = 1e-6


class NetworkRecognizer(GraphRecognizer):
    """A recognition network over the flows of an event.

    Args:
        folder: Where the engine's files lie; its name is the engine's.
        backend: What runs the network, one of `engines.runtime.BACKENDS`.

    Raises:
        EngineError: A file is missing or corrupt, or made for another flow representation.
    """

    depth: ClassVar[bool] = False

    def __init__(self, folder: Path, backend: str = "auto") -> None:
        super().__init__(folder, folder.name, preprocessing_of(self.depth), backend)
        self._seen: tuple[EventClip, npt.NDArray[np.float32]] | None = None

    def recognize(self, clip: EventClip) -> Recognition:
        """Recognise the emotion of one event.

        Args:
            clip: The event's aligned faces.

        Returns:
            The emotion and calibrated probabilities. A clip without any motion gives the network's
            answer to nothing; such an event never reaches recognition.
        """
        logits = self._logits(self._planes(clip)).mean(axis=0, keepdims=True)
        shares = probabilities(logits, self._temperature)[0]
        return name_emotion(self.classes, shares, self._unsure_below)

    def explain(self, clip: EventClip, answer: Recognition) -> Explanation:
        """Tell which regions and moments carried an answer; see `engines.recognition.base`."""
        planes = self._planes(clip)
        masks = region_masks(region_centres(clip), COLUMNS, ROWS)
        answered = self.classes.index(answer.most_probable)

        def odds(logits: npt.NDArray[np.float64]) -> float:
            return float(log_odds(logits.mean(axis=0, keepdims=True), answered)[0])

        each = self._logits(planes)
        without = [odds(self._logits(planes * (1 - mask))) for mask in masks]
        regions = named_regions(blame(odds(each), np.array(without)))
        if len(each) == 1:
            return Explanation(regions)
        left_out = np.array([odds(np.delete(each, at, axis=0)) for at in range(len(each))])
        moments = zip(clip.times_s[_voters(clip)], blame(odds(each), left_out), strict=True)
        return Explanation(
            regions, tuple((float(t), float(share)) for t, share in moments if share >= LEAST_SHARE)
        )

    def _logits(self, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(N, C) logits of every flow, without *neutral*."""
        logits = self._graph.run({INPUT_NAME: planes})[OUTPUT_NAME]
        return logits[:, : len(self.classes)].astype(np.float64)

    def _planes(self, clip: EventClip) -> npt.NDArray[np.float32]:
        """What the network sees of a clip; of the last one that it answered, not measured again."""
        if self._seen is None or self._seen[0] is not clip:
            self._seen = clip, event_planes(clip, depth=self.depth)
        return self._seen[1]


class DepthRecognizer(NetworkRecognizer):
    """A recognition network that sees depth change in place of strain."""

    depth = True


def average_logits(
    graph: GraphRunner, clip: EventClip, *, depth: bool = False
) -> npt.NDArray[np.float64]:
    """Mean logits of the flows that lead to an event's apex.

    Args:
        graph: A recognition network.
        clip: The event's aligned faces.
        depth: Whether the network sees depth change.

    Returns:
        (C,) float64, *neutral* included where the network has it.
    """
    logits = graph.run({INPUT_NAME: event_planes(clip, depth=depth)})[OUTPUT_NAME]
    return np.asarray(logits.mean(axis=0, dtype=np.float64))


def event_planes(clip: EventClip, *, depth: bool = False) -> npt.NDArray[np.float32]:
    """The planes of the flows that lead to an event's apex.

    Args:
        clip: The event's aligned faces.
        depth: Make depth change the third plane, not strain.

    Returns:
        (N, 3, 42, 42) float32, N at least 1. A flow spans 0.1 s, or what there is of it before a
        frame in the clip; zeros for a clip that begins with its apex, and for a pair of faces
        whose depth maps show too little.

    Raises:
        EngineError: Depth is asked for, and the clip has none.
    """
    if depth and clip.depths is None:
        raise EngineError("This event has no depth pictures: choose another recogniser.")
    measure = PairPlanes()
    times, chosen = clip.times_s, _voters(clip)
    planes = np.zeros((len(chosen), 3, PLANES_SIZE, PLANES_SIZE), np.float32)
    for out, after in zip(planes, chosen, strict=True):
        before = max(
            int(np.searchsorted(times, times[after] - SPAN_S + _EPSILON_S, "right")) - 1, 0
        )
        if before >= after:
            continue
        faces, span_s = (clip.faces[before], clip.faces[after]), float(times[after] - times[before])
        if depth and clip.depths is not None:
            measure.scene(*faces, (clip.depths[before], clip.depths[after]), span_s, out)
        else:
            measure(*faces, span_s, out)
    return planes


def _voters(clip: EventClip) -> npt.NDArray[np.intp]:
    """Positions at which the flows end that are shown to the network, at least one."""
    times, apex_s = clip.times_s, clip.times_s[clip.apex]
    voters = np.flatnonzero((times >= apex_s - VOTE_S - _EPSILON_S) & (times <= apex_s))
    whole = voters[times[voters] - times[0] >= SPAN_S - _EPSILON_S]
    return whole if len(whole) else voters[-1:]
