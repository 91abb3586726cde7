"""A web application served from a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from streamer.errors import ConfigError

_STARTUP_S = 30.0


class WebServer:
    """Serves an application.

    Args:
        build: Builds the application, once the address is bound: a taken port is said before
            anything is loaded.
        host: Address to bind.
        port: Port; 0 takes a free one.
        name: What is served, for messages: `dashboard`.
    """

    def __init__(self, build: Callable[[], ASGIApp], host: str, port: int, name: str) -> None:
        self._build = build
        self._host, self._port, self._name = host, port, name
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Start serving.

        Returns:
            The address to open, once it answers.

        Raises:
            ConfigError: The address cannot be bound, mostly because the port is taken.
        """
        listener = self._bind()
        try:
            config = uvicorn.Config(
                self._build(), log_level="warning", access_log=False, timeout_graceful_shutdown=1
            )
        except BaseException:
            listener.close()
            raise
        server = self._server = _Server(config)
        self._thread = threading.Thread(
            target=server.run, args=([listener],), name=f"glint-{self._name}", daemon=True
        )
        self._thread.start()
        server.settled.wait(_STARTUP_S)
        if not server.started:
            self.stop()
            raise ConfigError(f"The {self._name} did not start; look into the log for the reason.")
        return _url(listener)

    def stop(self) -> None:
        """End every connection and the server, within a second. Idempotent."""
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout=2.0)
            self._thread = None

    def _bind(self) -> socket.socket:
        host, port = self._host, self._port
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigError(
                f"The {self._name} cannot listen on {host} port {port} ({reason}); "
                "choose another --port, or 0 for a free one."
            ) from None
        except OverflowError:
            raise ConfigError(f"{port} is not a port; choose one from 0 to 65535.") from None


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


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"
