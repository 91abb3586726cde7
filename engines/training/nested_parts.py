"""Leave one subject out with every constant of the regression chosen without the subject."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt

from engines.evaluation.recognition import scores
from engines.training.face_parts import (
    Array,
    PartsRecipe,
    cut_parts,
    face_kernel,
    one_hot,
    solve_ridge,
)

DIVISIONS = (((0,), 14), ((0, 6), 8), ((0, 4, 8), 6), ((0, 2, 5, 8, 10), 4))
"""First rows and height of one, two, three and five parts."""

BEST = 10
"""How many of the best recipes are averaged."""


def recipes() -> list[PartsRecipe]:
    """The recipes among which every fold chooses, around `PartsRecipe()`."""
    return [
        replace(
            PartsRecipe(),
            channels=channels,
            top_rows=top_rows,
            rows=rows,
            sharpness=sharpness,
            ridge=ridge,
        )
        for channels, (top_rows, rows), sharpness, ridge in product(
            (2, 3), DIVISIONS, (0.1, 0.3, 1.0), (0.1, 0.3, 1.0)
        )
    ]


def nested_scores(
    planes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    subjects: npt.NDArray[np.str_],
    recipe: PartsRecipe,
    classes: int,
) -> tuple[Array, Array]:
    """Out-of-fold scores of one recipe, in two depths.

    All training pictures serve as centres. The inner folds come from one inverse: leaving block B
    out of a ridge regression changes its residual there to inverse(A)_BB⁻¹ α_B.

    Args:
        planes: (N, 3, 28, 28) standardised flow pictures.
        labels: (N,) class indices.
        subjects: (N,) subject of each sample.
        recipe: Constants.
        classes: Number of classes C.

    Returns:
        (N, C) scores of each sample without its subject; (S, N, C) the same within the data that
        leave out subject s of `np.unique(subjects)` altogether, NaN for that subject's samples.
    """
    parts = cut_parts(planes, recipe)
    kernel = face_kernel(parts, parts, recipe)
    targets = one_hot(labels, classes)
    people, number = np.unique(subjects, return_inverse=True)
    outer = np.empty((len(labels), classes))
    inner = np.full((len(people), len(labels), classes), np.nan)
    for person in range(len(people)):
        others, own = np.flatnonzero(number != person), np.flatnonzero(number == person)
        dual, inverse = solve_ridge(
            kernel[np.ix_(others, others)], labels[others], recipe.ridge, classes
        )
        outer[own] = kernel[np.ix_(own, others)] @ dual
        for block in (np.flatnonzero(number[others] == p) for p in np.unique(number[others])):
            residual = np.linalg.solve(inverse[np.ix_(block, block)], dual[block])
            inner[person, others[block]] = targets[others[block]] - residual
    return outer, inner


def choose(
    outer: Array, inner: Array, labels: npt.NDArray[np.int64], subjects: npt.NDArray[np.str_]
) -> tuple[Array, Array, npt.NDArray[np.intp]]:
    """Choose recipes for every subject by UF1 + UAR of all other subjects.

    Args:
        outer: (R, N, C) as `nested_scores` returns them for R recipes.
        inner: (R, S, N, C) likewise.
        labels: (N,) class indices.
        subjects: (N,) subject of each sample.

    Returns:
        (N, C) scores of the best recipe, (N, C) mean scores of the `BEST` best ones, and (S,)
        which recipe was the best.
    """
    people, number = np.unique(subjects, return_inverse=True)
    single, averaged = np.empty(outer.shape[1:]), np.empty(outer.shape[1:])
    best = np.empty(len(people), np.intp)
    for person in range(len(people)):
        others = number != person
        found = [
            scores(labels[others], each[person, others].argmax(axis=1), outer.shape[-1])
            for each in inner
        ]
        ranking = np.argsort([-(each.uf1 + each.uar) for each in found], kind="stable")
        best[person] = ranking[0]
        single[~others] = outer[best[person], ~others]
        averaged[~others] = outer[ranking[:BEST]].mean(axis=0)[~others]
    return single, averaged, best
