"""Live peers: a client and a server of some format, on TCP or Unix sockets.

Threads and blocking sockets: a connection has one thread that reads and acts, and one that writes, so that a peer
that does not read never holds up what is to be read. `party` knows what is said.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from .endpoint import Endpoint
from .format import Format
from .party import Answer, Behaviour, Exchange, Party
from .record import USER
from .segments import SEGMENTATIONS
from .service import Service
from .sexpr import Datum, read
from .state import CLIENT, SERVER, Program

Address = tuple[Any, ...]


class PeerError(Exception):
    """A request was not answered: the connection was lost, or the request could not be sent."""


class RemoteFailure(PeerError):
    """The other side's handler failed; the text is its message."""


def parse_address(address: str | Address) -> Address:
    """`HOST:PORT` or `PATH` as `("tcp", host, port)` or `("unix", path)`."""
    if not isinstance(address, str):
        return tuple(address)
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in address:
        return ("tcp", host.strip("[]") or "127.0.0.1", int(port))
    return ("unix", address)


def format_address(address: Address) -> str:
    """Undoes `parse_address`."""
    return f"{address[1]}:{address[2]}" if address[0] == "tcp" else str(address[1])


class LiveConnection:
    """A party with a socket."""

    def __init__(
        self,
        sock: socket.socket,
        party: Party,
        *,
        segmentation: str | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self.party = party
        self._sock = sock
        self._cut = SEGMENTATIONS[segmentation] if segmentation else None
        self._rng = Random(0)
        self._lock = threading.RLock()
        self._outgoing: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._changed = threading.Condition(self._lock)
        self._on_end = on_end
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writer = threading.Thread(target=self._write, name="foreign-writer", daemon=True)
        self._reader = threading.Thread(target=self._read, name="foreign-reader", daemon=True)

    def start(self) -> None:
        """Begins the conversation."""
        self._writer.start()
        with self._lock:
            self.party.start(time.monotonic())
            self._flush()
        self._reader.start()

    def request(self, datum: Datum, *, timeout: float = 10) -> Datum:
        """Makes a request.

        Args:
            datum: what is asked.
            timeout: seconds to wait for the answer.

        Returns:
            The answer.

        Raises:
            RemoteFailure: the other side's handler failed.
            PeerError: there was no answer.
            TimeoutError: there was none in time.
        """
        answer = self.exchange(datum, timeout=timeout)
        if answer.outcome == "answer":
            return answer.value
        if answer.outcome == "error":
            raise RemoteFailure(answer.value)
        raise PeerError(f"{answer.outcome}: {answer.value}")

    def exchange(self, datum: Datum, *, timeout: float = 10) -> Answer:
        """As `request`, but gives whatever became of it."""
        found: list[Answer] = []
        with self._lock:
            self.party.ask(datum, found.append)
            self._flush()
            if not self._changed.wait_for(lambda: bool(found), timeout):
                raise TimeoutError(f"no answer within {timeout} seconds")
        return found[0]

    def play(self, script: Sequence[Datum | str], *, timeout: float = 10) -> list[Exchange]:
        """Makes requests one after the other (a `str` is read as a datum's text); gives what became of each."""
        played = []
        for item in script:
            datum = read(item) if isinstance(item, str) else item
            answer = self.exchange(datum, timeout=timeout)
            played.append(Exchange(self.party.endpoint.role, datum, answer))
        return played

    def wait_idle(self, timeout: float = 10) -> bool:
        """Waits until nothing is under way any more; False if something still is."""
        with self._lock:
            return self._changed.wait_for(lambda: self.party.idle or self.party.closed is not None, timeout)

    def wait_closed(self, timeout: float = 10) -> bool:
        """Waits until the connection has ended; False if it has not."""
        with self._lock:
            return self._changed.wait_for(lambda: self.party.closed is not None, timeout)

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            self.party.goodbye()
            self._flush()
            self.party.close("closed here")
            self._finish()
        for thread in (self._reader, self._writer):
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(10)
        self._sock.close()

    def __enter__(self) -> LiveConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _flush(self) -> None:
        """Hands what is to be written to the thread that writes. The lock is held."""
        writes = self.party.take_writes()
        if writes:
            self._outgoing.put(self._cut(writes, self._rng) if self._cut else writes)
        self._changed.notify_all()

    def _finish(self) -> None:
        """Lets both threads end once everything is written. The lock is held."""
        self._outgoing.put(None)
        self._changed.notify_all()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while (writes := self._outgoing.get()) is not None:
                for data in writes:
                    self._sock.sendall(data)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        party = self.party
        while True:
            with self._lock:
                if party.closed is not None:
                    self._finish()
                    break
                due = party.next_time()
            data = self._receive(None if due is None else max(0.0, due - time.monotonic()))
            with self._lock:
                now = time.monotonic()
                if data is None:
                    party.wake(now)
                elif data:
                    party.receive(data, now)
                else:
                    party.receive_eof(now)
                self._flush()
        if self._on_end is not None:
            self._writer.join(10)
            self._sock.close()
            self._on_end()

    def _receive(self, timeout: float | None) -> bytes | None:
        """What has come; empty at the end, None if the time is over."""
        try:
            if timeout is not None and timeout <= 0:
                return None
            self._sock.settimeout(timeout)
            return self._sock.recv(65536)
        except TimeoutError:
            return None
        except OSError:
            return b""


class ForeignClient(LiveConnection):
    """A client that has connected.

    Args:
        fmt: what it speaks.
        address: where the server is.
        user: who it is, in a secure format.
        passphrase: its passphrase; None takes one that suits the format.
        script: requests that it makes by itself, one after the other.
        behaviour: how it makes and answers requests.
        service: what answers the server's requests.
        segmentation: a name of `SEGMENTATIONS`; None writes packets as they are.
        random: its source of random bytes.
    """

    def __init__(
        self,
        fmt: Format,
        address: str | Address,
        *,
        user: str = USER,
        passphrase: str | None = None,
        script: Sequence[Datum] = (),
        behaviour: Behaviour | None = None,
        service: Service | None = None,
        segmentation: str | None = None,
        random: Callable[[int], bytes] = os.urandom,
        connect_timeout: float = 10,
    ) -> None:
        endpoint = Endpoint(
            fmt,
            CLIENT,
            random=random,
            user=user if fmt.secure else None,
            passphrase=fmt.derivation.example if passphrase is None else passphrase,
        )
        target = parse_address(address)
        sock = socket.socket(socket.AF_UNIX) if target[0] == "unix" else None
        if sock is None:
            sock = socket.create_connection((target[1], target[2]), connect_timeout)
        else:
            try:
                sock.settimeout(connect_timeout)
                sock.connect(target[1])
            except OSError:
                sock.close()
                raise
        sock.settimeout(None)
        party = Party(endpoint, service or Service(), script=script, behaviour=behaviour)
        super().__init__(sock, party, segmentation=segmentation)
        self.start()


class ForeignServer:
    """A server that listens until it is stopped.

    Args:
        fmt: what it speaks.
        address: where it listens; port 0 lets the system choose.
        users: usernames and passphrases, in a secure format; None is the demo's user with a passphrase that suits.
        script: requests that it makes of every client by itself.
        behaviour: how it makes and answers requests.
        segmentation: a name of `SEGMENTATIONS`; None writes packets as they are.
        hangs: it keeps silent, instead of closing, when a client speaks nonsense.
        random: its source of random bytes.
    """

    def __init__(
        self,
        fmt: Format,
        address: str | Address = ("tcp", "127.0.0.1", 0),
        *,
        users: dict[str, str] | None = None,
        script: Sequence[Datum] = (),
        behaviour: Behaviour | None = None,
        segmentation: str | None = None,
        hangs: bool = False,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.fmt = fmt
        self.users = {USER: fmt.derivation.example} if users is None else users
        self.service = Service()
        self.program = Program()
        self.connections: list[LiveConnection] = []
        """All that were accepted; those that have ended, too."""
        self._script, self._behaviour, self._segmentation = script, behaviour, segmentation
        self._hangs, self._random = hangs, random
        self._lock = threading.Condition()
        self._stopping = False
        target = parse_address(address)
        if target[0] == "unix":
            self._sock = socket.socket(socket.AF_UNIX)
            self._path: str | None = target[1]
        else:
            self._sock = socket.socket(socket.AF_INET6 if ":" in target[1] else socket.AF_INET)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._path = None
        try:
            self._sock.bind(target[1] if target[0] == "unix" else (target[1], target[2]))
            self._sock.listen(64)
        except OSError:
            self._sock.close()
            raise
        bound = self._sock.getsockname()
        self.address: Address = target if target[0] == "unix" else ("tcp", bound[0], bound[1])
        self._thread = threading.Thread(target=self._accept, name="foreign-server", daemon=True)
        self._thread.start()

    def wait_for_connection(self, count: int = 1, timeout: float = 10) -> LiveConnection:
        """Waits until so many connections have been accepted; gives the last of them."""
        with self._lock:
            if not self._lock.wait_for(lambda: len(self.connections) >= count, timeout):
                raise TimeoutError(f"no {count} connections within {timeout} seconds")
            return self.connections[count - 1]

    def stop(self) -> None:
        """Stops listening and ends all connections."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join(10)
        self._sock.close()
        for connection in self.connections:
            connection.close()
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def __enter__(self) -> ForeignServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            endpoint = Endpoint(
                self.fmt,
                SERVER,
                random=self._random,
                users=self.users if self.fmt.secure else None,
                program=self.program,
            )
            party = Party(endpoint, self.service, script=self._script, behaviour=self._behaviour, hangs=self._hangs)
            connection = LiveConnection(sock, party, segmentation=self._segmentation, on_end=lambda: None)
            with self._lock:
                self.connections.append(connection)
                self._lock.notify_all()
            connection.start()
