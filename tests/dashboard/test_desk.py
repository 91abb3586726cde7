"""What may be chosen for the next session, and that nothing is stored without consent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from calibration.result import Verdict
from calibration.threshold import FACTORS
from streamer.config import GlintConfig
from streamer.consent import VERSION, consent_document, consent_text
from streamer.dashboard.alarm_budget import AlarmBudget
from streamer.dashboard.desk import Choices, SessionDesk
from streamer.dashboard.later_storage import LaterStorage
from streamer.errors import ConfigError
from streamer.sinks.base import SessionInfo, SessionMetrics
from streamer.sources.discovery import Discovery, FoundSource
from tests.calibration.test_file import CHOSEN, calibration
from tests.sinks.session_records import METRICS, RECORD, SESSION


class Built(NamedTuple):
    """What stands for a pipeline."""

    config: GlintConfig
    folder: Path | None
    sinks: Sequence[Any] = ()

    def metrics(self) -> SessionMetrics:
        return METRICS


FOUND = Discovery((FoundSource("demo", "portrait"), FoundSource("2", "Webcam")), ("No pylon.",))
ALARMS = (60, 40, 28, 20, 14, 10, 7, 4, 2, 1, 0, 0)
CAMERA = Choices(source="0", spotter="flow", recognizer="ststnet")


def desk(
    folder: Path | None, on_folder: Callable[[Path], object] = lambda _: None, **settings: Any
) -> SessionDesk[Built]:
    def build(config: GlintConfig, sinks: Sequence[Any], folder: Path | None) -> Built:
        return Built(config, folder, sinks)

    return SessionDesk(GlintConfig.from_tree(settings), folder, build, lambda: FOUND, on_folder)


def stored(**changes: Any) -> Choices:
    values = {"source": "0", "spotter": "flow", "recognizer": "none", "subject": "P07"}
    return Choices(**{**values, "store": True, "confirmed_by": "AR", **changes})


def test_nothing_of_a_person_is_stored_before_consent(tmp_path: Path) -> None:
    at = desk(tmp_path / "s", recording={"enabled": True})
    config, folder, _ = at.build([])
    assert folder is None
    assert not config.recording.enabled
    with pytest.raises(ConfigError, match="consented"):
        at.choose(stored(confirmed_by=" "))
    with pytest.raises(ConfigError, match="pseudonym"):
        at.choose(stored(subject=""))
    assert at.build([])[1] is None
    at.choose(stored(record=True))
    config, folder, _ = at.build([])
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
    path = tmp_path / "rig.json"
    tried = CHOSEN.model_copy(update={"factors": FACTORS, "alarms": ALARMS, "fitted_s": 300.0})
    calibration(threshold=tried).save(path)
    at = desk(None, calibration=str(path))
    budget = at.alarm_budget
    assert isinstance(budget, AlarmBudget)
    factors = [budget.at(accepted).factor for accepted in (0.2, 2.0, 5.0)]
    assert factors == sorted(factors, reverse=True)
    assert len(set(factors)) == 3
    # What the calibration itself was asked for is what sessions start with.
    assert budget.at(1.0).factor == at.threshold_factor == tried.factor
    assert budget.of(tried.factor) == budget.at(1.0)
    assert budget.of(7.51) is None
    with pytest.raises(ConfigError, match="choose one of"):
        budget.at(0.001)
    # It says nothing of another engine or another camera.
    at.choose(replace(CAMERA, spotter="ltp-ml"))
    assert "says nothing about ltp-ml" in str(at.alarm_budget)
    at.choose_demo()
    assert "Needs a calibration" in str(at.alarm_budget)


def test_a_rate_that_no_threshold_keeps_is_not_offered(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    loud = CHOSEN.model_copy(update={"factors": FACTORS, "alarms": (40,) * 12, "fitted_s": 30.0})
    calibration(threshold=loud).save(path)
    budget = desk(None, calibration=str(path)).alarm_budget
    assert isinstance(budget, AlarmBudget)
    assert list(budget.rates) == [1.0]


def test_without_a_calibration_the_budget_says_what_is_missing(tmp_path: Path) -> None:
    assert "python -m calibration" in str(desk(None).alarm_budget)
    path = tmp_path / "rig.json"
    calibration(verdict=Verdict.NOT_FIT).save(path)
    assert "not fit" in str(desk(None, calibration=str(path)).alarm_budget)


def later(at: SessionDesk[Built]) -> LaterStorage:
    (found,) = [sink for sink in at.build([]).sinks if isinstance(sink, LaterStorage)]
    return found


def test_a_preview_is_stored_without_a_new_start_where_that_loses_nothing(tmp_path: Path) -> None:
    folders: list[Path] = []
    at = desk(tmp_path / "s", on_folder=folders.append)
    preview = later(at)
    preview.open(replace(SESSION, source=replace(SESSION.source, live=True)))
    with pytest.raises(ConfigError, match="consented"):
        at.store_now(stored(recognizer="ststnet", confirmed_by=""))
    assert not at.storing
    assert folders == []
    told: list[SessionInfo | None] = []
    choices = stored(recognizer="ststnet", store=False)
    worker = threading.Thread(target=lambda: told.append(at.store_now(choices)))
    worker.start()
    while worker.is_alive():
        preview.on_frame(replace(RECORD, host_s=float("inf")))
    preview.close(METRICS)
    (session,) = told
    assert session is not None
    assert session.folder == tmp_path / "s"
    assert folders == [tmp_path / "s"]
    assert (tmp_path / "s" / "consent.json").is_file()
    assert at.store  # and so are the sessions that follow
    assert at.build([]).folder == tmp_path / "s-2"
    assert at.storing


@pytest.mark.parametrize(
    ("changes", "live"),
    [
        ({"record": True}, True),
        ({"recognizer": "none"}, True),
        ({"source": "demo"}, True),
        ({}, False),
    ],
    ids=["pictures", "another engine", "another source", "a file"],
)
def test_what_needs_a_new_start_is_left_to_the_next_one(
    tmp_path: Path, changes: dict[str, Any], live: bool
) -> None:
    at = desk(tmp_path / "s")
    later(at).open(replace(SESSION, source=replace(SESSION.source, live=live)))
    assert at.store_now(stored(**{"recognizer": "ststnet", **changes})) is None
    assert at.build([]).folder == tmp_path / "s"


def test_the_text_of_the_consent_says_what_it_must() -> None:
    text = consent_text()
    for word in ("stored", "code", "deleted", "stop at any moment", "honesty"):
        assert word in text
