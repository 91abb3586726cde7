"""Train LTP-ML: S-patterns, Hammerstein models, a linear support vector machine. Needs no PyTorch.

python -m engines.training.ltp_ml --data FOLDER --out runs/ltp-ml
python -m engines.training.ltp_ml --data FOLDER --out runs/ltp-ml --ship

The machine is fitted to the training identities; how its positive patterns were made, and every
constant of the decision, is chosen on the validation identities; the test identities are looked at
once, in the end. `--ship` also writes manifest and model card of the engine that Glint runs.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from engines.errors import UserError
from engines.evaluation.spotting import Tally, pool
from engines.evaluation.tables import json_ready
from engines.events import Event, EventKind
from engines.spotting.base import MotionSample
from engines.spotting.gating import GateConfig
from engines.spotting.ltp_ml.following import FollowingConfig
from engines.spotting.ltp_ml.fusion import FusionConfig, face_answers
from engines.spotting.ltp_ml.patches import FacePatches
from engines.spotting.ltp_ml.patterns import (
    FEATURES,
    PATTERN_S,
    STEPS,
    distances_of,
    features_of,
)
from engines.spotting.ltp_ml.spotter import (
    MANIFEST,
    NAME,
    FaceJudge,
    JudgeConfig,
    LocalPatterns,
    LtpMlManifest,
    Machine,
)
from engines.training.clips import ClipSource, FaceClip, at_rate
from engines.training.figures import spotting_figures
from engines.training.folds import holdout
from engines.training.ltp_ml_card import model_card
from engines.training.s_patterns import LEAD_S, MuscleFit, fit_muscles, generate, select
from engines.training.sources import open_source
from engines.training.streaming import judged, kept, measure

PROGRAM = "python -m engines.training.ltp_ml"

VERSION = "1"
"""Of the weights that are made."""

Patterns = npt.NDArray[np.float32]

PATTERN_RATE_HZ = 30.0
"""Patterns are taken from clips at this rate at most."""

NEGATIVE_SHARE = 1 / 8
"""Share of the patterns away from micro-expressions that is learned from (published)."""

COST, POSITIVE_WEIGHT = 5.0, 2.5
"""Of the support vector machine (published)."""

CHOOSING_FPS = 60.0
"""Clips of the validation identities that are faster are looked at at this rate: it saves time, and
every constant is in seconds."""

GENERATED = 10
"""Patterns that are generated for each one that is kept."""

CANDIDATES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "threshold": (-0.2, 0.0, 0.2, 0.4, 0.6),
        "regions": (1, 2, 3),
        "nose_threshold": (0.0, 0.4, 1.0, 10.0),
        "head_regions": (5, 7, 9, 13),
        "fall_to": (0.1, 0.2, 0.35),
        "min_run_s": (0.0, 0.03, 0.06),
        "hold_s": (0.03, 0.06),
        "return_share": (0.5, 0.8, 10.0),
        "blink_share": (0.0, 0.3, 0.5),
    }
)
"""What each constant is chosen from; a return share of 10 asks for no return."""

_START: Mapping[str, Any] = MappingProxyType(
    {"threshold": 0.2, "regions": 2, "nose_threshold": 1.0, "head_regions": 9, "fall_to": 0.2,
     "min_run_s": 0.03, "hold_s": 0.03, "return_share": 0.8, "blink_share": 0.3}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FollowedClip:
    """A clip whose patches were followed.

    Attributes:
        clip: The clip.
        coordinates: (N, 12, 2) float32 displacement of the patches; zeros without a face.
        features: (N, 12, FEATURES) float32 of the patterns that end there; NaN where no whole
            pattern is known.
        breaks: (N,) bool, where measurement starts anew or there is no face.
        samples: Motion of every frame, which events must stand up to; empty where nothing is
            decided.
    """

    clip: FaceClip
    coordinates: Patterns
    features: Patterns
    breaks: npt.NDArray[np.bool_]
    samples: tuple[MotionSample, ...] = ()


@dataclass(frozen=True, slots=True)
class Positives:
    """Patterns in which a micro-expression begins, by where they come from.

    Attributes:
        plain: (N, STEPS) all of the label window of every selected patch.
        filtered: (F, STEPS) those of them whose onset a muscle explains.
        generated: (G, STEPS) those that the muscles make.
        fits: Of the selected onsets.
    """

    plain: Patterns
    filtered: Patterns
    generated: Patterns
    fits: tuple[MuscleFit, ...]

    def arms(self) -> dict[str, Patterns]:
        """What a machine may learn from, by name."""
        return {
            "S-patterns": self.plain,
            "filtered by the muscle": self.filtered,
            "and generated": np.concatenate([self.filtered, self.generated]),
        }


def follow(clip: FaceClip) -> FollowedClip:
    """Follow the patches of a clip, as the live spotter does."""
    patches, local = FacePatches(), LocalPatterns(clip.fps)
    coordinates = np.zeros((len(clip.times), 12, 2), np.float32)
    features = np.full((len(clip.times), 12, FEATURES), np.nan, np.float32)
    breaks = ~clip.valid | clip.restart
    for index, time_s in enumerate(clip.times.tolist()):
        if breaks[index]:
            patches.reset()
            local.reset()
        if clip.valid[index]:
            coordinates[index] = patches.push(time_s, clip.faces[index], clip.mesh)
            known = local.push(time_s, coordinates[index])
            if known is not None:
                features[index] = known
    return FollowedClip(clip, coordinates, features, breaks)


def patterns_of(followed: FollowedClip) -> tuple[npt.NDArray[np.float64], Patterns]:
    """All patterns of a clip, at `PATTERN_RATE_HZ`.

    Returns:
        (M,) seconds at which they start, and (M, 12, STEPS) distances in pixels.
    """
    step = max(1, round(followed.clip.fps / PATTERN_RATE_HZ))
    features = followed.features[::step]
    known = np.isfinite(features[:, 0, 0])
    return followed.clip.times[::step][known] - PATTERN_S, distances_of(features[known])


def gather(clips: Iterable[FaceClip], seed: int) -> tuple[Positives, Patterns]:
    """Positive and negative patterns of the training identities."""
    rng = np.random.default_rng(seed)
    windows: list[Patterns] = []  # of each selected onset, the patterns of its label window
    onsets: list[Patterns] = []
    negatives: list[Patterns] = []
    for clip in clips:
        starts, patterns = patterns_of(follow(clip))
        away = np.ones(len(starts), bool)
        for event in clip.events:
            if event.kind is not EventKind.MICRO:
                continue
            away &= (starts + PATTERN_S < event.onset_s) | (starts > event.offset_s)
            near = np.flatnonzero((starts > event.onset_s - LEAD_S) & (starts <= event.onset_s))
            if len(near):
                for patch in select(patterns[near[-1]]):
                    windows.append(patterns[near, patch])
                    onsets.append(patterns[near[-1], patch])
        drawn = away & (rng.random(len(starts)) < NEGATIVE_SHARE)
        negatives.append(patterns[drawn].reshape(-1, STEPS))
    if not onsets:
        raise UserError("The training identities show no S-pattern: give more clips.")
    fits = fit_muscles(np.array(onsets))
    trusted = [i for i, fit in enumerate(fits) if fit.plausible]
    if not trusted:
        raise UserError("No muscle explains any of the S-patterns: give more clips.")
    made = generate(
        [fits[i] for i in trusted],
        np.array([onsets[i] for i in trusted]),
        GENERATED * len(trusted),
        rng,
    )
    positives = Positives(
        plain=np.concatenate(windows),
        filtered=np.concatenate([windows[i] for i in trusted]),
        generated=made,
        fits=fits,
    )
    return positives, np.concatenate(negatives)


def fit_machine(positives: Patterns, negatives: Patterns) -> Machine:
    """Fit the linear support vector machine; the scale of the features goes into its weights."""
    from sklearn.svm import LinearSVC  # noqa: PLC0415 - only training needs it

    features = features_of(np.concatenate([positives, negatives])).astype(np.float64)
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    # As many generated patterns as one likes must not change what a false alarm costs.
    balance = len(negatives) / len(positives) / 10
    machine = LinearSVC(
        C=COST, class_weight={0: 1.0, 1: POSITIVE_WEIGHT * balance}, dual=False, max_iter=5000
    ).fit((features - mean) / spread, labels)
    weights = machine.coef_[0] / spread
    bias = float(machine.intercept_[0] - weights @ mean)
    return Machine(weights=tuple(weights.tolist()), bias=bias)


def measured(clip: FaceClip) -> FollowedClip:
    """Follow the patches of a clip, and measure its motion."""
    samples = tuple(kept(sample) for sample in measure(clip, delta_flow=False))
    return replace(follow(clip), samples=samples)


def decide(followed: FollowedClip, machine: Machine, config: JudgeConfig) -> Tally:
    """What a machine and a decision find in a clip, against the truth."""
    judge = FaceJudge(config, followed.clip.fps, NAME)
    answers = followed.features @ np.array(machine.weights, np.float32) + np.float32(machine.bias)
    clear, scores = face_answers(answers, followed.features[..., 0], config.fusion.regions)
    times = followed.clip.times.tolist()
    found: list[Event] = []
    for index, score in enumerate(scores.tolist()):
        if followed.breaks[index]:
            found += judge.interrupt("break")
        if followed.clip.valid[index]:
            fused = None
            if math.isfinite(score):
                fused = judge.fusion.fuse(times[index], answers[index], clear[index], score)
            sample = followed.samples[index]
            found += judge.push(sample, followed.coordinates[index], fused).events
    return judged(followed.clip, chain(found, judge.interrupt("end_of_stream")))


def judge_config(values: Mapping[str, Any]) -> JudgeConfig:
    """Sort constants into what they belong to."""

    def of(model: type[Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name in model.model_fields}

    return JudgeConfig(
        fusion=FusionConfig(**of(FusionConfig)),
        following=FollowingConfig(**of(FollowingConfig)),
        gates=GateConfig(**of(GateConfig)),
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A machine with the constants that were chosen for it.

    Attributes:
        machine: The machine.
        values: The constants.
        validation: What both find on the validation identities.
    """

    machine: Machine
    values: Mapping[str, Any]
    validation: Tally

    @property
    def f1(self) -> float:
        """F1 on the validation identities; 0 where nothing was found."""
        return float(np.nan_to_num(self.validation.f1))

    def found(self, clips: Sequence[FollowedClip]) -> list[tuple[str, Tally]]:
        """Identity and tally of each of some clips."""
        config = judge_config(self.values)
        return [(c.clip.identity, decide(c, self.machine, config)) for c in clips]


def choose(
    machine: Machine,
    clips: Sequence[FollowedClip],
    start: Mapping[str, Any],
    names: Sequence[str],
    bar: tqdm[Any],
) -> Chosen:
    """Choose constants one after the other by the F1 of micro-expressions.

    Args:
        machine: Whose answers are decided on.
        clips: Of the validation identities.
        start: Where to start from.
        names: Which constants, in order.
        bar: Is moved for every value that is tried.

    Returns:
        The best; of equals the one tried first.
    """

    def tried(values: Mapping[str, Any]) -> Chosen:
        bar.update()
        config = judge_config(values)
        return Chosen(machine, values, pool(decide(clip, machine, config) for clip in clips))

    best = tried(start)
    for name in names:
        others = [value for value in CANDIDATES[name] if value != best.values[name]]
        # The first of equals is the one that stands already.
        best = max([best, *(tried({**best.values, name: v}) for v in others)], key=lambda c: c.f1)
    return best


def train(source: ClipSource, seed: int) -> dict[str, Any]:
    """Fit, choose, and test once.

    Returns:
        What `result.json` holds.

    Raises:
        UserError: The data have no splits, or nothing to learn from.
    """
    (fold,) = holdout(source.splits)

    def clips(identities: Sequence[str], what: str) -> Iterator[FaceClip]:
        return iter(tqdm(source.clips(identities), desc=what, unit="clip", file=sys.stderr))

    positives, negatives = gather(clips(fold.train, "patterns"), seed)
    deciding = [
        measured(at_rate(clip, CHOOSING_FPS) if clip.fps > CHOOSING_FPS else clip)
        for clip in clips(fold.validation, "validation")
    ]
    with tqdm(desc="choosing", unit="trial", file=sys.stderr) as bar:
        arms = {
            name: choose(fit_machine(patterns, negatives), deciding, _START, ("threshold",), bar)
            for name, patterns in positives.arms().items()
        }
        arm = max(arms, key=lambda name: arms[name].f1)
        best = choose(arms[arm].machine, deciding, arms[arm].values, tuple(CANDIDATES), bar)
        best = choose(best.machine, deciding, best.values, ("threshold",), bar)
    testing = [measured(clip) for clip in clips(fold.test, "test")]
    tested = best.found(testing)
    rates = [followed.clip.fps for followed in testing]
    manifest = LtpMlManifest(
        name=NAME,
        version=VERSION,
        machine=best.machine,
        decision=judge_config(best.values),
        training={
            "data": source.title,
            "data_sha256": source.fingerprint,
            "fold": {part: list(getattr(fold, part)) for part in ("train", "validation", "test")},
            "seed": seed,
            "patterns": arm,
        },
    )
    return {
        "manifest": manifest.model_dump(mode="json"),
        "synthetic": source.synthetic,
        "data_command": source.command,
        "validation_f1": best.f1,
        "validation_micro": best.validation.tp + best.validation.fn,
        "muscles": _muscles(positives.fits),
        "negatives": len(negatives),
        "arms": {
            name: {
                "positives": len(patterns),
                "validation_f1": arms[name].f1,
                "test_f1": pool(tally for _, tally in arms[name].found(testing)).f1,
            }
            for name, patterns in positives.arms().items()
        },
        "figures": spotting_figures(tested),
        "figures_by_fps": {
            f"{fps:g}": spotting_figures(
                [each for each, rate in zip(tested, rates, strict=True) if rate == fps]
            )
            for fps in sorted(set(rates))
        },
    }


def _muscles(fits: Sequence[MuscleFit]) -> dict[str, Any]:
    """Where α and β lie, and how many patterns they keep."""
    kept_fits = [fit for fit in fits if fit.plausible]
    return {
        "fitted": len(fits),
        "kept": len(kept_fits),
        **{
            name: np.quantile([getattr(fit, name) for fit in kept_fits], [0.1, 0.5, 0.9]).tolist()
            for name in ("alpha", "beta", "error")
        },
    }


def main(argv: Sequence[str]) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit code: 0 done, 2 a user's mistake.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FOLDER", help="synthetic or aligned set")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where result.json goes")
    add("--seed", type=int, default=0, metavar="N", help="of everything (default: 0)")
    add("--ship", action="store_true", help="also write manifest and model card of the engine")
    options = parser.parse_args(argv)
    try:
        source = open_source(options.data)
        report = train(source, options.seed)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    report = json_ready({**report, "command": f"{PROGRAM} {shlex.join(argv)}"})
    card = model_card(report)
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / "result.json", json.dumps(report, indent=1))
    _write(options.out / "model_card.md", card)
    if options.ship:
        _write(MANIFEST, json.dumps(report["manifest"], indent=1))
        _write(MANIFEST.parent / "model_card.md", card)
    print(card)
    return 0


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", "utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
