"""Compare all spotters on the same videos: what they find, how late, and what it costs.

    python -m benchmarks.spotters --data FOLDER
    python -m benchmarks.spotters --data FOLDER --fresh OTHER

FOLDER is the synthetic set that the learned spotters were trained on: thresholds for equal false
alarms are chosen on its validation identities, and only its test identities are judged. OTHER is a
synthetic set of another seed, filmed at 200 fps: nobody has learned from or chosen on anybody in
it, so all of its people are judged, at 200, 60 and 30 fps as the spotters ship, and at 200 with
the same thresholds for equal false alarms. Every clip has a head that moves, blinks, lamp ripple
and sensor noise. Real clips are looked at where ../shared/data/video is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, permutations, product
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter
from tqdm import tqdm

import engines.spotting
from benchmarks.detection import CLIPS, VIDEO
from benchmarks.headless import run_headless
from benchmarks.results import RESULTS, bounded, number, save, table
from benchmarks.synthetic import cause
from engines.errors import UserError
from engines.evaluation.regions import (
    AREAS,
    AreaTally,
    Located,
    area_tallies,
    areas_of_regions,
    areas_of_units,
    pool_areas,
)
from engines.evaluation.spotting import (
    Recording,
    Tally,
    difference,
    interval_of_event,
    match,
    pool,
    tally,
)
from engines.events import Event, EventKind, EventState
from engines.features.clip_features import LIGHT
from engines.spotting.base import MotionSample, Spotter, SpotterOutput
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.registry import SPOTTERS, create_spotter
from engines.training.clips import FaceClip, SyntheticSource, at_rate
from engines.training.figures import spotting_figures
from engines.training.streaming import measure
from engines.training.synthetic_set import SyntheticClip, SyntheticSet
from streamer.config import GlintConfig
from streamer.scheduling import one_thread_a_stage
from streamer.sources.base import SourceOptions
from streamer.sources.video_file import VideoFileSource

FLOW = "flow"
"""The training-free spotter, which the others are compared with."""

RATES = (200.0, 60.0, 30.0)
"""At which fresh people are looked at."""

FACTORS = (0.5, 0.7, 0.85, 1.0, 1.4, 2.0, 2.8)
"""Factors on the shipped threshold of a spotter whose threshold is a multiple of a spread."""

STEPS = (-0.4, -0.2, -0.1, 0.0, 0.2, 0.4, 0.8)
"""What is added to the shipped threshold of a spotter whose answer has a scale of its own."""

BUDGETS = (0.5, 1.0, 2.0, 4.0)
"""False positives a minute at which spotters are compared."""

PAIR_BUDGET = 2.0
"""The same for two that must agree, and for the one alone that they are compared with."""

PAIR = "pair"

_EVENTS = TypeAdapter(list[list[Event]])

COST_SECONDS = 4.0
COST_BLOCKS = 5
"""Of so many measurements the least counts: whatever else runs can only add."""


@runtime_checkable
class JudgesScores(Protocol):
    """A spotter that sees the same of a frame whatever its threshold."""

    def score(self, sample: MotionSample) -> Any:
        """What it sees of the next frame."""
        ...

    def judge(self, sample: MotionSample, score: Any) -> SpotterOutput:
        """What it makes of that."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What spotters found in one clip.

    Attributes:
        clip: The clip, at the rate that it was looked at.
        closed: Spotter, and position among its thresholds, to the events that it closed.
    """

    clip: FaceClip
    closed: Mapping[tuple[str, int], Sequence[Event]]

    def tally(self, key: tuple[str, int], kind: EventKind = EventKind.MICRO) -> Tally:
        """Against the truth."""
        truths = [event.interval for event in self.clip.events]
        found = list(map(interval_of_event, self.closed[key]))
        return tally(Recording(truths, found, self.clip.duration_s), kind)

    def micro(self, name: str) -> list[Event]:
        """Micro-expressions that a spotter found as it ships."""
        return [event for event in self.closed[name, 0] if event.kind is EventKind.MICRO]

    def areas(self, name: str) -> dict[str, AreaTally]:
        """Micro-expressions by area of the face."""
        truths = [
            Located(event.interval, areas_of_units(event.action_units))
            for event in self.clip.events
            if event.kind is EventKind.MICRO
        ]
        found = [
            Located(interval_of_event(event), areas_of_regions(event.regions))
            for event in self.micro(name)
        ]
        return area_tallies(truths, found)


# -- running -------------------------------------------------------------------------------------


@cache
def with_thresholds(name: str, fps: float, every: bool) -> list[Spotter]:
    """A spotter as it ships, or at each of its candidate thresholds; `reset` before each clip."""
    if not every:
        return [create_spotter(name, FlowSpotterConfig(), fps)]
    return [_at(create_spotter(name, FlowSpotterConfig(), fps), i) for i in range(len(FACTORS))]


def _at(spotter: Spotter, position: int) -> Spotter:
    """Set one of the candidate thresholds."""
    if hasattr(spotter, "threshold_factor"):
        spotter.threshold_factor *= FACTORS[position]
    else:
        spotter.threshold += STEPS[position]  # type: ignore[attr-defined]
    return spotter


def shipped(every: bool) -> int:
    """Position of the shipped threshold among those of `with_thresholds`."""
    return FACTORS.index(1.0) if every else 0


def spot_clip(clip: FaceClip, names: Sequence[str], every: bool, keep: Path | None = None) -> Found:
    """Run spotters over a clip; motion is measured, and networks run, once for all thresholds.

    Args:
        clip: The clip.
        names: Spotters.
        every: Look at every candidate threshold, and not at the shipped one only.
        keep: Where answers are kept; those that are there already are not computed again.
    """
    spotters = {name: with_thresholds(name, clip.fps, every) for name in names}
    closed: dict[tuple[str, int], Sequence[Event]] = {}
    for name, several in list(spotters.items()):
        path = _kept_at(keep, clip, several)
        if path is not None and path.is_file():
            before = _EVENTS.validate_json(path.read_bytes())
            closed.update({(name, at): events for at, events in enumerate(before)})
            del spotters[name]
    for name, events in _found(clip, spotters).items():
        closed.update({(name, at): each for at, each in enumerate(events)})
        path = _kept_at(keep, clip, spotters[name])
        if path is not None:
            path.write_bytes(_EVENTS.dump_json(events))
    return Found(clip, closed)


def _found(
    clip: FaceClip, spotters: Mapping[str, Sequence[Spotter]]
) -> dict[str, list[list[Event]]]:
    """Closed events of each spotter, at each of its thresholds."""
    if not spotters:
        return {}
    for spotter in chain.from_iterable(spotters.values()):
        spotter.reset()
    changes: dict[str, list[list[Event]]] = {
        name: [[] for _ in several] for name, several in spotters.items()
    }
    asked = {name: _outputs_of(several) for name, several in spotters.items()}
    for sample in measure(clip, delta_flow=any(s[0].reads_delta_flow for s in spotters.values())):
        for name, outputs in asked.items():
            for told, output in zip(changes[name], outputs(sample), strict=True):
                told.extend(output.events)
    return {
        name: [
            [e for e in chain(events, spotter.finish()) if e.state is EventState.CLOSED]
            for events, spotter in zip(changes[name], several, strict=True)
        ]
        for name, several in spotters.items()
    }


def _kept_at(keep: Path | None, clip: FaceClip, several: Sequence[Spotter]) -> Path | None:
    """Where the answer of a spotter to a clip is kept."""
    if keep is None:
        return None
    first = several[0]
    middle = hashlib.sha256(clip.faces[len(clip.faces) // 2]).hexdigest()
    network = getattr(first, "model_sha256", "")
    told = (clip.identity, clip.events, middle, network, FACTORS, STEPS)
    digest = hashlib.sha256(repr(told).encode()).hexdigest()[:12]
    name = f"{clip.name}-{clip.fps:g}-{first.name}-{first.version}-{len(several)}-{digest}.json"
    return keep / name


def _outputs_of(spotters: Sequence[Spotter]) -> Callable[[MotionSample], Iterator[SpotterOutput]]:
    """What asks each of a spotter's thresholds about a frame, its score computed once."""
    first = spotters[0]
    if not isinstance(first, JudgesScores):
        return lambda sample: (spotter.push(sample) for spotter in spotters)
    judges = cast("Sequence[JudgesScores]", spotters)

    def outputs(sample: MotionSample) -> Iterator[SpotterOutput]:
        score = first.score(sample)
        return (judge.judge(sample, score) for judge in judges)

    return outputs


def as_shipped(found: Sequence[Found]) -> list[Found]:
    """What was found at the shipped thresholds, of what was found at all of them."""
    middle = shipped(every=True)
    return [
        Found(
            each.clip,
            {(name, 0): each.closed[name, at] for name, at in each.closed if at == middle},
        )
        for each in found
    ]


def spot_all(
    clips: Iterable[FaceClip],
    names: Sequence[str],
    what: str,
    *,
    every: bool = False,
    keep: Path | None = None,
) -> list[Found]:
    """Run spotters over clips; see `spot_clip`."""
    shown = tqdm(clips, desc=what, unit="clip", file=sys.stderr)
    return [spot_clip(clip, names, every, keep) for clip in shown]


# -- figures -------------------------------------------------------------------------------------


def figures_of(found: Sequence[Found], name: str, position: int = 0) -> dict[str, Any]:
    """Figures of one spotter: micro-expressions, and the F1 of macro-expressions."""
    key = (name, position)
    figures = spotting_figures([(each.clip.identity, each.tally(key)) for each in found])
    macro = pool(each.tally(key, EventKind.MACRO) for each in found)
    # Most learned spotters report no macro-expressions: no figure, not a bad one.
    figures["macro_f1"] = macro.f1 if macro.tp + macro.fp else math.nan
    return figures


def by_identity(found: Sequence[Found], key: tuple[str, int]) -> list[Tally]:
    """One tally a person, in order of first appearance."""
    people: dict[str, list[Tally]] = defaultdict(list)
    for each in found:
        people[each.clip.identity].append(each.tally(key))
    return [pool(tallies) for tallies in people.values()]


def equal_false_positives(
    deciding: Sequence[Found], judging: Mapping[str, Sequence[Found]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """F1 at the threshold that keeps within a budget of false positives where it is chosen.

    Args:
        deciding: Found on validation identities, at every candidate threshold.
        judging: Group of clips to what was found in it, at the same ones.
        names: Spotters.

    Returns:
        One row for each group, budget and spotter, with the paired difference to the training-free
        one.
    """
    rows = []
    for (group, found), budget in product(judging.items(), BUDGETS):
        chosen = {name: within(deciding, name, budget) for name in names}
        for name in names:
            key = (name, chosen[name])
            spent = pool(each.tally(key) for each in deciding).false_positives_per_min
            rows.append(
                {
                    "videos": group,
                    "budget": budget,
                    "spotter": name,
                    "false_positives_per_min_chosen_on": spent,
                    **figures_of(found, *key),
                    **_gain(found, key, found, (FLOW, chosen[FLOW])),
                }
            )
    return rows


def _gain(
    found: Sequence[Found],
    key: tuple[str, int],
    reference: Sequence[Found],
    reference_key: tuple[str, int],
) -> dict[str, Any]:
    """F1 minus that of a reference on the same people, with its interval."""
    people, others = by_identity(found, key), by_identity(reference, reference_key)
    gain = difference(people, others, lambda t: t.f1)
    return {"gain": gain.value, "gain_interval": [gain.low, gain.high]}


def within(found: Sequence[Found], name: str, budget: float) -> int:
    """The threshold with the highest F1 of those within a budget; the highest one if none is."""
    tallies = [pool(each.tally((name, i)) for each in found) for i in range(len(FACTORS))]
    allowed = [i for i, t in enumerate(tallies) if t.false_positives_per_min <= budget]
    return max(allowed or [len(FACTORS) - 1], key=lambda i: np.nan_to_num(tallies[i].f1))


def ensembles(
    deciding: Sequence[Found], judging: Mapping[str, Sequence[Found]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """F1 of every two spotters of which the second must agree with the first.

    As `engines.spotting.ensemble` does it, each at the threshold that keeps within `PAIR_BUDGET`
    where it is chosen and has the highest F1 there; so has the one that a pair is compared with.

    Args:
        deciding: Found on validation identities, at every candidate threshold.
        judging: Group of clips to what was found in it, at the same ones.
        names: Spotters.

    Returns:
        One row for each group and pair, with the paired difference to the spotter that is the best
        one alone where thresholds are chosen.
    """
    alone = {name: (name, within(deciding, name, PAIR_BUDGET)) for name in names}
    best = max(alone.values(), key=lambda key: _f1(deciding, key))
    rows = []
    for first, second in permutations(names, 2):
        tried = {
            (i, j): _agreed(deciding, (first, i), (second, j))
            for i, j in product(range(len(FACTORS)), repeat=2)
        }
        chosen = max(tried, key=lambda at: _within_budget(tried[at]))
        for group, found in judging.items():
            both = _agreed(found, (first, chosen[0]), (second, chosen[1]))
            rows.append(
                {
                    "videos": group,
                    "spotter": f"{first}+{second}",
                    **figures_of(both, PAIR),
                    "alone": best[0],
                    **_gain(both, (PAIR, 0), found, best),
                }
            )
    return rows


def _within_budget(found: Sequence[Found]) -> float:
    """F1 of a pair, and less than any F1 where it spends more than the budget."""
    spent = pool(each.tally((PAIR, 0)) for each in found)
    over = spent.false_positives_per_min > PAIR_BUDGET
    return -spent.false_positives_per_min if over else float(np.nan_to_num(spent.f1))


def _agreed(found: Sequence[Found], first: tuple[str, int], second: tuple[str, int]) -> list[Found]:
    """What `first` found where `second` found something too."""
    kept = []
    for each in found:
        heard = each.closed[second]
        events = [
            event
            for event in each.closed[first]
            if event.kind is not EventKind.MICRO or any(_overlap(event, other) for other in heard)
        ]
        kept.append(Found(each.clip, {(PAIR, 0): events}))
    return kept


def _overlap(one: Event, other: Event) -> bool:
    assert one.offset_s is not None
    assert other.offset_s is not None
    return one.onset_s < other.offset_s and other.onset_s < one.offset_s


def _f1(found: Sequence[Found], key: tuple[str, int]) -> float:
    return float(np.nan_to_num(pool(each.tally(key) for each in found).f1))


def causes(
    found: Sequence[Found], names: Sequence[str], clips: Mapping[str, SyntheticClip]
) -> list[dict[str, Any]]:
    """What moved when nothing was to be found, a minute, by spotter."""
    minutes = sum(each.clip.duration_s for each in found) / 60
    rows = []
    for name in names:
        counts: Counter[str] = Counter()
        for each in found:
            truths = [e.interval for e in each.clip.events if e.kind is EventKind.MICRO]
            micro = list(map(interval_of_event, each.micro(name)))
            right = {pair.detection for pair in match(truths, micro)}
            counts.update(
                cause(clips[each.clip.name], detection)
                for position, detection in enumerate(micro)
                if position not in right
            )
        rows.append({"spotter": name, **{what: n / minutes for what, n in counts.items()}})
    return rows


def costs(clip: FaceClip, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a frame costs one core at each of `RATES`, and how far ahead each spotter looks.

    Args:
        clip: A clip; nothing is known of rates above its own.
        names: Spotters.
    """
    start = replace(clip, **{f: getattr(clip, f)[: round(COST_SECONDS * clip.fps)]
                             for f in ("faces", "times", "valid", "restart")})  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    for rate in (rate for rate in RATES if rate <= clip.fps):
        filmed = at_rate(start, rate)
        samples = [whole(sample) for sample in measure(filmed)]
        for name in names:
            spotter = create_spotter(name, FlowSpotterConfig(), rate)

            each = found.setdefault(
                name,
                {
                    "ms_per_frame": {},
                    "ms_worst_frame": {},
                    "reads_delta_flow": spotter.reads_delta_flow,
                    "look_ahead_s": spotter.look_ahead_s,
                    **size_of(name),
                },
            )
            spent_ms = 1e3 * frame_cpu_s(spotter, samples)
            each["ms_per_frame"][f"{rate:g}"] = float(spent_ms.mean())
            each["ms_worst_frame"][f"{rate:g}"] = float(spent_ms.max())
    return found


def whole(sample: MotionSample) -> MotionSample:
    """A copy that outlives the next frame, with everything that a spotter may read."""
    arrays = ("motion", "velocity", "strain", "eyes", "face", "flow_delta", "mesh", "depth_change")
    return replace(
        sample,
        **{name: None if (a := getattr(sample, name)) is None else a.copy() for name in arrays},
    )


def frame_cpu_s(spotter: Spotter, samples: Sequence[MotionSample]) -> npt.NDArray[np.float64]:
    """(N,) processor time of each frame, the least of several passes."""
    spent = np.empty((COST_BLOCKS, len(samples)))
    for block in spent:
        spotter.reset()
        for at, sample in enumerate(samples):
            started = time.process_time()
            spotter.push(sample)
            block[at] = time.process_time() - started
    least: npt.NDArray[np.float64] = spent.min(axis=0)
    return least


def size_of(name: str) -> dict[str, float]:
    """Numbers that a spotter has learned, and multiplications of one run; its backbone's too."""
    folder = Path(engines.spotting.__file__).parent / name
    if (folder / f"{name}.onnx").is_file():
        manifest = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        backbone = manifest["preprocessing"].get("backbone")
        folders = [folder, *([LIGHT.parent / backbone] if backbone else [])]
        sizes = [_network_size(each / f"{each.name}.onnx") for each in folders]
        return {key: sum(size[key] for size in sizes) for key in ("parameters", "multiplications")}
    if name == "ltp-ml":
        from engines.spotting.ltp_ml.patterns import FEATURES  # noqa: PLC0415

        return {"parameters": FEATURES + 1, "multiplications": 12 * FEATURES}
    return {"parameters": 0, "multiplications": 0}


def _network_size(path: Path) -> dict[str, float]:
    """Weights of a network, and multiplications of its convolutions and matrix products."""
    import onnx  # noqa: PLC0415 - an optional dependency
    import onnxruntime  # noqa: PLC0415 - only after it was told to report nothing

    model = onnx.load(path)
    graph = model.graph
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    asked = {name for node in layers for name in (*node.input[:2], node.output[0])}
    computed = {name for node in graph.node for name in node.output}
    told = {each.name for each in graph.output}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked & computed - told)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    given = {
        each.name: np.zeros([d if isinstance(d, int) else 1 for d in each.shape], np.float32)
        for each in session.get_inputs()
    }
    names = [each.name for each in session.get_outputs()]
    shapes = {name: value.shape for name, value in given.items()}
    shapes |= dict(zip(names, (made.shape for made in session.run(names, given)), strict=True))
    shapes |= {each.name: tuple(each.dims) for each in graph.initializer}
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    return {
        "parameters": sum(
            math.prod(each.dims) for each in graph.initializer if each.data_type in kinds
        ),
        "multiplications": sum(
            math.prod(shapes[node.output[0]])
            * (
                math.prod(shapes[node.input[1]][1:])
                if node.op_type == "Conv"
                else shapes[node.input[0]][-1]
            )
            for node in layers
        ),
    }


def real_clips(names: Sequence[str]) -> list[dict[str, Any]]:
    """What each spotter reports of real clips, in which nobody shows a micro-expression."""
    rows = []
    for name in names:
        for clip in CLIPS:
            source = VideoFileSource(str(VIDEO / clip.name), SourceOptions(realtime=False))
            config = GlintConfig.from_tree({"spotter": name, "recognizer": "none"}, "the benchmark")
            kinds = Counter(d.kind for d in run_headless(config, source).detections)
            rows.append(
                {
                    "spotter": name,
                    "clip": clip.name,
                    "micro": kinds[EventKind.MICRO],
                    "macro": kinds[EventKind.MACRO],
                }
            )
    return rows


# -- report --------------------------------------------------------------------------------------


def quality_rows(
    groups: Mapping[str, Sequence[Found]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Every spotter as it ships, for each group of clips."""
    return [
        {"videos": group, "spotter": name, **figures_of(found, name)}
        for group, found in groups.items()
        for name in names
        if found
    ]


def quality_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """F1, false positives, timing."""
    header = ("videos", "spotter", "micro", "F1 micro", "precision", "recall", "FP/min",
              "F1 macro", "decided after offset, ms", "onset error, ms")  # fmt: skip
    return table(
        header,
        [
            (
                row["videos"],
                row["spotter"],
                row["micro_expressions"],
                *(
                    bounded(row[figure], tuple(row[f"{figure}_interval"]))
                    for figure in ("f1", "precision", "recall", "false_positives_per_min")
                ),
                _dash(row["macro_f1"]),
                _ms(row["latency_p50_s"]),
                _ms(row["onset_error_s"]),
            )
            for row in rows
        ],
    )


def equal_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """F1 at equal false positives."""
    header = ("videos", "budget, FP/min", "spotter", "FP/min where chosen", "FP/min", "F1 micro",
              "F1 minus that of flow")  # fmt: skip
    return table(
        header,
        [
            (
                row["videos"],
                f"{row['budget']:g}",
                row["spotter"],
                number(row["false_positives_per_min_chosen_on"]),
                number(row["false_positives_per_min"]),
                bounded(row["f1"], tuple(row["f1_interval"])),
                "-"
                if row["spotter"] == FLOW
                else bounded(row["gain"], tuple(row["gain_interval"])),
            )
            for row in rows
        ],
    )


def ensemble_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """F1 of two spotters that must agree."""
    header = ("videos", "spotters", "FP/min", "F1 micro", "best one alone", "F1 minus that of it")
    return table(
        header,
        [
            (
                row["videos"],
                row["spotter"],
                number(row["false_positives_per_min"]),
                bounded(row["f1"], tuple(row["f1_interval"])),
                row["alone"],
                bounded(row["gain"], tuple(row["gain_interval"])),
            )
            for row in rows
        ],
    )


def cause_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """False positives a minute by what moved."""
    names = sorted({what for row in rows for what in row if what != "spotter"})
    return table(
        ("spotter", *names),
        [(row["spotter"], *(number(row.get(name, 0.0)) for name in names)) for row in rows],
    )


def area_table(found: Sequence[Found], names: Sequence[str]) -> str:
    """F1 by area of the face."""
    pooled = {name: pool_areas(each.areas(name) for each in found) for name in names}
    header = ("spotter", *(f"F1 {area}" for area in (*AREAS, "all")))
    return table(
        header,
        [(name, *(_dash(areas[a].f1) for a in (*AREAS, "all"))) for name, areas in pooled.items()],
    )


def cost_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Cost, size and look-ahead."""
    header = ("spotter", *(f"at {rate:g} fps" for rate in RATES),
              f"dearest frame at {RATES[0]:g} fps", "needs the flow over 0.1 s",
              "parameters", "multiplications a run, million",
              "confirmed after the apex, ms, at most")  # fmt: skip
    return table(
        header,
        [
            (
                name,
                *(number(each["ms_per_frame"].get(f"{rate:g}", math.nan), 3) for rate in RATES),
                number(each["ms_worst_frame"].get(f"{RATES[0]:g}", math.nan), 2),
                "yes" if each["reads_delta_flow"] else "no",
                each["parameters"],
                number(each["multiplications"] / 1e6, 1),
                _ms(each["look_ahead_s"]),
            )
            for name, each in found.items()
        ],
    )


def _dash(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else number(value)


def _ms(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{1e3 * value:.0f}"


def results(
    rows: Sequence[Mapping[str, Any]], cost: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The figures as docs/results.md takes them; see `benchmarks.tables`."""
    for row in rows:
        yield {
            **{k: v for k, v in row.items() if k not in ("videos", "spotter")},
            "engine": row["spotter"],
            "task": "spotting",
            "data": f"synthetic people, {row['videos']}",
            "protocol": "identities that no constant was chosen on",
            "kind": "micro",
            "look_ahead_s": cost[row["spotter"]]["look_ahead_s"],
        }
    for name, each in cost.items():
        for rate, ms in each["ms_per_frame"].items():
            yield {
                "engine": name,
                "task": "cost",
                "data": f"spotter alone at {rate} fps, one core",
                "ms_per_frame_mean": ms,
            }


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.spotters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FOLDER", help="the set of the training")
    add("--fresh", type=Path, metavar="OTHER", help="a set of another seed, at 200 fps")
    add(
        "--spotters",
        nargs="+",
        choices=SPOTTERS,
        default=list(SPOTTERS),
        metavar="NAME",
        help=f"of: {', '.join(SPOTTERS)} (default: all of them)",
    )
    add("--no-equal", dest="equal", action="store_false", help="no equal false positives")
    add(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep here what was found in each clip, and take what is there: the command continues "
        "where it was stopped (empty it when the code of a spotter has changed)",
    )
    add("--json", type=Path, default=RESULTS / "spotters.json", help="result file (%(default)s)")
    options = parser.parse_args(argv)
    names = list(dict.fromkeys([FLOW, *options.spotters]))
    one_thread_a_stage()  # as in a session
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    try:
        source = SyntheticSource(options.data)
        fresh = None if options.fresh is None else SyntheticSource(options.fresh)
        if fresh is not None and fresh.fingerprint == source.fingerprint:
            raise UserError("--fresh is the set of --data: make one with another --seed.")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    people = {"test identities, as filmed": list(source.clips(source.splits["test"]))}
    title = f"{source.title}; test identities {', '.join(source.splits['test'])}"
    if fresh is not None:
        title += f". Fresh: {fresh.title}"
        filmed = list(fresh.clips(fresh.identities))
        for rate in RATES:
            people[f"fresh people at {rate:g} fps"] = [
                clip if clip.fps <= rate else at_rate(clip, rate) for clip in filmed
            ]
    at_all = list(people)[:2] if options.equal else []  # lower rates are looked at as it ships
    found = {
        group: spot_all(clips, names, group, every=group in at_all, keep=options.keep)
        for group, clips in people.items()
    }
    groups = {k: as_shipped(v) if k in at_all else v for k, v in found.items()}
    rows = quality_rows(groups, names)
    blamed = list(groups.values())[-1 if fresh is None else 1]
    by_cause = causes(blamed, names, _scripts(options.fresh or options.data))
    fastest = max(chain.from_iterable(people.values()), key=lambda clip: clip.fps)
    cost = costs(fastest, names)
    equal: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    if options.equal:
        validation = source.clips(source.splits["validation"])
        deciding = spot_all(validation, names, "validation", every=True, keep=options.keep)
        judging = {group: found[group] for group in at_all}
        equal = equal_false_positives(deciding, judging, names)
        pairs = ensembles(deciding, judging, names)
    real = real_clips(names) if VIDEO.is_dir() else []
    parts = [
        f"Data: {title}. Synthetic: these are no figures for people. In brackets 95 % intervals "
        "over identities.",
        f"## As they ship\n\n{quality_table(rows)}",
        f"## What moved in false positives, a minute\n\n{cause_table(by_cause)}",
        "## By area of the face\n\nFound in time and in the right area, of the action units that "
        f"moved.\n\n{area_table(blamed, names)}",
        f"## Cost\n\nMilliseconds of one core a frame, the spotter alone.\n\n{cost_table(cost)}",
    ]
    if equal:
        parts.append(
            "## At equal false positives\n\nAt the threshold with the highest F1 on the validation "
            f"identities that keeps within the budget there.\n\n{equal_table(equal)}"
        )
        parts.append(
            "## Two that must agree\n\nBoth thresholds, and the best one alone with its own, are "
            f"those of the validation identities within {PAIR_BUDGET:g} false positives a minute."
            f"\n\n{ensemble_table(pairs)}"
        )
    if real:
        shown = [(r["spotter"], r["clip"], r["micro"], r["macro"]) for r in real]
        parts.append(
            "## Real clips\n\nNobody shows a micro-expression in them.\n\n"
            + table(("spotter", "clip", "micro", "macro"), shown)
        )
    report = "\n\n".join(parts)
    print(report)
    measured = {
        "data": title,
        "data_sha256": source.fingerprint,
        "synthetic": True,
        "quality": rows,
        "causes": by_cause,
        "areas": {
            name: {
                area: {"tp": t.tp, "fp": t.fp, "fn": t.fn, "f1": t.f1}
                for area, t in pool_areas(each.areas(name) for each in blamed).items()
            }
            for name in names
        },
        "cost": cost,
        "equal_false_positives": equal,
        "ensembles": pairs,
        "real_clips": real,
        "results": list(results(rows, cost)),
    }
    print(f"\n{save('spotters', measured, report, options.json)}", file=sys.stderr)
    return 0


def _scripts(folder: Path) -> dict[str, SyntheticClip]:
    return {clip.name: clip for clip in SyntheticSet(folder).clips()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
