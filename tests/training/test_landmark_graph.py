"""The landmark graph: its patches, its training, its export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

import torch

from engines.network_files import RecognitionManifest
from engines.recognition.ststnet.representation import COLUMNS, ROWS, mirror, standardise
from engines.runtime import open_graph
from engines.training import au_landmark
from engines.training.au_landmark import NAME, Deployed, Recipe, UnitPictures, answer, fit
from engines.training.composite3 import CLASSES, Composite3
from engines.training.folds import grouped
from engines.training.networks.landmark_graph import LANDMARKS, PATCH, LandmarkGraph, patch_cells
from engines.training.networks.unit_graph import UNITS


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Flow that differs between classes: brows up, mouth up, chin up."""
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 0.2, (count, 28, 28, 3)).astype(np.float32)
    for number, picture in enumerate(found):
        rows = ((3, 7), (16, 20), (22, 26))[number % 3]
        picture[rows[0] : rows[1], 6:22, 1] -= 2
    return standardise(found)


def coded(count: int) -> UnitPictures:
    planes = pictures(count, seed=9)
    presence = np.zeros((count, len(UNITS)), np.float32)
    presence[np.arange(count), np.array([0, 8, 11])[np.arange(count) % 3]] = 1
    return UnitPictures(planes, presence)


def test_patches_lie_at_their_landmarks() -> None:
    cells = patch_cells().numpy().reshape(len(LANDMARKS), PATCH, PATCH)
    for (x, y), patch in zip(LANDMARKS, cells, strict=True):
        row, column = divmod(patch[PATCH // 2, PATCH // 2], 28)
        assert COLUMNS[column] == pytest.approx(x, abs=1.6)
        assert ROWS[row] == pytest.approx(y, abs=2.1)
    assert cells.min() >= 0
    assert cells.max() < 28 * 28


def test_learns_emotions_of_people_and_units_of_animations() -> None:
    planes, labels = pictures(60), np.arange(60) % 3
    recipe = Recipe(epochs=15, batch=16)
    network = fit(planes, labels, coded(30), recipe, seed=0)
    emotions, _ = answer(network, pictures(30, seed=1))
    assert (emotions.argmax(axis=1) == np.arange(30) % 3).mean() > 0.9
    with torch.no_grad():
        _, units = Deployed([network], 1.0)(torch.from_numpy(pictures(3, seed=2)))
    assert units[0, 0] > units[1, 0]
    assert units[1, 8] > units[0, 8]
    again = fit(planes, labels, coded(30), recipe, seed=0)
    np.testing.assert_array_equal(answer(again, planes)[0], answer(network, planes)[0])


def test_a_mirrored_face_gets_the_same_answer() -> None:
    deployed = Deployed([LandmarkGraph(3).eval()], 1.0)
    planes = pictures(4)
    turned = np.ascontiguousarray(mirror(planes))
    with torch.no_grad():
        for one, other in zip(
            deployed(torch.from_numpy(planes)), deployed(torch.from_numpy(turned)), strict=True
        ):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_export_writes_a_working_engine(tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    data = Composite3(
        pictures=rng.integers(0, 255, (24, 28, 28, 3)).astype(np.uint8),
        labels=np.arange(24) % 3,
        subjects=np.array([f"smic/s{n // 4}" for n in range(24)]),
        datasets=np.array(["smic"] * 12 + ["casme2"] * 6 + ["samm"] * 6),
        names=np.array([f"s{n // 4}_{n}" for n in range(24)]),
        sha256="0" * 64,
    )
    monkeypatch.setattr(au_landmark, "draw_units", lambda count, seed: coded(min(count, 30)))
    report = au_landmark.evaluate(data, Recipe(epochs=1), [0], groups=2)
    assert report["folds"] == 2
    assert np.array(report["probabilities"]).shape == (24, 3)
    au_landmark.export(data, report, tmp_path / NAME, "python -m made_up")
    manifest = RecognitionManifest.model_validate_json(
        (tmp_path / NAME / f"{NAME}.json").read_bytes()
    )
    assert manifest.classes == CLASSES
    assert manifest.action_units == UNITS
    with open_graph(tmp_path / NAME / f"{NAME}.onnx", "onnx") as graph:
        found = graph.run({"planes": pictures(2)})
    assert found["probabilities"].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert found["action_units"].shape == (2, len(UNITS))
    card = (tmp_path / NAME / "model_card.md").read_text()
    assert "2 folds of people" in card
    assert json.loads((tmp_path / NAME / f"{NAME}.json").read_text())["sha256"] == manifest.sha256
    assert "Not on people." in card


def test_groups_keep_subjects_together() -> None:
    subjects = np.array([f"s{n % 17}" for n in range(200)])
    found = grouped(subjects, 5)
    assert len(set(found)) == 5
    assert all(len(set(found[subjects == who])) == 1 for who in set(subjects))
    assert grouped(subjects, None) is subjects
