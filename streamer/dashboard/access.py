"""Who may see the dashboard: one guard in front of every route, the live picture's included."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import os
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from streamer.errors import ConfigError

Credentials = tuple[str, str]
"""User and password."""

_WRONG_LOGIN_DELAY_S = 0.5  # makes guessing slow


def check_bind(host: str, auth: Credentials | None) -> None:
    """Refuse to show faces to the network without a login.

    Raises:
        ConfigError: `host` is reachable from other machines and there is no login, or the login
            has an empty part.
    """
    if auth is not None and not all(auth):
        raise ConfigError("The dashboard's login needs a user and a password; give both.")
    if auth is None and not is_loopback(host):
        raise ConfigError(
            f"The dashboard shows a person's face, so on {host or 'every address'} it needs a "
            "login; give --auth USER:PASSWORD or set GLINT_LOGIN, or bind it to 127.0.0.1."
        )


def login_of(auth: str | None) -> Credentials | None:
    """Return the login that `--auth` or the environment variable GLINT_LOGIN states.

    Raises:
        ConfigError: It is not of the form USER:PASSWORD.
    """
    login = os.environ.get("GLINT_LOGIN") if auth is None else auth
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

    With a login, every request must carry it (HTTP Basic). Without one only requests that name
    this machine pass, which keeps out pages of other sites that had their name point here. In
    both cases other sites may link to the dashboard but not embed, read or operate it.
    """

    def __init__(self, app: ASGIApp, auth: Credentials | None = None) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal: PlainTextResponse | None = None
        if self._auth is not None and not self._logged_in(headers):
            if "authorization" in headers:
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
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _logged_in(self, headers: Headers) -> bool:
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        if self._auth is None or scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return secrets.compare_digest(given, ":".join(self._auth).encode())


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
    """Return whether a browser says that another site asks for something else than a page."""
    return (
        headers.get("sec-fetch-site") == "cross-site"
        and headers.get("sec-fetch-dest") != "document"
    )
