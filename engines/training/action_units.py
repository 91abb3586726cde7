"""Learn what action units do to the motion of a face, and measure how well they are told apart.

python -m engines.training.action_units fit     --data FOLDER
python -m engines.training.action_units measure --data FOLDER

`fit` needs a synthetic set, where it is known how far every unit moved. Patterns and the covariance
of what they leave unexplained come from the training identities, the two limits below which a unit
is left out from the validation identities and from still moments of the training identities; the
figures of the model card are of the test identities. `measure` judges the estimator that ships on
any data with action units, a licensed data set that was aligned included.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from tqdm import tqdm

from calibration.card import insert_section
from engines.errors import UserError
from engines.evaluation.recognition import subject_interval
from engines.evaluation.tables import bounded, number, table
from engines.events import EventKind
from engines.network_files import UNITS_NAME
from engines.recognition.action_units import estimator as deployed
from engines.recognition.action_units.estimator import (
    FEATURES,
    FULL_IOD,
    ActionUnitEstimator,
    ActionUnitManifest,
    PatternFit,
    event_features,
    evident,
)
from engines.recognition.base import EventClip
from engines.recognition.registry import create_recognizer
from engines.synthesis.action_units import ACTION_UNITS
from engines.synthesis.performance import Performance
from engines.training.clips import ClipEvent, ClipSource, FaceClip, SyntheticSource
from engines.training.sources import open_source
from engines.training.streaming import event_clip

PROGRAM = "python -m engines.training.action_units"
VERSION = "1"
FOLDER = Path(deployed.__file__).parent

SHARES = tuple(round(0.1 + 0.05 * step, 2) for step in range(9))
"""Limits beside the strongest unit, of which the validation identities choose one."""

STILL_QUANTILE = 0.95
"""Of still moments, this share shows less than the floor of a unit."""

PRESENT_FROM = 0.5
"""Probability from which a unit that a network sees is there."""

_VIEWS = 4
_JITTER_S = 0.02  # the spotter's onset and apex are about this uncertain
_NOISE_IOD = 0.003
_NOISE_SHARE = 0.5  # patterns of people differ, so what is unexplained grows with the movement
_SHRINK = 0.5  # of the covariance towards its diagonal
_RIDGE = 1e-3
_DRAWS = 2000
_REPEATS = 3  # of a timed call, of which the shortest counts
_STILL_S = (0.05, 0.3)
_AWAY_S = 0.3


@dataclass(frozen=True, slots=True)
class Measured:
    """N expressions, measured.

    Attributes:
        features: (N, F) float64.
        present: (N, K) bool, whether a unit was coded.
        displacement: (N, K) float64 displacement from onset to apex; NaN where it is not known.
        identities: (N,) whom each shows.
    """

    features: npt.NDArray[np.float64]
    present: npt.NDArray[np.bool_]
    displacement: npt.NDArray[np.float64]
    identities: npt.NDArray[np.str_]


def measure_events(
    clips: Sequence[FaceClip],
    units: Sequence[int],
    scripts: Mapping[str, Performance],
    *,
    views: int = 1,
    seed: int = 0,
) -> Measured:
    """Measure the expressions of clips.

    Args:
        clips: Where from; expressions without action units are left out.
        units: Numbers of the K units.
        scripts: What was performed in each clip, where it is known.
        views: How often each expression is measured; from the second time on with an onset and an
            apex as uncertain as a spotter's.
        seed: Seed of these.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for clip, place, cut in _cuts(clips, views, rng):
        displacement = np.full(len(units), np.nan)
        if clip.name in scripts:
            expression = scripts[clip.name].expressions[place]
            ends = (float(cut.times_s[at]) for at in (cut.onset, cut.apex))
            before, after = (dict(expression.at(end)) for end in ends)
            displacement[:] = [after.get(u, 0.0) - before.get(u, 0.0) for u in units]
        present = [unit in clip.events[place].action_units for unit in units]
        rows.append((event_features(cut), present, displacement, clip.identity))
    if not rows:
        raise UserError("These people show no expression with action units: give other data.")
    return Measured(*map(np.array, zip(*rows, strict=True)))


def _cuts(
    clips: Sequence[FaceClip], views: int = 1, rng: np.random.Generator | None = None
) -> Iterator[tuple[FaceClip, int, EventClip]]:
    """Every coded expression as recognition gets it: clip, place among its events, faces."""
    for clip in tqdm(clips, desc="Expressions", unit="clip", file=sys.stderr):
        for place, event in enumerate(clip.events):
            for view in range(views if event.action_units else 0):
                seen = event if view == 0 or rng is None else _jittered(event, rng)
                cut = event_clip(clip, seen)
                if cut.apex > cut.onset:
                    yield clip, place, cut


def measure_still(
    clips: Sequence[FaceClip], scripts: Mapping[str, Performance], seed: int = 0
) -> npt.NDArray[np.float64]:
    """(N, F) features between moments in which nothing moves but what always does."""
    rng = np.random.default_rng(seed)
    found = []
    for clip in tqdm(clips, desc="Still moments", unit="clip", file=sys.stderr):
        script = scripts[clip.name]
        busy = [(e.onset_s, e.offset_s) for e in script.expressions]
        busy += [(d.start_s, d.end_s) for d in script.distractors if d.kind != "drift"]
        for start in np.arange(1.0, clip.duration_s - 1.0, 1.0).tolist():
            end = start + float(rng.uniform(*_STILL_S))
            if any(a - _AWAY_S < end and start < b + _AWAY_S for a, b in busy):
                continue
            cut = event_clip(clip, replace(_NO_EVENT, onset_s=start, apex_s=end))
            features = event_features(cut)
            if features is not None and _followed(clip, start, end):
                found.append(features)
    return np.array(found)


def fit_patterns(
    learned: Measured,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fit patterns, and what makes the rest white.

    Args:
        learned: Expressions whose displacements are known.

    Returns:
        (K, F) patterns and (F, F) whitening.
    """
    strongest = learned.displacement.max(axis=1)
    weight = 1 / np.hypot(_NOISE_IOD, _NOISE_SHARE * strongest)[:, None]
    moved, seen = learned.displacement * weight, learned.features * weight
    ridge = _RIDGE * np.eye(moved.shape[1])
    patterns = np.linalg.solve(moved.T @ moved + ridge, moved.T @ seen)
    covariance = np.cov((seen - moved @ patterns).T)
    covariance = (1 - _SHRINK) * covariance + _SHRINK * np.diag(np.diag(covariance))
    return patterns, np.linalg.cholesky(np.linalg.inv(covariance))


def choose_share(
    displacements: npt.NDArray[np.float64],
    floor: npt.NDArray[np.float64],
    present: npt.NDArray[np.bool_],
) -> float:
    """The share of `SHARES` with the highest F1 over all units; of equals the lowest."""
    found = [f1(present, evident(displacements, share, floor)) for share in SHARES]
    return SHARES[int(np.argmax(found))]


def f1(present: npt.NDArray[np.bool_], shown: npt.NDArray[np.bool_]) -> float:
    """F1 of units that are shown, pooled; NaN where there are none on either side."""
    seen = int(present.sum() + shown.sum())
    return 2 * int((present & shown).sum()) / seen if seen else float("nan")


def fit(source: SyntheticSource, command: str) -> tuple[ActionUnitManifest, dict[str, Any]]:
    """Fit the estimator and measure it once on the test identities.

    Args:
        source: The data.
        command: The command line, for the manifest.

    Returns:
        The estimator, and its figures.
    """
    scripts = dict(tqdm(source.scripts(), desc="Scripts", unit="clip", file=sys.stderr))
    groups = {name: list(source.clips(who)) for name, who in source.splits.items()}
    learned = measure_events(groups["train"], ACTION_UNITS, scripts, views=_VIEWS)
    patterns, whitening = (_rounded(values) for values in fit_patterns(learned))
    explain = PatternFit(patterns, whitening)
    still = np.array([explain(row) for row in measure_still(groups["train"], scripts)])
    floor = np.quantile(still, STILL_QUANTILE, axis=0).round(6)
    decide = measure_events(groups["validation"], ACTION_UNITS, scripts)
    share = choose_share(np.array([explain(row) for row in decide.features]), floor, decide.present)
    manifest = ActionUnitManifest(
        version=VERSION,
        units=ACTION_UNITS,
        features=FEATURES,
        flow="dis",
        patterns=patterns.tolist(),
        whitening=whitening.tolist(),
        share=share,
        floor=floor.tolist(),
        training={
            "data": source.title,
            "data_sha256": source.fingerprint,
            "splits": {name: list(who) for name, who in source.splits.items()},
            "expressions": len(learned.features),
            "still_moments": len(still),
            "command": command,
        },
    )
    judged = measure_events(groups["test"], ACTION_UNITS, scripts)
    found = np.array([explain(row) for row in judged.features])
    return manifest, figures(judged, found, evident(found, share, floor), ACTION_UNITS)


def figures(
    judged: Measured,
    found: npt.NDArray[np.float64],
    shown: npt.NDArray[np.bool_],
    units: Sequence[int],
) -> dict[str, Any]:
    """How well units are told, over all and for each; 95 % intervals over identities.

    Args:
        judged: Expressions that chose nothing.
        found: (N, K) displacements that were found.
        shown: (N, K) which of them are given.
        units: Numbers of the units.

    Returns:
        Ready to be written as JSON. The correlation is of displacements, and None where these are
        not known.
    """
    known = bool(np.isfinite(judged.displacement).all())

    def pooled(drawn: npt.NDArray[np.intp]) -> float:
        return f1(judged.present[drawn], shown[drawn])

    def correlation(drawn: npt.NDArray[np.intp]) -> float:
        given = np.where(shown, found, 0.0)[drawn].ravel()
        return float(np.corrcoef(given, judged.displacement[drawn].ravel())[0, 1])

    everyone = np.arange(len(found))
    report: dict[str, Any] = {
        "expressions": len(found),
        "identities": len(np.unique(judged.identities)),
        "f1": pooled(everyone),
        "f1_interval": subject_interval(pooled, judged.identities),
        "precision": float(judged.present[shown].mean()),
        "recall": float(shown[judged.present].mean()),
        "auc": area_under_curve(found.ravel(), judged.present.ravel()),
        "correlation": correlation(everyone) if known else None,
        "correlation_interval": subject_interval(correlation, judged.identities) if known else None,
        "units": [],
    }
    intervals = _unit_intervals(judged.present, shown, judged.identities)
    for column, unit in enumerate(units):
        truth, answer = judged.present[:, column], shown[:, column]
        moved, given = judged.displacement[:, column], found[:, column]
        report["units"].append(
            {
                "unit": unit,
                "present": int(truth.sum()),
                "shown": int(answer.sum()),
                "f1": f1(truth, answer),
                "f1_interval": tuple(intervals[column].tolist()),
                "auc": area_under_curve(given, truth),
                "correlation": float(np.corrcoef(given, moved)[0, 1])
                if known and moved.any() and given.any()
                else float("nan"),
            }
        )
    return report


def _unit_intervals(
    present: npt.NDArray[np.bool_],
    shown: npt.NDArray[np.bool_],
    identities: npt.NDArray[np.str_],
) -> npt.NDArray[np.float64]:
    """(K, 2) 95 % intervals of each unit's F1, as `subject_interval` draws, all at once."""
    people, person = np.unique(identities, return_inverse=True)
    belongs = (person == np.arange(len(people))[:, None]).astype(np.float64)
    hits, seen = belongs @ (present & shown), belongs @ (present.astype(int) + shown)
    drawn = np.random.default_rng(0).integers(len(people), size=(_DRAWS, len(people)))
    times = np.array([np.bincount(row, minlength=len(people)) for row in drawn], np.float64)
    with np.errstate(invalid="ignore"):  # nobody who was drawn shows the unit
        scores = 2 * (times @ hits) / (times @ seen)
    ends = np.full((present.shape[1], 2), np.nan)
    told = seen.any(axis=0)
    ends[told] = np.nanquantile(scores[:, told], [0.025, 0.975], axis=0).T
    return ends


def area_under_curve(scores: npt.NDArray[np.float64], present: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a present unit scores above an absent one."""
    positives, negatives = int(present.sum()), int((~present).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)[present].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def describe(report: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    whole = (
        f"{report['expressions']} expressions of {report['identities']} identities. All units: F1 "
        f"{bounded(report['f1'], report['f1_interval'])} (precision {report['precision']:.2f}, "
        f"recall {report['recall']:.2f}), area under the ROC curve {report['auc']:.3f}"
    )
    if report["correlation"] is not None:
        between = bounded(report["correlation"], report["correlation_interval"])
        whole += f", correlation of the displacements that are given with the true ones {between}"
    if "cost_ms" in report:
        whole += (
            f". An event cost one core {report['cost_ms']:.1f} ms (median over them, each the "
            f"shortest of {_REPEATS})"
        )
    rows = [
        [
            f"AU{row['unit']}",
            row["present"],
            row["shown"],
            *(number(row[name]) for name in ("f1", "auc", "correlation")),
        ]
        for row in report["units"]
    ]
    header = ["unit", "present", "given", "F1", "AUC", "correlation"]
    return f"{fill(whole + '.', 100)}\n\n{table(header, rows)}\n"


def model_card(manifest: ActionUnitManifest, report: Mapping[str, Any], commands: str) -> str:
    """The model card's text."""
    floors = ", ".join(
        f"AU{unit} {100 * least:.2f} %"
        for unit, least in zip(manifest.units, manifest.floor, strict=True)
    )
    return _CARD.format(
        units=", ".join(map(str, manifest.units)),
        data=manifest.training["data"],
        full=100 * FULL_IOD,
        share=manifest.share,
        quantile=100 * STILL_QUANTILE,
        still=manifest.training["still_moments"],
        floors=fill(floors, 100),
        figures=describe(report),
        commands=commands,
    )


_CARD = """\
# Model card: action units of an event

Names the action units that moved between the onset and the apex of an event, with intensities.
Serves every recogniser that does not measure them itself. Written by the commands at the end; do
not edit by hand.

## Model
The motion of 15 regions, of the apertures of the eyes, and the strain of the regions
(`engines/motion/meter.py`, from the onset face to the apex face) is explained as a sum of patterns,
one for each unit, with coefficients that are not negative; generalised least squares. Units:
{units}. A coefficient is a displacement in inter-ocular distances; intensity 1 is {full:.0f} % or
more. **An intensity is not a FACS letter**: it is a distance, not a coder's judgement.

Left out is a unit that moved less than {share:.2f} of the strongest one, and one that moved less
than {quantile:.0f} % of {still} still moments show of it:
{floors}.

## Data
{data}. **No person was filmed**: an action unit is a smooth displacement of the skin around
landmarks there, as `engines/synthesis/action_units.py` has it, and no wrinkle or bulge appears.

## Protocol
Patterns and covariance from the training identities, with onset and apex as uncertain as a
spotter's; the share of the strongest unit by F1 on the validation identities; the floors from
still moments of the training identities. In brackets 95 % intervals of a bootstrap over identities.

## Figures
Of the test identities, **synthetic**, onset and apex known. A unit counts as present if it was
scripted, however little it moved.

{figures}
## Limits
- No coded recording of faces was at hand. Through flow pictures of people, whose scale is unknown,
  F1 is 0.37 [0.30, 0.43] (`docs/recognition.md`, action units on people). On aligned data that have
  codes, `{program} measure` judges it as it is used.
- Units whose skin moves alike are told apart badly, on faces worse than here.
- One-sided units are given as if they were two-sided.
- An observed movement is not a felt emotion. Not to be used to judge truthfulness, suitability,
  health or intent of a person, nor for any decision about a person.

## Made by
```
{commands}
```
""".replace("{program}", PROGRAM)

_NO_EVENT = ClipEvent(EventKind.MICRO, 0.0, 0.0, 0.0, None)


def _jittered(event: ClipEvent, rng: np.random.Generator) -> ClipEvent:
    onset, apex = rng.normal(0.0, _JITTER_S, 2).tolist()
    return replace(event, onset_s=event.onset_s + onset, apex_s=event.apex_s + apex)


def _followed(clip: FaceClip, start: float, end: float) -> bool:
    during = (clip.times >= start) & (clip.times <= end)
    return bool(clip.valid[during].all() and not clip.restart[during].any())


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """To six digits, which is what the manifest holds."""
    return np.asarray(np.vectorize(lambda value: float(f"{value:.6g}"))(values))


def measured_shipped(source: ClipSource, engine: str | None) -> dict[str, Any]:
    """Figures of what ships on people that it was not fitted to.

    Args:
        source: The data; of those with splits the test identities.
        engine: A recogniser whose network gives the probability of action units, to be judged by
            it; None takes the shared estimator.

    Raises:
        UserError: The network gives none.
    """
    scripts: dict[str, Performance] = {}
    if isinstance(source, SyntheticSource):
        scripts = dict(tqdm(source.scripts(), desc="Scripts", unit="clip", file=sys.stderr))
    clips = list(source.clips(source.splits.get("test", source.identities)))
    judged = measure_events(clips, ACTION_UNITS, scripts)
    if engine is not None:
        presence = _probabilities(clips, engine)
        unknown = replace(judged, displacement=np.full(presence.shape, np.nan))
        return figures(unknown, presence, presence >= PRESENT_FROM, ACTION_UNITS)
    estimate = ActionUnitEstimator()
    given, costs = [], []
    for _, _, cut in _cuts(clips):
        given.append(estimate(cut) or {})
        costs.append(min(_cost_ms(partial(estimate, cut)) for _ in range(_REPEATS)))
    found = FULL_IOD * np.array([[u.get(f"AU{unit}", 0.0) for unit in ACTION_UNITS] for u in given])
    return {
        **figures(judged, found, found > 0, ACTION_UNITS),
        "cost_ms": float(np.median(costs)),
    }


def _cost_ms(call: Callable[[], object]) -> float:
    """Milliseconds of the processor that a call takes."""
    started = time.process_time()
    call()
    return 1e3 * (time.process_time() - started)


def _probabilities(clips: Sequence[FaceClip], engine: str) -> npt.NDArray[np.float64]:
    """(N, K) probability of each unit in each coded expression, by a recogniser's network."""
    recognizer: Any = create_recognizer(engine, "onnx")
    try:
        found = [recognizer.outputs(cut)[UNITS_NAME][0] for _, _, cut in _cuts(clips)]
    except (AttributeError, KeyError) as error:
        raise UserError(f"{engine} knows nothing of action units: name another engine.") from error
    finally:
        recognizer.close()
    return np.array(found, np.float64)


def main(argv: Sequence[str]) -> int:
    """Run the command line; 0 done, 2 a user's mistake."""
    options = _arguments(argv)
    try:
        source = open_source(options.data)
        shown = ["FOLDER" if each == str(options.data) else each for each in argv]
        command = f"{PROGRAM} {shlex.join(shown)}"
        if options.command == "measure":
            section = describe(measured_shipped(source, options.engine))
            print(section)
            if options.card:
                _put_into_card(options.engine, section, command)
        elif isinstance(source, SyntheticSource):
            manifest, report = fit(source, command)
            _write(options.out, manifest, report, f"{source.command}\n{command}")
            print(describe(report))
        else:
            raise UserError(
                f"{options.data} does not tell how far action units moved: give a synthetic set."
            )
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _put_into_card(engine: str | None, section: str, command: str) -> None:
    """Add the figures to a recogniser's card; the estimator's own has them."""
    if engine is None:
        raise UserError("The estimator's card is written by fit: name an engine with --engine.")
    card = FOLDER.parent / engine / "model_card.md"
    about = (
        "How well the network's own nodes tell which units are there: events carry them as\n"
        "`unit_probabilities`, beside the intensities of `engines/recognition/action_units/`. Of\n"
        "the test identities.\n\n"
    )
    text = f"## Action units\n{about}{section}\n```\n{command}\n```\n"
    card.write_text(insert_section(card.read_text("utf-8"), text), "utf-8", newline="\n")


def _write(
    folder: Path, manifest: ActionUnitManifest, report: Mapping[str, Any], commands: str
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(manifest.model_dump(mode="json"))
    (folder / deployed.MANIFEST_FILE).write_text(document + "\n", "utf-8", newline="\n")
    card = model_card(manifest, report, commands)
    (folder / "model_card.md").write_text(card, "utf-8", newline="\n")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fitting = commands.add_parser("fit", help="fit, test and ship the estimator")
    measuring = commands.add_parser("measure", help="judge the estimator that ships")
    for command in (fitting, measuring):
        command.add_argument(
            "--data", type=Path, required=True, metavar="FOLDER", help="synthetic or aligned set"
        )
    measuring.add_argument(
        "--engine",
        metavar="NAME",
        help="judge the network of this recogniser (default: the estimator)",
    )
    measuring.add_argument(
        "--card", action="store_true", help="also put the figures into the engine's model card"
    )
    fitting.add_argument(
        "--out",
        type=Path,
        default=FOLDER,
        metavar="FOLDER",
        help="where manifest and model card go (default: the package's)",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
