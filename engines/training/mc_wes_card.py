"""Model card of MC-WES."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.training.ltp_ml_card import NATURE, SPOTTING_HEADER, UNKNOWN, spotting_row

_CARD = """\
# Model card: mc-wes, spotting

Scores the last 0.7 s of clip features for a micro-expression; a causal decision turns the scores
into events. It reports micro-expressions only. Written by the command at the end; do not edit by
hand.

## Model
MC-WES (Yu, Yang, Yan and Li, 2025): {parameters} parameters over the features of the light backbone
(`engines/features/light/`), which learned without labels. What its parts look like stands in
`engines/training/networks/mc_wes.py` and `engines/training/mc_wes_losses.py`.

## Data
{data}.
{nature}
{train} identities to learn from, {validation} to decide, {test} to test; no identity is in two of
these.

## Protocol
The data's own split, learned from {supervision}. Training videos by label: {seen}.

The threshold is the lowest that keeps detections within {budget:g} a minute in the {still:.1f}
minutes of validation videos without micro-expressions. The number of epochs ({epochs}), the gates,
and that intervals are those of the region motion that a score points at, were settled on the
synthetic set's validation identities, with the times of their expressions in view; training and
threshold know no times{unless}. Seed {seed}.

## Figures
On the test identities; in brackets 95 % intervals of a bootstrap over identities.

Micro-expressions, IoU at least 0.5, one detection to one truth. False positives count every
unmatched detection, false alarms those that touch no expression.

{header}
{rows}

Constants: {constants}.

## Limits
- {unknown}
- The label of a video tells that an expression is there, not when: what happens at the same time in
  every video that shows one is learned as well.
- Not to be used to judge truthfulness, suitability, health or intent of a person, nor for any
  decision about a person. An observed movement is not a felt emotion; EU law forbids inferring
  emotions at work and in education.

## Made by
```
{data_command}
{command}
```
with torch {torch}.
"""


def model_card(report: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        report: What `engines.training.mc_wes.run` returns, with its command.

    Returns:
        Markdown.
    """
    training = report["training"]
    weak = training["supervision"] == "video labels"
    counts = ", ".join(f"{count} {word}" for word, count in report["labels"].items())
    rows = [("all", report["figures"])]
    rows += [(f"{fps} fps", figures) for fps, figures in report["figures_by_fps"].items()]
    return _CARD.format(
        parameters=report["parameters"],
        data=report["data"][:1].upper() + report["data"][1:],
        nature=NATURE[report["synthetic"]],
        supervision=training["supervision"],
        seen=counts,
        budget=report["budget_per_min"],
        still=report["still_minutes"],
        epochs=training["epochs"],
        unless="" if weak else ", but for the training of this comparison",
        seed=training["seed"],
        header=SPOTTING_HEADER,
        rows="\n".join(spotting_row(name, figures) for name, figures in rows),
        constants=", ".join(f"{name} {value}" for name, value in report["decision"].items()),
        unknown=UNKNOWN[report["synthetic"]],
        data_command=report["data_command"],
        command=report["command"],
        torch=training["torch"],
        **{part: len(training["fold"][part]) for part in ("train", "validation", "test")},
    )
