"""The runner as a peer: a raw socket, and the pieces of a profile, to use them correctly or not.

What this module knows: how to make packets, boxes and hellos from a profile's strategies, one by one, so that a case
can leave out, repeat or damage any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from nacl.bindings import crypto_secretbox_easy

from bokbok.errors import BokbokError
from bokbok.sexpr import Symbol, dumps, loads
from bokbok.wire import INFERRED_1, Connection, Guards, Profile, passphrase_to_key
from bokbok.wire.boxes import KEY_BYTES, Role, Seal
from bokbok.wire.transcript import Packet, Transcript
from bokbok_traffic.streams import open_stream

from .model import Failure, Late, Missing
from .play import PASSPHRASE, PATIENCE, USER, Conn, Play, Served, readable, show

__all__ = ["DOES_NOT_OPEN", "BadServer", "Raw", "attack", "good_server", "take_hello"]

DOES_NOT_OPEN = "does not open (another key, nonce or box? `bokbok-interop calibrate` finds out what a peer speaks)"
"""The end of the text about a box that was not made as the profile says."""

DRIPPING = 10.0
"""Seconds of pauses within one packet: a third of the time that the default limits allow."""
_NO_LINGER = struct.pack("ii", 1, 0)
_LIMIT = 256 * 1024 * 1024
_DEPTH = 200_000
_UNGUARDED = Guards(nonce_reuse=False)
_HOLE = "bokbok-a-datum"
_MESSAGE = re.compile(rb"\((request|response|error) ([0-9]+) (.*)\)", re.DOTALL)
_TAGS = (b"(request ", b"(response ", b"(error ")


class Raw:
    """One connection in which the runner is one end.

    Args:
        play: the case; takes the bytes for the evidence.
        reader: reads from the socket.
        writer: writes to the socket.
        role: the runner's role: `client` or `server`.
        number: the connection's number in the recording.

    Attributes:
        session: the session key, once there is one; `None` on an insecure connection.
        opened_before: for how many connections the server's open handler had run before this one was made; known if the
            client does not say hello by itself.
    """

    def __init__(
        self, play: Play, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: Role, number: int
    ) -> None:
        self.play = play
        self.profile: Profile = play.profile
        self.reader, self.writer = reader, writer
        self.role: Role = role
        self.other: Role = "server" if role == "client" else "client"
        self.number = number
        self._capture = play.raw_capture(role)
        self.session: bytes | None = None
        self.opened_before = 0
        self.ids = 0
        self.ended_how = ""
        self.boxes = self.profile.nonces.start(role, os.urandom)
        self._transcript = Transcript(self.profile, {USER: PASSPHRASE}, secure=play.secure, limit=_LIMIT, depth=_DEPTH)
        self._heard: deque[Packet] = deque()
        self._write = self.profile.framing.writer()
        self._seal: Seal | None = None
        self._start = time.monotonic()
        play.cleanups.append(self.close)

    # -- making bytes

    def frame(self, body: bytes) -> bytes:
        """A packet with this body, unchanged."""
        out: list[bytes] = []
        self.profile.framing.write(out, body)
        return b"".join(out)

    def carries(self, body: bytes) -> bool:
        """Whether the framing has a packet with this body: in some, the first bytes stand before the length."""
        try:
            self.frame(body)
        except BokbokError:
            return False
        return True

    def seal(self, body: bytes, key: bytes, nonce: bytes | None = None) -> bytes:
        """A box under any key. Boxes under the session key get the profile's nonces.

        Args:
            body: the plaintext.
            key: 32 bytes.
            nonce: 24 bytes to put in front of the box, whatever the profile says.
        """
        if nonce is not None:
            return nonce + crypto_secretbox_easy(body, nonce, key)
        if key != self.session:
            return self.profile.nonces.start(self.role, os.urandom).sealer(key)(body)
        if self._seal is None:
            self.boxes.base = self._transcript.nonce_base or self.boxes.base
            self._seal = self.boxes.sealer(key)
        return self._seal(body)

    def wrap(self, box: bytes, kind: int = 0) -> bytes:
        """A packet with this box, with what the profile puts around it."""
        wrap = self.profile.packets.wraps(self.role, self.session is not None)[kind]
        out: list[bytes] = []
        self._write(out, box if wrap is None else wrap(box))
        return b"".join(out)

    def packet(self, text: bytes) -> bytes:
        """A packet with one message, in a box on a secure connection. For the text see `body`."""
        kind = next((n for n, tag in enumerate(_TAGS) if text.startswith(tag)), 0)
        body = self.body(text)
        return self.wrap(body if self.session is None else self.seal(body, self.session), kind)

    def body(self, text: bytes) -> bytes:
        """A message, in the form of the profile.

        Args:
            text: a message in the form of `inferred-1`, with IDs 0, 1, 2 …: `(request 0 DATUM)`. The text of the datum
                is kept. A text of another form is not changed.
        """
        found = _MESSAGE.fullmatch(text)
        if found is None or self.profile.messages == INFERRED_1.messages:
            return text
        kind, id, datum = found[1].decode(), int(found[2]), found[3]
        number = self._numbers(own=kind == "request")(id)
        codec = self.profile.messages.bind(self.profile.dialect, _DEPTH)
        if kind == "error":
            return codec.error(number, str(loads(datum)))
        # The text replaces a symbol; if the profile writes the datum within a string, it is escaped for a string.
        make = codec.request if kind == "request" else codec.response
        body, nested = make(number, Symbol(_HOLE)), make(number, _HOLE)
        inside = dumps(datum.decode("utf-8", "surrogateescape"))[1:-1] if b'\\"' in nested else datum
        return body.replace(_HOLE.encode(), inside)

    def _numbers(self, *, own: bool) -> Callable[[int], int]:
        messages = self.profile.messages
        role = self.role if own else self.other
        first = messages.first_id if role == "client" else messages.server_first_id
        return lambda id: first + id * messages.id_step

    def _logical(self, id: int, *, own: bool) -> int:
        """The reverse: an ID on the wire, as cases count IDs."""
        first, step = self._numbers(own=own)(0), self.profile.messages.id_step
        if id < first or (id - first) % step:
            raise Failure(
                "an ID that the profile does not have", expected=f"{first}, {first + step}, …", actual=str(id)
            )
        return (id - first) // step

    def key(self, passphrase: str) -> bytes:
        """A user's key."""
        return self.profile.key_derivation(passphrase.encode("utf-8", "surrogateescape"))

    def hello(self, user: str | bytes = USER, passphrase: str = PASSPHRASE, session: bytes | None = None) -> bytes:
        """The first bytes of a secure client. Their session key becomes this connection's."""
        session = self.session = os.urandom(32) if session is None else session
        name = user.decode("utf-8", "surrogateescape") if isinstance(user, bytes) else user
        self.play.offer(name, passphrase)
        if len(session) != KEY_BYTES:  # only in a hello that must be refused
            seal = self.boxes.key_sealer(self.key(passphrase))
            packets = self.profile.hello.client(os.fsencode(name), session, seal, self.boxes)
            return b"".join(map(self.frame, packets))
        drawn = [session]  # the first one that is drawn
        key = passphrase_to_key(passphrase, profile=self.profile)
        return self._begin(
            Connection(
                "client", user=name, key=key, profile=self.profile, guards=_UNGUARDED,
                draw=lambda size: drawn.pop() if drawn else os.urandom(size),
            ),
            Transcript(self.profile, {name: passphrase}, secure=True, limit=_LIMIT, depth=_DEPTH),
        )  # fmt: skip

    def beginning(self) -> bytes:
        """The first bytes of a client of this cell: a good hello; or the announcement of an insecure one, usually
        empty."""
        if self.play.secure:
            return self.hello()
        return self._begin(Connection("client", profile=self.profile), self._transcript)

    def _begin(self, client: Connection, transcript: Transcript) -> bytes:
        data = client.data_to_send()
        self._transcript = transcript
        said = [packet.data for packet in transcript.feed("client", data) if packet.data]
        self._seal = None
        if data:
            # What follows is not the first packet. Some framings take no empty one, so it is one that was said.
            self._write([], said[-1] if said else b"")
        return data

    def knows(self, user: str, passphrase: str, began: bytes = b"") -> None:
        """Read what comes with this user's key, and not with the usual key.

        Args:
            user: who says hello.
            passphrase: that user's passphrase.
            began: this side's hello, if it is a client and its hello was made elsewhere.
        """
        self._transcript = Transcript(self.profile, {user: passphrase}, secure=True, limit=_LIMIT, depth=_DEPTH)
        self._transcript.feed("client", began)
        self.session = self._transcript.session_key

    # -- sending and hearing

    async def send(self, data: bytes) -> None:
        """Send bytes as they are. If the connection is over, nothing happens."""
        self._record(self.role, data)
        self.play.touch()
        if self.writer.transport.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def drip(self, data: bytes, pause: float, *, size: int = 1, within: float = DRIPPING) -> None:
        """Send bytes in small pieces with a pause after each, while there is time: a packet must not take too long.

        Args:
            data: all bytes.
            pause: seconds.
            size: bytes of a piece.
            within: seconds for all pauses together, since on a busy machine each pause takes longer than it should. The
                remaining pieces are sent without pauses.
        """
        start = time.monotonic()
        for at in range(0, len(data), size):
            await self.send(data[at : at + size])
            if time.monotonic() - start < within:
                await asyncio.sleep(pause)

    async def say(self, body: bytes | str) -> bytes:
        """Send one well-formed packet with this message. Returns its bytes."""
        data = self.packet(body.encode() if isinstance(body, str) else body)
        await self.send(data)
        return data

    def next_id(self, count: int = 1) -> int:
        """The ID of the next request, as cases count IDs.

        Args:
            count: how many requests are sent with consecutive IDs, this one and those after it.
        """
        number = self.ids
        self.ids += count
        return number

    async def ask(self, datum: Any) -> int:
        """Send a request. Returns its ID."""
        number = self.next_id()
        await self.say(b"(request %d %b)" % (number, dumps(datum, dialect=self.profile.dialect)))
        return number

    async def hear_packet(self, seconds: float | None = None) -> bytes | None:
        """The body of the next packet, still boxed, or `None` at the end of the connection.

        Raises:
            Failure: nothing comes in time, or what comes is not a packet.
        """
        packet = await self._next(seconds)
        if packet is not None and not packet.data:
            raise self._misfit(packet)
        return None if packet is None else packet.data

    async def _next(self, seconds: float | None = None) -> Packet | None:
        seconds = self.play.patience if seconds is None else seconds
        with self.play.waiting(f"a packet from the {self.other}"):
            start = time.monotonic()
            while True:
                while self._heard:
                    packet = self._heard.popleft()
                    if packet.raw and not packet.cut:
                        return packet
                if self.ended_how:
                    return None
                try:
                    rest = max(0.01, start + seconds - time.monotonic())
                    data = await self.play.timed(self.reader.read(1 << 18), rest)
                except asyncio.TimeoutError:
                    raise self._missing(seconds)(
                        f"the {self.other} sent nothing", expected=f"a packet within {seconds:.3g} s", actual="nothing"
                    ) from None
                except ConnectionError:
                    self.ended_how = "reset"
                    return None
                self._take(data)

    def _missing(self, seconds: float) -> type[Failure]:
        """The kind of a failure after so many seconds: whether it was given all the time that there is."""
        return Missing if seconds >= self.play.patience else Failure

    def _take(self, data: bytes) -> None:
        self._record(self.other, data or None)
        self.play.touch()
        if data:
            self._heard += self._transcript.feed(self.other, data)
        else:
            self.ended_how = "eof"

    async def hear_beginning(self) -> None:
        """Wait for the first byte of the next packet, and do not read more than that."""
        with self.play.waiting(f"the beginning of a packet from the {self.other}"):
            self._take(await self.play.timed(self.reader.read(1), self.play.patience))

    async def hear(self, seconds: float | None = None) -> tuple[str, int, Any]:
        """The next message: its kind, ID and datum.

        Raises:
            Failure: the connection ends instead, or what comes is not a message.
        """
        packet = await self._next(seconds)
        while packet is not None and packet.hello and not packet.problem:
            packet = await self._next(seconds)
        if packet is None:
            # Perhaps by a time limit of the other side, which may run out on a busy machine.
            raise Late("the connection ended instead", expected="a message", actual=self.ended_how)
        if packet.message is None:
            raise self._misfit(packet)
        kind, id, datum = packet.message
        return kind, self._logical(id, own=kind != "request"), datum

    def _misfit(self, packet: Packet) -> Failure:
        if not packet.data:
            problem, sentence = f"what the {self.other} sent is not a packet", "profile.framing"
        elif self.session is not None and not packet.body:
            problem, sentence = f"a packet of the {self.other} {DOES_NOT_OPEN}", "profile.boxes"
            actual = f"{packet.problem}: {packet.data[:60].hex(' ')}"
            return Failure(problem, expected="a box", actual=actual, sentence=sentence)
        else:
            problem, sentence = f"what the {self.other} sent is not a message", "profile.messages"
        shown = readable((packet.body or packet.raw)[:200])
        return Failure(problem, actual=f"{packet.problem}: {shown}", sentence=sentence)

    async def hear_hello(self) -> None:
        """Read the hello of a client that the runner serves."""
        while self._transcript.session is None:
            packet = await self._next()
            if packet is None:
                raise Failure("the client closed instead of saying hello")
            if packet.problem and not packet.hello:
                raise self._misfit(packet)
            if packet.problem and self._transcript.user is None and packet.nonce is None:
                problem = "the client's first packets are not a hello"
                raise Failure(problem, actual=packet.problem, sentence="profile.hello-key")
            if packet.problem:
                problem = f"the session key in the client's hello {DOES_NOT_OPEN}"
                raise Failure(problem, actual=packet.problem, sentence="profile.hello-key")
        self.session = self._transcript.session_key

    async def answer_to(self, number: int, seconds: float | None = None) -> tuple[str, Any]:
        """The answer to a request of ours, `response` or `error`, and its datum.

        Raises:
            Failure: something else comes.
        """
        kind, answered, datum = await self.hear(seconds)
        if kind == "request" or answered != number:
            raise Failure(
                f"an answer to request {number} was expected", actual=f"({kind} {answered} {show(datum, 200)})"
            )
        return kind, datum

    async def request(self, datum: Any, seconds: float | None = None) -> Any:
        """Ask and get a response.

        Raises:
            Failure: an error comes, or nothing.
        """
        kind, value = await self.answer_to(await self.ask(datum), seconds)
        if kind != "response":
            raise Failure(
                f"a good request failed: {show(datum, 100)}", expected="a response", actual=f"error {show(value)}"
            )
        return value

    async def must_fail(self, number: int, problem: str) -> None:
        """Check that a request of ours is answered with an error.

        Raises:
            Failure: it is not, which is this problem; or something else comes.
        """
        kind, value = await self.answer_to(number)
        if kind != "error" or type(value) is not str:
            raise Failure(
                problem, expected=f'(error {number} "message")', actual=f"({kind} {number} {show(value, 100)})"
            )

    async def must_end(self, why: str, seconds: float | None = None) -> list[bytes]:
        """Check that the other side ends the connection. Returns packets that still came.

        Raises:
            Failure: it stays open.
        """
        rest: list[bytes] = []
        seconds = self.play.patience if seconds is None else seconds
        until = time.monotonic() + seconds
        while True:
            try:
                packet = await self.hear_packet(max(0.01, until - time.monotonic()))
            except Failure:
                raise self._missing(seconds)(
                    why, expected="the connection closed", actual=f"it is open after {seconds:.3g} s"
                ) from None
            if packet is None:
                return rest
            rest.append(packet)

    def ended_in_order(self, why: str, behind: str = "") -> None:
        """Check that the connection, which has ended, did so by an end of file.

        Args:
            why: what a reset means.
            behind: what the other side had still to read.

        Raises:
            Late: it was a reset. Who ends a connection reads on for a while, by its own clock.
        """
        if self.ended_how != "eof":
            raise Late(why, expected="an end of file", actual=self.ended_how + behind)

    async def stays_open(self, why: str, seconds: float = 1.0) -> None:
        """Check that the other side neither ends the connection nor sends anything for a while.

        Raises:
            Failure: it does. `Late` if the connection ended: a time limit of the other side may have run out.
        """
        try:
            packet = await self.hear_packet(seconds)
        except Failure:
            return  # nothing came, which is right
        how = f"{self.ended_how} within {seconds:.3g} s" if packet is None else readable(packet[:60])
        raise (Late if packet is None else Failure)(why, expected="the connection open, and nothing said", actual=how)

    @property
    def is_broken(self) -> bool:
        """Whether nobody receives what this side sends, since the other end has closed both directions."""
        return self.writer.transport.is_closing()

    def end(self) -> None:
        """Shut down this side's direction."""
        self._record(self.role, None)
        with contextlib.suppress(OSError):
            self.writer.write_eof()

    def reset(self) -> None:
        """Break the connection, with a reset if the transport has one."""
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close it."""
        self.writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), 1)

    def _record(self, source: str, data: bytes | None) -> None:
        self._capture.add(time.monotonic() - self.play.trace.start, self.number, source, data)


async def attack(t: Play, served: Served, *, hello: bool = True, user: str = USER, passphrase: str = PASSPHRASE) -> Raw:
    """Connect to a puppet's server, as a client that may do anything.

    Args:
        t: the case.
        served: the server.
        hello: whether to begin correctly: with a hello, if the play is secure.
        user: who says hello.
        passphrase: that user's passphrase.
    """
    address = t.server.puppet.running.from_runner(served.bound)
    t.raw_count += 1
    if not hello:
        # Before the connection is made, since a faulty server may run its open handler at once.
        await t.server.settle()
    opened = len(served.connections)
    try:
        reader, writer = await open_stream(address, follow=False)
    except OSError as error:
        raise Failure("the server cannot be connected to", expected="a connection", actual=str(error)) from None
    raw = Raw(t, reader, writer, "client", t.raw_count)
    raw.opened_before = opened
    if hello and (data := raw.hello(user, passphrase) if t.secure else raw.beginning()):
        await raw.send(data)
    return raw


class BadServer:
    """A listening socket of the runner that puppets connect to."""

    def __init__(self, t: Play) -> None:
        self.t = t
        self.accepted: asyncio.Queue[Raw] = asyncio.Queue()
        self.server: asyncio.AbstractServer | None = None
        self.address: tuple[Any, ...] = ()
        self.on_raw: Any = None

    async def start(self) -> BadServer:
        """Listen where the client's puppet can connect."""
        running = self.t.client.puppet.running
        bind = running.relay_address(self.t.transport, self.t.new_name())
        if bind[0] == "unix":
            self.server = await asyncio.start_unix_server(self._accept, bind[1])
            self.path: str | None = bind[1]
        else:
            self.server = await asyncio.start_server(self._accept, bind[1], bind[2])
            bind = ("tcp", bind[1], self.server.sockets[0].getsockname()[1])
            self.path = None
        self.address = running.to_runner(bind)
        self.t.cleanups.append(self.stop)
        return self

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.t.raw_count += 1
        raw = Raw(self.t, reader, writer, "server", self.t.raw_count)
        if self.on_raw is not None:
            self.t.spawn(self.on_raw(raw))
        else:
            self.accepted.put_nowait(raw)

    async def connected(self, *, hello: bool = True) -> tuple[Conn, Raw]:
        """Have the puppet connect. Returns its end and ours; on a secure connection its hello has been read."""
        conn = await self.t.client.connect(self.address)
        raw = await self.t.within(PATIENCE, self.accepted.get(), "the client's connection")
        if hello:
            await take_hello(raw)
        return conn, raw

    async def stop(self) -> None:
        """Stop listening."""
        if self.server is not None:
            self.server.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


async def take_hello(raw: Raw) -> None:
    """Read the hello of a client that the runner serves."""
    if not raw.play.secure:
        return
    await raw.hear_hello()


async def good_server(t: Play) -> BadServer:
    """A correct server, played by the runner: it answers `echo`, and is not asked anything else."""

    async def serve(raw: Raw) -> None:
        await take_hello(raw)
        while True:
            try:
                kind, number, datum = await raw.hear(600)
            except Failure:
                return
            if kind == "request":
                value = datum[1] if isinstance(datum, list) and len(datum) == 2 else False
                await raw.say(b"(response %d %b)" % (number, dumps(value, dialect=raw.profile.dialect)))

    server = BadServer(t)
    server.on_raw = serve
    return await server.start()
