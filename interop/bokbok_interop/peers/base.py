"""The interface between the runner and the place where a puppet runs.

What this module knows: what the runner needs from such a place: streams, a log, an end, faults, and addresses as seen
from each side. `local` and `docker` implement it.

A backend is two classes. `Peer` is an implementation by name. It is cheap to make; `prepare` finds or builds the
implementation once, and `start` returns a new `Running` each time. `Running` is one started puppet.

Addresses are canonical tuples, `("tcp", host, port)` or `("unix", path)`. An address has up to three forms: as its
owner bound it, as the runner reaches it, and as another puppet reaches it. The methods of `Running` translate between
them. For processes of one machine all three are the same.
"""

from __future__ import annotations

import abc
import functools
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "LOCAL_FAULTS",
    "Address",
    "HostKind",
    "Log",
    "Peer",
    "PuppetFault",
    "Running",
    "Unavailable",
    "Usage",
    "bound_to_all",
    "has_ipv6",
]

Address = tuple[Any, ...]

HostKind = Literal["name", "ipv4", "ipv6"]

LOCAL_FAULTS = frozenset({"pause", "kill"})
"""What can be done to a process of this machine (and `measure`, if the system provides the figures). Containers add
`disconnect`."""

LOG_HEAD = 64 * 1024
"""Bytes that are kept of the beginning of a puppet's log."""
LOG_TAIL = 256 * 1024
"""Bytes that are kept of its end."""
LOG_FLOOD = 256 * 1024 * 1024
"""A puppet whose log has more bytes counts as flooding."""


def bound_to_all(address: Address) -> bool:
    """Whether it is the TCP address of a server that listens on all addresses of its machine."""
    return address[0] == "tcp" and address[1] in (None, "0.0.0.0", "::")


@functools.cache
def has_ipv6() -> bool:
    """Whether this machine has IPv6. In a container it is often compiled in but turned off, so that `::1` is
    missing."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


class Unavailable(Exception):
    """A peer is not available here; its cells are absent, for this reason."""


class PuppetFault(Exception):
    """A puppet broke the rules of being a puppet. Its cells fail, the run goes on.

    Attributes:
        peer: the peer's name.
        kind: `crashed`, `hung`, `flooded`, `nonsense` or `start`.
        problem: what happened, in words.
        log: the end of its log, if no cell will have it as evidence.
    """

    log = ""

    def __init__(self, peer: str, kind: str, problem: str) -> None:
        self.peer = peer
        self.kind = kind
        self.problem = problem
        super().__init__(f"{peer}: {problem}")


@dataclass(frozen=True)
class Usage:
    """The resources that a puppet uses.

    Attributes:
        memory: resident bytes.
        files: open file descriptors, including sockets.
        threads: its threads.
    """

    memory: int
    files: int
    threads: int


class Log:
    """What a puppet wrote to its standard error: the beginning and the end, within bounds."""

    def __init__(self) -> None:
        self.size = 0
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def add(self, data: bytes) -> None:
        """Add some bytes."""
        self.size += len(data)
        room = LOG_HEAD - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) > LOG_TAIL:
                self._tail_size -= len(self._tail.popleft())

    def text(self, since: int = 0) -> str:
        """What was written after the first `since` bytes, with a mark where something is missing."""
        head, tail = bytes(self._head), b"".join(self._tail)
        missing = self.size - len(head) - len(tail)
        tail_start = len(head) + missing
        out = head[since:] if since < len(head) else b""
        if missing > 0 and since < tail_start:
            out += b"\n[... %d bytes of log dropped ...]\n" % missing
        out += tail[max(0, since - tail_start) :]
        return out.decode("utf-8", "backslashreplace")


class Running(abc.ABC):
    """One started puppet.

    Attributes:
        peer: the peer's name.
        log: its standard error so far.
        faults: what the backend can do to it, in addition to what the relay does.
    """

    peer: str
    log: Log
    faults: frozenset[str] = frozenset()

    @abc.abstractmethod
    async def send(self, data: bytes) -> None:
        """Write to its standard input. If the puppet does not read, this waits; if it has gone, nothing happens."""

    @abc.abstractmethod
    async def receive(self) -> bytes:
        """Some bytes of its standard output; empty at its end."""

    @abc.abstractmethod
    async def close(self, grace: float = 2.0) -> int | None:
        """End its standard input, wait `grace` seconds until it ends, then kill it, together with all that it started.

        Returns:
            Its exit status if it ended by itself, or `None`.
        """

    @abc.abstractmethod
    async def kill(self) -> None:
        """Kill it at once, together with all that it started. Returns when it has ended."""

    @abc.abstractmethod
    async def ended(self) -> str:
        """Wait until it has ended. Returns how, in words: "exited with status 3", "was killed by SIGSEGV"."""

    def usage(self) -> Usage:
        """The resources that it uses now, if `measure` is among its faults."""
        raise NotImplementedError("this backend cannot measure what a puppet uses")

    async def pause(self) -> None:
        """Stop it from running, with its sockets open."""
        raise NotImplementedError("this backend cannot pause a puppet")

    async def resume(self) -> None:
        """End `pause`."""
        raise NotImplementedError("this backend cannot pause a puppet")

    async def disconnect(self) -> None:
        """Take its network away."""
        raise NotImplementedError("this backend cannot take a puppet's network away")

    async def reconnect(self) -> None:
        """End `disconnect`."""
        raise NotImplementedError("this backend cannot take a puppet's network away")

    # -- addresses

    @abc.abstractmethod
    async def listen_address(self, transport: str, name: str, client: Running | None = None) -> Address:
        """The address to bind that it is given, so that the runner and `client` can reach it.

        Args:
            transport: `tcp` or `unix`.
            name: a short word, new for each call, to make a socket's file from.
            client: the puppet that will connect, or `None` if only the runner does.

        Returns:
            The address. Its port may be 0; then the puppet chooses. If there is a limited number of addresses, this
            waits until one of them is `release`d.
        """

    def release(self, address: Address) -> None:
        """Take back an address of `listen_address`; nothing listens there any more."""
        return

    @abc.abstractmethod
    def from_runner(self, address: Address) -> Address:
        """How the runner reaches an address that this puppet bound."""

    @abc.abstractmethod
    def from_puppet(self, other: Running, address: Address) -> Address:
        """How `other` reaches an address that this puppet bound, without a relay."""

    @abc.abstractmethod
    def relay_address(self, transport: str, name: str) -> Address:
        """Where the runner binds so that this puppet can reach it."""

    @abc.abstractmethod
    def to_runner(self, address: Address) -> Address:
        """How this puppet reaches an address that the runner bound at `relay_address`."""

    def seen_from(self, address: Address) -> Address:
        """The address that this puppet sees if the runner connects from `address`; port 0 if that cannot be known."""
        return address

    def runner_host(self, kind: HostKind) -> str | None:
        """How this puppet finds the runner's machine, by name or number; `None` if it cannot find it that way."""
        return {"name": "localhost", "ipv4": "127.0.0.1", "ipv6": "::1" if has_ipv6() else None}[kind]

    def host(self, other: Running, kind: HostKind) -> str | None:
        """How `other` finds this puppet's machine, by name or number; `None` if it cannot find it that way."""
        return other.runner_host(kind)

    def source(self, other: Running, kind: HostKind) -> str | None:
        """The address from which `other` sees a connection come that this puppet made by IPv4 or IPv6."""
        return other.runner_host(kind)


class Peer(abc.ABC):
    """An implementation, by the name that it has in the matrix.

    Attributes:
        name: its name in the results.
        given: whether the user named it; then its absence is an error.
        note: called with what a person may want to know while `prepare` takes long.
    """

    name: str
    given: bool = False
    note: Callable[[str], None] = staticmethod(lambda text: None)

    async def prepare(self) -> None:
        """Find or build it. Called once before the first `start`.

        Raises:
            Unavailable: it is not available here; the message says why.
        """
        return

    @abc.abstractmethod
    async def start(self, *, role: str = "", transport: str = "", alone: bool = False) -> Running:
        """Start one puppet.

        Args:
            role: `client` if it will never have to listen, `server` if it will never have to connect, or neither.
            transport: the only transport that it will be used with, or any.
            alone: whether it will play one case, and not many at once.

        Raises:
            Unavailable: it is not available here after all.
        """

    async def dispose(self) -> None:
        """Release what `prepare` took, once all its puppets are closed."""
        return

    def describe(self) -> dict[str, Any]:
        """What the results say about it: how it is started."""
        return {"name": self.name}

    def fingerprint(self) -> str:
        """A digest of what `start` starts, once it is prepared. Equal digests mean the same peer."""
        raise NotImplementedError(f"it is not known whether {self.name} is the same on another machine")
