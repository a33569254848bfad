"""What `Connection.receive` returns: one small typed object for each thing that has happened.

What this module knows: the shape of events. They are plain slotted classes. They are compared by value, and must not be
changed. Front ends do without the object for the usual events (`Plain`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass(slots=True)
class HelloReceived:
    """Server: a hello is there, whole. Look up the user's key and call `Connection.authenticate`.

    Attributes:
        user: the username, any string; not authenticated yet.
    """

    user: str


@dataclass(slots=True)
class HelloOpened:
    """Server, with `confirm_hellos`: a hello has opened and is new here. Call `Connection.admit`, which goes on.

    Attributes:
        user: the username; the peer knows the user's key.
        digest: of the hello's box, 32 bytes: the same for the same hello. It tells nothing of any key.
    """

    user: str
    digest: bytes


@dataclass(slots=True)
class Opened:
    """Server: the hello has opened; the peer knows the user's key.

    Attributes:
        user: the username.
    """

    user: str


@dataclass(slots=True)
class RequestReceived:
    """The peer asks. Answer with `Connection.respond` or `Connection.fail`, once.

    Attributes:
        id: the request's ID, in the peer's numbering.
        message: the datum.
        cost: bytes of memory that it takes, by the estimate of `Limits.message_memory`.
    """

    id: int
    message: Any
    cost: int = field(default=0, compare=False)


@dataclass(slots=True)
class RequestUnreadable:
    """A request whose datum does not read. It has been answered with an error already; this is for the log.

    Attributes:
        id: the request's ID.
        problem: what is wrong with the datum.
    """

    id: int
    problem: str


@dataclass(slots=True)
class ResponseReceived:
    """An answer to our request.

    Attributes:
        id: the ID that `Connection.request` returned.
        message: the datum.
    """

    id: int
    message: Any


@dataclass(slots=True)
class ErrorReceived:
    """Our request failed at the other end.

    Attributes:
        id: the ID that `Connection.request` returned.
        message: what the other end says went wrong.
    """

    id: int
    message: str


@dataclass(slots=True)
class AnswerUnreadable:
    """An answer to our request came, and what it carries does not read as one datum.

    Attributes:
        id: the ID that `Connection.request` returned.
        problem: what is wrong with the datum.
    """

    id: int
    problem: str


@dataclass(slots=True)
class PeerFinished:
    """The peer sends no more: our waiting requests have failed. Answers can still be sent, then close.

    Attributes:
        error: what waiting requests fail with.
    """

    error: ConnectionClosed


@dataclass(slots=True)
class Closed:
    """The connection is over, by a protocol error: send what `data_to_send` has, then close the transport.

    Attributes:
        error: why; what waiting requests fail with.
    """

    error: ConnectionClosed


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
