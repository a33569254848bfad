"""`bokbok.sync.receiving`: where the bytes of a connection go."""

from __future__ import annotations

import socket
import threading

import pytest

from bokbok._front.clocks import IdleClock
from bokbok.sync import receiving
from bokbok.sync.receiving import Receiving
from tests.support.peers import SOON


def test_threads_that_receive_one_after_the_other_use_one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = receiving._Buffers()
    monkeypatch.setattr(receiving, "_buffers", buffers)
    here, there = socket.socketpair()
    received: list[bytes | None] = []
    with here, there:
        side = Receiving(here, IdleClock(None))
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
        side = Receiving(here, IdleClock(None))
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
