"""Recognisers whose network reads the raw faces of an event: MOL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from calibration.temperature import probabilities
from engines.events import Explanation
from engines.motion.canonical import FACE_SIZE
from engines.recognition.base import EventClip, Recognition
from engines.recognition.explanation import (
    LEAST_SHARE,
    blame,
    log_odds,
    named_regions,
    region_centres,
    region_masks,
)
from engines.recognition.graph_recognizer import GraphRecognizer
from engines.recognition.sequences import FRAMES, PREPROCESSING, event_sequence, instants

INPUT_NAME = "faces"
OUTPUT_NAME = "logits"
FLOW_NAME = "flow"
LANDMARKS_NAME = "landmarks"


class SequenceRecognizer(GraphRecognizer):
    """A recognition network over eight faces of an event.

    Args:
        folder: Where the engine's files lie; its name is the engine's.
        backend: What runs the network, one of `engines.runtime.BACKENDS`.

    Raises:
        EngineError: A file is missing or corrupt, or made for other sequences.
    """

    def __init__(self, folder: Path, backend: str = "auto") -> None:
        super().__init__(folder, folder.name, PREPROCESSING, backend)

    def recognize(self, clip: EventClip) -> Recognition:
        """Recognise the emotion of one event.

        Args:
            clip: The event's aligned faces; its apex is not looked at.

        Returns:
            The emotion and calibrated probabilities. A clip without any motion gives the network's
            answer to nothing; such an event never reaches recognition.
        """
        outputs = self.outputs(clip)
        shares = probabilities(outputs[OUTPUT_NAME].astype(np.float64), self._temperature)[0]
        return self._named(shares, outputs)

    def explain(self, clip: EventClip, answer: Recognition) -> Explanation:
        """Tell which regions and moments carried an answer; see `engines.recognition.base`.

        A region is taken out by leaving it as it was at the onset, a moment by staying at the face
        before it: two dozen runs of the network.
        """
        faces, answered = event_sequence(clip), self.classes.index(answer.most_probable)
        outputs = self._graph.run({INPUT_NAME: faces[np.newaxis]})

        def odds(seen: npt.NDArray[np.float32]) -> float:
            logits = self._graph.run({INPUT_NAME: seen[np.newaxis]})[OUTPUT_NAME]
            return float(log_odds(logits, answered)[0])

        whole = float(log_odds(outputs[OUTPUT_NAME], answered)[0])
        places = np.arange(float(FACE_SIZE))
        masks = region_masks(region_centres(clip), places, places)
        still = [odds(faces + mask * (faces[:1] - faces)) for mask in masks]
        shares = blame(whole, np.array([odds(_without(faces, at)) for at in range(1, FRAMES)]))
        times = instants(clip.times_s[clip.onset], clip.times_s[-1])[1:]
        return Explanation(
            named_regions(blame(whole, np.array(still))),
            tuple(
                (float(time_s), float(share))
                for time_s, share in zip(times, shares, strict=True)
                if share >= LEAST_SHARE
            ),
            seen_movements(outputs),
        )

    def outputs(self, clip: EventClip) -> dict[str, npt.NDArray[np.float32]]:
        """Everything that the network gives of an event: logits, and what it was exported with.

        Args:
            clip: The event's aligned faces.

        Returns:
            Name to (1, …) float32: `logits`; of MOL with its heads also `flow` (1, 7, 2, 16, 16)
            in canonical pixels from face to face, and `landmarks` (1, 7, 68, 2) in the later face
            of each pair.
        """
        return self._graph.run({INPUT_NAME: event_sequence(clip)[np.newaxis]})


def seen_movements(
    outputs: Mapping[str, npt.NDArray[np.float32]],
) -> tuple[tuple[float, float, float, float], ...]:
    """Landmarks and their movement as the heads of a network saw them.

    Args:
        outputs: What the network gave of one event.

    Returns:
        As `engines.events.Explanation.movements`: landmarks of the last face, and the flow there,
        summed over all pairs of faces.
    """
    if not {FLOW_NAME, LANDMARKS_NAME} <= outputs.keys():
        return ()
    landmarks = outputs[LANDMARKS_NAME][0, -1]
    flow = np.ascontiguousarray(outputs[FLOW_NAME][0].sum(axis=0).transpose(1, 2, 0))
    across, down = ((landmarks + 0.5) * (len(flow) / FACE_SIZE) - 0.5).T[..., np.newaxis]
    moved = cv2.remap(flow, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    return tuple(
        (float(x), float(y), float(dx), float(dy))
        for (x, y), (dx, dy) in zip(landmarks, moved, strict=True)
    )


def _without(faces: npt.NDArray[np.float32], moment: int) -> npt.NDArray[np.float32]:
    """The sequence with the face before a moment in its place."""
    seen = faces.copy()
    seen[moment] = seen[moment - 1]
    return seen
