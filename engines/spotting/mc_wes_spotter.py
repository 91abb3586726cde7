"""MC-WES, live: clip features to a score a step, scores to micro-expressions.

Yu, Yang, Yan and Li, "Weakly-supervised micro- and macro-expression spotting based on multi-level
consistency" (TPAMI 2025). Published, the scores of a whole video are thresholded when it is over;
here the causal decision that all learned spotters share takes them as they come. The label of a
video says nothing of where an expression begins and ends, so its interval is that of the movement
that the score points at.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from engines.features.clip_features import LIGHT, ChunkEncoder, ClipFeatures, FeatureWindow
from engines.features.grid import CHUNK_S, MAX_GAP_S, STEP_S, TICK_S
from engines.motion.planes import SPAN_S
from engines.network_files import open_network
from engines.spotting.base import MotionSample
from engines.spotting.network_spotter import ScoreJudge, ScoringSpotter, SpottingManifest

NAME = "mc-wes"

FOLDER = Path(__file__).parent / NAME

INPUT_NAME, OUTPUT_NAME = "features", "scores"

CONTEXT_STEPS = 7
"""Steps of clip features that a score follows from."""

LAG_S = (CONTEXT_STEPS - 1) / 2 * STEP_S + (CHUNK_S - TICK_S) / 2 + SPAN_S / 2 + STEP_S / 2
"""How long before its frame the middle of what a score speaks of lies.

Half of the context, half of a chunk, half of the flow's span, and half a step: a score stands until
the next one comes.
"""


def preprocessing_of(encoder: ChunkEncoder) -> dict[str, object]:
    """What the network must have been trained on to read the features of a backbone."""
    return {"backbone": encoder.name, "backbone_sha256": encoder.sha256, "steps": CONTEXT_STEPS}


class McWesSpotter(ScoringSpotter):
    """Spots micro-expressions, learned without the time of a single one.

    Args:
        fps: Highest frame rate to expect; only sizes histories.
        backend: What runs network and backbone, one of `engines.runtime.BACKENDS`.
        folder: Where the engine's files lie.

    Raises:
        EngineError: A file is missing or corrupt, or made for another backbone.
    """

    name = NAME

    def __init__(self, fps: float, backend: str = "auto", folder: Path = FOLDER) -> None:
        self._encoder = ChunkEncoder(LIGHT, backend)
        manifest, graph = open_network(
            folder, NAME, SpottingManifest, preprocessing_of(self._encoder), backend
        )
        judge = ScoreJudge(
            manifest.decision,
            manifest.gates,
            fps,
            f"{NAME} {manifest.version}",
            lag_s=LAG_S,
            bounded=True,
        )
        super().__init__(manifest, graph, judge)
        self.fallback = graph.fallback or self._encoder.fallback
        self._features = ClipFeatures(self._encoder)
        self._window = FeatureWindow(CONTEXT_STEPS, self._encoder.size)
        self._score = math.nan
        self._last_s = -math.inf
        self._encoder.warm_up()
        graph.warm_up()

    def score(self, sample: MotionSample) -> float:
        """The score that stands at the next frame; NaN where there is none."""
        if sample.restart or sample.time_s - self._last_s > MAX_GAP_S + 1e-6:
            self._score = math.nan  # what it speaks of belongs to another stretch
        self._last_s = sample.time_s
        for step in self._features.push(sample):
            self._window.push(step)
            window = self._window.values[np.newaxis]
            self._score = float(self._graph.run({INPUT_NAME: window})[OUTPUT_NAME][0])
        if not self._features.going_on:
            self._score = math.nan
        return self._score

    def reset(self) -> None:
        """Forget everything, as if newly built."""
        self._features.reset()
        self._window.reset()
        self._score = math.nan
        self._last_s = -math.inf
        super().reset()

    def close(self) -> None:
        """Close network and backbone."""
        super().close()
        self._encoder.close()
