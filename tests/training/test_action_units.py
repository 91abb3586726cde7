"""Fitting and measuring action units, on made-up motion and on coded clips."""

from __future__ import annotations

import numpy as np
import pytest

from engines.recognition.action_units.estimator import FEATURES, PatternFit
from engines.training import action_units
from engines.training.action_units import (
    Measured,
    area_under_curve,
    choose_share,
    f1,
    fit_patterns,
    main,
    measure_events,
)
from tests.training.face_clips import FewPeople

UNITS = 4


def people(count: int, seed: int) -> Measured:
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(99).normal(size=(UNITS, FEATURES))
    present = rng.random((count, UNITS)) < 0.4
    present[:, 0] |= ~present.any(axis=1)
    displacement = present * rng.uniform(0.005, 0.03, (count, UNITS))
    features = displacement @ patterns + rng.normal(0, 0.002, (count, FEATURES))
    return Measured(features, present, displacement, rng.integers(6, size=count).astype(str))


def test_patterns_of_some_people_explain_others() -> None:
    explain = PatternFit(*fit_patterns(people(400, 0)))
    others = people(50, 1)
    found = np.array([explain(row) for row in others.features])
    assert np.abs(found - others.displacement).max() < 0.004
    assert area_under_curve(found.ravel(), others.present.ravel()) > 0.99


def test_the_share_is_the_one_that_tells_units_best() -> None:
    present = np.array([[True, False], [True, True]])
    displacements = np.array([[1.0, 0.32], [1.0, 0.45]])
    assert choose_share(displacements, np.zeros(2), present) == 0.35


def test_figures_of_nothing_and_of_everything() -> None:
    yes, no = np.ones(4, bool), np.zeros(4, bool)
    assert f1(yes, yes) == 1
    assert f1(yes, no) == 0
    assert np.isnan(f1(no, no))
    assert np.isnan(area_under_curve(np.arange(4.0), yes))
    half = np.array([False, False, True, True])
    assert area_under_curve(np.arange(4.0), half) == 1
    assert area_under_curve(np.zeros(4), half) == 0.5


def test_coded_clips_are_measured_without_displacements(monkeypatch, tmp_path, capsys) -> None:
    source = FewPeople()
    measured = measure_events(list(source.clips(source.identities)), (4, 12), {})
    assert measured.present.sum() > 0
    assert np.isnan(measured.displacement).all()
    monkeypatch.setattr(action_units, "open_source", lambda folder: source)
    assert main(["measure", "--data", str(tmp_path)]) == 0
    assert "| AU12" in capsys.readouterr().out
    assert main(["fit", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "synthetic" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_people_without_codes_are_a_mistake() -> None:
    source = FewPeople()
    with pytest.raises(action_units.UserError, match="no expression with action units"):
        measure_events(list(source.clips(())), (4, 12), {})
