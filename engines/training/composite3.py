"""The composite data set of MEGC 2019 as flow pictures: reading and checking it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.errors import UserError

CLASSES = ("negative", "positive", "surprise")
"""Class names in the order of the labels."""

FILE_NAME = "flow_u_v_strain_28.npz"


@dataclass(frozen=True, slots=True)
class Composite3:
    """Onset→apex flow pictures of SMIC, CASME II and SAMM with three classes.

    Attributes:
        pictures: (N, 28, 28, 3) uint8, channels u, v, strain, each scaled per picture.
        labels: (N,) int64 index into `CLASSES`.
        subjects: (N,) subject, unique over the data sets.
        datasets: (N,) `casme2`, `samm` or `smic`.
        names: (N,) subject and clip, as `sub01_EP02_01f` or `006_006_1_2`.
        sha256: Hash of the file.
    """

    pictures: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    subjects: npt.NDArray[np.str_]
    datasets: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]
    sha256: str


def load_composite3(path: Path) -> Composite3:
    """Read the data set.

    Args:
        path: The `.npz` file, or the folder that holds `flow_u_v_strain_28.npz`.

    Returns:
        The data set.

    Raises:
        UserError: There is no such file or it does not hold what is expected.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        content = file.read_bytes()
        with np.load(file, allow_pickle=False) as arrays:
            pictures = arrays["flow"]
            labels = arrays["label"].astype(np.int64)
            datasets, names = arrays["dataset"], arrays["name"]
            subjects = np.char.add(np.char.add(datasets, "/"), arrays["subject"])
    except OSError as error:
        raise UserError(f"Cannot read {file}: pass the data set's .npz file or folder.") from error
    except (KeyError, ValueError, EOFError) as error:
        raise UserError(f"{file} is not the composite data set: {error}.") from error
    if pictures.shape[1:] != (28, 28, 3) or len(pictures) != len(labels):
        raise UserError(f"{file} holds pictures of shape {pictures.shape}, not (N, 28, 28, 3).")
    sha256 = hashlib.sha256(content).hexdigest()
    return Composite3(pictures, labels, subjects, datasets, names, sha256)
