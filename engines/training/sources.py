"""Where training finds its clips."""

from __future__ import annotations

from pathlib import Path

from engines.training.aligned_set import SET_FILE, AlignedSource
from engines.training.clips import ClipSource, SyntheticSource


def open_source(folder: Path) -> ClipSource:
    """Open the data in a folder.

    Args:
        folder: A synthetic set, or an aligned set of a licensed data set.

    Raises:
        UserError: There are no data that training can read.
    """
    return AlignedSource(folder) if (folder / SET_FILE).exists() else SyntheticSource(folder)
