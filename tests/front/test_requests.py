"""Requests and their answers: many at once, in any order, both ways; and those that fail."""

from __future__ import annotations

import queue
from typing import Any

import pytest

from bokbok import Limits
from bokbok.errors import (
    ConnectionClosed,
    RemoteError,
    RemoteProtocolError,
    RequestTimeout,
    UnreadableAnswer,
    WriteError,
)
from bokbok.sexpr import Symbol
from tests.support.fronts import Gates
from tests.support.peers import SOON, USERS

# Asking.


@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
def test_a_request_is_answered(serve: Any, connect: Any, address: Any, secure: bool) -> None:
    server = serve(at=address, user_to_key=USERS.get if secure else None)
    message = ["text", Symbol("symbol"), 1, -2.5, [], (1, b"\0"), True]
    assert connect(server, secure=secure).request(message) == message


def test_the_server_may_ask_too(serve: Any, connect: Any) -> None:
    server = serve(lambda connection, message: connection.request(["back", message]))
    connection = connect(server, on_request=lambda connection, message: [*message, "and forth"])
    assert connection.request("x") == ["back", "x", "and forth"]


def test_many_threads_ask_over_one_connection(serve: Any, connect: Any, address: Any, spawn: Any) -> None:
    connection = connect(serve(at=address))

    def ask(thread: int) -> bool:
        return all(connection.request([thread, i]) == [thread, i] for i in range(50))

    assert all(asking.result(SOON) for asking in [spawn(ask, thread) for thread in range(20)])


def test_both_ends_ask_at_the_same_time(serve: Any, connect: Any, spawn: Any) -> None:
    opened: queue.Queue[Any] = queue.Queue()
    here = connect(serve(on_open=opened.put), on_request=lambda connection, message: message)
    there = opened.get(timeout=SOON)

    def ask(connection: Any, name: str) -> bool:
        return all(connection.request([name, i]) == [name, i] for i in range(100))

    asking = [spawn(ask, end, f"{end} {i}") for end in (here, there) for i in range(5)]
    assert all(one.result(SOON) for one in asking)


def test_answers_come_in_any_order(serve: Any, connect: Any, spawn: Any) -> None:
    gates = Gates()
    connection = connect(serve(gates))
    asking = {}
    for name in "abc":
        asking[name] = spawn(connection.request, name)
        assert gates.arrived.get(timeout=SOON) == name
    for name in "bca":
        assert not asking[name].done()
        gates[name].set()
        assert asking[name].result(SOON) == name


def test_a_handler_that_takes_its_time_holds_up_no_other(serve: Any, connect: Any, spawn: Any) -> None:
    gates = Gates()
    gates["quick"].set()
    connection = connect(serve(gates))
    slow = [spawn(connection.request, f"slow {i}") for i in range(20)]
    for _ in slow:
        gates.arrived.get(timeout=SOON)
    assert connection.request("quick") == "quick"
    for i in range(20):
        gates[f"slow {i}"].set()
    assert [asking.result(SOON) for asking in slow] == [f"slow {i}" for i in range(20)]


def test_a_handler_may_ask_over_the_same_connection_and_so_on_many_deep(
    front: Any, serve: Any, connect: Any, address: Any
) -> None:
    connection = connect(serve(front.service(), at=address), on_request=front.service())
    assert connection.request(["relay", 50, "x"]) == "x"


def test_many_handlers_may_ask_back_at_once(front: Any, serve: Any, connect: Any, spawn: Any) -> None:
    connection = connect(serve(front.service()), on_request=front.service())
    asking = [spawn(connection.request, ["callback", 10, i]) for i in range(20)]
    assert [one.result(SOON) for one in asking] == [[[n, i] for n in range(10)] for i in range(20)]


def test_a_connection_may_be_asked_while_its_handlers_wait_for_it(
    front: Any, serve: Any, connect: Any, spawn: Any
) -> None:
    connection = connect(serve(front.service()), on_request=front.service())
    asking = [spawn(connection.request, ["relay", 20, i]) for i in range(10)]
    assert [connection.request(["echo", i]) for i in range(100)] == list(range(100))
    assert [one.result(SOON) for one in asking] == list(range(10))


def test_a_handler_that_has_no_result_answers_with_the_empty_list(serve: Any, connect: Any) -> None:
    assert connect(serve(lambda connection, message: None)).request("x") == []


def test_an_unspecified_value_of_the_other_end_is_none(met: Any, spawn: Any) -> None:
    connection, peer = met()
    asking = spawn(connection.request, "x")
    peer.receive()
    peer.send_message(b"(response 0 #<unspecified>)")
    assert asking.result(SOON) is None


def test_requests_are_numbered_in_the_order_in_which_they_are_sent(met: Any, spawn: Any) -> None:
    connection, peer = met()
    asking = [spawn(connection.request, Symbol("x")) for _ in range(50)]
    assert [peer.receive() for _ in asking] == [b"(request %d x)" % i for i in range(50)]
    peer.send_message(*[b"(response %d %d)" % (i, i) for i in range(50)])
    assert sorted(one.result(SOON) for one in asking) == list(range(50))


# Sizes.


def test_large_messages_travel_both_ways_at_once(
    front: Any, serve: Any, connect: Any, address: Any, spawn: Any
) -> None:
    server = serve(front.service(), at=address)
    connection = connect(server, on_request=front.service())
    large = "x" * 4_000_000
    asking = [spawn(connection.request, ["callback", 2, large]), spawn(connection.request, ["echo", large])]
    assert connection.request(["echo", "small"]) == "small"
    assert asking[0].result(SOON) == [[0, large], [1, large]]
    assert asking[1].result(SOON) == large


def test_a_message_of_nearly_the_largest_size_travels(serve: Any, connect: Any) -> None:
    large = b"\xff" * (8 * 1024 * 1024 - 50)  # two digits a byte
    assert connect(serve()).request(large) == large


def test_a_message_over_the_packet_limit_is_refused_before_it_is_sent(serve: Any, connect: Any) -> None:
    connection = connect(serve(), limits=Limits(packet=1000))
    with pytest.raises(WriteError, match=r"needs a packet of 1014 bytes; the limit is 1000"):
        connection.request("x" * 1000)
    assert connection.request("x") == "x"


def test_an_answer_over_the_packet_limit_is_an_error_that_says_so(serve: Any, connect: Any) -> None:
    connection = connect(serve(lambda connection, message: "x" * 1000, limits=Limits(packet=1000)))
    with pytest.raises(RemoteError, match="needs a packet of 1015 bytes; the limit is 1000"):
        connection.request("x")


def test_a_packet_over_the_receivers_limit_ends_the_connection(serve: Any, connect: Any) -> None:
    connection = connect(serve(limits=Limits(packet=1000)))
    with pytest.raises(ConnectionClosed):
        connection.request("x" * 1000)


def test_a_deep_datum_travels(serve: Any, connect: Any) -> None:
    deep: Any = []
    for _ in range(9_999):
        deep = [deep]
    answer = connect(serve()).request(deep)
    depth = 1
    while answer:
        (answer,) = answer
        depth += 1
    assert depth == 10_000


def test_a_datum_that_is_too_deep_fails_its_request_alone(serve: Any, connect: Any) -> None:
    connection = connect(serve(limits=Limits(depth=10)))
    deep: Any = []
    for _ in range(10):
        deep = [deep]
    with pytest.raises(RemoteError, match="the request cannot be read"):
        connection.request(deep)
    assert connection.request(deep[0]) == deep[0]


# Not waiting any more.


def test_a_request_that_is_not_answered_in_time_is_a_timeout(serve: Any, connect: Any, address: Any) -> None:
    gates = Gates()
    connection = connect(serve(gates, at=address))
    with pytest.raises(RequestTimeout, match=r"no answer within 0\.01 s") as raised:
        connection.request("late", timeout=0.01)
    assert isinstance(raised.value, TimeoutError)
    assert not connection.closed
    gates["late"].set()


@pytest.mark.parametrize("answer", [b"(response 0 late)", b'(error 0 "late")', b"(response 0 #<late>)"])
def test_a_late_answer_is_dropped(met: Any, spawn: Any, answer: bytes) -> None:
    connection, peer = met()
    with pytest.raises(RequestTimeout):
        connection.request("x", timeout=0.01)
    asking = spawn(connection.request, "y")
    assert peer.receive() == b'(request 0 "x")'
    assert peer.receive() == b'(request 1 "y")'
    peer.send_message(answer, b"(response 1 good)")
    assert asking.result(SOON) == Symbol("good")


def test_a_late_answer_that_comes_twice_ends_the_connection(met: Any) -> None:
    connection, peer = met()
    with pytest.raises(RequestTimeout):
        connection.request("x", timeout=0.01)
    peer.send_message(b"(response 0 late)", b"(response 0 late)")
    with pytest.raises(RemoteProtocolError, match="an answer to request 0, which does not wait for one"):
        connection.request("y")


@pytest.mark.parametrize("timeout", [60, 1e9, float("inf")])
def test_a_timeout_that_is_long_enough_changes_nothing(serve: Any, connect: Any, timeout: float) -> None:
    assert connect(serve()).request("x", timeout=timeout) == "x"


@pytest.mark.parametrize(("timeout", "raises"), [(float("nan"), ValueError), ("1", TypeError), (True, TypeError)])
def test_a_timeout_that_is_none_is_refused_and_nothing_is_sent(met: Any, timeout: Any, raises: Any, spawn: Any) -> None:
    connection, peer = met()
    with pytest.raises(raises, match="timeout: expected seconds or None"):
        connection.request("x", timeout=timeout)
    asking = spawn(connection.request, "y")
    assert peer.receive() == b'(request 0 "y")'
    peer.send_message(b"(response 0 good)")
    assert asking.result(SOON) == Symbol("good")


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_request_may_be_sent_without_waiting_for_its_answer(
    serve: Any, connect: Any, address: Any, timeout: float
) -> None:
    gates = Gates()
    connection = connect(serve(gates, at=address))
    with pytest.raises(RequestTimeout):
        connection.request("sent", timeout=timeout)
    assert gates.arrived.get(timeout=SOON) == "sent"
    gates["sent"].set()
    gates["another"].set()
    assert connection.request("another") == "another"


def test_timeouts_of_some_leave_others_alone(serve: Any, connect: Any, spawn: Any) -> None:
    gates = Gates()
    connection = connect(serve(gates))
    patient = [spawn(connection.request, f"patient {i}") for i in range(10)]
    hasty = [spawn(connection.request, f"hasty {i}", timeout=0.01) for i in range(10)]
    for one in hasty:
        with pytest.raises(RequestTimeout):
            one.result(SOON)
    for i in range(10):
        gates[f"hasty {i}"].set()
        gates[f"patient {i}"].set()
    assert [one.result(SOON) for one in patient] == [f"patient {i}" for i in range(10)]


def test_a_timeout_is_kept_in_the_middle_of_a_lively_conversation(serve: Any, connect: Any) -> None:
    gates = Gates()
    connection = connect(serve(gates))
    for i in range(20):
        gates[i].set()
        assert connection.request(i) == i
        with pytest.raises(RequestTimeout):
            connection.request(f"late {i}", timeout=0.002)
    for i in range(20):
        gates[f"late {i}"].set()


# What cannot travel.


def test_a_message_without_a_form_is_refused_and_nothing_is_sent(met: Any, spawn: Any) -> None:
    connection, peer = met()
    with pytest.raises(WriteError, match=r"message\[1\]\[0\]: .*object"):
        connection.request([1, [object()]])
    asking = spawn(connection.request, "x")
    assert peer.receive() == b'(request 0 "x")'
    peer.send_message(b"(response 0 y)")
    asking.result(SOON)


def test_an_answer_without_a_form_is_an_error_that_names_it(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect(serve(lambda connection, message: [message, echo_of_nothing]))
    with pytest.raises(RemoteError, match=r"the answer cannot travel: message\[1\]: .*function"):
        connection.request("x")
    assert "the request handler's answer cannot travel" in caplog.text
    assert not connection.closed


def echo_of_nothing() -> None:
    pass


def test_an_answer_that_contains_itself_is_an_error(serve: Any, connect: Any) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(RemoteError, match="the answer cannot travel"):
        connect(serve(lambda connection, message: cycle)).request("x")


def test_an_answer_that_fails_while_it_is_written_is_an_error(serve: Any, connect: Any) -> None:
    class Broken(list[Any]):
        def __iter__(self) -> Any:
            raise ZeroDivisionError("on purpose")

    connection = connect(serve(lambda connection, message: Broken([1]) if message == "fail" else message))
    with pytest.raises(RemoteError, match="the answer cannot be written: ZeroDivisionError: on purpose"):
        connection.request("fail")
    assert connection.request("x") == "x"


def test_an_answer_that_does_not_read_fails_its_request_alone(met: Any, spawn: Any) -> None:
    connection, peer = met()
    first = spawn(connection.request, "x")
    peer.receive()
    second = spawn(connection.request, "y")
    peer.receive()
    peer.send_message(b"(response 0 #<procedure>)", b"(response 1 good)")
    with pytest.raises(UnreadableAnswer, match=r"the answer cannot be read: .* at byte 12"):
        first.result(SOON)
    assert second.result(SOON) == Symbol("good")


def test_a_request_that_does_not_read_is_answered_with_an_error_and_runs_no_handler(
    serve: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[Any] = []
    peer = raw(serve(lambda connection, message: ran.append(message)))
    peer.send_message(b"(request 0 #<procedure>)", b"(request 1 x)")
    answers = {peer.receive(), peer.receive()}
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
        (GeneratorExit(), "GeneratorExit"),
    ],
    ids=ascii,
)
def test_a_handlers_error_is_raised_at_the_other_end_with_its_text(
    serve: Any, connect: Any, error: BaseException, text: str
) -> None:
    connection = connect(serve(failing(error)))
    with pytest.raises(RemoteError) as raised:
        connection.request("fail")
    assert raised.value.message == text
    assert connection.request("x") == "x"


def test_an_error_that_cannot_be_shown_is_told_by_its_class(serve: Any, connect: Any) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(RemoteError, match=r"^Mute$"):
        connect(serve(failing(Mute()))).request("fail")


def test_a_very_long_error_is_cut(serve: Any, connect: Any) -> None:
    connection = connect(serve(failing(ValueError("x" * 5000)), limits=Limits(packet=1000)))
    with pytest.raises(RemoteError, match=r"^ValueError: x+ … \(cut\)$"):
        connection.request("fail")


def test_a_remote_error_that_passes_through_handlers_is_not_wrapped(serve: Any, connect: Any) -> None:
    def pass_on(connection: Any, message: Any) -> Any:
        if message == 0:
            raise ValueError("at the very end")
        return connection.request(message - 1)

    connection = connect(serve(pass_on), on_request=pass_on)
    with pytest.raises(RemoteError) as raised:
        connection.request(5)
    assert raised.value.message == "ValueError: at the very end"


def test_an_error_of_one_leaves_others_alone(serve: Any, connect: Any, spawn: Any) -> None:
    gates = Gates()

    def on_request(connection: Any, message: Any) -> Any:
        if message == "fail":
            raise ValueError("on purpose")
        return gates(connection, message)

    connection = connect(serve(on_request))
    waiting = spawn(connection.request, "x")
    assert gates.arrived.get(timeout=SOON) == "x"
    with pytest.raises(RemoteError, match="on purpose"):
        connection.request("fail")
    gates["x"].set()
    assert waiting.result(SOON) == "x"


def test_without_a_handler_a_request_is_answered_with_an_error_that_says_so(serve: Any, connect: Any) -> None:
    with pytest.raises(RemoteError, match="takes no requests: it has no request handler"):
        connect(serve(None)).request("x")
    with pytest.raises(RemoteError, match="takes no requests: it has no request handler"):
        connect(serve(lambda connection, message: connection.request("back"))).request("x")


# What the other end must not do.


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"(response 7 x)", "an answer to request 7, which does not wait for one"),
        (b"hello", "the message is a datum of type symbol; expected a list of three"),
        (b"(request 0 x) y", "bytes after the message"),
        (b"", "a message does not read as a datum"),
    ],
)
def test_a_message_against_the_rules_ends_the_connection_and_fails_what_waits(
    met: Any, spawn: Any, caplog: pytest.LogCaptureFixture, body: bytes, reason: str
) -> None:
    connection, peer = met()
    asking = [spawn(connection.request, i) for i in range(3)]
    for _ in asking:
        peer.receive()
    peer.send_message(body)
    for one in asking:
        with pytest.raises(RemoteProtocolError, match=reason):
            one.result(SOON)
    assert reason in connection.close_reason
    with pytest.raises(RemoteProtocolError, match=reason):
        connection.request("x")
    assert peer.read_to_end() == b""
    assert reason in caplog.text


def test_a_peer_that_breaks_the_rules_does_not_disturb_others(serve: Any, raw: Any, connect: Any) -> None:
    server = serve()
    connection = connect(server)
    for data in (b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\0\0\0\5(()))"):
        peer = raw(server)
        peer.send(data)
        assert peer.read_to_end() == b""
    assert connection.request("x") == "x"


def test_what_came_before_a_fault_is_still_answered_or_dropped_but_never_lost_elsewhere(
    serve: Any, raw: Any, connect: Any
) -> None:
    server = serve()
    peer = raw(server)
    peer.send_message(b"(request 0 x)", b"nonsense", b"(request 1 y)")
    assert b"(response 1 y)" not in peer.read_to_end()
    assert connect(server).request("x") == "x"
