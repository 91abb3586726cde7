"""The benchmark of the causal decision, on curves that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import curves


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """Four subjects with three clear micro-expressions each, at 30 fps with flow over 6 frames."""
    rng = np.random.default_rng(3)
    fps, k, frames = 30, 6, 600
    scores, videos = {}, []
    for subject in ("a", "b", "c", "d"):
        middles = np.array([150, 300, 480]) + rng.integers(-20, 20, 3)
        at = np.arange(frames - k)
        # Score i belongs to the frames from i + 1, counted from 1, to i + 1 + k.
        away = np.abs(at + 1 + k / 2 - middles[:, None]).min(axis=0)
        score = 0.1 * rng.standard_normal(len(at)) + 2.0 * np.clip(1 - away / 9, 0, 1)
        scores[f"{subject}_1"] = score
        intervals = [[int(m) - 6, int(m) + 6] for m in middles]
        videos.append({"subject": subject, "video": "1", "frames": frames, "intervals": intervals})
    path = tmp_path / "made_up.npz"
    np.savez(path, **scores)
    path.with_suffix(".json").write_text(json.dumps({"fps": fps, "k": k, "videos": videos}))
    return path


def test_constants_come_from_the_other_subjects(made_up, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(curves, "SMOOTH_S", (0.2,))
    monkeypatch.setattr(curves, "RISE_S", (0.5,))
    monkeypatch.setattr(curves, "FACTORS", (6.0, 60.0))
    monkeypatch.setattr(curves, "MICRO_S", (0.8,))
    out = tmp_path / "out.json"
    assert curves.main(["--curves", str(made_up), "--json", str(out)]) == 0
    measured = json.loads(out.read_text())
    rows = {row["decision"]: row for row in measured["rows"]}
    for name in ("causal, constants nested", "scores times 1000, 30 fps"):
        assert (rows[name]["tp"], rows[name]["fn"]) == (12, 0)
        assert rows[name]["false_positives_per_min"] <= curves.MAX_FP_PER_MIN
    assert rows["the same curves at 200 fps"]["tp"] == 12
    assert {c["threshold_factor"] for c in measured["chosen"].values()} == {6.0}
    assert {c["prior_s"] for c in measured["chosen"].values()} == {0.4}
    (result,) = measured["results"]
    assert result["f1"] == rows["causal, constants nested"]["f1"]
    assert "offline, p nested" in capsys.readouterr().out


def test_missing_curves_are_a_users_mistake(tmp_path, capsys):
    assert curves.main(["--curves", str(tmp_path / "no.npz")]) == 2
    assert "give the .npz file" in capsys.readouterr().err
