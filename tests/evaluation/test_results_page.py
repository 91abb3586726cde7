"""The page of results: what is there appears, what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tables import main


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    (tmp_path / "results").mkdir()
    return [
        *("--results", str(tmp_path / "results")),
        *("--engines", str(tmp_path / "engines")),
        *("--page", str(tmp_path / "page.md")),
    ]


SPOTTING = {
    "engine": "mean",
    "task": "spotting",
    "data": "animated faces (synthetic)",
    "kind": "micro",
    "f1": 0.51234,
    "f1_interval": [0.4, 0.6],
    "latency_p50_s": 0.3,
}


def test_an_engine_appears_when_its_files_do(place, tmp_path):
    assert main(place) == 0
    assert "## Spotting" not in (tmp_path / "page.md").read_text()
    write(
        tmp_path / "results" / "mean.json",
        {
            "command": "python -m something",
            "utc": "2026-01-02T03:04:05",
            "machine": {"cpu": "a CPU", "cores": 2},
            "results": [SPOTTING],
        },
    )
    folder = tmp_path / "engines" / "recognition" / "tiny"
    recognised = {"engine": "tiny", "task": "recognition", "data": "x", "uf1": 0.7, "uar": None}
    write(
        folder / "tiny.json",
        {"name": "tiny", "version": "2", "training": {"results": [recognised]}},
    )
    (folder / "tiny.onnx").write_bytes(bytes(4200))
    assert main([*place, "--check"]) == 1
    assert main(place) == 0
    assert main([*place, "--check"]) == 0
    page = (tmp_path / "page.md").read_text()
    assert "0.512 [0.400, 0.600]" in page
    assert "300" in page
    assert "`python -m something`" in page
    assert "FP/min" not in page.replace("FP/min means", "")  # nobody measured it
    assert [cell.strip() for cell in page.split("| tiny    |")[-1].split("|")[:3]] == [
        "recognition",
        "2",
        "4",
    ]


@pytest.mark.parametrize("entry", [{"task": "spotting"}, {**SPOTTING, "task": "guessing"}])
def test_an_entry_that_says_too_little_is_named(place, tmp_path, capsys, entry):
    write(tmp_path / "results" / "odd.json", {"results": [entry]})
    assert main(place) == 2
    assert "odd" in capsys.readouterr().err
    (tmp_path / "results" / "odd.json").write_text("{")
    assert main(place) == 2


def test_the_kept_results_make_a_page(tmp_path):
    assert main(["--page", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert "| flow " in page
    assert "| ststnet " in page
