"""Measure action units on people, told by what is no network on flow pictures.

python -m engines.training.people_units --data ../shared/data/composite3 --codes CASME.csv SAMM.csv

Two tell them of the coded clips of the composite data set. The estimator that ships, whose
intensities events carry: it needs displacements, of which the published pictures have lost scale
and zero, u and v each by itself. Strain, which follows from both, gives their ratio back; the zero
is the head's motion, which is removed anyhow; and the common scale no share depends on. Only the
floor of still faces cannot be applied. And ridge regression on the parts of the face that the
recogniser `parts` looks at, learned from the codes of the other subjects: what these pictures hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from engines.errors import UserError
from engines.evaluation.tables import bounded
from engines.motion.canonical import FACE_SIZE, INTER_OCULAR_PX, REGION_NAMES
from engines.motion.regions import GRID, RegionWeights
from engines.motion.strain import optical_strain
from engines.recognition.action_units.estimator import ActionUnitEstimator, evident
from engines.recognition.ststnet.representation import COLUMNS, ROWS, standardise
from engines.training.action_units import figures
from engines.training.composite3 import Composite3, load_composite3
from engines.training.face_parts import PartsRecipe, cut_parts, face_kernel
from engines.training.facs_codes import (
    FacsCodes,
    describe_people,
    judged_by,
    read_codes,
    unit_figures,
    unit_table,
)
from engines.training.flow_pictures import mean_landmarks

PROGRAM = "python -m engines.training.people_units"

_RATIOS = np.geomspace(0.15, 6.0, 41)
"""How many times larger a level of v may be than one of u."""


def restored_flow(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(28, 28, 2) u and v of a published (28, 28, 3) picture on one scale, whatever that is.

    Their ratio is the one under which their strain resembles the picture's most.
    """
    levels = picture.astype(np.float32)
    flow = levels[..., :2] - np.median(levels[..., :2], axis=(0, 1))
    strain = levels[..., 2].ravel()
    stretched = [flow * np.array([1, ratio], np.float32) for ratio in _RATIOS]
    alike = [np.corrcoef(optical_strain(each).ravel(), strain)[0, 1] for each in stretched]
    return np.asarray(stretched[int(np.nanargmax(alike))], np.float32)


def region_features(
    flow: npt.NDArray[np.float32], weights: RegionWeights
) -> npt.NDArray[np.float64]:
    """(F,) features of a (28, 28, 2) flow, as `event_features` measures them of faces.

    Args:
        flow: u and v, in any unit.
        weights: Regions of the face.
    """
    at = (np.arange(GRID, dtype=np.float32) + 0.5) * (FACE_SIZE / GRID) - 0.5
    across, down = np.meshgrid(*((at - c[0]) / (c[1] - c[0]) for c in (COLUMNS, ROWS)))
    places = (across.astype(np.float32), down.astype(np.float32))
    cells = cv2.remap(flow, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    means = weights.all_rows @ cells.reshape(-1, 2) / INTER_OCULAR_PX
    measured = len(weights.matrix)
    moved = means[:measured] - (weights.head @ means[measured:].ravel()).reshape(-1, 2)
    strain = optical_strain(np.asarray(cells, np.float32)) * (GRID / FACE_SIZE)
    regions = weights.matrix[: len(REGION_NAMES)] @ strain.ravel()
    return np.concatenate([moved.ravel(), regions], dtype=np.float64)


def estimated(
    data: Composite3, estimator: ActionUnitEstimator, weights: RegionWeights
) -> npt.NDArray[np.float64]:
    """(N, A) displacements by the estimator, as shares of the strongest of each picture."""
    found = np.array(
        [
            estimator.explained(region_features(restored_flow(picture), weights))
            for picture in data.pictures
        ]
    )
    shares: npt.NDArray[np.float64] = found / np.maximum(found.max(axis=1, keepdims=True), 1e-12)
    return shares


def regressed(data: Composite3, codes: FacsCodes) -> npt.NDArray[np.float64]:
    """(N, A) scores by kernel ridge regression on the codes of the other subjects.

    Kernel and ridge are those that `parts` ships with; nothing was chosen for the units.
    """
    recipe = PartsRecipe()
    parts = cut_parts(standardise(data.pictures), recipe)
    kernel = face_kernel(parts, parts, recipe)
    scores = np.empty(codes.presence.shape)
    for subject in np.unique(data.subjects):
        own = data.subjects == subject
        learned = np.flatnonzero(codes.known & ~own)
        present = codes.presence[learned].astype(np.float64)
        mean = present.mean(axis=0)
        ridge = kernel[np.ix_(learned, learned)] + recipe.ridge * np.eye(len(learned))
        scores[own] = kernel[np.ix_(own, learned)] @ np.linalg.solve(ridge, present - mean) + mean
    return scores


def report(data: Composite3, codes: FacsCodes) -> str:
    """Both, as Markdown."""
    estimator = ActionUnitEstimator()
    shares = estimated(data, estimator, RegionWeights(mean_landmarks()))[codes.known]
    shown = evident(shares, estimator.share, np.zeros(shares.shape[1]))
    found = figures(judged_by(codes, data.subjects), shares, shown, estimator.units)
    return (
        f"## The estimator\n\nF1 over all units {bounded(found['f1'], found['f1_interval'])} "
        f"(precision {found['precision']:.2f}, recall {found['recall']:.2f}), area under the ROC "
        f"curve {found['auc']:.2f}; nothing was learned from people.\n\n{unit_table(found)}\n\n"
        "## Ridge regression on parts of the face\n\n"
        f"{describe_people(unit_figures(codes, regressed(data, codes), data.subjects))}"
    )


def main(argv: Sequence[str]) -> int:
    """Run the command line; 0 done, 2 a user's mistake."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="PATH", help="composite3, or its folder")
    add(
        "--codes",
        type=Path,
        nargs="+",
        required=True,
        metavar="TABLE",
        help="coding tables of CASME II and SAMM",
    )
    options = parser.parse_args(argv)
    try:
        data = load_composite3(options.data)
        print(report(data, read_codes(options.codes, data)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
