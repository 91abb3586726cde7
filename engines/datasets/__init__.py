"""Licensed data sets of micro-expressions, read as their owners ship them."""

from engines.datasets.base import (
    AnnotatedEvent,
    Dataset,
    DatasetAdapter,
    DatasetError,
    Problem,
    ProblemKind,
    Recording,
)
from engines.datasets.facs import ActionUnit, action_unit_numbers, co_occurrence
from engines.datasets.media import read_depth, read_frames
from engines.datasets.registry import ADAPTERS, find_adapter

__all__ = [
    "ADAPTERS",
    "ActionUnit",
    "AnnotatedEvent",
    "Dataset",
    "DatasetAdapter",
    "DatasetError",
    "Problem",
    "ProblemKind",
    "Recording",
    "action_unit_numbers",
    "co_occurrence",
    "find_adapter",
    "read_depth",
    "read_frames",
]
