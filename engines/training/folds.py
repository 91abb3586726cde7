"""Who is learned from, who decides, and who is only looked at in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.errors import UserError

VALIDATION_SHARE = 0.2
"""Share of the identities that decide on epoch, threshold and temperature in a fold."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One division of the identities; no identity is in two parts.

    Attributes:
        name: Name of its folder.
        train: Whom the weights are fitted to.
        validation: Who chooses epoch, decision and temperature.
        test: Whom only the final figures know; empty for a network that is not evaluated.
    """

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def holdout(splits: Mapping[str, Sequence[str]]) -> list[Fold]:
    """The one fold of data that come with splits.

    Raises:
        UserError: The data have no splits.
    """
    try:
        parts = [tuple(splits[name]) for name in ("train", "validation", "test")]
    except KeyError as error:
        raise UserError(
            "These data have no train, validation and test identities: use --protocol loso."
        ) from error
    return [Fold("holdout", *parts)]


def leave_one_subject_out(identities: Sequence[str], seed: int) -> list[Fold]:
    """A fold for each identity, and `final` without a test, whose network ships.

    Args:
        identities: Everybody; at least three.
        seed: Seed of who validates in which fold.

    Raises:
        UserError: Fewer than three identities.
    """
    if len(identities) < 3:
        raise UserError(
            "Leaving one subject out needs at least three: one to learn from, one to decide and "
            "one to test."
        )
    folds = []
    for number, tested in enumerate([*identities, None]):
        others = [who for who in identities if who != tested]
        count = max(1, round(VALIDATION_SHARE * len(others)))
        order = np.random.default_rng([seed, number]).permutation(len(others))
        folds.append(
            Fold(
                name="final" if tested is None else f"without-{tested}",
                train=tuple(others[i] for i in sorted(order[count:])),
                validation=tuple(others[i] for i in sorted(order[:count])),
                test=() if tested is None else (tested,),
            )
        )
    return folds


def grouped(subjects: npt.NDArray[np.str_], groups: int | None) -> npt.NDArray[np.str_]:
    """What is left out at a time: each subject, or one of some groups of subjects.

    Args:
        subjects: (N,) subject of each sample.
        groups: Number of groups, of nearly equal numbers of subjects; None leaves out one subject.

    Returns:
        (N,) name of what each sample is left out with.
    """
    if groups is None:
        return subjects
    people, person = np.unique(subjects, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(people))
    return (order[person] % groups).astype(np.str_)
