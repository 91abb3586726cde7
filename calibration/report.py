"""The report of a calibration, for a terminal and as a page that stands alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from calibration.file import Calibration
from calibration.result import Finding, Verdict
from calibration.threshold import HIGHEST
from calibration.visibility import VisibilityResult

_PERCENT = 100.0
_VERDICT_WORDS = {
    Verdict.FIT: "Fit: recordings of this rig and subject can be trusted.",
    Verdict.WARNINGS: "Fit with warnings: usable; the points below would make it better.",
    Verdict.NOT_FIT: "Not fit: mend what failed before the session.",
}


@dataclass(frozen=True, slots=True)
class Section:
    """One step's part of the report.

    Attributes:
        title: Name of the step.
        state: `good`, `warning`, `failure` or `missing`.
        figures: (name, value) pairs.
        findings: What the operator must know.
    """

    title: str
    state: str
    figures: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


def sections(calibration: Calibration) -> tuple[Section, ...]:
    """Return the report, step by step."""
    parts = (
        ("clock", "1  Clock and rate", _clock(calibration)),
        ("light", "2  Light", _light(calibration)),
        ("image", "3  Image", _image(calibration)),
        ("baseline", "4  Neutral baseline", _baseline(calibration)),
        ("threshold", "5  Threshold", _threshold(calibration)),
        ("visibility", "6  Smallest visible movement", _visibility(calibration)),
    )
    return tuple(
        Section(title, _state(figures, found), tuple(figures), found)
        for step, title, figures in parts
        for found in [tuple(f for f in calibration.findings if f.step == step)]
    )


def as_text(calibration: Calibration) -> str:
    """Return the report for a terminal."""
    marks = {"good": "ok", "warning": "WARNING", "failure": "FAILURE", "missing": "not measured"}
    lines = []
    for section in sections(calibration):
        lines.append(f"{section.title}: {marks[section.state]}")
        width = max((len(name) for name, _ in section.figures), default=0)
        lines += [f"   {name:<{width}}  {value}" for name, value in section.figures]
        for finding in section.findings:
            lines += [f"   {finding.severity.upper()}: {finding.what}", f"      {finding.advice}"]
    return "\n".join([*lines, "", verdict_words(calibration)])


def as_html(calibration: Calibration) -> str:
    """Return the report as an HTML page without any other file."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    source = (files("calibration") / "assets" / "report.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        calibration=calibration,
        sections=sections(calibration),
        words=verdict_words(calibration),
        tone={Verdict.FIT: "good", Verdict.WARNINGS: "warning", Verdict.NOT_FIT: "failure"}[
            calibration.verdict
        ],
        trials=_trials(calibration),
        noise=_noise(calibration),
    )


def verdict_words(calibration: Calibration) -> str:
    """Return the verdict in a sentence."""
    return _VERDICT_WORDS[calibration.verdict]


def _state(figures: list[tuple[str, str]], found: tuple[Finding, ...]) -> str:
    for severity in ("failure", "warning"):
        if any(finding.severity == severity for finding in found):
            return severity
    return "good" if figures else "missing"


def _clock(calibration: Calibration) -> list[tuple[str, str]]:
    result = calibration.clock
    if result is None:
        return []
    asked = "nothing asked" if result.fps_asked is None else f"{result.fps_asked:g} asked"
    lost = ", ".join(f"{n} by {cause}" for cause, n in result.lost.items()) or "none"
    interval, jitter = result.interval_ms, result.jitter_ms
    clock = "camera's or file's own clock" if result.device_clock else "computer's clock at arrival"
    figures = [
        (
            "rate",
            f"{result.fps_delivered:.2f} frames a second ({asked}, {result.fps_nominal:g} "
            f"announced) over {result.seconds:.1f} s",
        ),
        (
            "interval",
            f"{interval.p50:.2f} ms median, {interval.p99:.2f} p99, {interval.max:.2f} max",
        ),
        (
            "jitter",
            f"{jitter.p50:.2f} ms median, {jitter.p99:.2f} p99, {jitter.max:.2f} max, by the "
            f"{clock}",
        ),
        ("missing frames", lost),
    ]
    if result.host is None:
        reason = "a file has none" if not calibration.source.live else "no device timestamps"
        return [*figures, ("clock against the computer's", f"not measured: {reason}")]
    host = result.host
    return [
        *figures,
        (
            "clock against the computer's",
            f"{host.slope_ppm:+.0f} ppm ({host.slope_low_ppm:+.0f} to {host.slope_high_ppm:+.0f}), "
            f"offset {host.offset_s:.4f} s, delay {host.delay_ms.p50:.2f} ms median, "
            f"{host.delay_ms.p99:.2f} p99",
        ),
    ]


def _light(calibration: Calibration) -> list[tuple[str, str]]:
    result = calibration.light
    if result is None:
        return []
    figures = []
    for ripple in result.ripples:
        name = f"{round(ripple.lamp_hz)} Hz lamp"
        if not ripple.visible:
            text = "cannot be told from slow changes at this frame rate"
        elif not ripple.found:
            text = f"none above {_PERCENT * 5 * ripple.depth_error:.2f} %"
        else:
            least = "at least " if ripple.at_least else ""
            text = f"{least}{_PERCENT * ripple.depth:.2f} % at {ripple.alias_hz:.2f} Hz"
            if ripple.banding is not None:
                text += f", bands {_PERCENT * ripple.banding:.2f} %"
            if ripple.line_time_us is not None:
                text += f", rolling shutter {ripple.line_time_us:.1f} us a row"
        figures.append((name, text))
    return [*figures, ("slow changes", f"{_PERCENT * result.drift:.1f} %")]


def _image(calibration: Calibration) -> list[tuple[str, str]]:
    result = calibration.image
    if result is None:
        return []
    nod, turn, tilt = result.pose_deg
    return [
        (
            "exposure",
            f"mean {result.mean:.0f} of 255, {_PERCENT * result.dark_share:.1f} % black, "
            f"{_PERCENT * result.bright_share:.1f} % saturated",
        ),
        (
            "focus",
            f"edges {result.blur_px:.2f} pixels wide ({result.blur_canonical:.2f} canonical), "
            f"Laplacian {result.focus:.3f}",
        ),
        ("noise", f"{result.noise:.2f} grey levels, mean over noise {result.snr:.0f}"),
        (
            "face",
            f"{result.face_height_px:.0f} pixels tall, eyes {result.inter_ocular_px:.0f} apart",
        ),
        ("head", f"nod {nod:.0f}, turn {turn:.0f}, tilt {tilt:.0f} degrees"),
        ("motion blur", f"at most {result.motion_blur_px:.2f} pixels"),
    ]


def _baseline(calibration: Calibration) -> list[tuple[str, str]]:
    result = calibration.baseline
    if result is None:
        return []
    span = 0.0 if calibration.image is None else calibration.image.inter_ocular_px
    noisy = max(result.regions, key=lambda region: region.median)
    return [
        ("still face", f"{result.seconds:.1f} s, take {calibration.takes}"),
        (
            "motion noise",
            f"{1e3 * result.noise_iod:.2f} thousandths of the inter-ocular distance "
            f"({result.noise_iod * span:.3f} pixels); most: {noisy.region.replace('_', ' ')}",
        ),
        ("blinks", f"{result.blinks} ({result.blinks_per_min:.0f} a minute)"),
        (
            "head",
            f"sways by {result.sway_iod:.3f} inter-ocular distances, {result.head_speed:.2f} a "
            "second",
        ),
    ]


def _threshold(calibration: Calibration) -> list[tuple[str, str]]:
    result = calibration.threshold
    if result is None:
        return []
    more = " or more" if result.factor_high >= HIGHEST else ""
    figures = [
        ("budget", f"{result.budget_per_min:g} false alarms a minute"),
        (
            "threshold factor",
            f"{result.factor:.1f} ({result.factor_low:.1f} to "
            f"{result.factor_high:.1f}{more} at 90 %), from {result.fitted_s:.0f} s",
        ),
    ]
    if result.held_out_alarms is None:
        return [*figures, ("held-out footage", "none")]
    return [
        *figures,
        (
            "held-out footage",
            f"{result.held_out_alarms} false alarms in {result.held_out_s:.0f} s: "
            f"{result.held_out_low_per_min:.1f} to {result.held_out_high_per_min:.1f} a minute at "
            "95 %",
        ),
    ]


def _visibility(calibration: Calibration) -> list[tuple[str, str]]:
    result = calibration.visibility
    if result is None:
        return []
    if result.amplitude_px is None or result.amplitude_mm is None:
        return [("seen with 90 % recall", "cannot be told"), *_visibility_tried(result)]
    high = "no upper end" if result.high_px is None else f"{result.high_px:.2f}"
    eyes = "assumed" if result.eye_distance_assumed else "given"
    return [
        (
            "seen with 90 % recall",
            f"{result.amplitude_px:.2f} pixels ({result.low_px:.2f} to {high} "
            f"at 90 %), {result.amplitude_mm:.2f} mm (eyes {result.eye_distance_mm:g} mm apart, "
            f"{eyes})",
        ),
        *_visibility_tried(result),
    ]


def _visibility_tried(result: VisibilityResult) -> list[tuple[str, str]]:
    rows = [("expected from noise", f"{result.expected_px:.2f} pixels")]
    if result.checked:
        share = f"{result.found_low:.0%} to {result.found_high:.0%} at 95 %"
        rows.append(("tried again", f"{result.found} of {result.checked} found ({share})"))
    return rows


def _trials(calibration: Calibration) -> list[tuple[float, bool]]:
    """Injected movements as shares of the largest, for the drawing."""
    result = calibration.visibility
    if result is None or not result.trials:
        return []
    largest = max(size for size, _ in result.trials)
    return [(size / largest, found) for size, found in result.trials]


def _noise(calibration: Calibration) -> list[tuple[str, float, float]]:
    """Region, noise in thousandths, and share of the largest."""
    result = calibration.baseline
    if result is None:
        return []
    largest = max(region.sigma for region in result.regions) or 1.0
    return [
        (region.region.replace("_", " "), 1e3 * region.sigma, region.sigma / largest)
        for region in result.regions
    ]
