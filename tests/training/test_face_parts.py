from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs requirements-train.txt")
pytest.importorskip("onnx", reason="training needs requirements-train.txt")

from calibration.temperature import probabilities  # noqa: E402
from engines.network_files import INPUT_NAME  # noqa: E402
from engines.recognition.parts.recognizer import OUTPUT_NAME  # noqa: E402
from engines.recognition.ststnet.representation import mirror, standardise  # noqa: E402
from engines.runtime.onnx_runtime import OnnxRuntimeRunner  # noqa: E402
from engines.training.face_parts import (  # noqa: E402
    PartsModel,
    PartsRecipe,
    cut_parts,
    face_kernel,
    fit_parts,
    leave_one_subject_out,
    merge_models,
    one_hot,
    solve_ridge,
)
from engines.training.fitting import balanced_weights  # noqa: E402
from engines.training.nested_parts import choose, nested_scores, recipes  # noqa: E402
from engines.training.parts_graph import build_model  # noqa: E402

RECIPE = PartsRecipe(centres=9)
LAYOUTS = sorted({(r.top_rows, r.rows, r.channels) for r in recipes()})


def pictures(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return standardise(rng.integers(0, 256, (count, 28, 28, 3), np.uint8))


def people(count: int, each: int = 4) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(count) % 3, np.array([f"s{i // each}" for i in range(count)])


def fitted(seed: int = 0) -> PartsModel:
    labels, _ = people(20)
    parts = cut_parts(pictures(20, seed), RECIPE)
    centres = cut_parts(pictures(9, seed + 100), RECIPE)
    return fit_parts(parts, labels, centres, classes=3, recipe=RECIPE)


@pytest.mark.parametrize(("top_rows", "rows", "channels"), LAYOUTS)
def test_mirroring_a_face_exchanges_its_halves(
    top_rows: tuple[int, ...], rows: int, channels: int
) -> None:
    recipe = PartsRecipe(top_rows=top_rows, rows=rows, channels=channels)
    planes = pictures(3)
    parts = cut_parts(planes, recipe)
    assert parts.shape == (3, 2, len(top_rows), recipe.part_size)
    turned = cut_parts(np.ascontiguousarray(mirror(planes)), recipe)
    np.testing.assert_allclose(turned, parts[:, ::-1], atol=1e-6)


def test_a_movement_of_one_half_is_worth_the_same_on_the_other() -> None:
    model, planes = fitted(), pictures(4, 7)
    direct = model(cut_parts(planes, RECIPE))
    turned = model(cut_parts(np.ascontiguousarray(mirror(planes)), RECIPE))
    np.testing.assert_allclose(direct, turned, atol=1e-9)


def test_a_face_is_most_like_itself() -> None:
    parts = cut_parts(pictures(6), RECIPE)
    symmetric = np.repeat(parts[:, :1], 2, axis=1)
    kernel = face_kernel(symmetric, symmetric, RECIPE)
    np.testing.assert_allclose(np.diag(kernel), 2)
    np.testing.assert_allclose(kernel, kernel.T)
    assert np.linalg.eigvalsh(face_kernel(parts, parts, RECIPE)).min() > 0


def test_centres_that_are_the_training_faces_give_the_exact_regression() -> None:
    planes, (labels, _) = pictures(12), people(12)
    parts = cut_parts(planes, RECIPE)
    both_halves = np.concatenate([parts, parts[:, ::-1]])
    recipe = PartsRecipe(jitter=1e-9)
    model = fit_parts(parts, labels, both_halves, classes=3, recipe=recipe)
    dual, _ = solve_ridge(face_kernel(parts, parts, recipe), labels, recipe.ridge, 3)
    unseen = cut_parts(pictures(5, 3), recipe)
    expected = face_kernel(unseen, parts, recipe) @ dual
    np.testing.assert_allclose(model(unseen), expected, atol=1e-6)


def test_merged_models_give_their_mean() -> None:
    first, second = fitted(0), PartsModel(*_shuffled(fitted(0)))
    parts = cut_parts(pictures(5, 3), RECIPE)
    np.testing.assert_allclose(
        merge_models([first, second])(parts), (first(parts) + second(parts)) / 2
    )


def _shuffled(model: PartsModel) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    return model.centres[:, ::-1], 2 * model.head, -model.bias, model.factor


@given(st.integers(0, 100), st.integers(0, 4))
@settings(max_examples=3, deadline=None)
def test_nothing_of_a_subject_reaches_its_scores_or_its_recipe(seed: int, person: int) -> None:
    planes, (labels, subjects) = pictures(20, seed), people(20)
    own = np.flatnonzero(subjects == f"s{person}")
    spoilt_planes, spoilt_labels = planes.copy(), labels.copy()
    spoilt_planes[own[1:]] = pictures(3, seed + 1)
    spoilt_labels[own] = (labels[own] + 1) % 3
    centres = cut_parts(pictures(9, seed + 2), RECIPE)
    pool = recipes()[::50]

    def scores(planes: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        shipped = leave_one_subject_out(
            cut_parts(planes, RECIPE), labels, subjects, centres, classes=3, recipe=RECIPE
        )
        outer, inner = zip(
            *(nested_scores(planes, labels, subjects, each, 3) for each in pool), strict=True
        )
        single, averaged, best = choose(np.stack(outer), np.stack(inner), labels, subjects)
        return [shipped[own[0]], single[own[0]], averaged[own[0]], best[person]]

    for clean, spoilt in zip(
        scores(planes, labels), scores(spoilt_planes, spoilt_labels), strict=True
    ):
        np.testing.assert_array_equal(clean, spoilt)


def test_inner_folds_are_what_leaving_out_gives() -> None:
    planes, (labels, subjects) = pictures(20), people(20)
    _, inner = nested_scores(planes, labels, subjects, RECIPE, 3)
    assert np.isnan(inner[1, subjects == "s1"]).all()
    others = np.flatnonzero(subjects != "s1")
    weights = balanced_weights(labels[others], np.ones((1, len(others)), np.bool_), 3)[0]
    learned = subjects[others] != "s3"
    parts = cut_parts(planes, RECIPE)
    kernel = face_kernel(parts, parts, RECIPE)[np.ix_(others, others)]
    dual = np.linalg.solve(
        kernel[np.ix_(learned, learned)] + np.diag(RECIPE.ridge / weights[learned]),
        one_hot(labels[others][learned], 3),
    )
    expected = kernel[np.ix_(~learned, learned)] @ dual
    np.testing.assert_allclose(inner[1, subjects == "s3"], expected, atol=1e-8)


def test_the_recipe_that_ships_is_among_those_that_folds_choose_from() -> None:
    assert PartsRecipe() in recipes()
    assert len(set(recipes())) == len(recipes())


@pytest.mark.parametrize("count", [1, 6])
def test_the_exported_graph_is_the_model(count: int) -> None:
    model = merge_models([fitted(0), fitted(1)])
    planes, temperature = pictures(count, 5), 0.3
    graph = build_model(model, RECIPE, temperature).SerializeToString()
    with OnnxRuntimeRunner(graph) as runner:
        found = runner.run({INPUT_NAME: planes})[OUTPUT_NAME]
    expected = probabilities(model(cut_parts(planes, RECIPE)), temperature)
    np.testing.assert_allclose(found, expected, atol=1e-5)
