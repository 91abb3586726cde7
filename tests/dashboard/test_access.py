"""Nobody gets in without the login, from another site, or at files that are not the page's."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message
from wsproto.events import AcceptConnection, RejectConnection

from streamer.dashboard.access import MAX_BODY, AccessGuard, check_bind, login_of
from streamer.dashboard.app import STREAM_PATH, DashboardServer, create_app
from streamer.dashboard.event_socket import EventSocket
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.webcam import PAGE_PATH, SOCKET_PATH
from streamer.errors import ConfigError
from streamer.sources.browser import BrowserCamera
from tests.dashboard.socket_client import Client
from tests.dashboard.test_server import routes

AUTH = ("lab", "a long pässword")
TOKEN = "0123456789abcdef-token"
STRANGER = {"Origin": "http://evil.example"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def build(session: LiveSession, sink: DashboardSink) -> Iterator[Callable[..., FastAPI]]:
    """Build the whole application, with everything that can be mounted in it."""
    apps: list[FastAPI] = []

    def make(auth: object = None) -> FastAPI:
        parts = {"events": EventSocket(), "browser": BrowserCamera()}
        apps.append(create_app(session, sink, auth, **parts))  # type: ignore[arg-type]
        return apps[-1]

    yield make
    for app in apps:
        app.state.broadcaster.close()


async def knock(app: ASGIApp, path: str, **headers: str) -> int:
    """Ask for a WebSocket; return the status of the refusal, 101 when it is opened."""
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect" if not said else "websocket.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        said.append(message)

    fields = {"host": "127.0.0.1", **{name.lower(): text for name, text in headers.items()}}
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "ws",
        "query_string": b"",
        "headers": [(name.encode(), text.encode()) for name, text in fields.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    await app(scope, receive, send)
    first = said[0]
    if first["type"] == "websocket.accept":
        return 101
    return int(first.get("status", 403))


def ask(app: ASGIApp, *requests: tuple[str, str], **headers: str) -> list[httpx.Response]:
    """Send requests into an application, without a server."""

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [await client.request(m, path, headers=headers) for m, path in requests]

    return asyncio.run(send())


# -- the login --------------------------------------------------------------------------------


def test_no_route_answers_without_the_login(build: Callable[..., FastAPI]) -> None:
    app = build(AUTH)
    known = sorted({*routes(app), ("GET", "/nowhere")})
    paths = {path for _, path in known}
    assert {STREAM_PATH, PAGE_PATH, SOCKET_PATH, "/events"} <= paths
    assert {("GET", "/live"), ("POST", "/edits"), ("GET", "/export.zip")} <= set(known)
    assert ("POST", "/gradio_api/queue/join") in known  # Gradio's own are among them
    for (method, path), response in zip(known, ask(app, *known), strict=True):
        assert response.status_code == 401, (method, path)
        assert "Basic" in response.headers["www-authenticate"]

    async def knock_everywhere() -> None:
        for path in sorted(paths):
            assert await knock(app, path) == 401, path

    asyncio.run(knock_everywhere())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
        (basic("whoever", TOKEN), 200),
        (basic("", TOKEN), 200),
        (basic(TOKEN, ""), 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Token {TOKEN}"}, 401),
        ({"Cookie": f"token={TOKEN}"}, 401),
    ],
)
def test_a_token_opens_as_a_password_does(headers: dict[str, str], status: int) -> None:
    guard = AccessGuard(PlainTextResponse("a face"), TOKEN)
    (response,) = ask(guard, ("GET", "/"), **headers)
    assert response.status_code == status


def test_a_password_is_no_token() -> None:
    guard = AccessGuard(PlainTextResponse("a face"), AUTH)
    for said in (AUTH[1], ":".join(AUTH)):
        (response,) = ask(guard, ("GET", "/"), Authorization=f"Bearer {said.encode().hex()}")
        assert response.status_code == 401


def test_the_camera_page_opens_its_own_socket_and_nothing_else(
    serve: Callable[..., DashboardServer],
) -> None:
    """A browser that sends no login with a WebSocket shows what the page was given."""
    url = serve(auth=AUTH, browser=BrowserCamera()).start()
    page = httpx.get(url + PAGE_PATH, auth=httpx.BasicAuth(AUTH[0], AUTH[1].encode())).text
    path = page.split('new URL("', 1)[1].split('"', 1)[0]
    assert path.startswith(f"{SOCKET_PATH}?ticket=")
    origin = {"Origin": url}
    for target, opened in (
        (path, True),
        (path[:-1] + ("A" if path[-1] != "A" else "B"), False),
        (SOCKET_PATH + "?ticket=", False),
        (SOCKET_PATH, False),
    ):
        client = Client(url, target, **origin)
        assert isinstance(client.answer, AcceptConnection if opened else RejectConnection), target
        client.close()
    stranger = Client(url, path, **STRANGER)
    assert isinstance(stranger.answer, RejectConnection)
    stranger.close()
    assert httpx.get(url + path.replace(SOCKET_PATH, PAGE_PATH)).status_code == 401


def test_the_login_comes_from_the_option_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GLINT_LOGIN", "GLINT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert login_of(None) is None
    assert login_of("anna:a:b") == ("anna", "a:b")
    monkeypatch.setenv("GLINT_TOKEN", TOKEN)
    assert login_of(None) == TOKEN
    assert login_of("anna:b") == ("anna", "b")
    monkeypatch.setenv("GLINT_LOGIN", "lab:secret")
    with pytest.raises(ConfigError, match="both set; unset one"):
        login_of(None)
    monkeypatch.delenv("GLINT_TOKEN")
    assert login_of(None) == ("lab", "secret")


@pytest.mark.parametrize("token", ["", "short", "x" * 15])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_token_that_can_be_guessed_is_refused(host: str, token: str) -> None:
    with pytest.raises(ConfigError, match="16 characters"):
        check_bind(host, token)
    check_bind(host, TOKEN)


# -- other sites ------------------------------------------------------------------------------


def test_other_sites_operate_nothing(build: Callable[..., FastAPI]) -> None:
    """Also not with the visitor's login, which the browser sends along."""
    app = build(AUTH)
    known = sorted((m, path) for m, path in routes(app) if m not in ("GET", "HEAD"))
    assert ("POST", "/gradio_api/queue/join") in known
    for headers in (STRANGER, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answers = ask(app, *known, **basic(*AUTH), **headers)
        for (method, path), response in zip(known, answers, strict=True):
            assert response.status_code == 403, (method, path, headers)


def test_other_sites_show_nothing(build: Callable[..., FastAPI]) -> None:
    """Another port of this machine counts as another site."""
    app = build()
    pages = [("GET", path) for path in (STREAM_PATH, PAGE_PATH, "/", "/config")]
    for site, purpose in product(("cross-site", "same-site"), ("image", "iframe", "empty")):
        answers = ask(app, *pages, **{"Sec-Fetch-Site": site, "Sec-Fetch-Dest": purpose})
        assert {answer.status_code for answer in answers} == {403}, (site, purpose)


def test_other_sites_hear_nothing(build: Callable[..., FastAPI]) -> None:
    app = build()

    async def listen() -> None:
        for path in ("/events", SOCKET_PATH):
            for origin in ("http://evil.example", "http://127.0.0.1:8000", "null"):
                assert await knock(app, path, Origin=origin) == 403
            assert await knock(app, path, Host="evil.example") == 403
            assert await knock(app, path, Origin="http://127.0.0.1") == 101

    asyncio.run(listen())


def test_every_answer_tells_browsers_to_be_careful(build: Callable[..., FastAPI]) -> None:
    for response in ask(build(), ("GET", "/"), ("GET", PAGE_PATH), ("GET", "/nowhere")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "SAMEORIGIN"
        assert response.headers["referrer-policy"] == "same-origin"


# -- files ------------------------------------------------------------------------------------


def test_no_path_reaches_a_file(
    build: Callable[..., FastAPI], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "lab" / "session.json"
    secret.parent.mkdir()
    secret.write_text("the subject's secret")
    monkeypatch.chdir(secret.parent)  # Gradio serves files below the working directory if asked
    app = build()
    up = "../" * 12 + str(secret)[1:]
    names = [
        str(secret),
        "session.json",
        quote(up, safe=""),
        quote(quote(str(secret), safe=""), safe=""),
        up.replace("../", "..%5c"),
        f"http://127.0.0.1:9/{secret.name}",
    ]
    places = {path[: path.rindex("/") + 1] for _, path in routes(app)}
    places.remove("/gradio_api/heartbeat/")  # answers for ever, and with nothing
    places |= {f"{prefix}/{word}=" for prefix in ("", "/gradio_api") for word in ("file", "proxy")}
    places |= {"/gradio_api/file/", "/file/", "/gradio_api/stream/", "/gradio_api/deep_link?path="}
    requests = [("GET", place + name) for place in sorted(places) for name in names]
    for (_, path), response in zip(requests, ask(app, *requests), strict=True):
        assert b"secret" not in response.content.replace(str(secret).encode(), b""), path
        assert response.status_code in (200, 307, 400, 401, 403, 404, 405, 422), path


def test_what_gradio_offers_beyond_the_page_is_closed(build: Callable[..., FastAPI]) -> None:
    app = build()
    used = {"app_id", "heartbeat", "info", "queue", "run", "startup-events"}
    theirs = [(m, path) for m, path in routes(app) if path.startswith("/gradio_api/")]
    closed = sorted(route for route in theirs if route[1].split("/")[2] not in used)
    for word in ("upload", "file/x", "component_server", "stream/x", "vibe-edit", "dev/reload"):
        assert any(path == f"/gradio_api/{word}" for _, path in closed), word
    for (method, path), answer in zip(closed, ask(app, *closed), strict=True):
        assert answer.status_code == 404, (method, path)
        assert method == "HEAD" or answer.text == "There is nothing here.", path


def test_nothing_large_can_be_sent(build: Callable[..., FastAPI]) -> None:
    app = build()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"

    async def send() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for path in ("/", "/edits", "/gradio_api/run/predict"):
                answer = await client.post(path, content=b"x" * (MAX_BODY + 1))
                assert answer.status_code == 413, path
                answer = await client.post(path, content=endless())
                assert answer.status_code == 411, path

    asyncio.run(send())
