"""The page `/camera`, on which a visitor's browser becomes the camera, and its WebSocket."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from importlib.resources import files
from typing import Any, Literal

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import HTMLResponse
from jinja2 import Environment, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from streamer.dashboard.access import TICKET
from streamer.sources.browser import BrowserCamera, MalformedPictureError, Wish

PAGE_PATH = "/camera"
SOCKET_PATH = "/camera/pictures"

TAKEN = 4001
"""Close code: another browser is the camera."""

REPLACED = 4002
"""Close code: this browser was silent, and another one has become the camera."""

_REFUSED = 1008  # "policy violation"
_LONGEST_HELLO = 500


class Hello(BaseModel):
    """What the page says of its camera before its first picture.

    Attributes:
        width: Width that the camera delivers, in pixels.
        height: Height that it delivers, in pixels.
        fps: Rate that it states; None when it states none.
        clock: Which of the browser's times the pictures bear.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(ge=1, le=16_384)
    height: int = Field(ge=1, le=16_384)
    fps: float | None = Field(ge=0, le=1000, allow_inf_nan=False)
    clock: Literal["captureTime", "mediaTime"]

    def note(self, wish: Wish) -> str:
        """Say it in a sentence, with what differs from the wish."""
        rate = "an unknown rate" if self.fps is None else f"{self.fps:.4g} frames a second"
        asked = "" if self.fps is not None and self.fps > 0.95 * wish.fps else f", not {wish.fps:g}"
        size = f"{self.width} by {self.height} pixels"
        if (self.width, self.height) != (wish.width, wish.height):
            size += f" (cut and scaled to {wish.width} by {wish.height})"
        return (
            f"The browser's camera states {size} at {rate}{asked}; pictures come as JPEG, with "
            f"the browser's {self.clock}."
        )


def add_camera_page(app: FastAPI, camera: BrowserCamera) -> None:
    """Add the page and its WebSocket to an application whose guard stands in front of both."""
    source = (files("streamer.dashboard") / "assets" / "camera.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)

    @app.get(PAGE_PATH)
    async def page(request: Request) -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        wish = camera.wish
        recorded = wish is not None and wish.recorded
        text = template.render(
            nonce=nonce,
            socket_path=f"{SOCKET_PATH}?ticket={request.scope.get(TICKET, '')}",
            recorded=recorded,
            taken=TAKEN,
            replaced=REPLACED,
        )
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "connect-src 'self'; img-src data:; media-src 'self' mediastream:; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return HTMLResponse(
            text, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        )

    @app.websocket(SOCKET_PATH)
    async def pictures(socket: WebSocket) -> None:
        await socket.accept()
        await _Visitor(camera, socket).serve()


class _Visitor:
    """One connected browser. Lives on the server's event loop."""

    def __init__(self, camera: BrowserCamera, socket: WebSocket) -> None:
        self._camera = camera
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._wish: Wish | None = None
        self._changed = asyncio.Event()

    async def serve(self) -> None:
        """Take pictures until the browser leaves or has to."""
        guest = self._camera.join(self._tell)
        if guest is None:
            await self._end(TAKEN)
            return
        telling = asyncio.create_task(self._pass_wishes_on())
        try:
            code = await self._listen(guest)
        finally:
            self._camera.leave(guest)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        if code is not None:
            await self._end(code)

    async def _listen(self, guest: int) -> int | None:
        """Take what the browser says; return the code to close with, None when it has left."""
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return None
                picture: bytes | None = message.get("bytes")
                if picture is None:
                    self._take_hello(guest, message.get("text") or "")
                elif not self._camera.put(guest, picture):
                    return REPLACED
        except (MalformedPictureError, ValidationError):
            return _REFUSED
        except (WebSocketDisconnect, RuntimeError):
            return None

    def _take_hello(self, guest: int, text: str) -> None:
        if len(text) > _LONGEST_HELLO:
            raise MalformedPictureError("wrong length")
        hello = Hello.model_validate_json(text)
        wish = self._camera.wish
        if wish is not None:
            self._camera.note(guest, hello.note(wish))

    def _tell(self, wish: Wish | None) -> None:
        def keep() -> None:
            self._wish = wish
            self._changed.set()

        with suppress(RuntimeError):  # the loop has ended, and the connection with it
            self._loop.call_soon_threadsafe(keep)

    async def _pass_wishes_on(self) -> None:
        """Send the newest wish whenever it changes; a JSON object, `null` for nothing."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wish = self._wish
            await self._socket.send_json(None if wish is None else _document(wish))

    async def _end(self, code: int) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # it may have left by itself meanwhile
            await self._socket.close(code)


def _document(wish: Wish) -> dict[str, Any]:
    return {
        "width": wish.width,
        "height": wish.height,
        "fps": wish.fps,
        "recorded": wish.recorded,
    }
