"""Writing a recording."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from streamer.errors import SessionError
from streamer.frame import Frame
from streamer.line_file import LineFile
from streamer.recording.layout import (
    CODECS,
    DESCRIPTION_FILE,
    PICTURE_FORMATS,
    TIMES_COLUMNS,
    TIMES_FILE,
    VIDEO_FILE,
    CodecName,
    RecordingDescription,
)
from streamer.sources.base import SourceInfo
from streamer.version import VERSION

_TIME_BASE = Fraction(1, 1_000_000)


class RecordingWriter:
    """Encodes pictures into a recording, one by one and without loss.

    A picture and its row reach the operating system before the next picture is taken, the picture
    first: what a killed process leaves behind can be read.

    Args:
        folder: Folder of the recording; made by `open`, must not exist.
        codec: How pictures are encoded.
    """

    def __init__(self, folder: Path, codec: CodecName) -> None:
        self._folder = folder
        self._codec = codec
        self._codec_error: type[Exception] = OSError
        self._container: Any = None
        self._times: LineFile | None = None

    def open(self, info: SourceInfo, started_utc: str) -> None:
        """Make the files.

        Args:
            info: The opened source.
            started_utc: ISO 8601 time at which the session started.

        Raises:
            SessionError: The folder cannot be made or written.
        """
        import av  # noqa: PLC0415 - FFmpeg, loaded only when somebody records

        self._codec_error = av.FFmpegError
        description = RecordingDescription(
            glint=VERSION,
            started_utc=started_utc,
            source=info.name,
            kind=info.kind,
            device=dict(info.device),
            width=info.width,
            height=info.height,
            channels=3 if info.channels == 3 else 1,
            fps_asked=info.fps_asked,
            fps_nominal=info.fps_nominal,
            device_clock=info.device_clock,
            codec=self._codec,
        )
        codec = CODECS[self._codec, description.channels]
        try:
            self._folder.mkdir(parents=True)
            (self._folder / DESCRIPTION_FILE).write_text(
                description.model_dump_json(indent=2) + "\n", encoding="utf-8"
            )
            self._times = LineFile(self._folder / TIMES_FILE)
            self._times.append(",".join(TIMES_COLUMNS))
            self._container = av.open(
                str(self._folder / VIDEO_FILE), "w", format="nut", options={"flush_packets": "1"}
            )
        except (OSError, av.FFmpegError) as error:
            self.close()
            raise SessionError(
                f"The recording {self._folder} cannot be written ({error}): "
                "mend that, or record into another session folder."
            ) from error
        stream = self._container.add_stream(
            codec.encoder,
            rate=Fraction(info.fps_nominal).limit_denominator(1000),
            options=dict(codec.options),
        )
        stream.width, stream.height = info.width, info.height
        stream.pix_fmt = codec.pixel_format
        stream.time_base = stream.codec_context.time_base = _TIME_BASE
        stream.codec_context.thread_count = 1  # the recorder is one thread, the stages need theirs
        self._stream = stream
        self._layout = PICTURE_FORMATS[description.channels]
        self._picture_of = av.VideoFrame.from_ndarray
        self._last_pts = -1
        self._torn = 0

    def write(self, frame: Frame, intact: Callable[[], bool]) -> bool:
        """Encode a picture and write its row.

        Args:
            frame: The frame; its picture may be overwritten while it is copied.
            intact: Tells afterwards whether it was not.

        Returns:
            False when the picture was overwritten and is left out; the gap before the next
            picture holds it.

        Raises:
            OSError: The disk is full or gone, or the encoder gave up.
        """
        try:
            return self._write(frame, intact)
        except self._codec_error as error:
            raise error if isinstance(error, OSError) else OSError(str(error)) from error

    def _write(self, frame: Frame, intact: Callable[[], bool]) -> bool:
        assert self._times is not None
        picture = self._picture_of(frame.image, format=self._layout)
        if not intact():
            self._torn += 1 + frame.gap_before
            return False
        if self._stream.pix_fmt != self._layout:
            picture = picture.reformat(format=self._stream.pix_fmt)
        picture.pts = self._last_pts = max(round(frame.time_s / _TIME_BASE), self._last_pts + 1)
        picture.time_base = _TIME_BASE
        self._container.mux(self._stream.encode(picture))
        gap, self._torn = frame.gap_before + self._torn, 0
        device_s = "" if frame.device_s is None else repr(float(frame.device_s))
        cause = frame.gap_cause or ("recording_torn" if gap else "")
        self._times.append(
            f"{frame.index},{float(frame.time_s)!r},{device_s},{gap},{cause},{'|'.join(frame.flags)}"
        )
        return True

    def close(self) -> None:
        """Finish the files; may be called more than once."""
        container, self._container = self._container, None
        if container is not None:
            # The trailer may not fit on a full disk; the pictures are readable without.
            with suppress(OSError, self._codec_error):
                container.mux(self._stream.encode(None))
                container.close()
        if self._times is not None:
            self._times.close()
