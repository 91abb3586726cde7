"""Backbones and their features: shapes, gradients, and that training sees what runs live."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

import torch

from engines.errors import EngineError
from engines.features.clip_features import ChunkEncoder, ClipFeatures, FeatureWindow, Step
from engines.features.grid import CHUNK_TICKS, STEP_S
from engines.training import backbones
from engines.training.backbones import BACKBONES, TARGETS, Chunks, fit, ship, targets_of
from engines.training.clip_features import FeatureCache
from engines.training.networks.i3d import I3dStream, Inception, Pool, Unit
from engines.training.networks.light import FEATURES, Factored, light
from engines.training.networks.two_stream import Foretelling
from engines.training.onnx_export import write_graph
from engines.training.streaming import measure
from engines.training.ticks import TickCache, tick_clip
from tests.training.face_clips import FewPeople, clip


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


# -- blocks ----------------------------------------------------------------------------------


def test_a_factored_convolution_looks_one_picture_around_in_time() -> None:
    block = Factored(2, 5, 3, 2).eval()
    maps = torch.randn(1, 2, 8, 12, 12)
    out = block(maps)
    assert out.shape == (1, 5, 4, 6, 6)
    changed = maps.clone()
    changed[:, :, 7] += 1
    told = (block(changed) - out).abs().amax(dim=(0, 1, 3, 4)) > 0
    assert told.tolist() == [False, False, False, True]


def test_the_light_backbone_has_a_gradient_for_every_weight() -> None:
    network = Foretelling(light(), (FEATURES, FEATURES), 7)
    told = network(torch.rand(3, 8, 1, 42, 42), torch.randn(3, 8, 3, 42, 42))
    assert [each.shape for each in told] == [(3, 7), (3, 7)]
    sum(each.square().sum() for each in told).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_streams_share_nothing_and_appearance_is_change() -> None:
    network = light().eval()
    gray, flow = torch.rand(1, 8, 1, 42, 42), torch.randn(1, 8, 3, 42, 42)
    appearance, moved = network(gray, flow)
    brighter, same = network(gray + 0.1, flow)
    torch.testing.assert_close(appearance, brighter, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(moved, same)


def test_i3d_is_the_published_network() -> None:
    """12,287,264 parameters below the classifier; 8 pictures of 224×224 to 1024 features."""
    stream = I3dStream(3)
    assert sum(parameter.numel() for parameter in stream.parameters()) == 12_287_264
    extents = torch.zeros(1, 1, 8, 224, 224)
    sides = []
    for block in stream.body:
        if isinstance(block, Pool) or (isinstance(block, Unit) and block.conv.stride[0] == 2):
            kernel = block._kernel if isinstance(block, Pool) else block.conv.kernel_size
            stride = block._stride if isinstance(block, Pool) else block.conv.stride
            extents = Pool(tuple(kernel), tuple(stride))(extents)
            sides.append(tuple(extents.shape[2:]))
    assert sides == [(4, 112, 112), (4, 56, 56), (4, 28, 28), (2, 14, 14), (1, 7, 7)]


def test_an_inception_block_joins_its_branches_and_learns() -> None:
    block = Inception(6, 2, (3, 4), (2, 3), 5)
    out = block(torch.rand(2, 6, 2, 7, 7))
    assert out.shape == (2, 14, 2, 7, 7)
    out.square().sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_i3d_gives_features_of_canonical_faces_in_gray() -> None:
    with torch.no_grad():
        assert I3dStream(3).eval()(torch.rand(1, 8, 1, 128, 128)).shape == (1, 1024)


def test_what_i3d_does_to_its_borders_is_exported(tmp_path: Path) -> None:
    """Resizing, padding and pooling as in torch; the blocks behind them are of the same make."""
    stream = I3dStream(2)
    stream.body = stream.body[:2]
    seen = np.random.default_rng(0).random((2, 8, 2, 16, 16), np.float32)
    write_graph(stream, {"flow": seen}, ("features",), tmp_path / "i3d.onnx")
    assert (tmp_path / "i3d.onnx").exists()


# -- ticks and features ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A light backbone that has learned nothing."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("features")
    trained = backbones.Trained(light().eval(), 0, {})
    ship("light", trained, {}, folder)
    return folder / "light"


def test_training_sees_the_features_that_a_stream_gives(shipped: Path, tmp_path: Path) -> None:
    people = FewPeople()
    encoder = ChunkEncoder(shipped)
    cache = FeatureCache(tmp_path, people, encoder)
    (kept,) = cache.clips(["a"], mirrored=True)
    stream = ClipFeatures(encoder)
    steps = [step for sample in measure(next(people.clips(["a"]))) for step in stream.push(sample)]
    np.testing.assert_allclose([step.time_s for step in steps], kept.times)
    assert [step.starts for step in steps] == kept.starts.tolist()
    live = np.stack([step.values for step in steps])
    assert live.shape == kept.values.shape == kept.mirrored.shape == (len(steps), encoder.size)
    np.testing.assert_allclose(live, kept.values, atol=2e-2, rtol=2e-2)  # kept in half precision
    assert np.abs(kept.mirrored - kept.values).max() > 0.1
    np.testing.assert_allclose(np.diff(kept.times), STEP_S, atol=1e-9)
    (again,) = FeatureCache(tmp_path, people, encoder).clips(["a"])
    np.testing.assert_array_equal(again.values, kept.values)
    assert again.mirrored is None
    encoder.close()


def test_a_stream_cut_anywhere_is_one_pass(shipped: Path) -> None:
    encoder = ChunkEncoder(shipped)
    whole, part = ClipFeatures(encoder), ClipFeatures(encoder)
    samples = list(_copies(clip("a", seconds=2.0)))
    outputs = [whole.push(sample) for sample in samples]
    assert sum(map(len, outputs)) > 15
    for stop in (20, 43):
        part.reset()
        for sample, expected in zip(samples[:stop], outputs, strict=False):
            _same_steps(part.push(sample), expected)
    encoder.close()


def _copies(of):
    import dataclasses  # noqa: PLC0415

    for sample in measure(of):
        values = {f.name: getattr(sample, f.name) for f in dataclasses.fields(sample)}
        yield dataclasses.replace(
            sample, **{k: v.copy() for k, v in values.items() if isinstance(v, np.ndarray)}
        )


def _same_steps(found: tuple[Step, ...], expected: tuple[Step, ...]) -> None:
    assert len(found) == len(expected)
    for ours, right in zip(found, expected, strict=True):
        assert (ours.time_s, ours.starts) == (right.time_s, right.starts)
        np.testing.assert_array_equal(ours.values, right.values)


def test_a_window_keeps_the_last_steps_of_one_stretch() -> None:
    window = FeatureWindow(3, 2)
    for k in range(5):
        window.push(Step(k / 10, k == 0, np.full(2, k, np.float32)))
    np.testing.assert_array_equal(window.values, [[2, 2, 1], [3, 3, 1], [4, 4, 1]])
    window.push(Step(0.9, True, np.full(2, 9, np.float32)))
    np.testing.assert_array_equal(window.values, [[0, 0, 0], [0, 0, 0], [9, 9, 1]])
    assert window.time_s == 0.9


def test_a_backbone_of_another_representation_is_refused(shipped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "light"
    folder.mkdir()
    for suffix in (".onnx", ".json"):
        (folder / f"light{suffix}").write_bytes((shipped / f"light{suffix}").read_bytes())
    manifest = json.loads((folder / "light.json").read_text("utf-8"))
    manifest["preprocessing"]["tick_s"] = 0.02
    (folder / "light.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(EngineError, match="another flow representation"):
        ChunkEncoder(folder)
    with pytest.raises(EngineError, match="choose one of"):
        ChunkEncoder(tmp_path / "heavy")


# -- the task --------------------------------------------------------------------------------


def test_what_is_told_is_the_motion_since_the_first_picture() -> None:
    ticks = tick_clip(clip("a", seconds=2.0), "light")
    told = targets_of(ticks)
    assert told.shape == (len(ticks.chunks(2 * CHUNK_TICKS)), TARGETS)
    first = ticks.chunks(2 * CHUNK_TICKS)[5]
    moved = ticks.regions[first + 1, 0] - ticks.regions[first, 0]
    assert np.sinh(told[5, 0]) * 0.002 == pytest.approx(moved, rel=1e-3, abs=1e-7)


def test_no_chunk_crosses_the_start_of_a_stretch() -> None:
    ticks = tick_clip(clip("a", seconds=2.0), "light")
    starts = ticks.starts.copy()
    starts[20] = True
    cut = type(ticks)(ticks.times, starts, ticks.regions, ticks.pictures)
    for first in cut.chunks():
        assert not starts[first + 1 : first + CHUNK_TICKS].any()
    assert 20 in cut.steps()
    assert 19 not in cut.steps()


def test_learns_ten_chunks_by_heart() -> None:
    ticks = tick_clip(clip("a", seconds=2.0), "light")
    chunks = Chunks([ticks])
    network = Foretelling(light(), (FEATURES, FEATURES), TARGETS)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    appearance, flow, targets = chunks.batch(np.arange(0, 30, 3), np.zeros(10, bool), "cpu")
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(60):
        loss = backbones._loss(network(appearance, flow), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    nothing = backbones._loss((0 * targets, 0 * targets), targets)
    assert float(loss) < 0.2 * float(nothing)


def test_a_seed_gives_the_same_backbone_again() -> None:
    chunks = Chunks([tick_clip(clip("a", seconds=2.0), "light")])
    first, again = (
        fit(BACKBONES["light"], chunks, chunks, seed=3, epochs=1).network.state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_the_command_writes_a_backbone_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = FewPeople()
    monkeypatch.setattr(backbones, "open_source", lambda folder: people)
    given = ["train", "--backbone", "light", "--data", "made-up", "--out", str(tmp_path)]
    assert backbones.main([*given, "--epochs", "1"]) == 0
    encoder = ChunkEncoder(tmp_path / "light")
    assert encoder.size == 2 * FEATURES + 98
    encoder.close()
    written = (tmp_path / "light" / "model_card.md").read_text("utf-8")
    assert "no label" in written
    assert "Not to be used to judge" in written
    assert people.command in written
    (tick_folder,) = tmp_path.glob("light-ticks-*")
    assert TickCache(tmp_path, people, "light")._folder == tick_folder
