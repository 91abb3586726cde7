"""Recognition from the onset→apex flow, part by part of the face."""

from __future__ import annotations

from pathlib import Path

from engines.recognition.ststnet.recognizer import FlowPictureRecognizer

OUTPUT_NAME = "probabilities"


class PartsRecognizer(FlowPictureRecognizer):
    """Kernel ridge regression over parts of the face; see the model card beside this file.

    Sees the flow picture that STSTNet sees.
    """

    def __init__(self, folder: Path = Path(__file__).parent, backend: str = "auto") -> None:
        super().__init__(folder, "parts", backend)
