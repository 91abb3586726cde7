from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.datasets.__main__ import main
from engines.evaluation.spotting import read_intervals
from tests.datasets.toy_sets import toy_set


@pytest.fixture
def spoilt_set(tmp_path: Path) -> Path:
    toy = toy_set("casme2")
    toy.set(0, "apex", "/")
    toy.set(1, "onset", "?")
    return toy.write(tmp_path / "casme2")


def test_it_shows_what_was_found_and_what_was_wrong(
    spoilt_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["casme2", str(spoilt_set), "--labels", "5"]) == 0
    shown = capsys.readouterr().out
    assert "CASME II in" in shown
    assert "subjects     2" in shown
    assert "recordings   4: 4 with frames, 1 without an event" in shown
    assert "problems: 2, events lost by them: 1" in shown
    assert "CASME2-coding-20140508.xlsx, row 3: onset or offset: '?' is no frame number" in shown
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip()}
    assert rows["surprise"] == ["1", "0"]
    assert rows["total"] == ["3", "0"]


def test_json_has_every_problem(spoilt_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["casme2", str(spoilt_set), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["events"]["micro"]["classes"] == {"disgust": 1, "sadness": 1, "surprise": 1}
    assert figures["problems"]["by_kind"] == {"no_apex": 1, "unreadable_cell": 1}
    assert [problem["row"] for problem in figures["problems"]["list"]] == [2, 3]
    assert figures["recordings"]["known_length"] == 4


def test_only_a_few_problems_of_a_kind_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = toy_set("casme2")
    for index in range(4):
        toy.set(index, "apex", "/")
    toy.write(tmp_path)
    main(["casme2", str(tmp_path)])
    assert "… 1 more, see --all-problems" in capsys.readouterr().out
    main(["casme2", str(tmp_path), "--all-problems"])
    assert "more" not in capsys.readouterr().out


def test_truth_is_written(spoilt_set: Path, tmp_path: Path) -> None:
    assert main(["casme2", str(spoilt_set), "--truth", str(tmp_path / "out")]) == 0
    assert len(read_intervals(tmp_path / "out/truth.jsonl")) == 3
    records = [
        json.loads(line)
        for line in (tmp_path / "out/recordings.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [record["recording"] for record in records] == [
        "sub01/EP02_01f", "sub01/EP03_02", "sub17/EP05_09", "sub17/EP15_03",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["casme5", "{set}"], "There is no data set named 'casme5'"),
        (["casme2", "{set}/nowhere"], "There is no folder"),
        (["samm", "{set}"], "There is no annotation file like SAMM_Micro_FACS_Codes_v2.xlsx"),
        (["casme2", "{set}", "--truth", "{set}/CASME2-coding-20140508.xlsx"], "cannot be written"),
    ],
)
def test_mistakes_end_with_2_and_one_sentence(
    arguments: list[str], message: str, spoilt_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(set=spoilt_set) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_set_of_classes_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy_set("smic_hs").write(tmp_path)
    assert main(["smic_hs", str(tmp_path), "--labels", "7"]) == 2
    assert "SMIC-HS has no set of 7 classes; choose 3." in capsys.readouterr().err


def test_help_names_the_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "smic_nir   SMIC-NIR" in shown
    assert "docs/datasets.md" in shown
