"""What the page's script asks of the server. The access guard stands before all of it.

Requests carry numbers and short texts, never a path or an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated, Literal, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.background import BackgroundTask

from engines.events import EventState
from streamer.dashboard.control import SessionControl
from streamer.dashboard.mjpeg import MEDIA_TYPE
from streamer.dashboard.overlay import Layers
from streamer.dashboard.picture_streams import PictureStreams
from streamer.dashboard.session_zip import pack_session
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.views import Cursor, LiveView
from streamer.errors import UserError
from streamer.review.annotations import Edit, Words
from streamer.sinks.base import FrameRecord

STREAM_PATH = "/stream.mjpg"
LIVE_PATH = "/live"
EDIT_PATH = "/edits"
MARK_PATH = "/markers"
NEUTRAL_PATH = "/neutral"
SCREEN_PATH = "/screen"
APEX_PATH = "/apexes/{event}.jpg"
EXPLAINED_PATH = "/apexes/{event}/explained.jpg"
EXPORT_PATH = "/export.zip"

NEUTRAL_MARKER = "neutral face"
"""Text of the marker that tells where the neutral face was taken anew."""

MAX_BODY = 8192
"""Bytes of a request; a note has 2000 characters at most."""

_NO_STORE = {"Cache-Control": "no-store"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EditBody(_Body):
    """What somebody says of a detection; the session is named lest an old page edits a new one."""

    session: int
    event: int = Field(ge=1)
    action: Literal["confirm", "reject", "relabel", "note", "undo"]
    emotion: Words | None = None
    note: Words | None = None
    who: Words


class MarkBody(_Body):
    """A marker at this moment."""

    text: Words
    who: Words


class NeutralBody(_Body):
    """The subject rests now."""

    who: Words


class ScreenBody(_Body):
    """What is to be seen on every screen; None leaves it."""

    hidden: bool | None = None
    thumbnails: bool | None = None


BodyT = TypeVar("BodyT", bound=BaseModel)


class _RefusedError(Exception):
    """A request is answered with one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def add_routes(
    app: FastAPI, control: SessionControl, sink: DashboardSink, streams: PictureStreams
) -> None:
    """Add the routes of the live page to an application."""
    view = LiveView(control, sink)

    @app.exception_handler(_RefusedError)
    async def refuse(_: Request, refused: _RefusedError) -> JSONResponse:
        return JSONResponse({"error": str(refused)}, status_code=refused.status)

    @app.get(STREAM_PATH)
    async def stream(overlay: str | None = None) -> StreamingResponse:
        body = streams.stream(Layers.parse(overlay))
        return StreamingResponse(body, media_type=MEDIA_TYPE, headers=_NO_STORE)

    @app.get(LIVE_PATH)
    async def live(seen: Annotated[_Seen, Query()]) -> JSONResponse:
        if view.panel_is_due:
            await asyncio.to_thread(view.renew_panel)
        return JSONResponse(view.since(Cursor(**seen.model_dump())), headers=_NO_STORE)

    @app.post(EDIT_PATH)
    async def edit(request: Request) -> Response:
        said = await _body(request, EditBody)
        if said.session != sink.changes(said.session).session:
            raise _RefusedError(409, "Another session has begun; this detection is in its folder.")
        known = {event.id: event for event in sink.snapshot().events}
        if said.event not in known:
            raise _RefusedError(404, f"There is no detection {said.event} here.")
        if known[said.event].state is not EventState.CLOSED:
            raise _RefusedError(409, f"Detection {said.event} is not over yet.")
        await _try(lambda: _enter(sink, said))
        return Response(status_code=204)

    @app.post(MARK_PATH)
    async def mark(request: Request) -> Response:
        said = await _body(request, MarkBody)
        last = _last(control, sink)
        await _try(lambda: sink.journal.mark(last.time_s, last.index, said.text, said.who))
        return Response(status_code=204)

    @app.post(NEUTRAL_PATH)
    async def neutral(request: Request) -> Response:
        said = await _body(request, NeutralBody)
        last = _last(control, sink)
        if not last.success:
            raise _RefusedError(409, "No face is followed now: press again when there is one.")
        control.take_neutral()
        await _try(lambda: sink.journal.mark(last.time_s, last.index, NEUTRAL_MARKER, said.who))
        return Response(status_code=204)

    @app.post(SCREEN_PATH)
    async def screen(request: Request) -> Response:
        said = await _body(request, ScreenBody)
        if said.hidden is not None:
            sink.hidden = said.hidden
        if said.thumbnails is not None:
            sink.apexes.wanted = said.thumbnails
        view.changed()
        return Response(status_code=204)

    def picture(jpeg: bytes | None) -> Response:
        if sink.hidden or jpeg is None:
            raise _RefusedError(404, "There is no picture of this detection.")
        return Response(jpeg, media_type="image/jpeg", headers=_NO_STORE)

    @app.get(APEX_PATH)
    async def apex(event: int) -> Response:
        return picture(sink.apexes.jpeg(event))

    @app.get(EXPLAINED_PATH)
    async def explained(event: int) -> Response:
        return picture(sink.apexes.explained_jpeg(event))

    @app.get(EXPORT_PATH)
    async def export() -> FileResponse:
        session = sink.snapshot().session
        if session is None or session.folder is None:
            raise _RefusedError(404, "Nothing is stored, so there is nothing to export.")
        folder = session.folder
        file = await _try(lambda: pack_session(folder))
        return FileResponse(
            file,
            media_type="application/zip",
            filename=f"{folder.name}.zip",
            headers=_NO_STORE,
            background=BackgroundTask(file.unlink, missing_ok=True),
        )


class _Seen(_Body):
    """A `Cursor` out of a request."""

    session: int = 0
    point: int = 0
    revision: int = 0
    entry: int = 0
    panel: int = 0


def _last(control: SessionControl, sink: DashboardSink) -> FrameRecord:
    """The newest analysed frame of the session that is running."""
    last = sink.snapshot().last
    if not control.running or last is None:
        raise _RefusedError(409, "No session is running, so there is nothing to mark.")
    return last


def _enter(sink: DashboardSink, said: EditBody) -> None:
    if said.action == "undo":
        if not sink.journal.undo(said.event, said.who):
            raise _RefusedError(409, "Nothing was said of this detection that could be undone.")
        return
    try:
        edit = Edit(
            event=said.event,
            action=said.action,
            emotion=said.emotion,
            note=said.note,
            who=said.who,
            when_utc=datetime.now(timezone.utc),
        )
    except ValidationError as error:
        raise _RefusedError(422, _first(error)) from None
    sink.journal.edit(edit)


ResultT = TypeVar("ResultT")


async def _try(work: Callable[[], ResultT]) -> ResultT:
    """Do what may wait for a disk, away from the event loop."""
    try:
        return await asyncio.to_thread(work)
    except UserError as error:
        raise _RefusedError(507, str(error)) from error


async def _body(request: Request, model: type[BodyT]) -> BodyT:
    """Read a small JSON body."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise _RefusedError(415, "Send JSON.")
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY:
            raise _RefusedError(413, f"Send at most {MAX_BODY} bytes.")
    try:
        return model.model_validate_json(bytes(received))
    except ValidationError as error:
        raise _RefusedError(422, _first(error)) from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'The request'}: {first['msg']}"
