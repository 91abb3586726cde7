"""Files of lines that stay readable whatever happens to the program or the disk."""

from __future__ import annotations

from contextlib import suppress
from io import FileIO
from pathlib import Path


class LineFile:
    """A file to which whole lines are appended.

    Args:
        path: The file.
        resume: Go on behind the last whole line of a file that may be there; otherwise the file
            must not exist.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        # Unbuffered: a line is the operating system's as soon as it is appended.
        self._file = FileIO(path, "a" if resume else "x")
        self._whole = path.read_bytes().rfind(b"\n") + 1 if resume else 0
        self._file.truncate(self._whole)

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


def whole_lines(path: Path) -> tuple[list[str], bool]:
    """Read a file of lines that may still be written, or broke off.

    Returns:
        Its whole lines, and whether a torn one at the end was left out.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is not UTF-8.
    """
    text, newline, torn = path.read_bytes().rpartition(b"\n")
    return text.decode("utf-8").split("\n") if newline else [], bool(torn)
