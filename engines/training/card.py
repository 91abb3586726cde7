"""Model cards of the networks that training ships."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, Literal

from engines.features.grid import STEP_S

_HEAD = {
    "spotting": """\
# Model card: {engine}, spotting

{seen} Written by the commands at the end; do not edit by hand.
""",
    "recognition": """\
# Model card: {engine}, recognition

Names the emotion of an expression from {seen}:
{classes}. Written by the commands at the end; do not edit by hand.
""",
}

_SEEN = {
    ("recognition", "planes"): "the flows that lead to its apex",
    ("recognition", "faces"): "eight faces between onset and confirmation",
    ("spotting", "planes"): """\
Scores the flow of the last 0.1 s for a micro-expression; a causal decision turns the scores into
events. It reports micro-expressions only: a movement that lasts longer than 0.5 s, or from which
the face does not return, is withdrawn.""",
    ("recognition", "scene flow"): "the scene flows that lead to its apex",
    ("spotting", "scene flow"): """\
Scores the scene flow of the last 0.1 s for a micro-expression; a causal decision turns the scores
into events. It needs a depth camera beside the other one, and reports micro-expressions only: a
movement that lasts longer than 0.5 s, or from which the face does not return, is withdrawn.""",
    ("spotting", "features"): """\
Proposes intervals, micro- and macro-expressions, in the last 4.3 s of clip features. Live, nothing
but the past is seen, and proposals are merged as they come; an expression can be told when it is
over. On recordings, windows overlap by half and non-maximum suppression decides at the end.""",
}

_INPUT = {
    "planes": """\
u, v and optical strain of eye strip and mouth as 42x42 cells, from flow over 0.1 s at a
fixed scale in inter-ocular distances (`engines/motion/planes.py`)""",
    "scene flow": """\
u, v and depth change of eye strip and mouth as 42x42 cells, from flow over 0.1 s and the depth maps
at either end, at a fixed scale in inter-ocular distances (`engines/motion/planes.py`,
`engines/motion/depth.py`). What the synthetic set's depth camera assumes of skin and sensor stands
in `engines/synthesis/depth.py`""",
    "features": """\
64 steps of features of a chunk of pictures in two streams, one step every 1/15 s, from a backbone
of `engines/features/` that was trained without labels""",
    "faces": """\
eight aligned gray faces of 128x128 pixels, evenly in time from the onset to the frame that
confirmed the event (`engines/recognition/sequences.py`). It is not told the apex. Data sets of flow
pictures (`composite3`) hold no faces: this engine cannot read them and has no figures on them""",
}

_BODY = """
## Model
{network}.
Input: {input}.
How training differs from what was published stands in `engines/training/{recipes}.py`.

## Data
{data}.
{nature}
{train} identities to learn from, {validation} to decide, {test} to test; no identity is in two of
these.

## Protocol
{protocol}
{chosen} were chosen on the validation identities;
the recipe was fixed before. Seed {seed}. Stages, and the epoch that was kept: {epochs}.
{trained}"""

_CHOSEN = {
    "planes": "Epoch, every constant of the decision and the temperature",
    "scene flow": "Epoch, every constant of the decision and the temperature",
    "faces": "Epoch and temperature",
    "features": "Epoch and every constant of both decisions",
}

_RECIPES = {"features": "proposal_recipes"}

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
    "scene flow": """\
It was trained on dense inverse search flow, the default, and on the depth that one kind of camera
  was imagined to see; how another camera's noise is answered is not known.""",
    "features": """\
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
            engine=run["engine"], seen=_SEEN[task, given], classes=", ".join(run["classes"])
        )
        + _BODY.format(
            network=run["recipe"]["network"],
            input=_INPUT[given],
            recipes=_RECIPES.get(given, "recipes"),
            chosen=_CHOSEN[given],
            data=run["data"][:1].upper() + run["data"][1:],
            nature=_SYNTHETIC if run["synthetic"] else _FILMED,
            protocol=protocol,
            seed=run["seed"],
            epochs=", ".join(f"{name} {epoch}" for name, epoch in fold["best_epochs"].items()),
            trained=_trained(fold),
            **{name: len(parts[name]) for name in ("train", "validation", "test")},
        )
        + "\n## Figures\nOn the test identities; in brackets 95 % intervals of a bootstrap over "
        "identities.\n\n"
        + (_spotting(figures, report, fold) if task == "spotting" else _recognition(figures, run))
        + (_proposals(report, fold) if given == "features" else "")
        + (_cost(report) if "weights" in fold else "")
        + (_shown(report) if "shown" in fold else "")
        + _LIMITS.format(
            unknown=_UNKNOWN[run["synthetic"]],
            habit=_HABIT[given],
            commands="\n".join((report["data_command"], report["command"], command)),
            torch=run["torch"],
        )
    )


def _trained(fold: Mapping[str, Any]) -> str:
    """What an epoch of each stage cost."""
    costs: dict[str, list[float]] = {}
    for epoch in fold["epochs"]:
        costs.setdefault(epoch["stage"], []).append(epoch["seconds"])
    told = ", ".join(f"{stage} {median(each):.1f} s" for stage, each in costs.items())
    return f"An epoch cost one core, in the middle: {told}.\n"


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


def _proposals(report: Mapping[str, Any], fold: Mapping[str, Any]) -> str:
    """What else is known of a network of proposals: the other decision, its size and its cost."""
    further = report["figures"]["proposals"]
    rows = (("live, macro", further["macro"]), ("on recordings, micro", further["offline"]))
    table = "\n".join(
        f"| {name} | {figures['micro_expressions']} | "
        + " | ".join(
            bounded(figures, figure)
            for figure in ("f1", "precision", "recall", "false_positives_per_min")
        )
        + " |"
        for name, figures in rows
    )
    return (
        "\nThe rows above are live decisions on micro-expressions. Further, on the same clips:\n\n"
        "| decision | expressions | F1 | precision | recall | false positives/min |\n"
        f"|---|---|---|---|---|---|\n{table}\n\n"
        "On recordings, what follows an expression is seen as well: those figures are no promise "
        "of a live session.\n\n## Size and cost\n"
        f"{fold['parameters']:,} parameters, kept in half precision; {fold['macs'] / 1e6:.1f} "
        f"million multiplications a window, and {fold['backbone_macs'] / 1e6:.1f} million for its "
        "newest chunk of features.\n"
        f"Both together cost one core {fold['step_ms']:.2f} ms a step, "
        f"{fold['step_ms'] / (200 * STEP_S):.2f} ms a frame at 200 "
        "frames a second (ONNX Runtime, least of several, time of the processor), on top of the "
        "motion and the flow over 0.1 s.\n"
        f"Declared look-ahead from the apex of a micro-expression to its confirmation: at most "
        f"{fold['look_ahead_s']:.2f} s.\n"
    )


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


def _shown(report: Mapping[str, Any]) -> str:
    """How near the further heads of a network come to their teachers."""
    tested = [fold["shown"] for fold in report["folds"] if fold["shown"]]
    if not tested:
        return ""
    figures = "".join(
        f"- {name}: {sum(each[name] for each in tested) / len(tested):.2f}\n" for name in tested[0]
    )
    return (
        "\n## What it can show\nWith `export --heads` the network also gives what it was taught "
        "beside the emotion. Against its\nteachers, on the test identities:\n\n"
        f"{figures}\nThat is a look at what it has learned, not a measurement of the face.\n"
    )


def bounded(figures: Mapping[str, Any], name: str) -> str:
    """A figure with its interval; a dash where nothing defines it."""
    if figures[name] is None:
        return "-"
    low, high = figures[f"{name}_interval"]
    if low is None:  # a single identity
        return f"{figures[name]:.3f}"
    return f"{figures[name]:.3f} [{low:.3f}, {high:.3f}]"
