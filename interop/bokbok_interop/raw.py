"""The runner as a peer: a raw socket, and the pieces of a profile to do right or wrong with.

What this module knows: how to make packets, boxes and hellos from a profile's strategies, one by one, so that a case
can leave out, repeat or spoil any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from typing import Any

from bokbok.errors import BokbokError
from bokbok.sexpr import dumps
from bokbok.wire import Profile
from bokbok.wire.boxes import box_opener
from bokbok_traffic.capture import CLIENT, SERVER
from bokbok_traffic.streams import open_stream

from .model import Failure
from .play import PASSPHRASE, PATIENCE, USER, Conn, Play, Served, readable, show

__all__ = ["DOES_NOT_OPEN", "BadServer", "Raw", "attack", "good_server"]

DOES_NOT_OPEN = "does not open (another key, nonce or box? `bokbok-interop calibrate` finds out what a peer speaks)"
"""The end of what is said of a box that was made otherwise than the profile has it."""

_NO_LINGER = struct.pack("ii", 1, 0)
_LIMIT = 256 * 1024 * 1024


class Raw:
    """One connection of which the runner is one end.

    Args:
        play: the case; takes the bytes for the evidence.
        reader: from the socket.
        writer: to the socket.
        role: what the runner plays: `client` or `server`.
        number: of the connection in the recording.

    Attributes:
        session: the session key, once there is one; `None` on an insecure connection.
        opened_before: on how many connections the server's open handler had run before this one was made; known
            where a client says no hello of itself.
    """

    _KINDS = ("request", "response", "error")

    def __init__(
        self, play: Play, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: str, number: int
    ) -> None:
        self.play = play
        self.profile: Profile = play.profile
        self.reader, self.writer = reader, writer
        self.role = role
        self.number = number
        self._capture = play.raw_capture(role)
        self.session: bytes | None = None
        self.opened_before = 0
        self.ids = 0
        self.ended_how = ""
        self._prefix = os.urandom(16)
        self._count = 0
        self._splitter = self.profile.framing.splitter(_LIMIT)
        self._codec = self.profile.messages.bind(self.profile.dialect, 200_000)
        self._start = time.monotonic()
        play.cleanups.append(self.close)

    # -- making bytes

    def frame(self, body: bytes) -> bytes:
        """A packet with this body, as it is."""
        out: list[bytes] = []
        self.profile.framing.write(out, body)
        return b"".join(out)

    def nonce(self) -> bytes:
        """The next nonce of this side."""
        self._count += 1
        return self._prefix + (self._count - 1).to_bytes(8, "big")

    def seal(self, body: bytes, key: bytes, nonce: bytes | None = None) -> bytes:
        """A box: nonce, tag, ciphertext."""
        from nacl.bindings import crypto_secretbox_easy

        nonce = self.nonce() if nonce is None else nonce
        return nonce + crypto_secretbox_easy(body, nonce, key)

    def packet(self, body: bytes) -> bytes:
        """A packet with one message in it, boxed on a secure connection."""
        return self.frame(body if self.session is None else self.seal(body, self.session))

    def key(self, passphrase: str) -> bytes:
        """A user's key."""
        return self.profile.key_derivation(passphrase.encode("utf-8", "surrogateescape"))

    def hello(self, user: str | bytes = USER, passphrase: str = PASSPHRASE, session: bytes | None = None) -> bytes:
        """The packets of a hello; the session key becomes this connection's."""
        self.session = os.urandom(32) if session is None else session
        name = user if isinstance(user, bytes) else user.encode("utf-8", "surrogateescape")
        self.play.offer(name.decode("utf-8", "surrogateescape"), passphrase)
        packets = self.profile.hello.client(name, self.session, lambda body: self.seal(body, self.key(passphrase)))
        return b"".join(self.frame(packet) for packet in packets)

    # -- sending and hearing

    async def send(self, data: bytes) -> None:
        """Send bytes as they are; a connection that is over takes them all the same."""
        self._record(self.role, data)
        self.play.touch()
        if self.writer.transport.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def say(self, body: bytes | str) -> bytes:
        """Send one well-formed packet with this message; returns its bytes."""
        data = self.packet(body.encode() if isinstance(body, str) else body)
        await self.send(data)
        return data

    async def ask(self, datum: Any) -> int:
        """Send a request; returns its ID."""
        number = self.ids
        self.ids += 1
        await self.say(b"(request %d %b)" % (number, dumps(datum)))
        return number

    async def hear_packet(self, seconds: float | None = None) -> bytes | None:
        """The body of the next packet, still boxed, or `None` at the end of the connection.

        Raises:
            Failure: nothing comes in time.
        """
        other = SERVER if self.role == CLIENT else CLIENT
        seconds = self.play.patience if seconds is None else seconds
        with self.play.waiting(f"a packet from the {other}"):
            start = time.monotonic()
            while True:
                try:
                    packet = self._splitter.next()
                except BokbokError as error:
                    problem = f"what the {other} sent is not a packet"
                    raise Failure(problem, actual=str(error), sentence="profile.framing") from None
                if packet is not None:
                    return packet
                try:
                    rest = max(0.01, start + seconds - time.monotonic())
                    data = await self.play.timed(self.reader.read(1 << 18), rest)
                except asyncio.TimeoutError:
                    raise Failure(
                        f"the {other} sent nothing", expected=f"a packet within {seconds:.3g} s", actual="nothing"
                    ) from None
                except ConnectionError:
                    self.ended_how = "reset"
                    return None
                self._record(other, data or None)
                self.play.touch()
                if not data:
                    self.ended_how = "eof"
                    return None
                self._splitter.feed(data)

    async def hear_beginning(self) -> None:
        """Wait for the first byte of the next packet, and read no more than that."""
        other = SERVER if self.role == CLIENT else CLIENT
        with self.play.waiting(f"the beginning of a packet from the {other}"):
            data = await self.play.timed(self.reader.read(1), self.play.patience)
        self._record(other, data or None)
        self._splitter.feed(data)

    async def hear(self, seconds: float | None = None) -> tuple[str, int, Any]:
        """The next message: its kind, ID and datum.

        Raises:
            Failure: the connection ends instead, or what comes is not a message.
        """
        packet = await self.hear_packet(seconds)
        if packet is None:
            raise Failure("the connection ended instead", expected="a message", actual=self.ended_how)
        other = SERVER if self.role == CLIENT else CLIENT
        try:
            body = packet if self.session is None else box_opener(self.session)(packet)
        except BokbokError as error:
            problem = f"a packet of the {other} {DOES_NOT_OPEN}"
            actual = f"{error}: {packet[:60].hex(' ')}"
            raise Failure(problem, expected="a box", actual=actual, sentence="profile.boxes") from None
        try:
            kind, number, datum = self._codec.decode(body)
        except BokbokError as error:
            problem = f"what the {other} sent is not a message"
            raise Failure(problem, actual=f"{error}: {readable(body[:200])}", sentence="profile.messages") from None
        return self._KINDS[kind], number, datum

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

    async def must_end(self, why: str, seconds: float | None = None) -> list[bytes]:
        """See that the other side ends the connection; returns packets that still came.

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
                raise Failure(
                    why, expected="the connection closed", actual=f"it is open after {seconds:.3g} s"
                ) from None
            if packet is None:
                return rest
            rest.append(packet)

    async def stays_open(self, why: str, seconds: float = 1.0) -> None:
        """See that the other side neither ends the connection nor says anything for a while.

        Raises:
            Failure: it does.
        """
        try:
            packet = await self.hear_packet(seconds)
        except Failure:
            return  # nothing came, as it must be
        how = f"{self.ended_how} within {seconds:.3g} s" if packet is None else readable(packet[:60])
        raise Failure(why, expected="the connection open, and nothing said", actual=how)

    def end(self) -> None:
        """End this side's direction."""
        self._record(self.role, None)
        with contextlib.suppress(OSError):
            self.writer.write_eof()

    def reset(self) -> None:
        """Break the connection, with a reset where there is such a thing."""
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
    """Connect to a puppet's server as a client that may do anything.

    Args:
        t: the case.
        served: whose.
        hello: say a good hello, if the play is secure.
        user: who.
        passphrase: theirs.
    """
    address = t.server.puppet.running.from_runner(served.bound)
    t.raw_count += 1
    if not hello:
        # Before the connection is made: a server at fault may run its open handler at once.
        await t.server.settle()
    opened = len(served.connections)
    try:
        reader, writer = await open_stream(address, follow=False)
    except OSError as error:
        raise Failure("the server cannot be connected to", expected="a connection", actual=str(error)) from None
    raw = Raw(t, reader, writer, CLIENT, t.raw_count)
    raw.opened_before = opened
    if hello and t.secure:
        await raw.send(raw.hello(user, passphrase))
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
        """Listen where the client's puppet can come."""
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
        raw = Raw(self.t, reader, writer, SERVER, self.t.raw_count)
        if self.on_raw is not None:
            self.t.spawn(self.on_raw(raw))
        else:
            self.accepted.put_nowait(raw)

    async def connected(self, *, hello: bool = True) -> tuple[Conn, Raw]:
        """Have the puppet connect; returns its end and ours, the hello read if the play is secure."""
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
    hello = raw.profile.hello.server()
    while True:
        packet = await raw.hear_packet()
        if packet is None:
            raise Failure("the client closed instead of saying hello")
        try:
            if hello.receive(packet):
                break
        except BokbokError as error:
            problem = "the client's first packets are not a hello"
            raise Failure(problem, actual=str(error), sentence="profile.hello-key") from None
    try:
        raw.session = hello.session_key(box_opener(raw.key(PASSPHRASE)))
    except BokbokError as error:
        problem = f"the session key in the client's hello {DOES_NOT_OPEN}"
        raise Failure(problem, actual=str(error), sentence="profile.hello-key") from None


async def good_server(t: Play) -> BadServer:
    """A server that the runner plays well: it answers `echo`, and nothing else is asked of it."""

    async def serve(raw: Raw) -> None:
        await take_hello(raw)
        while True:
            try:
                kind, number, datum = await raw.hear(600)
            except Failure:
                return
            if kind == "request":
                value = datum[1] if isinstance(datum, list) and len(datum) == 2 else False
                await raw.say(b"(response %d %b)" % (number, dumps(value)))

    server = BadServer(t)
    server.on_raw = serve
    return await server.start()
