from __future__ import annotations

import string
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import SourceError
from streamer.frame import Frame
from streamer.sources.base import SourceInfo, SourceOptions, SourceState
from streamer.sources.network_stream import NetworkStreamSource, without_credentials
from tests.sources.source_media import HEIGHT, WIDTH, MjpegServer, Plan, Rig

Serve = Callable[..., MjpegServer]
SIZE = (WIDTH, HEIGHT)


def _stream(address: str, **options: object) -> NetworkStreamSource:
    return NetworkStreamSource(
        address,
        SourceOptions(**options),  # type: ignore[arg-type]
        timeout_s=5.0,
        first_retry_s=0.01,
        stall_s=0.02,
    )


def _read(source: NetworkStreamSource, info: SourceInfo, frames: int) -> list[Frame]:
    out = np.empty(info.shape, np.uint8)
    read = [source.read(out) for _ in range(frames)]
    assert None not in read
    assert out.any()
    return [frame for frame in read if frame is not None]


def test_mjpeg_over_http(serve: Serve) -> None:
    server = serve()
    source = _stream(f"http://{server.host}/live.mjpg", fps=100.0)
    info = source.open()
    frames = _read(source, info, 10)
    source.close()
    assert info.live
    assert info.frames is None
    assert (info.width, info.height) == SIZE
    assert info.fps_asked == 100.0
    # A multipart stream carries no timestamps.
    assert not info.device_clock
    assert any("no timestamps" in note for note in info.notes)
    assert [f.index for f in frames] == list(range(10))


def test_dropped_connection_comes_back_as_a_counted_gap(serve: Serve) -> None:
    server = serve((40, SIZE), (None, SIZE))
    source = _stream(f"http://{server.host}/live.mjpg")
    info = source.open()
    frames = _read(source, info, 60)
    assert source.state is SourceState.LIVE
    source.close()
    assert server.served >= 2
    indices = [f.index for f in frames]
    assert all(f.index == indices[i - 1] + 1 + f.gap_before for i, f in enumerate(frames) if i)
    assert {f.gap_cause for f in frames if f.gap_before} <= {"stream_reconnect"}
    assert (np.diff([f.time_s for f in frames]) > 0).all()


def test_another_size_after_the_reconnection_is_fitted_and_told(serve: Serve) -> None:
    server = serve((40, SIZE), (None, (2 * WIDTH, 2 * HEIGHT)))
    source = _stream(f"http://{server.host}/live.mjpg")
    info = source.open()
    _read(source, info, 60)
    source.close()
    assert any("another picture size" in note for note in source.notes)


def test_gap_is_elapsed_time_times_rate(video: Path) -> None:
    rig = Rig(video, Plan(fails_at=10), Plan(opens=False), Plan(opens=False), Plan())
    source = NetworkStreamSource(
        "rtsp://camera/stream", SourceOptions(), rig, first_retry_s=0.02, stall_s=0.02
    )
    info = source.open()
    frames = _read(source, info, 8)
    source.close()
    assert info.device_clock
    back = next(f for f in frames if f.gap_before)
    elapsed_s = back.host_s - frames[frames.index(back) - 1].host_s
    assert back.gap_before == round(elapsed_s * info.fps_nominal) - 1
    assert back.gap_cause == "stream_reconnect"


def test_unreachable_hides_credentials(capfd: pytest.CaptureFixture[str]) -> None:
    source = _stream("http://anna:geheim@127.0.0.1:9/live.mjpg?token=geheim")
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/live\.mjpg cannot be") as caught:
        source.open()
    assert "geheim" not in str(caught.value)
    assert source.state is SourceState.CLOSED
    assert "geheim" not in "".join(capfd.readouterr())


def test_silent_server_is_given_up() -> None:
    import socket  # noqa: PLC0415 - only here

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/live.mjpg"
        source = NetworkStreamSource(address, SourceOptions(), timeout_s=0.2)
        with pytest.raises(SourceError, match="cannot be reached"):
            source.open()


def test_page_without_video_is_refused(serve: Serve) -> None:
    server = serve((0, SIZE))
    with pytest.raises(SourceError, match=r"no video|no picture"):
        _stream(f"http://{server.host}/index.html").open()


def test_recording_is_no_stream(video: Path) -> None:
    rig = Rig(video)

    def recording(*parameters: object) -> object:
        capture = rig("", *parameters)
        capture.get = capture._real.get  # type: ignore[method-assign]
        return capture

    source = NetworkStreamSource("http://host/clip.mp4", SourceOptions(), recording)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="recording, not a live stream"):
        source.open()
    assert rig.captures[0].released


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://10.0.0.7:554/live", "rtsp://10.0.0.7:554/live"),
        ("rtsp://anna:geheim@10.0.0.7:554/live", "rtsp://10.0.0.7:554/live"),
        ("rtsp://anna@10.0.0.7/live", "rtsp://10.0.0.7/live"),
        ("http://cam/video?user=anna&pwd=geheim", "http://cam/video"),
        ("http://cam/video#geheim", "http://cam/video"),
        ("http://cam/@home/video", "http://cam/@home/video"),
        ("rtsp://anna:ge/he@im@cam/live", "rtsp://cam/live"),
        ("rtsp://anna:ge?heim@cam/live", "rtsp://cam/live"),
        ("rtsp://anna:12/34@cam/live", "rtsp://cam/live"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_what_is_shown_of_an_address(address: str, shown: str) -> None:
    assert without_credentials(address) == shown


_ANY = st.text(string.printable, min_size=1, max_size=20)
_PLAIN = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=10)
_PLACES = st.builds(
    lambda host, port, path: "/".join([f"{host}:{port}" if port else host, *path]),
    _PLAIN,
    st.none() | st.integers(1, 65535),
    st.lists(_PLAIN, max_size=3),
)


@settings(deadline=None)
@given(user=_PLAIN, password=_ANY, place=_PLACES, quoted=st.booleans())
def test_password_never_shows(user: str, password: str, place: str, quoted: bool) -> None:
    secret = urllib.parse.quote(password, safe="") if quoted else password
    address = f"rtsp://{user}:{secret}@{place}"
    assert without_credentials(address) == f"rtsp://{place}"
    assert without_credentials(f"{address}?token={user}") == f"rtsp://{place}"
