"""Training from the command line, end to end, on data of its own and on the real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.errors import UserError
from engines.recognition.ststnet.recognizer import StstnetRecognizer
from engines.recognition.ststnet.representation import standardise
from engines.training.composite3 import load_composite3
from engines.training.ststnet import main

REAL_DATA = Path(__file__).parents[3] / "shared" / "data" / "composite3"


@pytest.fixture
def small_data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "small.npz"
    np.savez(
        path,
        flow=rng.integers(0, 256, (24, 28, 28, 3), np.uint8),
        label=(np.arange(24) % 3).astype(np.int8),
        subject=np.array([f"{i // 4}" for i in range(24)]),
        dataset=np.repeat(["smic", "casme2", "samm"], 8),
        name=np.array([str(i) for i in range(24)]),
    )
    return path


def test_evaluation_then_export_gives_a_recogniser(small_data: Path, tmp_path: Path) -> None:
    report, out = tmp_path / "loso.json", tmp_path / "engine"
    common = ["--data", str(small_data), "--report", str(report)]
    assert main(["loso", *common, "--seeds", "0", "7", "--epochs", "1"]) == 0
    figures = json.loads(report.read_text("utf-8"))
    assert figures["seeds"] == [0, 7]
    assert figures["ensemble"]["composite"]["samples"] == 24
    assert len(figures["single"]) == 2
    assert main(["export", *common, "--out", str(out)]) == 0
    engine = StstnetRecognizer(out)
    assert engine.classes == ("negative", "positive", "surprise")
    card = (out / "model_card.md").read_text("utf-8")
    assert "Seeds 0, 7" in card
    assert "loso --data" in card


def test_export_refuses_a_report_of_other_data(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "loso.json"
    common = ["--data", str(small_data), "--report", str(report)]
    main(["loso", *common, "--seeds", "0", "--epochs", "1"])
    figures = json.loads(report.read_text("utf-8")) | {"data_sha256": "0" * 64}
    report.write_text(json.dumps(figures), "utf-8")
    assert main(["export", *common, "--out", str(tmp_path / "engine")]) == 2
    assert "other data" in capsys.readouterr().err
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_unreadable_data_is_one_clear_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "data.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"data\.npz"):
        load_composite3(path)


def test_data_without_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, flow=np.zeros((1, 28, 28, 3), np.uint8))
    with pytest.raises(UserError, match="label"):
        load_composite3(path)


@pytest.mark.shared_data
@pytest.mark.skipif(not REAL_DATA.exists(), reason=f"no data set in {REAL_DATA}")
def test_the_real_data_are_what_the_representation_assumes() -> None:
    data = load_composite3(REAL_DATA)
    assert len(data.labels) == 442
    assert len(np.unique(data.subjects)) == 68
    assert np.bincount(data.labels).tolist() == [250, 109, 83]
    assert np.all(data.pictures.min(axis=(1, 2)) == 0)
    assert np.all(data.pictures.max(axis=(1, 2)) == 255)
    planes = standardise(data.pictures)
    smile = planes[data.labels == 1].mean(axis=0)
    brows = planes[data.labels == 2].mean(axis=0)
    # Image coordinates: a smile moves the mouth corners apart and up, surprise the brows up.
    assert smile[0, 12:18, :8].mean() < -0.3
    assert smile[0, 12:18, 20:].mean() > 0.3
    assert smile[1, 16:21, 5:9].mean() < -0.3
    assert smile[1, 16:21, 19:23].mean() < -0.3
    assert brows[1, 2:6, 4:24].mean() < -0.5


@pytest.mark.shared_data
@pytest.mark.skipif(not REAL_DATA.exists(), reason=f"no data set in {REAL_DATA}")
def test_the_third_channel_of_the_real_data_is_optical_strain() -> None:
    data = load_composite3(REAL_DATA)
    correlations = []
    for picture in data.pictures.astype(np.float64):
        u_y, u_x = np.gradient(picture[..., 0])
        v_y, v_x = np.gradient(picture[..., 1])
        strain = picture[..., 2]
        # Scales of u and v are lost, so the terms of the squared norm are weighted by a fit.
        terms = np.stack([u_x**2, v_y**2, u_y**2, v_x**2, u_y * v_x, np.ones_like(u_x)], axis=-1)
        weights = np.linalg.lstsq(terms.reshape(-1, 6), strain.ravel() ** 2, rcond=None)[0]
        fitted = np.sqrt(np.maximum(terms @ weights, 0))
        correlations.append(np.corrcoef(fitted.ravel(), strain.ravel())[0, 1])
    assert np.median(correlations) > 0.85
