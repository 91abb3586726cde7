"""A recorded session analysed again with other engines, into a session folder beside it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import wait
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engines.recognition.registry import RECOGNIZERS
from engines.spotting.registry import SPOTTERS
from streamer.config import GlintConfig
from streamer.errors import SessionError
from streamer.review.session_reader import Session
from streamer.review.worker import Done, Task, Worker

NO_RECOGNIZER = "none"

_POLL_S = 0.2
_END_S = 12.0  # what a worker takes to end in order, and a little

State = Literal["running", "done", "failed", "stopped"]


class Engines(BaseModel):
    """What to analyse with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spotter: str
    recognizer: str
    threshold_factor: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="Of the spotter flow; None keeps the session's."
    )

    def check(self) -> None:
        """Check the names.

        Raises:
            SessionError: There is no such engine, or it has no threshold to be set.
        """
        for name, known in (
            (self.spotter, SPOTTERS),
            (self.recognizer, (*RECOGNIZERS, NO_RECOGNIZER)),
        ):
            if name not in known:
                raise SessionError(
                    f"There is no engine named {name!r}: choose one of {', '.join(known)}."
                )
        if self.threshold_factor is not None and self.spotter != "flow":
            raise SessionError(
                f"The threshold of {self.spotter} belongs to its network: leave it away, or choose "
                "the spotter flow."
            )

    @property
    def name(self) -> str:
        """For a folder."""
        factor = "" if self.threshold_factor is None else f"-c{self.threshold_factor:g}"
        return f"{self.spotter}{factor}-{self.recognizer}"


@dataclass(slots=True)
class Job:
    """One analysis.

    Attributes:
        number: Which one of this program.
        session: Folder of the session that is analysed again.
        folder: Session folder of the result.
        engines: What it is analysed with.
        total: Frames of the recording.
        frames: Frames analysed so far.
        state: How far it is.
        reason: Why it failed; empty otherwise.
    """

    number: int
    session: Path
    folder: Path
    engines: Engines
    total: int
    frames: int = 0
    state: State = "running"
    reason: str = ""


class Reruns:
    """Analyses recorded sessions again, one at a time, each in a process of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._job: Job | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def job(self) -> Job | None:
        """The analysis that runs, or the last one; None before the first."""
        return self._job

    def start(self, session: Session, pictures: Path, frames: int, engines: Engines) -> Job:
        """Begin.

        Args:
            session: The session whose settings are kept but for the engines.
            pictures: The recording, video or folder that it analysed.
            frames: How many pictures there are.
            engines: What to analyse with.

        Raises:
            UserError: An engine does not exist, another analysis runs, or the session's settings
                are those of another version.
        """
        engines.check()
        config = _configuration(session, engines)
        with self._lock:
            if self._job is not None and self._job.state == "running":
                raise SessionError(
                    "Another analysis runs, and one at a time is what this machine can do: wait "
                    "for its end, or stop it."
                )
            job = Job(next(self._numbers), session.path, _free(session, engines), engines, frames)
            self._job = job
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._run, args=(job, pictures, config), name="glint-rerun", daemon=True
            )
            self._thread.start()
            return job

    def stop(self) -> None:
        """End the analysis that runs, if one does; what it found so far is kept."""
        self._stop.set()

    def close(self) -> None:
        """Stop, and wait for the end; may be called more than once."""
        self.stop()
        thread = self._thread
        if thread is not None:
            thread.join(_END_S)

    def _run(self, job: Job, pictures: Path, config: GlintConfig) -> None:
        try:
            worker = Worker(config)
        except OSError as error:
            job.reason = f"No process can be started for it ({error}): close other programs."
            job.state = "failed"
            return
        try:
            worker.begin(Task(pictures, job.folder))
            while not self._stop.is_set():
                if not wait([worker.connection], _POLL_S):
                    continue
                message = worker.receive()
                if isinstance(message, Done):
                    job.reason = message.reason
                    job.state = "failed" if message.reason else "done"
                    return
                job.frames = message
        finally:
            worker.stop()
            if job.state == "running":
                job.state = "stopped"


def _configuration(session: Session, engines: Engines) -> GlintConfig:
    """The session's own settings with other engines, and without what belongs to a live source.

    Raises:
        ConfigError: A setting is not known any more.
    """
    tree: dict[str, Any] = dict(session.document.get("configuration", {}))
    files = session.source["kind"] in ("video", "folder")
    fps = tree.get("source", {}).get("fps") if files else None  # a recording has its own times
    tree["source"] = {"speed": "max", "fps": fps}
    tree["spotter"], tree["recognizer"] = engines.spotter, engines.recognizer
    for section in ("recording", "outputs", "dashboard"):
        tree.pop(section, None)
    if engines.threshold_factor is not None:
        flow = {**tree.get("flow_spotter", {}), "threshold_factor": engines.threshold_factor}
        tree["flow_spotter"], tree["calibration"] = flow, None
    calibration = tree.get("calibration")
    if calibration is not None and not Path(calibration).is_file():
        tree["calibration"] = None  # its threshold stands in the settings all the same
    return GlintConfig.from_tree(tree, f"the settings of {session.name}")


def _free(session: Session, engines: Engines) -> Path:
    """A folder beside the session that is not there yet."""
    path = session.path.resolve()
    for number in count(1):
        more = "" if number == 1 else f"-{number}"
        folder = path.with_name(f"{path.name}-{engines.name}{more}")
        if not folder.exists():
            return folder
    raise AssertionError
