"""Plots of an evaluation, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engines.evaluation.ranking import PrecisionRecall
from engines.evaluation.spotting import EvaluationError, Recording, match, of_kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRUE, _HIT, _FALSE = "#555555", "#2a7f62", "#c44536"
_ROWS_A_PICTURE = 40


def save_precision_recall(folder: Path, curves: dict[str, PrecisionRecall]) -> Path:
    """Draw precision against recall, a line each, and where all detections are kept.

    Raises:
        EvaluationError: The file cannot be written.
    """
    figure = _figure(5, 4)
    axes = figure.subplots()
    for name, curve in curves.items():
        (line,) = axes.step(
            curve.recall,
            curve.precision,
            where="post",
            label=f"{name}, AP {curve.average_precision:.3f}",
        )
        axes.plot(curve.recall[-1:], curve.precision[-1:], "o", color=line.get_color())
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False)
    return _save(figure, folder / "precision_recall.png")


def save_timeline(folder: Path, recordings: Sequence[Recording], min_iou: float) -> list[Path]:
    """Draw truths above detections along the time of each recording, 40 recordings a picture.

    Raises:
        EvaluationError: A file cannot be written.
    """
    paths = []
    for start in range(0, len(recordings), _ROWS_A_PICTURE):
        shown = recordings[start : start + _ROWS_A_PICTURE]
        figure = _figure(10, 1 + 0.35 * len(shown))
        axes = figure.subplots()
        for row, recording in enumerate(shown):
            truths, found = of_kind(recording.truths, None), of_kind(recording.detections, None)
            hits = {pair.detection for pair in match(truths, found, min_iou)}
            for truth in truths:
                axes.barh(row - 0.2, truth.duration_s, 0.36, truth.onset_s, color=_TRUE)
            for at, each in enumerate(found):
                colour = _HIT if at in hits else _FALSE
                axes.barh(row + 0.2, each.duration_s, 0.36, each.onset_s, color=colour)
        axes.set_yticks(range(len(shown)), [recording.name for recording in shown])
        axes.set(xlabel="time, s", ylim=(len(shown) - 0.4, -0.6))
        for colour, label in ((_TRUE, "true"), (_HIT, "found"), (_FALSE, "false")):
            axes.barh(0, 0, color=colour, label=label)
        axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
        number = start // _ROWS_A_PICTURE + 1
        paths.append(_save(figure, folder / f"timeline_{number}.png"))
    return paths


def save_confusion(
    folder: Path, classes: Sequence[str], confusion: Sequence[Sequence[int]]
) -> Path:
    """Draw a confusion matrix: share of each true class, and the counts.

    Raises:
        EvaluationError: The file cannot be written.
    """
    figure = _figure(2 + 0.8 * len(classes), 1.5 + 0.7 * len(classes))
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in confusion]
    axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
    for row, counts in enumerate(confusion):
        for column, count in enumerate(counts):
            colour = "white" if shares[row][column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    return _save(figure, folder / "confusion.png")


def _figure(width: float, height: float) -> Figure:
    # Matplotlib takes half a second to load, which only plots should cost.
    from matplotlib.figure import Figure  # noqa: PLC0415

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise EvaluationError(
            f"{path} cannot be written ({error.strerror}); name another folder."
        ) from error
    return path
