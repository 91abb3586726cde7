"""Training from the command line, end to end, on made-up faces: what resumes, and what ships."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

import torch

from engines.errors import EngineError, UserError
from engines.evaluation.spotting import Tally
from engines.recognition.network_recognizer import DepthRecognizer, NetworkRecognizer
from engines.recognition.sequence_recognizer import SequenceRecognizer
from engines.spotting.network_spotter import DepthSpotter, NetworkSpotter
from engines.training import folded, train
from engines.training.checkpoints import CHECKPOINT_FILE
from engines.training.folds import holdout, leave_one_subject_out
from engines.training.optimisation import LOG_FILE, EpochLog, fit
from engines.training.recipes import recipe_of
from engines.training.samples import FrameSamples
from engines.training.streaming import event_clip, measure
from engines.training.train import main
from tests.training.face_clips import CLASSES, FewPeople


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def people() -> FewPeople:
    return FewPeople()


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, people: FewPeople) -> str:
    for module in (train, folded):
        monkeypatch.setattr(module, "open_source", lambda folder: people)
    # Two candidates show that a decision is chosen; the others only take time.
    monkeypatch.setattr("engines.training.decisions.CANDIDATES", {"threshold_factor": (4.0, 8.0)})
    return "made-up"


def samples(seed: int, count: int = 20) -> FrameSamples:
    rng = np.random.default_rng(seed)
    return FrameSamples(
        rng.normal(size=(count, 3, 42, 42)).astype(np.float16),
        (np.arange(count) % 4 == 0).astype(np.float32),
        np.arange(count) % 5 - 1,
    )


@pytest.mark.parametrize("engine", ["mean", "sfamnet"])
def test_a_killed_training_continues_with_the_same_bits(engine: str, tmp_path: Path) -> None:
    def run(folder: str, stop_after: int | None = None) -> dict[str, torch.Tensor]:
        seen = 0

        def on_epoch(line: EpochLog) -> None:
            nonlocal seen
            seen += 1
            if seen == stop_after:
                raise KeyboardInterrupt

        fitted = fit(
            recipe_of(engine),
            len(CLASSES),
            samples(0),
            samples(1),
            seed=7,
            folder=tmp_path / folder,
            epochs=2,
            on_epoch=on_epoch,
        )
        return fitted.network.state_dict()

    whole = run("whole")
    for stop_after in (1, 3):
        try:
            continued = run("broken", stop_after)
        except KeyboardInterrupt:
            continued = {}
    continued = continued or run("broken")
    assert whole.keys() == continued.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, continued[name]), name
    logs = [
        list(csv.DictReader((tmp_path / folder / LOG_FILE).read_text("utf-8").splitlines()))
        for folder in ("whole", "broken")
    ]
    for a, b in zip(*logs, strict=True):
        assert {**a, "seconds": ""} == {**b, "seconds": ""}


def test_frozen_streams_stand_still_in_the_second_stage(tmp_path: Path) -> None:
    after_spotting: dict[str, torch.Tensor] = {}

    def on_epoch(line: EpochLog) -> None:
        if line.stage == "spotting":
            state = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
            after_spotting.update({name: t.clone() for name, t in state["best"].items()})

    fitted = fit(
        recipe_of("mean"), 3, samples(0), samples(1), seed=0, folder=tmp_path, epochs=1,
        on_epoch=on_epoch,
    )  # fmt: skip
    for name, tensor in fitted.network.state_dict().items():
        same = torch.equal(tensor, after_spotting[name])
        assert same == (not name.startswith("recognition")), name


def test_a_spoiled_checkpoint_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="delete it"):
        fit(recipe_of("mean"), 3, samples(0), samples(1), seed=0, folder=tmp_path, epochs=1)


@pytest.mark.parametrize("engine", ["mean", "sfamnet"])
def test_run_then_export_gives_engines(
    engine: str, data: str, people: FewPeople, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "engines"
    given = ["run", "--engine", engine, "--data", data, "--out", str(run), "--epochs", "1"]
    assert main(given) == 0
    assert "F1" in capsys.readouterr().out
    report = json.loads((run / "result.json").read_text("utf-8"))
    assert report["figures"]["spotting"]["micro_expressions"] == 3
    assert report["figures"]["recognition"]["micro"]["events"] == 3
    assert report["folds"][0]["fold"]["test"] == ["c"]
    before = (run / "result.json").read_bytes()
    assert main(given) == 0  # nothing is left to do, and nothing changes
    assert (run / "result.json").read_bytes() == before

    assert main(["export", "--run", str(run), "--out", str(out)]) == 0
    spotter = NetworkSpotter(out / "spotting" / engine, 30.0)
    outputs = [spotter.push(sample) for sample in measure(next(people.clips(["c"])))]
    assert all(np.isfinite(output.score) for output in outputs)
    spotter.close()
    recognizer = NetworkRecognizer(out / "recognition" / engine)
    clip = next(people.clips(["c"]))
    assert recognizer.recognize(event_clip(clip, clip.events[0])).emotion in CLASSES
    recognizer.close()
    for task in ("spotting", "recognition"):
        card = (out / task / engine / "model_card.md").read_text("utf-8")
        assert "made-up faces" in card.lower()
        assert f"run --engine {engine}" in card
        assert people.command in card
        assert "Not to be used to judge" in card


def test_a_network_with_depth_learns_from_depth_and_ships_as_an_engine_that_needs_it(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "engines"
    given = ["run", "--engine", "sfamnet-depth", "--data", data, "--epochs", "1", "--out"]
    assert main([*given, str(tmp_path / "without")]) == 2
    assert "no depth maps" in capsys.readouterr().err

    seen = FewPeople(depth=True)
    for module in (train, folded):
        monkeypatch.setattr(module, "open_source", lambda folder: seen)
    assert main([*given, str(run)]) == 0
    assert main(["export", "--run", str(run), "--out", str(out)]) == 0
    clip = next(seen.clips(["c"]))
    spotter = DepthSpotter(out / "spotting" / "sfamnet-depth", 30.0)
    scores = [spotter.push(sample).score for sample in measure(clip)]
    assert np.isfinite(scores).all()
    assert np.ptp(scores) > 0
    assert not any(sample.depth_change is not None for sample in measure(clip, delta_flow=False))
    spotter.close()
    event = event_clip(clip, clip.events[0])
    recognizer = DepthRecognizer(out / "recognition" / "sfamnet-depth")
    assert recognizer.recognize(event).emotion in CLASSES
    with pytest.raises(EngineError, match="no depth pictures"):
        recognizer.recognize(replace(event, depths=None))
    recognizer.close()
    with pytest.raises(EngineError, match="another flow representation"):
        NetworkSpotter(out / "spotting" / "sfamnet-depth", 30.0)
    for task in ("spotting", "recognition"):
        card = (out / task / "sfamnet-depth" / "model_card.md").read_text("utf-8")
        assert "depth change" in card


@pytest.mark.parametrize("heads", [False, True])
def test_a_sequence_network_recognises_and_shows_what_it_saw_if_wanted(
    heads: bool, data: str, people: FewPeople, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "engines"
    given = ["run", "--engine", "mol", "--data", data, "--out", str(run), "--epochs", "1"]
    assert main(given) == 0
    report = json.loads((run / "result.json").read_text("utf-8"))
    assert set(report["figures"]) == {"recognition"}
    assert report["figures"]["recognition"]["micro"]["events"] == 3
    assert 0 <= report["figures"]["recognition"]["micro"]["ece"] <= 1

    asked = ["--heads"] if heads else []
    assert main(["export", "--run", str(run), "--out", str(out), *asked]) == 0
    assert not (out / "spotting").exists()
    folder = out / "recognition" / "mol"
    assert (folder / "mol.golden.npz").exists()
    recognizer = SequenceRecognizer(folder)
    clip = next(people.clips(["c"]))
    seen = event_clip(clip, clip.events[0])
    assert recognizer.recognize(seen).most_probable in CLASSES
    assert set(recognizer.outputs(seen)) == {"logits", *(("flow", "landmarks") if heads else ())}
    recognizer.close()
    card = (folder / "model_card.md").read_text("utf-8")
    assert "calibration error" in card
    assert "parameters" in card
    assert "share of the flow explained" in card


def test_heads_that_a_network_does_not_have_are_not_shipped(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "run_fold", quick_fold)
    run = tmp_path / "run"
    given = ["run", "--engine", "mean", "--data", data, "--out", str(run), "--protocol", "loso"]
    assert main(given) == 0
    assert main(["export", "--run", str(run), "--out", str(tmp_path / "out"), "--heads"]) == 2
    assert "--heads" in capsys.readouterr().err


def quick_fold(task: folded.Task, told: folded.Told = lambda what: None) -> dict[str, Any]:
    """The result of a fold in which nothing was learned; its files say whose they are."""
    for half in ("spotting", "recognition"):
        folder = folded.engine_folder(task.folder, half, task.engine)
        folder.mkdir(parents=True)
        for suffix in (".onnx", ".json"):
            (folder / f"{task.engine}{suffix}").write_text(task.fold.name, "utf-8")
    named = [{"clip": who, "identity": who, "fps": 30.0} for who in task.fold.test]
    return {
        "fold": asdict(task.fold),
        "best_epochs": {"spotting": 1},
        "epochs": [asdict(EpochLog("spotting", 1, 0.2, 0.3, 12.3))],
        "decision": {},
        "gates": {},
        "validation_f1": 0.5,
        "validation_micro": 2,
        "clips": [{**each, "tally": asdict(Tally(tp=1, fn=1, duration_s=60.0))} for each in named],
        "events": [
            {**each, "kind": "micro", "emotion": emotion, "recognised": "positive"}
            for each in named
            for emotion in CLASSES[1:]
        ],
    }


def test_leaving_one_out_tests_everybody_once_and_ships_a_network_of_its_own(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "run_fold", quick_fold)
    run = tmp_path / "run"
    given = ["run", "--engine", "mean", "--data", data, "--out", str(run), "--protocol", "loso"]
    assert main(given) == 0
    report = json.loads((run / "result.json").read_text("utf-8"))
    assert [fold["fold"]["test"] for fold in report["folds"]] == [["a"], ["b"], ["c"], []]
    figures = report["figures"]
    assert figures["spotting"]["identities"] == 3
    assert figures["spotting"]["recall"] == 0.5
    assert figures["spotting"]["f1_interval"] == [None, None]  # three people say nothing of others
    assert figures["recognition"]["micro"]["uar"] == 0.5
    assert main(["export", "--run", str(run), "--out", str(tmp_path / "engines")]) == 0
    shipped = tmp_path / "engines" / "spotting" / "mean"
    assert (shipped / "mean.onnx").read_text("utf-8") == "final"
    card = (shipped / "model_card.md").read_text("utf-8")
    assert "over 3 identities" in card
    assert "spotting 12.3 s" in card


def test_another_run_in_the_same_folder_is_refused(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["run", "--engine", "mean", "--data", data, "--out", str(tmp_path), "--epochs", "1"]
    (tmp_path / "run.json").write_text("{}", "utf-8")
    assert main(given) == 2
    assert "another folder" in capsys.readouterr().err


def test_an_unfinished_run_cannot_be_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--run", str(tmp_path)]) == 2
    assert "run it to the end" in capsys.readouterr().err


def test_folds_never_share_an_identity_and_test_each_once() -> None:
    people = [f"p{k}" for k in range(7)]
    folds = leave_one_subject_out(people, seed=0)
    assert [fold.test for fold in folds] == [*[(who,) for who in people], ()]
    for fold in folds:
        parts = [*fold.train, *fold.validation, *fold.test]
        assert sorted(parts) == people
        assert fold.train
        assert fold.validation
    assert any(a.validation != b.validation for a, b in pairwise(folds))
    assert leave_one_subject_out(people, seed=0) == folds


def test_too_few_people_and_no_splits_are_clear_sentences() -> None:
    with pytest.raises(UserError, match="three"):
        leave_one_subject_out(["a", "b"], seed=0)
    with pytest.raises(UserError, match="loso"):
        holdout({})
