"""What ships with STSTNet, and what happens when it is damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from engines.errors import EngineError
from engines.recognition.ststnet import recognizer as ststnet
from engines.recognition.ststnet.recognizer import MANIFEST_FILE, MODEL_FILE, StstnetRecognizer
from engines.runtime import open_graph

SHIPPED = Path(ststnet.__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (MODEL_FILE, MANIFEST_FILE):
        shutil.copy(SHIPPED / name, tmp_path / name)
    return tmp_path


def one_sentence(error: pytest.ExceptionInfo[EngineError]) -> bool:
    message = str(error.value)
    return message.endswith(".") and "\n" not in message and ". " not in message


def rewrite_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def test_the_shipped_files_agree_with_each_other() -> None:
    manifest = json.loads((SHIPPED / MANIFEST_FILE).read_text("utf-8"))
    with open_graph(SHIPPED / MODEL_FILE, "onnx") as graph:
        for spec, role in ((*graph.inputs.values(), "input"), (*graph.outputs.values(), "output")):
            shape = [None if isinstance(n, str) else n for n in manifest[role]["shape"]]
            assert [spec.name, list(spec.shape)] == [manifest[role]["name"], shape]
            assert spec.dtype.name == manifest[role]["type"]
    assert manifest["sha256"] == hashlib.sha256((SHIPPED / MODEL_FILE).read_bytes()).hexdigest()
    assert (SHIPPED / "model_card.md").read_text("utf-8").count("UF1") > 1


@pytest.mark.parametrize("name", [MODEL_FILE, MANIFEST_FILE])
def test_a_missing_file_is_one_clear_sentence(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(EngineError, match=name) as error:
        StstnetRecognizer(folder)
    assert one_sentence(error)


@pytest.mark.parametrize("content", [b"", b"not json", b"\xff\xfe\x00", b"[]", b"{}"])
def test_a_corrupt_manifest_is_one_clear_sentence(folder: Path, content: bytes) -> None:
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(EngineError) as error:
        StstnetRecognizer(folder)
    assert one_sentence(error)


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_truncated_model_is_one_clear_sentence(folder: Path, keep: int) -> None:
    model = folder / MODEL_FILE
    model.write_bytes(model.read_bytes()[:keep])
    with pytest.raises(EngineError, match="SHA-256") as error:
        StstnetRecognizer(folder)
    assert one_sentence(error)


def test_a_file_that_is_no_model_is_one_clear_sentence(folder: Path) -> None:
    content = b"this is not a network"
    (folder / MODEL_FILE).write_bytes(content)
    rewrite_manifest(folder, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(EngineError, match="ONNX Runtime cannot load") as error:
        StstnetRecognizer(folder)
    assert one_sentence(error)


def test_a_model_of_another_representation_is_refused(folder: Path) -> None:
    rewrite_manifest(folder, preprocessing={"crop_x": [0, 128]})
    with pytest.raises(EngineError, match="another flow representation") as error:
        StstnetRecognizer(folder)
    assert one_sentence(error)


@pytest.mark.parametrize("missing", ["version", "classes"])
def test_an_incomplete_manifest_is_one_clear_sentence(folder: Path, missing: str) -> None:
    path = folder / MANIFEST_FILE
    manifest = json.loads(path.read_text("utf-8"))
    del manifest[missing]
    path.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(EngineError, match="manifest") as error:
        StstnetRecognizer(folder)
    assert one_sentence(error)
