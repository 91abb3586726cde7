"""A real session, recorded from the demo with strong expressions, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.synthesis import ScenarioConfig
from streamer.config import GlintConfig
from streamer.session import build_pipeline
from streamer.sinks.session_folder import SessionFolderSink
from streamer.sources.demo import DemoSource

STRONG = ScenarioConfig(
    head_motion=False,
    blinks=False,
    ripple=False,
    lead_s=2.2,
    expressions_per_min=60,
    micro_amplitude_px=(2.5, 3.0),
    macro_amplitude_px=(2.5, 3.0),
    macro_duration_s=(0.7, 1.0),
)
SECONDS = 6.0
FPS = 60.0


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds at 60 frames a second, with its pictures; not to be written to."""
    folder = tmp_path_factory.mktemp("sessions") / "P07 first"
    config = GlintConfig.from_tree(
        {
            "source": {
                "spec": "demo",
                "fps": FPS,
                "width": 320,
                "height": 240,
                "seed": 3,
                "duration_s": SECONDS,
                "speed": "max",
            },
            "recording": {"enabled": True},
            "subject": "P07",
        }
    )
    sink = SessionFolderSink(folder)
    source = DemoSource("demo", config.source.options(), STRONG)
    pipeline = build_pipeline(config, [sink], source, folder)
    try:
        pipeline.start()
        assert pipeline.wait(120)
    finally:
        pipeline.close()
    assert pipeline.failure is None
    return folder


@pytest.fixture
def session(recorded: Path, tmp_path: Path) -> Path:
    """A copy of the session, without its pictures, to be written to."""
    return Path(
        shutil.copytree(recorded, tmp_path / "P07", ignore=shutil.ignore_patterns("recording"))
    )
