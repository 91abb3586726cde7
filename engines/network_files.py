"""A shipped network: the graph, and the manifest beside it that says what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from engines.errors import EngineError
from engines.runtime import GraphRunner, open_graph

INPUT_NAME = "planes"

UNITS_NAME = "action_units"
"""Output with the probability of each action unit, of a network that has it."""

_REMEDY = "reinstall Glint, or make it as its model card says"


class NetworkManifest(BaseModel):
    """What is known of a network file; lies beside it under the same name.

    Attributes:
        name: Name of the engine, and of its files.
        version: Version of the weights.
        sha256: Hash of the `.onnx` file.
        input: Name, shape and type of the graph's input.
        output: The same of its output.
        preprocessing: The representation that it was trained on.
        training: Data, protocol and seeds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    sha256: str
    input: dict[str, Any]
    output: dict[str, Any]
    preprocessing: dict[str, Any]
    training: dict[str, Any]


class RecognitionManifest(NetworkManifest):
    """The manifest of a recognition network.

    Attributes:
        classes: Emotions, in the order of the first outputs; an output beyond them (*neutral*) is
            not looked at, as an event is not neutral.
        temperature: What averaged logits are divided by.
        unsure_below: Calibrated probability below which the most probable class is not named
            (`calibration.selective`); 0 names it always.
        action_units: Numbers of the action units whose probability the graph's output
            `action_units` gives; empty where it has none.
    """

    classes: tuple[str, ...]
    temperature: float
    unsure_below: float = Field(default=0.0, ge=0.0, le=1.0)
    action_units: tuple[int, ...] = ()


Manifest = TypeVar("Manifest", bound=NetworkManifest)


def open_network(
    folder: Path,
    name: str,
    manifest: type[Manifest],
    preprocessing: Mapping[str, object],
    backend: str,
) -> tuple[Manifest, GraphRunner]:
    """Read a manifest, check the network against it, and open the network.

    Args:
        folder: Where `<name>.onnx` and `<name>.json` lie.
        name: Name of the engine.
        manifest: What the manifest holds.
        preprocessing: The representation that the caller makes.
        backend: One of `engines.runtime.BACKENDS`.

    Returns:
        The manifest and the open network, which the caller closes.

    Raises:
        EngineError: A file is missing or corrupt, the network is not the manifest's, or it was
            trained on another representation.
    """
    described, path = folder / f"{name}.json", folder / f"{name}.onnx"
    try:
        found = manifest.model_validate_json(described.read_bytes())
    except OSError as error:
        raise EngineError(f"The manifest {described} cannot be read; {_REMEDY}.") from error
    except ValueError as error:
        raise EngineError(f"The manifest {described} is corrupt; {_REMEDY}.") from error
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EngineError(f"The network {path} cannot be read; {_REMEDY}.") from error
    if digest != found.sha256:
        raise EngineError(
            f"{path} is not the file that its manifest describes (another SHA-256); {_REMEDY}."
        )
    if found.preprocessing != dict(preprocessing):
        raise EngineError(
            f"{path} was trained on another flow representation than this version of Glint "
            f"makes; {_REMEDY}."
        )
    return found, open_graph(path, backend)
