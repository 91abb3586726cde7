"""Several sources in one process: a session each, on one clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamer.cli import main


def _metrics(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def test_each_source_has_its_session_on_one_clock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = ("--source", "demo")
    options = ("--headless", "--speed", "realtime", "--fps", "30", "--size", "320x240")
    options += ("--duration", "1", "--recognizer", "none", "--session", str(tmp_path))
    assert main([*demo, *demo, *options]) == 0
    shown = capsys.readouterr().out
    assert shown.count("Source:    demo") == 2
    for number in ("1", "2"):
        assert str(tmp_path / number) in shown
        lost = sum(_metrics(tmp_path / number)["lost"].values())
        assert _metrics(tmp_path / number)["captured"] + lost == 30
    first, second = (_metrics(tmp_path / number)["zero"] for number in ("1", "2"))
    assert second["host_s"] > first["host_s"]
    assert second["utc"] > first["utc"]


def test_several_sources_have_no_dashboard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", "demo", "--source", "demo"]) == 2
    assert "add --headless" in capsys.readouterr().err


def test_one_missing_source_starts_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--headless", "--duration", "1", "--session", str(tmp_path)]
    assert main(["--source", "demo", "--source", "nowhere.mp4", *options]) == 2
    assert "nowhere.mp4 does not exist" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
