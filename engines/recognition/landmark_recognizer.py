"""Recognition by a graph of facial landmarks on the flow picture that STSTNet sees."""

from __future__ import annotations

from pathlib import Path

from engines.recognition.ststnet.recognizer import FlowPictureRecognizer


class LandmarkRecognizer(FlowPictureRecognizer):
    """Landmark graph fused with action units; see the model card in `au-landmark`."""

    def __init__(
        self, folder: Path = Path(__file__).parent / "au-landmark", backend: str = "auto"
    ) -> None:
        super().__init__(folder, "au-landmark", backend)
