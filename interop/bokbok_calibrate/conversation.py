"""Conversations in memory: a client that plays the script and a server of the conformance service, in any profile.

What this module knows: how to drive two `wire.Connection` objects against each other.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bokbok.errors import BokbokError
from bokbok.keys import Key
from bokbok.sexpr import loads
from bokbok.wire import (
    BrokenCryptographyWarning,
    Connection,
    Guards,
    HelloReceived,
    Profile,
    RequestReceived,
    passphrase_to_key,
)
from bokbok_traffic.recording import Recorded

from .script import SCRIPT

__all__ = ["UNGUARDED", "Dialogue", "connection", "record", "serve_one"]

UNGUARDED = Guards(hello_replay=False, request_replay="off", reflection=False, nonce_reuse=False)
"""The guards of a calibrator. It speaks every format that it finds; its report has the warnings."""


def connection(*args: Any, **kwargs: Any) -> Connection:
    """A connection that speaks broken cryptography without a warning: the report has the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BrokenCryptographyWarning)
        return Connection(*args, guards=UNGUARDED, **kwargs)


class _Callbacks:
    """The remaining callbacks of `("callback" N X)`."""

    def __init__(self, id: int, count: int, datum: Any) -> None:
        self.id, self.count, self.datum = id, count, datum
        self.answers: list[Any] = []


class serve_one:
    """The conformance service on one connection, without a thread or a task.

    Args:
        side: the connection, of either role.
    """

    def __init__(self, side: Connection) -> None:
        self.side = side
        self._asked: dict[int, _Callbacks] = {}
        self.served = 0

    def take(self, event: Any) -> bool:
        """Act on an event. False if the service does not handle it."""
        if isinstance(event, RequestReceived):
            self.served += 1
            self._request(event.id, event.message)
            return True
        asked = self._asked.pop(getattr(event, "id", -1), None)
        if asked is None:
            return False
        asked.answers.append(getattr(event, "message", None))
        self._go_on(asked)
        return True

    def _go_on(self, work: _Callbacks) -> None:
        if len(work.answers) == work.count:
            self.side.respond(work.id, work.answers)
        else:
            id = self.side.request(["echo", [len(work.answers), work.datum]])
            self._asked[id] = work

    def _request(self, id: int, request: Any) -> None:
        name = request[0] if isinstance(request, list) and request and type(request[0]) is str else None
        args = request[1:] if name is not None else []
        if name == "echo" and len(args) == 1:
            self.side.respond(id, args[0])
        elif name == "ping" and len(args) == 1:
            self.side.respond(id, ["pong", args[0]])
        elif name == "fail" and len(args) == 1 and type(args[0]) is str:
            self.side.fail(id, args[0])
        elif name == "callback" and len(args) == 2 and type(args[0]) is int and 0 <= args[0] <= 100:
            self._go_on(_Callbacks(id, args[0], args[1]))
        elif name == "whoami":
            self.side.respond(id, self.side.user or False)
        elif name == "callback" and len(args) == 1:
            self.side.respond(id, [])  # as the demo's client does with its server's requests
        elif name == "asynch":
            self.side.respond(id, True)
            for number in ("1", "2", "3"):
                self.side.request(["callback", number])
        else:
            self.side.fail(id, f"unknown request: {str(request)[:100]}")


class Dialogue:
    """A client, and a server of the conformance service, that speak to each other in memory.

    Args:
        profile: their format.
        user: the client's name; `None` for an insecure connection.
        key: the user's.
        draw: both sides' source of randomness.

    Attributes:
        client: the one side.
        server: the other.
    """

    def __init__(
        self, profile: Profile, user: str | None, key: Key, *, draw: Callable[[int], bytes] = os.urandom
    ) -> None:
        credentials: dict[str, Any] = {} if user is None else {"user": user, "key": key}
        self.client = connection("client", profile=profile, draw=draw, **credentials)
        self.server = connection("server", profile=profile, secure=user is not None, draw=draw)
        self._key = key
        self._services = {"client": serve_one(self.client), "server": serve_one(self.server)}

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended the connection."""
        return self.client.state == self.server.state == "open"

    def ask(self, line: str) -> None:
        """Have the client make a request; `exchange` sends it.

        Raises:
            BokbokError: the profile cannot carry it.
        """
        self.client.request(loads(line))

    def exchange(self) -> Iterator[tuple[str, bytes]]:
        """Have both sides speak until neither has anything to say: the role of who speaks, and its bytes."""
        moved = True
        while moved:
            moved = False
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                try:
                    data = sender.data_to_send()
                except BokbokError:
                    continue
                if not data:
                    continue
                moved = True
                yield sender.role, data
                events = receiver.receive(data)
                while events:
                    event = events.pop(0)
                    if isinstance(event, HelloReceived):
                        events += receiver.authenticate(self._key)
                    else:
                        self._services[receiver.role].take(event)


def record(
    profile: Profile,
    *,
    secure: bool = True,
    lines: Sequence[str] = SCRIPT,
    connections: int = 2,
    user: str = "myuser",
    passphrase: str = "mypassphrase",  # noqa: S107
    draw: Callable[[int], bytes] = os.urandom,
) -> list[Recorded]:
    """What a recording of the script would contain. Lines that the profile cannot carry are left out."""
    out = []
    key = passphrase_to_key(passphrase, profile=profile)
    for number in range(1, connections + 1):
        dialogue = Dialogue(profile, user if secure else None, key, draw=draw)
        streams = {"client": b"", "server": b""}
        for line in lines:
            try:
                dialogue.ask(line)
            except BokbokError:
                continue
            for role, data in dialogue.exchange():
                streams[role] += data
            if not dialogue.is_open:
                break
        out.append(Recorded(number, streams["client"], streams["server"], {"client", "server"}))
    return out
