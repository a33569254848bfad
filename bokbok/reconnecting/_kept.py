"""What both front ends share for a connection that is opened again: its arguments, its state, its messages.

Waiting is in `threads` and `asyncio`.
"""

from __future__ import annotations

import time
from typing import Any, Generic, Protocol, TypeVar

import tenacity

from .._front.logs import ERROR, Log
from .._front.notices import write
from ..address import Address
from ..errors import BokbokError, ConnectFailed, ConnectionClosed, RequestTimeout
from ._backoff import Addresses, Backoff, Silent, addresses_of

__all__ = ["Kept", "left", "log"]

log = Log("bokbok.reconnecting")


class _Addressed(Protocol):
    @property
    def address(self) -> Address: ...


_C = TypeVar("_C", bound=_Addressed)


class Kept(Generic[_C]):
    """Base of both connections. See `threads.Connection` for the arguments."""

    def __init__(self, addresses: Addresses, backoff: Backoff | None, options: dict[str, Any]) -> None:
        self._addresses = addresses_of(addresses)
        self._backoff = backoff if backoff is not None else Backoff()
        self._options = options
        self._current: _C | None = None
        self._error: BaseException | None = None  # why it was given up
        self._heard = False  # whether a message came over the current connection

    @property
    def connection(self) -> _C | None:
        """The current connection, if there is one."""
        return self._current

    @property
    def address(self) -> Address | None:
        """The other end of the current connection, if there is one."""
        connection = self._current
        return None if connection is None else connection.address

    def _found(self, closing: bool) -> _C:
        """The connection, once there is one, or the error because of which there is none."""
        if closing:
            raise ConnectionClosed("closed by this side")
        if self._current is not None:
            return self._current
        raise ConnectFailed(f"given up: {self._error}") from self._error

    def _late(self, timeout: float | None) -> RequestTimeout:
        return RequestTimeout(f"no connection within {timeout} s; none of {len(self._addresses)} addresses serves")

    def _not_opened(self, error: Exception) -> Silent:
        """How a connection ends whose open handler has failed with this error."""
        if not isinstance(error, BokbokError):
            write(log, ERROR, 0, "the open handler failed", (), error=error)
        return Silent(f"the open handler failed: {error}")

    def _check_heard(self, connection: _C) -> None:
        """After the connection's end: raises `Silent` if no message came over it."""
        if not self._heard:
            raise Silent(f"{connection.address}: the connection ended before any message had come")

    def _tell(self, state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        log.info("%s; next try in %.1f s", state.outcome.exception(), state.next_action.sleep)


def left(deadline: float | None) -> float | None:
    """Seconds until a moment of `time.monotonic`; `None` if there is no such moment."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
