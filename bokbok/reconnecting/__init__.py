"""A client that outlives its server: when its connection has ended, it opens another one.

    from bokbok.reconnecting import Connection

    with Connection(["a.example:8000", "b.example:8000"], "myuser", key) as connection:
        connection.request(["balance"], repeat=True)   # asked again, if the connection ends before the answer

`Connection` is for threads; `bokbok.reconnecting.asyncio.Connection` has the same shape on an event loop. The extra
`reconnecting` installs what they need.

They try each address in turn, wait longer and longer between two rounds (exponential back-off with jitter, by
tenacity), and call the open handler for each connection and the close handler for its end.

They do not promise that a request is handled once. When a connection ends before an answer has come, this side does not
know whether the request was handled. Such a request fails, unless its caller says `repeat=True`: then it is asked again
on the next connection, and may be handled twice. Requests do not keep their order across connections. The open handler
has to tell the server again what it should know of a connection (subscriptions, say).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._backoff import Backoff

if TYPE_CHECKING:
    from .threads import Connection, open_connection

__all__ = ["Backoff", "Connection", "open_connection"]


def __getattr__(name: str) -> Any:
    if name in ("Connection", "open_connection"):
        return getattr(importlib.import_module(".threads", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
