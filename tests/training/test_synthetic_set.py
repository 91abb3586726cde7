import hashlib
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import UserError
from engines.events import EventKind
from engines.training.synthetic_clip import record_clip
from engines.training.synthetic_set import (
    SPLITS,
    SetDescription,
    SyntheticSet,
    describe,
    generate,
    main,
    summary,
)

TINY = describe(identities=3, clips_per_identity=1, seconds=4.0, fps=(30.0,), seed=11)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "tiny"
    generate(folder, TINY, jobs=2)
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


# -- the plan -------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(3, 60), st.integers(1, 6), st.integers(0, 1000))
def test_nobody_is_in_two_splits(identities: int, clips: int, seed: int) -> None:
    plan = describe(
        identities=identities, clips_per_identity=clips, seconds=20, fps=(30, 200), seed=seed
    )
    members = [identity for split in SPLITS for identity in plan.splits[split]]
    assert sorted(members) == list(range(identities))
    assert all(plan.splits[split] for split in SPLITS)
    assert sorted((c.identity, c.clip) for c in plan.clips) == [
        (i, k) for i in range(identities) for k in range(clips)
    ]


def test_rates_and_quiet_clips_are_dealt_out_in_every_split() -> None:
    plan = describe(identities=20, clips_per_identity=4, seconds=20, fps=(30, 60, 120, 200), seed=3)
    for split in SPLITS:
        clips = [c for c in plan.clips if c.identity in plan.splits[split]]
        rates = [c.fps for c in clips]
        assert len({rates.count(rate) for rate in plan.fps}) == 1
        assert sum(not c.expressions for c in clips) == len(clips) // 4


def test_the_plan_survives_the_disk() -> None:
    assert SetDescription.model_validate_json(TINY.model_dump_json()) == TINY
    assert TINY.synthetic


def test_a_depth_camera_is_another_set_of_the_same_clips() -> None:
    asked = {"identities": 3, "clips_per_identity": 1, "seconds": 4.0, "fps": (30.0,), "seed": 11}
    deep = describe(**asked, depth=True)
    assert deep.clips == TINY.clips
    assert deep.fingerprint != TINY.fingerprint
    older = json.loads(TINY.model_dump_json())
    del older["depth"]  # as sets were described before
    assert SetDescription.model_validate(older).fingerprint == TINY.fingerprint


def test_depth_maps_are_kept_beside_the_faces(tmp_path: Path) -> None:
    """With an aligner that finds the face at every other frame, and keeps what it is given."""
    given = []

    @contextmanager
    def alignment():
        def align(index, time_s, picture, out, depth):
            given.append(depth)
            seen = depth[:64, :64].astype(np.float32)
            mesh = np.random.default_rng(0).uniform(20, 108, (468, 3)).astype(np.float32)
            return SimpleNamespace(
                valid=bool(index % 2), epoch=0, mesh=mesh, head_speed=0.0, depth=seen
            )

        yield align

    plan = TINY.clips[0].model_copy(update={"seconds": 1.0, "fps": 10.0})
    record_clip(plan, tmp_path, alignment, depth=True)
    kept = np.load(tmp_path / "depth.npy")
    assert kept.shape == (10, 64, 64)
    np.testing.assert_array_equal(kept, np.stack(given)[:, :64, :64])


def test_clips_of_one_seed_differ_and_seeds_differ() -> None:
    other = describe(identities=3, clips_per_identity=1, seconds=4.0, fps=(30.0,), seed=12)
    assert len({c.seed for c in (*TINY.clips, *other.clips)}) == 6


@pytest.mark.parametrize(
    "wrong",
    [{"identities": 2}, {"clips_per_identity": 0}, {"seconds": 1.0}, {"fps": (5.0,)}, {"seed": -1}],
)
def test_a_set_that_makes_no_sense_is_refused(wrong: dict) -> None:
    asked = {"identities": 3, "clips_per_identity": 1, "seconds": 4.0, "fps": (30.0,), "seed": 0}
    with pytest.raises(UserError):
        describe(**{**asked, **wrong})


# -- the clips ------------------------------------------------------------------------------------


def test_a_clip_is_what_a_live_session_measures(tiny: Path) -> None:
    clips = list(SyntheticSet(tiny).clips())
    assert [clip.name for clip in clips] == ["000-00", "001-00", "002-00"]
    for clip in clips:
        frames = len(clip.times)
        assert frames == 120
        np.testing.assert_allclose(np.diff(clip.times), 1 / 30)
        assert clip.faces.shape == (frames, 128, 128)
        assert clip.faces.dtype == np.uint8
        assert isinstance(clip.faces, np.memmap)
        assert clip.motion.shape == (frames, 15, 2)
        assert clip.valid.mean() > 0.9
        assert clip.restart.sum() == 1  # found once, never lost
        assert not clip.faces[~clip.valid].any()
        assert clip.faces[clip.valid].mean(axis=(1, 2)).min() > 40
        # The outer eye corners lie where the canonical face has them.
        np.testing.assert_allclose(clip.mesh[[33, 263], :2], [[32, 46], [96, 46]], atol=3)
        moved = np.abs(clip.motion[clip.valid]).max()
        assert 0.002 < moved < 0.3


def test_truth_lies_inside_the_clip(tiny: Path) -> None:
    clips = list(SyntheticSet(tiny).clips())
    assert any(clip.distractors for clip in clips)
    for clip in clips:
        for event in clip.events:
            assert 0 < event.onset_s < event.apex_s < event.offset_s < clip.seconds
            assert isinstance(event.kind, EventKind)
            assert 0 < event.amplitude < 0.06


def test_samples_are_what_a_spotter_takes(tiny: Path) -> None:
    clip = next(SyntheticSet(tiny).clips("test"))
    samples = list(clip.samples())
    assert [s.index for s in samples] == list(range(len(clip.times)))
    assert [s.valid for s in samples] == clip.valid.tolist()
    assert all((s.face is not None) == s.valid for s in samples)
    np.testing.assert_array_equal([s.motion for s in samples], clip.motion)


def test_bytes_do_not_depend_on_jobs_and_a_cut_off_set_goes_on(tiny: Path, tmp_path: Path) -> None:
    cut_off = tmp_path / "cut-off"
    shutil.copytree(tiny, cut_off)
    shutil.rmtree(cut_off / "001-00")
    left_over = cut_off / ".part-001-00-abc"
    left_over.mkdir()
    (left_over / "faces.npy").write_bytes(b"half")
    assert SyntheticSet(cut_off, partial=True).missing == ("001-00",)
    with pytest.raises(UserError, match="missing"):
        SyntheticSet(cut_off)
    generate(cut_off, TINY, jobs=1)
    assert digests(cut_off) == digests(tiny)


def test_another_set_is_never_overwritten(tiny: Path, tmp_path: Path) -> None:
    other = describe(identities=3, clips_per_identity=1, seconds=4.0, fps=(30.0,), seed=12)
    with pytest.raises(UserError, match="other options"):
        generate(tiny, other, jobs=1)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        generate(tmp_path, TINY, jobs=1)


# -- the command ----------------------------------------------------------------------------------


def test_the_summary_counts_what_is_there(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--summary", str(tiny)]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == summary(tiny).strip()
    assert "3 identities, 3 clips" in printed
    assert "360" in printed  # frames


def test_mistakes_are_told_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--summary", str(tmp_path)]) == 2
    assert "no synthetic set" in capsys.readouterr().err
    (tmp_path / "set.json").write_text(
        json.dumps({**json.loads(TINY.model_dump_json()), "format": 99})
    )
    assert main(["--summary", str(tmp_path)]) == 2
    assert "format 99" in capsys.readouterr().err


def test_an_unknown_split_is_refused(tiny: Path) -> None:
    with pytest.raises(UserError, match="train, validation, test"):
        next(SyntheticSet(tiny).clips("holdout"))


def test_engines_do_not_import_the_live_path_until_a_clip_is_recorded() -> None:
    code = (
        "import sys, engines.training.synthetic_set; "
        "print([m for m in sys.modules if m.split('.')[0] in ('streamer', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
