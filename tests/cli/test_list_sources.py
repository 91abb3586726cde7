from __future__ import annotations

import pytest

from streamer.cli import main
from streamer.sources import discovery


def test_lists_what_is_plugged_in_and_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> list[discovery.FoundSource]:
        raise discovery.SourceError("No SDK: install it.")

    found = discovery.find_sources({"demo": discovery.demo, "fast": absent})
    monkeypatch.setattr(discovery, "find_sources", lambda: found)
    assert main(["--list-sources"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("demo  ")
    assert shown[1:] == ["Note: No SDK: install it."]
