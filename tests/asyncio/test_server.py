"""How a server accepts, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import Any

import pytest

from bokbok.asyncio import Limits, open_connection, start_server
from bokbok.errors import ConnectFailed, ConnectionClosed, RemoteError, RequestTimeout
from tests.support.leaks import eventually_async, soon
from tests.support.peers import KEY, USERS, Awaited, RawPeer, hello


class Held:
    """A request handler that answers only once it may."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[Any] = asyncio.Queue()
        self.may_answer = asyncio.Event()

    async def __call__(self, connection: Any, message: Any) -> Any:
        self.started.put_nowait(message)
        assert await soon(self.may_answer.wait())
        return message


async def has_stopped(server: Any) -> bool:
    try:
        await asyncio.wait_for(server.wait(), 0.01)
    except asyncio.TimeoutError:
        return False
    return True


# Stopping.


async def test_once_stopped_nobody_can_connect(serve: Any, address: Any) -> None:
    server = await serve(at=address)
    await server.stop()
    with pytest.raises(ConnectFailed):
        await open_connection(server.address)


async def test_stopping_closes_connections_that_are_idle(serve: Any, connect: Any, address: Any) -> None:
    server = await serve(at=address)
    connection = await connect(server)
    assert await connection.request("x") == "x"
    await server.stop()
    await soon(server.wait())
    with pytest.raises(ConnectionClosed, match="the other end closed the connection"):
        await connection.request("x")


async def test_stopping_closes_a_connection_that_was_never_used(serve: Any, connect: Any, address: Any) -> None:
    for _ in range(5):
        server = await serve(at=address)
        closed: asyncio.Queue[Any] = asyncio.Queue()
        await connect(server, on_close=closed.put_nowait)
        await server.stop()
        await soon(server.wait())
        await soon(closed.get())


async def test_handlers_that_run_finish_and_their_answers_arrive(
    serve: Any, connect: Any, spawn: Any, address: Any
) -> None:
    held = Held()
    server = await serve(held, at=address)
    connections = [await connect(server) for _ in range(3)]
    asking = [spawn(connection.request, i) for i, connection in enumerate(connections)]
    assert {await soon(held.started.get()) for _ in asking} == {0, 1, 2}
    await server.stop()
    assert not await has_stopped(server)
    held.may_answer.set()
    assert [await soon(one) for one in asking] == [0, 1, 2]
    await soon(server.wait())


async def test_a_large_answer_arrives_whole_although_the_server_has_stopped(serve: Any, raw: Any, address: Any) -> None:
    held = Held()

    async def on_request(connection: Any, message: Any) -> Any:
        await held(connection, message)
        return "x" * 8_000_000

    server = await serve(on_request, at=address)
    peer = await raw(server)
    await peer.send_message(b"(request 0 x)")
    await soon(held.started.get())
    await server.stop()
    held.may_answer.set()
    assert len(await peer.receive()) == 8_000_000 + len('(response 0 "")')
    assert await peer.read_to_end() == b""


async def test_the_end_is_no_reset_although_requests_are_on_their_way(serve: Any, raw: Any, address: Any) -> None:
    held = Held()
    server = await serve(held, at=address)
    peer = await raw(server)
    await peer.send_message(b"(request 0 x)")
    await soon(held.started.get())
    await server.stop()
    held.may_answer.set()
    sent = 1
    while await peer.silent():  # until its answer, or that of another, is there
        await peer.send_message(b"(request %d y)" % sent)
        sent += 1
    await peer.send_message(*[b"(request %d y)" % i for i in range(sent, sent + 1000)])
    assert b"(response 0 x)" in await peer.read_to_end()  # a reset would raise


async def test_new_requests_are_answered_with_an_error_meanwhile(serve: Any, connect: Any, spawn: Any) -> None:
    held = Held()
    server = await serve(held)
    connection = await connect(server)
    asking = spawn(connection.request, "old")
    assert await soon(held.started.get()) == "old"
    await server.stop()
    for _ in range(2):
        with pytest.raises(RemoteError, match="the server is stopping and takes no new requests"):
            await connection.request("new")
    held.may_answer.set()
    assert await soon(asking) == "old"


async def test_requests_that_wait_for_a_handler_are_answered_with_an_error(serve: Any, raw: Any) -> None:
    held = Held()
    server = await serve(held, limits=Limits(running=1, waiting=2))
    peer = await raw(server)
    await peer.send_message(b"(request 0 x)", b"(request 1 x)", b"(request 2 x)")
    await soon(held.started.get())
    # One that finds no place any more tells that the two before it wait.
    await peer.send_message(b"(request 3 x)")
    assert (await peer.receive()).startswith(b'(error 3 "too many requests')
    await server.stop()
    stopping = b'"the server is stopping and takes no new requests")'
    assert [await peer.receive(), await peer.receive()] == [b"(error 1 " + stopping, b"(error 2 " + stopping]
    held.may_answer.set()
    assert await peer.receive() == b"(response 0 x)"
    assert await peer.read_to_end() == b""


async def test_answers_are_still_taken_meanwhile(serve: Any, connect: Any, spawn: Any) -> None:
    held = Held()

    async def on_request(connection: Any, message: Any) -> Any:
        await held(connection, message)
        return [await connection.request(i) for i in range(3)]

    server = await serve(on_request)
    asking = spawn((await connect(server, on_request=lambda connection, message: message * 10)).request, "x")
    await soon(held.started.get())
    await server.stop()
    held.may_answer.set()
    assert await soon(asking) == [0, 10, 20]
    await soon(server.wait())


async def test_an_open_handler_that_runs_finishes_before_its_connection_is_closed(serve: Any, connect: Any) -> None:
    opening, may_open = asyncio.Event(), asyncio.Event()
    answers: list[Any] = []

    async def on_open(connection: Any) -> None:
        opening.set()
        assert await soon(may_open.wait())
        answers.append(await connection.request("still there?"))

    server = await serve(on_open=on_open)
    connection = await connect(server, on_request=lambda connection, message: "yes")
    assert await soon(opening.wait())
    await server.stop()
    assert not await has_stopped(server)
    may_open.set()
    await soon(server.wait())
    assert answers == ["yes"]
    await eventually_async(lambda: connection.closed, "the connection is closed")


async def test_stopping_ends_connections_whose_hello_has_not_come(serve: Any, raw: Any, address: Any) -> None:
    server = await serve(at=address, user_to_key=USERS.get)
    peers = [await raw(server) for _ in range(3)]
    await peers[1].send(hello("myuser", KEY, bytes(32))[:50])
    await (await raw(server)).close()
    good = await raw(server)
    await good.say_hello("myuser", KEY)
    await good.send_message(b"(request 0 x)")
    assert await good.receive() == b"(response 0 x)"
    await good.close()
    await server.stop()
    await soon(server.wait())  # not only when the time for a hello is over
    for peer in peers:
        assert await peer.read_to_end() == b""


async def test_stopping_ends_a_connection_whose_user_is_being_looked_up(serve: Any, raw: Any) -> None:
    looking, found = asyncio.Event(), asyncio.Event()
    opened: list[Any] = []

    async def user_to_key(user: str) -> Any:
        looking.set()
        assert await soon(found.wait())
        return USERS.get(user)

    server = await serve(user_to_key=user_to_key, on_open=opened.append)
    peer = await raw(server)
    await peer.say_hello("myuser", KEY)
    assert await soon(looking.wait())
    await server.stop()
    assert await peer.read_to_end() == b""
    assert not await has_stopped(server)  # the lookup runs
    found.set()
    await soon(server.wait())
    assert opened == []


async def test_stopping_twice_does_nothing(serve: Any, connect: Any) -> None:
    server = await serve()
    await (await connect(server)).request("x")
    await server.stop()
    await server.stop()
    await soon(server.wait())
    await server.stop()


async def test_many_tasks_may_stop_at_once(serve: Any, connect: Any, spawn: Any) -> None:
    server = await serve()
    await (await connect(server)).request("x")
    for stopping in [spawn(server.stop) for _ in range(10)]:
        await soon(stopping)
    await soon(server.wait())


async def test_a_request_handler_may_stop_its_server_and_is_still_answered(
    serve: Any, connect: Any, address: Any
) -> None:
    servers: list[Any] = []

    async def on_request(connection: Any, message: Any) -> Any:
        await servers[0].stop()
        with pytest.raises(ConnectFailed):
            await open_connection(servers[0].address)
        return "stopped"

    servers.append(await serve(on_request, at=address))
    assert await (await connect(servers[0])).request("stop") == "stopped"
    await soon(servers[0].wait())


@pytest.mark.parametrize("which", ["on_open", "on_close"])
async def test_an_open_or_close_handler_may_stop_its_server(serve: Any, connect: Any, which: str) -> None:
    servers: list[Any] = []
    ready = asyncio.Event()

    async def handler(connection: Any) -> None:
        assert await soon(ready.wait())
        await servers[0].stop()

    servers.append(await serve(**{which: handler}))
    ready.set()
    await (await connect(servers[0])).close()
    await soon(servers[0].wait())


async def test_a_lookup_may_stop_its_server(serve: Any, connect: Any) -> None:
    servers: list[Any] = []

    async def user_to_key(user: str) -> Any:
        await servers[0].stop()
        return KEY

    servers.append(await serve(user_to_key=user_to_key))
    with pytest.raises(ConnectionClosed):
        await (await connect(servers[0], secure=True)).request("x")
    await soon(servers[0].wait())


# Waiting.


@pytest.mark.parametrize("which", ["on_request", "on_open", "on_close", "user_to_key"])
async def test_a_handler_that_waits_for_its_own_server_is_told_that_it_cannot(
    serve: Any, connect: Any, which: str
) -> None:
    servers: list[Any] = []
    ready = asyncio.Event()
    said: asyncio.Queue[str] = asyncio.Queue()

    async def handler(*args: Any) -> Any:
        assert await soon(ready.wait())
        with pytest.raises(RuntimeError) as raised:
            await servers[0].wait()
        said.put_nowait(str(raised.value))
        return KEY if which == "user_to_key" else None

    servers.append(await serve(**{"on_request": lambda connection, message: message, which: handler}))
    ready.set()
    connection = await connect(servers[0], secure=which == "user_to_key")
    if which == "on_request":
        await connection.request("x")
    await connection.close()
    assert await soon(said.get()) == "a handler cannot wait for its own server: the server waits for its handlers"


async def test_a_handler_may_wait_for_another_server(serve: Any, connect: Any) -> None:
    other = await serve()
    await other.stop()
    server = await serve(lambda connection, message: other.wait())
    assert await (await connect(server)).request("x") == []


async def test_a_task_of_a_handler_may_stop_its_server_and_wait(serve: Any, connect: Any, spawn: Any) -> None:
    servers: list[Any] = []
    over = asyncio.Event()

    async def stop_and_wait() -> None:
        await servers[0].stop()
        await servers[0].wait()
        over.set()

    async def on_request(connection: Any, message: Any) -> Any:
        spawn(stop_and_wait)
        return "soon"

    servers.append(await serve(on_request))
    assert await (await connect(servers[0])).request("stop") == "soon"
    assert await soon(over.wait())


async def test_waiting_lasts_until_the_server_is_stopped_and_the_last_handler_has_finished(
    serve: Any, connect: Any, spawn: Any
) -> None:
    held, closing, may_close = Held(), asyncio.Event(), asyncio.Event()

    async def on_close(connection: Any) -> None:
        closing.set()
        assert await soon(may_close.wait())

    server = await serve(held, on_close=on_close)
    waiting = spawn(server.wait)
    leaving, asking = await connect(server), await connect(server)
    with pytest.raises(RequestTimeout):
        await asking.request("x", timeout=0)
    await soon(held.started.get())
    await leaving.close()
    assert await soon(closing.wait())
    assert not await has_stopped(server)
    await server.stop()
    assert not await has_stopped(server)  # the request handler runs
    held.may_answer.set()
    assert not await has_stopped(server)  # the close handler runs
    assert not waiting.done()
    may_close.set()
    await soon(waiting)


async def test_waiting_may_end_before_the_server_does(serve: Any) -> None:
    server = await serve()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(server.wait(), 0.01)
    await server.stop()
    await soon(server.wait())


async def test_a_server_stops_and_waits_at_the_end_of_a_with_statement(tmp_path: Any, spawn: Any) -> None:
    held = Held()
    finished: list[Any] = []

    async def on_request(connection: Any, message: Any) -> Any:
        await held(connection, message)
        finished.append(message)

    async with (
        start_server(str(tmp_path / "here"), on_request) as server,
        open_connection(server.address) as connection,
    ):
        asking = spawn(connection.request, "x")
        await soon(held.started.get())
        asyncio.get_running_loop().call_later(0.01, held.may_answer.set)
        await server.stop()
        assert await soon(asking) == []
    assert finished == ["x"]
    assert await has_stopped(server)
    async with await start_server(str(tmp_path / "here")) as server:  # what it returns can be entered, too
        pass
    assert await has_stopped(server)


# Accepting.


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EPROTO, errno.EPERM])
async def test_accepting_goes_on_after_it_has_failed(
    serve: Any,
    connect: Any,
    address: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: int,
) -> None:
    accept = socket.socket.accept
    failures = iter([OSError(error, "on purpose")] * 2)

    def failing(sock: socket.socket) -> Any:
        for failure in failures:
            raise failure
        return accept(sock)

    server = await serve(at=address)
    monkeypatch.setattr(socket.socket, "accept", failing)
    assert await (await connect(server)).request("x") == "x"
    assert caplog.text.count("cannot accept: on purpose; trying again") == 2


async def test_a_client_that_is_gone_before_it_is_accepted_disturbs_nobody(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = socket.socket.accept
    failures = iter([ConnectionAbortedError(errno.ECONNABORTED, "aborted"), BlockingIOError(errno.EAGAIN, "nobody")])

    def failing(sock: socket.socket) -> Any:
        for failure in failures:
            raise failure
        return accept(sock)

    server = await serve()
    monkeypatch.setattr(socket.socket, "accept", failing)
    assert await (await connect(server)).request("x") == "x"
    assert caplog.text == ""


async def test_a_server_that_cannot_accept_can_be_stopped(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(sock: socket.socket) -> Any:
        raise OSError(errno.EMFILE, "on purpose")

    server = await serve()
    monkeypatch.setattr(socket.socket, "accept", failing)
    await connect(server)
    await eventually_async(lambda: "cannot accept" in caplog.text, "accepting has failed")
    await server.stop()
    await soon(server.wait())


async def test_a_connection_that_cannot_be_served_disturbs_nobody(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    loop = asyncio.get_running_loop()
    connect_accepted_socket = loop.connect_accepted_socket
    failures = iter([ZeroDivisionError("on purpose")])

    async def failing(*args: Any) -> Any:
        for failure in failures:
            raise failure
        return await connect_accepted_socket(*args)

    monkeypatch.setattr(loop, "connect_accepted_socket", failing)
    with pytest.raises(ConnectionClosed):
        await (await connect(server)).request("x")
    assert "a connection could not be served" in caplog.text
    assert await (await connect(server)).request("x") == "x"


async def test_a_burst_of_clients_is_accepted_whole(serve: Any, connect: Any, spawn: Any, address: Any) -> None:
    server = await serve(at=address)

    async def ask(i: int) -> Any:
        return await (await connect(server)).request(i)

    asking = [spawn(ask, i) for i in range(100)]
    assert [await soon(one) for one in asking] == list(range(100))


async def test_two_servers_of_one_process_do_not_share_anything(serve: Any, connect: Any) -> None:
    first = await serve(lambda connection, message: "first", user_to_key=USERS.get)
    second = await serve(lambda connection, message: "second", user_to_key={"myuser": USERS["another"]}.get)
    assert await (await connect(first, secure=True)).request("who?") == "first"
    assert await (await connect(second, "myuser", USERS["another"])).request("who?") == "second"
    await first.stop()
    await soon(first.wait())
    assert await (await connect(second, "myuser", USERS["another"])).request("who?") == "second"


# On an event loop.


async def test_a_connection_that_is_being_set_up_when_the_server_stops_is_closed(serve: Any, address: Any) -> None:
    for turns in range(8):
        server = await serve(at=address)
        peer = RawPeer.connect(server.address)
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.stop()
        with contextlib.suppress(ConnectionResetError):  # it was not accepted at all
            assert await Awaited(peer).read_to_end() == b""
        peer.close()
        await soon(server.wait())


async def test_a_connection_whose_setting_up_is_cancelled_is_forgotten(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve()
    loop = asyncio.get_running_loop()
    connect_accepted_socket = loop.connect_accepted_socket
    failures = iter([asyncio.CancelledError()])

    async def failing(*args: Any) -> Any:
        for failure in failures:
            raise failure
        return await connect_accepted_socket(*args)

    monkeypatch.setattr(loop, "connect_accepted_socket", failing)
    with pytest.raises(ConnectionClosed):
        await (await connect(server)).request("x")
    assert await (await connect(server)).request("x") == "x"
