"""Action units of people in flow pictures, told by what is no network on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

from engines.motion.canonical import INTER_OCULAR_PX, REGION_NAMES
from engines.motion.regions import RegionWeights
from engines.motion.strain import optical_strain
from engines.recognition.action_units.estimator import FEATURES
from engines.training import people_units
from engines.training.composite3 import Composite3
from engines.training.facs_codes import FacsCodes, read_codes
from engines.training.flow_pictures import mean_landmarks
from engines.training.networks.unit_graph import UNITS
from engines.training.people_units import region_features, regressed, report, restored_flow


@pytest.fixture(scope="module")
def weights() -> RegionWeights:
    return RegionWeights(mean_landmarks(faces=1))


def brows(lift: float) -> np.ndarray:
    """Brows that rise, and a chin that goes aside."""
    rows, columns = np.mgrid[:28, :28]
    flow = np.zeros((28, 28, 2), np.float32)
    flow[..., 1] = -lift * np.exp(-(((rows - 4) / 2.5) ** 2))
    flow[..., 0] = np.exp(-(((rows - 24) / 3) ** 2) - ((columns - 14) / 6) ** 2)
    return flow


def published(flow: np.ndarray) -> np.ndarray:
    """Every channel on its own levels, as the composite has them."""
    fields = np.dstack([flow, optical_strain(flow)])
    low, high = fields.min(axis=(0, 1)), fields.max(axis=(0, 1))
    return np.rint(255 * (fields - low) / (high - low)).astype(np.uint8)


@pytest.mark.parametrize("lift", [0.3, 1.0, 3.0])
def test_strain_gives_back_how_u_and_v_compare(lift: float) -> None:
    restored = restored_flow(published(brows(lift)))
    u, v = np.ptp(restored[..., 0]), np.ptp(restored[..., 1])
    assert v / u == pytest.approx(lift, rel=0.15)


def test_regions_move_as_the_flow_says_and_the_head_is_taken_out(weights: RegionWeights) -> None:
    features = region_features(brows(2.0), weights)
    assert features.shape == (FEATURES,)
    moved = dict(zip(REGION_NAMES, features[: 2 * len(REGION_NAMES)].reshape(-1, 2), strict=True))
    assert moved["left_brow_outer"][1] * INTER_OCULAR_PX < -0.8
    assert abs(moved["left_cheek"][1]) * INTER_OCULAR_PX < 0.3
    nodded = region_features(brows(2.0) + np.array([0.5, 1.0], np.float32), weights)
    np.testing.assert_allclose(nodded, features, atol=2e-3)


@pytest.fixture
def coded(tmp_path: Path) -> tuple[Composite3, FacsCodes]:
    """Twelve people: brows of every second clip rise, the chin of the others goes aside."""
    rng = np.random.default_rng(0)
    count = 24
    lifts = np.where(np.arange(count) % 2, 3.0, 0.2)
    noise = 0.1 * rng.normal(size=(count, 28, 28, 2)).astype(np.float32)
    names = [f"0{n // 2 + 10}_0{n // 2 + 10}_1_{n}" for n in range(count)]
    data = Composite3(
        pictures=np.stack([published(brows(k) + n) for k, n in zip(lifts, noise, strict=True)]),
        labels=np.arange(count) % 3,
        subjects=np.array([f"samm/0{n // 2 + 10}" for n in range(count)]),
        datasets=np.array(["samm"] * count),
        names=np.array(names),
        sha256="0" * 64,
    )
    table = tmp_path / "samm.csv"
    lines = [
        f"{n[:3]},{n[4:]},{'1+2' if k > 1 else '17'}" for n, k in zip(names, lifts, strict=True)
    ]
    table.write_text("Subject,Filename,Action Units\n" + "\n".join(lines) + "\n")
    return data, read_codes([table], data)


def test_units_are_learned_from_the_other_subjects(coded: tuple[Composite3, FacsCodes]) -> None:
    data, codes = coded
    scores = regressed(data, codes)
    raised = codes.presence[:, UNITS.index(2)]
    assert scores[raised, UNITS.index(2)].min() > scores[~raised, UNITS.index(2)].max()


def test_the_report_has_both(
    coded: tuple[Composite3, FacsCodes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_units, "mean_landmarks", lambda: mean_landmarks(faces=1))
    text = report(*coded)
    assert "## The estimator" in text
    assert "On 24 clips of 12 people" in text
    assert text.count("| AU26 ") == 2
