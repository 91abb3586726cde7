"""A command line in its process: what is printed, how it ends, and with which exit code."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from streamer.errors import ConfigError, UserError

DONE, FAULT, MISTAKE = 0, 1, 2
"""Exit codes: done, a fault in the program, something that the user can mend."""

_STDERR = 2


class CommandParser(argparse.ArgumentParser):
    """A parser that reports a mistake instead of ending the program.

    Raises:
        ConfigError: An option is unknown or wrong.
    """

    def error(self, message: str) -> NoReturn:
        """Raise the mistake."""
        raise ConfigError(f"{message[:1].upper()}{message[1:]}: --help lists the options.")


def run_command(work: Callable[[], None], log_level: str) -> int:
    """Do the work of a command line; say what goes wrong in one sentence.

    Args:
        work: What to do. Ctrl-C ends it in order.
        log_level: `debug`, `info`, `warning` or `error`; debug adds tracebacks and the messages of
            native libraries.

    Returns:
        The exit code.
    """
    log = logging.getLogger(__name__)
    with _quiet_native_code(log_level != "debug"), _log_to_stderr(log_level), _sigterm_as_ctrl_c():
        try:
            work()
            return DONE
        except KeyboardInterrupt:
            return DONE
        except UserError as error:
            log.debug("the mistake was found here", exc_info=True)
            print(error, file=sys.stderr)
            return MISTAKE
        except ImportError as error:
            log.debug("the library was asked for here", exc_info=True)
            print(
                f"A library that Glint needs cannot be loaded ({error}): set Glint up again as "
                "README says, with the system libraries that it names for a bare Linux.",
                file=sys.stderr,
            )
            return MISTAKE
        except Exception as error:
            log.debug("the fault is here", exc_info=True)
            print(
                f"Glint stopped because of a fault in the program ({type(error).__name__}: "
                f"{error}): run it again with --log-level debug to see where.",
                file=sys.stderr,
            )
            return FAULT


class _OneLine(logging.Formatter):
    """Says an exception in its own words; the traceback is for --log-level debug."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.levelname.capitalize()}: {record.getMessage()}"
        error = record.exc_info[1] if record.exc_info else None
        return text if error is None else f"{text} ({error})"


@contextmanager
def _log_to_stderr(level: str) -> Iterator[None]:
    """Write the log to stderr, Glint's from `level` on and other packages' warnings."""
    handler = logging.StreamHandler(sys.stderr)
    if level == "debug":
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(threadName)s %(name)s %(levelname)s: %(message)s")
        )
    else:
        handler.setFormatter(_OneLine())
    root = logging.getLogger()
    root.addHandler(handler)
    for package in ("streamer", "engines", "calibration"):
        logging.getLogger(package).setLevel(level.upper())
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let an order to end be Ctrl-C for the rest of the program."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _quiet_native_code(enabled: bool) -> Iterator[None]:
    """Keep what MediaPipe and TensorFlow Lite print from C++ off the user's terminal.

    They write to file descriptor 2 before any of their own settings is read. So it leads nowhere
    for as long as the program runs, and Python's stderr moves to a copy of it.
    """
    python = sys.stderr
    try:
        terminal = os.dup(_STDERR)
        shared = python.fileno() == _STDERR
    except (AttributeError, OSError, ValueError):  # started without a terminal
        enabled = False
    if not enabled:
        yield
        return
    if shared:
        sys.stderr = open(  # noqa: SIM115 - closed below
            os.dup(terminal), "w", encoding=python.encoding, errors="backslashreplace", buffering=1
        )
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(terminal, _STDERR)
        os.close(terminal)
        if shared:
            sys.stderr.close()
            sys.stderr = python
