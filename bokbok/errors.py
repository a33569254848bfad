"""Every exception of the public API, one tree under `BokbokError`.

What this module knows: what can go wrong, and whose fault it is. Each class also derives from the builtin that a Python
programmer would catch (`ValueError`, `ConnectionError`, `TimeoutError`), so that code which does not know bokbok still
does the right thing.

    BokbokError
    ├── AddressError            (ValueError)       an address in none of the documented forms
    ├── KeyFileError            (ValueError)       a key or passphrase file that cannot be used
    ├── ProfileError            (ValueError)       a profile that cannot be spoken
    ├── SexprError              (ValueError)
    │   ├── ReadError                              bytes that are not a datum: what, where, what was expected
    │   │   └── IncompleteError                    … because the input ended in the middle of one
    │   └── WriteError                             a value that has no external representation
    ├── RemoteError                                the handler at the other end failed
    │   └── UnreadableAnswer                       … or answered with something that cannot be read
    ├── Overloaded              (RuntimeError)     this end has too much under way already
    ├── LocalProtocolError      (RuntimeError)     this program asked for what the protocol's state forbids
    ├── RequestTimeout          (TimeoutError)     `request(..., timeout=)` ran out
    └── NetworkError            (ConnectionError)  "networky reasons", as the API reference has it
        ├── ConnectFailed                          no connection could be made
        ├── ConnectTimeout      (TimeoutError)     … in the time allowed
        └── ConnectionClosed                       the connection is over; `.reason` says why
            └── ProtocolError
                └── RemoteProtocolError            the peer sent something that the protocol forbids
"""

from __future__ import annotations

__all__ = [
    "AddressError",
    "BokbokError",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionClosed",
    "IncompleteError",
    "KeyFileError",
    "LocalProtocolError",
    "NetworkError",
    "Overloaded",
    "ProfileError",
    "ProtocolError",
    "ReadError",
    "RemoteError",
    "RemoteProtocolError",
    "RequestTimeout",
    "SexprError",
    "UnreadableAnswer",
    "WriteError",
]


class BokbokError(Exception):
    """Root of every exception that bokbok raises on purpose."""


class AddressError(BokbokError, ValueError):
    """An address has none of the forms of the API reference."""


class KeyFileError(BokbokError, ValueError):
    """A key, a key file or a passphrase file cannot be used. The text never quotes its content."""


class ProfileError(BokbokError, ValueError):
    """A wire profile that does not exist, does not fit together, or is refused because it is unsafe."""


class SexprError(BokbokError, ValueError):
    """A failure to read or to write CHICKEN's external representation."""


class ReadError(SexprError):
    """Bytes that do not read as a datum.

    Attributes:
        problem: what is wrong, in words.
        offset: where, in bytes from the start of the input (for a `Reader`: of everything fed to it).
        expected: what would have been right there, or `None` where many things would.
    """

    def __init__(self, problem: str, offset: int, expected: str | None = None) -> None:
        self.problem = problem
        self.offset = offset
        self.expected = expected
        tail = f"; expected {expected}" if expected else ""
        super().__init__(f"{problem} at byte {offset}{tail}")

    def __reduce__(self) -> tuple[type[ReadError], tuple[str, int, str | None]]:
        return type(self), (self.problem, self.offset, self.expected)


class IncompleteError(ReadError):
    """The input ended in the middle of a datum; more bytes could have completed it."""


class WriteError(SexprError):
    """A value that has no external representation in the dialect. Nothing has been written.

    Attributes:
        problem: what is wrong, in words.
        path: where in the value, as a Python expression from its root: `message[2][0]`.
    """

    def __init__(self, problem: str, path: str = "message") -> None:
        self.problem = problem
        self.path = path
        super().__init__(f"{path}: {problem}")

    def __reduce__(self) -> tuple[type[WriteError], tuple[str, str]]:
        return type(self), (self.problem, self.path)


class RemoteError(BokbokError):
    """The request handler at the other end failed (API reference: `remote-error?`).

    Attributes:
        message: "a string describing what went wrong at the other end of the connection"
            (API reference: `remote-error-message`).
    """

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class UnreadableAnswer(RemoteError):
    """An answer came and named its request, but what it carries does not read as one datum."""


class RequestTimeout(BokbokError, TimeoutError):
    """A request was not answered in the time that its caller allowed. A late answer is dropped."""


class Overloaded(BokbokError, RuntimeError):
    """This end has too much under way to ask for more: a limit of its own was reached. Nothing was sent."""


class LocalProtocolError(BokbokError, RuntimeError):
    """This side asked for something that the protocol's state forbids: a fault of this program, not of the peer.

    It is not a `ConnectionError`: code that catches those to connect again would hide the fault.
    """


class NetworkError(BokbokError, ConnectionError):
    """A failure "for networky reasons" (API reference: `request!`)."""


class ConnectFailed(NetworkError):
    """No connection could be made: refused, unknown host, no such socket file, …"""


class ConnectTimeout(ConnectFailed, TimeoutError):
    """No connection could be made in the time allowed."""


class ConnectionClosed(NetworkError):
    """The connection is over, and with it every request that was waiting on it. Nothing is resent.

    Attributes:
        reason: why, in words; the same as the connection's `close_reason`.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ProtocolError(ConnectionClosed):
    """One side broke the rules of the protocol; the connection cannot go on."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol forbids (or bytes that are not this protocol at all)."""
