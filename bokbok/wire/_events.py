"""What `Connection.receive` returns: one small typed object for each thing that has happened.

What this module knows: the shape of events. They are plain slotted classes. They are compared by value, and must not be
changed. Front ends do without the object for the usual events (`Plain`). Their methods are written out: a `dataclass`
compiles them each time that a program starts, which for these took a fiftieth of a whole `bokbok call`.
"""

from __future__ import annotations

from typing import Any, cast

from ..errors import ConnectionClosed
from .messages import REQUEST, RESPONSE, Read

__all__ = [
    "AnswerUnreadable",
    "Closed",
    "ErrorReceived",
    "Event",
    "HelloOpened",
    "HelloReceived",
    "Opened",
    "PeerFinished",
    "Plain",
    "RequestReceived",
    "RequestUnreadable",
    "ResponseReceived",
    "as_event",
    "as_plain",
]


class _Event:
    """What events have in common: they are compared by value, and show it."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()
    _compared: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls._compared = cls._compared or cls.__match_args__

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return [getattr(self, name) for name in self._compared] == [getattr(other, name) for name in self._compared]

    __hash__ = None  # type: ignore[assignment]  # what a message holds may have no hash

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({values})"


class HelloReceived(_Event):
    """Server: a hello is there, whole. Look up the user's key and call `Connection.authenticate`.

    Attributes:
        user: the username, any string; not authenticated yet.
    """

    __slots__ = __match_args__ = ("user",)

    def __init__(self, user: str) -> None:
        self.user = user


class HelloOpened(_Event):
    """Server, with `confirm_hellos`: a hello has opened and is new here. Call `Connection.admit`, which goes on.

    Attributes:
        user: the username; the peer knows the user's key.
        digest: of the hello's box, 32 bytes: the same for the same hello. It tells nothing of any key.
    """

    __slots__ = __match_args__ = ("user", "digest")

    def __init__(self, user: str, digest: bytes) -> None:
        self.user = user
        self.digest = digest


class Opened(_Event):
    """Server: the hello has opened; the peer knows the user's key.

    Attributes:
        user: the username.
    """

    __slots__ = __match_args__ = ("user",)

    def __init__(self, user: str) -> None:
        self.user = user


class RequestReceived(_Event):
    """The peer asks. Answer with `Connection.respond` or `Connection.fail`, once.

    Attributes:
        id: the request's ID, in the peer's numbering.
        message: the datum.
        cost: bytes of memory that it takes, by the estimate of `Limits.message_memory`.
    """

    __slots__ = __match_args__ = ("id", "message", "cost")
    _compared = ("id", "message")

    def __init__(self, id: int, message: Any, cost: int = 0) -> None:
        self.id = id
        self.message = message
        self.cost = cost


class RequestUnreadable(_Event):
    """A request whose datum does not read. It has been answered with an error already; this is for the log.

    Attributes:
        id: the request's ID.
        problem: what is wrong with the datum.
    """

    __slots__ = __match_args__ = ("id", "problem")

    def __init__(self, id: int, problem: str) -> None:
        self.id = id
        self.problem = problem


class ResponseReceived(_Event):
    """An answer to our request.

    Attributes:
        id: the ID that `Connection.request` returned.
        message: the datum.
    """

    __slots__ = __match_args__ = ("id", "message")

    def __init__(self, id: int, message: Any) -> None:
        self.id = id
        self.message = message


class ErrorReceived(_Event):
    """Our request failed at the other end.

    Attributes:
        id: the ID that `Connection.request` returned.
        message: what the other end says went wrong.
    """

    __slots__ = __match_args__ = ("id", "message")

    def __init__(self, id: int, message: str) -> None:
        self.id = id
        self.message = message


class AnswerUnreadable(_Event):
    """An answer to our request came, and what it carries does not read as one datum.

    Attributes:
        id: the ID that `Connection.request` returned.
        problem: what is wrong with the datum.
    """

    __slots__ = __match_args__ = ("id", "problem")

    def __init__(self, id: int, problem: str) -> None:
        self.id = id
        self.problem = problem


class PeerFinished(_Event):
    """The peer sends no more: our waiting requests have failed. Answers can still be sent, then close.

    Attributes:
        error: what waiting requests fail with.
    """

    __slots__ = __match_args__ = ("error",)

    def __init__(self, error: ConnectionClosed) -> None:
        self.error = error


class Closed(_Event):
    """The connection is over, by a protocol error: send what `data_to_send` has, then close the transport.

    Attributes:
        error: why; what waiting requests fail with.
    """

    __slots__ = __match_args__ = ("error",)

    def __init__(self, error: ConnectionClosed) -> None:
        self.error = error


Event = (
    HelloReceived
    | HelloOpened
    | Opened
    | RequestReceived
    | RequestUnreadable
    | ResponseReceived
    | ErrorReceived
    | AnswerUnreadable
    | PeerFinished
    | Closed
)

Plain = Read | Event
"""What has happened, for a front end: requests and responses that read are left as they were read."""


def as_event(plain: Plain) -> Event:
    """What has happened, as `Connection.receive` tells it."""
    if type(plain) is not tuple:
        return cast(Event, plain)
    kind, id, datum, cost = plain
    return RequestReceived(id, datum, cost) if kind == REQUEST else ResponseReceived(id, datum)


def as_plain(event: Event) -> Plain:
    """The same as `Connection.receive_plain` has it. What a response took in memory is not told any more."""
    if type(event) is RequestReceived:
        return REQUEST, event.id, event.message, event.cost
    if type(event) is ResponseReceived:
        return RESPONSE, event.id, event.message, 0
    return event
