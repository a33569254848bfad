"""What a peer may ask of this side at the most: named limits, each with its reason.

What this module knows: numbers. The wire layer enforces those about bytes and datums, a front end those about time,
threads and handlers.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]

DEFAULT_PACKET = 16 * 1024 * 1024
"""Bytes of one packet: large enough for any message that a person would call one; a u32 length could name 4 GiB."""
DEFAULT_DEPTH = 10_000
"""Nesting of one datum: far beyond what programs write, and far below what fills memory in a 16 MiB packet."""
DEFAULT_MESSAGE_MEMORY = 64 * 1024 * 1024
"""Bytes of memory of one datum that is read. Python's objects are large: 16 MiB of `'a'a'a…` took 1.3 GB, and 50 s.
With the packet itself, and what a long string takes while it is decoded, a message costs at most 64 MiB and four times
its bytes. Lists of numbers or of short strings fit up to 5 to 12 MiB of text, strings and blobs up to 16."""
DEFAULT_RUNNING = 1024
"""Handlers running at once per connection: with threads, about what a process bears (8 MiB of *virtual* stack each)."""
DEFAULT_SERVER_RUNNING = 2048
"""Handlers running at once on all connections of a server: twice what one may have. One connection, user or source
alone gets eight ninths of them, so that whoever comes next finds a free one (`_front.slots`)."""
DEFAULT_PARKED = 2048
"""Handlers of a server that wait at once for answers to requests of their own. With threads, each keeps one. They do
not count as running, since what they wait for may have to run here; without a bound they would be without number."""
DEFAULT_WAITING = 4096
"""Requests waiting for a handler per connection: beyond them, an error now is kinder than an answer much later."""
DEFAULT_HELLO_TIMEOUT = 10.0
"""Seconds for a hello of two small packets: several round trips on the worst of links."""
DEFAULT_SEND_TIMEOUT = 60.0
"""Seconds in which a peer must take at least some of what is being sent to it (nginx's `send_timeout` is 60 s)."""
DEFAULT_UNSENT = 32 * 1024 * 1024
"""Bytes of answers that pile up for a peer which sends but does not read: two of the largest packets."""
DEFAULT_CONNECTIONS = 4096
"""Connections of one server; more wait in the listen backlog. With threads, each costs one even when idle."""


@dataclass(frozen=True)
class Limits:
    """Limits of one connection or server; each is a keyword argument of the front ends too.

    Attributes:
        packet: bytes of one packet, boxes included, in both directions. A longer one that comes ends the
            connection; a message that would need one is refused before it is sent.
        depth: nesting of one datum that is read.
        message_memory: bytes of memory of one message that is read, by an estimate (`docs/sexpr.md` has it).
        running: request handlers that run at once on one connection.
        server_running: request handlers that run at once on all connections of a server; the others wait for their
            turn.
        parked: handlers of a server that wait at once for answers to requests of their own, which do not count as
            running. Beyond it such a request is refused with `Overloaded`.
        waiting: requests that wait for a handler on one connection; more are answered with an error.
        hello_timeout: seconds a server waits for a whole hello.
        send_timeout: seconds a peer may take nothing of what is sent to it before the connection ends.
        unsent: bytes of answers that may pile up for a peer that does not read.
        connections: connections of one server at once.
    """

    packet: int = DEFAULT_PACKET
    depth: int = DEFAULT_DEPTH
    message_memory: int = DEFAULT_MESSAGE_MEMORY
    running: int = DEFAULT_RUNNING
    server_running: int = DEFAULT_SERVER_RUNNING
    parked: int = DEFAULT_PARKED
    waiting: int = DEFAULT_WAITING
    hello_timeout: float = DEFAULT_HELLO_TIMEOUT
    send_timeout: float = DEFAULT_SEND_TIMEOUT
    unsent: int = DEFAULT_UNSENT
    connections: int = DEFAULT_CONNECTIONS

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in _FROM_ZERO:
                if value < 0:
                    raise ValueError(f"limit {name}: expected a number from 0 up, got {value!r}")
            elif not value > 0:
                raise ValueError(f"limit {name}: expected a number above 0, got {value!r}")


_FROM_ZERO = ("waiting", "parked")
"""None may have to wait; and handlers may be forbidden to ask."""

DEFAULT_LIMITS = Limits()
