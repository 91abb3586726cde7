"""Recognition from the onset→apex flow by STSTNet, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from engines.errors import EngineError
from engines.motion.tvl1 import TvL1Flow
from engines.recognition.base import EventClip, Recognition
from engines.recognition.ststnet.representation import PREPROCESSING, flow_picture, standardise

MODEL_FILE = "ststnet.onnx"
MANIFEST_FILE = "ststnet.json"
INPUT_NAME = "planes"
OUTPUT_NAME = "probabilities"

STEADY_S = 0.01
"""Frames this near to the onset (or the apex) are averaged with it against sensor noise."""


class StstnetRecognizer:
    """STSTNet (Liong et al., FG 2019) on TV-L1 flow; see the model card beside this file."""

    name = "ststnet"

    def __init__(self, folder: Path = Path(__file__).parent) -> None:
        """Load the network.

        Args:
            folder: Folder of `ststnet.onnx` and its manifest `ststnet.json`.

        Raises:
            EngineError: A file is missing or corrupt, or the model is not the manifest's, or it
                was trained on another representation than this code makes.
        """
        try:
            manifest = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
            model = (folder / MODEL_FILE).read_bytes()
        except OSError as error:
            raise EngineError(
                f"The recogniser's file {error.filename} cannot be read; reinstall Glint, or "
                f"export it with python -m engines.training.ststnet export."
            ) from error
        except ValueError as error:
            raise EngineError(
                f"The recogniser's manifest {folder / MANIFEST_FILE} is corrupt; reinstall Glint."
            ) from error
        self.model_sha256: str | None = hashlib.sha256(model).hexdigest()
        if self.model_sha256 != manifest.get("sha256"):
            raise EngineError(
                f"{folder / MODEL_FILE} is not the file its manifest describes (another SHA-256); "
                f"reinstall Glint or export the model anew."
            )
        if manifest.get("preprocessing") != PREPROCESSING:
            raise EngineError(
                f"{folder / MODEL_FILE} was trained on another flow representation than this "
                f"version of Glint makes; export the model anew."
            )
        self.version: str = manifest["version"]
        self.classes: tuple[str, ...] = tuple(manifest["classes"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's own errors derive from Exception only
            raise EngineError(
                f"ONNX Runtime cannot load {folder / MODEL_FILE}; reinstall Glint or export the "
                f"model anew."
            ) from error
        self._flow = TvL1Flow()

    def recognize(self, clip: EventClip) -> Recognition:
        """Recognise the emotion of one event from its onset→apex flow.

        Args:
            clip: The event's aligned faces.

        Returns:
            The most probable class and calibrated probabilities. A clip without any motion gives
            the network's answer to nothing; such an event never reaches recognition.
        """
        flow = self._flow(_steady(clip, clip.onset), _steady(clip, clip.apex))
        planes = standardise(flow_picture(flow)[np.newaxis])
        (output,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: planes})
        probabilities = output[0].astype(np.float64)
        probabilities /= probabilities.sum()
        return Recognition(
            emotion=self.classes[int(probabilities.argmax())],
            probabilities=dict(zip(self.classes, probabilities.tolist(), strict=True)),
        )

    def close(self) -> None:
        """Nothing to release: the session ends with the object."""


def _steady(clip: EventClip, position: int) -> npt.NDArray[np.float32]:
    """Mean face around a position of the clip, (128, 128) float32."""
    near = np.abs(clip.times_s - clip.times_s[position]) <= STEADY_S
    mean: npt.NDArray[np.float32] = clip.faces[near].mean(axis=0, dtype=np.float32)
    return mean
