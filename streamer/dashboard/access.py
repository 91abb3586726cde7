"""Who may see the dashboard: one guard in front of every route, the live picture's included."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import os
import secrets
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamer.errors import ConfigError

Credentials = tuple[str, str] | str
"""User and password, or a token."""

TICKET = "glint.ticket"
"""Key of the ASGI scope under which a page finds what opens its WebSockets (`?ticket=`)."""

MAX_BODY = 8 * 2**20
"""Longest body of a request, in bytes."""

# Of Gradio's own routes the page needs these. The others serve and take files, run components and
# change the program, and more of them come with each version.
_GRADIO = "/gradio_api/"
_GRADIO_USED = frozenset({"app_id", "heartbeat", "info", "queue", "run", "startup-events"})

_WRONG_LOGIN_DELAY_S = 0.5  # makes guessing slow
_SHORTEST_TOKEN = 16
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


def check_bind(host: str, auth: Credentials | None) -> None:
    """Refuse to show faces to the network without a login.

    Raises:
        ConfigError: `host` is reachable from other machines and there is no login, the login has
            an empty part, or the token can be guessed.
    """
    if isinstance(auth, str):
        if len(auth) < _SHORTEST_TOKEN:
            raise ConfigError(
                f"The dashboard's token can be guessed; give one of {_SHORTEST_TOKEN} characters "
                'or more, as `python -c "import secrets; print(secrets.token_hex())"` prints.'
            )
    elif auth is not None and not all(auth):
        raise ConfigError("The dashboard's login needs a user and a password; give both.")
    if auth is None and not is_loopback(host):
        raise ConfigError(
            f"The dashboard shows a person's face, so on {host or 'every address'} it needs a "
            "login; give --auth USER:PASSWORD, set GLINT_LOGIN or GLINT_TOKEN, or bind it to "
            "127.0.0.1."
        )


def login_of(auth: str | None) -> Credentials | None:
    """Return the login that `--auth` or the environment (GLINT_LOGIN, GLINT_TOKEN) states.

    Raises:
        ConfigError: It is not of the form USER:PASSWORD, or the environment states two.
    """
    login, token = os.environ.get("GLINT_LOGIN"), os.environ.get("GLINT_TOKEN")
    if auth is None and login is not None and token is not None:
        raise ConfigError("GLINT_LOGIN and GLINT_TOKEN are both set; unset one of them.")
    if auth is None and token is not None:
        return token
    login = login if auth is None else auth
    if login is None:
        return None
    user, colon, password = login.partition(":")
    if not colon:
        where = "GLINT_LOGIN" if auth is None else "--auth"
        raise ConfigError(f"{where} holds no login: give it as USER:PASSWORD.")
    return user, password


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AccessGuard:
    """ASGI middleware in front of the whole application.

    With a login, every request must carry it: HTTP Basic, where a token is the password of any
    user, or the token as bearer. Safari sends neither with a WebSocket, so a page that was
    answered passes its ticket on. Without a login only requests that name this machine pass,
    which keeps out pages of other sites that had their name point here. In both cases other
    sites may link to the dashboard but not embed, read or operate it.
    """

    def __init__(self, app: ASGIApp, auth: Credentials | None = None) -> None:
        self._app = app
        self._auth = auth
        self._ticket = secrets.token_urlsafe(32)
        self._guessing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal: PlainTextResponse | None = None
        if self._auth is not None and not self._logged_in(scope, headers):
            if "authorization" in headers:
                async with self._guessing:  # one guess at a time, however many ask
                    await asyncio.sleep(_WRONG_LOGIN_DELAY_S)
            refusal = PlainTextResponse(
                "Log in to see the dashboard.",
                status_code=401,
                headers={"WWW-Authenticate": 'Basic realm="Glint", charset="UTF-8"'},
            )
        elif self._auth is None and not is_loopback(_host_name(headers)):
            refusal = PlainTextResponse(
                "Open the dashboard by the address that Glint printed.", status_code=403
            )
        elif _from_another_site(headers) or _by_another_site(scope, headers):
            refusal = PlainTextResponse("Open the dashboard in a tab of its own.", status_code=403)
        elif _unused(scope["path"]):
            refusal = PlainTextResponse("There is nothing here.", status_code=404)
        elif "transfer-encoding" in headers:
            refusal = PlainTextResponse("State how long the request is.", status_code=411)
        elif _length(headers) > MAX_BODY:
            refusal = PlainTextResponse(f"Send at most {MAX_BODY} bytes.", status_code=413)
        if refusal is None:
            await self._app({**scope, TICKET: self._ticket}, receive, _hardened(send))
        else:
            await refusal(scope, receive, send)

    def _logged_in(self, scope: Scope, headers: Headers) -> bool:
        if scope["type"] == "websocket":
            (ticket,) = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [""])[:1]
            if secrets.compare_digest(ticket.encode(), self._ticket.encode()):
                return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return isinstance(self._auth, str) and _same(given.encode("latin-1"), self._auth)
        if scheme.lower() != "basic":
            return False
        try:
            login = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        if isinstance(self._auth, str):
            return _same(login.partition(b":")[2], self._auth)
        return self._auth is not None and _same(login, ":".join(self._auth))


def _same(given: bytes, secret: str) -> bool:
    return secrets.compare_digest(given, secret.encode())


def _unused(path: str) -> bool:
    """Return whether a path leads to a part of Gradio that the page does without."""
    return path.startswith(_GRADIO) and path.split("/")[2] not in _GRADIO_USED


def _length(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0  # the server refuses what is no number


def _hardened(send: Send) -> Send:
    """Tell browsers with every answer not to guess types, be framed or pass addresses on."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return answer


def _host_name(headers: Headers) -> str:
    """Return the name or address of the Host header, without its port."""
    host = headers.get("host", "")
    name = host[1 : host.find("]")] if host.startswith("[") else host.rsplit(":", 1)[0]
    return name.lower()


def _by_another_site(scope: Scope, headers: Headers) -> bool:
    """Return whether a page of another site operates the dashboard or listens to it.

    A browser lets any page open a WebSocket to any address and says only who asked.
    """
    origin = headers.get("origin")
    if origin is None or (scope["type"] == "http" and scope["method"] in ("GET", "HEAD")):
        return False
    return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _from_another_site(headers: Headers) -> bool:
    """Return whether a browser says that another site asks for something else than a page.

    To a browser, another port of this machine is the same site, but not the same origin.
    """
    return (
        headers.get("sec-fetch-site") in ("cross-site", "same-site")
        and headers.get("sec-fetch-dest") != "document"
    )
