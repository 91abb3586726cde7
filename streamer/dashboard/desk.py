"""What the operator has chosen for the next session, and the making of it.

The page offers what this program found or was started with; nothing that a browser sends is used
as a path or an address. Nothing of a person is stored before somebody has confirmed the
subject's consent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from engines.recognition.registry import DEPTH_RECOGNIZERS, RECOGNIZERS
from engines.spotting.registry import DEPTH_SPOTTERS, SPOTTERS
from streamer.calibrated import use_calibration
from streamer.config import GlintConfig
from streamer.consent import Consent
from streamer.dashboard.alarm_budget import AlarmBudget, alarm_budget
from streamer.dashboard.later_storage import LaterStorage
from streamer.errors import ConfigError
from streamer.sinks.base import SessionInfo, SessionMetrics, Sink
from streamer.sources.discovery import Discovery, FoundSource, find_sources

NO_RECOGNIZER = "none"
DEMO = "demo"

_DEMO_SHOW_S = 600.0  # long enough to look around


class Measured(Protocol):
    """A pipeline, as far as the desk knows it."""

    def metrics(self) -> SessionMetrics:
        """Figures so far; callable from any thread."""
        ...


PipelineT = TypeVar("PipelineT", bound=Measured)
Builder = Callable[[GlintConfig, Sequence[Sink], Path | None], PipelineT]
"""Builds the pipeline of a configuration that tells the sinks and stores into the folder."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the page asks of the next session.

    Attributes:
        source: One of the offered sources.
        spotter: Name of the spotting engine.
        recognizer: Name of the recognition engine, or `none`.
        subject: Pseudonym of the subject; empty for none.
        store: Whether the session is stored.
        record: Whether its pictures are stored too.
        confirmed_by: Who confirms the subject's consent; empty when nobody does.
    """

    source: str
    spotter: str
    recognizer: str
    subject: str = ""
    store: bool = False
    record: bool = False
    confirmed_by: str = ""


class SessionDesk(Generic[PipelineT]):
    """Makes the sessions that the dashboard starts, one after the other.

    Args:
        config: What the dashboard was started with.
        folder: Where the first session is stored, the next ones beside it; None stores none.
        build: Builds a pipeline.
        seek: Looks for sources.
        on_folder: Told of every folder that a session is stored in, before it is made.
    """

    def __init__(
        self,
        config: GlintConfig,
        folder: Path | None,
        build: Builder[PipelineT],
        seek: Callable[[], Discovery] = find_sources,
        on_folder: Callable[[Path], object] = lambda _: None,
    ) -> None:
        self._given = config
        self._build = build
        self._seek = seek
        self._on_folder = on_folder
        self._lock = threading.Lock()
        self._folder = folder
        self._folders = _folders(folder)
        self._found = Discovery((), ())
        self._budget: tuple[tuple[Path | None, str], AlarmBudget | str] | None = None
        self._running: tuple[GlintConfig, LaterStorage | None] | None = None
        demo = config.source.spec == DEMO
        # Replaced as one: two people may choose while a session is made.
        self._next = (config, folder is not None and (demo or config.consent is not None))

    @property
    def can_store(self) -> bool:
        """Whether the dashboard was started with a place for sessions."""
        return self._folder is not None

    @property
    def config(self) -> GlintConfig:
        """The configuration of the next session."""
        return self._next[0]

    @property
    def store(self) -> bool:
        """Whether the next session is stored."""
        return self._next[1]

    @property
    def threshold_factor(self) -> float:
        """Factor of the spotting threshold that sessions start with, calibrated or configured."""
        return use_calibration(self.config)[0].flow_spotter.threshold_factor

    @property
    def alarm_budget(self) -> AlarmBudget | str:
        """What is known of false alarms in the next session, or why nothing is."""
        config = self.config
        about = (config.calibration, config.spotter)
        if self._budget is None or self._budget[0] != about:
            self._budget = (about, alarm_budget(config))
        return self._budget[1]

    @property
    def sources(self) -> tuple[FoundSource, ...]:
        """The sources that may be chosen: the one given at the start, and what was found."""
        spec = self._given.source.spec
        found = self._found.sources or (FoundSource(DEMO, "animated portrait; needs no camera"),)
        own = () if any(each.spec == spec for each in found) else (FoundSource(spec, ""),)
        return (*own, *found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be looked for, and why."""
        return self._found.notes

    def look_for_sources(self) -> None:
        """Look for cameras; takes seconds."""
        self._found = self._seek()

    def choose(self, choices: Choices) -> None:
        """Take the choices for the next session.

        Raises:
            ConfigError: One of them is not on offer, or the session would be stored without
                consent.
        """
        self._check_offered(choices)
        given = self._given
        demo = choices.source == DEMO
        consent = None
        if choices.store and not demo:
            if not choices.subject.strip():
                raise ConfigError(
                    "A stored session needs the subject's code, a pseudonym: enter one, never a "
                    "name, or switch storing off."
                )
            consent = self._consent(choices)
        tree = given.model_dump()
        tree |= {
            "spotter": choices.spotter,
            "recognizer": choices.recognizer,
            "subject": choices.subject.strip() or None,
            "consent": consent,
        }
        tree["recording"]["enabled"] = choices.store and choices.record
        tree["source"]["spec"] = choices.source
        if demo and given.source.duration_s is None:
            tree["source"]["duration_s"] = _DEMO_SHOW_S
        if choices.source != given.source.spec:
            tree["calibration"] = None  # it is another rig's
        self._next = (GlintConfig.from_tree(tree, "the setup"), choices.store)

    def choose_demo(self) -> None:
        """Choose the demo, unstored, with everything else as it was given."""
        given = self._given
        self.choose(Choices(source=DEMO, spotter=given.spotter, recognizer=given.recognizer))

    @property
    def storing(self) -> bool:
        """Whether the session that was built last is stored."""
        if self._running is None:
            return False
        later = self._running[1]
        return later is None or later.storing

    def store_now(self, choices: Choices) -> SessionInfo | None:
        """Store the running preview from now on, and the next sessions.

        Args:
            choices: What the page asks for; the session is stored whatever they say of it.

        Returns:
            The session as it is stored; None when what is asked for needs a new start: pictures,
            another source or engine, or a source that plays from its beginning.

        Raises:
            UserError: Something is not on offer, nobody has consented, or the folder cannot be
                written.
        """
        self.choose(replace(choices, store=True))
        config = self.config
        if self._running is None:
            return None
        running, later = self._running
        if later is None:
            return None
        who = {"subject": running.subject, "consent": running.consent}
        session = later.session
        if session is None or not session.source.live or config.model_copy(update=who) != running:
            return None
        return later.begin(self._next_folder(), config)

    def build(self, sinks: Sequence[Sink]) -> PipelineT:
        """Build the next session's pipeline; what is stored goes into a folder of its own."""
        config, store = self._next
        if store:
            self._running = config, None
            return self._build(config, sinks, self._next_folder())
        if config.recording.enabled:  # asked for, but nobody has consented yet
            config = config.model_copy(
                update={"recording": config.recording.model_copy(update={"enabled": False})}
            )
        later = LaterStorage(sinks)
        pipeline = self._build(config, [later, *sinks], None)
        later.follow(pipeline.metrics)
        self._running = config, later
        return pipeline

    def _next_folder(self) -> Path:
        with self._lock:
            folder = next(self._folders)
        self._on_folder(folder)
        return folder

    def _check_offered(self, choices: Choices) -> None:
        offered: tuple[tuple[str, str, Sequence[str]], ...] = (
            ("source", choices.source, [each.spec for each in self.sources]),
            ("spotter", choices.spotter, (*SPOTTERS, *DEPTH_SPOTTERS)),
            (
                "recogniser",
                choices.recognizer,
                (*RECOGNIZERS, *DEPTH_RECOGNIZERS, NO_RECOGNIZER),
            ),
        )
        for what, chosen, known in offered:
            if chosen not in known:
                raise ConfigError(
                    f"{chosen!r} is no {what} on offer: choose one of {', '.join(known)}."
                )
        if choices.store and not self.can_store:
            raise ConfigError(
                "There is no place for sessions: start Glint with --session DIR to store them."
            )

    def _consent(self, choices: Choices) -> Consent:
        """The consent of this subject; one that was given for the whole visit still counts."""
        name, known = choices.confirmed_by.strip(), self.config.consent
        if not name:
            raise ConfigError(
                "Nothing is stored before the subject has consented: tick the consent and enter "
                "who confirms it, or switch storing off."
            )
        same = choices.subject.strip() == (self.config.subject or "")
        if known is not None and same and known.confirmed_by == name:
            return known
        return Consent.now(name, self._given.consent_form)


def _folders(first: Path | None) -> Iterator[Path]:
    """The folders of sessions that follow each other; one that is taken is passed over."""
    if first is None:
        return
    yield first
    for number in count(2):
        folder = first.with_name(f"{first.name}-{number}")
        if not folder.exists():
            yield folder
