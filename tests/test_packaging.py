"""What is promised about setting Glint up: pins, extras, README's commands."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from calibration.cli import main as calibrate
from streamer.cli import main as run_live
from streamer.review.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = [f"requirements{extra}.txt" for extra in ("", "-gpu", "-lab", "-export", "-train", "-dev")]
PYTHONS = ("3.10", "3.11", "3.12")


def requirements(file):
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    bare = [line.partition(" #")[0].strip() for line in lines if not line.startswith("#")]
    return [Requirement(line) for line in bare if line]


def pins(file, python):
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return {
        each.name.lower().replace("_", "-"): str(each.specifier).removeprefix("==")
        for each in requirements(file)
        if each.marker is None or each.marker.evaluate(environment)
    }


@pytest.mark.parametrize("file", FILES)
def test_every_requirement_is_pinned_to_one_version(file):
    for each in requirements(file):
        assert re.fullmatch(r"==[\w.]+", str(each.specifier)), each
    for python in PYTHONS:
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        named = Counter(
            each.name.lower()
            for each in requirements(file)
            if each.marker is None or each.marker.evaluate(environment)
        )
        assert named, python
        assert max(named.values()) == 1, f"{named.most_common(1)} on Python {python}"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_extras_do_not_contradict_what_runs(python):
    running = pins("requirements.txt", python)
    for file in FILES[1:]:
        for name, version in pins(file, python).items():
            assert running.get(name, version) == version, f"{name} in {file}"


@pytest.mark.parametrize("python", PYTHONS)
def test_mediapipe_keeps_what_it_needs(python):
    running = pins("requirements.txt", python)
    assert running["mediapipe"] == "0.10.21"
    assert running["numpy"].startswith("1.")
    assert int(running["protobuf"].partition(".")[0]) < 5
    assert not {"opencv-python", "opencv-python-headless"} & set(running)


def test_this_environment_is_the_pinned_one():
    running = pins("requirements.txt", f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert {name: importlib.metadata.version(name) for name in running} == running


def imported(folder):
    modules = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(node.module.partition(".")[0])
    standard = {*sys.stdlib_module_names, "tomllib"}  # tomllib: from Python 3.11 on
    return modules - standard - {"streamer", "engines", "calibration"}


def provided(name):
    """Top-level modules of an installed distribution; of another, its name must do."""
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return {name}
    return {file.parts[0].partition(".")[0] for file in files}


def test_what_is_imported_is_required():
    required = {
        name
        for file in FILES[:-1]  # all but what only tests import
        for python in PYTHONS
        for name in pins(file, python)
    }
    found = set().union(*map(imported, ("streamer", "engines", "calibration")))
    assert found - set().union(*map(provided, required)) == set()


@pytest.mark.skipif(sys.platform == "win32", reason="CI runs on Linux")
def test_ci_runs_readme_s_test_command():
    (command,) = re.findall(r"^python3 .* -m pytest$", README, re.MULTILINE)
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (search,) = re.findall(r"test_command=\$\((grep .+)\)", script)
    found = subprocess.run(
        ["bash", "-c", search], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == command


def test_readme_starts_with_two_commands_that_set_everything_up():
    first, second = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert first.endswith("python run_live.py --source demo")
    assert second.endswith("python -m pytest")
    assert README.index(first) < README.index(second)


def test_readme_knows_only_options_that_exist(capsys):
    commands = [(run_live, [*name, "--help"]) for name in ([], *([name] for name in COMMANDS))]
    for command, arguments in [*commands, (calibrate, ["--help"])]:
        with pytest.raises(SystemExit):
            command(arguments)
    shown = capsys.readouterr().out
    own = re.sub(r"apt install.*|pip install.*|-m benchmarks.*", "", README)
    for option in set(re.findall(r"(?<![\w-])--[a-z][\w-]*", own)):
        assert option in shown, option


def test_readme_links_to_what_exists():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"`((?:docs/|requirements)[\w./-]+)`", README):
        assert (ROOT / target).exists(), target
