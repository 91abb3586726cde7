"""The dashboard as a web application, and the server that shows it."""

from __future__ import annotations

import os
import socket
import threading

import uvicorn
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from streamer.dashboard.access import AccessGuard, Credentials, check_bind
from streamer.dashboard.control import SessionControl
from streamer.dashboard.event_socket import EventSocket
from streamer.dashboard.live_picture import LivePicture
from streamer.dashboard.mjpeg import MEDIA_TYPE, MjpegBroadcaster
from streamer.dashboard.sink import DashboardSink
from streamer.errors import ConfigError

STREAM_PATH = "/stream.mjpg"
EVENTS_PATH = "/events"

_STARTUP_S = 30.0


def create_app(
    control: SessionControl,
    sink: DashboardSink,
    auth: Credentials | None = None,
    refresh_s: float = 0.5,
    events: EventSocket | None = None,
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
    ) -> None:
        check_bind(host, auth)
        self._control, self._sink = control, sink
        self._host, self._port = host, port
        self._auth = auth
        self._refresh_s = refresh_s
        self._events = events
        self._app: FastAPI | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Start serving.

        Returns:
            The address to open, once it answers.

        Raises:
            ConfigError: The address cannot be bound, mostly because the port is taken.
        """
        listener = _bind(self._host, self._port)
        try:
            self._app = create_app(
                self._control, self._sink, self._auth, self._refresh_s, self._events
            )
            config = uvicorn.Config(
                self._app, log_level="warning", access_log=False, timeout_graceful_shutdown=1
            )
        except BaseException:
            listener.close()
            raise
        server = self._server = _Server(config)
        self._thread = threading.Thread(
            target=server.run, args=([listener],), name="glint-dashboard", daemon=True
        )
        self._thread.start()
        server.settled.wait(_STARTUP_S)
        if not server.started:
            self.stop()
            raise ConfigError("The dashboard did not start; look into the log for the reason.")
        return _url(listener)

    def stop(self) -> None:
        """End every connection and the server, within a second. Idempotent."""
        if self._app is not None:
            self._app.state.broadcaster.close()
        if self._events is not None:
            self._events.hang_up()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=2.0)
            self._thread = None

    def close(self) -> None:
        """Do as `stop`."""
        self.stop()


class _Server(uvicorn.Server):
    """A server that tells when it listens, and whose end waits for no viewer."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Live pictures and the page's heartbeat never end by themselves, and a viewer that has
        # stopped reading would hold up an orderly close.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"The dashboard cannot listen on {host} port {port} ({reason}); "
            "choose another --port, or 0 for a free one."
        ) from None
    except OverflowError:
        raise ConfigError(f"{port} is not a port; choose one from 0 to 65535.") from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"
