from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from streamer.dashboard import journal as module
from streamer.dashboard.journal import Journal
from streamer.errors import SessionError
from streamer.markers import read_markers
from streamer.review.annotations import Annotations, Edit
from tests.dashboard.fake_pipeline import scripted


def said(event: int, action: Any, **more: Any) -> Edit:
    now = datetime.now(timezone.utc)
    return Edit(event=event, action=action, who="AR", when_utc=now, **more)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal()
    journal.begin(tmp_path)
    return journal


def test_everything_is_appended_and_nothing_is_overwritten(
    journal: Journal, tmp_path: Path
) -> None:
    file = tmp_path / "annotations.jsonl"
    before = b""
    for edit in (said(1, "confirm"), said(1, "reject"), said(2, "note", note="left the room")):
        journal.edit(edit)
        assert file.read_bytes().startswith(before)
        before = file.read_bytes()
    assert [edit.action for edit in Annotations(tmp_path).read()] == ["confirm", "reject", "note"]
    marker = journal.mark(3.25, 650, "stimulus A", "AR")
    assert read_markers(tmp_path) == (marker,)


def test_the_last_word_counts_and_can_be_taken_back(journal: Journal, tmp_path: Path) -> None:
    event = scripted(0)
    journal.edit(said(1, "confirm"))
    journal.edit(said(1, "reject"))
    (reviewed,) = journal.reviewed([event])
    assert reviewed.rejected
    assert journal.undo(1, "AR")
    (reviewed,) = journal.reviewed([event])
    assert reviewed.verdict == "confirmed"
    assert journal.undo(1, "AR")
    (reviewed,) = journal.reviewed([event])
    assert reviewed.verdict is None
    assert not journal.undo(1, "AR")
    assert not journal.undo(2, "AR")
    # What a reviewer reads later is what the operator saw.
    edits = Annotations(tmp_path).read()
    assert [edit.undoes for edit in edits] == [None, None, 2, 1]


def test_a_viewer_is_told_each_entry_once(journal: Journal) -> None:
    journal.edit(said(4, "confirm"))
    journal.mark(1.0, 200, "a", "AR")
    first = journal.since(0)
    assert (first.edited, [marker.text for marker in first.markers]) == ({4}, ["a"])
    assert journal.since(first.number) == module.Entries(frozenset(), (), first.number)
    assert journal.since(-5).edited == {4}


def test_without_a_folder_entries_last_as_long_as_the_session() -> None:
    journal = Journal()
    assert not journal.stored
    journal.edit(said(1, "confirm"))
    journal.begin(None)
    assert journal.since(0).number == 0


def test_what_cannot_be_written_does_not_count(journal: Journal, tmp_path: Path) -> None:
    journal.begin(tmp_path / "gone")
    with pytest.raises(SessionError):
        journal.edit(said(1, "confirm"))
    with pytest.raises(SessionError, match="set it again"):
        journal.mark(1.0, 200, "a", "AR")
    assert journal.since(0).number == 0


def test_entries_are_bounded(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 2)
    journal.edit(said(1, "confirm"))
    journal.mark(1.0, 200, "a", "AR")
    with pytest.raises(SessionError, match="2 entries"):
        journal.mark(1.0, 200, "b", "AR")


@pytest.mark.parametrize("text", ["", "x" * 2001, "\x00"])
def test_a_marker_is_printable_text(journal: Journal, text: str) -> None:
    with pytest.raises(ValidationError):
        journal.mark(1.0, 200, text, "AR")
