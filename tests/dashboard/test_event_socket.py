"""Events over the dashboard's WebSocket, through the real server."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection

from engines.events import EventState
from streamer.dashboard.app import EVENTS_PATH, DashboardServer
from streamer.dashboard.event_socket import EventSocket
from streamer.sinks.base import Sink
from tests.dashboard.socket_client import Client
from tests.sinks.session_records import EVENT

AUTH = ("lab", "secret")


Connect = Callable[..., Client]


@pytest.fixture
def events() -> EventSocket:
    return EventSocket()


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[Client] = []

    def to(url: str, **headers: str) -> Client:
        clients.append(Client(url, EVENTS_PATH, **headers))
        return clients[-1]

    yield to
    for client in clients:
        client.close()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_every_client_receives_every_state(
    events: EventSocket, serve: Callable[..., DashboardServer], connect: Connect
) -> None:
    assert isinstance(events, Sink)
    url = serve(events=events).start()
    clients = [connect(url), connect(url)]
    assert all(isinstance(client.answer, AcceptConnection) for client in clients)
    for state in EventState:
        events.on_event(replace(EVENT, state=state))
    for client in clients:
        told = [client.next() for _ in EventState]
        assert [line["state"] for line in told] == [state.value for state in EventState]  # type: ignore[index]
        assert told[0]["regions"] == ["left_mouth_corner", "right_mouth_corner"]  # type: ignore[index]


def test_a_client_that_left_is_forgotten(
    events: EventSocket, serve: Callable[..., DashboardServer], connect: Connect
) -> None:
    url = serve(events=events).start()
    gone, stays = connect(url), connect(url)
    gone.close()
    events.on_event(EVENT)
    assert stays.next()["id"] == EVENT.id  # type: ignore[index]


def test_a_client_that_does_not_read_is_sent_away(
    events: EventSocket, serve: Callable[..., DashboardServer], connect: Connect
) -> None:
    url = serve(events=events).start()
    client = connect(url)
    for number in range(2000):
        events.on_event(replace(EVENT, id=number, quality=("gap",) * 2000))
    received = 0
    while isinstance(line := client.next(), dict):
        assert line["id"] == received
        received += 1
    assert line is None or isinstance(line, CloseConnection)
    assert received < 2000


def test_the_server_ends_its_connections(
    events: EventSocket, serve: Callable[..., DashboardServer], connect: Connect
) -> None:
    server = serve(events=events)
    client = connect(server.start())
    server.stop()
    ending = client.next()
    assert ending is None or isinstance(ending, CloseConnection)
    events.on_event(EVENT)  # nobody is there, nothing fails


def test_events_need_the_login_and_no_other_site(
    events: EventSocket, serve: Callable[..., DashboardServer], connect: Connect
) -> None:
    url = serve(events=events, auth=AUTH).start()
    for headers, status in (
        ({}, 401),
        ({"Authorization": basic("lab", "wrong")}, 401),
        ({"Authorization": basic(*AUTH), "Origin": "http://evil.example"}, 403),
    ):
        client = connect(url, **headers)
        assert isinstance(client.answer, RejectConnection)
        assert client.answer.status_code == status, headers


def test_the_login_and_the_own_page_may_listen(
    events: EventSocket, serve: Callable[..., DashboardServer], connect: Connect
) -> None:
    url = serve(events=events, auth=AUTH).start()
    client = connect(url, Authorization=basic(*AUTH), Origin=url)
    assert isinstance(client.answer, AcceptConnection)
