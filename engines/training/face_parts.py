"""Parts of a face compared by Gaussian kernels, and ridge regression on top.

A flow picture is cut into brows, middle and mouth of either half of the face; the left half is
mirrored. Two faces are alike as far as their parts are, whichever half shows them: the kernel is
the mean over the parts, and over the four pairs of halves, of a Gaussian of their distance. Kernel
ridge regression with it is solved in closed form.

What ships compares a face with synthetic pictures, the *centres*, instead of with the faces that
it learned from (the Nyström approximation; Williams and Seeger, "Using the Nyström method to speed
up kernel machines", NIPS 2000): no picture of a person is part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from engines.training.fitting import balanced_weights

POOLED = 14
"""Side of the picture after averaging 4x4 cells every 2 cells."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PartsRecipe:
    """Constants of the regression; the same for every fold.

    Attributes:
        top_rows: First row of each part in the pooled picture. As they are, the parts are brows
            and eyes; lower lids to nose wings; mouth and chin.
        rows: Rows of a part.
        channels: Channels that are looked at: 2 for u and v, 3 for strain as well.
        sharpness: Factor of the mean squared difference of two parts in the Gaussian's exponent.
        ridge: Weight of the penalty; a face's similarity to itself is at most 2.
        centres: Synthetic pictures for each member.
        jitter: Added to the similarity of a centre to itself; keeps the weights small.
    """

    top_rows: tuple[int, ...] = (0, 4, 8)
    rows: int = 6
    channels: int = 2
    sharpness: float = 0.3
    ridge: float = 0.3
    centres: int = 200
    jitter: float = 0.01

    @property
    def part_size(self) -> int:
        """Values of a part."""
        return self.channels * self.rows * POOLED // 2


@dataclass(frozen=True, slots=True)
class PartsModel:
    """A fitted regression.

    Attributes:
        centres: (P, M, K) parts of the centres.
        head: (P, M, C) weights of the similarities to them.
        bias: (C,).
        factor: What a squared distance is multiplied by.
    """

    centres: Array
    head: Array
    bias: Array
    factor: float

    def __call__(self, parts: Array) -> Array:
        """Scores of the classes.

        Args:
            parts: (N, 2, P, K) as `cut_parts` returns them.

        Returns:
            (N, C) float64: about the posterior under equal priors, less 1/C.
        """
        scores = np.repeat(self.bias[None], len(parts), axis=0)
        for part, (centres, head) in enumerate(zip(self.centres, self.head, strict=True)):
            scores += _to_centres(parts[:, :, part], centres, self.factor) @ head
        return scores


def cut_parts(planes: npt.NDArray[np.float32], recipe: PartsRecipe) -> Array:
    """Cut flow pictures into parts.

    Args:
        planes: (N, 3, 28, 28) standardised flow pictures.
        recipe: Says which parts.

    Returns:
        (N, 2, P, K) float64: the right half of the face and the mirrored left half, P parts each.
    """
    pooled = functional.avg_pool2d(
        torch.from_numpy(planes), 4, stride=2, padding=1, count_include_pad=False
    )
    places, signs = part_places(recipe)
    return np.asarray(pooled.flatten(1).numpy()[:, places] * signs, np.float64)


def part_places(recipe: PartsRecipe) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Where the values of the parts lie in a pooled picture, (3, 14, 14) flattened.

    Args:
        recipe: Says which parts.

    Returns:
        (2, P, K) places, and what the values are multiplied by: u of the left half turns its sign.
    """
    places = np.arange(3 * POOLED**2).reshape(3, POOLED, POOLED)[: recipe.channels]
    turned = np.where(places < POOLED**2, -1, 1)
    halves = ((places, np.ones_like(turned)), (places[..., ::-1], turned))

    def cut(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        kept = values[..., : POOLED // 2]
        return np.stack([kept[:, top : top + recipe.rows].ravel() for top in recipe.top_rows])

    at, sign = (np.stack([cut(half[i]) for half in halves]) for i in (0, 1))
    return at, sign.astype(np.float32)


def face_kernel(first: Array, second: Array, recipe: PartsRecipe) -> Array:
    """Similarity of faces, plus 1 for the bias of a regression.

    Args:
        first: (N, 2, P, K) parts.
        second: (M, 2, P, K) parts.
        recipe: Sharpness.

    Returns:
        (N, M) float64.
    """
    factor = recipe.sharpness / recipe.part_size
    parts = range(first.shape[2])
    halves = [
        _to_centres(first[:, :, part], second[:, half, part], factor)
        for part in parts
        for half in (0, 1)
    ]
    return np.asarray(1 + np.mean(halves, axis=0))


def solve_ridge(
    kernel: Array, labels: npt.NDArray[np.int64], ridge: float, classes: int
) -> tuple[Array, Array]:
    """Solve kernel ridge regression on the classes, each class weighing the same.

    Args:
        kernel: (N, N) similarities of the training samples.
        labels: (N,) class indices.
        ridge: Weight of the penalty.
        classes: Number of classes C.

    Returns:
        (N, C) dual weights, and the (N, N) inverse of the regularised kernel.
    """
    everyone = np.ones((1, len(labels)), np.bool_)
    weights = balanced_weights(labels, everyone, classes)[0].astype(np.float64)
    inverse = np.linalg.inv(kernel + np.diag(ridge / weights))
    return inverse @ one_hot(labels, classes), inverse


def one_hot(labels: npt.NDArray[np.int64], classes: int) -> Array:
    """(N, C) targets of the regression, of mean zero over the classes."""
    return np.asarray(np.eye(classes)[labels] - 1 / classes)


def fit_parts(
    parts: Array,
    labels: npt.NDArray[np.int64],
    centres: Array,
    *,
    classes: int,
    recipe: PartsRecipe,
) -> PartsModel:
    """Fit the regression on similarities to centres.

    Args:
        parts: (N, 2, P, K) training pictures.
        labels: (N,) class indices.
        centres: (M, 2, P, K) synthetic pictures; their right halves are used.
        classes: Number of classes C.
        recipe: Constants.

    Returns:
        The model.
    """
    factor = recipe.sharpness / recipe.part_size
    own = np.moveaxis(centres[:, 0], 0, 1)
    kernel = np.ones((len(labels), len(labels)))
    projections = []
    for part, each in enumerate(own):
        features = _to_centres(parts[:, :, part], each, factor)
        among = _gaussian(each, each, factor) + recipe.jitter * np.eye(len(each))
        projections.append(np.linalg.solve(among, features.T) / len(own))
        kernel += features @ projections[-1]
    dual, _ = solve_ridge(kernel, labels, recipe.ridge, classes)
    head = np.stack([projection @ dual for projection in projections])
    return PartsModel(own, head, dual.sum(axis=0), factor)


def merge_models(models: Sequence[PartsModel]) -> PartsModel:
    """One model that gives the mean of several.

    Args:
        models: Models of one recipe with centres of their own.

    Returns:
        A model with all their centres.
    """
    return PartsModel(
        centres=np.concatenate([model.centres for model in models], axis=1),
        head=np.concatenate([model.head for model in models], axis=1) / len(models),
        bias=np.mean([model.bias for model in models], axis=0),
        factor=models[0].factor,
    )


def leave_one_subject_out(
    parts: Array,
    labels: npt.NDArray[np.int64],
    subjects: npt.NDArray[np.str_],
    centres: Array,
    *,
    classes: int,
    recipe: PartsRecipe,
) -> Array:
    """Scores of every sample from a model that never saw the sample's subject.

    Args:
        parts: (N, 2, P, K) pictures.
        labels: (N,) class indices.
        subjects: (N,) subject of each sample.
        centres: (M, 2, P, K) synthetic pictures.
        classes: Number of classes C.
        recipe: Constants, the same for every fold.

    Returns:
        (N, C) float64 out-of-fold scores.
    """
    scores = np.empty((len(labels), classes))
    for subject in np.unique(subjects):
        own = subjects == subject
        model = fit_parts(parts[~own], labels[~own], centres, classes=classes, recipe=recipe)
        scores[own] = model(parts[own])
    return scores


def _gaussian(first: Array, second: Array, factor: float) -> Array:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    return np.asarray(np.exp(-factor * np.maximum(squares - 2 * first @ second.T, 0)))


def _to_centres(halves: Array, centres: Array, factor: float) -> Array:
    """(N, M) mean similarity of the two halves of a part, (N, 2, K), to centres, (M, K)."""
    return 0.5 * (
        _gaussian(halves[:, 0], centres, factor) + _gaussian(halves[:, 1], centres, factor)
    )
