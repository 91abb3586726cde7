"""A file of lines that stays readable whatever happens to the program or the disk."""

from __future__ import annotations

from contextlib import suppress
from io import FileIO
from pathlib import Path


class LineFile:
    """A new file to which whole lines are appended.

    Args:
        path: The file; must not exist.
    """

    def __init__(self, path: Path) -> None:
        # Unbuffered: a line is the operating system's as soon as it is appended.
        self._file = FileIO(path, "x")
        self._whole = 0

    def append(self, line: str) -> None:
        """Append a line.

        Raises:
            OSError: The disk is full or gone; no torn line is left behind.
        """
        data = f"{line}\n".encode()
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._whole)
            raise
        self._whole += written

    def close(self) -> None:
        """Close the file; may be called more than once."""
        with suppress(OSError):  # a network disk that is gone; appending has told so already
            self._file.close()
