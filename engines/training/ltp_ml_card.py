"""Model card of LTP-ML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.training.card import bounded

_CARD = """\
# Model card: ltp-ml, spotting

Finds the onsets of micro-expressions in twelve patches of the face, from their gray values alone,
and follows the patches until they are back. It reports micro-expressions only. Written by the
command at the end; do not edit by hand.

## Model
LTP-ML (Li, Soladié and Séguier, 2023): a linear support vector machine with {weights} weights on
local temporal patterns of 0.3 s, the same for every patch, and late fusion. Where it differs from
what was published stands in `engines/spotting/ltp_ml/`: the principal plane of a patch is
calibrated on the person, times are seconds, and nothing is decided by what comes later than the
declared 0.3 s.

## Data
{data}.
{nature}
{train} identities to learn from, {validation} to decide, {test} to test; no identity is in two of
these.

## Protocol
The data's own split. How positive patterns were made, and every constant of the decision, was
chosen on the validation identities. Seed {seed}.

## Figures
On the test identities; in brackets 95 % intervals of a bootstrap over identities.

Micro-expressions, IoU at least 0.5, one detection to one truth. False positives count every
unmatched detection, false alarms those that touch no expression.

{header}
{rows}

F1 on the {validation_micro} micro-expressions of the validation identities, on which the constants
were chosen: {validation_f1:.3f}. Constants: {constants}.

What the Hammerstein model buys. A muscle was fitted to {fitted} S-patterns and explains {kept} of
them; among these alpha lies at {alpha} rad/s and beta at {beta} (10 %, median, 90 %), with a
residual of {error} of the largest distance. {negatives} negative patterns; only the threshold was
chosen for each row, on the validation identities:

| learned from | positive patterns | F1, validation | F1, test |
|---|---|---|---|
{arms}

## Limits
- {unknown}
- A patch sees gray values: what changes them without moving (a shadow, a hand) may be taken for
  movement.
- Not to be used to judge truthfulness, suitability, health or intent of a person, nor for any
  decision about a person. An observed movement is not a felt emotion; EU law forbids inferring
  emotions at work and in education.

## Made by
```
{data_command}
{command}
```
"""

NATURE = {
    True: """\
**No person was filmed**: faces are animated, and the figures below say how well the engine does on
further animations of the same kind, not on people.""",
    False: """\
Filmed people; the data are licensed and not part of Glint, only weights made from them are.""",
}
"""By whether the data are synthetic."""

UNKNOWN = {
    True: """\
Not validated on people: on real faces expect more misses and more false alarms by an unknown
  amount.""",
    False: "The people are those of one laboratory; no figure exists for others.",
}

_FIGURES = ("f1", "precision", "recall", "false_positives_per_min", "false_alarms_per_min")


SPOTTING_HEADER = """\
| clips | identities | minutes | micro | F1 | precision | recall | false positives/min \
| false alarms/min | decided after offset, median |
|---|---|---|---|---|---|---|---|---|---|"""
"""Head of the table whose rows `spotting_row` writes."""


def model_card(report: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        report: What `engines.training.ltp_ml.train` returns, with its command.

    Returns:
        Markdown.
    """
    manifest, muscles = report["manifest"], report["muscles"]
    training, decision = manifest["training"], manifest["decision"]
    constants = {**decision["fusion"], **decision["following"], **decision["gates"]}
    rows = [("all", report["figures"])]
    rows += [(f"{fps} fps", figures) for fps, figures in report["figures_by_fps"].items()]
    return _CARD.format(
        weights=len(manifest["machine"]["weights"]),
        data=training["data"][:1].upper() + training["data"][1:],
        nature=NATURE[report["synthetic"]],
        seed=training["seed"],
        header=SPOTTING_HEADER,
        rows="\n".join(spotting_row(name, figures) for name, figures in rows),
        constants=", ".join(f"{name} {value}" for name, value in constants.items()),
        fitted=muscles["fitted"],
        kept=muscles["kept"],
        arms="\n".join(
            f"| {name} | {arm['positives']} | {arm['validation_f1']:.3f} | {arm['test_f1']:.3f} |"
            for name, arm in report["arms"].items()
        ),
        unknown=UNKNOWN[report["synthetic"]],
        data_command=report["data_command"],
        command=report["command"],
        negatives=report["negatives"],
        validation_micro=report["validation_micro"],
        validation_f1=report["validation_f1"],
        **{name: _spread(muscles[name]) for name in ("alpha", "beta", "error")},
        **{part: len(training["fold"][part]) for part in ("train", "validation", "test")},
    )


def _spread(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def spotting_row(name: str, figures: Mapping[str, Any]) -> str:
    """A row of the table of figures: clips, and what was found in them."""
    latency = figures["latency_p50_s"]
    cells = [
        name,
        f"{figures['identities']}",
        f"{figures['minutes']:.1f}",
        f"{figures['micro_expressions']}",
        *(bounded(figures, figure) for figure in _FIGURES),
        "-" if latency is None else f"{latency:.2f} s",
    ]
    return f"| {' | '.join(cells)} |"
