"""What may be chosen for the next session, and that nothing is stored without consent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from calibration.threshold import FACTORS
from streamer.config import GlintConfig
from streamer.consent import VERSION, consent_document, consent_text
from streamer.dashboard.desk import Choices, SessionDesk
from streamer.errors import ConfigError
from streamer.sources.discovery import Discovery, FoundSource
from tests.calibration.test_file import CHOSEN, calibration

Built = tuple[GlintConfig, Path | None]
FOUND = Discovery((FoundSource("demo", "portrait"), FoundSource("2", "Webcam")), ("No pylon.",))
ALARMS = (60, 40, 28, 20, 14, 10, 7, 4, 2, 1, 0, 0)
CAMERA = Choices(source="0", spotter="flow", recognizer="ststnet")


def desk(folder: Path | None, **settings: Any) -> SessionDesk[Built]:
    def build(config: GlintConfig, sinks: Sequence[Any], folder: Path | None) -> Built:
        return config, folder

    return SessionDesk(GlintConfig.from_tree(settings), folder, build, lambda: FOUND)


def stored(**changes: Any) -> Choices:
    values = {"source": "0", "spotter": "flow", "recognizer": "none", "subject": "P07"}
    return Choices(**{**values, "store": True, "confirmed_by": "AR", **changes})


def test_nothing_of_a_person_is_stored_before_consent(tmp_path: Path) -> None:
    at = desk(tmp_path / "s", recording={"enabled": True})
    config, folder = at.build([])
    assert folder is None
    assert not config.recording.enabled
    with pytest.raises(ConfigError, match="consented"):
        at.choose(stored(confirmed_by=" "))
    with pytest.raises(ConfigError, match="pseudonym"):
        at.choose(stored(subject=""))
    assert at.build([])[1] is None
    at.choose(stored(record=True))
    config, folder = at.build([])
    assert folder == tmp_path / "s"
    assert config.consent is not None
    document = consent_document(config.model_dump(mode="json"))
    assert document is not None
    assert document["confirmed_by"] == "AR"
    assert document["subject"] == "P07"
    assert document["pictures_stored"] is True
    assert document["text"] == VERSION


def test_the_demo_shows_nobody_and_may_be_stored(tmp_path: Path) -> None:
    at = desk(tmp_path / "s", source={"spec": "demo"})
    assert at.build([])[1] == tmp_path / "s"


def test_consent_of_the_command_line_stores_at_once(tmp_path: Path) -> None:
    consent = {"confirmed_by": "AR", "confirmed_utc": "2026-01-01T00:00:00Z", "text": VERSION}
    at = desk(tmp_path / "s", consent=consent)
    assert at.build([])[1] == tmp_path / "s"


def test_every_session_has_a_folder_of_its_own(tmp_path: Path) -> None:
    at = desk(tmp_path / "s", source={"spec": "demo"})
    (tmp_path / "s-3").mkdir()
    folders = [at.build([])[1] for _ in range(3)]
    assert [folder.name for folder in folders if folder] == ["s", "s-2", "s-4"]
    at.choose_demo()
    assert at.build([])[1] is None
    assert desk(None).build([])[1] is None


def test_the_consent_is_the_subjects_and_lasts_for_its_visit(tmp_path: Path) -> None:
    at = desk(tmp_path / "s", consent_form="EK 113, version 2")
    at.choose(stored())
    first = at.config.consent
    assert first is not None
    assert (first.text, first.text_sha256) == ("EK 113, version 2", None)
    at.choose(stored(recognizer="ststnet"))
    assert at.config.consent is first
    at.choose(stored(subject="P08"))
    assert at.config.consent is not first


def test_only_what_is_on_offer_can_be_chosen(tmp_path: Path) -> None:
    at = desk(None)
    assert [each.spec for each in at.sources] == ["0", "demo"]
    at.look_for_sources()
    assert [each.spec for each in at.sources] == ["0", "demo", "2"]
    assert at.notes == ("No pylon.",)
    at.choose(Choices(source="2", spotter="flow", recognizer="none"))
    assert at.config.source.spec == "2"
    wrong = ["/etc/passwd", "rtsp://elsewhere/", "../secret.mp4", ""]
    for source in wrong:
        with pytest.raises(ConfigError, match="no source on offer"):
            at.choose(Choices(source=source, spotter="flow", recognizer="none"))
    with pytest.raises(ConfigError, match="no spotter"):
        at.choose(Choices(source="0", spotter="../x", recognizer="none"))
    with pytest.raises(ConfigError, match="no recogniser"):
        at.choose(Choices(source="0", spotter="flow", recognizer="x"))
    with pytest.raises(ConfigError, match="subject"):
        at.choose(Choices(source="0", spotter="flow", recognizer="none", subject="Jane Doe"))
    with pytest.raises(ConfigError, match="--session"):
        at.choose(stored())


def test_a_calibration_is_for_its_own_source(tmp_path: Path) -> None:
    at = desk(None, calibration="rig.json")
    at.choose(CAMERA)
    assert at.config.calibration == Path("rig.json")
    at.choose_demo()
    assert at.config.calibration is None
    assert at.config.source.duration_s == 600


def test_a_calibration_tells_the_factor_for_the_false_alarms_that_are_accepted(
    tmp_path: Path,
) -> None:
    assert not desk(None).knows_false_alarms
    with pytest.raises(ConfigError, match="No calibration"):
        desk(None).factor_for(1.0)
    path = tmp_path / "rig.json"
    tried = CHOSEN.model_copy(update={"factors": FACTORS, "alarms": ALARMS, "fitted_s": 300.0})
    calibration(threshold=tried).save(path)
    at = desk(None, calibration=str(path))
    factors = [at.factor_for(accepted) for accepted in (0.2, 1.0, 5.0)]
    assert factors == sorted(factors, reverse=True)
    assert len(set(factors)) == 3
    assert at.threshold_factor == tried.factor


def test_the_text_of_the_consent_says_what_it_must() -> None:
    text = consent_text()
    for word in ("stored", "code", "deleted", "stop at any moment", "honesty"):
        assert word in text
