"""The review of finished sessions as a web application.

A page asks by keys of sessions that a scan has found and by numbers; nothing that it sends becomes
a path.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.background import BackgroundTask

from engines.errors import UserError
from streamer.dashboard.access import AccessGuard, Credentials, check_bind
from streamer.dashboard.server import WebServer
from streamer.errors import SessionError
from streamer.review.desk import Asked, ReportOrder, ReviewDesk, Said
from streamer.review.export import FORMATS, export
from streamer.review.library import Library
from streamer.review.report import REPORT_FILE
from streamer.review.rerun import Engines
from streamer.review.view import comparison_view, frames_bytes

_MAX_WIDTH = 1920

# Nothing but the page's own files; a report, which may have come from elsewhere, runs no script.
_PAGE_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_ASSETS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("review.js", "lens.js", "list.js", "tools.js"), ("streamer.review", "text/javascript")
        ),
        "review.css": ("streamer.review", "text/css"),
        "timeline.js": ("streamer.dashboard", "text/javascript"),
    }
)

_Model = TypeVar("_Model", bound=BaseModel)


def create_review_app(desk: ReviewDesk) -> FastAPI:
    """Build the application, without a guard; every address in its page is relative.

    Args:
        desk: What its routes work on; the caller closes it.
    """
    app = FastAPI(title="Glint review", docs_url=None, redoc_url=None, openapi_url=None)
    _add_pages(app)
    _add_readings(app, desk)
    _add_actions(app, desk)

    @app.exception_handler(UserError)
    async def tell(request: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=400)

    return app


def _add_pages(app: FastAPI) -> None:
    @app.get("/")
    def page() -> Response:
        text = (files("streamer.review") / "assets" / "review.html").read_text(encoding="utf-8")
        headers = {"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-cache"}
        return Response(text, media_type="text/html", headers=headers)

    @app.get("/assets/{name}")
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            return JSONResponse({"error": "There is no such file."}, status_code=404)
        package, media_type = _ASSETS[name]
        text = (files(package) / "assets" / name).read_text(encoding="utf-8")
        return Response(text, media_type=media_type, headers={"Cache-Control": "no-cache"})


def _add_readings(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/sessions")
    def sessions() -> Any:
        return {"sessions": desk.rows()}

    @app.get("/api/sessions/{key}")
    def session(key: str) -> Any:
        return desk.view(key)

    @app.get("/api/sessions/{key}/frames")
    def frames(key: str) -> Response:
        data = frames_bytes(desk.frames(desk.session(key)))
        return Response(data, media_type="application/octet-stream")

    @app.get("/api/sessions/{key}/pictures/{frame}")
    def picture(
        key: str, frame: int, width: Annotated[int, Query(ge=64, le=_MAX_WIDTH)] = 960
    ) -> Response:
        jpeg = desk.picture(key, frame, width)
        # A recording does not change; a viewer who goes back and forth asks once.
        headers = {"Cache-Control": "private, max-age=600"}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    @app.get("/api/sessions/{key}/report")
    def read_report(key: str) -> Response:
        path = desk.library.find(key).path / REPORT_FILE
        if not path.is_file():
            raise SessionError("This session has no report yet: write one.")
        headers = {"Content-Security-Policy": _REPORT_POLICY, "Cache-Control": "no-store"}
        return FileResponse(path, media_type="text/html", headers=headers)

    @app.get("/api/export")
    def exported(to: str, key: Annotated[list[str], Query(max_length=1000)]) -> Response:
        return _export(desk, to, key)

    @app.get("/api/job")
    def job() -> Any:
        return desk.job()


def _add_actions(app: FastAPI, desk: ReviewDesk) -> None:
    @app.post("/api/sessions/{key}/annotations")
    async def annotate(key: str, request: Request) -> Any:
        said = await _read(request, Said)
        return await run_in_threadpool(desk.annotate, key, said)

    @app.post("/api/sessions/{key}/comparison")
    async def compare(key: str, request: Request) -> Any:
        asked = await _read(request, Asked)
        return comparison_view(await run_in_threadpool(desk.compare, key, asked))

    @app.post("/api/sessions/{key}/report")
    async def write_report(key: str, request: Request) -> Any:
        wanted = await _read(request, ReportOrder)
        await run_in_threadpool(desk.write_report, key, wanted.faces)
        return {}

    @app.post("/api/sessions/{key}/rerun")
    async def rerun(key: str, request: Request) -> Any:
        engines = await _read(request, Engines)
        return await run_in_threadpool(desk.rerun, key, engines)

    @app.delete("/api/job")
    def stop() -> Any:
        desk.reruns.stop()
        return desk.job()


class ReviewServer:
    """Serves the review from a thread of its own.

    Args:
        library: The sessions.
        host: Address to bind; any but this machine's own needs `auth`.
        port: Port; 0 takes a free one.
        auth: User and password.

    Raises:
        ConfigError: Other machines would see faces without a login.
    """

    def __init__(
        self,
        library: Library,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        auth: Credentials | None = None,
    ) -> None:
        check_bind(host, auth)
        self._desk = ReviewDesk(library)
        self._server = WebServer(
            lambda: AccessGuard(create_review_app(self._desk), auth), host, port, "review"
        )

    def start(self) -> str:
        """Start serving; returns the address to open.

        Raises:
            ConfigError: The address cannot be bound.
        """
        return self._server.start()

    def stop(self) -> None:
        """End the server, and a re-run in order. Idempotent."""
        self._server.stop()
        self._desk.close()


async def _read(request: Request, model: type[_Model]) -> _Model:
    """The message of a request; the guard has bounded its length.

    Raises:
        SessionError: It is none.
    """
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the message"
        raise SessionError(f"{where} is not usable: {first['msg'].lower()}; correct it.") from error


def _export(desk: ReviewDesk, to: str, keys: Sequence[str]) -> Response:
    """Files of one form, several as an archive; the session folders stay as they are."""
    if to not in FORMATS:
        raise SessionError(f"There is no export to {to!r}: choose one of {', '.join(FORMATS)}.")
    sessions = [desk.session(key) for key in dict.fromkeys(keys)]
    folder = Path(tempfile.mkdtemp(prefix="glint-"))
    try:
        paths = export(sessions, to, folder)
        if len(paths) > 1:
            archive = folder / f"glint-{to}.zip"
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
                for path in paths:
                    file.write(path, path.name)
            paths = [archive]
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        paths[0],
        filename=paths[0].name,
        media_type="application/octet-stream",
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )
