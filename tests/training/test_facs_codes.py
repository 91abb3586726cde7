"""FACS codes of the composite data set's clips: found by name, measured, learned from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.errors import UserError
from engines.training import au_landmark
from engines.training.au_landmark import UnitPictures
from engines.training.composite3 import Composite3
from engines.training.facs_codes import FacsCodes, describe_people, read_codes, unit_figures
from engines.training.networks.unit_graph import UNITS

NAMES = ("sub01_EP02_01f", "sub01_EP03_02", "sub02_EP01_11f", "006_006_1_2", "007_007_6_1", "s1_po")


@pytest.fixture
def data() -> Composite3:
    return Composite3(
        pictures=np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), np.uint8),
        labels=np.arange(6) % 3,
        subjects=np.array(
            ["casme2/sub01"] * 2 + ["casme2/sub02", "samm/006", "samm/007", "smic/s1"]
        ),
        datasets=np.array(["casme2"] * 3 + ["samm"] * 2 + ["smic"]),
        names=np.array(NAMES),
        sha256="0" * 64,
    )


@pytest.fixture
def tables(tmp_path: Path) -> list[Path]:
    casme2, samm = tmp_path / "casme2.csv", tmp_path / "samm.csv"
    casme2.write_text(
        "Subject,Filename,Onset,Action Units\n1,EP02_01f,46,12\n01,EP03_02,131,4+L7\n"
        "02,EP01_11f,46,18\n02,EP99,1,1+2\n"
    )
    samm.write_text(
        "SAMM\n\nSubject,Filename,Action Units\n006,006_1_2,A1+5B\n7,007_6_1,(R6 or R12)+15\n"
    )
    return [casme2, samm]


def units_of(codes: FacsCodes, row: int) -> set[int]:
    return {unit for unit, there in zip(UNITS, codes.presence[row], strict=True) if there}


def test_codes_are_found_by_subject_and_clip(data: Composite3, tables: list[Path]) -> None:
    codes = read_codes(tables, data)
    assert [units_of(codes, row) for row in range(4)] == [{12}, {4, 7}, set(), {1, 5}]
    # What a coder left open is not counted for or against anybody, nor is who was not coded.
    assert codes.known.tolist() == [True, True, True, True, False, False]
    assert codes.left_open == 1


def test_codes_of_other_clips_are_refused(data: Composite3, tmp_path: Path) -> None:
    table = tmp_path / "other.csv"
    table.write_text("Subject,Filename,Action Units\n99,EP01,4\n")
    with pytest.raises(UserError, match=r"other\.csv codes no clip"):
        read_codes([table], data)


def test_figures_are_of_known_codes_alone(data: Composite3, tables: list[Path]) -> None:
    codes = read_codes(tables, data)
    perfect = np.where(codes.presence, 0.9, 0.1)
    perfect[~codes.known] = 1 - perfect[~codes.known]
    report = unit_figures(codes, perfect, data.subjects)
    assert report["fixed"]["f1"] == report["nested"]["f1"] == 1
    assert report["fixed"]["expressions"] == 4
    text = describe_people(report)
    assert "On 4 clips of 3 people" in text
    assert "1 clips are left out" in text


def test_the_limit_of_a_subject_is_chosen_on_the_others(
    data: Composite3, tables: list[Path]
) -> None:
    codes = read_codes(tables, data)
    shy = np.where(codes.presence, 0.32, 0.1)
    shy[0, UNITS.index(26)] = 0.6  # was not there
    report = unit_figures(codes, shy, data.subjects)
    assert report["fixed"]["f1"] == 0
    assert report["nested"]["f1"] > 0.8


def test_codes_of_the_others_are_learned_from_if_wanted(
    tmp_path: Path, data: Composite3, tables: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, report = tmp_path / "data.npz", tmp_path / "loso.json"
    np.savez(
        archive,
        flow=data.pictures,
        label=data.labels,
        subject=np.char.rpartition(data.subjects, "/")[:, 2],
        dataset=data.datasets,
        name=data.names,
    )
    taught: list[int] = []

    def few(count: int, seed: int) -> UnitPictures:
        zeros = np.zeros((5, 3, 28, 28), np.float32)
        return UnitPictures(zeros, np.zeros((5, len(UNITS)), np.float32))

    def fit(planes, labels, coded, recipe, seed):  # type: ignore[no-untyped-def]
        taught.append(len(coded.presence))
        return au_landmark.LandmarkGraph(3).eval()

    monkeypatch.setattr(au_landmark, "draw_units", few)
    monkeypatch.setattr(au_landmark, "fit", fit)
    common = ["--data", str(archive), "--report", str(report)]
    codes = ["--codes", *map(str, tables)]
    assert au_landmark.main(["loso", *common, *codes, "--learn-codes"]) == 0
    # Five pictures that were drawn, and of four coded people those of the others.
    assert taught == [7, 8, 8, 9, 9]
    assert json.loads(report.read_text())["units"]["left_open"] == 1
    assert au_landmark.main(["loso", *common, "--learn-codes"]) == 2
    assert au_landmark.main(["export", *common, "--out", str(tmp_path / "out")]) == 2
