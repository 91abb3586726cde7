import csv
import json
import sys
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from streamer.cli import main
from streamer.errors import SessionError
from streamer.review.annotations import Annotations
from streamer.review.export import export
from streamer.review.session_reader import read_frames, read_session


def run(*arguments):
    return main([str(argument) for argument in arguments])


def tiers(path):
    """Name of each tier to its annotations (onset_ms, offset_ms, text)."""
    root = ElementTree.parse(path).getroot()
    slots = {s.get("TIME_SLOT_ID"): int(s.get("TIME_VALUE")) for s in root.iter("TIME_SLOT")}
    return {
        tier.get("TIER_ID"): [
            (
                slots[each.get("TIME_SLOT_REF1")],
                slots[each.get("TIME_SLOT_REF2")],
                each.findtext("ANNOTATION_VALUE"),
            )
            for each in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for tier in root.iter("TIER")
    }


def test_elan_shows_every_event_in_its_tier(recorded, tmp_path, capsys):
    assert run("export", recorded, "--to", "elan", "--out", tmp_path) == 0
    path = tmp_path / "P07 first.eaf"
    assert capsys.readouterr().out.strip() == str(path)
    shown = tiers(path)
    assert list(shown)[:4] == ["micro", "macro", "apex", "emotion"]
    events = read_session(recorded).events
    for kind in ("micro", "macro"):
        assert [(on, off) for on, off, _ in shown[kind]] == [
            (round(1000 * e.onset_s), round(1000 * e.offset_s))
            for e in events
            if e.kind.value == kind
        ]
    assert [text for *_, text in shown["emotion"]] == [e.emotion for e in events]
    for event, (onset, offset, text) in zip(events, shown["apex"], strict=True):
        assert text == f"#{event.id}"
        assert onset == round(1000 * event.apex_s)
        assert offset - onset in (16, 17)


def test_elan_files_have_the_structure_of_their_schema(recorded, tmp_path):
    (path,) = export([read_session(recorded)], "elan", tmp_path)
    root = ElementTree.parse(path).getroot()
    order = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LANGUAGE", "CONTROLLED_VOCABULARY"]
    assert list(dict.fromkeys(child.tag for child in root)) == order
    assert root.get("FORMAT") == root.get("VERSION") == "3.0"
    ids = [
        element.get(name)
        for element in root.iter()
        for name in ("TIME_SLOT_ID", "ANNOTATION_ID", "LANG_ID")
        if element.get(name)
    ]
    assert len(set(ids)) == len(ids)
    ends = ("TIME_SLOT_REF1", "TIME_SLOT_REF2")
    used = [each.get(end) for each in root.iter("ALIGNABLE_ANNOTATION") for end in ends]
    assert sorted(used) == sorted(slot.get("TIME_SLOT_ID") for slot in root.iter("TIME_SLOT"))
    times = [int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
    assert times == sorted(times)
    types = {kind.get("LINGUISTIC_TYPE_ID") for kind in root.iter("LINGUISTIC_TYPE")}
    assert {tier.get("LINGUISTIC_TYPE_REF") for tier in root.iter("TIER")} <= types
    entries = {
        entry.get("CVE_ID"): entry.findtext("CVE_VALUE") for entry in root.iter("CV_ENTRY_ML")
    }
    for each in root.iter("ALIGNABLE_ANNOTATION"):
        if each.get("CVE_REF"):
            assert entries[each.get("CVE_REF")] == each.findtext("ANNOTATION_VALUE")
    (media,) = root.iter("MEDIA_DESCRIPTOR")
    assert media.get("MEDIA_URL") == (recorded / "recording" / "video.nut").as_uri()
    linked = path.parent / media.get("RELATIVE_MEDIA_URL")
    assert linked.resolve() == (recorded / "recording" / "video.nut").resolve()


def test_events_that_overlap_go_to_a_second_tier(session, tmp_path):
    lines = (session / "events.jsonl").read_text().splitlines()
    again = {**json.loads(lines[0]), "id": 50}
    (session / "events.jsonl").write_text("\n".join([*lines, json.dumps(again)]) + "\n")
    (path,) = export([read_session(session)], "elan", tmp_path)
    shown = tiers(path)
    kind = again["kind"]
    assert shown[f"{kind} 2"] == [(*shown[kind][0][:2], shown[f"{kind} 2"][0][2])]
    for spans in shown.values():
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_what_reviewers_changed_is_in_every_export(session, tmp_path, capsys):
    first, second, *_ = read_session(session).events
    annotations = Annotations(session)
    annotations.reject(first.id, "Ada", note="a yawn")
    annotations.relabel(second.id, "Ada", "contempt")
    for form in ("elan", "megc", "openface"):
        assert run("export", session, "--to", form, "--out", tmp_path) == 0
        assert "Reviewed by Ada" in capsys.readouterr().out
    shown = tiers(tmp_path / "P07.eaf")
    assert [text for *_, text in shown["rejected"]] == [f"#1 {', '.join(first.regions)}"]
    assert [text for *_, text in shown["note"]] == ["a yawn (Ada)"]
    assert shown["emotion"][0][2] == "contempt"
    with (tmp_path / "megc.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(read_session(session).events) - 1
    assert rows[0]["emotion"] == "contempt"
    with (tmp_path / "P07.csv").open(newline="") as file:
        numbers = {row["glint_event"] for row in csv.DictReader(file)}
    assert str(first.id) not in numbers
    assert str(second.id) in numbers


def test_openface_columns(recorded, tmp_path):
    (path,) = export([read_session(recorded)], "openface", tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:8] == [
        *("frame", "face_id", "timestamp", "confidence", "success"),
        *("pose_Rx", "pose_Ry", "pose_Rz"),
    ]
    assert all(name.startswith("glint_") for name in list(rows[0])[8:])
    frames = read_frames(recorded)
    assert [int(row["frame"]) - 1 for row in rows] == frames["frame"].tolist()
    assert [float(row["glint_score"]) for row in rows] == frames["score"].tolist()
    event = read_session(recorded).events[0]
    inside = [int(r["frame"]) - 1 for r in rows if r["glint_event"] == str(event.id)]
    assert (inside[0], inside[-1]) == (event.onset_frame, event.offset_frame)


def test_a_session_without_frames_gives_no_empty_table(session, tmp_path):
    for content, said in ((b"", "holds no frames"), (None, "cannot be read")):
        (session / "frames.csv").unlink()
        if content is not None:
            (session / "frames.csv").write_bytes(content)
        with pytest.raises(SessionError, match=said):
            export([read_session(session)], "openface", tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())


def test_megc_counts_frames_of_every_session_in_one_file(recorded, session, tmp_path):
    document = json.loads((session / "session.json").read_text())
    (session / "session.json").write_text(json.dumps({**document, "subject": None}))
    sessions = [read_session(recorded), read_session(session)]
    (path,) = export(sessions, "megc", tmp_path, first_frame=1)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["subject"], row["video"]) for row in rows} == {("P07", "P07 first"), ("", "P07")}
    event = sessions[0].events[0]
    assert int(rows[0]["onset"]) == event.onset_frame + 1
    document["fps"]["nominal"] = 30.0
    (session / "session.json").write_text(json.dumps(document))
    with pytest.raises(SessionError, match="several rates"):
        export([sessions[0], read_session(session)], "megc", tmp_path / "other")


def test_parquet_has_typed_columns_with_and_without_events(session, tmp_path):
    pl = pytest.importorskip("polars")
    Annotations(session).reject(1, "Ada")
    frames_path, events_path = export([read_session(session)], "parquet", tmp_path)
    frames, events = pl.read_parquet(frames_path), pl.read_parquet(events_path)
    assert frames.schema["frame"] == pl.Int64
    assert frames.schema["success"] == pl.Boolean
    assert frames["score"].to_list() == read_frames(session)["score"].tolist()
    assert frames["pose_Rx"].null_count() > 0
    assert events["verdict"].to_list()[:2] == ["rejected", None]
    assert events["regions"].to_list()[0] == list(read_session(session).events[0].regions)
    assert "p_positive" in events.columns
    assert "started_utc" in pl.read_parquet_metadata(events_path)["glint_session"]
    (session / "events.jsonl").write_text("")
    _, empty = export([read_session(session)], "parquet", tmp_path / "none")
    assert pl.read_parquet(empty).schema["regions"] == pl.List(pl.String)


def test_parquet_has_what_a_network_of_action_units_saw(session, tmp_path):
    pl = pytest.importorskip("polars")
    first, *others = (session / "events.jsonl").read_text().splitlines()
    seen = {**json.loads(first), "unit_probabilities": {"AU4": 0.125, "AU12": 0.875}}
    (session / "events.jsonl").write_text("\n".join([json.dumps(seen), *others]) + "\n")
    _, events_path = export([read_session(session)], "parquet", tmp_path)
    events = pl.read_parquet(events_path)
    assert events["p_AU12"].to_list() == [0.875, *[None] * len(others)]
    assert events["p_AU4"].to_list() == [0.125, *[None] * len(others)]


def test_parquet_without_polars_is_said_in_one_sentence(recorded, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "polars", None)
    assert run("export", recorded, "--to", "parquet", "--out", tmp_path) == 2
    error = capsys.readouterr().err
    assert "Parquet needs Polars" in error
    assert error.count("\n") == 1


def test_nothing_is_overwritten(session, capsys):
    assert run("export", session, "--to", "elan") == 0
    assert (session / "export" / "P07.eaf").is_file()
    before = (session / "export" / "P07.eaf").read_bytes()
    capsys.readouterr()
    assert run("export", session, "--to", "elan") == 2
    assert "overwrites nothing" in capsys.readouterr().err
    assert (session / "export" / "P07.eaf").read_bytes() == before


def test_two_sessions_of_one_name_are_refused(session, tmp_path):
    sessions = [read_session(session)] * 2
    with pytest.raises(SessionError, match="two sessions would be written to it"):
        export(sessions, "elan", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mistakes_are_said_in_one_sentence(tmp_path, session, capsys):
    for arguments, said in (
        ((tmp_path / "gone", "--to", "elan"), "There is no session folder"),
        ((tmp_path, "--to", "elan"), "is no session folder"),
        ((session, "--to", "praat"), "--help lists the options"),
        ((session,), "required: --to"),
    ):
        assert run("export", *arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_the_command_line_of_options_still_stands(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "run_live.py export" in capsys.readouterr().out
    assert main(["exports"]) == 2
    assert "Unrecognized arguments: exports" in capsys.readouterr().err
