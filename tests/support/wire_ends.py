"""Wire connections at every stage, and what must hold for each, whatever bytes come."""

from __future__ import annotations

from typing import Any

import pytest
from nacl.secret import SecretBox

from bokbok.errors import ConnectionClosed
from bokbok.wire import (
    AnswerUnreadable,
    Closed,
    Connection,
    ErrorReceived,
    HelloMemory,
    HelloReceived,
    Limits,
    Opened,
    PeerFinished,
    RequestReceived,
    RequestUnreadable,
    ResponseReceived,
)
from tests.support.peers import KEY, framed

__all__ = [
    "ENDS",
    "EVENTS",
    "LIMITS",
    "SESSION_KEY",
    "feed",
    "insecure_server",
    "opened_server",
    "secure_client",
    "secure_server",
]

SESSION_KEY = bytes(range(32))
EVENTS = (
    Opened, HelloReceived, RequestReceived, RequestUnreadable, ResponseReceived, ErrorReceived, AnswerUnreadable,
    PeerFinished, Closed,
)  # fmt: skip
LIMITS = Limits(packet=2000, depth=30)


def insecure_client() -> Connection:
    client = Connection("client", limits=LIMITS)
    for i in range(3):
        client.request(i)
    return client


def secure_client() -> Connection:
    client = Connection("client", user="myuser", key=KEY, limits=LIMITS, draw=lambda size: SESSION_KEY[:size])
    for i in range(3):
        client.request(i)
    return client


def insecure_server() -> Connection:
    return Connection("server", limits=LIMITS)


def secure_server() -> Connection:
    return Connection("server", secure=True, limits=LIMITS, hellos=HelloMemory())


def opened_server() -> Connection:
    server = secure_server()
    box = bytes(SecretBox(KEY.to_bytes()).encrypt(SESSION_KEY))
    server.receive(framed(b"myuser") + framed(box))
    assert server.authenticate(KEY) == [Opened("myuser")]
    return server


ENDS = [insecure_client, secure_client, insecure_server, secure_server, opened_server]


def feed(connection: Connection, data: bytes, cuts: list[int]) -> list[Any]:
    """Feed bytes in pieces, then the end of file, and check everything that must hold, whatever the bytes are."""
    events: list[Any] = []
    pieces = []
    for cut in cuts:
        pieces.append(data[:cut])
        data = data[cut:]
    for piece in [*pieces, data]:
        come = connection.receive(piece)
        if come and isinstance(come[-1], HelloReceived):
            come = [*come, *connection.authenticate(KEY)]
        events += come
        assert connection.state in ("hello", "open", "closed")
        assert (connection.state == "closed") == any(isinstance(event, Closed) for event in events)
        assert (connection.error is not None) == (connection.state == "closed")
    end = connection.receive_eof()
    assert len(end) == (0 if connection.state == "closed" and not end else 1)
    events += end
    assert connection.state in ("peer-finished", "closed")
    assert isinstance(connection.error, ConnectionClosed)
    assert connection.receive_eof() == []
    assert connection.receive(b"more") == []
    for event in events:
        assert isinstance(event, EVENTS)
    closing = [i for i, event in enumerate(events) if isinstance(event, (Closed, PeerFinished))]
    assert closing == [len(events) - 1]
    # Every request that came can still be answered, once, unless all is over.
    if connection.state == "peer-finished":
        for event in events:
            if isinstance(event, RequestReceived):
                connection.respond(event.id, event.message)
        assert connection.unanswered == 0
    connection.data_to_send()
    with pytest.raises(ConnectionClosed):
        connection.request("x")
    return events
