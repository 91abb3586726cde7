"""The benchmark of the causal decision, on curves that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import curves
from engines.evaluation.spotting import Tally


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
    monkeypatch.setattr(curves, "FACTORS", (6.0, 60.0))
    out = tmp_path / "out.json"
    assert curves.main(["--curves", str(made_up), "--json", str(out)]) == 0
    measured = json.loads(out.read_text())
    rows = {row["decision"]: row for row in measured["rows"]}
    for name in ("causal", "scores times 1000"):
        assert (rows[name]["tp"], rows[name]["fn"]) == (12, 0)
        assert rows[name]["false_positives_per_min"] <= curves.MAX_FP_PER_MIN
    assert rows["the same curves at 200 fps"]["tp"] == 12
    for constants in measured["chosen"].values():
        assert (constants["threshold_factor"], constants["prior_s"]) == (6.0, 0.4)
        assert (constants["rise_s"], constants["micro_s"]) == (0.4, pytest.approx(0.6))
    (result,) = measured["results"]
    assert result["f1"] == rows["causal"]["f1"]
    assert "offline, p = 0.6 for all" in capsys.readouterr().out


def test_the_threshold_is_the_lowest_that_keeps_within_the_rate():
    rates = (9, 4, 1, 0)

    def judged(setting, name):
        return Tally(fp=rates[setting], duration_s=60)

    assert curves.lowest_within_limit(range(4), ["a", "b"], judged) == 2
    assert curves.lowest_within_limit(range(2), ["a", "b"], judged) == 1


def test_the_limit_is_tightened_until_newcomers_keep_it():
    """One in three is loud: those who choose without it would let it be far too loud."""
    rates = {"quiet": (1.2, 0.5, 0.1), "calm": (1.2, 0.5, 0.1), "loud": (9.0, 2.5, 1.0)}

    def judged(setting, name):
        return Tally(fp=round(100 * rates[name][setting]), duration_s=6000)

    at = curves.lowest_within_limit(range(3), list(rates), judged)
    assert at == 2
    assert np.mean([rate[1] for rate in rates.values()]) <= curves.MAX_FP_PER_MIN


def test_missing_curves_are_a_users_mistake(tmp_path, capsys):
    assert curves.main(["--curves", str(tmp_path / "no.npz")]) == 2
    assert "give the .npz file" in capsys.readouterr().err
