"""Training `parts` from the command line, end to end, on data of its own."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.evaluation.__main__ import main as evaluation
from engines.recognition.parts.recognizer import PartsRecognizer
from engines.training import parts
from engines.training.flow_pictures import draw_pictures
from engines.training.nested_parts import recipes


@pytest.fixture
def small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(parts, "draw_pictures", partial(draw_pictures, faces=1))
    few = recipes()[::6]
    monkeypatch.setattr(parts, "recipes", lambda: few)
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


def test_evaluation_then_export_gives_a_recogniser(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, out = tmp_path / "loso.json", tmp_path / "parts"
    common = ["--data", str(small_data), "--report", str(report)]
    assert parts.main(["loso", *common, "--seeds", "5"]) == 0
    figures = json.loads(report.read_text("utf-8"))
    assert figures["seeds"] == [5]
    assert sum(each["folds"] for each in figures["nested"]["chosen"]) == 6
    answers = str(report.with_suffix(".csv"))
    capsys.readouterr()
    assert evaluation(["recognition", "--truth", answers, "--pred", answers, "--json"]) == 0
    composite = json.loads(capsys.readouterr().out)["rows"][-1]
    assert composite["uf1"] == pytest.approx(figures["ensemble"]["composite"]["uf1"])
    assert parts.main(["export", *common, "--out", str(out)]) == 0
    engine = PartsRecognizer(out)
    assert engine.classes == ("negative", "positive", "surprise")
    engine.close()
    card = (out / "model_card.md").read_text("utf-8")
    assert "Seeds 5" in card
    assert "loso --data" in card
    assert "mean of the 10 best" in card


def test_export_refuses_a_report_of_other_data(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "loso.json"
    report.write_text(json.dumps({"data_sha256": "0" * 64, "command": "none"}), "utf-8")
    out = tmp_path / "engine"
    options = ["--data", str(small_data), "--report", str(report), "--out", str(out)]
    assert parts.main(["export", *options]) == 2
    assert "other data" in capsys.readouterr().err
    assert not out.exists()


def test_export_without_a_report_says_how_to_make_one(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(small_data), "--report", str(tmp_path / "none.json")]
    assert parts.main(["export", *options]) == 2
    assert "engines.training.parts loso" in capsys.readouterr().err
