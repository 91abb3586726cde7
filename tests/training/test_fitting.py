from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.recognition.ststnet.representation import mirror, standardise  # noqa: E402
from engines.training.fitting import (  # noqa: E402
    Recipe,
    augment,
    balanced_weights,
    fit,
    leave_one_subject_out,
    mirrored_logits,
)

SHORT = Recipe(epochs=2, batch=8)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def data(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    planes = standardise(rng.integers(0, 256, (count, 28, 28, 3), np.uint8))
    labels = np.arange(count) % 3
    subjects = np.array([f"s{i // 4}" for i in range(count)])
    return planes, labels, subjects


@given(st.integers(0, 100), st.integers(0, 4))
@settings(max_examples=6, deadline=None)
def test_nothing_of_the_test_subject_reaches_its_network(seed: int, person: int) -> None:
    """Other pictures and other labels of a subject leave its fold's network bit-identical."""
    planes, labels, subjects = data(20, seed)
    own = subjects == f"s{person}"
    spoilt_planes, spoilt_labels = planes.copy(), labels.copy()
    spoilt_planes[own] = 1e3 * np.random.default_rng(seed).normal(size=planes[own].shape)
    spoilt_labels[own] = (labels[own] + 1) % 3

    def network(fold_planes: np.ndarray, fold_labels: np.ndarray) -> list[np.ndarray]:
        included = np.arange(5)[:, None] != np.unique(subjects, return_inverse=True)[1]
        weights = balanced_weights(fold_labels, included, 3)
        bank = fit(fold_planes, fold_labels, weights, classes=3, recipe=SHORT, seed=seed)
        kernel = bank.kernel.detach().numpy().reshape(5, -1)[person]
        return [kernel, bank.head.detach().numpy()[person], bank.head_bias.detach().numpy()[person]]

    for clean, spoilt in zip(
        network(planes, labels), network(spoilt_planes, spoilt_labels), strict=True
    ):
        np.testing.assert_array_equal(clean, spoilt)


def test_out_of_fold_logits_come_from_a_network_without_the_subject() -> None:
    planes, labels, subjects = data(12)
    logits = leave_one_subject_out(planes, labels, subjects, classes=3, recipe=SHORT, seed=3)
    others = subjects != "s1"
    alone = fit(
        planes,
        labels,
        balanced_weights(labels, others[None], 3),
        classes=3,
        recipe=SHORT,
        seed=3,
    )
    np.testing.assert_allclose(
        logits[~others], mirrored_logits(alone, planes[~others])[:, 0], atol=1e-4
    )


def test_a_seed_gives_the_same_network_again() -> None:
    planes, labels, _ = data(16)
    weights = np.ones((1, 16), np.float32)
    first, again, other = (
        fit(planes, labels, weights, classes=3, recipe=SHORT, seed=seed).head.detach().numpy()
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_learns_ten_samples_by_heart() -> None:
    planes, labels, _ = data(10)
    recipe = Recipe(
        epochs=150, batch=10, dropout=0, label_smoothing=0, weight_decay=0, shift=0, stretch=0
    )
    bank = fit(planes, labels, np.ones((1, 10), np.float32), classes=3, recipe=recipe, seed=0)
    np.testing.assert_array_equal(mirrored_logits(bank, planes)[:, 0].argmax(1), labels)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_weights_balance_the_classes_among_the_included(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 40)
    included = rng.random((5, 40)) < 0.7
    weights = balanced_weights(labels, included, 3)
    assert not weights[~included].any()
    for row, chosen in zip(weights, included, strict=True):
        sums = [row[labels == c].sum() for c in np.unique(labels[chosen])]
        np.testing.assert_allclose(sums, sums[0], rtol=1e-5)


def test_augmentation_off_is_nothing_or_a_mirror() -> None:
    planes = torch.from_numpy(data(12)[0])
    recipe = Recipe(shift=0, stretch=0)
    moved = augment(planes, recipe, torch.Generator().manual_seed(0)).numpy()
    original, mirrored = planes.numpy(), mirror(planes.numpy())
    kinds = []
    for i in range(12):
        same = np.abs(moved[i] - original[i]).max() < 1e-4
        assert same or np.abs(moved[i] - mirrored[i]).max() < 1e-4
        kinds.append(same)
    assert 0 < sum(kinds) < 12
