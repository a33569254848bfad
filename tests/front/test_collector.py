"""What connections leave to Python's garbage collector, which looks at all of them in one go: little, and no cycles."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS, RawPeer

PING = b'(request 0 "ping")'
TAKES = 1 << 20
"""Bytes: more than the system takes of an answer that nobody reads."""
MOST = 70
"""Objects of an idle connection that the collector looks at, two of them the other end's here. There were 144 with
asyncio and the accelerator, and 150 without; now 37 and 55, of which some fifteen are asyncio's own. With threads it is
50 and 64, with a thread for each second connection."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_an_idle_connection_is_few_objects(serve: Any) -> None:
    server = serve(user_to_key=USERS.get)
    peers: list[RawPeer] = []

    def come() -> None:
        peer = RawPeer.connect(server.address)
        peer.say_hello("myuser", KEY)
        _ended_as_agreed(peer)
        peers.append(peer)

    try:
        come()  # what all of them share
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(50):
            come()
        gc.collect()
        assert (len(gc.get_objects()) - before) / 50 < MOST
    finally:
        for peer in peers:
            peer.close()


def _ended_as_agreed(peer: RawPeer) -> None:
    peer.send_message(PING)
    assert peer.receive() == b'(response 0 "ping")'


def _at_fault(peer: RawPeer) -> None:
    peer.send_message(PING, b"nonsense")


def _in_the_middle_of_a_message(peer: RawPeer) -> None:
    peer.send_message(PING)
    peer.send(peer.packet(b"(request 1 " + b"(a) " * 10_000 + b")")[:-1])


def _while_it_is_asked(peer: RawPeer) -> None:
    peer.send_message(b'(request 0 "ask")')
    peer.receive()


def _while_it_does_not_read(peer: RawPeer) -> None:
    for number in range(20):
        peer.send_message(b'(request %d "much")' % number)
    peer.receive()


@pytest.mark.parametrize(
    "end",
    [_ended_as_agreed, _at_fault, _in_the_middle_of_a_message, _while_it_is_asked, _while_it_does_not_read],
)
def test_a_connection_that_is_over_is_freed_without_the_collector(
    serve: Any, no_collector: None, end: Callable[[RawPeer], None]
) -> None:
    seen: list[weakref.ref[Any]] = []

    def on_request(connection: Any, message: Any) -> Any:
        seen.append(weakref.ref(getattr(connection, "inner", connection)))
        if message == "ask":
            with contextlib.suppress(ConnectionClosed):
                connection.request("a question that nobody answers")
        return "x" * TAKES if message == "much" else message

    server = serve(on_request, user_to_key=USERS.get)
    peer = RawPeer.connect(server.address)
    peer.say_hello("myuser", KEY)
    end(peer)
    peer.close()
    eventually(lambda: seen and seen[0]() is None, "the connection is freed")


def test_one_that_never_said_a_hello_is_freed_without_the_collector(front: Any, serve: Any, no_collector: None) -> None:
    server = serve(user_to_key=USERS.get)

    def there() -> int:
        return sum(type(each) is front.module.Connection for each in gc.get_objects())

    before = there()
    peers = [RawPeer.connect(server.address) for _ in range(10)]
    eventually(lambda: there() == before + 10, "they are accepted")
    for peer in peers:
        peer.close()
    eventually(lambda: there() == before, "they are freed")


def test_a_client_s_connection_that_is_over_is_freed_without_the_collector(
    front: Any, serve: Any, no_collector: None
) -> None:
    server = serve(user_to_key=USERS.get)
    connection = front.open_connection(server.address, "myuser", KEY)
    assert connection.request("ping", timeout=SOON) == "ping"
    connection.close()
    seen = weakref.ref(getattr(connection, "inner", connection))
    del connection
    eventually(lambda: seen() is None, "the connection is freed")
