from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.cameras import main, read_alone, report
from benchmarks.memory_source import MemorySource
from streamer.sources.base import SourceOptions
from streamer.sources.camera import CameraSource
from tests.sources.source_media import Plan, Rig


def test_reading_alone_counts_losses_by_cause(video: Path) -> None:
    source = CameraSource(
        "0", SourceOptions(duration_s=0.5), Rig(video, Plan(undecodable=frozenset({9, 10})))
    )
    figures = read_alone(source)
    assert figures["lost"] == {"undecodable_frame": 2}
    assert figures["captured"] + 2 == 50
    assert figures["fps_held"] > 0


def test_report_names_what_was_lost_and_what_is_missing() -> None:
    pictures = np.random.default_rng(1).integers(0, 255, (4, 48, 64, 3)).astype(np.uint8)
    alone = read_alone(MemorySource(pictures, 100.0, 20, realtime=False))
    run = {"source": "file", "fps_asked": 100.0, "stages": "reading", **alone}
    lossy = {**run, "lost": {"missing_packets": 3}, "counters": {"stalls": 1}, "notes": ["Dim."]}
    text = report(
        {
            "size": [64, 48],
            "seconds": 1.0,
            "runs": [run, lossy],
            "absent": {"basler": "Basler cameras need pypylon."},
        }
    )
    assert "3 missing_packets" in text
    assert "Counters: file stalls 1" in text
    assert "Note: Dim." in text
    assert "Not measured: basler (Basler cameras need pypylon.)" in text


def test_unknown_source_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--sources", "webcam"])
    assert "basler,aravis,file" in capsys.readouterr().err.replace(" ", "")
