"""A WebSocket client as small as it gets."""

from __future__ import annotations

import json
import socket

from wsproto import ConnectionType, WSConnection
from wsproto.events import BytesMessage, Request, TextMessage


class Client:
    """Connects to a path of a server; `answer` is what came back."""

    def __init__(self, url: str, path: str, **headers: str) -> None:
        host = url.removeprefix("http://")
        self._socket = socket.create_connection(tuple(host.split(":")), timeout=10)
        self._connection = WSConnection(ConnectionType.CLIENT)
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        request = Request(host=host, target=path, extra_headers=fields)
        self._socket.sendall(self._connection.send(request))
        self.answer = self.next()

    def next(self) -> object:
        """The next thing that the server says, text as JSON; None when it has hung up."""
        text = ""
        while True:
            for event in self._connection.events():
                if not isinstance(event, TextMessage):
                    return event
                text += event.data
                if event.message_finished:
                    return json.loads(text)
            data = self._socket.recv(65536)
            if not data:
                return None
            self._connection.receive_data(data)

    def send(self, message: bytes | str) -> None:
        kind = TextMessage if isinstance(message, str) else BytesMessage
        self._socket.sendall(self._connection.send(kind(data=message)))  # type: ignore[arg-type]

    def close(self) -> None:
        self._socket.close()
