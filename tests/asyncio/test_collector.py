"""What connections leave to Python's garbage collector, which looks at all of them in one go: little, and no cycles."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bokbok.asyncio import Connection, open_connection
from bokbok.errors import ConnectionClosed
from tests.support.leaks import eventually_async, soon
from tests.support.peers import KEY, SOON, USERS, RawPeer

PING = b'(request 0 "ping")'
MOST = 70
"""Objects of an idle connection that the collector looks at, two of them the other end's here. There were 144 with the
accelerator, and 150 without; now 37 and 55, of which some fifteen are asyncio's own."""


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_an_idle_connection_is_few_objects(serve: Any) -> None:
    server = await serve(user_to_key=USERS.get)
    peers: list[RawPeer] = []

    def come() -> None:
        peer = RawPeer.connect(server.address)
        peer.say_hello("myuser", KEY)
        peer.send_message(PING)
        assert peer.receive() == b'(response 0 "ping")'
        peers.append(peer)

    try:
        await asyncio.to_thread(come)  # what all of them share
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(50):
            await asyncio.to_thread(come)
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


@pytest.mark.parametrize("end", [_ended_as_agreed, _at_fault, _in_the_middle_of_a_message, _while_it_is_asked])
async def test_a_connection_that_is_over_is_freed_without_the_collector(
    serve: Any, end: Callable[[RawPeer], None]
) -> None:
    seen: list[weakref.ref[Connection]] = []

    async def on_request(connection: Connection, message: Any) -> Any:
        seen.append(weakref.ref(connection))
        if message == "ask":
            with contextlib.suppress(ConnectionClosed):
                await connection.request("a question that nobody answers")
        return message

    server = await serve(on_request, user_to_key=USERS.get)

    def play() -> None:
        peer = RawPeer.connect(server.address)
        peer.say_hello("myuser", KEY)
        end(peer)
        peer.close()

    with _no_collector():
        await soon(asyncio.to_thread(play))
        await eventually_async(lambda: seen and seen[0]() is None, "the connection is freed")


async def test_a_client_s_connection_that_is_over_is_freed_without_the_collector(serve: Any) -> None:
    server = await serve(user_to_key=USERS.get)
    with _no_collector():
        connection = await open_connection(server.address, "myuser", KEY)
        assert await connection.request("ping", timeout=SOON) == "ping"
        await connection.close()
        seen = weakref.ref(connection)
        del connection
        await eventually_async(lambda: seen() is None, "the connection is freed")
