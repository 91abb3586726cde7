"""Recognition from the onset→apex flow by STSTNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.motion.tvl1 import TvL1Flow
from engines.network_files import INPUT_NAME, RecognitionManifest, open_network
from engines.recognition.base import EventClip, Recognition, name_emotion, steady_face
from engines.recognition.ststnet.representation import (
    PREPROCESSING,
    WINDOW,
    flow_picture,
    standardise,
)

MODEL_FILE = "ststnet.onnx"
MANIFEST_FILE = "ststnet.json"
OUTPUT_NAME = "probabilities"


class FlowPictureRecognizer:
    """A network that sees the onset→apex TV-L1 flow of an event as one picture."""

    name: str

    def __init__(self, folder: Path, backend: str) -> None:
        """Load the network.

        Args:
            folder: Folder of the network and its manifest, both named as the engine is.
            backend: What runs the network, one of `engines.runtime.BACKENDS`.

        Raises:
            EngineError: A file is missing or corrupt, or the model is not the manifest's, or it
                was trained on another representation than this code makes.
        """
        manifest, self._graph = open_network(
            folder, self.name, RecognitionManifest, PREPROCESSING, backend
        )
        self.version = manifest.version
        self.classes = manifest.classes
        self.model_sha256: str | None = manifest.sha256
        self.backend = self._graph.backend
        self.fallback = self._graph.fallback
        self._unsure_below = manifest.unsure_below
        self._flow = TvL1Flow()

    def recognize(self, clip: EventClip) -> Recognition:
        """Recognise the emotion of one event from its onset→apex flow.

        Args:
            clip: The event's aligned faces.

        Returns:
            The emotion and calibrated probabilities. A clip without any motion gives the network's
            answer to nothing; such an event never reaches recognition.
        """
        planes = event_planes(clip, self._flow)
        output = self._graph.run({INPUT_NAME: planes})[OUTPUT_NAME]
        return name_emotion(self.classes, output[0], self._unsure_below)

    def close(self) -> None:
        """Close the network."""
        self._graph.close()


class StstnetRecognizer(FlowPictureRecognizer):
    """STSTNet (Liong et al., FG 2019); see the model card beside this file."""

    name = "ststnet"

    def __init__(self, folder: Path = Path(__file__).parent, backend: str = "auto") -> None:
        super().__init__(folder, backend)


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
