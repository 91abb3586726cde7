"""Model cards of the networks that training ships."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, Literal

_HEAD = {
    "spotting": """\
# Model card: {engine}, spotting

Scores the flow of the last 0.1 s for a micro-expression; a causal decision turns the scores into
events. It reports micro-expressions only: a movement that lasts longer than 0.5 s, or from which
the face does not return, is withdrawn. Written by the commands at the end; do not edit by hand.
""",
    "recognition": """\
# Model card: {engine}, recognition

Names the emotion of an expression from {seen}: {classes}. Written by the
commands at the end; do not edit by hand.
""",
}

_SEEN = {
    "planes": "the flows that lead to its apex",
    "faces": "eight faces between onset and confirmation",
}

_INPUT = {
    "planes": """\
u, v and optical strain of eye strip and mouth as 42x42 cells, from flow over 0.1 s at a
fixed scale in inter-ocular distances (`engines/motion/planes.py`)""",
    "faces": """\
eight aligned gray faces of 128x128 pixels, evenly in time from the onset to the frame that
confirmed the event (`engines/recognition/sequences.py`). It is not told the apex. Data sets of flow
pictures (`composite3`) hold no faces: this engine cannot read them and has no figures there""",
}

_BODY = """
## Model
{network}.
Input: {input}. How training differs from what
was published stands in `engines/training/recipes.py`.

## Data
{data}.
{nature}
{train} identities to learn from, {validation} to decide, {test} to test; no identity is in two of
these.

## Protocol
{protocol}
{chosen} were chosen on the validation identities;
the recipe was fixed before. Seed {seed}. Stages, and the epoch that was kept: {epochs}.
"""

_CHOSEN = {
    "planes": "Epoch, every constant of the decision and the temperature",
    "faces": "Epoch and temperature",
}

_SYNTHETIC = """\
**No person was filmed**: faces are animated, and the figures below say how well the engine does on
further animations of the same kind, not on people. Expressions of all identities come from the same
combinations of action units, so emotions in particular are far easier to tell than people's."""

_FILMED = (
    "Filmed people; the data are licensed and not part of Glint, only weights made from them are."
)

_UNKNOWN = {
    True: """\
Not validated on people. Nobody's micro-expressions were learned from or measured here; on real
  faces expect more misses and more false alarms by an unknown amount.""",
    False: """\
The people are those of one laboratory; no figure exists for others.""",
}
"""By whether the data are synthetic."""

_HABIT = {
    "planes": """\
It was trained on dense inverse search flow, the default; with another flow method it sees what
  it never learned.""",
    "faces": """\
It sees faces themselves, not only how they move: skin, light and features unlike those that it
  was trained on may change its answer.""",
}

_LIMITS = """
## Limits
- {unknown}
- Not to be used to judge truthfulness, suitability, health or intent of a person, nor for any
  decision about a person. An observed movement is not a felt emotion; EU law forbids inferring
  emotions at work and in education.
- {habit}

## Made by
```
{commands}
```
with torch {torch}.
"""


def model_card(
    task: Literal["spotting", "recognition"] | str, report: Mapping[str, Any], command: str
) -> str:
    """Write the model card of one half of an engine.

    Args:
        task: `spotting` or `recognition`.
        report: A run's `result.json`.
        command: The command line that exports it.

    Returns:
        Markdown.
    """
    run, fold = report["run"], report["folds"][-1]
    parts = fold["fold"]
    protocol = (
        "The data's own split."
        if run["protocol"] == "holdout"
        else f"Leave one subject out over {len(report['folds']) - 1} identities; the network that "
        "ships was then trained without a test identity."
    )
    figures, given = report["figures"][task], run["recipe"]["input"]
    return (
        _HEAD[task].format(
            engine=run["engine"], seen=_SEEN[given], classes=", ".join(run["classes"])
        )
        + _BODY.format(
            network=run["recipe"]["network"],
            input=_INPUT[given],
            chosen=_CHOSEN[given],
            data=run["data"][:1].upper() + run["data"][1:],
            nature=_SYNTHETIC if run["synthetic"] else _FILMED,
            protocol=protocol,
            seed=run["seed"],
            epochs=", ".join(f"{name} {epoch}" for name, epoch in fold["best_epochs"].items()),
            **{name: len(parts[name]) for name in ("train", "validation", "test")},
        )
        + "\n## Figures\nOn the test identities; in brackets 95 % intervals of a bootstrap over "
        "identities.\n\n"
        + (_spotting(figures, report, fold) if task == "spotting" else _recognition(figures, run))
        + (_cost(report) if "weights" in fold else "")
        + _LIMITS.format(
            unknown=_UNKNOWN[run["synthetic"]],
            habit=_HABIT[given],
            commands="\n".join((report["data_command"], report["command"], command)),
            torch=run["torch"],
        )
    )


def _spotting(
    figures: Mapping[str, Any], report: Mapping[str, Any], fold: Mapping[str, Any]
) -> str:
    rows = [
        _spotting_row("all", figures),
        *(
            _spotting_row(f"{fps} fps", part)
            for fps, part in report["figures"]["spotting_by_fps"].items()
        ),
    ]
    decision = {**fold["decision"], **fold["gates"]}
    chosen = fold["validation_f1"]
    chosen_f1 = "-" if chosen is None else f"{chosen:.3f}"
    constants = ", ".join(f"{name} {value}" for name, value in decision.items())
    return (
        "Micro-expressions, IoU at least 0.5, one detection to one truth. False positives count "
        "every unmatched detection, false alarms those that touch no expression.\n\n"
        "| clips | identities | minutes | micro | F1 | precision | recall | false positives/min "
        "| false alarms/min | decided after offset, median |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"F1 on the {fold['validation_micro']} micro-expressions of the validation identities, on "
        f"which these constants were chosen: {chosen_f1}. Constants: {constants}.\n"
    )


def _spotting_row(name: str, figures: Mapping[str, Any]) -> str:
    latency = figures["latency_p50_s"]
    cells = [
        name,
        str(figures["identities"]),
        f"{figures['minutes']:.1f}",
        str(figures["micro_expressions"]),
        *(
            bounded(figures, figure)
            for figure in (
                "f1",
                "precision",
                "recall",
                "false_positives_per_min",
                "false_alarms_per_min",
            )
        ),
        "-" if latency is None else f"{latency:.2f} s",
    ]
    return f"| {' | '.join(cells)} |"


def _recognition(figures: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {group['events']} | "
        + " | ".join(bounded(group, figure) for figure in ("uf1", "uar", "accuracy"))
        + " |"
        for name, group in figures.items()
    )
    calibrated = "".join(
        f"Expected calibration error of {name}: {group['ece']:.3f}.\n"
        for name, group in figures.items()
        if "ece" in group
    )
    classes = run["classes"]
    confusion = "\n".join(
        f"| {name} | {' | '.join(map(str, counts))} |"
        for name, counts in zip(classes, figures["all"]["confusion"], strict=True)
    )
    return (
        "Expressions whose onset and apex are known.\n\n"
        "| expressions | number | UF1 | UAR | accuracy |\n|---|---|---|---|---|\n"
        f"{rows}\n\nConfusion of all (truth in rows):\n\n"
        f"| | {' | '.join(classes)} |\n|{'---|' * (len(classes) + 1)}\n{confusion}\n"
        + (f"\n{calibrated}" if calibrated else "")
    )


def _cost(report: Mapping[str, Any]) -> str:
    """Size of the network, and what an event cost in the folds that were tested."""
    costs = [fold["cost_ms"] for fold in report["folds"] if fold["cost_ms"] is not None]
    return (
        "\n## Size and cost\n"
        f"{report['folds'][-1]['weights']:,} parameters, kept in half precision. An event cost one "
        f"core {median(costs):.0f} ms,\nfrom the faces to the answer (ONNX Runtime, median over "
        "the test expressions, time of the processor).\n"
    )


def bounded(figures: Mapping[str, Any], name: str) -> str:
    """A figure with its interval; a dash where nothing defines it."""
    if figures[name] is None:
        return "-"
    low, high = figures[f"{name}_interval"]
    if low is None:  # a single identity
        return f"{figures[name]:.3f}"
    return f"{figures[name]:.3f} [{low:.3f}, {high:.3f}]"
