"""What the serving commands share: signals, wherever and whenever they come."""

import asyncio
import os
import signal
import threading

import pytest

from bokbok.cli import _serving
from bokbok.cli._serving import Signals


def waited_for(signals):
    return signals.wait()


def waited_for_on_a_loop(signals):
    return asyncio.run(signals.wait_async())


@pytest.mark.parametrize("wait", [waited_for, waited_for_on_a_loop])
def test_a_signal_that_another_thread_gets_is_heard_while_the_first_one_waits(monkeypatch, wait):
    waiting = threading.Event()
    read, add_reader = os.read, asyncio.SelectorEventLoop.add_reader

    def reading(descriptor, size):
        waiting.set()
        return read(descriptor, size)

    def adding(loop, descriptor, *args):
        loop.call_soon(waiting.set)
        return add_reader(loop, descriptor, *args)

    def get_one():
        waiting.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    monkeypatch.setattr(_serving.os, "read", reading)
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", adding)
    thread = threading.Thread(target=get_one)
    with Signals() as signals:
        thread.start()
        assert wait(signals) == "SIGTERM"
    thread.join()
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("wait", [waited_for, waited_for_on_a_loop])
def test_a_signal_that_came_before_anybody_waited_is_heard(wait):
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert wait(signals) == "SIGINT"


@pytest.mark.parametrize("wait", [waited_for, waited_for_on_a_loop])
def test_other_signals_do_not_end_the_wait(wait):
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: (heard.append(number), os.kill(os.getpid(), 15)))
    try:
        with Signals() as signals:
            timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            assert wait(signals) == "SIGTERM"
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]
