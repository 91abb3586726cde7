"""What training and export need of a network that recognises from a sequence of faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from engines.training.event_clips import EventSamples
from engines.training.samples import NOT_LEARNED

Targets = Mapping[str, torch.Tensor]


class SequenceNetwork(nn.Module, ABC):
    """A network that is shown faces as `engines.recognition.sequences` gives them.

    Attributes:
        outputs: Names of what `forward` returns, the logits of the emotions first.
        shown: Names of what `show` returns.
        units: Numbers of the action units whose presence the output `action_units` tells.
    """

    outputs: tuple[str, ...] = ("logits",)
    shown: tuple[str, ...] = ()
    units: tuple[int, ...] = ()

    @abstractmethod
    def forward(self, faces: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Recognise; this path alone is exported.

        Args:
            faces: (N, 8, 128, 128) float32.

        Returns:
            (N, C) logits, and whatever else `outputs` names.
        """

    def show(self, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the network saw by the way, in the order of `shown`."""
        return ()

    @abstractmethod
    def loss(
        self, faces: torch.Tensor, emotion: torch.Tensor, targets: Targets, weights: torch.Tensor
    ) -> torch.Tensor:
        """The loss of a batch, which is what training minimises.

        Args:
            faces: (N, 8, 128, 128) float32.
            emotion: (N,) class; `engines.training.samples.NOT_LEARNED` where there is none.
            targets: What `teach` made of the batch, by name.
            weights: (C,) weight of each class in the cross-entropy.

        Returns:
            A scalar.
        """

    def study(self, samples: EventSamples) -> None:
        """Take from the training samples what is counted, not learned; called before training."""

    def judge(
        self, faces: torch.Tensor, emotion: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """Cross-entropy of the emotions of a batch, 0 without any; see `loss`."""
        answer = self(faces)
        logits = answer if isinstance(answer, torch.Tensor) else answer[0]
        known = emotion != NOT_LEARNED
        if not known.any():
            return logits.new_zeros(())
        return functional.cross_entropy(logits[known], emotion[known], weights)

    @staticmethod
    def teach(samples: EventSamples) -> dict[str, npt.NDArray[np.float32]]:
        """What the samples have to teach beside the emotion: name to (N, …) array."""
        return {}

    @staticmethod
    def mirrored(targets: Targets) -> dict[str, torch.Tensor]:
        """The targets of the mirrored faces."""
        return dict(targets)

    @staticmethod
    def resemblance(
        shown: Mapping[str, npt.NDArray[np.float32]], taught: Mapping[str, npt.NDArray[np.float32]]
    ) -> dict[str, float]:
        """How near what `show` gave comes to what `teach` said, in figures for the model card.

        Args:
            shown: Name of each of `shown` to (N, …) values.
            taught: What `teach` made of the same samples.

        Returns:
            What was measured to its figure.
        """
        return {}
