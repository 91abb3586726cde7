import json
import shutil
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from streamer.cli import main
from streamer.review.annotations import Annotations
from streamer.review.purge import delete, find_doomed


@pytest.fixture
def archive(session, tmp_path):
    """Three sessions, of two subjects, one of them ten days old, and things that are none."""
    root = tmp_path / "archive"
    now = datetime.now(timezone.utc)
    for name, subject, days in (("a", "P07", 0), ("deep/b", "P07", 10), ("c", "P08", 10)):
        folder = shutil.copytree(session, root / name)
        document = json.loads((folder / "session.json").read_text())
        document["subject"] = subject
        document["started_utc"] = (now - timedelta(days=days)).isoformat()
        (folder / "session.json").write_text(json.dumps(document))
    (root / "notes").mkdir()
    (root / "notes" / "session.json").write_text('{"subject": "P07"}')
    return root


def left(root):
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def purge(*arguments):
    return main(["purge", *map(str, arguments)])


def names(doomed, root):
    return [each.path.relative_to(root).as_posix() for each in doomed]


def test_sessions_are_found_by_subject_and_age(archive):
    assert names(find_doomed(archive, "P07", None), archive) == ["a", "deep/b"]
    assert names(find_doomed(archive, None, 5), archive) == ["c", "deep/b"]
    assert names(find_doomed(archive, "P07", 5), archive) == ["deep/b"]
    assert find_doomed(archive, "P0", None) == []


def test_a_damaged_session_is_deleted_too(archive):
    (archive / "a" / "events.jsonl").write_text("nonsense")
    (archive / "a" / "metrics.json").unlink()
    doomed = find_doomed(archive, "P07", None)
    assert names(doomed, archive) == ["a", "deep/b"]
    assert delete(doomed) == []
    assert not (archive / "a").exists()


def test_only_what_glint_wrote_is_deleted(archive, capsys):
    session = archive / "a"
    Annotations(session).confirm(1, "Ada")
    assert main(["export", str(session), "--to", "elan"]) == 0
    assert main(["report", str(session)]) == 0
    (session / "recording").mkdir()
    (session / "recording" / "video.nut").write_bytes(b"pictures")
    (session / "thesis.docx").write_text("years of work")
    capsys.readouterr()
    assert purge(archive, "--subject", "P07", "--yes") == 0
    output = capsys.readouterr()
    assert "Deleted: 2 sessions" in output.out
    assert "thesis.docx is not Glint's and was left" in output.err
    remaining = left(archive)
    assert "a/thesis.docx" in remaining
    assert "notes/session.json" in remaining
    assert [name for name in remaining if name.startswith(("a/", "deep"))] == ["a/thesis.docx"]
    assert "c/session.json" in remaining
    assert purge(archive, "--subject", "P07", "--yes") == 0
    assert "no such session" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_lead_nowhere(archive, tmp_path):
    (archive / "linked").symlink_to(archive / "c", target_is_directory=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "video.nut").write_bytes(b"another's pictures")
    (archive / "c" / "recording").symlink_to(outside, target_is_directory=True)
    doomed = find_doomed(archive, "P08", None)
    assert names(doomed, archive) == ["c"]
    assert delete(doomed) == [archive / "c" / "recording"]
    assert (outside / "video.nut").is_file()


def test_a_session_that_is_being_written_is_passed_over(archive):
    path = archive / "a" / "session.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "end_state": "running"}))
    assert names(find_doomed(archive, "P07", None), archive) == ["deep/b"]


@pytest.mark.parametrize(("answer", "stays"), [("no", True), ("", True), ("yes", False)])
def test_it_asks_first(archive, monkeypatch, capsys, answer, stays):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert purge(archive, "--subject", "P08") == 0
    shown = capsys.readouterr().out
    assert str(archive / "c") in shown
    assert ("Nothing was deleted" in shown) is stays
    assert (archive / "c" / "session.json").exists() is stays


def test_mistakes(archive, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    before = left(archive)
    for arguments, said in (
        ((archive,), "give --subject, --older-than, or both"),
        ((archive, "--subject", "P07"), "nobody can be asked: add --yes"),
        ((archive / "gone", "--older-than", "1"), "There is no folder"),
        ((archive, "--older-than", "-1"), "is no number of days"),
        ((archive, "--older-than", "soon"), "--older-than"),
    ):
        assert purge(*arguments) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert left(archive) == before
