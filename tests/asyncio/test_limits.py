"""What one end may ask of the other at the most, and that nobody else pays for who asks more."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import Any

import pytest

from bokbok.asyncio import Limits, open_connection
from bokbok.errors import ConnectionClosed, RemoteError, RequestTimeout
from tests.support.leaks import eventually_async, soon
from tests.support.peers import SOON, USERS, framed


class Held:
    """A request handler that answers only once it may, and counts how many of it run."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[Any] = asyncio.Queue()
        self.may_answer = asyncio.Event()
        self.running = 0
        self.most = 0

    async def __call__(self, connection: Any, message: Any) -> Any:
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.put_nowait(message)
        assert await soon(self.may_answer.wait())
        self.running -= 1
        return message


def requests(count: int, first: int = 0) -> list[bytes]:
    return [b"(request %d %d)" % (i, i) for i in range(first, first + count)]


# Handlers and requests that wait for one.


async def test_so_many_handlers_run_and_so_many_requests_wait_and_the_next_is_an_error_at_once(
    serve: Any, raw: Any
) -> None:
    held = Held()
    peer = await raw(await serve(held, limits=Limits(running=2, waiting=3)))
    await peer.send_message(*requests(7))
    refusals = [await peer.receive(), await peer.receive()]
    assert refusals == [
        b'(error %d "too many requests: 2 handlers are running and 3 requests waiting")' % i for i in (5, 6)
    ]
    assert {await soon(held.started.get()) for _ in range(2)} == {0, 1}
    assert held.started.empty()
    held.may_answer.set()
    assert {await peer.receive() for _ in range(5)} == {b"(response %d %d)" % (i, i) for i in range(5)}
    assert held.most == 2


async def test_there_is_room_again_when_handlers_have_finished(serve: Any, raw: Any) -> None:
    held = Held()
    held.may_answer.set()
    peer = await raw(await serve(held, limits=Limits(running=1, waiting=1)))
    for i in range(0, 20, 2):
        await peer.send_message(*requests(2, i))
        assert {await peer.receive(), await peer.receive()} == {b"(response %d %d)" % (n, n) for n in (i, i + 1)}
    assert held.most == 1


async def test_nothing_waits_where_nothing_may(serve: Any, raw: Any) -> None:
    held = Held()
    peer = await raw(await serve(held, limits=Limits(running=1, waiting=0)))
    await peer.send_message(*requests(2))
    assert (await peer.receive()).startswith(b"(error 1 ")
    held.may_answer.set()
    assert await peer.receive() == b"(response 0 0)"


async def test_requests_that_wait_are_taken_in_their_order(serve: Any, raw: Any) -> None:
    held = Held()
    peer = await raw(await serve(held, limits=Limits(running=1)))
    await peer.send_message(*requests(100))
    held.may_answer.set()
    assert [await peer.receive() for _ in range(100)] == [b"(response %d %d)" % (i, i) for i in range(100)]
    assert [held.started.get_nowait() for _ in range(100)] == list(range(100))


async def test_requests_that_come_before_the_open_handler_has_returned_wait_like_others(serve: Any, raw: Any) -> None:
    may_open = asyncio.Event()
    server = await serve(on_open=lambda connection: may_open.wait(), limits=Limits(running=2, waiting=3))
    peer = await raw(server)
    await peer.send_message(*requests(5))
    assert [(await peer.receive())[:9] for _ in range(2)] == [b"(error 3 ", b"(error 4 "]
    may_open.set()
    assert {await peer.receive() for _ in range(3)} == {b"(response %d %d)" % (i, i) for i in range(3)}


async def test_the_limits_hold_for_each_connection_of_its_own(serve: Any, raw: Any, connect: Any) -> None:
    held = Held()

    def on_request(connection: Any, message: Any) -> Any:
        return held(connection, message) if message == 0 else message

    server = await serve(on_request, limits=Limits(running=1, waiting=0))
    await (await raw(server)).send_message(*requests(1))
    assert await soon(held.started.get()) == 0
    assert await (await connect(server)).request("x") == "x"
    held.may_answer.set()


async def test_the_limits_of_a_client_hold_for_its_server(met: Any) -> None:
    held = Held()
    _connection, peer = await met(on_request=held, limits=Limits(running=1, waiting=1))
    await peer.send_message(*requests(3))
    assert await peer.receive() == b'(error 2 "too many requests: 1 handlers are running and 1 requests waiting")'
    held.may_answer.set()
    assert [await peer.receive(), await peer.receive()] == [b"(response 0 0)", b"(response 1 1)"]


async def test_reading_goes_on_while_every_handler_waits_for_an_answer(serve: Any, connect: Any, spawn: Any) -> None:
    may_answer = asyncio.Event()

    async def slow(connection: Any, message: Any) -> Any:
        assert await soon(may_answer.wait())
        return message

    server = await serve(lambda connection, message: connection.request(message), limits=Limits(running=2, waiting=100))
    connection = await connect(server, on_request=slow)
    asking = [spawn(connection.request, i) for i in range(20)]
    may_answer.set()
    assert [await soon(one) for one in asking] == list(range(20))


async def test_an_answer_is_taken_while_every_handler_is_stuck(serve: Any, connect: Any) -> None:
    held = Held()
    opened: asyncio.Queue[Any] = asyncio.Queue()
    server = await serve(held, on_open=opened.put_nowait, limits=Limits(running=1, waiting=1))
    connection = await connect(server, on_request=lambda connection, message: message)
    for i in range(2):
        with pytest.raises(RequestTimeout):
            await connection.request(i, timeout=0)
    assert await soon(held.started.get()) == 0
    assert await (await soon(opened.get())).request("x", timeout=SOON) == "x"
    held.may_answer.set()


# A peer that does not read.


async def test_handlers_wait_for_a_peer_that_does_not_read_and_their_number_has_a_bound(
    serve: Any, raw: Any, connect: Any, address: Any
) -> None:
    ran: list[int] = []
    large = "x" * 1_000_000

    def on_request(connection: Any, message: Any) -> Any:
        if message == "x":
            return message
        ran.append(message)
        return large

    server = await serve(on_request, at=address, limits=Limits(running=4, waiting=200))
    peer = await raw(server)
    await peer.send_message(*requests(100))
    assert await (await connect(server)).request("x") == "x"  # nobody else is held up
    await eventually_async(lambda: len(ran) >= 4, "handlers ran until nothing could be sent")
    for _ in range(20):
        assert await (await connect(server)).request("x") == "x"
    # What the system takes (a few megabytes on the way out), and four on top.
    assert len(ran) < 30
    answers = {(await peer.receive())[:13] for _ in range(100)}
    assert len(answers) == 100
    assert len(ran) == 100


async def test_answers_that_nobody_waits_to_send_pile_up_to_a_bound_and_then_end_the_connection(
    serve: Any, raw: Any, connect: Any, address: Any
) -> None:
    closed: asyncio.Queue[str] = asyncio.Queue()
    server = await serve(
        None,
        at=address,
        on_close=lambda connection: closed.put_nowait(connection.close_reason),
        limits=Limits(unsent=100_000),
    )
    peer = await raw(server)
    sending = asyncio.create_task(_send_all(peer, b"".join(map(peer.blocking.packet, requests(200_000)))))
    reason = await soon(closed.get())
    await soon(sending)
    match = re.fullmatch(r"the other end sends requests and does not read its answers: (\d+) bytes wait", reason)
    assert match is not None
    # At most what one reading of 256 KiB can ask for, on top.
    assert 100_000 < int(match[1]) < 3_000_000
    with pytest.raises(RemoteError):
        await (await connect(server)).request("x")


async def _send_all(peer: Any, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the connection is ended, as it should be
        await peer.send(data)


async def test_a_peer_that_reads_slowly_gets_every_answer(serve: Any, raw: Any) -> None:
    peer = await raw(await serve(lambda connection, message: "x" * 100_000, limits=Limits(running=3)))
    await peer.send_message(*requests(50))
    got, size = 0, sum(len(peer.blocking.packet(b'(response %d "%b")' % (i, b"x" * 100_000))) for i in range(50))
    while got < size:
        got += await peer.receive_some(10_000)
    assert got == size
    assert await peer.silent()


async def test_a_peer_that_takes_nothing_at_all_is_given_up_after_a_while(serve: Any, raw: Any, address: Any) -> None:
    closed: asyncio.Queue[str] = asyncio.Queue()
    server = await serve(
        lambda connection, message: "x" * 10_000_000,
        at=address,
        on_close=lambda connection: closed.put_nowait(connection.close_reason),
        limits=Limits(send_timeout=0.05),
    )
    await (await raw(server)).send_message(b"(request 0 x)")
    assert await soon(closed.get()) == "the other end took nothing for 0.05 s of what was sent to it"


async def test_a_request_to_a_peer_that_takes_nothing_fails_after_a_while(met: Any, address: Any) -> None:
    connection, _peer = await met(limits=Limits(send_timeout=0.05))
    with pytest.raises(ConnectionClosed, match=r"took nothing for 0\.05 s"):
        await connection.request("x" * 10_000_000)


async def test_a_request_to_a_peer_that_takes_nothing_may_time_out_before(met: Any) -> None:
    connection, _peer = await met()
    with pytest.raises(RequestTimeout):
        await connection.request("x" * 10_000_000, timeout=0.01)


async def test_sending_may_take_forever_where_the_limit_says_so(serve: Any, raw: Any) -> None:
    peer = await raw(await serve(lambda connection, message: "x" * 5_000_000, limits=Limits(send_timeout=float("inf"))))
    await peer.send_message(b"(request 0 x)")
    assert len(await peer.receive()) == 5_000_000 + len('(response 0 "")')


async def test_a_hello_may_take_forever_where_the_limit_says_so(serve: Any, connect: Any) -> None:
    server = await serve(user_to_key=USERS.get, limits=Limits(hello_timeout=float("inf")))
    assert await (await connect(server, secure=True)).request("x") == "x"


async def test_a_peer_that_takes_a_little_now_and_then_is_not_given_up(serve: Any, raw: Any) -> None:
    answer = "x" * 15_000_000
    peer = await raw(await serve(lambda connection, message: answer, limits=Limits(send_timeout=1.0)))
    await peer.send_message(b"(request 0 x)")
    got = 0
    until = time.monotonic() + 1.3  # longer than the limit, which each little bit begins anew
    while time.monotonic() < until:
        got += await peer.receive_some(1_000_000)
        assert not await peer.ended_within(0.3)
    got += len(await peer.receive_the_rest(len(framed(b'(response 0 "%b")' % answer.encode())) - got))
    assert got == len(framed(b'(response 0 "%b")' % answer.encode()))


async def test_what_a_refused_peer_goes_on_sending_is_dropped_up_to_a_bound(serve: Any, raw: Any, connect: Any) -> None:
    server = await serve()
    peer = await raw(server)
    await peer.send_message(b"nonsense")
    with pytest.raises(ConnectionError):
        await peer.send(bytes(100_000_000))
    assert await (await connect(server)).request("x") == "x"


async def test_a_refused_peer_that_does_not_close_is_closed_after_a_while(
    serve: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bokbok.asyncio.connection.LINGER_SECONDS", 0.05)
    server = await serve()
    peer = await raw(server)
    await peer.send_message(b"nonsense")
    assert await peer.read_to_end() == b""
    await server.stop()
    await soon(server.wait())


async def test_a_peer_that_breaks_the_rules_and_vanishes_is_forgotten(serve: Any, raw: Any, connect: Any) -> None:
    server = await serve(at="127.0.0.1:0")
    for _ in range(10):
        peer = await raw(server)
        peer.blocking.send_message(b"nonsense")
        peer.blocking.kill()
    assert await (await connect(server)).request("x") == "x"
    await server.stop()
    await soon(server.wait())


# Connections.


async def test_connections_beyond_the_limit_wait_until_another_is_over(serve: Any, connect: Any, spawn: Any) -> None:
    server = await serve(limits=Limits(connections=2))
    first, second = await connect(server), await connect(server)
    assert await first.request("x") == await second.request("x") == "x"
    third = await connect(server)
    asking = spawn(third.request, "x")
    assert await second.request("y") == "y"
    assert not asking.done()
    await first.close()
    assert await soon(asking) == "x"


async def test_a_server_that_is_full_can_be_stopped(serve: Any, connect: Any) -> None:
    server = await serve(limits=Limits(connections=1))
    await (await connect(server)).request("x")
    await (await open_connection(server.address)).close()  # waits in the backlog
    await server.stop()
    await soon(server.wait())
