"""How connections through a bridge end: closes, half-closes, dead targets, protocol errors, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bokbok.asyncio import open_connection
from bokbok.bridge import start_bridge
from bokbok.errors import AddressError, ConnectFailed, ConnectionClosed, ProfileError, RemoteError
from bokbok.wire import Limits
from tests.bridge.conftest import Rig
from tests.support.leaks import eventually_async, soon
from tests.support.peers import USERS

Closing = Callable[[], tuple[Any, asyncio.Event]]


class Held:
    """A handler that holds every request until it is released."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[Any] = asyncio.Queue()
        self.may_answer = asyncio.Event()

    async def __call__(self, connection: Any, message: Any) -> Any:
        self.came.put_nowait((connection, message))
        await self.may_answer.wait()
        return message


@pytest.fixture
def held() -> Any:
    return Held()


# Either side closes.


async def test_a_client_that_closes_ends_the_targets_connection(rig: Rig, closing: Closing) -> None:
    on_close, closed = closing()
    client = await rig.client(await rig.bridge(await rig.server(on_close=on_close)))
    assert await soon(client.request(["ping", "x"])) == ["pong", "x"]
    await client.close()
    await soon(closed.wait())


async def test_a_target_that_closes_ends_the_clients_connection(rig: Rig, closing: Closing) -> None:
    on_close, closed = closing()
    client = await rig.client(await rig.bridge(await rig.server()), on_close=on_close)
    with pytest.raises(ConnectionClosed, match="the other end closed the connection"):
        await soon(client.request(["close"]))
    await soon(closed.wait())


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_client_that_vanishes_ends_the_targets_connection(rig: Rig, closing: Closing, kind: str) -> None:
    on_close, closed = closing()
    bridge = await rig.bridge(await rig.server(on_close=on_close), at=kind)
    peer = await rig.raw_client(bridge)
    await peer.send_message(b"(request 0 1)")
    assert (await peer.receive()).startswith(b"(error 0 ")
    peer.blocking.kill()
    await soon(closed.wait())


async def test_requests_that_wait_at_the_target_fail_as_network_errors_when_the_client_closes(
    rig: Rig, held: Held
) -> None:
    opened: asyncio.Queue[Any] = asyncio.Queue()
    server = await rig.server(on_open=opened.put_nowait)
    client = await rig.client(await rig.bridge(server), on_request=held)
    waiting = asyncio.ensure_future((await soon(opened.get())).request("wait"))
    await soon(held.came.get())
    await client.close()
    with pytest.raises(ConnectionClosed):
        await soon(waiting)
    held.may_answer.set()


async def test_an_answer_just_before_a_close_arrives(rig: Rig) -> None:
    listener = await rig.raw_target()
    client = await rig.client(await rig.bridge(listener))
    asked = asyncio.ensure_future(client.request("x"))
    target = await rig.accepted(listener)
    await target.receive()
    await target.send_message(b"(response 0 last-words)")
    target.blocking.close()
    assert str(await soon(asked)) == "last-words"


async def test_a_half_close_is_handed_on_and_the_answers_still_come(rig: Rig, held: Held, closing: Closing) -> None:
    on_close, closed = closing()
    bridge = await rig.bridge(await rig.server(held, on_close=on_close))
    peer = await rig.raw_client(bridge)
    await peer.send_message(b"(request 0 x)", b"(request 1 y)")
    connection, _ = await soon(held.came.get())
    await soon(held.came.get())
    own = asyncio.ensure_future(connection.request("a question of the target's own"))
    assert await peer.receive() == b'(request 0 "a question of the target\'s own")'
    await peer.finish()
    await soon(closed.wait())  # at once, while its handlers run
    with pytest.raises(ConnectionClosed):
        await soon(own)
    assert await peer.silent()
    held.may_answer.set()
    assert {await peer.receive(), await peer.receive()} == {b"(response 0 x)", b"(response 1 y)"}
    assert await peer.read_to_end() == b""


async def test_a_half_close_of_the_target_is_handed_on_and_the_clients_answers_still_come(
    rig: Rig, held: Held, closing: Closing
) -> None:
    on_close, closed = closing()
    listener = await rig.raw_target()
    client = await rig.client(await rig.bridge(listener), on_request=held, on_close=on_close)
    target = await rig.accepted(listener)
    await target.send_message(b"(request 0 x)")
    await soon(held.came.get())
    own = asyncio.ensure_future(client.request("mine"))
    assert await target.receive() == b'(request 0 "mine")'
    await target.finish()
    await soon(closed.wait())
    with pytest.raises(ConnectionClosed):
        await soon(own)
    held.may_answer.set()
    assert await target.receive() == b"(response 0 x)"
    assert await target.read_to_end() == b""


async def test_requests_after_the_targets_end_of_file_are_over_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener)
    peer = await rig.raw_client(bridge)
    target = await rig.accepted(listener)
    await target.send_message(b"(request 0 x)")
    await target.finish()
    assert await peer.receive() == b"(request 0 x)"
    assert await peer.read_to_end() == b""
    (leg,) = bridge._roster.connections
    protocol = leg._wire
    failed: list[int] = []
    fail = protocol.fail
    monkeypatch.setattr(protocol, "fail", lambda id, text: (failed.append(id), fail(id, text)))
    await peer.send_message(*(b"(request %d y)" % number for number in range(1000)))
    await eventually_async(lambda: len(failed) == 1000, "all of them have come")
    assert protocol.unanswered == 0
    await peer.send_message(b"(response 0 z)")
    assert await target.receive() == b"(response 0 z)"
    assert await target.read_to_end() == b""


async def test_what_comes_with_an_end_of_file_before_the_target_is_there_is_answered(rig: Rig) -> None:
    may_log_in = asyncio.Event()

    async def login(user: Any) -> Any:
        await may_log_in.wait()
        return "myuser", USERS["myuser"]

    server = await rig.server(lambda connection, message: message, user_to_key=USERS.get)
    peer = await rig.raw_client(await rig.bridge(server, user_to_login=login))
    await peer.send_message(b"(request 0 x)")
    await peer.finish()
    may_log_in.set()
    assert await peer.receive() == b"(response 0 x)"
    assert await peer.read_to_end() == b""


@pytest.mark.parametrize("bad", [b"(nonsense)", b"(response 7 x)"])
async def test_a_protocol_error_of_the_client_ends_both(rig: Rig, closing: Closing, bad: bytes) -> None:
    on_close, closed = closing()
    peer = await rig.raw_client(await rig.bridge(await rig.server(on_close=on_close)))
    await peer.send_message(b'(request 0 ("echo" 1))')
    assert await peer.receive() == b"(response 0 1)"
    await peer.send_message(bad)
    assert await peer.read_to_end() == b""
    await soon(closed.wait())


async def test_a_protocol_error_of_the_target_ends_both(
    rig: Rig, closing: Closing, caplog: pytest.LogCaptureFixture
) -> None:
    on_close, closed = closing()
    listener = await rig.raw_target()
    client = await rig.client(await rig.bridge(listener), on_close=on_close)
    asked = asyncio.ensure_future(client.request("x"))
    target = await rig.accepted(listener)
    await target.receive()
    await target.send_message(b"(response 1 x)")
    with pytest.raises(ConnectionClosed):
        await soon(asked)
    await soon(closed.wait())
    assert await target.read_to_end() == b""
    assert "<bridge's target" in caplog.text
    assert "an answer to request 1, which does not wait for one" in caplog.text


async def test_an_end_within_a_packet_ends_both(rig: Rig, closing: Closing, caplog: pytest.LogCaptureFixture) -> None:
    on_close, closed = closing()
    peer = await rig.raw_client(await rig.bridge(await rig.server(on_close=on_close)))
    await peer.send(b"\0\0\0\x05(re")
    await peer.finish()
    assert await peer.read_to_end() == b""
    await soon(closed.wait())
    assert "in the middle of a packet" in caplog.text


async def test_no_hello_in_time_ends_the_client_and_the_target_hears_nothing(rig: Rig) -> None:
    opened: list[Any] = []
    bridge = await rig.bridge(
        await rig.server(on_open=opened.append), user_to_key=USERS.get, limits=Limits(hello_timeout=0.05)
    )
    peer = await rig.raw_client(bridge)
    assert await peer.read_to_end() == b""
    assert opened == []


# A target that cannot be reached.


async def test_a_dead_target_ends_the_client_and_is_logged_and_the_bridge_goes_on(
    rig: Rig, closing: Closing, caplog: pytest.LogCaptureFixture
) -> None:
    on_close, closed = closing()
    place = rig.place()
    bridge = await rig.bridge(place)
    client = await rig.client(bridge, on_close=on_close)
    with pytest.raises(ConnectionClosed):
        await soon(client.request("x"))
    await soon(closed.wait())
    assert f"not connected to the target: ConnectFailed: cannot connect to {place[1]}: " in caplog.text
    assert "Traceback" not in caplog.text
    server = await rig.server()
    bridge.target = server.address
    assert await soon((await rig.client(bridge)).request(["ping", "x"])) == ["pong", "x"]


async def test_a_target_that_is_not_reached_in_time_ends_the_client(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    listener = await rig.raw_target()
    await listener.fill()
    client = await rig.client(await rig.bridge(listener, connect_timeout=0.05))
    with pytest.raises(ConnectionClosed):
        await soon(client.request("x"))
    assert "no answer within 0.05 s" in caplog.text


async def test_a_lookup_that_fails_ends_the_client_and_shows_where(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def login(user: Any) -> Any:
        raise RuntimeError("on purpose")

    client = await rig.client(await rig.bridge(await rig.server(), user_to_login=login))
    with pytest.raises(ConnectionClosed):
        await soon(client.request("x"))
    assert "not connected to the target: RuntimeError: on purpose" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_client_that_goes_while_the_target_is_being_reached_leaves_nothing(rig: Rig) -> None:
    listener = await rig.raw_target()
    await listener.fill()
    bridge = await rig.bridge(listener)
    peer = await rig.raw_client(bridge)
    await eventually_async(lambda: bridge._roster.connections, "the bridge has accepted it")
    await bridge.stop()  # its connection is not read while the target is not there: stopping ends it
    assert await peer.read_to_end() == b""
    await soon(bridge.wait())


# Stopping.


async def test_stopping_answers_what_is_under_way_refuses_what_is_new_and_takes_callbacks(rig: Rig) -> None:
    may_ask_back = asyncio.Event()
    began = asyncio.Event()

    async def ask_back(connection: Any, message: Any) -> Any:
        began.set()
        await may_ask_back.wait()
        return await connection.request(["echo", message])

    bridge = await rig.bridge(await rig.server(ask_back))
    client = await rig.client(bridge)
    asked = asyncio.ensure_future(client.request("under way"))
    await soon(began.wait())
    await bridge.stop()
    with pytest.raises(RemoteError, match="stopping"):
        await soon(client.request("new"))
    with pytest.raises(ConnectFailed):
        await open_connection(bridge.address)
    may_ask_back.set()
    assert await soon(asked) == "under way"
    await soon(bridge.wait())
    await eventually_async(lambda: client.closed, "the client is told")


async def test_stopping_waits_for_what_the_target_asks_too_and_refuses_its_new_ones(rig: Rig, held: Held) -> None:
    opened: asyncio.Queue[Any] = asyncio.Queue()
    bridge = await rig.bridge(await rig.server(on_open=opened.put_nowait))
    await rig.client(bridge, on_request=held)
    accepted = await soon(opened.get())
    asked = asyncio.ensure_future(accepted.request("under way"))
    await soon(held.came.get())
    await bridge.stop()
    with pytest.raises(RemoteError, match="stopping"):
        await soon(accepted.request("new"))
    held.may_answer.set()
    assert await soon(asked) == "under way"
    await soon(bridge.wait())


async def test_stopping_an_idle_bridge_ends_both_sides_without_a_reset(rig: Rig, closing: Closing) -> None:
    on_close, closed = closing()
    bridge = await rig.bridge(await rig.server(on_close=on_close))
    peer = await rig.raw_client(bridge)
    await peer.send_message(b'(request 0 ("echo" 1))')
    assert await peer.receive() == b"(response 0 1)"
    await bridge.stop()
    await peer.send_message(b"(request 1 x)")  # crosses the end
    await peer.read_to_end()
    peer.blocking.close()
    await soon(closed.wait())
    await soon(bridge.wait())


async def test_stopping_does_not_wait_for_a_target_that_is_not_there_yet(rig: Rig) -> None:
    asked_for: asyncio.Queue[Any] = asyncio.Queue()

    async def login(user: Any) -> Any:
        asked_for.put_nowait(user)
        await asyncio.Event().wait()

    bridge = await rig.bridge(await rig.server(), user_to_login=login)
    client = await rig.client(bridge)
    asked = asyncio.ensure_future(client.request("x"))
    await soon(asked_for.get())
    await bridge.stop()
    with pytest.raises(ConnectionClosed):
        await soon(asked)
    await soon(bridge.wait())


# Wrong from the start.


async def test_wrong_arguments_are_told_before_anything_is_bound(rig: Rig) -> None:
    place = rig.place()
    with pytest.raises(AddressError):
        await start_bridge(place, "host:99999")
    with pytest.raises(ProfileError):
        await start_bridge(place, "s", target_profile="unheard-of")
    assert (await rig.bridge(("unix", "s"))).address
