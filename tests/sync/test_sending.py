"""`bokbok.sync.sending`: what is left to whoever sends is sent, whenever it comes. Other threads are played by calls at
the moments that matter, so that each of these runs in the same order each time."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bokbok import wire
from bokbok._front.lifecycle import Lifecycle
from bokbok._front.settings import Settings
from bokbok.errors import ConnectionClosed
from bokbok.sync.sending import Sending
from bokbok.sync.threads import Latch


class Owner:
    """A connection that has nothing but a sending side."""

    _wants_rest_sent = True

    def __init__(self) -> None:
        self._socket_closed = Latch()
        self.sent: list[tuple[bool, bool]] = []

    def _await_also(self, events: int) -> None:
        raise AssertionError("the socket has room")

    def _sending_stopped(self) -> bool:
        return False

    def _all_sent(self, call: bool, over: bool) -> None:
        self.sent.append((call, over))

    def _sending_failed(self, error: Exception) -> None:
        raise error

    def _end(self, error: ConnectionClosed) -> None:
        raise error

    def _end_soon(self, error: ConnectionClosed) -> None:
        raise error


class Moment:
    """Stands in front of an object, and has something happen once before it is used."""

    def __init__(self, of: Any) -> None:
        self.of = of
        self.happens: Callable[[], object] | None = None

    def _happen(self) -> None:
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()

    def __bool__(self) -> bool:
        self._happen()
        return bool(self.of)

    def send(self, data: bytes, flags: int) -> int:
        self._happen()
        sent: int = self.of.send(data, flags)
        return sent


class Side:
    """One end's sending side, and what the other end receives.

    Attributes:
        at_send: before the system takes bytes.
        at_look: before whoever has sent looks whether anything was left to it.
    """

    def __init__(self, here: socket.socket, there: socket.socket) -> None:
        self.lock = threading.Lock()
        self.wire = wire.Connection("client")
        self.server = wire.Connection("server")
        self.owner = Owner()
        self.at_send = Moment(here)
        life: Lifecycle[Any] = Lifecycle(self.wire, Settings())
        self.sending = Sending(self.owner, self.at_send, self.lock, life)  # type: ignore[arg-type]
        self.at_look = Moment(self.sending._output)
        self.sending._output = self.at_look  # type: ignore[assignment]
        self._there = there

    def put(self, message: Any) -> list[bytes] | None:
        """As any thread: ask, and take what this thread is to transmit."""
        with self.lock:
            self.wire.request(message)
            return self.sending.take()

    def ask(self, message: Any) -> None:
        """As any thread: ask, and send it unless somebody else does."""
        outgoing = self.put(message)
        if outgoing:
            self.sending.transmit(outgoing)

    def arrived(self) -> list[Any]:
        events = self.server.receive(self._there.recv(1 << 16))
        return [event.message for event in events if isinstance(event, wire.RequestReceived)]


@pytest.fixture
def side() -> Iterator[Side]:
    here, there = socket.socketpair()
    with contextlib.closing(here), contextlib.closing(there):
        there.settimeout(1)
        yield Side(here, there)


def test_what_is_left_while_somebody_sends_is_sent_by_that_one(side: Side) -> None:
    def leave() -> None:
        assert side.put("left") is None

    side.at_send.happens = leave
    side.ask("first")
    assert side.arrived() == ["first", "left"]
    assert not side.sending.busy


def test_who_comes_before_the_last_look_finds_the_side_free_and_sends(side: Side) -> None:
    outgoing = side.put("first")
    assert outgoing
    side.at_look.happens = lambda: side.ask("between")
    side.sending.transmit(outgoing)
    assert side.arrived() == ["first", "between"]
    assert not side.sending.busy


def test_what_is_there_at_the_last_look_is_left_to_who_has_taken_the_side_meanwhile(side: Side) -> None:
    taken: list[bytes] = []

    def take() -> None:
        taken.extend(side.put("between") or [])
        assert side.put("left") is None

    outgoing = side.put("first")
    assert outgoing
    side.at_look.happens = take
    side.sending.transmit(outgoing)
    assert side.arrived() == ["first"]
    assert side.sending.busy
    side.sending.transmit(taken)
    assert side.arrived() == ["between", "left"]
    assert not side.sending.busy


@pytest.mark.parametrize("when", ["at_send", "at_look"])
def test_an_end_that_waits_for_everything_to_be_sent_is_told_once(side: Side, when: str) -> None:
    def wind_down() -> None:
        with side.lock:
            side.sending.winding_down = True

    outgoing = side.put("first")
    assert outgoing
    getattr(side, when).happens = wind_down
    side.sending.transmit(outgoing)
    assert side.owner.sent == [(False, True)]
    assert side.arrived() == ["first"]
    assert not side.sending.busy
