"""What a peer may ask of this side at most: named limits, each with its reason.

What this module knows: numbers. The wire layer enforces those about bytes and datums, a front end those about time,
threads and handlers.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]

DEFAULT_PACKET = 16 * 1024 * 1024
"""Bytes of one packet: large enough for any reasonable message; a u32 length could name 4 GiB."""
DEFAULT_DEPTH = 10_000
"""Nesting of one datum: far beyond what programs write, and far below what fills memory in a 16 MiB packet."""
DEFAULT_MESSAGE_MEMORY = 64 * 1024 * 1024
"""Bytes of memory of one datum that is read. Python's objects are large: 16 MiB of `'a'a'a…` took 1.3 GB, and 50 s.
With the packet itself, and what a long string takes while it is decoded, a message costs at most 64 MiB and four times
its bytes. Lists of numbers or of short strings fit up to 5 to 12 MiB of text, strings and blobs up to 16; of lists in
lists 200,000 to 400,000, since the collector has to look at each."""
DEFAULT_MEMORY = 128 * 1024 * 1024
"""Bytes of memory that one connection may hold for its other end: twice the largest message, so that one can be handled
while another comes."""
DEFAULT_SERVER_MEMORY = 512 * 1024 * 1024
"""Bytes of memory that a server may hold for all other ends: a quarter of a small machine. It takes four connections to
fill it; before that, each may hold less (`_front.budget`)."""
DEFAULT_PACKET_TIMEOUT = 30.0
"""Seconds for a packet, from its first byte, beside the time that `packet_rate` gives: a network that stands still for
longer has mostly lost the connection (Apache's `RequestReadTimeout` has 20)."""
DEFAULT_PACKET_RATE = 1000
"""The lowest rate of a packet, in bytes a second: slower than any modem of the last thirty years."""
DEFAULT_RUNNING = 1024
"""Handlers running at once per connection: with threads, about as many as a process can have (8 MiB of *virtual* stack
each)."""
DEFAULT_SERVER_RUNNING = 2048
"""Handlers running at once on all connections of a server: twice what one may have. One connection, user or source
alone gets eight ninths of them, so that the next one finds a free handler (`_front.slots`)."""
DEFAULT_PARKED = 2048
"""Handlers of a server that wait at once for answers to requests of their own. With threads, each keeps one. They do
not count as running, since what they wait for may have to run here, so they need a limit of their own."""
DEFAULT_WAITING = 4096
"""Requests waiting for a handler per connection: beyond them, an error now is kinder than an answer much later."""
DEFAULT_HELLO_TIMEOUT = 10.0
"""Seconds for a hello of two small packets: several round trips on the worst of links."""
DEFAULT_SEND_TIMEOUT = 60.0
"""Seconds in which a peer must take at least some of what is being sent to it (nginx's `send_timeout` is 60 s)."""
DEFAULT_UNSENT = 32 * 1024 * 1024
"""Bytes of answers that pile up for a peer which sends but does not read: two of the largest packets."""
DEFAULT_CONNECTIONS = 4096
"""Connections of one server; more wait in the listen backlog. An idle one costs memory, not a thread."""
DEFAULT_HELLOS = 512
"""With this many hellos under way, some new connections are refused: a hello is one packet or two, sent at once, so
that many at once are a flood, or a network that stands still. OpenSSH has 10, for logins that take seconds."""
DEFAULT_HELLOS_DROP = 30
"""Per cent of new connections that are refused then, rising to all of them (OpenSSH: `MaxStartups 10:30:100`)."""
DEFAULT_HELLOS_FULL = 2048
"""With this many hellos under way, every new connection is refused: half of the connections."""
DEFAULT_PENALTY_FROM = 15.0
"""A penalty is in force from this many seconds up: three refusals at once are a mistake in a script, and may pass."""
DEFAULT_PENALTY_MOST = 600.0
"""Seconds that a penalty lasts at most (both as OpenSSH's `PerSourcePenalties` has them)."""
DEFAULT_DRAIN_TIMEOUT = 30.0
"""Seconds that handlers may go on after a stop: systemd kills after 90, container engines after 10 to 30."""


@dataclass(frozen=True)
class Limits:
    """Limits of one connection or server; each is a keyword argument of the front ends too.

    Attributes:
        packet: bytes of one packet, boxes included, in both directions. A longer one that comes ends the
            connection; a message that would need one is refused before it is sent.
        depth: nesting of one datum that is read.
        message_memory: bytes of memory of one message that is read, by an estimate (`docs/sexpr.md` has it).
        memory: bytes of memory that one connection may hold for its other end, by the same estimate: packets that have
            come in part, requests that wait or are handled, answers and requests that were not sent. Beyond it
            requests are answered with an error.
        server_memory: the same for all connections of a server. Requests of the user (without users: the source) whose
            connections hold most are refused first.
        packet_timeout: seconds for a packet to come, from its first byte, before the connection ends ...
        packet_rate: ... and one second more for every so many bytes of it that have come.
        idle_timeout: seconds in which nothing comes and nothing is under way, before the connection ends. `None`: any.
        running: request handlers that run at once on one connection.
        server_running: request handlers that run at once on all connections of a server; the others wait for their
            turn.
        parked: handlers of a server that wait at once for answers to requests of their own, which do not count as
            running. Beyond it such a request is refused with `Overloaded`.
        waiting: requests that wait for a handler on one connection; more are answered with an error.
        hello_timeout: seconds for a hello in all, from the connection to the end of the look-up of its user.
        send_timeout: seconds a peer may take nothing of what is sent to it before the connection ends.
        unsent: bytes of answers that may pile up for a peer that does not read.
        connections: connections of one server at once.
        connections_per_address: those of one source (an IPv4 address, 64 bits of an IPv6 one) at once. `None`: 1,024,
            and as many as there is room for from this machine itself.
        connections_per_user: those of one user at once. `None`: all but a ninth, so that other users find room.
        hellos: with this many connections that have not said who they are, some new ones are refused at random; with
            fewer, if these take an eighth of the room that the others leave (all are refused if they take half of it).
        hellos_drop: how many of them, per cent, at first.
        hellos_full: with this many connections that have not said who they are, all new ones are refused.
        hellos_per_address: those of one source at once. `None`: 64, and any number from this machine itself.
        penalty: seconds that each hello or connection which is refused by its own fault counts against its source.
            `None`: 5, and none for this machine itself. 0 turns it off.
        penalty_from: with this many seconds of penalty, new connections of the source are refused until it is over.
        penalty_most: seconds that a penalty lasts at most.
        drain_timeout: seconds that handlers may go on after the server was asked to stop; then connections are closed.
        keys_per_user: keys that `user_to_key` may return for one user. So many are tried for each hello, whoever says
            it, so that the time tells nothing.
    """

    packet: int = DEFAULT_PACKET
    depth: int = DEFAULT_DEPTH
    message_memory: int = DEFAULT_MESSAGE_MEMORY
    memory: int = DEFAULT_MEMORY
    server_memory: int = DEFAULT_SERVER_MEMORY
    packet_timeout: float = DEFAULT_PACKET_TIMEOUT
    packet_rate: float = DEFAULT_PACKET_RATE
    idle_timeout: float | None = None
    running: int = DEFAULT_RUNNING
    server_running: int = DEFAULT_SERVER_RUNNING
    parked: int = DEFAULT_PARKED
    waiting: int = DEFAULT_WAITING
    hello_timeout: float = DEFAULT_HELLO_TIMEOUT
    send_timeout: float = DEFAULT_SEND_TIMEOUT
    unsent: int = DEFAULT_UNSENT
    connections: int = DEFAULT_CONNECTIONS
    connections_per_address: int | None = None
    connections_per_user: int | None = None
    hellos: int = DEFAULT_HELLOS
    hellos_drop: int = DEFAULT_HELLOS_DROP
    hellos_full: int = DEFAULT_HELLOS_FULL
    hellos_per_address: int | None = None
    penalty: float | None = None
    penalty_from: float = DEFAULT_PENALTY_FROM
    penalty_most: float = DEFAULT_PENALTY_MOST
    drain_timeout: float = DEFAULT_DRAIN_TIMEOUT
    keys_per_user: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None and name in _OPEN:
                continue
            if not isinstance(value, (int, float)):
                raise TypeError(f"limit {name}: expected a number, got {type(value).__name__}")
            if name in _FROM_ZERO:
                if not value >= 0:
                    raise ValueError(f"limit {name}: expected a number from 0 up, got {value!r}")
            elif not value > 0:
                raise ValueError(f"limit {name}: expected a number above 0, got {value!r}")


_FROM_ZERO = ("waiting", "parked", "penalty")
"""Limits that may be 0: then no request waits, handlers cannot ask, refusals are not remembered."""
_OPEN = ("idle_timeout", "connections_per_address", "connections_per_user", "hellos_per_address", "penalty")
"""Limits that may be `None`. Those per source hold for this machine itself only if they are set."""

DEFAULT_LIMITS = Limits()
