"""Requests and their answers: many at once, in any order, both ways; and those that fail."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from bokbok.asyncio import Limits, open_connection, start_server
from bokbok.errors import (
    ConnectionClosed,
    RemoteError,
    RemoteProtocolError,
    RequestTimeout,
    UnreadableAnswer,
    WriteError,
)
from bokbok.service import async_handler as service
from bokbok.sexpr import Symbol
from tests.support.leaks import soon
from tests.support.peers import USERS


class Gates(dict[Any, asyncio.Event]):
    """A handler that answers a message once its gate is open."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Any] = asyncio.Queue()

    def __missing__(self, message: Any) -> asyncio.Event:
        return self.setdefault(message, asyncio.Event())

    async def __call__(self, connection: Any, message: Any) -> Any:
        self.arrived.put_nowait(message)
        assert await soon(self[message].wait())
        return message


# Asking.


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
async def test_a_request_is_answered(serve: Any, connect: Any, address: Any, secure: bool) -> None:
    server = await serve(at=address, user_to_key=USERS.get if secure else None)
    message = ["text", Symbol("symbol"), 1, -2.5, [], (1, b"\0"), True]
    assert await (await connect(server, secure=secure)).request(message) == message


async def test_the_server_may_ask_too(serve: Any, connect: Any) -> None:
    server = await serve(lambda connection, message: connection.request(["back", message]))
    connection = await connect(server, on_request=lambda connection, message: [*message, "and forth"])
    assert await connection.request("x") == ["back", "x", "and forth"]


async def test_many_tasks_ask_over_one_connection(serve: Any, connect: Any, address: Any, spawn: Any) -> None:
    connection = await connect(await serve(at=address))

    async def ask(task: int) -> bool:
        return all([await connection.request([task, i]) == [task, i] for i in range(50)])

    assert all([await soon(asking) for asking in [spawn(ask, task) for task in range(20)]])


async def test_both_ends_ask_at_the_same_time(serve: Any, connect: Any, spawn: Any) -> None:
    opened: asyncio.Queue[Any] = asyncio.Queue()
    here = await connect(await serve(on_open=opened.put_nowait), on_request=lambda connection, message: message)
    there = await soon(opened.get())

    async def ask(connection: Any, name: str) -> bool:
        return all([await connection.request([name, i]) == [name, i] for i in range(100)])

    asking = [spawn(ask, end, f"{end} {i}") for end in (here, there) for i in range(5)]
    assert all([await soon(one) for one in asking])


async def test_answers_come_in_any_order(serve: Any, connect: Any, spawn: Any) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    asking = {}
    for name in "abc":
        asking[name] = spawn(connection.request, name)
        assert await soon(gates.arrived.get()) == name
    for name in "bca":
        assert not asking[name].done()
        gates[name].set()
        assert await soon(asking[name]) == name


async def test_a_handler_that_takes_its_time_holds_up_no_other(serve: Any, connect: Any, spawn: Any) -> None:
    gates = Gates()
    gates["quick"].set()
    connection = await connect(await serve(gates))
    slow = [spawn(connection.request, f"slow {i}") for i in range(20)]
    for _ in slow:
        await soon(gates.arrived.get())
    assert await connection.request("quick") == "quick"
    for i in range(20):
        gates[f"slow {i}"].set()
    assert [await soon(asking) for asking in slow] == [f"slow {i}" for i in range(20)]


async def test_a_handler_may_ask_over_the_same_connection_and_so_on_many_deep(
    serve: Any, connect: Any, address: Any
) -> None:
    connection = await connect(await serve(service(), at=address), on_request=service())
    assert await connection.request(["relay", 50, "x"]) == "x"


async def test_many_handlers_may_ask_back_at_once(serve: Any, connect: Any, spawn: Any) -> None:
    connection = await connect(await serve(service()), on_request=service())
    asking = [spawn(connection.request, ["callback", 10, i]) for i in range(20)]
    assert [await soon(one) for one in asking] == [[[n, i] for n in range(10)] for i in range(20)]


async def test_a_connection_may_be_asked_while_its_handlers_wait_for_it(serve: Any, connect: Any, spawn: Any) -> None:
    connection = await connect(await serve(service()), on_request=service())
    asking = [spawn(connection.request, ["relay", 20, i]) for i in range(10)]
    assert [await connection.request(["echo", i]) for i in range(100)] == list(range(100))
    assert [await soon(one) for one in asking] == list(range(10))


async def test_a_handler_that_has_no_result_answers_with_the_empty_list(serve: Any, connect: Any) -> None:
    assert await (await connect(await serve(lambda connection, message: None))).request("x") == []


async def test_an_unspecified_value_of_the_other_end_is_none(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    asking = spawn(connection.request, "x")
    await peer.receive()
    await peer.send_message(b"(response 0 #<unspecified>)")
    assert await soon(asking) is None


async def test_requests_are_numbered_in_the_order_in_which_they_are_sent(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    asking = [spawn(connection.request, Symbol("x")) for _ in range(50)]
    assert [await peer.receive() for _ in asking] == [b"(request %d x)" % i for i in range(50)]
    await peer.send_message(*[b"(response %d %d)" % (i, i) for i in range(50)])
    assert sorted([await soon(one) for one in asking]) == list(range(50))


# Sizes.


async def test_large_messages_travel_both_ways_at_once(serve: Any, connect: Any, address: Any, spawn: Any) -> None:
    server = await serve(service(), at=address)
    connection = await connect(server, on_request=service())
    large = "x" * 4_000_000
    asking = [spawn(connection.request, ["callback", 2, large]), spawn(connection.request, ["echo", large])]
    assert await connection.request(["echo", "small"]) == "small"
    assert await soon(asking[0]) == [[0, large], [1, large]]
    assert await soon(asking[1]) == large


async def test_a_message_of_nearly_the_largest_size_travels(serve: Any, connect: Any) -> None:
    large = b"\xff" * (8 * 1024 * 1024 - 50)  # two digits a byte
    assert await (await connect(await serve())).request(large) == large


async def test_a_message_over_the_packet_limit_is_refused_before_it_is_sent(serve: Any, connect: Any) -> None:
    connection = await connect(await serve(), limits=Limits(packet=1000))
    with pytest.raises(WriteError, match=r"needs a packet of 1014 bytes; the limit is 1000"):
        await connection.request("x" * 1000)
    assert await connection.request("x") == "x"


async def test_an_answer_over_the_packet_limit_is_an_error_that_says_so(serve: Any, connect: Any) -> None:
    connection = await connect(await serve(lambda connection, message: "x" * 1000, limits=Limits(packet=1000)))
    with pytest.raises(RemoteError, match="needs a packet of 1015 bytes; the limit is 1000"):
        await connection.request("x")


async def test_a_packet_over_the_receivers_limit_ends_the_connection(serve: Any, connect: Any) -> None:
    connection = await connect(await serve(limits=Limits(packet=1000)))
    with pytest.raises(ConnectionClosed):
        await connection.request("x" * 1000)


async def test_a_deep_datum_travels(serve: Any, connect: Any) -> None:
    deep: Any = []
    for _ in range(9_999):
        deep = [deep]
    answer = await (await connect(await serve())).request(deep)
    depth = 1
    while answer:
        (answer,) = answer
        depth += 1
    assert depth == 10_000


async def test_a_datum_that_is_too_deep_fails_its_request_alone(serve: Any, connect: Any) -> None:
    connection = await connect(await serve(limits=Limits(depth=10)))
    deep: Any = []
    for _ in range(10):
        deep = [deep]
    with pytest.raises(RemoteError, match="the request cannot be read"):
        await connection.request(deep)
    assert await connection.request(deep[0]) == deep[0]


# Not waiting any more.


async def test_a_request_that_is_not_answered_in_time_is_a_timeout(serve: Any, connect: Any, address: Any) -> None:
    gates = Gates()
    connection = await connect(await serve(gates, at=address))
    with pytest.raises(RequestTimeout, match=r"no answer within 0\.01 s") as raised:
        await connection.request("late", timeout=0.01)
    assert isinstance(raised.value, TimeoutError)
    assert not connection.closed
    gates["late"].set()


@pytest.mark.parametrize("answer", [b"(response 0 late)", b'(error 0 "late")', b"(response 0 #<late>)"])
async def test_a_late_answer_is_dropped(met: Any, spawn: Any, answer: bytes) -> None:
    connection, peer = await met()
    with pytest.raises(RequestTimeout):
        await connection.request("x", timeout=0.01)
    asking = spawn(connection.request, "y")
    assert await peer.receive() == b'(request 0 "x")'
    assert await peer.receive() == b'(request 1 "y")'
    await peer.send_message(answer, b"(response 1 good)")
    assert await soon(asking) == Symbol("good")


async def test_a_late_answer_that_comes_twice_ends_the_connection(met: Any) -> None:
    connection, peer = await met()
    with pytest.raises(RequestTimeout):
        await connection.request("x", timeout=0.01)
    await peer.send_message(b"(response 0 late)", b"(response 0 late)")
    with pytest.raises(RemoteProtocolError, match="an answer to request 0, which waits for none"):
        await connection.request("y")


@pytest.mark.parametrize("timeout", [60, 1e9, float("inf")])
async def test_a_timeout_that_is_long_enough_changes_nothing(serve: Any, connect: Any, timeout: float) -> None:
    assert await (await connect(await serve())).request("x", timeout=timeout) == "x"


@pytest.mark.parametrize(("timeout", "raises"), [(float("nan"), ValueError), ("1", TypeError), (True, TypeError)])
async def test_a_timeout_that_is_none_is_refused_and_nothing_is_sent(
    met: Any, timeout: Any, raises: Any, spawn: Any
) -> None:
    connection, peer = await met()
    with pytest.raises(raises, match="timeout: expected seconds or None"):
        await connection.request("x", timeout=timeout)
    asking = spawn(connection.request, "y")
    assert await peer.receive() == b'(request 0 "y")'
    await peer.send_message(b"(response 0 good)")
    assert await soon(asking) == Symbol("good")


@pytest.mark.parametrize("timeout", [0, -1])
async def test_a_request_may_be_sent_without_waiting_for_its_answer(
    serve: Any, connect: Any, address: Any, timeout: float
) -> None:
    gates = Gates()
    connection = await connect(await serve(gates, at=address))
    with pytest.raises(RequestTimeout):
        await connection.request("sent", timeout=timeout)
    assert await soon(gates.arrived.get()) == "sent"
    gates["sent"].set()
    gates["another"].set()
    assert await connection.request("another") == "another"


async def test_timeouts_of_some_leave_others_alone(serve: Any, connect: Any, spawn: Any) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    patient = [spawn(connection.request, f"patient {i}") for i in range(10)]
    hasty = [spawn(connection.request, f"hasty {i}", timeout=0.01) for i in range(10)]
    for one in hasty:
        with pytest.raises(RequestTimeout):
            await soon(one)
    for i in range(10):
        gates[f"hasty {i}"].set()
        gates[f"patient {i}"].set()
    assert [await soon(one) for one in patient] == [f"patient {i}" for i in range(10)]


async def test_a_cancelled_request_stops_waiting_and_its_answer_is_dropped(
    serve: Any, connect: Any, spawn: Any
) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    asking = spawn(connection.request, "cancelled")
    assert await soon(gates.arrived.get()) == "cancelled"
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gates["cancelled"].set()
    gates["another"].set()
    assert await connection.request("another") == "another"


async def test_a_request_that_is_cancelled_before_it_was_sent_is_sent_and_nobody_waits(
    serve: Any, connect: Any, spawn: Any
) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    others = [spawn(connection.request, i) for i in range(3)]  # so that there is something to be sent together with
    asking = spawn(connection.request, "cancelled")
    await asyncio.sleep(0)
    asking.cancel()
    assert {await soon(gates.arrived.get()) for _ in range(4)} == {0, 1, 2, "cancelled"}
    for i in range(3):
        gates[i].set()
        assert await soon(others[i]) == i
    gates["cancelled"].set()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_request_may_be_limited_by_who_waits_for_it(serve: Any, connect: Any) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(connection.request("late"), 0.01)
    gates["late"].set()
    gates["another"].set()
    assert await connection.request("another") == "another"


async def test_a_request_that_is_cancelled_at_the_moment_of_its_end_leaves_no_complaint(met: Any, spawn: Any) -> None:
    connection, peer = await met()

    async def ask_and_cancel() -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.request("first")
        second.cancel()  # which has its answer already, and did not have its turn yet

    first = spawn(ask_and_cancel)
    await peer.receive()
    second = spawn(connection.request, "second")
    await peer.receive()
    await peer.close()
    await soon(first)
    with pytest.raises(asyncio.CancelledError):
        await soon(second)
    # The fixture of all tests looks for complaints.


async def test_a_timeout_is_kept_in_the_middle_of_a_lively_conversation(serve: Any, connect: Any) -> None:
    gates = Gates()
    connection = await connect(await serve(gates))
    for i in range(20):
        gates[i].set()
        assert await connection.request(i) == i
        with pytest.raises(RequestTimeout):
            await connection.request(f"late {i}", timeout=0.002)
    for i in range(20):
        gates[f"late {i}"].set()


# What cannot travel.


async def test_a_message_without_a_form_is_refused_and_nothing_is_sent(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    with pytest.raises(WriteError, match=r"message\[1\]\[0\]: .*object"):
        await connection.request([1, [object()]])
    asking = spawn(connection.request, "x")
    assert await peer.receive() == b'(request 0 "x")'
    await peer.send_message(b"(response 0 y)")
    await soon(asking)


async def test_an_answer_without_a_form_is_an_error_that_names_it(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await connect(await serve(lambda connection, message: [message, echo_of_nothing]))
    with pytest.raises(RemoteError, match=r"the answer cannot travel: message\[1\]: .*function"):
        await connection.request("x")
    assert "the request handler's answer cannot travel" in caplog.text
    assert not connection.closed


def echo_of_nothing() -> None:
    pass


async def test_an_answer_that_contains_itself_is_an_error(serve: Any, connect: Any) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(RemoteError, match="the answer cannot travel"):
        await (await connect(await serve(lambda connection, message: cycle))).request("x")


async def test_an_answer_that_fails_while_it_is_written_is_an_error(serve: Any, connect: Any) -> None:
    class Broken(list[Any]):
        def __iter__(self) -> Any:
            raise ZeroDivisionError("on purpose")

    connection = await connect(await serve(lambda connection, message: Broken([1]) if message == "fail" else message))
    with pytest.raises(RemoteError, match="the answer cannot be written: ZeroDivisionError: on purpose"):
        await connection.request("fail")
    assert await connection.request("x") == "x"


async def test_an_answer_that_does_not_read_fails_its_request_alone(met: Any, spawn: Any) -> None:
    connection, peer = await met()
    first = spawn(connection.request, "x")
    await peer.receive()
    second = spawn(connection.request, "y")
    await peer.receive()
    await peer.send_message(b"(response 0 #<procedure>)", b"(response 1 good)")
    with pytest.raises(UnreadableAnswer, match=r"the answer cannot be read: .* at byte 12"):
        await soon(first)
    assert await soon(second) == Symbol("good")


async def test_a_request_that_does_not_read_is_answered_with_an_error_and_runs_no_handler(
    serve: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[Any] = []
    peer = await raw(await serve(lambda connection, message: ran.append(message)))
    await peer.send_message(b"(request 0 #<procedure>)", b"(request 1 x)")
    answers = {await peer.receive(), await peer.receive()}
    assert b"(response 1 ())" in answers
    (error,) = answers - {b"(response 1 ())"}
    assert error.startswith(b'(error 0 "the request cannot be read: ')
    assert ran == [Symbol("x")]
    assert "a request that cannot be read" in caplog.text


# Handlers that fail.


def failing(error: BaseException) -> Any:
    def on_request(connection: Any, message: Any) -> Any:
        if message == "fail":
            raise error
        return message

    return on_request


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (KeyError("key"), "KeyError: 'key'"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (RemoteError("said elsewhere"), "said elsewhere"),
        (ValueError("\x1b[31m \udcff €"), "ValueError: \x1b[31m \udcff €"),
        (asyncio.CancelledError(), "CancelledError"),
        (GeneratorExit(), "GeneratorExit"),
    ],
    ids=ascii,
)
async def test_a_handlers_error_is_raised_at_the_other_end_with_its_text(
    serve: Any, connect: Any, error: BaseException, text: str
) -> None:
    connection = await connect(await serve(failing(error)))
    with pytest.raises(RemoteError) as raised:
        await connection.request("fail")
    assert raised.value.message == text
    assert await connection.request("x") == "x"


async def test_an_error_that_cannot_be_shown_is_told_by_its_class(serve: Any, connect: Any) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(RemoteError, match=r"^Mute$"):
        await (await connect(await serve(failing(Mute())))).request("fail")


async def test_a_very_long_error_is_cut(serve: Any, connect: Any) -> None:
    connection = await connect(await serve(failing(ValueError("x" * 5000)), limits=Limits(packet=1000)))
    with pytest.raises(RemoteError, match=r"^ValueError: x+ … \(cut\)$"):
        await connection.request("fail")


async def test_a_remote_error_that_passes_through_handlers_is_not_wrapped(serve: Any, connect: Any) -> None:
    async def pass_on(connection: Any, message: Any) -> Any:
        if message == 0:
            raise ValueError("at the very end")
        return await connection.request(message - 1)

    connection = await connect(await serve(pass_on), on_request=pass_on)
    with pytest.raises(RemoteError) as raised:
        await connection.request(5)
    assert raised.value.message == "ValueError: at the very end"


async def test_an_error_of_one_leaves_others_alone(serve: Any, connect: Any, spawn: Any) -> None:
    gates = Gates()

    def on_request(connection: Any, message: Any) -> Any:
        if message == "fail":
            raise ValueError("on purpose")
        return gates(connection, message)

    connection = await connect(await serve(on_request))
    waiting = spawn(connection.request, "x")
    assert await soon(gates.arrived.get()) == "x"
    with pytest.raises(RemoteError, match="on purpose"):
        await connection.request("fail")
    gates["x"].set()
    assert await soon(waiting) == "x"


async def test_without_a_handler_a_request_is_answered_with_an_error_that_says_so(serve: Any, connect: Any) -> None:
    with pytest.raises(RemoteError, match="takes no requests: it has no request handler"):
        await (await connect(await serve(None))).request("x")
    with pytest.raises(RemoteError, match="takes no requests: it has no request handler"):
        await (await connect(await serve(lambda connection, message: connection.request("back")))).request("x")


# What the other end must not do.


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"(response 7 x)", "an answer to request 7, which waits for none"),
        (b"hello", "a message is a list; got a datum of type symbol"),
        (b"(request 0 x) y", "bytes after the message"),
        (b"", "a message that does not read"),
    ],
)
async def test_a_message_against_the_rules_ends_the_connection_and_fails_what_waits(
    met: Any, spawn: Any, caplog: pytest.LogCaptureFixture, body: bytes, reason: str
) -> None:
    connection, peer = await met()
    asking = [spawn(connection.request, i) for i in range(3)]
    for _ in asking:
        await peer.receive()
    await peer.send_message(body)
    for one in asking:
        with pytest.raises(RemoteProtocolError, match=reason):
            await soon(one)
    assert reason in connection.close_reason
    with pytest.raises(RemoteProtocolError, match=reason):
        await connection.request("x")
    assert await peer.read_to_end() == b""
    assert reason in caplog.text


async def test_a_peer_that_breaks_the_rules_does_not_disturb_others(serve: Any, raw: Any, connect: Any) -> None:
    server = await serve()
    connection = await connect(server)
    for data in (b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\0\0\0\5(()))"):
        peer = await raw(server)
        await peer.send(data)
        assert await peer.read_to_end() == b""
    assert await connection.request("x") == "x"


async def test_what_came_before_a_fault_is_still_answered_or_dropped_but_never_lost_elsewhere(
    serve: Any, raw: Any, connect: Any
) -> None:
    server = await serve()
    peer = await raw(server)
    await peer.send_message(b"(request 0 x)", b"nonsense", b"(request 1 y)")
    assert b"(response 1 y)" not in await peer.read_to_end()
    assert await (await connect(server)).request("x") == "x"


# Handlers of every kind.


async def test_a_handler_may_be_a_plain_function(serve: Any, connect: Any) -> None:
    connection = await connect(await serve(lambda connection, message: message))
    assert [await connection.request(i) for i in range(10)] == list(range(10))


async def test_a_handler_may_be_an_object_with_a_coroutine_method(serve: Any, connect: Any) -> None:
    class Handler:
        async def __call__(self, connection: Any, message: Any) -> Any:
            await asyncio.sleep(0)
            return message

    assert await (await connect(await serve(Handler()))).request("x") == "x"


async def test_a_plain_handler_may_return_a_coroutine_for_some_requests(serve: Any, connect: Any) -> None:
    async def later(message: Any) -> Any:
        await asyncio.sleep(0)
        return message

    connection = await connect(await serve(lambda connection, message: later(message) if message % 2 else message))
    assert [await connection.request(i) for i in range(6)] == list(range(6))


@pytest.mark.parametrize(
    "error", [ValueError("on purpose"), asyncio.CancelledError("on purpose")], ids=["error", "cancelled"]
)
async def test_a_coroutine_that_fails_is_an_error_of_its_request(serve: Any, connect: Any, error: Any) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        if message == "fail":
            raise error
        return message

    connection = await connect(await serve(on_request))
    with pytest.raises(RemoteError, match="on purpose"):
        await connection.request("fail")
    assert await connection.request("x") == "x"


async def test_a_thousand_plain_handlers_in_a_row_do_not_nest(serve: Any, raw: Any) -> None:
    peer = await raw(await serve(lambda connection, message: message, limits=Limits(running=1)))
    await peer.send_message(*[b"(request %d x)" % i for i in range(3000)])
    assert [await peer.receive() for _ in range(3000)] == [b"(response %d x)" % i for i in range(3000)]


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_handler_that_exits_ends_the_event_loop(tmp_path: Any, kind: str) -> None:
    def plain(connection: Any, message: Any) -> Any:
        raise SystemExit(3)

    async def coroutine(connection: Any, message: Any) -> Any:
        raise SystemExit(3)

    async def main() -> None:
        on_request = plain if kind == "plain" else coroutine
        async with (
            start_server(str(tmp_path / "s"), on_request) as server,
            open_connection(server.address) as connection,
        ):
            await connection.request("x")

    with pytest.raises(SystemExit) as raised:
        asyncio.run(main())
    assert raised.value.code == 3


async def test_a_handler_that_is_cancelled_before_it_has_begun_is_answered_with_an_error(
    serve: Any, connect: Any
) -> None:
    server = await serve(_echo_in_coroutine)
    connection = await connect(server)

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        if coroutine.__qualname__ == "Connection._handle":
            task.cancel()
        return task

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        with pytest.raises(RemoteError, match="CancelledError"):
            await connection.request("x")
    finally:
        loop.set_task_factory(None)
    assert await connection.request("x") == "x"
    await server.stop()
    await asyncio.wait_for(server.wait(), 10)


@pytest.mark.parametrize("error", [type("Odd", (BaseException,), {}), asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("when", ["at once", "later"])
async def test_whatever_a_handler_raises_is_its_requests_error(
    serve: Any, connect: Any, error: type[BaseException], when: str
) -> None:
    async def on_request(connection: Any, message: Any) -> Any:
        if message == "fail":
            if when == "later":
                await asyncio.sleep(0)
            raise error("on purpose")
        return message

    server = await serve(on_request)
    connection = await connect(server)
    with pytest.raises(RemoteError, match=f"{error.__name__}: on purpose"):
        await connection.request("fail")
    assert await connection.request("x") == "x"
    await server.stop()
    await asyncio.wait_for(server.wait(), 10)


async def _echo_in_coroutine(connection: Any, message: Any) -> Any:
    return message
