"""How networks are trained: their stages, and where these differ from what was published.

======================================  =====================================================
published                               here
======================================  =====================================================
flow mapped per picture to 0…1          fixed scale (`engines.motion.planes`)
no augmentation                         half of the pictures mirrored
MEAN: 10 epochs of spotting, then 100   15 and 30, of which the best on validation identities
of recognition                          is kept
MEAN: L2 of 0.1 on a head's kernels     0.001, as on the streams
SFAMNet: depth change                   optical strain, or depth change (`sfamnet-depth`) along the
                                        flow of the pictures (`engines.motion.depth`)
SFAMNet: 1000 steps of 1024, Adam 1e-4  10 epochs in steps of 64, Adam 1e-3
SFAMNet: label 1 from half the rise to  MEAN's label, the whole expression: the causal decision
the apex                                reads the interval from the width of the curve
MOL: 128 channels of 16×16 cells       64 of 8×8, from faces at half the resolution; hidden
                                        layer of 128 instead of 256: trained on one core
MOL: heads of 39.7 M (flow) and 3.3 M   15 k and 140 k weights: flow of 16×16 cells, correlated
(landmarks) weights                     with one cell around instead of ten
MOL: gray normalised over the data set  fixed scale, and beside each face its change from the mean
                                        of the eight and the displacement of its skin from the
                                        first face (Lucas-Kanade, no weights)
MOL: every len/8-th frame of a clip     eight instants evenly from onset to confirmation, each the
                                        mean of the frames within 12 ms; four draws of the ends
MOL: TV-L1 as teacher of the flow       the flow of live analysis (DIS), in units of 0.25 pixels
MOL: 68 landmarks detected per frame    those of Face Mesh at rest, moved along by the flow
MOL: random crops                       none, eye corners are aligned; mirrored, light varied
MOL: landmarks from nothing             from where they lie on the mean face
MOL: AdamW 1e-4, 1000 steps of 32,      AdamW fading from 1e-3, 32 epochs in steps of 8,
best epoch on the test subject          best epoch on validation identities
MER-GCN, AU-GACN: 3-D convolutions      over the displacement of the skin from the first face, which
over the frames                         the graph computes itself (Lucas-Kanade, no weights)
MER-GCN, AU-GACN: no code, no recipe    AdamW fading from 2e-3, 16 epochs (AU-GACN: 32) in steps of
                                        16; the units that were coded are taught beside the emotion
======================================  =====================================================

The weights of MOL's loss are the published ones: cross-entropy, 10 times the flow's squared error,
0.1 times the landmarks' distance in inter-ocular distances.

Nothing here was chosen by a test identity. MOL's further input and the longer training of MOL and
AU-GACN came after a first version had been tested, and were kept because the validation loss fell
to a twentieth and to 0.56 of what it was; that of MER-GCN did not (0.122 after 32 epochs, 0.117
after 16), so its first version ships.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from engines.errors import UserError
from engines.motion import planes
from engines.recognition import sequences
from engines.training.networks.au_gacn import AuGacn
from engines.training.networks.base import SpotAndRecognise
from engines.training.networks.mean import Mean
from engines.training.networks.mer_gcn import MerGcn
from engines.training.networks.mol import Mol
from engines.training.networks.sequence import SequenceNetwork
from engines.training.networks.sfamnet import SfamNet
from engines.training.proposal_recipes import PROPOSAL_RECIPES, ProposalRecipe


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of training; the weights of the best epoch go on to the next.

    Attributes:
        name: For logs.
        epochs: Passes over the samples.
        batch: Samples in a step.
        learning_rate: Of Adam.
        spotting: Weight of the squared error of the score.
        recognition: Weight of the class-balanced cross-entropy.
        frozen: Prefixes of parameters that stand still, their statistics too.
        decay: Prefix of parameters, and the weight of their kernels' sum of squares in the loss.
        weight_decay: Decoupled weight decay (AdamW).
        fading: Whether the learning rate fades out over the stage, as half a cosine.
    """

    name: str
    epochs: int
    batch: int
    learning_rate: float
    spotting: float = 0.0
    recognition: float = 1.0
    frozen: tuple[str, ...] = ()
    decay: tuple[tuple[str, float], ...] = ()
    weight_decay: float = 0.0
    fading: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an engine's network for single flow pictures is made; it spots and recognises.

    Attributes:
        build: Makes the network for a number of emotions.
        neutral: Whether recognition has the further class *neutral*.
        stages: In order.
        paper: What the network is called in print.
        depth: Whether the third plane is depth change, not strain.
    """

    build: Callable[[int], SpotAndRecognise]
    neutral: bool
    stages: tuple[Stage, ...]
    paper: str
    depth: bool = False
    tasks: ClassVar[tuple[str, ...]] = ("spotting", "recognition")

    @property
    def input(self) -> str:
        """What the network reads, in a word."""
        return "scene flow" if self.depth else "planes"

    @property
    def preprocessing(self) -> Mapping[str, object]:
        """How that is made."""
        return planes.preprocessing_of(self.depth)


@dataclass(frozen=True, slots=True)
class SequenceRecipe:
    """How an engine's network for sequences of faces is made; it recognises only.

    Attributes:
        build: Makes the network for a number of emotions.
        stages: In order; the network itself weighs the parts of its loss.
        paper: What the network is called in print.
    """

    build: Callable[[int], SequenceNetwork]
    stages: tuple[Stage, ...]
    paper: str
    neutral: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("recognition",)
    input: ClassVar[str] = "faces"
    preprocessing: ClassVar[Mapping[str, object]] = sequences.PREPROCESSING


_UNIT_GRAPH = Stage(
    name="joint", epochs=16, batch=16, learning_rate=2e-3, weight_decay=1e-2, fading=True
)

_SFAMNET = Recipe(
    build=lambda emotions: SfamNet(emotions + 1),
    neutral=True,
    stages=(
        Stage(
            name="joint",
            epochs=10,
            batch=64,
            learning_rate=1e-3,
            spotting=0.9,
            recognition=0.1,
        ),
    ),
    paper="SFAMNet (Liong, Liong, Chan and See, 2024), strain in place of depth change",
)

RECIPES: Mapping[str, Recipe | SequenceRecipe | ProposalRecipe] = MappingProxyType(
    {
        "mean": Recipe(
            build=Mean,
            neutral=False,
            stages=(
                Stage(
                    name="spotting",
                    epochs=15,
                    batch=32,
                    learning_rate=5e-4,
                    spotting=1.0,
                    recognition=0.0,
                    decay=(("streams", 1e-3), ("spotting.0", 1e-3)),
                ),
                Stage(
                    name="recognition",
                    epochs=30,
                    batch=32,
                    learning_rate=5e-4,
                    spotting=0.0,
                    recognition=1.0,
                    frozen=("streams", "spotting"),
                    decay=(("recognition.0", 1e-3),),
                ),
            ),
            paper="MEAN (Liong, See and Chan, 2023)",
        ),
        "sfamnet": _SFAMNET,
        "sfamnet-depth": replace(
            _SFAMNET, paper="SFAMNet (Liong, Liong, Chan and See, 2024)", depth=True
        ),
        "mol": SequenceRecipe(
            build=Mol,
            stages=(
                Stage(
                    name="joint",
                    epochs=32,
                    batch=8,
                    learning_rate=1e-3,
                    weight_decay=1e-3,
                    fading=True,
                ),
            ),
            paper="MOL (Shao et al., 2025)",
        ),
        "mer-gcn": SequenceRecipe(
            build=MerGcn, stages=(_UNIT_GRAPH,), paper="MER-GCN (Lo et al., 2020)"
        ),
        "au-gacn": SequenceRecipe(
            build=AuGacn,
            stages=(replace(_UNIT_GRAPH, epochs=32),),
            paper="AU-GACN (Xie et al., 2020)",
        ),
        **PROPOSAL_RECIPES,
    }
)
"""Engine to recipe."""


def recipe_of(engine: str) -> Recipe | SequenceRecipe | ProposalRecipe:
    """The recipe of an engine.

    Raises:
        UserError: There is no such engine.
    """
    try:
        return RECIPES[engine]
    except KeyError:
        raise UserError(
            f"There is no engine named {engine!r} to train; choose one of: {', '.join(RECIPES)}."
        ) from None


def describe(engine: str) -> dict[str, Any]:
    """A recipe as JSON."""
    recipe = recipe_of(engine)
    if isinstance(recipe, ProposalRecipe):
        return recipe.described()
    return {
        "network": recipe.paper,
        "tasks": list(recipe.tasks),
        "input": recipe.input,
        "neutral": recipe.neutral,
        "stages": [
            {name: _plain(getattr(stage, name)) for name in Stage.__slots__}
            for stage in recipe.stages
        ],
    }


def _plain(value: Any) -> Any:
    """As it comes back from a JSON file."""
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
