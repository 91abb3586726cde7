"""Recognition from the onset→apex flow by STSTNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.events import Explanation
from engines.motion.tvl1 import TvL1Flow
from engines.network_files import INPUT_NAME
from engines.recognition.base import EventClip, Recognition, steady_face
from engines.recognition.explanation import (
    blame,
    log_odds,
    named_regions,
    region_centres,
    region_masks,
)
from engines.recognition.graph_recognizer import GraphRecognizer
from engines.recognition.ststnet.representation import (
    COLUMNS,
    PREPROCESSING,
    ROWS,
    WINDOW,
    flow_picture,
    standardise,
)

MODEL_FILE = "ststnet.onnx"
MANIFEST_FILE = "ststnet.json"
OUTPUT_NAME = "probabilities"

_TINY = np.float32(1e-30)


class FlowPictureRecognizer(GraphRecognizer):
    """A network that sees the onset→apex TV-L1 flow of an event as one picture."""

    def __init__(self, folder: Path, name: str, backend: str) -> None:
        super().__init__(folder, name, PREPROCESSING, backend)
        self._flow = TvL1Flow()
        self._seen: tuple[EventClip, npt.NDArray[np.float32]] | None = None

    def recognize(self, clip: EventClip) -> Recognition:
        """Recognise the emotion of one event from its onset→apex flow.

        Args:
            clip: The event's aligned faces.

        Returns:
            The emotion and calibrated probabilities. A clip without any motion gives the network's
            answer to nothing; such an event never reaches recognition.
        """
        outputs = self.outputs(clip)
        return self._named(outputs[OUTPUT_NAME][0], outputs)

    def outputs(self, clip: EventClip) -> dict[str, npt.NDArray[np.float32]]:
        """Everything that the network gives of an event: name to (1, …) float32."""
        self._seen = clip, event_planes(clip, self._flow)
        return self._graph.run({INPUT_NAME: self._seen[1]})

    def explain(self, clip: EventClip, answer: Recognition) -> Explanation:
        """Tell which regions carried an answer; see `engines.recognition.base.Explains`."""
        planes = self._planes(clip)
        masks = region_masks(region_centres(clip), COLUMNS, ROWS)
        occluded = np.concatenate([planes, planes * (1 - masks[:, np.newaxis])])
        # One at a time: a plan on a GPU takes one picture.
        shares = np.concatenate([self._shares(each[np.newaxis]) for each in occluded])
        odds = log_odds(np.log(np.maximum(shares, _TINY)), self.classes.index(answer.most_probable))
        return Explanation(named_regions(blame(odds[0], odds[1:])))

    def _shares(self, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._graph.run({INPUT_NAME: planes})[OUTPUT_NAME]

    def _planes(self, clip: EventClip) -> npt.NDArray[np.float32]:
        """What the network sees of a clip; of the last one that it answered, not measured again."""
        if self._seen is None or self._seen[0] is not clip:
            self._seen = clip, event_planes(clip, self._flow)
        return self._seen[1]


class StstnetRecognizer(FlowPictureRecognizer):
    """STSTNet (Liong et al., FG 2019); see the model card beside this file."""

    def __init__(self, folder: Path = Path(__file__).parent, backend: str = "auto") -> None:
        super().__init__(folder, "ststnet", backend)


def event_planes(clip: EventClip, flow: TvL1Flow) -> npt.NDArray[np.float32]:
    """The standardised onset→apex flow picture of an event.

    Args:
        clip: The event's aligned faces.
        flow: The optical flow.

    Returns:
        (1, 3, 28, 28) float32.
    """
    onset, apex = (steady_face(clip, position)[WINDOW] for position in (clip.onset, clip.apex))
    return standardise(flow_picture(flow(onset, apex))[np.newaxis])
