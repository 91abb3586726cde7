"""The threshold of `unsure`, and the command that ships it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import selective
from calibration.card import insert_section
from calibration.selective import (
    MIN_COVERAGE,
    HeldOut,
    choose_unsure_below,
    main,
    nested_thresholds,
    selective_figures,
)
from engines.runtime.shipped import find_graphs

ANSWERS = st.lists(
    st.tuples(st.integers(34, 100).map(lambda c: c / 100), st.booleans()), min_size=1, max_size=60
)


def held_out(count: int, seed: int = 0) -> HeldOut:
    """Answers that are right as often as they say."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet((0.7, 0.7, 0.7), count)
    labels = np.array([rng.choice(3, p=row) for row in probabilities])
    return HeldOut(probabilities, labels, rng.integers(12, size=count).astype(str))


@given(ANSWERS, st.floats(0.3, 1.0))
def test_the_answers_that_are_given_are_as_accurate_as_asked(answers, target) -> None:
    confidence, correct = (np.array(column) for column in zip(*answers, strict=True))
    threshold = choose_unsure_below(confidence, correct, target)
    answered = confidence >= threshold
    assert answered.mean() >= MIN_COVERAGE
    others = [
        correct[confidence >= other].mean()
        for other in np.unique(confidence)
        if (confidence >= other).mean() >= MIN_COVERAGE
    ]
    if correct[answered].mean() < target:
        assert correct[answered].mean() == pytest.approx(max(others))
    else:  # nothing that answers more would do
        lower = [c for c in np.unique(confidence) if c < threshold]
        assert all(correct[confidence >= c].mean() < target for c in lower)


def test_calibrated_answers_reach_the_accuracy_on_people_who_did_not_choose() -> None:
    figures = selective_figures(held_out(4000), nested_thresholds(held_out(4000), 0.85))
    assert figures["accuracy"] == pytest.approx(0.85, abs=0.01)
    assert 0.2 < figures["coverage"] < 0.9
    assert figures["accuracy_of_all"] < 0.8
    accuracies = [row["accuracy"] for row in figures["curve"]]
    assert accuracies == sorted(accuracies)
    assert figures["ece"] < 0.03


def test_a_subject_chooses_nothing_for_itself() -> None:
    people = held_out(300)
    thresholds = nested_thresholds(people, 0.85)
    spoilt = HeldOut(
        np.where((people.subjects == "3")[:, None], (1.0, 0.0, 0.0), people.probabilities),
        people.labels,
        people.subjects,
    )
    own = people.subjects == "3"
    np.testing.assert_array_equal(nested_thresholds(spoilt, 0.85)[own], thresholds[own])


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of STSTNet that the command may write to."""
    (graph,) = find_graphs("ststnet")
    folder = tmp_path / "recognition" / "ststnet"
    shutil.copytree(graph.parent, folder)
    monkeypatch.setattr(selective, "find_graphs", lambda engine: [folder / "ststnet.onnx"])
    return folder


def test_the_command_writes_manifest_and_card(shipped: Path, tmp_path: Path, capsys) -> None:
    people = held_out(300)
    names = ("negative", "positive", "surprise")
    lines = ["sample,subject,truth,predicted,p_negative,p_positive,p_surprise"]
    lines += [
        f"{n},{who},{names[label]},unsure,{','.join(f'{p:.6f}' for p in row)}"
        for n, (who, label, row) in enumerate(
            zip(people.subjects, people.labels, people.probabilities, strict=True)
        )
    ]
    answers = tmp_path / "answers.csv"
    answers.write_text("\n".join(lines))
    assert main(["--engine", "ststnet", "--answers", str(answers)]) == 0
    before = (shipped / "model_card.md").read_text()
    assert main(["--engine", "ststnet", "--answers", str(answers), "--save"]) == 0
    threshold = json.loads((shipped / "ststnet.json").read_text())["unsure_below"]
    assert threshold == choose_unsure_below(people.confidence, people.correct)
    card = (shipped / "model_card.md").read_text()
    assert card.count("## Unsure") == 1
    assert f"below {threshold:.3f}" in card
    section = card[card.index("## Unsure") : card.index("\n\n## Limits") + 1]
    assert insert_section(before, section) == card


def test_mistakes_are_answered_in_a_sentence(shipped: Path, tmp_path: Path, capsys) -> None:
    bare = tmp_path / "bare.csv"
    bare.write_text("sample,subject,truth,predicted\n1,a,negative,negative\n")
    assert main(["--engine", "ststnet", "--answers", str(bare)]) == 2
    assert "no probabilities" in capsys.readouterr().err
