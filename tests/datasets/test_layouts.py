"""What is peculiar to single data sets."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.datasets import AnnotatedEvent, Dataset, ProblemKind, Recording
from engines.datasets.media import read_frames
from engines.datasets.registry import find_adapter
from engines.events import EventKind
from tests.datasets.toy_sets import PICTURE, ToySet, toy_set, write_pictures

KIND = ProblemKind


def read(toy: ToySet, folder: Path) -> Dataset:
    return find_adapter(toy.adapter).read(toy.write(folder))


def kinds(found: Dataset) -> list[ProblemKind]:
    return [problem.kind for problem in found.problems]


def sample(found: Dataset, recording: str, number: int = 0) -> tuple[Recording, AnnotatedEvent]:
    (match,) = [each for each in found.recordings if each.name == recording]
    return match, match.events[number]


def write_video(path: Path, frames: int, fps: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (64, 48)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, size)
    assert video.isOpened()
    for level in range(frames):
        video.write(cv2.cvtColor(cv2.resize(PICTURE, size) // 2 + level, cv2.COLOR_GRAY2BGR))
    video.release()


# CASME II


def test_casme2_clip_is_timed_from_its_first_picture(tmp_path: Path) -> None:
    """Frame 46 is the first of the clip that its owners cut out: 0 s."""
    _, event = sample(read(toy_set("casme2"), tmp_path), "sub01/EP02_01f")
    assert (event.onset_s, event.apex_s, event.offset_s) == (0.0, 13 / 200, 41 / 200)
    assert [str(unit) for unit in event.action_units] == ["4", "L7"]


def test_casme2_writes_a_missing_apex_as_a_stroke(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    toy.set(1, "apex", "/")
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.NO_APEX]
    assert sample(found, "sub01/EP03_02")[1].apex_s is None


def test_casme2_latest_workbook_is_read(tmp_path: Path) -> None:
    old, new = toy_set("casme2"), toy_set("casme2")
    new.tables["CASME2-coding-20190701.xlsx"] = new.tables.pop(new.table[0])
    old.set(0, "emotion", "fear")
    old.write(tmp_path)
    found = read(new, tmp_path)
    assert kinds(found) == [KIND.SPARE_TABLE]
    assert found.problems[0].file.name == "CASME2-coding-20140508.xlsx"
    assert sample(found, "sub01/EP02_01f")[1].emotion == "disgust"


def test_casme2_raw_pictures_come_before_cropped_ones_and_videos(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    write_pictures(tmp_path / "Cropped/sub01/EP02_01f", [f"reg_img{n}.jpg" for n in range(46, 87)])
    write_video(tmp_path / "CASME2_compressed video/sub01/EP02_01f.avi", 5, 30)
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.SPARE_MEDIA] * 2
    recording, _ = sample(found, "sub01/EP02_01f")
    assert recording.path == tmp_path / "CASME2_RAW_selected/sub01/EP02_01f"


def test_casme2_videos_alone_do(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    toy.frames.clear()
    write_video(tmp_path / "sub17/EP05_09.avi", 30, 30)
    found = read(toy, tmp_path)
    assert kinds(found).count(KIND.OTHER_RATE) == 1
    recording, event = sample(found, "sub17/EP05_09")
    assert recording.frame_count == 30
    assert event.onset_s == 4 / 200
    frames = list(read_frames(recording, pytest.fail))
    assert [time_s for time_s, _ in frames] == [n / 200 for n in range(30)]
    assert frames[0][1].shape == (48, 64)
    assert frames[29][1].mean() > frames[0][1].mean() + 20


def test_a_video_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    toy.frames.clear()
    (tmp_path / "sub17").mkdir()
    (tmp_path / "sub17/EP05_09.avi").write_bytes(b"not a video")
    found = read(toy, tmp_path)
    assert KIND.UNREADABLE_FRAME in kinds(found)
    assert sample(found, "sub17/EP05_09")[0].path is None


def test_pictures_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    clip = tmp_path / "CASME2_RAW_selected/sub01/EP02_01f"
    toy.write(tmp_path)
    (clip / "cover.jpg").write_bytes(b"")
    (clip / ".img99.jpg").write_bytes(b"a shadow file of another system")
    (clip / "img50.jpg").write_bytes(b"cut off")
    found = find_adapter("casme2").read(tmp_path)
    assert [(p.kind, p.file.name) for p in found.problems] == [(KIND.UNREADABLE_FRAME, "cover.jpg")]
    unreadable = []
    frames = list(read_frames(sample(found, "sub01/EP02_01f")[0], unreadable.append))
    assert [problem.file.name for problem in unreadable] == ["img50.jpg"]
    assert 4 / 200 not in [time_s for time_s, _ in frames]
    assert len(frames) == 40


def test_pictures_with_the_same_number_are_told(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    toy.frames["CASME2_RAW_selected/sub01/EP03_02"].append("reg_img11.jpg")
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.SPARE_MEDIA]
    recording, _ = sample(found, "sub01/EP03_02")
    assert len(list(read_frames(recording, pytest.fail))) == recording.frame_count == 21


def test_an_event_beyond_the_frames_is_cut_or_left_out(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    toy.set(0, "offset", 99)
    toy.set(1, "onset", 51)
    toy.set(1, "apex", 52)
    toy.set(1, "offset", 60)
    found = read(toy, tmp_path)
    assert [(p.kind, p.lost_events) for p in found.problems] == [
        (KIND.OUTSIDE_RECORDING, 0),
        (KIND.OUTSIDE_RECORDING, 1),
    ]
    assert sample(found, "sub01/EP02_01f")[1].offset_frame == 86


def test_the_same_interval_twice_counts_once(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    toy.tables[toy.table[0]][toy.table[1]].append(list(toy.row(0)))
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.DUPLICATE_EVENT]
    assert len(list(found.samples())) == toy.events


def test_an_unknown_emotion_is_told(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    toy.set(0, "emotion", "hiding")
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.UNKNOWN_WORD]
    _, event = sample(found, "sub01/EP02_01f")
    assert event.emotion is None
    assert found.label(event, 5) is None


def test_casme2_classes(tmp_path: Path) -> None:
    found = read(toy_set("casme2"), tmp_path)
    labels = {
        count: [found.label(event, count) for _, event in found.samples()] for count in (3, 5, 7)
    }
    assert labels == {
        3: ["negative", "positive", "surprise", "negative"],
        5: ["disgust", "happiness", "surprise", None],
        7: ["disgust", "happiness", "surprise", "sadness"],
    }


CELL = st.one_of(
    st.none(),
    st.integers(-5, 300),
    st.sampled_from(["/", "12.0", "sub01", "EP02_01f", "disgust", "4+L7", "or", "1e400", "微"]),
    st.text("0123456789+-./ LREP_\"',;\n", max_size=8),
)
ROW = st.fixed_dictionaries(
    {"clip": CELL, "onset": CELL, "apex": CELL, "offset": CELL, "units": CELL, "emotion": CELL}
)


@given(rows=st.lists(ROW, max_size=8))
@settings(max_examples=40, deadline=None)
def test_every_row_is_an_event_or_told(
    rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a table holds, nothing crashes and no row disappears."""
    toy = toy_set("casme2")
    toy.frames.clear()
    cells = [
        [1, r["clip"], None, r["onset"], r["apex"], r["offset"], None, r["units"], r["emotion"]]
        for r in rows
    ]
    toy.tables[toy.table[0]][toy.table[1]][1:] = cells
    found = read(toy, tmp_path_factory.mktemp("fuzz"))
    events = [event for _, event in found.samples()]
    lost = sum(problem.lost_events for problem in found.problems)
    assert len(events) + lost + kinds(found).count(KIND.REMARK) == len(rows)
    for event in events:
        assert 0 <= event.onset_s < event.offset_s
        assert event.apex_s is None or event.onset_s <= event.apex_s < event.offset_s


# SAMM and SAMM Long Videos


def test_samm_alternatives_of_action_units_are_not_decided(tmp_path: Path) -> None:
    toy = toy_set("samm")
    toy.set(0, "action_units", "4 + R12 or R15")
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.UNREADABLE_CELL]
    assert "'R12 or R15'" in found.problems[0].message
    assert [str(unit) for unit in sample(found, "006_1_2")[1].action_units] == ["4"]


def test_samm_header_may_be_the_first_row(tmp_path: Path) -> None:
    toy = toy_set("samm")
    file, sheet, first = toy.table
    del toy.tables[file][sheet][: first - 1]
    assert len(list(read(toy, tmp_path).samples())) == toy.events


def test_samm_lv_takes_emotions_from_samm(tmp_path: Path) -> None:
    found = read(toy_set("samm_lv"), tmp_path)
    assert [(event.kind, event.emotion) for _, event in found.samples()] == [
        (EventKind.MACRO, None),
        (EventKind.MICRO, "contempt"),
        (EventKind.MACRO, None),
    ]


def test_samm_lv_video_without_an_expression_is_a_recording(tmp_path: Path) -> None:
    found = read(toy_set("samm_lv"), tmp_path)
    (quiet,) = [recording for recording in found.recordings if not recording.events]
    assert (quiet.name, quiet.duration_s) == ("007_3", 60 / 200)


def test_an_expression_that_is_there_from_the_start_begins_at_zero(tmp_path: Path) -> None:
    toy = toy_set("samm_lv")
    toy.set(2, "onset", 0)
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.OUTSIDE_RECORDING]
    _, event = sample(found, "007_2")
    assert (event.onset_s, event.onset_frame) == (0.0, 1)


def test_an_expression_whose_end_is_not_seen_ends_with_its_apex(tmp_path: Path) -> None:
    toy = toy_set("samm_lv")
    toy.set(2, "offset", 0)
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.NO_OFFSET]
    assert sample(found, "007_2")[1].offset_s == 20 / 200


def test_a_word_that_is_neither_micro_nor_macro_costs_the_event(tmp_path: Path) -> None:
    toy = toy_set("samm_lv")
    toy.set(2, "kind", "Other")
    found = read(toy, tmp_path)
    assert [(p.kind, p.lost_events) for p in found.problems] == [(KIND.UNKNOWN_WORD, 1)]


# SMIC


def test_smic_second_expression_of_a_clip(tmp_path: Path) -> None:
    found = read(toy_set("smic_hs"), tmp_path)
    first, second = sample(found, "s1_po_02", 0)[1], sample(found, "s1_po_02", 1)[1]
    assert (first.onset_s, first.offset_s) == (5 / 100, 13 / 100)
    assert (second.onset_s, second.offset_s) == (20 / 100, 27 / 100)
    assert first.emotion == second.emotion == "positive"
    assert first.apex_s is None


def test_smic_length_is_known_without_the_frames(tmp_path: Path) -> None:
    toy = toy_set("smic_nir")
    toy.frames.clear()
    recording, event = sample(read(toy, tmp_path), "s1_ne_01")
    assert (recording.first_frame, recording.duration_s) == (110, 40 / 25)
    assert event.onset_s == 10 / 25


def test_a_clip_that_is_shorter_than_its_table_says_is_told(tmp_path: Path) -> None:
    toy = toy_set("smic_hs")
    folder = next(folder for folder in toy.frames if folder.endswith("s20_sur_01"))
    del toy.frames[folder][-2:]
    found = read(toy, tmp_path)
    assert kinds(found) == [KIND.FRAME_GAP]
    assert "30 to 42 are there, 30 to 44 by the table" in found.problems[0].message


def test_smic_other_cameras_in_the_same_folder_are_left_alone(tmp_path: Path) -> None:
    for name in ("smic_hs", "smic_vis", "smic_nir"):
        toy_set(name).write(tmp_path)
    for name in ("smic_hs", "smic_vis", "smic_nir"):
        found = find_adapter(name).read(tmp_path)
        assert found.problems == ()
        camera = name.removeprefix("smic_").upper()
        assert all(camera in str(recording.path) for recording in found.recordings)


def test_smic_first_edition_has_no_table(tmp_path: Path) -> None:
    names = [f"image{n:06d}.jpg" for n in range(500, 520)]
    write_pictures(tmp_path / "HS/s3/micro/surprise/s3_sur_01", names)
    write_pictures(tmp_path / "HS/s3/non_micro/s3_n_01", names)
    renumbered = [f"reg_image{n:03d}.jpg" for n in range(1, 21)]
    write_pictures(tmp_path / "SMIC_all_cropped/HS/s3/micro/surprise/s3_sur_01", renumbered)
    found = find_adapter("smic_hs").read(tmp_path)
    assert kinds(found) == [KIND.SPARE_MEDIA]
    _, event = sample(found, "s3_sur_01")
    assert (event.onset_s, event.offset_s, event.emotion) == (0.0, 0.2, "surprise")
    assert len(found.recordings) == 2
    assert len(list(found.samples())) == 1


# CAS(ME)²


def test_cas_me_2_names_come_from_its_other_sheets(tmp_path: Path) -> None:
    found = read(toy_set("cas_me_2"), tmp_path)
    assert [r.name for r in found.recordings] == ["15_0101", "16_0101", "16_0502", "16_0503"]
    assert sample(found, "16_0502")[0].path == tmp_path / "rawpic/s16/16_0502funnyerrors"
    assert [event.kind.value for _, event in found.samples()] == [
        "micro", "macro", "micro", "macro",
    ]  # fmt: skip


def test_cas_me_2_without_the_sheets_of_names_keeps_the_events(tmp_path: Path) -> None:
    toy = toy_set("cas_me_2")
    toy.frames.clear()
    for sheet in ("naming rule1", "naming rule2"):
        del toy.tables[toy.table[0]][sheet]
    found = read(toy, tmp_path)
    assert KIND.MISSING_COLUMN in kinds(found)
    assert kinds(found).count(KIND.UNKNOWN_WORD) == toy.events
    assert len(list(found.samples())) == toy.events
    assert found.subjects == ("1", "2")


# CAS(ME)³


def test_cas_me_3_joins_emotions_depth_and_letters_of_either_case(tmp_path: Path) -> None:
    found = read(toy_set("cas_me_3"), tmp_path)
    recording, event = sample(found, "spNO.1/a")
    assert recording.depth == tmp_path / "part_A/spNO.1/a/depth"
    assert event.emotion == "disgust"
    recording, event = sample(found, "spNO.10/j")
    assert recording.depth is None
    assert event.emotion == "others"


def test_cas_me_3_video_that_begins_later_is_timed_from_its_first_picture(tmp_path: Path) -> None:
    recording, event = sample(read(toy_set("cas_me_3"), tmp_path), "spNO.10/j")
    assert recording.first_frame == 4
    assert event.onset_s == (6 - 4) / 30


def test_cas_me_3_either_table_is_enough(tmp_path: Path) -> None:
    everything, micro = toy_set("cas_me_3"), toy_set("cas_me_3")
    label_file = "annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    del everything.tables[label_file]
    del micro.tables[micro.table[0]]
    found = read(everything, tmp_path / "all")
    assert [event.emotion for _, event in found.samples()] == [None] * 3
    found = read(micro, tmp_path / "micro")
    assert [event.emotion for _, event in found.samples()] == ["disgust", "others"]
    assert found.problems == ()


def test_cas_me_3_micro_expression_of_the_second_table_alone_is_added(tmp_path: Path) -> None:
    toy = toy_set("cas_me_3")
    del toy.tables[toy.table[0]][toy.table[1]][-1]
    assert len(list(read(toy, tmp_path).samples())) == toy.events


def test_a_micro_expression_of_many_seconds_is_told(tmp_path: Path) -> None:
    toy = toy_set("cas_me_3")
    toy.frames.clear()
    toy.set(0, "offset", 5 + 30 * 5)
    found = read(toy, tmp_path)
    assert KIND.IMPLAUSIBLE_DURATION in kinds(found)
    assert sum(problem.lost_events for problem in found.problems) == 0


# Any of them


def test_pictures_under_other_names_are_counted(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    toy.frames = {"renamed/one": ["img1.jpg"], "renamed/two": ["img1.jpg"]}
    (problem,) = read(toy, tmp_path).problems
    assert problem.message.endswith("none of 2 folders and videos has its name")


def test_folders_that_are_links_are_followed_once(tmp_path: Path) -> None:
    toy = toy_set("casme2")
    tables = ToySet(**{**vars(toy), "frames": {}})
    pictures = ToySet(**{**vars(toy), "tables": {}})
    tables.write(tmp_path / "set")
    pictures.write(tmp_path / "disk")
    try:
        (tmp_path / "set/frames").symlink_to(tmp_path / "disk", target_is_directory=True)
        (tmp_path / "disk/again").symlink_to(tmp_path / "disk", target_is_directory=True)
    except OSError:
        pytest.skip("links need a permission here")
    found = find_adapter("casme2").read(tmp_path / "set")
    assert found.problems == ()
    assert all(recording.path is not None for recording in found.recordings)
