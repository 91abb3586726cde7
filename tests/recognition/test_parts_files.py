"""What ships with `parts`, and what happens when it is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engines.errors import EngineError
from engines.network_files import INPUT_NAME
from engines.recognition.parts import recognizer as parts
from engines.recognition.parts.recognizer import OUTPUT_NAME, PartsRecognizer
from engines.recognition.ststnet.representation import mirror, standardise
from engines.runtime import open_graph

SHIPPED = Path(parts.__file__).parent


def test_the_shipped_files_agree_with_each_other() -> None:
    manifest = json.loads((SHIPPED / "parts.json").read_text("utf-8"))
    with open_graph(SHIPPED / "parts.onnx", "onnx") as graph:
        assert list(graph.inputs) == [manifest["input"]["name"]]
        assert list(graph.outputs) == [manifest["output"]["name"]]
        assert graph.outputs[OUTPUT_NAME].shape[1] == len(manifest["classes"])
    assert (SHIPPED / "model_card.md").read_text("utf-8").count("UF1") > 1


def test_a_face_and_its_mirror_image_get_the_same_answer() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3), np.uint8)
    planes = standardise(pictures)
    with open_graph(SHIPPED / "parts.onnx", "onnx") as graph:
        direct, turned = (
            graph.run({INPUT_NAME: np.ascontiguousarray(each)})[OUTPUT_NAME]
            for each in (planes, mirror(planes))
        )
    np.testing.assert_allclose(direct, turned, atol=1e-5)


def test_a_model_of_another_representation_is_refused(tmp_path: Path) -> None:
    for name in ("parts.onnx", "parts.json"):
        shutil.copy(SHIPPED / name, tmp_path / name)
    manifest = json.loads((tmp_path / "parts.json").read_text("utf-8"))
    manifest["preprocessing"] = {"crop_x": [0, 128]}
    (tmp_path / "parts.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(EngineError, match="another flow representation"):
        PartsRecognizer(tmp_path)
