"""The first thing that a user meets: `run_live.py` under any Python, its help and version."""

import ast
import builtins
import runpy
import sys
from pathlib import Path

import pytest

from streamer.cli import main
from streamer.version import VERSION

RUN_LIVE = Path(__file__).parents[2] / "run_live.py"


@pytest.fixture
def entry():
    return runpy.run_path(str(RUN_LIVE))["main"]


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 18), (3, 13, 0), (4, 0, 0)])
def test_an_unsuitable_python_is_told_so_in_one_sentence(entry, monkeypatch, capsys, version):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", version)
        code = entry()
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    assert f"this is Python {version[0]}.{version[1]}" in error


def test_an_old_python_can_read_the_file_that_tells_it():
    ast.parse(RUN_LIVE.read_text(), feature_version=(3, 4))


def test_a_python_without_the_packages_is_told_so(entry, monkeypatch, capsys):
    found = builtins.__import__

    def find(name, *args):
        if name == "streamer.cli":
            raise ModuleNotFoundError("No module named 'pydantic'", name="pydantic")
        return found(name, *args)

    monkeypatch.setattr(builtins, "__import__", find)
    assert entry() == 2
    assert "The package pydantic is missing" in capsys.readouterr().err


def test_help_names_every_option_and_explains_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for option in (
        *("--source", "--fps", "--size", "--fourcc", "--duration", "--seed", "--speed"),
        *("--spotter", "--recognizer", "--config", "--headless", "--session", "--host", "--port"),
        *("--log-level", "--version", "examples:", "Exit code"),
    ):
        assert option in shown


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"Glint {VERSION}\n"
