"""The dashboard as a web application, and the server that shows it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, WebSocket

from streamer.dashboard.access import AccessGuard, Credentials, check_bind
from streamer.dashboard.control import SessionControl
from streamer.dashboard.desk import SessionDesk
from streamer.dashboard.event_socket import EventSocket
from streamer.dashboard.picture_streams import PictureStreams
from streamer.dashboard.routes import STREAM_PATH, add_routes
from streamer.dashboard.server import WebServer
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.webcam import add_camera_page
from streamer.sources.browser import BrowserCamera

if TYPE_CHECKING:
    from streamer.review.desk import ReviewDesk

EVENTS_PATH = "/events"


def create_app(
    control: SessionControl,
    sink: DashboardSink,
    auth: Credentials | None = None,
    *,
    events: EventSocket | None = None,
    browser: BrowserCamera | None = None,
    desk: SessionDesk[Any] | None = None,
    review: ReviewDesk | None = None,
) -> FastAPI:
    """Build the application: the page at `/`, the picture at `/stream.mjpg`, events at `/events`.

    The application reads snapshots only; whoever watches, or stops watching, changes nothing in
    the session. `app.state.broadcaster` must be closed when the application is done with.

    Args:
        control: Starts, stops and describes the session.
        sink: The sink that is told of every frame and event of that session.
        auth: User and password that every route asks for; None serves this machine only.
        events: The sink whose events are sent over the WebSocket; None offers none.
        browser: Where a visitor's browser delivers its pictures; None offers no page for it.
        desk: Takes the operator's choices for the next session; None offers none.
        review: Shows finished sessions at `/review`; None offers none.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    import gradio as gr  # noqa: PLC0415 - seconds to import, and only now kept offline

    from streamer.dashboard.page import build_page, page_options  # noqa: PLC0415

    app = FastAPI(title="Glint", docs_url=None, redoc_url=None, openapi_url=None)
    streams = app.state.broadcaster = PictureStreams(control, sink)
    sink.apexes.take_from(control.frame_image, control.face_image)
    add_routes(app, control, sink, streams)

    if events is not None:

        @app.websocket(EVENTS_PATH)
        async def listen(socket: WebSocket) -> None:
            await events.serve(socket)

    if browser is not None:
        add_camera_page(app, browser)

    if review is not None:
        from streamer.review.app import create_review_app  # noqa: PLC0415 - only where it is shown

        app.mount("/review", create_review_app(review))

    def mount_page() -> None:
        page = build_page(control, desk, STREAM_PATH)
        gr.mount_gradio_app(app, page, path="/", **page_options())

    _within_event_loop(mount_page)
    app.add_middleware(AccessGuard, auth=auth)
    return app


def _within_event_loop(work: Callable[[], None]) -> None:
    """Do something while an event loop runs: without one, Gradio makes many and closes none."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:

        async def within() -> None:
            work()

        asyncio.run(within())
    else:
        work()


class DashboardServer:
    """Serves the dashboard from a thread of its own.

    Args:
        control: Starts, stops and describes the session.
        sink: The sink that is told of every frame and event of that session.
        host: Address to bind; any but this machine's own needs `auth`.
        port: Port; 0 takes a free one.
        auth: User and password.
        events: The sink whose events are sent over the WebSocket; None offers none.
        browser: Where a visitor's browser delivers its pictures; None offers no page for it.
        desk: Takes the operator's choices for the next session; None offers none.
        review: Shows finished sessions at `/review`; the caller closes it. None offers none.
    """

    def __init__(
        self,
        control: SessionControl,
        sink: DashboardSink,
        *,
        host: str = "127.0.0.1",
        port: int = 7860,
        auth: Credentials | None = None,
        events: EventSocket | None = None,
        browser: BrowserCamera | None = None,
        desk: SessionDesk[Any] | None = None,
        review: ReviewDesk | None = None,
    ) -> None:
        check_bind(host, auth)
        self._control, self._sink = control, sink
        self._auth = auth
        self._events, self._browser, self._desk = events, browser, desk
        self._review = review
        self._app: FastAPI | None = None
        self._server = WebServer(self._build, host, port, "dashboard")

    def start(self) -> str:
        """Start serving.

        Returns:
            The address to open, once it answers.

        Raises:
            ConfigError: The address cannot be bound, mostly because the port is taken.
        """
        return self._server.start()

    def stop(self) -> None:
        """End every connection and the server, within a second. Idempotent."""
        if self._app is not None:
            self._app.state.broadcaster.close()
        if self._events is not None:
            self._events.hang_up()
        self._server.stop()

    def close(self) -> None:
        """Do as `stop`."""
        self.stop()

    def _build(self) -> FastAPI:
        self._app = create_app(
            self._control,
            self._sink,
            self._auth,
            events=self._events,
            browser=self._browser,
            desk=self._desk,
            review=self._review,
        )
        return self._app
