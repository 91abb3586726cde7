"""LSSNet and LGSNet: their blocks, what they are told, and that they can learn at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

import torch

from engines.errors import UserError
from engines.events import EventKind
from engines.features.grid import CHUNK_S, STEP_S
from engines.runtime import open_graph
from engines.spotting.proposal_spotter import STEPS
from engines.spotting.proposals import MergeConfig
from engines.spotting.proposals import Proposals as Found
from engines.training.checkpoints import CHECKPOINT_FILE
from engines.training.clip_features import FeatureClip
from engines.training.clips import ClipEvent, FaceClip
from engines.training.networks.attention import Attention, band
from engines.training.networks.lgsnet import (
    LgsNet,
    LocalGateGlobalAttention,
    ReceptiveFieldFusion,
    ReceptiveFields,
    TimeExcitation,
)
from engines.training.networks.lssnet import SUPPRESSED_BELOW, LocationSuppression, LssNet
from engines.training.networks.proposals import CHANNELS, POSITIONS, Proposals, anchors, centres
from engines.training.onnx_export import write_graph
from engines.training.optimisation import EpochLog
from engines.training.proposal_decisions import (
    choose,
    decide_live,
    decide_offline,
    propose_all,
)
from engines.training.proposal_fitting import fit_proposals
from engines.training.proposal_losses import (
    anchor_targets,
    free_targets,
    interval_iou,
    proposal_loss,
)
from engines.training.proposal_recipes import PROPOSAL_RECIPES
from engines.training.proposal_windows import (
    BACKGROUND,
    MACRO,
    MICRO,
    NOTHING,
    UNTOLD,
    Batch,
    Windows,
)

NETWORKS = [LssNet, LgsNet]
FEATURES = 12


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


# -- blocks ----------------------------------------------------------------------------------


def test_a_band_is_as_wide_as_it_says() -> None:
    for width in (1, 2, 4, 5):
        seen = band(9, width)
        assert seen.diagonal().all()
        assert seen[4].sum() == width
    assert band(5, 40).all()


@pytest.mark.parametrize("width", [None, 4])
def test_attention_sees_its_neighbourhood_only(width) -> None:
    attend = Attention(6, 16, width, 0.0).eval()
    values = torch.zeros(1, 3, 16)
    values[:, :, 8] = 1
    out = attend(torch.randn(1, 6, 16), torch.randn(1, 6, 16), values)
    assert out.shape == (1, 3, 16)
    reached = out[0, 0] > 0
    assert reached.tolist() == (band(16, width)[:, 8].tolist() if width else [True] * 16)
    full = attend(torch.randn(1, 6, 16), torch.randn(1, 6, 16), torch.ones(1, 3, 16))
    torch.testing.assert_close(full, torch.ones(1, 3, 16))


def test_weak_responses_are_no_location() -> None:
    block = LocationSuppression(8, 16).eval()
    level = torch.randn(2, 8, 16)
    assert block(level).shape == level.shape
    with torch.no_grad():
        block.value.weight.zero_()
        block.value.bias.fill_(SUPPRESSED_BELOW - 0.01)
        nothing = block(level)
        block.value.bias.fill_(0.0)
        torch.testing.assert_close(block(level), nothing)
        block.value.bias.fill_(SUPPRESSED_BELOW + 0.01)
        assert (block(level) - nothing).abs().max() > 1e-4


def test_time_excitation_is_one_weight_a_moment() -> None:
    weights = TimeExcitation(16, 12, 6)(torch.randn(3, 16, 12))
    assert weights.shape == (3, 1, 6)
    assert weights.min() > 0
    assert weights.max() < 1


def test_receptive_fields_keep_or_halve_the_rate() -> None:
    maps = torch.randn(2, 16, 12)
    assert ReceptiveFields(16, 12)(maps).shape == (2, 16, 12)
    assert ReceptiveFields(16, 12, halve=True)(maps).shape == (2, 16, 6)
    assert ReceptiveFieldFusion(16, 6)(torch.randn(2, 16, 6), maps).shape == (2, 16, 6)


def test_the_gate_starts_closed_and_local_attention_opens_it() -> None:
    """What is zero at the start adds nothing to the level; then the local gate scales it."""
    block = LocalGateGlobalAttention(16, 16).eval()
    level = torch.randn(1, 16, 16)
    without = block.refine(torch.zeros_like(level), level)
    torch.testing.assert_close(block(level), without)
    with torch.no_grad():
        torch.nn.init.normal_(block.mix.weight)
        block.gate.bias.fill_(-30.0)
        torch.testing.assert_close(block(level), without, atol=1e-4, rtol=1e-4)
        block.gate.bias.fill_(0.0)
        assert (block(level) - without).abs().max() > 1e-3


@pytest.mark.parametrize("build", NETWORKS)
def test_shapes_and_a_gradient_for_every_weight(build) -> None:
    network = build(FEATURES)
    kinds, intervals = network(torch.randn(2, STEPS, FEATURES + 1))
    count = sum(POSITIONS) + len(anchors()[0])
    assert kinds.shape == intervals.shape == (2, count, 2)
    assert (intervals[..., 1] >= intervals[..., 0]).all()
    (kinds.square().sum() + intervals.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("build", NETWORKS)
def test_what_is_not_known_is_not_looked_at(build) -> None:
    network = build(FEATURES).eval()
    window = torch.randn(1, STEPS, FEATURES + 1)
    window[..., -1] = 1
    window[:, :20, -1] = 0
    other = window.clone()
    other[:, :20, :-1] = 99.0
    torch.testing.assert_close(network(window), network(other))


@pytest.mark.parametrize("build", NETWORKS)
def test_the_exported_graph_computes_what_torch_does(build, tmp_path: Path) -> None:
    path = Proposals(build(FEATURES))
    golden = np.random.default_rng(0).normal(size=(3, STEPS, FEATURES + 1)).astype(np.float32)
    write_graph(path, {"features": golden}, ("proposals",), tmp_path / "network.onnx")
    with open_graph(tmp_path / "network.onnx", "onnx") as graph:
        together = graph.run({"features": golden})["proposals"]
        alone = [graph.run({"features": golden[i : i + 1]})["proposals"][0] for i in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)
    kinds, intervals = path.network(torch.from_numpy(golden))
    expected = (intervals.detach().numpy() - STEPS) * STEP_S
    np.testing.assert_allclose(together[..., 2:], expected, atol=1e-4)
    np.testing.assert_allclose(together[..., :2], kinds.detach().numpy(), atol=1e-4)


def test_the_pyramid_covers_the_window_with_anchors_of_every_length() -> None:
    where, lengths = anchors()
    seconds = lengths * STEP_S
    assert float(seconds.min()) == pytest.approx(1 / 15)
    assert float(seconds.max()) == pytest.approx(64 / 15)
    assert centres()[: POSITIONS[0]].tolist() == [2 * k + 1.0 for k in range(POSITIONS[0])]
    assert where.min() > 0
    assert where.max() < STEPS


# -- what is told ----------------------------------------------------------------------------


def batch(*events: tuple[float, float, int], features: int = FEATURES) -> Batch:
    """One window with events in steps."""
    given = events or ((0.0, 0.0, NOTHING),)
    return Batch(
        torch.randn(1, STEPS, features + 1),
        torch.tensor([[event[:2] for event in given]]),
        torch.tensor([[event[2] for event in given]]),
    )


def test_every_expression_has_an_anchor_and_a_position_of_its_kind() -> None:
    network = LgsNet(FEATURES)
    given = batch((10.2, 11.9, MICRO), (20.0, 25.0, MICRO), (30.0, 55.0, MACRO))
    for targets in (anchor_targets(network, given), free_targets(network, given)):
        intervals = targets.intervals[targets.located]
        kinds = targets.kinds[targets.located].argmax(dim=-1)
        for onset, offset, kind in ((20.0, 25.0, MICRO), (30.0, 55.0, MACRO)):
            own = (intervals == torch.tensor([onset, offset])).all(dim=-1)
            assert own.any()
            assert (kinds[own] == kind).all()
    anchored = anchor_targets(network, given)
    assert (anchored.intervals[anchored.located][:, 0] == 10.2).any()


def test_background_is_matched_and_located_nowhere_and_nothing_is_background() -> None:
    network = LgsNet(FEATURES)
    for targets in (
        anchor_targets(network, batch((20.0, 25.0, BACKGROUND))),
        free_targets(network, batch((20.0, 25.0, BACKGROUND))),
    ):
        assert targets.matched.any()
        assert not targets.located.any()
        assert not targets.kinds.any()
    empty = anchor_targets(network, batch())
    assert empty.judged.all()
    assert not empty.matched.any()


def test_an_expression_that_is_cut_off_is_not_judged() -> None:
    network = LgsNet(FEATURES)
    for targets in (
        anchor_targets(network, batch((58.0, 66.0, UNTOLD))),
        free_targets(network, batch((58.0, 66.0, UNTOLD))),
    ):
        assert not targets.matched.any()
        assert not targets.judged.all()


def test_intersection_over_union() -> None:
    first = torch.tensor([[0.0, 2.0], [0.0, 1.0], [0.0, 4.0]])
    second = torch.tensor([[1.0, 3.0], [2.0, 3.0], [1.0, 2.0]])
    torch.testing.assert_close(interval_iou(first, second), torch.tensor([1 / 3, 0.0, 0.25]))


# -- windows ---------------------------------------------------------------------------------


def scripted(seed: int, seconds: float = 20.0, micro: bool = True) -> FeatureClip:
    """A clip in which some features rise during each expression."""
    rng = np.random.default_rng(seed)
    steps = int(seconds / STEP_S)
    times = 0.4 + np.arange(steps) * STEP_S
    events, at = [], 1.5
    while at < seconds - 3:
        long = rng.random() < 0.25 and micro
        length = rng.uniform(0.8, 2.0) if long else rng.uniform(0.15, 0.45)
        kind = EventKind.MACRO if long else EventKind.MICRO
        events.append(ClipEvent(kind, at, at + length / 2, at + length, None))
        at += length + rng.uniform(1.0, 3.0)
    values = rng.normal(0, 0.2, (steps, FEATURES)).astype(np.float32)
    for event in events:
        phase = (times - event.onset_s) / (event.offset_s - event.onset_s)
        values[:, :6] += 2 * np.where((phase > 0) & (phase < 1), 1, 0)[:, None].astype(np.float32)
    starts = np.zeros(steps, bool)
    starts[0] = True
    count = round(seconds * 30)
    clip = FaceClip(
        str(seed), str(seed), 30.0, np.zeros((count, 1, 1), np.uint8), np.arange(count) / 30,
        np.ones(count, bool), np.zeros(count, bool), np.zeros((468, 3), np.float32), tuple(events),
    )  # fmt: skip
    return FeatureClip(clip, times, starts, values, -values, 6)


def test_windows_hold_whole_expressions_where_they_say() -> None:
    clip = scripted(0)
    for drawn in Windows([clip], None).draw(np.random.default_rng(0), 8, mirror=False):
        assert drawn.windows.shape[1:] == (STEPS, FEATURES + 1)
        assert (drawn.labels <= MACRO).any(dim=1).float().mean() > 0.8
        # Where an expression is said to be, its features are high.
        row = int((drawn.labels <= MACRO).any(dim=1).nonzero()[0])
        event = int((drawn.labels[row] <= MACRO).nonzero()[0])
        onset, offset = drawn.intervals[row, event].tolist()
        inside = drawn.windows[
            row, int(np.ceil(onset)) : max(int(offset), int(np.ceil(onset)) + 1), 0
        ]
        assert float(inside.max()) > 1.0


def test_windows_of_background_hold_no_expression_and_pseudo_labels() -> None:
    clips = [scripted(1, seconds=14.0), scripted(2, seconds=60.0, micro=False)]
    quiet = FeatureClip(
        clip=clips[1].clip.__class__(
            **{**{n: getattr(clips[1].clip, n) for n in FaceClip.__slots__}, "events": ()}
        ),
        times=clips[1].times, starts=clips[1].starts, values=clips[1].values,
        mirrored=clips[1].mirrored, appearance=6,
    )  # fmt: skip
    windows = Windows([clips[0], quiet], 1.0)
    (drawn,) = windows.draw(np.random.default_rng(0), 1000)
    pseudo = (drawn.labels == BACKGROUND).any(dim=1)
    assert 0.3 < float(pseudo.float().mean()) < 0.6
    assert ((drawn.labels[pseudo] == BACKGROUND) | (drawn.labels[pseudo] == NOTHING)).all()
    lengths = (drawn.intervals[..., 1] - drawn.intervals[..., 0])[drawn.labels == BACKGROUND]
    assert float(lengths.min()) > 0
    (without,) = Windows([clips[0], quiet], None).draw(np.random.default_rng(0), 1000)
    assert not (without.labels == BACKGROUND).any()


def test_a_window_knows_nothing_before_the_clip() -> None:
    clip = scripted(3)
    (drawn,) = Windows([clip], None).draw(np.random.default_rng(0), 1000, mirror=False)
    known = drawn.windows[..., -1]
    assert ((known == 0) | (known == 1)).all()
    assert (known.diff(dim=1) >= 0).all()
    assert (known[:, -1] == 1).all()
    first = clip.clip.events[0]
    assert first.onset_s > clip.times[0] - CHUNK_S


# -- learning --------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["lssnet", "lgsnet"])
def test_learns_ten_clips_by_heart(engine: str) -> None:
    recipe = PROPOSAL_RECIPES[engine]
    clips = [scripted(seed, seconds=6.0) for seed in range(10)]
    network = recipe.build(FEATURES)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout1d):
            module.p = 0.0
    windows = Windows(clips, recipe.background)
    network.trunk.standardise(torch.from_numpy(windows.all_values()))
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    for _ in range(10):
        for drawn in windows.draw(rng, 16, mirror=False):
            loss = proposal_loss(network, drawn, recipe.micro_weight)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
    path = Proposals(network.eval())

    def run(windows: np.ndarray, ends_s: list[float]) -> list[Found]:
        with torch.no_grad():
            outputs = path(torch.from_numpy(windows)).numpy()
        return [Found.of(each, end_s) for each, end_s in zip(outputs, ends_s, strict=True)]

    start = MergeConfig(overlap=recipe.suppression)
    proposed = [propose_all(clip, run, start) for clip in clips]
    thresholds = {"threshold": (0.2, 0.3, 0.4, 0.5)}
    for decide in (decide_live, decide_offline):
        _, found = choose(proposed, decide, thresholds, start)
        assert found.f1 > 0.7, decide.__name__


def test_a_killed_training_continues_with_the_same_bits(tmp_path: Path) -> None:
    clips = [scripted(seed, seconds=6.0) for seed in range(2)]
    recipe = PROPOSAL_RECIPES["lgsnet"]

    def run(folder: str, stop_after: int | None = None) -> dict[str, torch.Tensor]:
        seen = 0

        def on_epoch(line: EpochLog) -> None:
            nonlocal seen
            seen += 1
            if seen == stop_after:
                raise KeyboardInterrupt

        fitted = fit_proposals(
            recipe, clips, clips, seed=7, folder=tmp_path / folder, epochs=2, on_epoch=on_epoch
        )
        return fitted.network.state_dict()

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", 1)
    continued = run("broken")
    for name, tensor in whole.items():
        assert torch.equal(tensor, continued[name]), name


def test_a_spoiled_checkpoint_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"nothing of the kind")
    clips = [scripted(0, seconds=6.0)]
    with pytest.raises(UserError, match="delete it"):
        fit_proposals(PROPOSAL_RECIPES["lssnet"], clips, clips, seed=0, folder=tmp_path, epochs=1)


def test_the_trunk_has_the_channels_that_it_says() -> None:
    assert LssNet(FEATURES).trunk(torch.randn(2, STEPS, FEATURES + 1)).shape == (2, CHANNELS, 32)
