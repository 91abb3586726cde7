"""The real server: who gets in, what is streamed, and how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from streamer.dashboard.access import AccessGuard, check_bind
from streamer.dashboard.app import DashboardServer, create_app
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.mjpeg import BOUNDARY, THREAD_NAME
from streamer.dashboard.routes import STREAM_PATH
from streamer.dashboard.sink import DashboardSink
from streamer.errors import UserError

AUTH = ("lab", "a long pässword")
Serve = Callable[..., DashboardServer]


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every (method, path) of the application and of what is mounted in it."""
    waiting = [("", route) for route in app.routes]
    while waiting:
        prefix, route = waiting.pop()
        path = prefix + getattr(route, "path", "")
        included = getattr(route, "original_router", None)
        if included is not None:
            waiting += [(path, inner) for inner in included.routes]
        elif isinstance(route, Mount):
            waiting += [(path, inner) for inner in route.routes]
            yield "GET", path + "/anything"
        else:
            # Whatever a parameter is named, something stands in its place.
            filled = "/".join("x" if "{" in part else part for part in path.split("/"))
            for method in getattr(route, "methods", None) or {"GET"}:
                yield method, filled


@pytest.fixture
def streaming() -> Iterator[Callable[[str], socket.socket]]:
    """Open live pictures and never read them: viewers that have stalled."""
    sockets: list[socket.socket] = []

    def watch(url: str) -> socket.socket:
        host, port = url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=10)
        request = f"GET {STREAM_PATH} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        connection.sendall(request.encode())
        assert b"200 OK" in connection.recv(200)
        sockets.append(connection)
        return connection

    yield watch
    for each in sockets:
        each.close()


def test_the_login_opens_page_and_picture(session: LiveSession, serve: Serve) -> None:
    url = serve(auth=AUTH).start()
    session.start()
    with httpx.Client(base_url=url, auth=httpx.BasicAuth(AUTH[0], AUTH[1].encode())) as client:
        assert "Glint" in client.get("/").text
        with client.stream("GET", STREAM_PATH) as response:
            assert response.status_code == 200
            assert response.headers["cache-control"] == "no-store"
            start = b""
            for chunk in response.iter_raw():
                start += chunk
                if start.count(b"--" + BOUNDARY.encode()) > 3:
                    break
            assert b"\xff\xd8\xff" in start
    for wrong in [("lab", "wrong"), ("", ""), ("lab", "")]:
        assert httpx.get(url + STREAM_PATH, auth=wrong).status_code == 401
    for header in ("Basic", "Basic !!", "Bearer abc", "Basic bGFi"):
        assert httpx.get(url, headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:7860"}, 200),
        ({"Host": "[::1]:7860"}, 200),
        ({"Host": "evil.example:7860"}, 403),  # a name of somebody else that leads here
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}, 200),
    ],
)
def test_other_sites_cannot_reach_a_dashboard_without_login(
    headers: dict[str, str], status: int
) -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(AccessGuard(PlainTextResponse("a face")))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/", headers=headers)

    response = asyncio.run(ask())
    assert response.status_code == status
    assert ("a face" in response.text) == (status == 200)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "lab-pc", ""])
def test_faces_are_not_shown_to_the_network_without_a_login(serve: Serve, host: str) -> None:
    with pytest.raises(UserError, match="login"):
        serve(host=host)
    check_bind(host, AUTH)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_this_machine_needs_no_login(host: str) -> None:
    check_bind(host, None)


@pytest.mark.parametrize("auth", [("", "x"), ("lab", "")])
def test_half_a_login_is_none(serve: Serve, auth: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="user and a password"):
        serve(auth=auth)


def test_a_taken_port_is_said_in_one_sentence(serve: Serve, taken_port: int) -> None:
    server = serve(port=taken_port)
    with pytest.raises(UserError, match=f"port {taken_port}.*choose another --port"):
        server.start()
    server.stop()


def test_stalled_viewers_hold_up_neither_the_others_nor_the_end(
    session: LiveSession, serve: Serve, streaming: Callable[[str], socket.socket]
) -> None:
    server = serve()
    url = server.start()
    session.start()
    for _ in range(3):
        streaming(url)
    with httpx.stream("GET", url + STREAM_PATH) as response:
        received = 0
        for chunk in response.iter_raw():
            received += len(chunk)
            if received > 1_000_000:
                break
    server.stop()
    server.stop()
    server.close()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {THREAD_NAME, "glint-dashboard"}
    assert session.running  # nobody's watching changes anything in the session


def test_an_ended_server_frees_its_port(serve: Serve) -> None:
    server = serve()
    url = server.start()
    server.stop()
    port = int(url.rsplit(":", 1)[1])
    assert serve(port=port).start() == url


def test_nothing_leaves_the_machine(session: LiveSession, sink: DashboardSink) -> None:
    app = create_app(session, sink)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    (mount,) = [route for route in app.routes if isinstance(route, Mount)]
    blocks = mount.app.blocks  # type: ignore[attr-defined]
    assert not blocks.analytics_enabled
    assert not blocks.theme._stylesheets
    assert not blocks.config["run_history"]  # would be kept in the viewer's browser
