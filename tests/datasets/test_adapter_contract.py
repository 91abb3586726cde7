"""What holds for every data set adapter, on clean sets and on spoilt ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from engines.datasets import ADAPTERS, Dataset, DatasetAdapter, DatasetError, ProblemKind
from engines.datasets.export import RECORDINGS_FILE, TRUTH_FILE, write_truth
from engines.datasets.labels import EMOTIONS
from engines.datasets.media import read_frames
from engines.datasets.registry import find_adapter
from engines.evaluation.spotting import read_intervals
from tests.datasets.toy_sets import PICTURE, TOY_SETS, ToySet, toy_set

FOLDER = "Datensätze 微表情"

every_adapter = pytest.mark.parametrize("name", list(ADAPTERS))


@pytest.fixture(scope="session")
def clean_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    root = tmp_path_factory.mktemp("sets") / FOLDER
    return {name: find_adapter(name).read(toy.write(root / name)) for name, toy in TOY_SETS.items()}


def read(toy: ToySet, folder: Path) -> Dataset:
    return find_adapter(toy.adapter).read(toy.write(folder))


def test_every_adapter_has_a_toy_set() -> None:
    assert TOY_SETS.keys() == ADAPTERS.keys()


@every_adapter
def test_a_clean_set_is_read_whole(name: str, clean_sets: dict[str, Dataset]) -> None:
    toy, adapter, found = TOY_SETS[name], find_adapter(name), clean_sets[name]
    assert isinstance(adapter, DatasetAdapter)
    assert found.problems == ()
    assert found.subjects == toy.subjects
    assert len(found.recordings) == toy.recordings
    assert len(list(found.samples())) == toy.events
    assert adapter.read(found.folder) == found
    assert pickle.loads(pickle.dumps(found)) == found  # folds are trained in other processes


@every_adapter
def test_times_are_seconds_from_the_first_frame(name: str, clean_sets: dict[str, Dataset]) -> None:
    found = clean_sets[name]
    assert len({recording.name for recording in found.recordings}) == len(found.recordings)
    for recording, event in found.samples():
        assert recording.fps == find_adapter(name).fps
        assert recording.duration_s is not None
        assert 0 <= event.onset_s < event.offset_s <= recording.duration_s
        frames = event.offset_frame - event.onset_frame + 1
        assert event.offset_s - event.onset_s == pytest.approx(frames / recording.fps)
        assert event.onset_s == recording.time_s(event.onset_frame)
        if event.apex_frame is not None:
            assert event.apex_s == recording.time_s(event.apex_frame)
            assert event.onset_s <= event.apex_s < event.offset_s
    for recording in found.recordings:
        assert list(recording.events) == sorted(recording.events, key=lambda e: e.onset_s)


@every_adapter
def test_labels_are_those_of_the_class_sets(name: str, clean_sets: dict[str, Dataset]) -> None:
    found = clean_sets[name]
    assert found.classes(3) == ("negative", "positive", "surprise")
    for count, labels in found.label_maps.items():
        assert len(found.classes(count)) == count
        assert set(labels) <= set(EMOTIONS)
        for _, event in found.samples():
            assert found.label(event, count) in (None, *found.classes(count))
    with pytest.raises(DatasetError, match=r"has no set of 4 classes; choose 3"):
        found.classes(4)


@every_adapter
def test_frames_come_with_their_times(name: str, clean_sets: dict[str, Dataset]) -> None:
    recording = clean_sets[name].recordings[0]
    frames = list(read_frames(recording, pytest.fail))
    times = np.array([time_s for time_s, _ in frames])
    assert len(frames) == recording.frame_count
    np.testing.assert_allclose(times, np.arange(len(frames)) / recording.fps)
    assert all(picture.shape == PICTURE.shape for _, picture in frames)


@every_adapter
def test_exported_truth_is_what_evaluation_reads(
    name: str, clean_sets: dict[str, Dataset], tmp_path: Path
) -> None:
    found = clean_sets[name]
    write_truth(found, tmp_path / "truth")
    intervals = read_intervals(tmp_path / "truth" / TRUTH_FILE)
    assert [(i.onset_s, i.apex_s, i.offset_s, i.kind) for i in intervals] == [
        (e.onset_s, e.apex_s, e.offset_s, e.kind) for _, e in found.samples()
    ]
    recordings = (tmp_path / "truth" / RECORDINGS_FILE).read_text(encoding="utf-8").splitlines()
    assert len(recordings) == len(found.recordings)


@every_adapter
def test_a_mistake_in_a_row_is_told_with_file_and_row_and_the_rest_is_read(
    name: str, tmp_path: Path
) -> None:
    toy = toy_set(name)
    toy.set(0, "onset", "forty")
    found = read(toy, tmp_path)
    (problem,) = [p for p in found.problems if p.kind is ProblemKind.UNREADABLE_CELL]
    assert problem.file == tmp_path / toy.table[0]
    assert problem.row == toy.row_number(0)
    assert problem.lost_events == 1
    assert "'forty'" in problem.message
    # CAS(ME)³ has the same event in its other table.
    assert len(list(found.samples())) == toy.events - (name != "cas_me_3")


@pytest.mark.parametrize("name", [name for name in ADAPTERS if not name.startswith("smic")])
def test_an_apex_before_its_onset_costs_the_apex_only(name: str, tmp_path: Path) -> None:
    toy = toy_set(name)
    toy.set(0, "apex", toy.row(0)[toy.columns["onset"]] - 2)
    found = read(toy, tmp_path)
    (problem,) = found.problems
    assert (problem.kind, problem.row) == (ProblemKind.APEX_OUTSIDE, toy.row_number(0))
    assert problem.lost_events == 0
    assert sum(event.apex_s is None for _, event in found.samples()) == 1
    assert len(list(found.samples())) == toy.events


@every_adapter
def test_an_offset_before_the_onset_costs_the_event(name: str, tmp_path: Path) -> None:
    toy = toy_set(name)
    toy.set(0, "offset", toy.row(0)[toy.columns["onset"]] - 1)
    problems = read(toy, tmp_path).problems
    (problem,) = [p for p in problems if p.kind is ProblemKind.OFFSET_BEFORE_ONSET]
    assert (problem.row, problem.lost_events) == (toy.row_number(0), 1)


@every_adapter
def test_a_missing_folder_of_frames_is_told(name: str, tmp_path: Path) -> None:
    toy = toy_set(name)
    folder = next(iter(toy.frames))
    del toy.frames[folder]
    found = read(toy, tmp_path)
    (problem,) = found.problems
    assert problem.kind is ProblemKind.MISSING_FRAMES
    (without,) = [recording for recording in found.recordings if recording.path is None]
    assert without.name in problem.message
    assert len(list(found.samples())) == toy.events
    with pytest.raises(DatasetError, match="were not found"):
        next(read_frames(without, pytest.fail))


@every_adapter
def test_annotations_alone_are_enough(name: str, tmp_path: Path) -> None:
    toy = toy_set(name)
    toy.frames.clear()
    found = read(toy, tmp_path)
    assert [problem.kind for problem in found.problems] == [ProblemKind.MISSING_FRAMES]
    assert len(list(found.samples())) == toy.events


@every_adapter
def test_missing_pictures_do_not_shift_times(
    name: str, tmp_path: Path, clean_sets: dict[str, Dataset]
) -> None:
    toy = toy_set(name)
    folder, names = next(iter(toy.frames.items()))
    toy.frames[folder] = names[:3] + names[6:]
    found = read(toy, tmp_path)
    assert [problem.kind for problem in found.problems] == [ProblemKind.FRAME_GAP]
    assert "3 of the frames" in found.problems[0].message
    assert sum(recording.missing_frames for recording in found.recordings) == 3
    assert [s[1] for s in found.samples()] == [s[1] for s in clean_sets[name].samples()]


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != "cas_me_2"])
def test_a_missing_column_is_told(name: str, tmp_path: Path) -> None:
    toy = toy_set(name)
    file, sheet, first = toy.table
    header = toy.tables[file][sheet][first - 1]
    missing = header[toy.columns["offset"]]
    header[toy.columns["offset"]] = "Something else"
    found = read(toy, tmp_path)
    (problem,) = [p for p in found.problems if p.kind is ProblemKind.MISSING_COLUMN]
    assert repr(missing) in problem.message or "'Off" in problem.message
    assert problem.row == first
    assert problem.lost_events == len(toy.rows)


@every_adapter
def test_no_folder_and_no_annotations_are_the_user_s_mistakes(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        find_adapter(name).read(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="There is n"):
        find_adapter(name).read(tmp_path)


@every_adapter
def test_a_broken_workbook_is_the_user_s_mistake(name: str, tmp_path: Path) -> None:
    toy = toy_set(name)
    toy.write(tmp_path)
    (tmp_path / toy.table[0]).write_bytes(b"PK\x03\x04 not a workbook")
    with pytest.raises(DatasetError, match="cannot be read as a table"):
        find_adapter(name).read(tmp_path)


def test_an_unknown_data_set_is_named_with_those_that_there_are() -> None:
    with pytest.raises(DatasetError, match="'casme5'; choose one of casme2, samm"):
        find_adapter("casme5")
