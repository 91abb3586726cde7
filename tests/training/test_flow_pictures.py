from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("skimage", reason="the portrait comes with scikit-image")

from engines.recognition.ststnet.representation import standardise
from engines.synthesis.expressions import PROTOTYPES
from engines.training.flow_pictures import draw_pictures

COUNT = 4 * len(PROTOTYPES)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return draw_pictures(COUNT, seed=3, faces=1)


def test_pictures_have_the_shape_and_the_channels_of_flow_pictures(pictures: np.ndarray) -> None:
    assert pictures.shape == (COUNT, 28, 28, 3)
    assert pictures.dtype == np.float32
    assert (pictures[..., 2] >= 0).all()
    assert (pictures.std(axis=(1, 2)) > 0).all()


def test_the_same_seed_draws_the_same(pictures: np.ndarray) -> None:
    np.testing.assert_array_equal(draw_pictures(COUNT, seed=3, faces=1), pictures)


def test_expressions_move_the_way_real_ones_do(pictures: np.ndarray) -> None:
    planes = standardise(pictures)
    emotions = np.array([PROTOTYPES[i % len(PROTOTYPES)].emotion for i in range(COUNT)])
    smile = planes[emotions == "positive"].mean(axis=0)
    brows = planes[emotions == "surprise"].mean(axis=0)
    # Image coordinates, as tests/training/test_ststnet_command.py finds them in the real data.
    assert smile[0, 12:24, :8].mean() < -0.1
    assert smile[0, 12:24, 20:].mean() > 0.1
    assert smile[1, 16:21, 5:9].mean() < -0.2
    assert brows[1, 2:6, 4:24].mean() < -0.4
