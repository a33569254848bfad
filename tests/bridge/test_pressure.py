"""A slow reader at one end, many requests, many connections: the bytes that a bridge holds have a bound."""

from __future__ import annotations

import asyncio
import socket
import tracemalloc

import pytest

from bokbok.bridge import Bridge, _Leg
from bokbok.errors import ConnectionClosed, RemoteError
from bokbok.wire import Limits
from tests.bridge.conftest import Rig
from tests.support.leaks import eventually_async, soon
from tests.support.peers import framed

READ = 256 * 1024
"""Bytes that a transport reads at once."""


def legs(bridge: Bridge) -> tuple[_Leg, _Leg]:
    """The two connections of a bridge that has one pair."""
    (client,) = bridge._roster.connections
    assert isinstance(client, _Leg)
    assert client._other is not None
    return client, client._other


def held(leg: _Leg) -> int:
    """Bytes that wait to be written on a leg."""
    assert leg._transport is not None
    return leg._wire.unsent + leg._transport.get_write_buffer_size()


def stuck(writing: _Leg, reading: _Leg) -> bool:
    """Whether one leg is full, so that the other one is not read."""
    assert reading._transport is not None
    return writing._sending.full and not reading._transport.is_reading()


@pytest.mark.parametrize("size", [100, 100_000, 3_000_000], ids=["small", "large", "larger-than-a-read"])
async def test_a_target_that_does_not_read_stops_the_client(rig: Rig, size: int) -> None:
    count = max(8, 2_000_000 // size)
    bodies = [b'(request %d "%s")' % (number, b"x" * size) for number in range(count)]
    data = b"".join(map(framed, bodies))
    limits = Limits(running=count)
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener, limits=limits)
    peer = await rig.raw_client(bridge)
    target = await rig.accepted(listener)
    sending = asyncio.ensure_future(peer.send(data))
    await eventually_async(
        lambda: bridge._roster.connections and stuck(*reversed(legs(bridge))), "the bridge reads no more"
    )
    client_leg, target_leg = legs(bridge)
    assert 0 < held(target_leg) <= READ + len(framed(bodies[-1]))
    assert held(client_leg) == 0
    assert not sending.done()
    # The other direction is still open.
    await target.send_message(b"(request 0 x)")
    assert await peer.receive() == b"(request 0 x)"
    # And nothing was lost.
    assert await asyncio.to_thread(lambda: [target.blocking.receive() for _ in bodies]) == bodies
    await soon(sending)
    assert held(target_leg) == 0


async def test_a_client_that_does_not_read_stops_the_target(rig: Rig) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener)
    peer = await rig.raw_client(bridge)
    target = await rig.accepted(listener)
    count = 200
    await peer.send_message(*(b"(request %d x)" % number for number in range(count)))
    for _ in range(count):
        await target.receive()
    answers = [b'(response %d "%s")' % (number, b"x" * 50_000) for number in range(count)]
    sending = asyncio.ensure_future(target.send_message(*answers))
    await eventually_async(lambda: stuck(*legs(bridge)), "the bridge reads no more")
    assert 0 < held(legs(bridge)[0]) <= READ + len(framed(answers[-1]))
    assert not sending.done()
    assert [await peer.receive() for _ in answers] == answers
    await soon(sending)


async def test_memory_does_not_grow_with_what_passes(rig: Rig) -> None:
    """64 MiB from a fast client to a slow target, with less than 4 MiB in this process at any time."""
    body = b'"%s"' % (b"x" * 250_000)
    count = 256
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener)
    peer = await rig.raw_client(bridge)
    target = await rig.accepted(listener)
    tracemalloc.start()
    try:
        for number in range(count):
            sending = asyncio.ensure_future(peer.send_message(b"(request %d %s)" % (number, body)))
            await eventually_async(
                lambda sending=sending: sending.done() or stuck(*reversed(legs(bridge))), "sent, or held up"
            )
            await target.receive()
            await soon(sending)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


async def test_a_pair_that_is_held_up_holds_up_no_other(rig: Rig) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener)
    slow = await rig.raw_client(bridge)
    await rig.accepted(listener)
    sending = asyncio.ensure_future(slow.send(framed(b'(request 0 "%s")' % (b"x" * 3_000_000)) * 3))
    await eventually_async(
        lambda: bridge._roster.connections and stuck(*reversed(legs(bridge))), "the bridge reads no more"
    )
    client = await rig.client(bridge)
    asked = asyncio.ensure_future(client.request(1))
    target = await rig.accepted(listener)
    assert await target.receive() == b"(request 0 1)"
    await target.send_message(b"(response 0 2)")
    assert await soon(asked) == 2
    slow.blocking.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionError):
        await soon(sending)


async def test_a_target_that_takes_nothing_in_time_ends_both(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener, limits=Limits(send_timeout=0.1))
    peer = await rig.raw_client(bridge)
    await rig.accepted(listener)
    await peer.send(framed(b'(request 0 "%s")' % (b"x" * 3_000_000)))
    assert await peer.read_to_end() == b""
    assert "took nothing for 0.1 s" in caplog.text


async def test_requests_beyond_the_limit_are_answered_with_an_error(rig: Rig) -> None:
    listener = await rig.raw_target()
    client = await rig.client(await rig.bridge(listener, limits=Limits(running=2, waiting=1)))
    asked = [asyncio.ensure_future(client.request(number)) for number in range(4)]
    with pytest.raises(RemoteError, match=r"^too many requests: 3 wait for their answers$"):
        await soon(asked[3])
    target = await rig.accepted(listener)
    await target.send_message(*(b"(response %d %d)" % (number, number) for number in range(3)))
    assert await soon(asyncio.gather(*asked[:3])) == [0, 1, 2]
    again = asyncio.ensure_future(client.request(5))
    assert [await target.receive() for _ in range(4)][-1] == b"(request 3 5)"
    await target.send_message(b"(response 3 5)")
    assert await soon(again) == 5


async def test_refusals_that_a_client_does_not_read_end_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(running=1, waiting=0, unsent=100_000)
    bridge = await rig.bridge(await rig.raw_target(), limits=limits)
    peer = await rig.raw_client(bridge)
    requests = (framed(b"(request %d x)" % number) for number in range(1_000_000))
    with pytest.raises(ConnectionError):
        await peer.send(b"".join(requests))
    await eventually_async(lambda: not bridge._roster.connections, "the bridge has ended it")
    assert "sends requests and does not read its answers" in caplog.text


async def test_a_packet_over_the_limit_ends_both(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    listener = await rig.raw_target()
    client = await rig.client(await rig.bridge(listener, limits=Limits(packet=1000)))
    target = await rig.accepted(listener)
    with pytest.raises(ConnectionClosed):
        await soon(client.request("x" * 1000))
    assert await target.read_to_end() == b""
    assert "1000" in caplog.text


async def test_more_connections_than_the_limit_wait(rig: Rig) -> None:
    bridge = await rig.bridge(await rig.server(), limits=Limits(connections=1))
    first, second = await rig.client(bridge), await rig.client(bridge)
    assert await soon(first.request(["ping", "1"])) == ["pong", "1"]
    asked = asyncio.ensure_future(second.request(["ping", "2"]))
    done, _ = await asyncio.wait([asked], timeout=0.05)
    assert not done
    await first.close()
    assert await soon(asked) == ["pong", "2"]
