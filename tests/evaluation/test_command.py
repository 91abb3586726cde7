"""`python -m engines.evaluation`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.evaluation.__main__ import main

SHARED = Path(__file__).parents[3] / "shared" / "data"

TRUTH = """subject,video,onset,offset,emotion
s1,v1,30,41,happiness
s1,v2,90,101,disgust
s2,v3,60,71,surprise
"""
FOUND = """subject,video,onset,offset,emotion,score
s1,v1,31,42,happiness,0.9
s1,v1,300,311,disgust,0.2
s2,v3,60,71,happiness,0.7
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "truth.csv").write_text(TRUTH)
    (tmp_path / "found.csv").write_text(FOUND)
    return ["--truth", str(tmp_path / "truth.csv"), "--pred", str(tmp_path / "found.csv")]


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_spotting_as_table_and_as_json(files, capsys):
    assert main(["spotting", *files, "--fps", "30"]) == 0
    assert "| micro |  2 |  1 |  1 |" in capsys.readouterr().out
    found = figures(capsys, "spotting", *files, "--fps", "30")
    (row,) = found["rows"]
    assert row["f1"] == pytest.approx(2 / 3)
    assert row["false_positives_per_min"] is None  # nothing says how long the videos are
    assert row["average_precision"] == pytest.approx(2 / 3)
    assert found["subjects"] == 2


def test_plots_and_result_files_are_written(files, capsys, tmp_path):
    plots, log = tmp_path / "plots", tmp_path / "log.txt"
    asked = ["--fps", "30", "--plots", str(plots), "--megc", str(log)]
    assert main(["spotting", *files, *asked]) == 0
    assert main(["strs", *files, "--fps", "30", "--plots", str(plots)]) == 0
    names = {path.name for path in plots.iterdir()}
    assert names == {"precision_recall.png", "timeline_1.png", "confusion.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots.iterdir())
    capsys.readouterr()
    again = figures(capsys, "spotting", "--truth", str(log), "--pred", str(log), "--fps", "30")
    assert again["rows"][0]["f1"] == pytest.approx(2 / 3)


def test_two_spotters_are_compared_on_the_same_recordings(files, capsys, tmp_path):
    (tmp_path / "other.csv").write_text("subject,video,onset,offset\ns1,v2,90,101\n")
    other = ["--compare", str(tmp_path / "other.csv")]
    found = figures(capsys, "spotting", *files, "--fps", "30", *other)["comparison"]
    assert found["found_by"] == {"both": 0, "first": 2, "second": 1, "neither": 0}
    assert found["rows"][0]["f1"] == pytest.approx([2 / 3, 1 / 2])
    assert main(["spotting", *files, "--fps", "30", *other]) == 0
    assert "by the compared only: 1" in capsys.readouterr().out


def test_spot_then_recognise(files, capsys):
    (row,) = figures(capsys, "strs", *files, "--fps", "30", "--labels", "3")["rows"]
    assert row["classes"] == ["negative", "positive", "surprise"]
    # One of two spotted is right: mean precision (0 + 1/2 + 0)/3, mean recall (0 + 1 + 0)/3.
    analysis = 2 * (1 / 6) * (1 / 3) / (1 / 6 + 1 / 3)
    assert row["strs"] == pytest.approx(2 / 3 * analysis)


def test_a_kind_can_be_asked_for(files, capsys, tmp_path):
    (tmp_path / "truth.csv").write_text(TRUTH + "s1,v1,500,600,others\n")
    any_kind = figures(capsys, "spotting", *files, "--fps", "30")
    assert [row["kind"] for row in any_kind["rows"]] == ["micro", "macro", "overall", "any"]
    micro = figures(capsys, "spotting", *files, "--fps", "30", "--kind", "micro")
    assert [(row["kind"], row["fn"]) for row in micro["rows"]] == [("micro", 1)]


def test_a_threshold_is_chosen_on_the_other_subjects(files, capsys):
    nested = ["--nested-threshold", "0.05"]
    (row,) = figures(capsys, "spotting", *files, "--fps", "30", *nested)["rows"]
    # The second subject alone does not ask for a threshold, the first one alone does.
    assert (row["tp"], row["fp"]) == (2, 1)


def test_recognition_of_several_data_sets(capsys, tmp_path):
    rows = [("x", "s1", "a", "fear", "fear"), ("x", "s2", "b", "joy", "fear")]
    rows += [("y", "s1", "a", "joy", "joy")]
    header = "dataset,subject,sample,label,predicted\n"
    path = tmp_path / "both.csv"
    path.write_text(header + "".join(",".join(row) + "\n" for row in rows))
    asked = ["--truth", str(path), "--pred", str(path), "--compare", str(path)]
    found = figures(capsys, "recognition", *asked, "--plots", str(tmp_path))
    assert [(r["data"], r["samples"], r["subjects"]) for r in found["rows"]] == [
        ("x", 2, 2),
        ("y", 1, 1),
        ("composite", 3, 3),
    ]
    assert found["rows"][-1]["uar"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["comparison"]["uf1"] == {"value": 0, "low": 0, "high": 0}
    assert (tmp_path / "confusion.png").is_file()
    assert main(["recognition", *asked]) == 0
    assert "composite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        ("sample,label\na,fear\nb,joy\n", "sample,predicted\na,fear\n", "lacks 1 of the 2"),
        ("sample,label\na,fear\na,joy\n", "sample,predicted\na,fear\n", "names a again"),
        ("sample\na\n", "sample,predicted\na,fear\n", "lacks a class"),
        ("subject,sample,label\n1,a,x\n2,a,y\n", "sample,predicted\na,x\n", "share a name"),
    ],
)
def test_every_sample_needs_one_prediction(capsys, tmp_path, truth, found, message):
    (tmp_path / "t.csv").write_text(truth)
    (tmp_path / "p.csv").write_text(found)
    asked = ["--truth", str(tmp_path / "t.csv"), "--pred", str(tmp_path / "p.csv")]
    assert main(["recognition", *asked]) == 2
    assert message in capsys.readouterr().err


def test_a_mistake_is_one_sentence_and_exit_code_two(files, capsys, tmp_path):
    assert main(["spotting", *files]) == 2
    assert "--fps" in capsys.readouterr().err
    assert main(["spotting", "--truth", str(tmp_path / "no.csv"), "--pred", files[3]]) == 2
    (tmp_path / "found.csv").write_text("video,onset,offset\nv1,1,9\n")
    assert main(["spotting", *files, "--fps", "30", "--nested-threshold", "0.1"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 2, error
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no data in {SHARED}")
def test_the_linear_recogniser_of_the_composite_from_files(capsys, tmp_path):
    """Truth as published against itself: the file form of 442 samples, three data sets."""
    with np.load(SHARED / "composite3" / "flow_u_v_strain_28.npz") as data:
        rows = zip(data["dataset"], data["subject"], data["name"], data["label"], strict=True)
        text = "dataset,subject,sample,label\n" + "".join(
            f"{d},{s},{n},{y}\n" for d, s, n, y in rows
        )
    (tmp_path / "t.csv").write_text(text)
    asked = ["--truth", str(tmp_path / "t.csv"), "--pred", str(tmp_path / "t.csv")]
    found = figures(capsys, "recognition", *asked)
    assert sorted(r["samples"] for r in found["rows"]) == [133, 145, 164, 442]
    assert found["rows"][-1]["subjects"] == 68
    assert found["rows"][-1]["uf1"] == 1
