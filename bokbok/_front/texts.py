"""The texts of both front ends, in errors and in the log: each text once."""

from __future__ import annotations

from ..address import Address, format_address
from ..errors import ConnectionClosed, ConnectTimeout, Overloaded, RequestTimeout
from .admission import error_text

__all__ = [
    "BAD_PROXY",
    "CANNOT_ACCEPT",
    "CANNOT_TRAVEL",
    "CLOSE_HANDLER_FAILED",
    "HANDLER_CUT_OFF",
    "HANDLER_FAILED",
    "HELLOS_FAILED",
    "INTERNAL_ERROR",
    "LOOK_UP_FAILED",
    "NOT_REMEMBERED",
    "NOT_SENT",
    "NOT_SERVED",
    "OPEN_HANDLER_FAILED",
    "TOO_MUCH_MEMORY",
    "TOO_MUCH_UNSENT",
    "UNREADABLE_REQUEST",
    "WAITS_FOR_ITSELF",
    "cannot_start_thread",
    "drained",
    "internal_error",
    "no_answer",
    "no_connection",
    "no_hello",
    "no_key",
    "not_sent",
    "open_handler_failed",
    "too_many_parked",
    "took_nothing",
]

# For the log, with the connection or server in front.
BAD_PROXY = "%r: a connection of the proxy at %s is refused: %s"
CANNOT_ACCEPT = "%r: cannot accept: %s; trying again"
CANNOT_TRAVEL = "%r: the request handler's answer cannot travel: %s"
CLOSE_HANDLER_FAILED = "%r: the close handler failed"
HANDLER_CUT_OFF = "%r: a request handler ended with its connection: %s"
HANDLER_FAILED = "%r: the request handler failed"
HELLOS_FAILED = "%r: the shared memory of hellos failed, so a hello is refused"
INTERNAL_ERROR = "%r: internal error"
LOOK_UP_FAILED = "%r: user_to_key failed; the user is refused"
NOT_SERVED = "%r: a connection could not be served"
OPEN_HANDLER_FAILED = "%r: the open handler failed"
UNREADABLE_REQUEST = "%r: a request that cannot be read: %s"

TOO_MUCH_MEMORY = (
    "too much at once: requests of this connection that are not answered, and answers that are not read, "
    "take %d bytes of memory here; %d more are too many beside what is held for others"
)
TOO_MUCH_UNSENT = "the answer of %d bytes is not sent: %d bytes wait that this end does not read"
NOT_REMEMBERED = "whether the hello is a replay could not be found out"
NOT_SENT = "the answer is not sent: %d bytes of others wait that this end does not read"
WAITS_FOR_ITSELF = "a handler cannot wait for its own server: the server waits for its handlers"


def no_answer(timeout: float | None) -> RequestTimeout:
    """A request whose time is over."""
    return RequestTimeout(f"no answer within {timeout} s; the request may still be handled, and its answer is dropped")


def not_sent(timeout: float | None) -> RequestTimeout:
    """A request whose time was over before it could be sent."""
    return RequestTimeout(f"not sent within {timeout} s: the other end does not take what was sent before")


def too_many_parked(limit: int) -> Overloaded:
    """A handler's request, when too many handlers wait for answers already."""
    return Overloaded(
        "the request is not sent: too many handlers of this end, or of this user, wait for answers already "
        f"(parked: {limit}, of which one user gets eight ninths)"
    )


def no_connection(place: Address, timeout: float | None) -> ConnectTimeout:
    """A connection that was not made in time."""
    return ConnectTimeout(f"cannot connect to {format_address(place)}: no answer within {timeout} s")


def took_nothing(seconds: float) -> ConnectionClosed:
    """The end of a connection whose peer does not read."""
    return ConnectionClosed(f"the other end took nothing for {seconds} s of what was sent to it")


def drained(seconds: float) -> ConnectionClosed:
    """The end of a connection that a stopped server does not wait for any longer."""
    return ConnectionClosed(f"the server was stopped, and waited no longer than {seconds:g} s for handlers to finish")


def no_hello(seconds: float) -> ConnectionClosed:
    """The end of a connection whose client has not said who it is."""
    return ConnectionClosed(f"no hello came within {seconds} s; the client may be insecure, and the server is not")


def cannot_start_thread(error: BaseException) -> ConnectionClosed:
    """The end of a connection for which there is no thread."""
    return ConnectionClosed(f"cannot start a thread: {error}")


def no_key(seconds: float) -> ConnectionClosed:
    """The end of a connection whose user is still being looked up."""
    return ConnectionClosed(f"the look-up of the user (user_to_key) took longer than the hello may take, {seconds} s")


def open_handler_failed(error: BaseException) -> ConnectionClosed:
    """The end of a connection whose open handler failed. It may have been there to refuse the connection."""
    return ConnectionClosed(f"the open handler failed: {error_text(error)}")


def internal_error(error: BaseException) -> ConnectionClosed:
    """The end of a connection by a fault of this library, or of a profile: whoever waits must learn of it."""
    return ConnectionClosed(f"an internal error: {type(error).__name__}; the log of this end has its traceback")
