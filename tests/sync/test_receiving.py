"""`bokbok.sync.receiving`: where the bytes of a connection go."""

from __future__ import annotations

import signal
import socket
import threading

import pytest

from bokbok._front.clocks import IdleClock
from bokbok._front.reads import LITTLE
from bokbok.sync import receiving
from bokbok.sync.receiving import Receiving
from tests.support.peers import SOON


def _after_much(here: socket.socket, there: socket.socket) -> Receiving:
    """A receiving side that has just read as much as comes in pieces."""
    side = Receiving(here, IdleClock(None))
    there.sendall(bytes(LITTLE))
    assert side.receive() == bytes(LITTLE)
    return side


def test_little_is_read_without_a_buffer_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = receiving._Buffers()
    monkeypatch.setattr(receiving, "_buffers", buffers)
    here, there = socket.socketpair()
    with here, there:
        side = Receiving(here, IdleClock(None))
        there.sendall(b"little")
        assert side.receive() == b"little"
    assert not buffers.free


def test_behind_much_more_is_read_at_once_until_little_came_some_times() -> None:
    here, there = socket.socketpair()
    with here, there:
        side = _after_much(here, there)
        much = bytes(2 * LITTLE)
        there.sendall(much)
        assert side.receive() == much
        for _ in range(receiving._AGAIN):
            there.sendall(b"little")
            assert side.receive() == b"little"
        there.sendall(much)
        assert side.receive() == much[:LITTLE]


def test_what_came_before_an_interruption_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = socket.socketpair()
    with here, there:
        side = Receiving(here, IdleClock(None))
        there.sendall(b"little")

        def interrupted(self: Receiving, received: bytes) -> bytes:
            raise KeyboardInterrupt

        monkeypatch.setattr(Receiving, "_received", interrupted)
        with pytest.raises(KeyboardInterrupt):
            side.receive_kept()
        assert list(side.kept) == [b"little"]


def test_an_interruption_while_nothing_comes_leaves_nothing(interruptible: None) -> None:
    here, there = socket.socketpair()
    with here, there:
        side = Receiving(here, IdleClock(None))
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16))  # no end of waiting
        soon = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))

        def wait() -> None:
            soon.start()
            side.receive_kept()

        with pytest.raises(KeyboardInterrupt):
            wait()
        assert not side.kept


def test_nothing_comes_for_a_moment() -> None:
    here, there = socket.socketpair()
    with here, there:
        side = Receiving(here, IdleClock(None))
        assert side.receive_kept() is None
        assert not side.kept


def test_threads_that_receive_one_after_the_other_use_one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = receiving._Buffers()
    monkeypatch.setattr(receiving, "_buffers", buffers)
    here, there = socket.socketpair()
    received: list[bytes | None] = []
    with here, there:
        side = _after_much(here, there)
        for number in range(5):
            there.sendall(b"%d" % number)
            thread = threading.Thread(target=lambda: received.append(side.receive()))
            thread.start()
            thread.join(SOON)
    assert received == [b"0", b"1", b"2", b"3", b"4"]
    assert len(buffers.free) == 1


def test_a_buffer_comes_back_when_nothing_has_come_and_when_the_connection_is_broken() -> None:
    here, there = socket.socketpair()
    with here, there:
        side = _after_much(here, there)
        before = len(receiving._buffers.free)
        assert side.receive(socket.MSG_DONTWAIT) is None
        assert not side.drop()
        here.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            side.receive()
        assert len(receiving._buffers.free) == max(before, 1)


def test_of_buffers_that_many_used_at_once_some_are_kept() -> None:
    buffers = receiving._Buffers()
    taken = [buffers.take() for _ in range(40)]
    for each in taken:
        buffers.give(each)
    assert buffers.free == taken[:32]
