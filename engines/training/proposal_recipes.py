"""How LSSNet and LGSNet are trained, and where that differs from what was published.

======================================  =====================================================
published                               here
======================================  =====================================================
30 epochs, the best on test people      15, of which the best on validation identities is kept
LSSNet: Adam 8e-4, batch 32             the same learning rate and batch, with weight decay
LGSNet: AdamW 8e-4, batch 64            batch 32, for fewer windows
LGSNet: 3 windows of background         1 for each window with an expression
======================================  =====================================================

Everything here was fixed before any test identity was looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

from engines.features.clip_features import LIGHT, ChunkEncoder
from engines.spotting.proposal_spotter import INPUT_NAME, preprocessing_of
from engines.training.networks.lgsnet import LgsNet
from engines.training.networks.lssnet import LssNet
from engines.training.networks.proposals import ProposalNetwork


@dataclass(frozen=True, slots=True)
class ProposalRecipe:
    """How a network of proposals is made; it spots only.

    Attributes:
        build: Makes the network for a number of features.
        epochs: Passes; each draws its windows anew.
        batch: Windows in a step.
        learning_rate: Peak of AdamW's; it warms up over `warm_up` epochs and fades as a cosine.
        warm_up: See there.
        weight_decay: Decoupled weight decay.
        background: Windows of modelled background for each one with an expression; None for none.
        micro_weight: How much the place of a micro-expression counts, a macro-expression's being 1.
        suppression: Intersection over union above which offline suppression drops a proposal.
        paper: What the network is called in print.
        backbone: Whose features it reads; a folder of `engines/features`.
    """

    build: Callable[[int], ProposalNetwork]
    epochs: int
    batch: int
    learning_rate: float
    warm_up: int
    weight_decay: float
    background: float | None
    micro_weight: float
    suppression: float
    paper: str
    backbone: str = "light"
    tasks: ClassVar[tuple[str, ...]] = ("spotting",)
    input: ClassVar[str] = INPUT_NAME

    @property
    def preprocessing(self) -> Mapping[str, object]:
        """The features that the network reads."""
        encoder = self.encoder()
        try:
            return preprocessing_of(encoder)
        finally:
            encoder.close()

    def encoder(self) -> ChunkEncoder:
        """Open the backbone; the caller closes it.

        Raises:
            EngineError: Its weights were not made yet.
        """
        return ChunkEncoder(LIGHT.parent / self.backbone, "onnx")

    def described(self) -> dict[str, Any]:
        """The recipe as JSON."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "build"}
        return {
            "network": values.pop("paper"),
            "tasks": list(self.tasks),
            "input": self.input,
            **values,
        }


_LSSNET = ProposalRecipe(
    build=LssNet,
    epochs=12,
    batch=32,
    learning_rate=8e-4,
    warm_up=2,
    weight_decay=1e-2,
    background=None,
    micro_weight=1.0,
    suppression=0.2,
    paper="LSSNet (Yu, Jiang and Li, ACM MM 2021)",
)

_LGSNET = ProposalRecipe(
    build=LgsNet,
    epochs=12,
    batch=32,
    learning_rate=8e-4,
    warm_up=2,
    weight_decay=1e-2,
    background=1.0,
    micro_weight=4.0,
    suppression=0.01,
    paper="LGSNet (Yu et al., TAFFC 2023)",
)

PROPOSAL_RECIPES: Mapping[str, ProposalRecipe] = MappingProxyType(
    {
        "lssnet": _LSSNET,
        "lgsnet": _LGSNET,
        "lssnet-i3d": replace(_LSSNET, backbone="i3d"),
        "lgsnet-i3d": replace(_LGSNET, backbone="i3d"),
    }
)
"""Engine to recipe; those on I3D need its weights, which a command makes."""
