"""The field's usual offline decision: smooth, threshold over the whole video, take the peaks.

It needs the whole video, so Glint never decides like this; it is here as the yardstick that
published score curves were decided with, against which a causal decision is compared.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import find_peaks

FloatArray = npt.NDArray[np.float64]


def moilanen_threshold(score: npt.ArrayLike, p: float) -> float:
    """Threshold between the mean and the maximum of a score curve.

    Moilanen, Zhao, Pietikäinen: Spotting rapid facial movements from videos using appearance-based
    feature difference analysis, ICPR 2014: `T = mean + p (max - mean)`.

    Args:
        score: (N,) scores of a whole video, N > 0.
        p: 0 gives the mean, 1 the maximum.
    """
    values = np.asarray(score, dtype=np.float64)
    mean = float(values.mean())
    return mean + p * (float(values.max()) - mean)


def box_smooth(score: npt.ArrayLike, width: int) -> FloatArray:
    """Mean over every full window of `width` values.

    Args:
        score: (N,) scores, N >= width.
        width: Window length in frames.

    Returns:
        (N - width + 1,) float64; value i is the mean of scores i … i + width - 1.
    """
    values = np.asarray(score, dtype=np.float64)
    smoothed: FloatArray = np.lib.stride_tricks.sliding_window_view(values, width).mean(axis=-1)
    return smoothed


def offline_intervals(score: npt.ArrayLike, k: int, p: float) -> npt.NDArray[np.int64]:
    """Spot by peaks of a smoothed score curve (SOFTNet, MTSN, SL-Swin).

    Box smoothing over 2k scores, threshold of Moilanen et al., peaks at least k apart, interval
    peak ± k. A peak at smoothed value i stands for score i + k, the first one right of the centre
    of its window.

    Args:
        score: (N,) frame scores, N >= 2k.
        k: Half the mean length of an expression, in frames.
        p: Position of the threshold between mean and maximum.

    Returns:
        (M, 2) half-open intervals [peak - k, peak + k) in positions of `score`.
    """
    smoothed = box_smooth(score, 2 * k)
    peaks, _ = find_peaks(smoothed, height=moilanen_threshold(smoothed, p), distance=k)
    intervals: npt.NDArray[np.int64] = np.stack([peaks, peaks + 2 * k], axis=1).astype(np.int64)
    return intervals
