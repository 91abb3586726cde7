"""The dashboard as a web application, and the server that shows it."""

from __future__ import annotations

import os

from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from streamer.dashboard.access import AccessGuard, Credentials, check_bind
from streamer.dashboard.control import SessionControl
from streamer.dashboard.event_socket import EventSocket
from streamer.dashboard.live_picture import LivePicture
from streamer.dashboard.mjpeg import MEDIA_TYPE, MjpegBroadcaster
from streamer.dashboard.server import WebServer
from streamer.dashboard.sink import DashboardSink
from streamer.dashboard.webcam import add_camera_page
from streamer.sources.browser import BrowserCamera

STREAM_PATH = "/stream.mjpg"
EVENTS_PATH = "/events"


def create_app(
    control: SessionControl,
    sink: DashboardSink,
    auth: Credentials | None = None,
    refresh_s: float = 0.5,
    events: EventSocket | None = None,
    browser: BrowserCamera | None = None,
) -> FastAPI:
    """Build the application: the page at `/`, the picture at `/stream.mjpg`, events at `/events`.

    The application reads snapshots only; whoever watches, or stops watching, changes nothing in
    the session. `app.state.broadcaster` must be closed when the application is done with.

    Args:
        control: Starts, stops and describes the session.
        sink: The sink that is told of every frame and event of that session.
        auth: User and password that every route asks for; None serves this machine only.
        refresh_s: Interval of the page's figures, in seconds.
        events: The sink whose events are sent over the WebSocket; None offers none.
        browser: Where a visitor's browser delivers its pictures; None offers no page for it.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    import gradio as gr  # noqa: PLC0415 - seconds to import, and only now kept offline

    from streamer.dashboard.page import build_page, page_options  # noqa: PLC0415

    app = FastAPI(title="Glint", docs_url=None, redoc_url=None, openapi_url=None)
    broadcaster = MjpegBroadcaster(lambda: LivePicture(control, sink))
    app.state.broadcaster = broadcaster

    @app.get(STREAM_PATH)
    async def stream() -> StreamingResponse:
        return StreamingResponse(
            broadcaster.stream(), media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"}
        )

    if events is not None:

        @app.websocket(EVENTS_PATH)
        async def listen(socket: WebSocket) -> None:
            await events.serve(socket)

    if browser is not None:
        add_camera_page(app, browser)

    page = build_page(control, sink, STREAM_PATH, refresh_s)
    gr.mount_gradio_app(app, page, path="/", **page_options())
    app.add_middleware(AccessGuard, auth=auth)
    return app


class DashboardServer:
    """Serves the dashboard from a thread of its own.

    Args:
        control: Starts, stops and describes the session.
        sink: The sink that is told of every frame and event of that session.
        host: Address to bind; any but this machine's own needs `auth`.
        port: Port; 0 takes a free one.
        auth: User and password.
        refresh_s: Interval of the page's figures, in seconds.
        events: The sink whose events are sent over the WebSocket; None offers none.
        browser: Where a visitor's browser delivers its pictures; None offers no page for it.
    """

    def __init__(
        self,
        control: SessionControl,
        sink: DashboardSink,
        *,
        host: str = "127.0.0.1",
        port: int = 7860,
        auth: Credentials | None = None,
        refresh_s: float = 0.5,
        events: EventSocket | None = None,
        browser: BrowserCamera | None = None,
    ) -> None:
        check_bind(host, auth)
        self._control, self._sink = control, sink
        self._auth = auth
        self._refresh_s = refresh_s
        self._events = events
        self._browser = browser
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
            self._control, self._sink, self._auth, self._refresh_s, self._events, self._browser
        )
        return self._app
