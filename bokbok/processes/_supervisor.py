"""The supervisor: it owns the listening sockets, starts workers, and starts them again.

What this module knows: processes, their generations, and what their messages mean. `_office` decides about connections.
One thread does everything; other threads ask it by `_do`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import random
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from .._front.gate import Source
from .._front.link import Channel
from .._front.statistics import Statistics
from .._sockets import DEFAULT_BACKLOG, ENDLESS, LINGER_SECONDS, Listener, listen
from ..address import Address, AddressLike, format_address, parse_address
from ..errors import BokbokError
from ..wire import DEFAULT_LIMITS, Limits
from ._office import Office

__all__ = ["DEFAULT_RETIRE_TIMEOUT", "ProcessesError", "Supervisor", "start_processes"]

_log = logging.getLogger("bokbok.processes")
_R = TypeVar("_R")

DEFAULT_RETIRE_TIMEOUT: Final = 60.0
"""Seconds for which processes that were replaced go on serving the clients that are connected. A client that asks
something and then closes has finished by then."""
_FIRST_PAUSE, _MOST_PAUSE = 0.1, 30.0
"""Seconds until a worker that has died is started again: at first, and at most. Twice as long each time."""
_SETTLED: Final = 60.0
"""A worker that has lived for so many seconds is replaced quickly when it dies."""
_GRACE: Final = 5.0
"""Seconds that a worker has to end, beyond its own time-outs, before it is killed."""
_START_SECONDS: Final = 120.0
"""Seconds for a worker to start its server: its modules may be large, and its machine slow."""
_ANSWER_SECONDS: Final = 1.0
"""Seconds for a worker to answer. It answers at once unless it is very busy."""
_TICK: Final = 0.5
"""Seconds between two looks at the processes, where the system cannot wait for one of them."""
_MAIN = "import sys; sys.path[0] = sys.argv[1]; from bokbok.processes._worker import main; main()"
"""The worker's program. `-m` would look for modules in the current folder before all others."""


class ProcessesError(BokbokError):
    """The processes of a server could not be started, or started anew.

    Attributes:
        status: the worker's exit status, if it has ended.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _Process:
    """One worker."""

    def __init__(self, number: int, generation: int, popen: subprocess.Popen[bytes], channel: Channel) -> None:
        self.number = number
        self.generation = generation
        self.popen = popen
        self.channel = channel
        self.started = time.monotonic()
        self.ready = False
        self.retiring = False
        self.retired = False
        self.stopping = False
        self.kill_at: float | None = None
        self.pidfd: int | None = None
        self.statistics: dict[str, Any] = {}
        self.questions: dict[int, Future[Any]] = {}
        self.failure: tuple[str, int | None] | None = None
        self.unfinished: list[str] = []

    @property
    def name(self) -> str:
        return f"worker {self.number} (process {self.popen.pid})"


class Supervisor:
    """The processes of one server. Made by `start_processes`.

    As a context manager it stops them at the end, and waits until they have.
    """

    def __init__(
        self,
        listener: Listener,
        target: str,
        processes: int,
        arguments: dict[str, Any],
        limits: Limits,
        retire_timeout: float,
    ) -> None:
        self._listener = listener
        self._address = listener.address
        self._target = target
        self._count = processes
        self._arguments = arguments
        self._limits = limits
        self._retire_timeout = retire_timeout
        self._office = Office(limits, random.random)
        self._workers: dict[socket.socket, _Process] = {}
        self._generation = 0  # the one that serves
        self._coming: tuple[int, dict[str, Any], Limits, Future[None]] | None = None  # the one that is to take over
        self._taken_over: Future[None] | None = None  # it serves; the old ones are told not to accept any more
        self._deaths: Counter[int] = Counter()  # of each number, in a row
        self._again: dict[int, float] = {}  # when which number is started again
        self._died = 0
        self._past: Counter[str] = Counter()  # what workers that have ended had done
        self._past_refused: Counter[str] = Counter()
        self._codec = ""
        self._numbers = itertools.count(1)  # numbers of questions to workers
        self._stopping = False
        self._changed = False  # whether processes have changed since the last look at them
        self._status = True  # whether all have finished what they did
        self._unfinished: list[str] = []
        self._stopped = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="bokbok-supervisor", daemon=True)

    # What a user sees.

    @property
    def address(self) -> Address:
        """The address that is listened at: as asked for, with the port that was chosen."""
        return self._address

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run now, including those that retire."""
        return self._do(lambda: tuple(worker.popen.pid for worker in self._workers.values()))

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopping

    @property
    def unfinished(self) -> tuple[str, ...]:
        """After a stop: the handlers that had not finished when their time was over."""
        return tuple(self._unfinished)

    def statistics(self) -> Statistics:
        """What all processes do now, and have done: sums. For a process that is too busy to answer, the sums contain
        its previous figures."""
        _answers(self._do(lambda: self._ask("statistics")))
        return self._do(self._sum)

    def restart(self, arguments: Mapping[str, Any] | None = None, limits: Limits | None = None) -> None:
        """Start new processes. Once all of them serve, the old ones retire. Returns when the old ones do not accept any
        more.

        No connection is refused meanwhile, since old and new processes listen on one socket. Old processes serve their
        connections for `retire_timeout` more seconds; then they stop, as `stop` describes. If some still retire from
        the last time, those stop now.

        Args:
            arguments: for the new processes; `None` for the same.
            limits: from now on; `None` for the same.

        Raises:
            ProcessesError: a new process could not serve. The old ones go on as if nothing had happened.
            RuntimeError: the server was stopped, or another restart is under way.
            ValueError: limits are too small; see `start_processes`.
        """
        if limits is not None:
            check_divisible(limits, self._count)
        self._do(
            lambda: self._replace(
                dict(arguments) if arguments is not None else self._arguments,
                limits if limits is not None else self._limits,
            )
        ).result()

    def withdraw(self, users: Collection[str], reason: str) -> int:
        """End the connections of some users in all processes, as `Server.withdraw` does.

        Call it after `restart`, when the new processes have the new keys.

        Args:
            users: their names.
            reason: why, for `close_reason` and the log.

        Returns:
            How many connections there were, in the processes that have answered in time.
        """
        asked = self._do(lambda: self._ask("withdraw", list(users), reason))
        return sum(int(answer or 0) for answer in _answers(asked))

    def stop(self) -> None:
        """Ask all processes to stop: nobody can connect any more; requests whose handlers run are answered.

        Returns once they have been told. A second call does nothing.
        """
        if not self._stopped.is_set():
            self._do(self._stop)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all processes have ended.

        Args:
            timeout: seconds; `None` for no time-out. A process that does not end is killed a few seconds after
                `Limits.drain_timeout` anyway.

        Returns:
            Whether all have ended, without unfinished handlers and without being killed.
        """
        return self._stopped.wait(timeout) and self._status

    def kill(self) -> None:
        """End all processes at once. It may be called from any thread, and from a signal handler."""
        for worker in list(self._workers.values()):
            with contextlib.suppress(OSError):
                os.kill(worker.popen.pid, signal.SIGKILL)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.wait()

    def __repr__(self) -> str:
        return f"<bokbok.processes.Supervisor {format_address(self.address)}, {self._count} processes>"

    # The thread.

    def _do(self, function: Callable[[], _R]) -> _R:
        """Have the supervisor's thread call a function. Returns what it returns, or raises what it raises."""
        answer: Future[_R] = Future()

        def job() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        if threading.current_thread() is self._thread or not self._thread.is_alive():
            job()
        else:
            self._jobs.put(job)
            with contextlib.suppress(OSError):
                self._waker.send(b"\0")
            while True:
                with contextlib.suppress(FutureTimeout):
                    return answer.result(_TICK)
                if not self._thread.is_alive() and not answer.done():
                    job()
        return answer.result()

    def _run(self) -> None:
        try:
            due: float | None = None
            while not (self._stopping and not self._workers):
                # Messages about connections come by the thousand, and change nothing about the processes.
                now = time.monotonic()
                if self._changed or (due is not None and now >= due):
                    self._changed = False
                    self._look_around(now)
                    due = self._next_look(now)
                    continue
                for key, events in self._selector.select(None if due is None else due - now):
                    if key.fileobj is self._wake:
                        with contextlib.suppress(BlockingIOError):
                            self._wake.recv(4096)
                    elif isinstance(key.data, _Process):
                        self._hear(key.data, events)
                    else:
                        self._changed = True  # a process has ended
                while not self._jobs.empty():
                    self._changed = True
                    self._jobs.get()()
        except BaseException:
            _log.exception("internal error of the supervisor; its workers end")
            self._status = False
        finally:
            self._end()

    def _next_look(self, now: float) -> float | None:
        """When to look at the processes, if nothing happens earlier."""
        times = list(self._again.values())
        times += [worker.kill_at for worker in self._workers.values() if worker.kill_at is not None]
        if any(worker.pidfd is None for worker in self._workers.values()):
            times.append(now + _TICK)
        return min(times) if times else None

    def _look_around(self, now: float) -> None:
        for worker in list(self._workers.values()):
            if worker.popen.poll() is not None:
                self._ended(worker)
            elif worker.kill_at is not None and now >= worker.kill_at:
                worker.kill_at = None
                _log.error("%s does not end: it is killed", worker.name)
                worker.popen.kill()
        for number, at in list(self._again.items()):
            if now >= at:
                del self._again[number]
                self._start_again(number)

    def _end(self) -> None:
        self._listener.close()
        for worker in list(self._workers.values()):  # only after an internal error
            worker.popen.kill()
            worker.popen.wait()
            worker.channel.sock.close()
        self._selector.close()
        self._wake.close()
        self._waker.close()
        self._stopped.set()

    # Processes.

    def _spawn(self, number: int, generation: int, arguments: dict[str, Any], limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        numbers = [sock.fileno() for sock in self._listener.sockets]
        with theirs:
            popen = subprocess.Popen(
                [sys.executable, "-c", _MAIN, str(Path(__file__).parents[2]), str(theirs.fileno())],
                pass_fds=(theirs.fileno(), *numbers),
                stdin=subprocess.DEVNULL,
                # Ctrl-C on a terminal is for the supervisor, which tells its workers.
                start_new_session=True,
            )
        worker = _Process(number, generation, popen, Channel(ours))
        worker.kill_at = worker.started + _START_SECONDS
        self._workers[ours] = worker
        self._office.joined(ours)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                worker.pidfd = os.pidfd_open(popen.pid)
                self._selector.register(worker.pidfd, selectors.EVENT_READ)
        # Over the socket, not by arguments or the environment, which other users of the machine may see.
        self._tell(
            worker,
            "begin",
            {
                "path": sys.path,
                "target": self._target,
                "number": number,
                "arguments": arguments,
                "limits": asdict(limits),
                "sockets": numbers,
                "address": list(self._address),
            },
        )
        self._share_out()

    def _share_out(self) -> None:
        """Tell each worker into how many parts the server's slots and memory are divided."""
        parts = max(self._count, len(self._workers))
        for worker in self._workers.values():
            self._tell(worker, "parts", parts)
        self._office.notices.most = 256 // parts

    def _tell(self, worker: _Process, *message: Any) -> None:
        worker.channel.put(list(message))
        self._flush(worker)

    def _flush(self, worker: _Process) -> None:
        with contextlib.suppress(OSError):  # the worker is gone; its process's end will tell
            worker.channel.flush()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.channel.unsent else 0)
        with contextlib.suppress(KeyError):
            self._selector.modify(worker.channel.sock, events, worker)

    def _hear(self, worker: _Process, events: int) -> None:
        if worker.channel.sock not in self._workers:
            return  # it has just ended
        if events & selectors.EVENT_WRITE:
            self._flush(worker)
        if not events & selectors.EVENT_READ:
            return
        try:
            messages = worker.channel.receive()
        except EOFError:
            self._hang_up(worker)
            return
        for message in messages:
            self._take(worker, message)

    def _hang_up(self, worker: _Process) -> None:
        """A worker has closed its end: its process is ending, or something in it has gone wrong."""
        self._changed = True
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.channel.sock)
        if worker.kill_at is None:
            worker.kill_at = time.monotonic() + _GRACE
        if worker.popen.poll() is not None:
            self._ended(worker)

    def _take(self, worker: _Process, message: list[Any]) -> None:
        here, now = worker.channel.sock, time.monotonic()
        kind, *rest = message
        if kind == "ask":
            self._asked(worker, now, *rest)
        elif kind == "greeted":
            self._office.greeted(here, *rest)
        elif kind == "leave":
            self._office.leave(here, rest[0], now)
        elif kind == "penalise":
            self._office.penalise(here, rest[0], now)
        elif kind == "statistics":
            worker.statistics = rest[0]
        elif kind == "answer":
            question = worker.questions.pop(rest[0], None)
            if question is not None:
                question.set_result(rest[1])
        else:
            self._changed = True
            self._take_rare(worker, kind, rest)

    def _take_rare(self, worker: _Process, kind: str, rest: list[Any]) -> None:
        """A message about the worker itself."""
        if kind == "ready":
            worker.ready = True
            if not (worker.stopping or worker.retiring):
                worker.kill_at = None
            self._codec = rest[0]
            self._maybe_take_over()
        elif kind == "retired":
            worker.retired = True
            self._maybe_alone()
        elif kind == "failed":
            worker.failure = rest[0], rest[1]
        elif kind == "unfinished":
            worker.unfinished = rest[0]

    def _asked(self, worker: _Process, now: float, number: int, what: str, *rest: Any) -> None:
        here = worker.channel.sock

        def answer(found: Any) -> None:
            if here in self._workers:
                self._tell(worker, "answer", number, found)

        if what == "enter":
            visit, user, digest = rest
            answer(self._office.enter(here, visit, user, bytes.fromhex(digest) if digest is not None else None))
            return
        visit, name, near, hello = rest
        if not self._office.arrive(here, visit, Source(name, near), hello, now, answer):
            untold = self._office.notices.note("connections", "", now)
            if untold is not None:
                _log.warning(
                    "%r: %d connections are there; further ones wait%s",
                    self,
                    self._office.connections,
                    f" ({untold} more of this kind were not told)" if untold else "",
                )

    # Generations.

    def _first(self) -> Future[None]:
        return self._replace(self._arguments, self._limits)

    def _replace(self, arguments: dict[str, Any], limits: Limits) -> Future[None]:
        if self._stopping:
            raise RuntimeError("the server was stopped")
        if self._coming is not None or self._taken_over is not None:
            raise RuntimeError("the processes are being started anew already")
        for worker in self._workers.values():
            if worker.retiring:
                self._tell_to_stop(worker)
        taken_over: Future[None] = Future()
        generation = self._generation + 1
        self._coming = generation, arguments, limits, taken_over
        try:
            for number in range(1, self._count + 1):
                self._spawn(number, generation, arguments, limits)
        except OSError as error:
            self._give_up_coming(f"a process could not be started: {error.strerror}", None)
        return taken_over

    def _maybe_take_over(self) -> None:
        if self._coming is None:
            return
        generation, arguments, limits, taken_over = self._coming
        if sum(worker.ready for worker in self._workers.values() if worker.generation == generation) < self._count:
            return
        self._coming = None
        self._generation, self._arguments, self._limits = generation, arguments, limits
        self._deaths.clear()
        self._again.clear()
        self._office.limit(limits, time.monotonic())
        for worker in self._workers.values():
            if worker.generation != generation and not (worker.retiring or worker.stopping):
                worker.retiring = True
                self._office.retires(worker.channel.sock)
                worker.kill_at = self._deadline(self._retire_timeout)
                self._tell(worker, "retire", min(self._retire_timeout, ENDLESS))
        self._taken_over = taken_over
        self._maybe_alone()

    def _maybe_alone(self) -> None:
        """Finish `restart` once every old worker has said that it does not accept any more, or has ended."""
        if self._taken_over is not None and not any(
            worker.retiring and not worker.retired for worker in self._workers.values()
        ):
            taken_over, self._taken_over = self._taken_over, None
            taken_over.set_result(None)

    def _give_up_coming(self, reason: str, status: int | None) -> None:
        if self._coming is None:
            return
        generation, _, _, taken_over = self._coming
        self._coming = None
        for worker in self._workers.values():
            if worker.generation == generation:
                self._tell_to_stop(worker)
        taken_over.set_exception(ProcessesError(reason, status))

    def _start_again(self, number: int) -> None:
        try:
            self._spawn(number, self._generation, self._arguments, self._limits)
        except OSError as error:
            _log.error("worker %d could not be started: %s", number, error.strerror)
            self._later(number)

    def _later(self, number: int) -> float:
        pause = min(_FIRST_PAUSE * 2.0 ** self._deaths[number], _MOST_PAUSE)
        self._deaths[number] += 1
        self._again[number] = time.monotonic() + pause
        return pause

    def _ended(self, worker: _Process) -> None:
        """A process has ended."""
        if worker.channel.sock not in self._workers:
            return
        with contextlib.suppress(EOFError):
            while messages := worker.channel.receive():  # its last messages
                for message in messages:
                    self._take(worker, message)
        here = worker.channel.sock
        del self._workers[here]
        with contextlib.suppress(KeyError):
            self._selector.unregister(here)
        if worker.pidfd is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.pidfd)
            os.close(worker.pidfd)
        here.close()
        self._office.gone(here, time.monotonic())
        for key in ("accepted", "handled"):
            self._past[key] += worker.statistics.get(key, 0)
        self._past_refused.update(worker.statistics.get("refused", {}))
        for question in worker.questions.values():
            question.set_result(None)
        self._unfinished += worker.unfinished
        for text in worker.unfinished:
            _log.error("%s: goes on all the same: %s", worker.name, text)
        status = worker.popen.returncode
        if worker.stopping or worker.retiring:
            if status:
                self._status = self._status and not self._stopping
                _log.warning("%s has ended with %s", worker.name, _shown(status))
        elif self._coming is not None and worker.generation == self._coming[0]:
            reason, told = worker.failure or (f"it has ended with {_shown(status)}", None)
            self._give_up_coming(reason if worker.failure else f"{worker.name}: {reason}", told)
        else:
            self._died += 1
            if time.monotonic() - worker.started > _SETTLED:
                self._deaths[worker.number] = 0
            why = worker.failure[0] if worker.failure else f"it has ended with {_shown(status)}"
            pause = self._later(worker.number)
            _log.error("%s has died: %s; another one is started in %g s", worker.name, why, pause)
        self._share_out()
        self._maybe_alone()

    # The end.

    def _tell_to_stop(self, worker: _Process) -> None:
        if not worker.stopping:
            worker.stopping = True
            self._office.retires(worker.channel.sock)
            worker.kill_at = self._deadline(0.0)
            self._tell(worker, "stop")

    def _deadline(self, seconds: float) -> float:
        """When a worker that stops within so many seconds must have ended."""
        return time.monotonic() + min(seconds + self._limits.drain_timeout, ENDLESS) + LINGER_SECONDS + _GRACE

    def _stop(self) -> None:
        self._stopping = True
        self._again.clear()
        self._listener.close()  # each worker has its own descriptors
        if self._coming is not None:
            self._give_up_coming("the server was stopped", None)
        for worker in self._workers.values():
            self._tell_to_stop(worker)

    # Statistics.

    def _ask(self, *message: Any) -> list[Future[Any]]:
        """Ask each worker; the answers to come."""
        asked: list[Future[Any]] = []
        for worker in self._workers.values():
            if worker.ready:
                number = next(self._numbers)
                asked.append(Future())
                worker.questions[number] = asked[-1]
                self._tell(worker, "ask", number, *message)
        return asked

    def _sum(self) -> Statistics:
        now = [worker.statistics for worker in self._workers.values()]

        def total(name: str) -> int:
            return sum((int(each.get(name, 0)) for each in now), self._past[name])

        refused = self._past_refused + self._office.notices.counts
        for each in now:
            refused.update(each.get("refused", {}))
        return Statistics(
            connections=total("connections"),
            hellos=self._office.gate.hellos,
            penalised=self._office.gate.penalised,
            running=total("running"),
            parked=total("parked"),
            waiting=total("waiting"),
            held=total("held"),
            heaviest=max((int(each.get("heaviest", 0)) for each in now), default=0),
            accepted=total("accepted"),
            handled=total("handled"),
            refused=MappingProxyType(dict(refused)),
            codec=self._codec,
            processes=len(self._workers),
            died=self._died,
        )


def _answers(asked: list[Future[Any]]) -> list[Any]:
    """What workers have answered within `_ANSWER_SECONDS`; `None` for one that has not answered, or has ended."""
    done, _ = wait(asked, _ANSWER_SECONDS)
    return [answer.result() if answer in done else None for answer in asked]


def _shown(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def start_processes(
    address: AddressLike | Listener,
    target: str,
    *,
    processes: int,
    arguments: Mapping[str, Any] | None = None,
    backlog: int = DEFAULT_BACKLOG,
    socket_mode: int | None = None,
    socket_owner: tuple[int, int] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    retire_timeout: float = DEFAULT_RETIRE_TIMEOUT,
) -> Supervisor:
    """Start a server on several processes, behind one listening socket.

    Args:
        address: as `start_server` takes it; or a `Listener`, such as `systemd_listener` returns.
        target: `"module:function"`. Each process calls that function with its `Worker`. The function starts a server by
            `start_server(worker, …)` of either front end, and returns it. For `bokbok.asyncio` it is a coroutine
            function. Workers look for modules where this process does.
        processes: how many.
        arguments: become `Worker.arguments`: whatever JSON can hold. They travel over a private socket, so they may
            contain secrets.
        backlog: connections that the system holds until they are accepted.
        socket_mode: of a Unix socket's file; as `start_server` takes it.
        socket_owner: of a Unix socket's file; as `start_server` takes it.
        limits: the limits of the whole server. Connections, hellos and penalties are counted over all processes;
            `server_running`, `parked` and `server_memory` are divided among them.
        retire_timeout: seconds for which processes that `restart` has replaced go on serving their connections.

    Raises:
        ConnectFailed: it cannot listen there.
        AddressError: `address` is not in one of the known forms.
        ProcessesError: a process could not start its server; the message says why.
        ValueError: there are fewer than two slots for handlers for each process. During a restart, the old process and
            the new one need one each.
    """
    if processes < 1:
        raise ValueError(f"processes: expected a number above 0, got {processes!r}")
    check_divisible(limits, processes)
    listener = address if isinstance(address, Listener) else None
    if listener is None:
        assert not isinstance(address, Listener)
        listener = listen(parse_address(address), backlog, mode=socket_mode, owner=socket_owner)
    supervisor = Supervisor(listener, target, processes, dict(arguments or {}), limits, retire_timeout)
    supervisor._thread.start()
    try:
        supervisor._do(supervisor._first).result()
    except BaseException:
        supervisor.stop()
        supervisor.wait()
        raise
    return supervisor


def check_divisible(limits: Limits, processes: int) -> None:
    """Refuse limits that cannot be divided among so many processes.

    Raises:
        ValueError: they are too small.
    """
    for name in ("server_running", "parked"):
        if getattr(limits, name) < 2 * processes:
            raise ValueError(
                f"limit {name.replace('_', '-')}: expected at least {2 * processes}, two for each of {processes} "
                f"processes, got {getattr(limits, name)}"
            )
