"""Recognition from the onset→apex flow, part by part of the face."""

from __future__ import annotations

from pathlib import Path

from engines.motion.tvl1 import TvL1Flow
from engines.network_files import INPUT_NAME, RecognitionManifest, open_network
from engines.recognition.base import EventClip, Recognition
from engines.recognition.ststnet.recognizer import as_recognition, event_planes
from engines.recognition.ststnet.representation import PREPROCESSING

OUTPUT_NAME = "probabilities"


class PartsRecognizer:
    """Kernel ridge regression over parts of the face on TV-L1 flow; see the model card.

    Sees the flow picture that STSTNet sees.
    """

    name = "parts"

    def __init__(self, folder: Path = Path(__file__).parent, backend: str = "auto") -> None:
        """Load the network.

        Args:
            folder: Folder of `parts.onnx` and its manifest `parts.json`.
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
        self._flow = TvL1Flow()

    def recognize(self, clip: EventClip) -> Recognition:
        """Recognise the emotion of one event from its onset→apex flow.

        Args:
            clip: The event's aligned faces.

        Returns:
            The most probable class and calibrated probabilities. A clip without any motion gives
            the network's answer to nothing; such an event never reaches recognition.
        """
        output = self._graph.run({INPUT_NAME: event_planes(clip, self._flow)})[OUTPUT_NAME]
        return as_recognition(self.classes, output[0])

    def close(self) -> None:
        """Close the network."""
        self._graph.close()
