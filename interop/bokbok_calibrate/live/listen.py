"""Calibrating in a server's place: a real client connects, and is answered in the format as understood so far.

What this module knows: how to continue a conversation whose format is only half understood. A client alone does not
show what an answer looks like. But connections are symmetrical: once the client's requests are understood, this side
asks the client something in the same form, and its answers show the forms of an answer and an error. `solve` finds the
format.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from bokbok.address import format_address
from bokbok.errors import BokbokError, RemoteProtocolError
from bokbok.keys import Key
from bokbok.wire import Closed, ErrorReceived, HelloReceived, Profile, RequestReceived, ResponseReceived
from bokbok.wire.boxes import Counted
from bokbok_traffic.capture import CLIENT, SERVER, Capture
from bokbok_traffic.recording import Recorded
from bokbok_traffic.streams import hosts_here

from ..clock import PATIENCE as SEARCH_AT_LAST
from ..conversation import connection, serve_one
from ..derivation import Secrets
from ..hands import Hands
from ..search.answer import Answer
from ..search.solve import solve

__all__ = ["Listener", "key_of"]

Say = Callable[[str], None]

QUIET = 0.25
"""Seconds without a byte, after which the search looks at what has come."""
PATIENCE = 3.0
"""Seconds that a client has to answer a request."""
SEARCH = 15.0
"""Seconds that a search may take while a client waits."""
_READ = 1 << 18

ASKED: tuple[Any, ...] = (
    ["echo", "marker"], ["fail", "marker of a failure"], ["callback", "1"], ["echo", [1, "marker"]],
)  # fmt: skip
"""The requests to a client: the demo's client answers the third, the conformance service the others. The last answer is
not a text, while the message of an error is one: that tells the two apart."""


def key_of(profile: Profile, secrets: Secrets) -> Key | None:
    """The user's key, as a profile makes it."""
    if secrets.key is not None:
        return Key.from_bytes(secrets.key)
    return None if secrets.passphrase is None else Key.from_bytes(profile.key_derivation(secrets.passphrase))


@dataclass
class Talk:
    """One connection: what happened on it, in order, so that it can be replayed in another profile.

    Attributes:
        number: the connection's number.
        heard: everything that the client sent.
        said: everything that was sent to it.
        trusted: whether the client went on after this side's bytes, and its next bytes are understood.
        confirmed: how much this side had sent when the client last sent something.
    """

    number: int
    heard: bytes = b""
    said: bytes = b""
    trusted: bool = False
    confirmed: int = 0
    _events: list[tuple[str, Any]] = field(default_factory=list)
    _asking: bool = False
    _answering: bool = False

    @property
    def asks(self) -> bool:
        """Whether the client was asked something."""
        return self._asking

    @property
    def answers(self) -> bool:
        """Whether the client's requests are answered."""
        return self._answering

    def hear(self, data: bytes) -> None:
        """The client sent some bytes."""
        self.heard += data
        self.confirmed = len(self.said)
        self._events.append(("heard", data))

    def ask(self) -> None:
        """From now on the client is asked `ASKED`."""
        self._asking = True
        self._events.append(("ask", None))

    def answer(self) -> None:
        """From now on the client's requests are answered."""
        self._answering = True
        self._events.append(("answer", None))

    def again(self, profile: Profile, secrets: Secrets) -> tuple[bytes, int]:
        """Replay the connection in a profile.

        Returns:
            Everything that would be sent to the client, and how many of `ASKED` it has answered.

        Raises:
            BokbokError: what the client sent does not fit this profile, or is not complete.
        """
        draw = random.Random(self.number).randbytes  # the same bytes for the same conversation
        side = connection("server", profile=profile, secure=secrets.secure, draw=draw)
        service = serve_one(side)
        waiting: list[RequestReceived] = []
        answering = False
        asked: set[int] = set()
        answered = 0
        for what, data in self._events:
            if what == "ask":
                asked |= {side.request(datum) for datum in ASKED}
            elif what == "answer":
                answering = True
                for request in waiting:
                    service.take(request)
            else:  # in the order of arrival: an answer of the client comes after the question
                events = side.receive(data)
                while events:
                    event: Any = events.pop(0)
                    if isinstance(event, HelloReceived):
                        events += side.authenticate(key_of(profile, secrets))
                    elif isinstance(event, RequestReceived) and not answering:
                        waiting.append(event)
                    elif isinstance(event, (ResponseReceived, ErrorReceived)) and event.id in asked:
                        answered += 1
                    elif not isinstance(event, Closed):
                        service.take(event)
        if side.state != "open":
            raise RemoteProtocolError("what the client sent is not this format, or is not complete")
        return side.data_to_send(), answered


class Listener:
    """Takes a server's place.

    Args:
        secrets: what is known about the client.
        known: datums that may be expected.
        say: called with lines about progress.
        patience: seconds that the last search may take.
        hands: who does the long parts of a search; by default this process.

    Attributes:
        capture: everything that was sent in both directions.
    """

    def __init__(
        self,
        secrets: Secrets,
        known: set[bytes],
        say: Say,
        *,
        patience: float = SEARCH_AT_LAST,
        hands: Hands | None = None,
    ) -> None:
        self.capture = Capture("tcp")
        self._hands = hands
        self._patience = patience
        self._secrets, self._known, self._say = secrets, known, say
        self._talks: list[Talk] = []
        self._profile: Profile | None = None
        self._knows_answers = False
        self._begin = time.monotonic()
        self._over = 0

    async def run(self, address: Any, connections: int, *, ready: Callable[[Any], None] | None = None) -> Answer:
        """Serve so many connections, then find the format from all of them.

        Args:
            address: where to listen.
            connections: how many to wait for.
            ready: called with the bound address.
        """
        self.capture.transport = str(address[0])
        done = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talk = Talk(len(self._talks) + 1)
            self._talks.append(talk)
            self._say(f"connection {talk.number}: a client is there")
            try:
                await self._converse(talk, reader, writer)
            except OSError:
                pass
            finally:
                writer.close()
                self._over += 1
                self._say(f"connection {talk.number}: over, {len(talk.heard)} bytes heard, {len(talk.said)} sent")
                if self._over >= connections:
                    done.set()

        if address[0] == "unix":
            server: Any = await asyncio.start_unix_server(serve, address[1])
            bound = address
        else:
            server = await asyncio.start_server(serve, await hosts_here(address[1]), address[2])
            bound = ("tcp", address[1], server.sockets[0].getsockname()[1])
        self._say(f"listening at {format_address(bound)}")
        if ready is not None:
            ready(bound)
        try:
            await done.wait()
        except asyncio.CancelledError:
            self._say("ended early")
        finally:
            server.close()
        return await asyncio.to_thread(self.answer, self._patience)

    def answer(self, patience: float) -> Answer:
        """Search everything that the client sent. What this side sent proves nothing by itself."""
        solid = self.recorded()
        tried: list[list[Recorded]] = []
        for recorded in (self.recorded(hopeful=True), solid, [replace(one, server=b"") for one in solid]):
            if recorded not in tried:
                tried.append(recorded)
                answer = solve(
                    recorded, self._secrets, self._known, patience=patience, made_up=SERVER, hands=self._hands
                )
                if answer.profiles:
                    break
        return answer

    def recorded(self, *, hopeful: bool = False) -> list[Recorded]:
        """The connections; of this side's bytes, only those after which the client went on.

        Args:
            hopeful: also if the client's next bytes are not understood yet. Its answers may have a form that could not
                be known, and the questions are needed to tell which of them is a failure.
        """
        return [
            Recorded(talk.number, talk.heard, talk.said[: talk.confirmed] if talk.trusted or hopeful else b"", set())
            for talk in self._talks
            if talk.heard
        ]

    async def _converse(self, talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        deadline: float | None = None
        stuck = went_on = False
        while True:
            data: bytes | None
            try:
                data = await asyncio.wait_for(reader.read(_READ), QUIET if talk.heard and not stuck else None)
            except asyncio.TimeoutError:
                data = None
            if data is not None:
                self.capture.add(self._now(), talk.number, CLIENT, data or None)
                if not data:
                    return
                talk.hear(data)
                stuck = False
                went_on = bool(talk.said)
            reply = self._again(talk)
            if reply is None:
                if data is not None:
                    continue  # in the middle of something: wait for quiet
                await self._understand(talk)
                reply = self._again(talk)
                if reply is None:
                    stuck = True  # nothing to say before more has come
                    continue
            fresh, answered = reply
            talk.trusted |= went_on
            if not talk.answers:
                if self._knows_answers:
                    talk.answer()
                elif not talk.asks:
                    if data is not None:
                        continue
                    self._say(
                        f"connection {talk.number}: its requests are understood; it is asked for answers of its own"
                    )
                    talk.ask()
                    deadline = time.monotonic() + PATIENCE
                elif answered >= len(ASKED) or (data is None and answered and not self._knows_answers):
                    await self._understand(talk)
                    self._knows_answers = True
                    talk.answer()
                elif deadline is not None and time.monotonic() > deadline:
                    self._say(f"connection {talk.number}: it does not answer; the form of an answer is made up")
                    talk.answer()
                reply = self._again(talk)
                fresh = reply[0] if reply is not None else b""
            more = fresh[len(talk.said) :] if fresh.startswith(talk.said) else b""
            if more:
                writer.write(more)
                await writer.drain()
                self.capture.add(self._now(), talk.number, SERVER, more)
                talk.said += more
            else:
                stuck = data is None and talk.answers

    def _now(self) -> float:
        return time.monotonic() - self._begin

    def _again(self, talk: Talk) -> tuple[bytes, int] | None:
        """What would have been sent so far; `None` if something else was sent, or nothing is understood."""
        if self._profile is None:
            return None
        with contextlib.suppress(BokbokError):
            said, answered = talk.again(self._profile, self._secrets)
            if said.startswith(talk.said):
                return said, answered
        return None

    async def _understand(self, talk: Talk) -> None:
        answer = await asyncio.to_thread(self.answer, SEARCH)
        if not answer.profiles:
            return
        profile = answer.profiles[0]
        self._knows_answers = answer.answered
        for variant in _variants(profile, len([one for one in self._talks if one.said and not one.trusted])):
            if variant == self._profile:
                return
            with contextlib.suppress(BokbokError):
                if talk.again(variant, self._secrets)[0].startswith(talk.said):
                    self._profile = variant
                    told = f"{variant.framing.words()}; {variant.messages.words()}"
                    self._say(f"connection {talk.number}: understood so far: {told}")
                    return


def _variants(profile: Profile, refused: int) -> Iterator[Profile]:
    """The same profile for the client, but with other nonces for the server, since a client does not show these.

    Args:
        profile: the profile that was found.
        refused: how many connections clients have closed because of what was sent to them.
    """
    nonces = profile.nonces
    if not isinstance(nonces, Counted) or nonces.server_base != "same" or nonces.base == "first":
        yield profile
        return
    starts = dict.fromkeys([nonces.server, nonces.client, nonces.client - 1, nonces.client + 1, 0, 1])
    some = [replace(profile, nonces=replace(nonces, server=start)) for start in starts if start >= 0]
    yield from some[refused % len(some) :]
    yield from some[: refused % len(some)]
