"""Analysing recordings in a process of their own, which may crash."""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from streamer.config import GlintConfig
from streamer.errors import UserError
from streamer.sinks.session_folder import SessionFolderSink

_POLL_S = 0.2
_STOP_S = 10.0  # an interrupted session is finished well within


@dataclass(frozen=True, slots=True)
class Task:
    """A recording that is to be analysed into a session folder that is not there yet."""

    recording: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Done:
    """A worker has finished its task; without a reason it went well."""

    reason: str


def _work(connection: Connection, config: GlintConfig) -> None:
    """Analyse the tasks that come, until the other end closes: the body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which closes
    with closing(connection):
        try:
            while True:
                task: Task = connection.recv()
                connection.send(Done(_analyse(task, config, connection)))
        except (EOFError, OSError):
            return


def _analyse(task: Task, config: GlintConfig, connection: Connection) -> str:
    """Analyse a recording; return why that failed, or nothing."""
    from streamer.session import build_pipeline  # noqa: PLC0415 - engines, in this process only

    source = config.source.model_copy(update={"spec": str(task.recording)})
    written = SessionFolderSink(task.folder)
    try:
        pipeline = build_pipeline(
            config.model_copy(update={"source": source}), [written], folder=task.folder
        )
        written.follow(pipeline.metrics)
        try:
            pipeline.start()
            while not pipeline.wait(_POLL_S) and not connection.poll():
                connection.send(pipeline.metrics().analysed)
        finally:
            pipeline.close()
        if pipeline.failure is not None:
            raise pipeline.failure
    except UserError as error:
        return str(error)
    except Exception as error:
        return f"A fault in the program ({type(error).__name__}: {error})."
    return ""


class Worker:
    """A worker process and its end of the line."""

    def __init__(self, config: GlintConfig) -> None:
        context = multiprocessing.get_context("spawn")  # threads and models do not survive a fork
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(theirs, config), name="glint-worker", daemon=True
        )
        self.process.start()
        theirs.close()
        self.task: Task | None = None
        self.frames = 0

    def begin(self, task: Task) -> None:
        """Hand over a task."""
        self.task, self.frames = task, 0
        self.connection.send(task)

    def receive(self) -> Done | int:
        """Return what it says: that it is done, or its frames so far."""
        try:
            message: Done | int = self.connection.recv()
            return message
        except (EOFError, OSError):
            self.stop()
            return Done(
                f"The analysis crashed with its process (exit code {self.process.exitcode}): "
                "analyse it alone with --source and --log-level debug to see why."
            )

    def stop(self) -> None:
        """End the process in order; a session that is open is finished as interrupted."""
        self.connection.close()
        self.process.join(_STOP_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
