"""MC-WES: its network, each consistency, labels of videos, and the whole command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs requirements-train.txt")

import torch

from engines.errors import UserError
from engines.features.grid import STEP_S
from engines.spotting.mc_wes_spotter import CONTEXT_STEPS, LAG_S, McWesSpotter
from engines.training import mc_wes
from engines.training.clip_features import FeatureClip
from engines.training.mc_wes import Video, batch_of, fit, main, read_labels, video_of, write_labels
from engines.training.mc_wes_losses import (
    MACRO_S,
    MICRO_S,
    Weights,
    full_loss,
    label_duration,
    modal_saliency,
    multiple_instances,
    segment_features,
    video_distribution,
    weak_loss,
)
from engines.training.networks.mc_wes import (
    BACKGROUND,
    CHANNELS,
    MACRO,
    MICRO,
    McWes,
    McWesScore,
    micro_score,
)
from engines.training.streaming import measure
from tests.training.face_clips import FewPeople, clip

APPEARANCE, FEATURES = 5, 12


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def network() -> McWes:
    return McWes(APPEARANCE, FEATURES).eval()


def windows(batch: int = 2, steps: int = 40, missing: int = 0) -> torch.Tensor:
    values = torch.randn(batch, steps, FEATURES + 1)
    values[..., -1] = 1
    if missing:
        values[:, :missing] = 0
    return values


# -- network ---------------------------------------------------------------------------------


def test_shapes_and_gradients():
    net = network()
    activations, attention, features = net(windows())
    assert activations.shape == (2, 40, 3)
    assert attention.shape == (2, 40, 2)
    assert features.shape == (2, 40, 2 * CHANNELS)
    micro_score(activations, attention).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_nothing_looks_ahead():
    net, seen = network(), windows()
    changed = seen.clone()
    changed[:, 25:, :-1] += 1
    for before, after in zip(net(seen), net(changed), strict=True):
        assert torch.equal(before[:, :25], after[:, :25])


def test_a_window_gives_what_the_whole_video_gives():
    net, video = network(), windows(1, 30, missing=4)
    whole = micro_score(*net(video)[:2])[0].tolist()
    for stop in range(CONTEXT_STEPS, 31):
        window = video[:, stop - CONTEXT_STEPS : stop]
        assert McWesScore(net)(window).item() == pytest.approx(whole[stop - 1], abs=1e-5)


def test_missing_steps_are_not_seen():
    net, seen = network(), windows(1, 20, missing=8)
    spoiled = seen.clone()
    spoiled[:, :8, :-1] = 100.0
    for clean, other in zip(net(seen), net(spoiled), strict=True):
        assert torch.allclose(clean[:, 8:], other[:, 8:])


# -- losses ----------------------------------------------------------------------------------


def there(steps: int = 40) -> torch.Tensor:
    return torch.ones(2, steps)


def flat(value: float, steps: int = 40) -> torch.Tensor:
    return torch.full((2, steps, 2), value)


def activated(which: int, seconds: float, steps: int = 60) -> torch.Tensor:
    """Background, and one class for some time in the middle."""
    activations = torch.zeros(2, steps, 3)
    activations[..., BACKGROUND] = 8
    first, count = steps // 3, round(seconds / STEP_S)
    activations[:, first : first + count, which] = 16
    return activations


def test_the_most_telling_moments_answer_for_a_video():
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    right, wrong = activated(MICRO, MICRO_S), activated(MACRO, MACRO_S)
    right[..., MACRO] = wrong[..., MICRO] = -8
    attention = flat(0.0, 60)
    attention[:, 20:27] = 20.0
    attention[:, :20] = attention[:, 27:] = -20.0
    told = [multiple_instances(a, attention, there(60), labels) for a in (right, wrong)]
    assert told[0] < told[1]


def test_padding_says_nothing():
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    net = network()
    short = windows(2, 50)
    padded = torch.cat([short, torch.zeros(2, 9, FEATURES + 1)], dim=1)
    for loss in (
        lambda outs, mask: modal_saliency(outs[1], mask),
        lambda outs, mask: video_distribution(outs[1], mask),
        lambda outs, mask: segment_features(*outs, mask, torch.ones(2, 2)),
    ):
        assert loss(net(short), short[..., -1]).item() == pytest.approx(
            loss(net(padded), padded[..., -1]).item(), abs=1e-5
        )
    assert torch.isfinite(weak_loss(net(padded), padded[..., -1], labels, Weights()))


def test_streams_that_agree_cost_nothing():
    assert modal_saliency(flat(0.3), there()) == 0
    apart = flat(0.3)
    apart[..., 0] = -3
    assert modal_saliency(apart, there()) > 0.1


def test_each_stream_follows_the_other():
    attention = flat(0.0).requires_grad_()
    shifted = attention + torch.tensor([1.0, -1.0])
    modal_saliency(shifted, there()).backward()
    assert (attention.grad[..., 0] > 0).all()
    assert (attention.grad[..., 1] < 0).all()


def test_attention_is_even_and_sparse():
    little, much = video_distribution(flat(-4.0), there()), video_distribution(flat(4.0), there())
    assert little < much
    uneven = flat(-4.0)
    uneven[..., 0] = 0
    assert video_distribution(uneven, there()) > little + 0.3


def test_a_micro_activation_is_short_and_a_macro_activation_is_not():
    def cost(which: int, seconds: float) -> float:
        return float(label_duration(activated(which, seconds), there(60)))

    assert cost(MICRO, 0.3) < 1e-3 < cost(MICRO, 2.0)
    assert cost(MACRO, 2.0) < cost(MACRO, 0.15)


def test_what_is_attended_to_is_alike_between_videos_of_a_label():
    activations, attention = activated(MICRO, 0.3), flat(0.0, 60)
    alike, unlike = torch.zeros(2, 60, 4), torch.zeros(2, 60, 4)
    alike[..., 0] = unlike[..., 0] = 1
    alike[:, 20:25] = torch.tensor([0.0, 1, 0, 0])
    unlike[0, 20:25] = torch.tensor([0.0, 1, 0, 0])
    unlike[1, 20:25] = torch.tensor([0.0, 0, 1, 0])
    both = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    sharp = 4 * activations
    assert segment_features(sharp, attention, alike, there(60), both) < segment_features(
        sharp, attention, unlike, there(60), both
    )
    one = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert segment_features(sharp, attention, unlike, there(60), one) == 0


def test_full_supervision_learns_the_class_of_every_moment():
    steps = torch.full((2, 60), BACKGROUND)
    steps[:, 20:25] = MICRO
    attention = flat(-5.0, 60)
    attention[:, 20:25] = 5
    right = full_loss(activated(MICRO, 5 * STEP_S), attention, there(60), steps)
    assert right < 0.01 < full_loss(activated(MACRO, 5 * STEP_S), attention, there(60), steps)


# -- learning --------------------------------------------------------------------------------


def made_up(number: int, micro: bool, steps: int = 150) -> Video:
    """A video in which one feature of each stream rises for a third of a second at times."""
    rng = np.random.default_rng(number)
    window = rng.normal(0, 1, (steps, FEATURES + 1)).astype(np.float32)
    window[:, -1] = 1
    classes = np.full(steps, BACKGROUND)
    if micro:
        for at in range(20, steps - 10, 45):
            window[at : at + 5, [0, APPEARANCE]] += 4
            classes[at : at + 5] = MICRO
    return Video(window, (int(micro), 0), classes)


@pytest.mark.parametrize("full", [False, True])
def test_ten_videos_are_learned_and_their_moments_found(full):
    """With the labels of videos alone, the moments that make the label stand out."""
    videos = [made_up(number, micro=number % 2 == 0) for number in range(10)]
    net = fit(videos, APPEARANCE, seed=0, full=full, epochs=60)
    with torch.no_grad():
        seen, labels, steps = batch_of(videos)
        scores = micro_score(*net(seen)[:2])
    best = scores.amax(dim=1)
    assert best[labels[:, 0] == 1].min() > best[labels[:, 0] == 0].max()
    for row in range(0, len(videos), 2):
        # Nobody said when: the score may stand anywhere where it sees the movement.
        reach = torch.nonzero(steps[row] == MICRO).flatten() + CONTEXT_STEPS // 2
        assert (reach - int(scores[row].argmax())).abs().min() <= CONTEXT_STEPS // 2


def test_labels_without_contrast_are_a_mistake():
    with pytest.raises(UserError, match="same label"):
        fit([made_up(n, micro=True) for n in range(3)], APPEARANCE, seed=0, full=False, epochs=1)


def test_stretches_are_kept_apart():
    one = clip("a")
    times = np.arange(10) * STEP_S
    starts = np.isin(np.arange(10), [0, 6])
    values = np.ones((10, FEATURES), np.float32)
    video = video_of(FeatureClip(one, times, starts, values, values, APPEARANCE), (1, 0))
    apart = CONTEXT_STEPS - 1
    expected = [0] * apart + [1] * 6 + [0] * apart + [1] * 4
    assert video.window[:, -1].tolist() == expected
    event = one.events[0]
    late = FeatureClip(one, times + event.onset_s + LAG_S, starts, values, values, APPEARANCE)
    assert video_of(late, (1, 0)).steps[apart] == MICRO


# -- labels and the command ------------------------------------------------------------------


def test_a_table_of_labels_comes_back(tmp_path):
    clips = [clip("a"), replace(clip("b"), events=())]
    write_labels(clips, tmp_path / "labels.csv")
    assert read_labels(tmp_path / "labels.csv") == {"a-0": (1, 0), "b-0": (0, 0)}
    (tmp_path / "hand.csv").write_text("\ufeffa-0, Both\nb-0,none\n\n", "utf-8")
    assert read_labels(tmp_path / "hand.csv") == {"a-0": (1, 1), "b-0": (0, 0)}


@pytest.mark.parametrize("line", ["a-0", "a-0,maybe", "a-0,micro,0.3"])
def test_a_wrong_line_is_named(tmp_path, line):
    (tmp_path / "labels.csv").write_text(f"video,label\n{line}\n", "utf-8")
    with pytest.raises(UserError, match=r"line 2 .*micro"):
        read_labels(tmp_path / "labels.csv")


class SomeStill(FewPeople):
    """Two clips of each, of which the second shows nothing."""

    def clips(self, identities):
        for one in super().clips(identities):
            yield one
            yield replace(clip(one.identity, 1), events=())


def test_the_command_trains_from_a_table_and_ships_what_streams(tmp_path, monkeypatch, capsys):
    people = SomeStill()
    monkeypatch.setattr(mc_wes, "open_source", lambda folder: people)
    monkeypatch.setattr(mc_wes, "FACTORS", (4.0, 8.0))
    table, out = tmp_path / "labels.csv", tmp_path / "run"
    assert main(["labels", "--data", "made-up", "--out", str(table)]) == 0
    # What cannot be learned must not be looked at: the times of expressions.
    blind = ["run", "--data", "made-up", "--labels", str(table), "--out", str(out)]
    monkeypatch.setattr(mc_wes, "EPOCHS", 1)
    assert main(blind) == 0
    report = json.loads((out / "result.json").read_text("utf-8"))
    assert report["labels"] == {"none": 1, "micro": 1, "macro": 0, "both": 0}
    assert report["training"]["supervision"] == "video labels"
    card = (out / "mc-wes" / "model_card.md").read_text("utf-8")
    assert "made-up faces" in card.lower()
    assert capsys.readouterr().out.endswith(card + "\n")

    whole, part = (McWesSpotter(30.0, "onnx", out / "mc-wes") for _ in range(2))
    stream = list(_kept(next(people.clips(("c",)))))
    outputs = [whole.push(sample) for sample in stream]
    stop = len(stream) // 2
    assert [part.push(sample) for sample in stream[:stop]] == outputs[:stop]
    part.reset()
    assert [part.push(sample) for sample in stream] == outputs
    assert part.finish() == whole.finish()
    whole.close()
    part.close()


def _kept(one):
    for sample in measure(one):
        yield replace(
            sample,
            **{
                name: value.copy()
                for name in ("motion", "velocity", "strain", "eyes", "face", "flow_delta")
                if (value := getattr(sample, name)) is not None
            },
        )


def test_a_video_without_a_label_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mc_wes, "open_source", lambda folder: SomeStill())
    table = tmp_path / "labels.csv"
    table.write_text("video,label\nz-0,micro\n", "utf-8")
    arguments = ["run", "--data", "made-up", "--labels", str(table), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "no label for the video a-0" in capsys.readouterr().err


def test_missing_data_are_a_mistake_of_the_user(tmp_path: Path, capsys):
    assert main(["labels", "--data", str(tmp_path), "--out", str(tmp_path / "l.csv")]) == 2
    assert capsys.readouterr().err
