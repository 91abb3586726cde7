"""Training LGSNet from the command line, end to end, on made-up faces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.spotting.proposal_spotter import OfflineProposalSpotter, ProposalSpotter
from engines.training import folded, train
from engines.training.proposal_fold import FEATURES_FOLDER
from engines.training.streaming import measure
from engines.training.train import main
from tests.training.face_clips import FewPeople


def test_run_then_export_gives_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = FewPeople()
    for module in (train, folded):
        monkeypatch.setattr(module, "open_source", lambda folder: people)
    run, out = tmp_path / "run", tmp_path / "engines"
    given = ["run", "--engine", "lgsnet", "--data", "made-up", "--out", str(run), "--epochs", "1"]
    assert main(given) == 0
    report = json.loads((run / "result.json").read_text("utf-8"))
    assert report["figures"]["spotting"]["micro_expressions"] == 3
    assert report["figures"]["proposals"]["offline"]["micro_expressions"] == 3
    assert report["run"]["preprocessing"]["backbone"] == "light"
    assert "further_clips" not in report["folds"][0]
    kept = sorted(path.name for path in (run / FEATURES_FOLDER).glob("light-features-*/*"))
    assert kept == ["a-0-mirrored.npz", "a-0.npz", "b-0.npz", "c-0.npz"]
    before = (run / "result.json").read_bytes()
    assert main(given) == 0  # nothing is left to do, and nothing changes
    assert (run / "result.json").read_bytes() == before

    assert main(["export", "--run", str(run), "--out", str(out)]) == 0
    folder = out / "spotting" / "lgsnet"
    live, offline = ProposalSpotter(folder, 30.0), OfflineProposalSpotter(folder)
    for sample in measure(next(people.clips(["c"]))):
        assert np.isfinite(live.push(sample).score)
        offline.push(sample)
    offline.finish()
    live.close()
    offline.close()
    card = (folder / "model_card.md").read_text("utf-8")
    assert "made-up faces" in card.lower()
    assert "run --engine lgsnet" in card
    assert "no promise" in card
    assert not (out / "recognition").exists()
