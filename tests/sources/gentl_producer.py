"""A real GenTL producer for tests: the game that comes with the `genicam` package."""

from __future__ import annotations

from pathlib import Path

import pytest


def viky() -> Path:
    """The producer that the GenICam committee ships with its Python binding."""
    genicam = pytest.importorskip("genicam", reason="needs genicam")
    producer = Path(genicam.__file__).with_name("viky.cti")
    if not producer.is_file():
        pytest.skip("this build of genicam has no producer")
    return producer
