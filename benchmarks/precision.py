"""What half precision and eight bits cost every network that ships.

    python -m benchmarks.precision --data FOLDER [FOLDER …] --card

FOLDER is a synthetic set; one that was made with a depth camera is for the engines that read depth,
the other for the rest. Every engine runs over the test identities with all its networks in FP32, in
FP16 and in INT8, and decides on its own: what counts is what it then finds and names. INT8 is
calibrated on inputs that the engine gave its networks on the validation identities. ONNX Runtime
computes FP16 graphs in FP32 on the CPU: there, FP16 shows the rounding of the weights alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from tqdm import tqdm

from benchmarks.results import RESULTS, bounded, save, table
from calibration.card import insert_section
from calibration.quantization import PRECISIONS, convert
from engines.errors import UserError
from engines.evaluation.spotting import Tally
from engines.events import Event
from engines.recognition.registry import DEPTH_RECOGNIZERS, RECOGNIZERS, create_recognizer
from engines.runtime.base import GraphRunner, Tensor, Tensors
from engines.runtime.onnx_runtime import OnnxRuntimeRunner
from engines.runtime.shipped import find_graphs, graph_title
from engines.spotting.config import FlowSpotterConfig
from engines.spotting.registry import DEPTH_SPOTTERS, LEARNED_SPOTTERS, create_spotter
from engines.training.clips import ClipSource, FaceClip
from engines.training.figures import recognition_figures, spotting_figures
from engines.training.sources import open_source
from engines.training.streaming import event_clip, judged, measure
from streamer.scheduling import one_thread_a_stage

WINDOWS = 192
"""Inputs of each network that INT8 is calibrated on, and as many that outputs are compared on."""

ON_PEOPLE = ("ststnet", "parts")
"""Their cards have the same on people: `python -m calibration.quantization --composite3`."""

_HEADING = "## Lower precision\n"


@dataclass(slots=True)
class Sample:
    """A uniform sample of what a network was given (reservoir sampling; Vitter 1985)."""

    rows: list[dict[str, Tensor]] = field(default_factory=list)
    seen: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def add(self, tensors: Tensors) -> None:
        """Take every row of a batch."""
        for row in range(len(next(iter(tensors.values())))):
            self.seen += 1
            place = (
                len(self.rows) if len(self.rows) < WINDOWS else int(self.rng.integers(self.seen))
            )
            if place < WINDOWS:
                kept = {name: np.array(tensor[row]) for name, tensor in tensors.items()}
                self.rows[place : place + 1] = [kept]

    def windows(self) -> dict[str, Tensor]:
        """(N, …) samples of every input."""
        return {name: np.stack([row[name] for row in self.rows]) for name in self.rows[0]}


class Watched(OnnxRuntimeRunner):
    """A network whose inputs are sampled."""

    def __init__(self, model: Path, sample: Sample) -> None:
        super().__init__(model)
        self._sample = sample
        self._warming = False

    def warm_up(self) -> None:
        """Run on zeros, which are no sample."""
        self._warming = True
        super().warm_up()
        self._warming = False

    def _run(self, tensors: Tensors) -> dict[str, Tensor]:
        if not self._warming:
            self._sample.add(tensors)
        return super()._run(tensors)


@contextmanager
def networks_by(make: Callable[[Path], GraphRunner]) -> Iterator[None]:
    """Let engines that are built in the body have their networks opened by `make`."""
    with mock.patch("engines.network_files.open_graph", lambda path, _: make(path)):
        yield


@dataclass(frozen=True, slots=True)
class Engines:
    """Which engines a data set is for."""

    spotters: Sequence[str]
    recognizers: Sequence[str]

    @classmethod
    def that_see(cls, clip: FaceClip, classes: Sequence[str]) -> Engines:
        """Engines for clips with or without depth, and with these emotions."""
        depth = clip.depth is not None
        named = []
        for name in DEPTH_RECOGNIZERS if depth else RECOGNIZERS:
            engine = create_recognizer(name)
            if set(engine.classes) == set(classes):
                named.append(name)
            engine.close()
        return cls(DEPTH_SPOTTERS if depth else LEARNED_SPOTTERS, named)


@dataclass(slots=True)
class Answers:
    """What the engines found and named with their networks made in one way."""

    tallies: dict[str, list[tuple[str, Tally]]] = field(default_factory=dict)
    named: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def run_all(
    clips: Sequence[FaceClip],
    engines: Engines,
    ways: Mapping[str, Callable[[Path], GraphRunner]],
    what: str,
) -> dict[str, Answers]:
    """Run every engine over clips, with its networks opened in each of some ways.

    Motion is measured once for all of them.
    """
    answers = {way: Answers() for way in ways}
    recognizers = {}
    for way, make in ways.items():
        with networks_by(make):
            recognizers[way] = {name: create_recognizer(name) for name in engines.recognizers}
    for clip in tqdm(clips, desc=what, unit="clip", file=sys.stderr):
        spotters = {}
        for way, make in ways.items():
            with networks_by(make):
                for name in engines.spotters:
                    spotters[way, name] = create_spotter(name, FlowSpotterConfig(), clip.fps)
        events: dict[tuple[str, str], list[Event]] = {key: [] for key in spotters}
        for sample in measure(clip):
            for key, spotter in spotters.items():
                events[key] += spotter.push(sample).events
        for (way, name), spotter in spotters.items():
            found = judged(clip, chain(events[way, name], spotter.finish()))
            answers[way].tallies.setdefault(name, []).append((clip.identity, found))
            getattr(spotter, "close", lambda: None)()
        for event in clip.events:
            cut = event_clip(clip, event)
            for way, by_name in recognizers.items():
                for name, engine in by_name.items():
                    said = engine.recognize(cut)
                    answers[way].named.setdefault(name, []).append(
                        {
                            "identity": clip.identity,
                            "kind": event.kind.value,
                            "emotion": event.emotion,
                            "recognised": said.most_probable,
                        }
                    )
    for engine in chain.from_iterable(by_name.values() for by_name in recognizers.values()):
        engine.close()
    return answers


def compare(source: ClipSource) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compare the precisions on a data set.

    Returns:
        A row for each network and precision, and one for each engine and precision.

    Raises:
        UserError: The set has no validation or test identities.
    """
    learning, unseen = (
        list(source.clips(source.splits.get(n, ()))) for n in ("validation", "test")
    )
    if not learning or not unseen:
        raise UserError(
            f"{source.title} has no identities to decide and to test: give a whole set."
        )
    engines = Engines.that_see(unseen[0], source.classes)
    typical: dict[Path, Sample] = {}
    fresh: dict[Path, Sample] = {}

    def watched(samples: dict[Path, Sample]) -> Callable[[Path], GraphRunner]:
        return lambda path: Watched(path, samples.setdefault(path, Sample()))

    run_all(learning, engines, {"fp32": watched(typical)}, "calibrating")
    graphs = {
        precision: {
            path: convert(path.read_bytes(), precision, sample.windows())
            for path, sample in typical.items()
        }
        for precision in PRECISIONS
    }

    def converted(precision: str) -> Callable[[Path], GraphRunner]:
        return lambda path: OnnxRuntimeRunner(graphs[precision][path])

    # FP32 is watched for the inputs that all precisions are compared on.
    ways = {"fp32": watched(fresh), **{p: converted(p) for p in PRECISIONS if p != "fp32"}}
    answers = run_all(unseen, engines, ways, "comparing")
    networks = [
        _network_row(path, precision, graphs, fresh[path].windows())
        for path in sorted(typical)
        for precision in PRECISIONS
    ]
    decided = [
        row
        for precision in PRECISIONS
        for row in _decided(answers[precision], answers["fp32"], precision, source.classes)
    ]
    return networks, decided


def _network_row(
    path: Path, precision: str, graphs: Mapping[str, Mapping[Path, bytes]], windows: Tensors
) -> dict[str, Any]:
    outputs = []
    for which in ("fp32", precision):
        with OnnxRuntimeRunner(graphs[which][path]) as graph:
            outputs.append(graph.run({name: windows[name] for name in graph.inputs}))
    right, got = (np.concatenate([each.ravel() for each in out.values()]) for out in outputs)
    return {
        "network": graph_title(path),
        "graph_precision": precision,
        "bytes": len(graphs[precision][path]),
        "largest_difference": float(np.abs(got - right).max()),
        "mean_difference": float(np.abs(got - right).mean()),
        "typical_output": float(np.abs(right).mean()),
    }


def _decided(
    answers: Answers, right: Answers, precision: str, classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for name, tallies in answers.tallies.items():
        yield {
            "engine": name,
            "task": "spotting",
            "graph_precision": precision,
            **spotting_figures(tallies),
        }
    for name, named in answers.named.items():
        changed = sum(
            a["recognised"] != b["recognised"]
            for a, b in zip(named, right.named[name], strict=True)
        )
        yield {
            "engine": name,
            "task": "recognition",
            "graph_precision": precision,
            "changed": changed,
            **recognition_figures(named, classes)["all"],
        }


# -- report --------------------------------------------------------------------------------------

_ABOUT = (
    "By ONNX Runtime on the CPU, which computes FP16 graphs in FP32: the row shows the rounding\n"
    "of the weights alone. INT8 was calibrated on inputs from the validation identities. Measured\n"
    "on the test identities, all of them **synthetic**; in brackets 95 % intervals over them.\n"
)


def network_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each network's outputs lose."""
    header = ("network", "precision", "ONNX bytes", "largest difference", "mean difference",
              "mean size of an output")  # fmt: skip
    return table(
        header,
        (
            (
                row["network"],
                row["graph_precision"],
                f"{row['bytes']:,}",
                *(
                    f"{row[name]:.1e}"
                    for name in ("largest_difference", "mean_difference", "typical_output")
                ),
            )
            for row in rows
        ),
    )


def spotting_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each spotter finds."""
    shown = ("f1", "recall", "false_positives_per_min")
    return table(
        ("spotter", "precision", "micro", "F1", "recall", "false positives/min"),
        (
            (
                row["engine"],
                row["graph_precision"],
                row["micro_expressions"],
                *(bounded(row[key], tuple(row[f"{key}_interval"])) for key in shown),
            )
            for row in rows
            if row["task"] == "spotting"
        ),
    )


def recognition_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each recogniser names."""
    return table(
        ("recogniser", "precision", "emotions changed", "UF1", "UAR"),
        (
            (
                row["engine"],
                row["graph_precision"],
                f"{row['changed']} of {row['events']}",
                *(bounded(row[key], tuple(row[f"{key}_interval"])) for key in ("uf1", "uar")),
            )
            for row in rows
            if row["task"] == "recognition"
        ),
    )


def sections(
    networks: Sequence[Mapping[str, Any]], decided: Sequence[Mapping[str, Any]], command: str
) -> Iterator[tuple[Path, str]]:
    """The section of every model card that the figures are for.

    Args:
        networks: Rows of networks.
        decided: Rows of engines.
        command: What made them.
    """
    for path in find_graphs():
        engine, role = path.parent.name, path.parents[1].name
        own = [row for row in networks if row["network"] == graph_title(path)]
        if engine in ON_PEOPLE or not own:
            continue
        tables = [network_table(own)]
        rows = [row for row in decided if row["engine"] == engine and row["task"] == role]
        if rows:
            title = "Every network of the engine in this precision, and what the engine then "
            done = "finds" if role == "spotting" else "names"
            shown = spotting_table if role == "spotting" else recognition_table
            tables.append(f"{title}{done}:\n\n{shown(rows)}")
        body = "\n\n".join(tables)
        yield path.parent / "model_card.md", f"{_HEADING}{_ABOUT}\n{body}\n\n```\n{command}\n```\n"


def report(measured: Sequence[Mapping[str, Any]]) -> str:
    """All tables."""
    parts = [_ABOUT]
    for each in measured:
        parts += [
            f"## {each['data']}",
            network_table(each["networks"]),
            spotting_table(each["decided"]),
            recognition_table(each["decided"]),
        ]
    return "\n\n".join(parts)


def main(argv: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, required=True, nargs="+", metavar="FOLDER", help="synthetic sets"
    )
    parser.add_argument("--json", type=Path, default=RESULTS / "precision.json")
    parser.add_argument("--card", action="store_true", help="also write the model cards")
    arguments = parser.parse_args(argv)
    one_thread_a_stage()  # as in a session
    measured = []
    try:
        for folder in arguments.data:
            source = open_source(folder)
            networks, decided = compare(source)
            measured.append({"data": source.title, "networks": networks, "decided": decided})
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    text = report(measured)
    print(text)
    command = f"python -m benchmarks.precision {' '.join(argv)}"
    if arguments.card:
        for each in measured:
            for card, section in sections(each["networks"], each["decided"], command):
                whole = insert_section(card.read_text("utf-8"), section)
                card.write_text(whole, "utf-8", newline="\n")
    print(f"\n{save('precision', {'measured': measured}, text, arguments.json)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
