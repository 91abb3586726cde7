"""Step 2, light: does the lamp flicker, where does the camera see it, and does it cast bands?

A lamp on the mains flickers at twice the mains frequency. A camera sees that at an alias,
|f - k·fps|, which at some rates lies among the movements of a face. The ripple is fitted as a
sinusoid of the lamp's own frequency at the actual times of the frames (the least-squares
periodogram of Lomb, 1976), so that jitter does no harm and the alias needs no care.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from calibration.result import Finding, Result
from calibration.tracks import Floats

STEP = "light"
LAMPS_HZ = (100.0, 120.0)
"""Twice the frequency of the mains."""

MIN_SECONDS = 2.0
_TOLERANCE = 0.005  # mains frequency keeps within half a per cent
_DRIFT_HZ = 1.0  # slower changes are exposure, posture and daylight
_SURE = 5.0  # a peak is this many standard errors high
_DEPTH_WARNING = 0.01
_BANDING_WARNING = 0.005
_MOVEMENT_HZ = (_DRIFT_HZ, 20.0)
_MOVEMENT_DEPTH_FAILURE = 0.05
_CREEP_PERIODS = 0.25


class Ripple(Result):
    """The ripple of one kind of mains.

    Attributes:
        lamp_hz: Frequency of the lamp, 100 or 120 Hz, as fitted.
        alias_hz: Frequency at which this frame rate shows it.
        visible: False when the alias is too slow to be told from a change of exposure.
        found: Whether it stands out of what else changes.
        depth: Amplitude as a share of the mean luminance; what was seen of it, where `at_least`.
        depth_error: Standard error of `depth`.
        at_least: The alias lies at half the frame rate and its phase did not move during the
            take: how much of the ripple falls between the frames is unknown.
        banding: Amplitude of what differs between the rows of the picture, as a share of the
            mean; the part that evening out the brightness of whole pictures leaves.
        line_time_us: Time from one row to the next of a rolling shutter; None without a phase
            that runs down the picture.
    """

    lamp_hz: float
    alias_hz: float
    visible: bool
    found: bool
    depth: float
    depth_error: float
    at_least: bool
    banding: float | None
    line_time_us: float | None


class LightResult(Result):
    """The lamp as this camera sees it.

    Attributes:
        seconds: Length of what was looked at.
        fps: Frame rate of the take.
        mean: Mean grey level of the face.
        drift: Slow change of the face's luminance: standard deviation as a share of the mean.
        ripples: One for each kind of mains.
    """

    seconds: float
    fps: float
    mean: float
    drift: float
    ripples: tuple[Ripple, ...]


def alias_hz(lamp_hz: float, fps: float) -> float:
    """Return the frequency at which a frame rate shows a lamp."""
    return abs(lamp_hz - fps * round(lamp_hz / fps))


def measure(
    time_s: Floats, luminance: Floats, bands: Floats, band_rows: Floats
) -> LightResult | None:
    """Look for lamp ripple in the luminance of a face.

    Args:
        time_s: (N,) times in seconds.
        luminance: (N,) mean grey level of the face.
        bands: (N, B) mean grey levels of strips of rows.
        band_rows: (B,) their rows.

    Returns:
        The result; None with less than two seconds.
    """
    if len(time_s) < 16 or time_s[-1] - time_s[0] < MIN_SECONDS:
        return None
    mean = float(luminance.mean())
    interval = np.diff(time_s)
    frames = np.rint(interval / np.median(interval)).sum()  # lost ones among them
    fps = float(frames / interval.sum())
    slow = _slow_part(time_s, luminance)
    return LightResult(
        seconds=float(time_s[-1] - time_s[0]),
        fps=fps,
        mean=mean,
        drift=float(np.std(slow) / mean),
        ripples=tuple(
            _ripple(lamp, fps, time_s, luminance - slow, mean, bands, band_rows)
            for lamp in LAMPS_HZ
        ),
    )


def _slow_part(time_s: Floats, values: Floats) -> npt.NDArray[np.float64]:
    """What changes more slowly than 1 Hz: (N, ...) least squares on slow cosines and a line."""
    span = float(time_s[-1] - time_s[0])
    phase = np.pi * (time_s - time_s[0]) / span
    order = np.arange(max(2, math.floor(2 * span * _DRIFT_HZ)))
    basis = np.column_stack([np.cos(np.outer(phase, order)), phase])
    fitted: npt.NDArray[np.float64] = basis @ np.linalg.lstsq(basis, values, rcond=None)[0]
    return fitted


def _ripple(
    lamp_hz: float,
    fps: float,
    time_s: Floats,
    quick: Floats,
    mean: float,
    bands: Floats,
    band_rows: Floats,
) -> Ripple:
    """Fit one lamp's ripple to the luminance, then to every strip of rows."""
    span = float(time_s[-1] - time_s[0])
    half = _TOLERANCE * lamp_hz
    candidates = np.arange(lamp_hz - half, lamp_hz + half, 0.2 / span)
    candidates = candidates[[alias_hz(f, fps) > _DRIFT_HZ for f in candidates]]
    if not len(candidates):
        return Ripple(
            lamp_hz=lamp_hz,
            alias_hz=alias_hz(lamp_hz, fps),
            visible=False,
            found=False,
            depth=0.0,
            depth_error=0.0,
            at_least=False,
            banding=None,
            line_time_us=None,
        )

    def left(frequency: float) -> float:
        return _fit(frequency, time_s, quick)[1]

    nearest = candidates[np.argmin([left(f) for f in candidates])]
    around = (nearest - 0.2 / span, nearest + 0.2 / span)
    frequency = float(minimize_scalar(left, bounds=around, method="bounded").x)
    seen, residual, amplitude = _fit(frequency, time_s, quick)
    error = math.sqrt(2 * residual / len(time_s)) / mean
    # At half the frame rate only one phase is seen; it creeps, or it does not.
    nyquist = abs(alias_hz(frequency, fps) - fps / 2) * span < _CREEP_PERIODS
    depth = (float(np.abs(seen).max()) if nyquist else amplitude) / mean
    found = depth > _SURE * error
    banding, line_time = (
        _rows(frequency, time_s, bands, band_rows) if found and not nyquist else (None, None)
    )
    return Ripple(
        lamp_hz=frequency,
        alias_hz=alias_hz(frequency, fps),
        visible=True,
        found=found,
        depth=depth,
        depth_error=error,
        at_least=nyquist,
        banding=banding,
        line_time_us=line_time,
    )


def _waves(frequency: float, time_s: Floats) -> npt.NDArray[np.float64]:
    phase = 2 * np.pi * frequency * np.asarray(time_s, np.float64)
    return np.column_stack([np.cos(phase), np.sin(phase)])


def _fit(
    frequency: float, time_s: Floats, quick: Floats
) -> tuple[npt.NDArray[np.float64], float, float]:
    """The fitted values (N,), the variance that they leave, and the amplitude."""
    waves = _waves(frequency, time_s)
    weights = np.linalg.lstsq(waves.T @ waves, waves.T @ quick, rcond=1e-9)[0]
    fitted = waves @ weights
    return fitted, float(np.mean((quick - fitted) ** 2)), float(np.hypot(*weights))


def _rows(
    frequency: float, time_s: Floats, bands: Floats, band_rows: Floats
) -> tuple[float, float | None]:
    """How the ripple differs between rows, and the row time of a rolling shutter."""
    means = bands.mean(axis=0)
    waves = _waves(frequency, time_s)
    relative = (bands - _slow_part(time_s, bands)) / means
    cosine, sine = np.linalg.lstsq(waves, relative, rcond=None)[0]
    ripple = cosine - 1j * sine
    common = ripple.mean()
    banding = float(np.sqrt(np.mean(np.abs(ripple - common) ** 2)))
    residual = relative - waves @ np.stack([cosine, sine])
    error = float(np.sqrt(2 * np.mean(residual**2) / len(time_s)))
    if np.abs(ripple).min() < _SURE * error:
        return banding, None  # some strip's phase is noise
    phase = np.unwrap(np.angle(ripple))
    slope, constant = np.polyfit(band_rows, phase, 1)
    off = float(np.std(phase - slope * band_rows - constant))
    rolls = abs(slope) * float(np.ptp(band_rows)) > max(0.1, 4 * off)
    return banding, float(abs(slope) / (2 * np.pi * frequency) * 1e6) if rolls else None


def findings(result: LightResult | None) -> tuple[Finding, ...]:
    """What the operator must know of the light."""
    if result is None:
        return (
            Finding(
                step=STEP,
                severity="warning",
                what=f"Less than {MIN_SECONDS:g} s of a face: flicker was not measured.",
                advice="Record a longer take with the face in the picture.",
            ),
        )
    found = []
    seen = [ripple for ripple in result.ripples if ripple.found]
    # Both kinds of mains may share an alias: the clearer one is named.
    for ripple in sorted(seen, key=lambda r: -r.depth)[:1]:
        low, high = _MOVEMENT_HZ
        among_movements = low < ripple.alias_hz < high
        if ripple.depth < _DEPTH_WARNING and (ripple.banding or 0) < _BANDING_WARNING:
            continue
        severe = among_movements and ripple.depth > _MOVEMENT_DEPTH_FAILURE
        least = "at least " if ripple.at_least else ""
        bands = ""
        if ripple.banding is not None and ripple.banding >= _BANDING_WARNING:
            bands = f", and bands of {100 * ripple.banding:.1f} % across the face"
        n = round(ripple.lamp_hz)
        found.append(
            Finding(
                step=STEP,
                severity="failure" if severe else "warning",
                what=f"The lamp flickers at {n} Hz by {least}{100 * ripple.depth:.1f} %, which "
                f"this frame rate shows at {ripple.alias_hz:.1f} Hz"
                f"{', where faces move' if among_movements else ''}{bands}.",
                advice=f"Use a flicker-free (DC) lamp, or an exposure of a whole multiple of "
                f"1/{n} s; switch auto-exposure off.",
            )
        )
    hidden = [ripple for ripple in result.ripples if not ripple.visible]
    if hidden and not seen:
        lamps = " and ".join(f"{ripple.lamp_hz:g} Hz" for ripple in hidden)
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"At this frame rate flicker of {lamps} looks like a slow change of "
                "exposure and cannot be measured.",
                advice="Look once at a rate that is no divisor of it (for example 90), or be sure "
                "that the lamp is flicker-free.",
            )
        )
    if result.drift > 0.05:
        found.append(
            Finding(
                step=STEP,
                severity="warning",
                what=f"The brightness of the face wanders by {100 * result.drift:.0f} %.",
                advice="Switch auto-exposure and automatic gain off, and keep daylight out.",
            )
        )
    return tuple(found)
