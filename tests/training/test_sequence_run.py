"""A recogniser of sequences on a licensed data set, from the adapter's recordings to the card."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.datasets import AnnotatedEvent, Dataset, Recording
from engines.events import EventKind
from engines.recognition.sequence_recognizer import SequenceRecognizer
from engines.training.aligned_set import align_dataset
from engines.training.sources import open_source
from engines.training.streaming import event_clip
from engines.training.train import main
from tests.training.face_clips import clip
from tests.training.test_aligned_set import stand_in

FPS = 30.0
EMOTIONS = ("disgust", "happiness", "surprise")


@pytest.fixture
def aligned(tmp_path: Path) -> Path:
    """Three subjects, each filmed with an expression of every class."""
    recordings = []
    for subject in ("s1", "s2", "s3"):
        filmed = clip(subject, seconds=5.2)
        folder = tmp_path / "frames" / subject
        folder.mkdir(parents=True)
        for number, face in enumerate(filmed.faces):
            cv2.imwrite(str(folder / f"img{number}.png"), face)
        events = tuple(
            AnnotatedEvent(
                EventKind.MICRO, e.onset_s, e.apex_s, e.offset_s, None, None, None, emotion=emotion
            )
            for e, emotion in zip(filmed.events, EMOTIONS, strict=True)
        )
        recordings.append(
            Recording(f"{subject}/EP 1", subject, FPS, 0, len(filmed.faces), events, folder)
        )
    maps = {3: dict(zip(EMOTIONS, ("negative", "positive", "surprise"), strict=True))}
    dataset = Dataset("made_up", "MADE-UP", tmp_path, tuple(recordings), (), maps)
    assert align_dataset(dataset, 3, tmp_path / "aligned", stand_in) == []
    return tmp_path / "aligned"


def test_one_command_leaves_every_subject_of_a_licensed_set_out_once(
    aligned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "engines"
    given = ["run", "--engine", "mol", "--data", str(aligned), "--protocol", "loso"]
    assert main([*given, "--out", str(run), "--epochs", "1"]) == 0
    assert "Recognition, micro (9)" in capsys.readouterr().out
    report = json.loads((run / "result.json").read_text("utf-8"))
    assert [fold["fold"]["test"] for fold in report["folds"]] == [["s1"], ["s2"], ["s3"], []]
    confusion = np.array(report["figures"]["recognition"]["micro"]["confusion"])
    assert confusion.sum(axis=1).tolist() == [3, 3, 3]

    assert main(["export", "--run", str(run), "--out", str(out)]) == 0
    recognizer = SequenceRecognizer(out / "recognition" / "mol")
    (shown,) = open_source(aligned).clips(["s2"])
    answer = recognizer.recognize(event_clip(shown, shown.events[0]))
    assert set(answer.probabilities) == {"negative", "positive", "surprise"}
    recognizer.close()
    card = (out / "recognition" / "mol" / "model_card.md").read_text("utf-8")
    assert "Leave one subject out over 3 identities" in card
    assert "MADE-UP, 3 subjects" in card
    assert "Filmed people" in card
