"""A connection that is opened again when it has ended: what it does, and what it leaves to its caller."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bokbok.reconnecting
import bokbok.reconnecting.asyncio
from bokbok.errors import ConnectFailed, ConnectionClosed, RemoteError, RequestTimeout
from bokbok.reconnecting import Backoff
from tests.support.peers import KEY, SOON, USERS

QUICK = Backoff(initial=0.01, most=0.05)


@pytest.fixture
def reconnect(front: Any) -> Iterator[Callable[..., Any]]:
    """A reconnecting connection of the front end, in the blocking shape."""
    made: list[Any] = []

    def start(addresses: Any, **options: Any) -> Any:
        options = {"backoff": QUICK, **options}
        if front.name == "sync":
            made.append(bokbok.reconnecting.Connection(addresses, **options))
        else:

            async def make(addresses: Any, **options: Any) -> Any:
                return await bokbok.reconnecting.asyncio.Connection(addresses, **options).__aenter__()

            made.append(front._made(make, {"addresses": addresses, **options}))
        return made[-1]

    yield start
    for connection in made:
        connection.close()


def test_it_is_opened_again_when_the_server_has_started_again(
    serve: Any, reconnect: Any, address: Any, tmp_path: Path
) -> None:
    ended: queue.Queue[Any] = queue.Queue()
    first = serve(at=address)
    place = first.address
    connection = reconnect(place, on_close=ended.put)
    assert connection.request("before") == "before"
    first.stop()
    assert first.wait(SOON)
    ended.get(timeout=SOON)
    serve(at=place)
    assert connection.request("after", timeout=SOON) == "after"


def test_a_request_waits_until_there_is_a_server(serve: Any, reconnect: Any, spawn: Any, tmp_path: Path) -> None:
    place = ("unix", str(tmp_path / "later"))
    asking = spawn(reconnect(place).request, "x")
    serve(at=place)
    assert asking.result(SOON) == "x"


def test_of_several_addresses_one_that_serves_is_taken(serve: Any, reconnect: Any, tmp_path: Path) -> None:
    server = serve()
    connection = reconnect([str(tmp_path / "nobody"), server.address, str(tmp_path / "nobody else")])
    assert connection.request("x", timeout=SOON) == "x"
    assert connection.address == server.address


def breaks_once(counted: list[Any]) -> Callable[[Any, Any], Any]:
    """A handler that closes the connection the first time."""

    def handler(connection: Any, message: Any) -> Any:
        counted.append(message)
        if len(counted) == 1:
            connection.close()
        return message

    return handler


def test_a_request_that_was_under_way_fails(serve: Any, reconnect: Any) -> None:
    counted: list[Any] = []
    connection = reconnect(serve(breaks_once(counted)).address)
    with pytest.raises(ConnectionClosed):
        connection.request("x", timeout=SOON)
    assert connection.request("y", timeout=SOON) == "y"
    assert counted == ["x", "y"]


def test_a_request_that_may_be_repeated_is_asked_again(serve: Any, reconnect: Any) -> None:
    counted: list[Any] = []
    connection = reconnect(serve(breaks_once(counted)).address)
    assert connection.request("x", timeout=SOON, repeat=True) == "x"
    assert counted == ["x", "x"]


def test_a_request_that_fails_at_the_other_end_is_not_repeated(serve: Any, reconnect: Any) -> None:
    counted: list[Any] = []

    def fail(connection: Any, message: Any) -> Any:
        counted.append(message)
        raise ValueError("no")

    connection = reconnect(serve(fail).address)
    with pytest.raises(RemoteError, match="no"):
        connection.request("x", timeout=SOON, repeat=True)
    assert counted == ["x"]


def test_the_handlers_are_told_of_each_connection(serve: Any, reconnect: Any) -> None:
    told: queue.Queue[Any] = queue.Queue()
    connection = reconnect(
        serve(breaks_once([])).address,
        on_open=lambda connection: told.put("open"),
        on_close=lambda connection: told.put("close"),
    )
    connection.request("x", timeout=SOON, repeat=True)
    assert [told.get(timeout=SOON) for _ in range(3)] == ["open", "close", "open"]
    connection.close()
    assert told.empty()  # no handler is called for an end that this side asked for


def test_the_open_handler_asks_before_anybody_else(serve: Any, reconnect: Any) -> None:
    asked: list[Any] = []

    def note(connection: Any, message: Any) -> Any:
        asked.append(message)
        return message

    connection = reconnect(serve(note).address, on_open=lambda connection: connection.request("first"))
    connection.request("second", timeout=SOON)
    assert asked == ["first", "second"]


def test_an_open_handler_that_fails_costs_its_connection(serve: Any, reconnect: Any) -> None:
    tried: list[Any] = []

    def fail_once(connection: Any) -> None:
        tried.append(connection)
        if len(tried) == 1:
            raise ConnectionError("not yet")

    assert reconnect(serve().address, on_open=fail_once).request("x", timeout=SOON) == "x"
    assert len(tried) == 2


def test_the_server_asks_over_the_next_connection_too(serve: Any, reconnect: Any) -> None:
    opened: queue.Queue[Any] = queue.Queue()
    reconnect(serve(on_open=opened.put).address, on_request=lambda connection, message: ["heard", message])
    for number in range(2):
        theirs = opened.get(timeout=SOON)
        assert theirs.request(number) == ["heard", number]
        theirs.close()


def test_nobody_serves_within_the_time(reconnect: Any, tmp_path: Path) -> None:
    with pytest.raises(RequestTimeout, match=r"no connection within 0\.\d+ s"):
        reconnect(str(tmp_path / "nobody")).request("x", timeout=0.05)


def test_it_is_given_up_after_so_many_rounds(reconnect: Any, tmp_path: Path) -> None:
    connection = reconnect(str(tmp_path / "nobody"), backoff=Backoff(initial=0.001, most=0.001, rounds=3))
    with pytest.raises(ConnectFailed, match=r"given up: .*nobody"):
        connection.request("x", timeout=SOON)


def test_connections_that_end_without_a_message_count_as_failures(serve: Any, reconnect: Any) -> None:
    opened: list[Any] = []
    connection = reconnect(
        serve(user_to_key=USERS.get).address, user="stranger", key=KEY, on_open=opened.append,
        backoff=Backoff(initial=0.001, most=0.001, rounds=3),
    )  # fmt: skip

    def until_it_is_given_up() -> None:
        while True:
            connection.wait_open(SOON)
            threading.Event().wait(0.001)  # the current connection has to end first

    with pytest.raises(ConnectFailed, match=r"given up: .*ended before any message"):
        until_it_is_given_up()
    assert len(opened) == 3


def test_closing_fails_those_that_wait(reconnect: Any, spawn: Any, tmp_path: Path) -> None:
    connection = reconnect(str(tmp_path / "nobody"))
    asking = spawn(connection.request, "x")
    connection.close()
    with pytest.raises(ConnectionClosed, match="closed by this side"):
        asking.result(SOON)
    with pytest.raises(ConnectionClosed):
        connection.request("y")


@pytest.mark.parametrize("wrong", [{"initial": 0}, {"initial": 2, "most": 1}, {"rounds": 0}])
def test_a_backoff_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Backoff(**wrong)


def test_an_address_that_cannot_be_is_refused_at_once(front: Any) -> None:
    with pytest.raises(ValueError, match="no address"):
        bokbok.reconnecting.Connection([])
