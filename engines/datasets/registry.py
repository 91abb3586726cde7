"""Data set adapters by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engines.datasets.base import DatasetAdapter, DatasetError
from engines.datasets.cas_me_2 import CasMe2
from engines.datasets.cas_me_3 import CasMe3
from engines.datasets.casme2 import Casme2
from engines.datasets.samm import Samm
from engines.datasets.samm_lv import SammLongVideos
from engines.datasets.smic import Smic

_ALL: tuple[DatasetAdapter, ...] = (
    Casme2(),
    Samm(),
    Smic("HS", 100.0),
    Smic("VIS", 25.0),
    Smic("NIR", 25.0),
    CasMe2(),
    CasMe3(),
    SammLongVideos(),
)

ADAPTERS: Mapping[str, DatasetAdapter] = MappingProxyType(
    {adapter.name: adapter for adapter in _ALL}
)
"""Name to adapter."""


def find_adapter(name: str) -> DatasetAdapter:
    """The adapter of a data set.

    Raises:
        DatasetError: There is no such adapter.
    """
    try:
        return ADAPTERS[name]
    except KeyError:
        raise DatasetError(
            f"There is no data set named {name!r}; choose one of {', '.join(ADAPTERS)}."
        ) from None
