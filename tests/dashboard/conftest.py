from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from streamer.dashboard import access
from streamer.dashboard.app import DashboardServer
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from tests.dashboard.fake_pipeline import FakePipeline


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse a wrong login at once: dozens are tried here."""
    monkeypatch.setattr(access, "_WRONG_LOGIN_DELAY_S", 0.0)


@pytest.fixture
def sink() -> DashboardSink:
    return DashboardSink()


@pytest.fixture
def session(sink: DashboardSink) -> Iterator[LiveSession]:
    live = LiveSession(FakePipeline, [sink])
    yield live
    live.close()


@pytest.fixture
def serve(session: LiveSession, sink: DashboardSink) -> Iterator[Callable[..., DashboardServer]]:
    """Build servers on a free port and stop them in the end."""
    servers: list[DashboardServer] = []

    def build(**options: object) -> DashboardServer:
        servers.append(DashboardServer(session, sink, **{"port": 0, **options}))
        return servers[-1]

    yield build
    for server in servers:
        server.stop()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
