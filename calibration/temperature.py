"""Temperature scaling: probabilities that mean what they say.

Guo et al., "On calibration of modern neural networks" (ICML 2017): all logits are divided by one
number, fitted on held-out data. The most probable class does not change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

Logits = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]

_LOG_RANGE = (np.log(0.05), np.log(20.0))


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Find the temperature that minimises the negative log-likelihood.

    Args:
        logits: (N, C) held-out logits.
        labels: (N,) class indices.

    Returns:
        The temperature, between 0.05 and 20; above 1 where the logits are over-confident.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))


def probabilities(logits: Logits, temperature: float) -> npt.NDArray[np.float64]:
    """Softmax of the scaled logits.

    Args:
        logits: (N, C) logits.
        temperature: Positive temperature.

    Returns:
        (N, C) float64 probabilities.
    """
    return np.asarray(softmax(logits / temperature, axis=1), np.float64)


def expected_calibration_error(
    predicted: npt.NDArray[np.floating[Any]], labels: Labels, *, bins: int = 10
) -> float:
    """Mean gap between confidence and accuracy, weighted by how often each confidence occurs.

    Args:
        predicted: (N, C) probabilities.
        labels: (N,) class indices.
        bins: Number of equal confidence bins on 0…1.

    Returns:
        The error, from 0 (calibrated) to 1.
    """
    confidence = predicted.max(axis=1)
    correct = predicted.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gap = np.bincount(bin_of, confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))
