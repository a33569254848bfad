"""From open to closed: the open handler, the close handler, and every way to end."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from bokbok.asyncio import Limits, open_connection
from bokbok.errors import ConnectionClosed, NetworkError, RemoteError, RemoteProtocolError
from bokbok.keys import passphrase_to_key
from tests.support.leaks import eventually_async, soon
from tests.support.peers import KEY, USERS, Awaited, RawListener, hello


class Calls:
    """Handlers that note who called, and wait where they are told to."""

    def __init__(self) -> None:
        self.log: asyncio.Queue[str] = asyncio.Queue()
        self.connections: list[Any] = []
        self.may_open = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_open.set()
        self.may_answer.set()

    async def on_open(self, connection: Any) -> None:
        self.connections.append(connection)
        self.log.put_nowait("opening")
        assert await soon(self.may_open.wait())
        self.log.put_nowait("opened")

    async def on_request(self, connection: Any, message: Any) -> Any:
        self.log.put_nowait(f"asked {message}")
        assert await soon(self.may_answer.wait())
        self.log.put_nowait(f"answered {message}")
        return message

    def on_close(self, connection: Any) -> None:
        self.log.put_nowait(f"closed: {connection.close_reason}")

    async def next(self) -> str:
        return await soon(self.log.get())

    @property
    def more(self) -> list[str]:
        """What was called that nobody has looked at yet."""
        return [self.log.get_nowait() for _ in range(self.log.qsize())]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def watched(serve: Any, calls: Calls) -> Any:
    """A server whose handlers note their calls."""

    async def start(**options: Any) -> Any:
        return await serve(calls.on_request, on_open=calls.on_open, on_close=calls.on_close, **options)

    return start


# The open handler.


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
async def test_the_open_handler_runs_once_for_each_connection(
    watched: Any, calls: Calls, connect: Any, secure: bool, address: Any
) -> None:
    server = await watched(at=address, user_to_key=USERS.get if secure else None)
    for _ in range(3):
        connection = await connect(server, secure=secure)
        assert [await calls.next(), await calls.next()] == ["opening", "opened"]
        assert calls.connections[-1].user == connection.user
        assert not calls.connections[-1].closed
    await server.stop()
    await soon(server.wait())
    assert calls.more == []
    assert len(set(calls.connections)) == 3


async def test_the_open_handler_has_returned_before_the_first_request_handler_starts(
    watched: Any, calls: Calls, connect: Any, spawn: Any
) -> None:
    calls.may_open.clear()
    connection = await connect(await watched())
    asking = [spawn(connection.request, i) for i in range(3)]
    assert await calls.next() == "opening"
    with pytest.raises(TimeoutError):
        await connection.request("one more", timeout=0.02)  # which is there by now, and so are the others
    assert calls.more == []
    calls.may_open.set()
    assert await calls.next() == "opened"
    assert sorted([await soon(one) for one in asking]) == [0, 1, 2]


async def test_requests_of_the_open_handler_are_answered_meanwhile(serve: Any, connect: Any) -> None:
    greeting: list[Any] = []

    async def on_open(connection: Any) -> None:
        greeting.append(await connection.request("who are you?"))

    server = await serve(lambda connection, message: greeting[0], on_open=on_open)
    assert await (await connect(server, on_request=lambda connection, message: "me")).request("who am I?") == "me"


@pytest.mark.parametrize("error", [ValueError("not you"), GeneratorExit("not you")], ids=["error", "exit"])
async def test_an_open_handler_that_fails_closes_the_connection(
    serve: Any, connect: Any, calls: Calls, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def on_open(connection: Any) -> None:
        raise error

    server = await serve(calls.on_request, on_open=on_open, on_close=calls.on_close)
    with pytest.raises(ConnectionClosed):
        await (await connect(server)).request("x")
    assert await calls.next() == f"closed: the open handler failed: {type(error).__name__}: not you"
    await server.stop()
    await soon(server.wait())
    assert calls.more == []
    assert "the open handler failed" in caplog.text
    assert "not you" in caplog.text


async def test_an_open_handler_may_close_the_connection(serve: Any, connect: Any, calls: Calls) -> None:
    server = await serve(calls.on_request, on_open=lambda connection: connection.close(), on_close=calls.on_close)
    with pytest.raises(ConnectionClosed):
        await (await connect(server)).request("x")
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


async def test_a_slow_open_handler_holds_up_no_other_connection(watched: Any, calls: Calls, connect: Any) -> None:
    server = await watched()
    calls.may_open.clear()
    await connect(server)
    assert await calls.next() == "opening"
    held = calls.may_open
    calls.may_open = asyncio.Event()
    calls.may_open.set()
    assert await (await connect(server)).request("x") == "x"
    held.set()


async def test_who_is_refused_is_not_told_to_the_open_handler(watched: Any, calls: Calls, raw: Any) -> None:
    server = await watched(user_to_key=USERS.get)
    for data in (hello("myuser", passphrase_to_key("wrong"), bytes(32)), hello("nobody", KEY, bytes(32)), b"\xff" * 99):
        peer = await raw(server)
        await peer.send(data)
        assert await peer.read_to_end() == b""
        await peer.close()
    await (await raw(server)).close()  # without a word
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


# The close handler.


async def test_the_close_handler_runs_once_when_the_other_end_closes(
    watched: Any, calls: Calls, connect: Any, address: Any
) -> None:
    server = await watched(at=address)
    await (await connect(server)).close()
    assert [await calls.next() for _ in range(3)] == [
        "opening",
        "opened",
        "closed: the other end closed the connection",
    ]
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


async def test_a_clients_close_handler_runs_once_when_the_server_closes(
    calls: Calls, connect: Any, serve: Any, address: Any
) -> None:
    server = await serve(lambda connection, message: connection.close(), at=address)
    connection = await connect(server, on_close=calls.on_close)
    with pytest.raises(ConnectionClosed):
        await connection.request("x")
    assert (await calls.next()).startswith("closed: ")
    await connection.close()
    assert calls.more == []


async def test_a_clients_close_handler_runs_when_the_server_stops(serve: Any, connect: Any, calls: Calls) -> None:
    server = await serve()
    await (await connect(server, on_close=calls.on_close)).request("x")
    await server.stop()
    assert await calls.next() == "closed: the other end closed the connection"


async def test_the_close_handler_runs_when_the_other_end_is_killed(watched: Any, calls: Calls, raw: Any) -> None:
    server = await watched(at="127.0.0.1:0")
    peer = await raw(server)
    await peer.send_message(b"(request 0 x)")
    await peer.receive()
    await peer.kill()
    called = [await calls.next() for _ in range(5)]
    assert called[-1] == "closed: connection reset by peer"
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


async def test_the_close_handler_runs_when_the_other_end_breaks_the_rules(watched: Any, calls: Calls, raw: Any) -> None:
    server = await watched()
    peer = await raw(server)
    assert [await calls.next(), await calls.next()] == ["opening", "opened"]
    await peer.send_message(b"(response 5 x)")
    assert await calls.next() == "closed: an answer to request 5, which waits for none"
    await peer.close()
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
async def test_the_close_handler_does_not_run_when_this_end_closes(
    serve: Any, connect: Any, calls: Calls, spawn: Any, secure: bool
) -> None:
    server = await serve(user_to_key=USERS.get if secure else None)
    connection = await connect(server, on_close=calls.on_close, secure=secure)
    assert await connection.request("x") == "x"
    await connection.close()
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


async def test_the_close_handler_does_not_run_when_this_end_closes_from_a_handler(
    serve: Any, connect: Any, calls: Calls
) -> None:
    server = await serve(lambda connection, message: connection.close(), on_close=calls.on_close)
    with pytest.raises(ConnectionClosed, match=r"the other end closed the connection|before it had sent anything"):
        await (await connect(server)).request("x")
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


async def test_the_close_handler_does_not_run_when_the_server_stops(watched: Any, calls: Calls, connect: Any) -> None:
    server = await watched()
    await (await connect(server)).request("x")
    assert [await calls.next() for _ in range(4)] == ["opening", "opened", "asked x", "answered x"]
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


async def test_a_refused_hello_runs_the_clients_close_handler(serve: Any, connect: Any, calls: Calls) -> None:
    await connect(await serve(user_to_key=USERS.get), "nobody", KEY, on_close=calls.on_close)
    assert "most likely the key is wrong" in await calls.next()
    assert calls.more == []


async def test_a_client_whose_first_words_find_the_end_has_its_close_handler_run(
    listener: Any, calls: Calls, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CutOff(socket.socket):
        def connect(self, place: Any) -> None:
            super().connect(place)
            listener.blocking.accept().close()

    monkeypatch.setattr(socket, "socket", CutOff)
    connection = await connect(listener.address, "myuser", KEY, on_close=calls.on_close)
    assert (await calls.next()).startswith("closed: ")
    with pytest.raises(ConnectionClosed):
        await connection.request("x")
    assert calls.more == []


async def test_the_close_handler_starts_at_once_while_request_handlers_go_on_and_their_answers_arrive(
    watched: Any, calls: Calls, raw: Any, address: Any
) -> None:
    calls.may_answer.clear()
    peer = await raw(await watched(at=address))
    await peer.send_message(b"(request 0 x)", b"(request 1 y)")
    assert {await calls.next() for _ in range(4)} == {"opening", "opened", "asked x", "asked y"}
    await peer.finish()
    assert await calls.next() == "closed: the other end closed the connection"
    calls.may_answer.set()
    assert {await peer.receive(), await peer.receive()} == {b"(response 0 x)", b"(response 1 y)"}
    assert await peer.read_to_end() == b""
    assert {await calls.next(), await calls.next()} == {"answered x", "answered y"}


async def test_a_client_answers_after_the_servers_end_too(met: Any, calls: Calls) -> None:
    calls.may_answer.clear()
    _connection, peer = await met(on_request=calls.on_request, on_close=calls.on_close)
    await peer.send_message(b"(request 0 x)")
    assert await calls.next() == "asked x"
    await peer.finish()
    assert await calls.next() == "closed: the other end closed the connection"
    calls.may_answer.set()
    assert await peer.receive() == b"(response 0 x)"
    assert await peer.read_to_end() == b""


async def test_requests_that_wait_their_turn_at_the_other_ends_end_are_still_answered(
    watched: Any, calls: Calls, raw: Any
) -> None:
    calls.may_answer.clear()
    peer = await raw(await watched(limits=Limits(running=1)))
    await peer.send_message(*[b"(request %d %d)" % (i, i) for i in range(5)])
    await peer.finish()
    while not (await calls.next()).startswith("closed"):
        pass
    calls.may_answer.set()
    assert [await peer.receive() for _ in range(5)] == [b"(response %d %d)" % (i, i) for i in range(5)]
    assert await peer.read_to_end() == b""


async def test_at_the_other_ends_end_everything_that_is_still_to_be_sent_is_sent(
    serve: Any, raw: Any, address: Any
) -> None:
    peer = await raw(await serve(None, at=address))
    count = 30_000  # whose answers do not fit into what the system holds for a peer that does not read yet
    await peer.send_message(*[b"(request %d x)" % i for i in range(count)])
    await peer.finish()
    answers = await peer.read_to_end()
    assert answers.count(b"(error ") == count


async def test_the_close_handler_runs_after_the_open_handler_has_returned(watched: Any, calls: Calls, raw: Any) -> None:
    calls.may_open.clear()
    server = await watched()
    peer = await raw(server)
    assert await calls.next() == "opening"
    await peer.close()
    await eventually_async(lambda: calls.connections[0].closed, "the end is noticed")
    assert calls.more == []
    calls.may_open.set()
    assert await calls.next() == "opened"
    assert await calls.next() == "closed: the other end closed the connection"
    await server.stop()
    await soon(server.wait())
    assert calls.more == []


async def test_the_close_handler_runs_although_this_end_closed_later(serve: Any, raw: Any, calls: Calls) -> None:
    async def on_open(connection: Any) -> None:
        calls.log.put_nowait("opening")
        await eventually_async(lambda: connection.closed, "the end is noticed")
        await connection.close()

    peer = await raw(await serve(on_open=on_open, on_close=calls.on_close))
    assert await calls.next() == "opening"
    await peer.close()
    assert await calls.next() == "closed: the other end closed the connection"


async def test_a_close_handler_may_take_its_time_and_closes_once_more(serve: Any, connect: Any, calls: Calls) -> None:
    async def on_close(connection: Any) -> None:
        await connection.close()
        with pytest.raises(ConnectionClosed):
            await connection.request("x")
        calls.on_close(connection)

    server = await serve(on_close=on_close)
    await (await connect(server)).close()
    assert await calls.next() == "closed: the other end closed the connection"


async def test_a_close_handler_that_fails_is_logged(serve: Any, connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    def on_close(connection: Any) -> None:
        raise ValueError("on purpose")

    server = await serve(on_close=on_close)
    await (await connect(server)).close()
    await eventually_async(lambda: "the close handler failed" in caplog.text, "the failure is logged")
    assert "on purpose" in caplog.text
    assert await (await connect(server)).request("x") == "x"


# Closing.


async def test_closing_twice_does_nothing(serve: Any, connect: Any, address: Any) -> None:
    connection = await connect(await serve(at=address))
    await connection.close()
    await connection.close()
    assert connection.closed


async def test_many_tasks_may_close_at_once(serve: Any, connect: Any, spawn: Any) -> None:
    connection = await connect(await serve())
    for closing in [spawn(connection.close) for _ in range(10)]:
        await soon(closing)
    assert connection.closed


async def test_a_connection_closes_itself_at_the_end_of_a_with_statement(serve: Any) -> None:
    server = await serve()
    async with open_connection(server.address) as connection:
        assert not connection.closed
        assert connection.close_reason is None
        assert await connection.request("x") == "x"
    assert connection.closed
    async with await open_connection(server.address) as connection:  # what it returns can be entered, too
        assert await connection.request("x") == "x"
    assert connection.closed
    with pytest.raises(ZeroDivisionError):
        async with open_connection(server.address) as connection:
            raise ZeroDivisionError
    assert connection.closed


async def test_requests_that_wait_when_this_end_closes_fail_with_the_reason(
    watched: Any, calls: Calls, connect: Any, spawn: Any
) -> None:
    calls.may_answer.clear()
    connection = await connect(await watched())
    asking = [spawn(connection.request, i) for i in range(5)]
    for _ in range(7):
        await calls.next()
    await connection.close()
    for one in asking:
        with pytest.raises(ConnectionClosed) as raised:
            await soon(one)
        assert raised.value.reason == "closed by this end"
    assert connection.close_reason == "closed by this end"
    calls.may_answer.set()


async def test_requests_that_wait_when_the_other_end_closes_fail_with_the_reason(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    asking = [spawn(connection.request, i) for i in range(5)]
    for _ in asking:
        await peer.receive()
    await peer.send_message(b"(response 0 x)")
    await peer.close()
    reasons = []
    for one in asking:
        try:
            await soon(one)
        except ConnectionClosed as error:
            reasons.append(error.reason)
    assert reasons == ["the other end closed the connection"] * 4
    assert connection.close_reason == "the other end closed the connection"


async def test_an_answer_that_came_before_the_end_is_not_lost_to_a_request_that_finds_it(
    listener: Any, connect: Any, spawn: Any
) -> None:
    """Sending fails at once where the other end has closed a Unix socket, and the answer may not have been read yet."""
    for _ in range(5):
        connection = await connect(listener.address)
        peer = await listener.accept()
        first = spawn(connection.request, "first")
        await peer.receive()
        # All in one turn of the event loop, which therefore writes before it reads.
        others = [spawn(connection.request, "other") for _ in range(10)]
        peer.blocking.send_message(b'(response 0 "answer")')
        peer.blocking.close()
        assert await soon(first) == "answer"
        for other in others:
            with pytest.raises(ConnectionClosed, match=r"the other end closed|broken pipe|reset"):
                await soon(other)
        await connection.close()


async def test_a_packet_that_is_cut_off_by_the_end_is_told(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    asking = spawn(connection.request, "x")
    await peer.receive()
    await peer.send(b"\0\0\0\x09(resp")
    await peer.close()
    with pytest.raises(ConnectionClosed, match="in the middle of a packet: 5 of a packet's 9 bytes"):
        await soon(asking)


async def test_a_killed_server_is_a_connection_error(connect: Any, spawn: Any) -> None:
    listening = Awaited(RawListener(("tcp", "127.0.0.1", 0)))
    connection = await connect(listening.address)
    peer = await listening.accept()
    asking = spawn(connection.request, "x")
    await peer.receive()
    await peer.kill()
    with pytest.raises(ConnectionClosed, match="reset by peer") as raised:
        await soon(asking)
    assert isinstance(raised.value, NetworkError)
    assert isinstance(raised.value, ConnectionError)
    await listening.close()


async def test_after_the_end_requests_are_refused_with_its_reason(serve: Any, connect: Any) -> None:
    connection = await connect(await serve())
    await connection.close()
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match=r"^closed by this end$"):
            await connection.request("x")


async def test_an_answer_that_comes_too_late_for_the_connection_is_dropped(
    watched: Any, calls: Calls, connect: Any, spawn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    calls.may_answer.clear()
    server = await watched()
    connection = await connect(server)
    asking = spawn(connection.request, "x")
    assert [await calls.next() for _ in range(3)] == ["opening", "opened", "asked x"]
    await calls.connections[0].close()
    with pytest.raises(ConnectionClosed):
        await soon(asking)
    calls.may_answer.set()
    assert await calls.next() == "answered x"
    await server.stop()
    await soon(server.wait())
    assert caplog.text == ""


async def test_a_handlers_error_is_dropped_too_where_its_connection_is_over(serve: Any, connect: Any) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        await connection.close()
        raise ValueError("on purpose")

    server = await serve(on_request)
    with pytest.raises(ConnectionClosed):
        await (await connect(server)).request("x")
    assert (await connect(server)).closed is False


async def test_closing_does_not_wait_for_a_peer_that_does_not_read(
    met: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bokbok.asyncio.connection.LINGER_SECONDS", 0.01)  # for what is being sent
    connection, peer = await met()
    asking = spawn(connection.request, "x" * 8_000_000)
    assert await peer.receive_some(1) == 1  # it is being sent
    await connection.close()
    with pytest.raises(ConnectionClosed):
        await soon(asking)


async def test_a_connection_may_be_closed_while_both_ends_are_busy(serve: Any, connect: Any, spawn: Any) -> None:
    server = await serve(lambda connection, message: connection.request(message))
    for _ in range(20):
        connection = await connect(server, on_request=lambda connection, message: message)

        async def ask(connection: Any = connection) -> None:
            while True:
                await connection.request("x")

        asking = [spawn(ask) for _ in range(4)]
        await connection.request("x")
        await connection.close()
        for one in asking:
            # Either this end's own words, or the other's, whose own request was cut off.
            with pytest.raises((ConnectionClosed, RemoteError)):
                await soon(one)


async def test_the_error_of_a_broken_rule_is_a_protocol_error_for_every_request(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    first, second = spawn(connection.request, 1), spawn(connection.request, 2)
    await peer.receive(), await peer.receive()
    await peer.send_message(b"(oops 0 x)")
    errors = []
    for one in (first, second):
        with pytest.raises(RemoteProtocolError) as raised:
            await soon(one)
        errors.append(raised.value)
    assert errors[0] is not errors[1]  # each task has an exception of its own, with its own traceback


@pytest.mark.parametrize("how", ["kill", "close"])
async def test_a_server_that_vanishes_in_the_middle_of_a_lively_conversation_is_a_connection_error(
    connect: Any, spawn: Any, how: str
) -> None:
    listening = Awaited(RawListener(("tcp", "127.0.0.1", 0)))
    for _ in range(5):
        connection = await connect(listening.address)
        peer = await listening.accept()

        async def answer(peer: Any = peer) -> None:
            for i in range(20):
                assert await peer.receive() == b"(request %d %d)" % (i, i)
                await peer.send_message(b"(response %d %d)" % (i, i))
            await peer.receive()
            await getattr(peer, how)()

        answering = spawn(answer)
        assert [await connection.request(i) for i in range(20)] == list(range(20))
        with pytest.raises(ConnectionClosed, match=r"reset by peer|the other end closed the connection"):
            await connection.request(20)
        await soon(answering)
    await listening.close()


async def test_a_fault_of_this_library_ends_the_connection_and_leaves_nobody_waiting(met: Any, spawn: Any) -> None:
    connection, peer = await met()

    def receive(data: bytes) -> Any:
        raise ZeroDivisionError("on purpose")

    connection._wire.receive = receive
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    asking = spawn(connection.request, "x")
    await peer.receive()
    await peer.send_message(b"(response 0 y)")
    with pytest.raises(ConnectionClosed, match="on purpose"):
        await soon(asking)
    assert isinstance(complaints[0]["exception"], ZeroDivisionError)


# On an event loop.


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "connection lost"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "connection timed out"),
        (OSError(), "OSError"),
    ],
    ids=["aborted", "keep-alive", "unknown"],
)
async def test_a_transport_that_gives_up_ends_the_connection_with_its_reason(
    met: Any, spawn: Any, calls: Calls, error: Any, reason: str
) -> None:
    connection, peer = await met(on_close=calls.on_close)
    asking = spawn(connection.request, "x")
    await peer.receive()
    await peer.send_message(b"(response 0 x)")
    await soon(asking)
    connection._transport._force_close(error)  # as it does when the system says so
    assert await calls.next() == f"closed: {reason}"
