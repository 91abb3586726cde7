"""What recognisers with a network have in common: its files, what is known of it, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.network_files import UNITS_NAME, RecognitionManifest, open_network
from engines.recognition.base import Recognition, name_emotion


class GraphRecognizer:
    """Base of the recognisers that run an exported network.

    Args:
        folder: Where the network and its manifest lie.
        name: What both are named, and the engine.
        preprocessing: The representation that the recogniser makes.
        backend: What runs the network, one of `engines.runtime.BACKENDS`.

    Raises:
        EngineError: A file is missing or corrupt, the model is not the manifest's, or it was
            trained on another representation.
    """

    def __init__(
        self, folder: Path, name: str, preprocessing: Mapping[str, object], backend: str
    ) -> None:
        manifest, self._graph = open_network(
            folder, name, RecognitionManifest, preprocessing, backend
        )
        self.name = name
        self.version = manifest.version
        self.classes = manifest.classes
        self.model_sha256: str | None = manifest.sha256
        self.backend = self._graph.backend
        self.fallback = self._graph.fallback
        self._temperature = manifest.temperature
        self._unsure_below = manifest.unsure_below
        self._units = tuple(f"AU{number}" for number in manifest.action_units)

    def _named(
        self,
        shares: npt.NDArray[np.floating[Any]],
        outputs: Mapping[str, npt.NDArray[np.float32]],
    ) -> Recognition:
        """Put an answer into words.

        Args:
            shares: (C,) calibrated probabilities of the classes.
            outputs: What the network gave of this one event.

        Returns:
            The emotion, and the network's action units where it gives them.
        """
        answer = name_emotion(self.classes, shares, self._unsure_below)
        if not self._units:
            return answer
        seen = outputs[UNITS_NAME][0].tolist()
        return replace(answer, unit_probabilities=dict(zip(self._units, seen, strict=True)))

    def close(self) -> None:
        """Close the network."""
        self._graph.close()
