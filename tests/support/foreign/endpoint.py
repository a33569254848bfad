"""One side of a connection in some format: bytes in, messages out, and the other way round. No sockets, no time.

It runs the layers in their order and knows nothing of what they do. `party` knows what a message asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .format import Format
from .layers.encoding import join, split
from .layers.hello import Packet, Raw, Steps
from .layers.packet_type import INSIDE
from .registry import CannotCarry, Nonsense
from .sexpr import BadDatum, Datum, to_bytes, write
from .state import (
    BEHIND,
    CLIENT,
    ERROR,
    FRONT,
    HELLO,
    KEY,
    KEY_SIZE,
    MESSAGE,
    NONCE_SIZE,
    REQUEST,
    RESPONSE,
    TAG_SIZE,
    UNSENT,
    Message,
    Program,
    Random,
    Shape,
    State,
    other,
)

__all__ = ["CannotCarry", "Endpoint", "Nonsense", "Opened"]


LONGEST_USER = 255
"""Bytes of a username, in every format: the limit of inferred-1."""


@dataclass(frozen=True)
class Opened:
    """The hello is over; on a server, `user` is who it opened for (None: insecure)."""

    user: str | None


class Endpoint:
    """One side of a connection.

    Args:
        fmt: the format that it speaks.
        role: `client` or `server`.
        random: its source of random bytes.
        user: who a client is (secure formats).
        passphrase: the client's passphrase.
        users: a server's users and their passphrases.
        program: what outlives the connection.
    """

    def __init__(
        self,
        fmt: Format,
        role: str,
        *,
        random: Random,
        user: str | None = None,
        passphrase: str | None = None,
        users: dict[str, str] | None = None,
        program: Program | None = None,
    ) -> None:
        self.fmt = fmt
        self.role = role
        self.dialect = fmt.dialect.name
        self.state = State(role, random, program or Program())
        self.opened = False
        self.writes: list[bytes] = []
        """What is to be written: an item is what a program would write at once."""
        self.users = users or {}
        self._buffer = bytearray()
        self._gathered = bytearray()
        self._parts: list[bytes] = []
        self._header: bytes = b""
        self._last_nonce: bytes = b""
        self._later: list[Message] = []
        self._asked: set[int] = set()
        self._asked_of_me: set[int] = set()
        self._events: list[Opened | Message] = []
        if fmt.secure and role == CLIENT:
            if user is None or passphrase is None:
                raise ValueError("a secure client needs a user and a passphrase")
            self.state.user = user
            self.state.user_key = fmt.derivation.derive(to_bytes(passphrase), to_bytes(user))
        self._steps: Steps | None = fmt.hello.client(self) if role == CLIENT else fmt.hello.server(self)
        self._wanted: Packet | Raw | None = None
        self._advance(None)

    # --- what a program does ---

    def request(self, datum: Datum) -> int:
        """Sends a request and gives its id. Nothing is sent, and no id is used up, if it cannot be.

        Raises:
            CannotCarry: it does not fit into the format's packets.
            Unwritable: it cannot be written in the dialect.
        """
        self._check(datum)
        before = dict(self.state.memory), dict(self.state.program.memory)
        number = self.fmt.message.number(self.state)
        try:
            self._send_message(Message(REQUEST, number, datum))
        except CannotCarry:
            self.state.memory, self.state.program.memory = before
            raise
        self._asked.add(number)
        return number

    def respond(self, number: int, datum: Datum) -> None:
        """Answers a request; raises what `request` does."""
        self._answer(Message(RESPONSE, number, datum))

    def fail(self, number: int, text: str) -> None:
        """Answers a request with an error whose message contains `text`; raises what `request` does."""
        self._answer(Message(ERROR, number, self.fmt.message.error_text(text)))

    def say(self, kind: str) -> bool:
        """Sends a message that asks nothing (`goodbye`, `keep-alive`); False if the format has none."""
        if kind not in getattr(self.fmt.message, "remarks", ()) or not self.opened:
            return False
        self._send_message(Message(kind, 0))
        return True

    def feed(self, data: bytes) -> list[Opened | Message]:
        """What the other side's bytes mean.

        Raises:
            Nonsense: they are not of this format, or do not belong here. The endpoint is then at its end.
        """
        self._buffer += self.fmt.stream.incoming(self.state, data)
        while self._take_one():
            pass
        return self.take_events()

    def take_events(self) -> list[Opened | Message]:
        """What has happened since the last time; `Opened` may happen without any bytes."""
        events, self._events = self._events, []
        return events

    def take_writes(self) -> list[bytes]:
        """What is to be written now."""
        writes, self.writes = self.writes, []
        return writes

    # --- what a hello does ---

    def send(self, body: bytes, packet: str = HELLO) -> None:
        self._write_packet(packet, body, Shape(packet), None)

    def send_raw(self, data: bytes) -> None:
        self._write(data)

    @property
    def base_packet(self) -> bool:
        return self.fmt.secure and self.fmt.nonce.base_packet

    def send_base(self) -> None:
        if self.base_packet:
            self.send(self.fmt.encoding.encode(self.fmt.nonce.travelling(self.state, KEY) or b""))

    def take_base(self, body: bytes) -> None:
        base = self.fmt.encoding.decode(body)
        if len(base) != NONCE_SIZE:
            raise Nonsense(f"a nonces' base of {len(base)} bytes")
        self.state.memory["base"] = base

    @property
    def base_field(self) -> bool:
        return self.fmt.secure and self.fmt.nonce.base_field

    def base_datum(self, fallback: str) -> Datum:
        base = self.fmt.nonce.travelling(self.state, KEY) or b""
        return self.fmt.encoding.pack_datum(b"", base, UNSENT, fallback)

    def take_base_datum(self, datum: Datum, fallback: str) -> None:
        _, base = self.fmt.encoding.unpack_datum(datum, UNSENT, fallback)
        if len(base) != NONCE_SIZE:
            raise Nonsense(f"a nonces' base of {len(base)} bytes")
        self.state.memory["base"] = base

    def send_key(self) -> None:
        place, nonce, sealed = self._seal_key()
        self._write_packet(KEY, self.fmt.encoding.pack(nonce, sealed, place), self._shape(KEY, place), None)

    def key_body(self) -> bytes:
        place, nonce, sealed = self._seal_key()
        return self.fmt.encoding.pack(nonce, sealed, place)

    def key_datum(self, fallback: str) -> Datum:
        place, nonce, sealed = self._seal_key()
        return self.fmt.encoding.pack_datum(nonce, sealed, place, fallback)

    def open_key(self, body: bytes) -> None:
        self._open_key(*self.fmt.encoding.unpack(body, self._place(KEY, False)))

    def open_key_datum(self, datum: Datum, fallback: str) -> None:
        self._open_key(*self.fmt.encoding.unpack_datum(datum, self._place(KEY, False), fallback))

    def identify(self, user: str) -> None:
        if len(to_bytes(user)) > LONGEST_USER:
            raise Nonsense("a username of more than 255 bytes")
        self.state.user = user
        if user in self.users:
            passphrase = to_bytes(self.users[user])
            self.state.user_key = self.fmt.derivation.derive(passphrase, to_bytes(user))

    def send_boxed(self, plaintext: bytes) -> None:
        body, place = self._outgoing_body(None, plaintext)
        self._write_packet(MESSAGE, body, self._shape(MESSAGE, place), None)

    def open_boxed(self, body: bytes) -> bytes:
        return self._open_message(body)

    # --- sending ---

    def _check(self, datum: Datum) -> None:
        write(datum, self.dialect)

    def _answer(self, message: Message) -> None:
        self._check(message.payload)
        self._send_message(message)
        self._asked_of_me.discard(message.number)

    def _send_message(self, message: Message) -> None:
        if not self.opened:
            # Counted and checked now, sent when the hello is over.
            self.fmt.message.encode(message, self.dialect)
            self._later.append(message)
            return
        fmt = self.fmt
        packets, remembered = [], dict(self.state.memory)
        try:
            for plaintext in fmt.message.encode(message, self.dialect):
                for piece in fmt.framing.pieces(plaintext):
                    body, place = self._outgoing_body(message, piece)
                    packets.append(self._packet(MESSAGE, body, self._shape(MESSAGE, place), message))
        except CannotCarry:
            self.state.memory = remembered
            raise
        for packet in packets:
            self._write(packet)

    def _outgoing_body(self, message: Message | None, piece: bytes) -> tuple[bytes, str]:
        fmt = self.fmt
        inner = fmt.body.outgoing(self.state, MESSAGE, piece)
        if not fmt.secure:
            return inner, UNSENT
        place = self._place(MESSAGE, True)
        beside = fmt.nonce.travelling(self.state, MESSAGE) if place != UNSENT else None
        nonce = fmt.nonce.outgoing(self.state, MESSAGE, message)
        sealed = fmt.cipher.seal(self.state, MESSAGE, nonce, inner)
        return fmt.encoding.pack(nonce if beside is None else beside, sealed, place), place

    def _seal_key(self) -> tuple[str, bytes, bytes]:
        fmt, state = self.fmt, self.state
        key = state.random(KEY_SIZE)
        plaintext = fmt.session_key.wrap(key, state)
        plaintext = fmt.body.outgoing(state, KEY, plaintext)
        place = self._place(KEY, True)
        beside = fmt.nonce.travelling(state, KEY) if place != UNSENT else None
        nonce = fmt.nonce.outgoing(state, KEY, None)
        sealed = join(nonce, fmt.cipher.seal(state, KEY, nonce, plaintext), fmt.nonce.key_nonce)
        state.session_key = fmt.session_key.used(key, state)
        return place, nonce if beside is None else beside, sealed

    def _packet(self, packet: str, body: bytes, shape: Shape, message: Message | None) -> bytes:
        fmt = self.fmt
        mark = fmt.packet_type.marks(packet, self.role)
        header = fmt.message.header(packet, message)
        if fmt.packet_type.place == INSIDE:
            return header + fmt.framing.wrap(mark + body, shape)
        return header + mark + fmt.framing.wrap(body, shape)

    def _write_packet(self, packet: str, body: bytes, shape: Shape, message: Message | None) -> None:
        self._write(self._packet(packet, body, shape, message))

    def _write(self, data: bytes) -> None:
        self.writes.append(self.fmt.stream.outgoing(self.state, data))

    # --- receiving ---

    def _place(self, packet: str, sending: bool) -> str:
        return self.fmt.nonce.place(self.state, packet, sending) if self.fmt.secure else UNSENT

    def _shape(self, packet: str, place: str) -> Shape:
        if not self.fmt.secure:
            return Shape(packet)
        sizes = {FRONT: (NONCE_SIZE, TAG_SIZE, 0), BEHIND: (0, TAG_SIZE, NONCE_SIZE), UNSENT: (0, TAG_SIZE, 0)}
        return Shape(packet, *sizes[place])

    def _expected(self, packet: str, boxed: bool) -> Shape:
        return self._shape(packet, self._place(packet, False)) if boxed and self.fmt.secure else Shape(packet)

    def _take_one(self) -> bool:
        """Takes the next packet out of the buffer; False if it is not complete."""
        if self._wanted is not None:
            if isinstance(self._wanted, Raw):
                if len(self._buffer) < self._wanted.size:
                    return False
                taken = bytes(self._buffer[: self._wanted.size])
                del self._buffer[: self._wanted.size]
            else:
                body = self._unwrap(self._wanted.packet, self._wanted.boxed)
                if body is None:
                    return False
                taken = body
            self._advance(taken)
            return True
        if not self.opened:
            return False
        body = self._unwrap(MESSAGE, True)
        if body is None:
            return False
        self._receive_body(body)
        return True

    def _unwrap(self, packet: str, boxed: bool) -> bytes | None:
        fmt = self.fmt
        mark = fmt.packet_type.marks(packet, other(self.role))
        inside = fmt.packet_type.place == INSIDE
        size = fmt.message.header_size
        before = b"" if inside else mark
        data = bytes(self._buffer)
        found = data[size : size + len(before)]
        if not before.startswith(found):
            raise Nonsense(f"{found!r} where the type of a packet belongs")
        start = size + len(before)
        if len(data) <= start:
            return None
        taken = fmt.framing.unwrap(data[start:], self._expected(packet, boxed))
        if taken is None:
            return None
        body, used = taken
        self._header = data[:size]
        del self._buffer[: start + used]
        if inside:
            if not body.startswith(mark):
                raise Nonsense("another type of packet than belongs here")
            body = body[len(mark) :]
        return body

    def _open_message(self, body: bytes) -> bytes:
        fmt = self.fmt
        if fmt.secure:
            sent, sealed = fmt.encoding.unpack(body, self._place(MESSAGE, False))
            self._last_nonce = fmt.nonce.incoming(self.state, MESSAGE, sent)
            body = fmt.cipher.open(self.state, MESSAGE, self._last_nonce, sealed)
        return fmt.body.incoming(self.state, MESSAGE, body)

    def _receive_body(self, body: bytes) -> None:
        fmt = self.fmt
        gathered = fmt.framing.gather(self._gathered, self._open_message(body))
        if gathered is None:
            return
        self._parts.append(gathered)
        if len(self._parts) < fmt.message.parts:
            return
        parts, self._parts = self._parts, []
        try:
            message = fmt.message.decode([self._header, *parts] if fmt.message.header_size else parts, self.dialect)
        except (BadDatum, ValueError) as why:
            raise Nonsense(str(why)) from None
        self._received(message)

    def _received(self, message: Message) -> None:
        if message.kind == REQUEST:
            if message.number in self._asked_of_me:
                raise Nonsense("a request under an id that waits for its answer")
            self._asked_of_me.add(message.number)
            self.fmt.nonce.heard(self.state, message.number, self._last_nonce)
            self.fmt.message.heard(self.state, message.number)
        elif message.kind in (RESPONSE, ERROR):
            if message.number not in self._asked:
                raise Nonsense("an answer to a question never asked")
            self._asked.discard(message.number)
        self._events.append(message)

    def _open_key(self, sent: bytes, sealed: bytes) -> None:
        fmt, state = self.fmt, self.state
        if not state.user_key:
            raise Nonsense("an unknown user")
        own, sealed = split(sealed, fmt.nonce.key_nonce)
        nonce = fmt.nonce.incoming(state, KEY, sent)
        nonce = own or nonce
        plaintext = fmt.body.incoming(state, KEY, fmt.cipher.open(state, KEY, nonce, sealed))
        state.session_key = fmt.session_key.used(fmt.session_key.unwrap(plaintext, state), state)

    def _advance(self, value: bytes | None) -> None:
        """Runs the hello until it waits for something, or is over."""
        assert self._steps is not None
        try:
            self._wanted = next(self._steps) if value is None else self._steps.send(value)
        except StopIteration:
            self._wanted, self._steps, self.opened = None, None, True
            self._events.append(Opened(self.state.user))
            later, self._later = self._later, []
            for message in later:
                self._send_message(message)


def deterministic(seed: bytes) -> Callable[[int], bytes]:
    """A random source that gives the bytes of `seed`, in the order in which it is asked.

    Raises (when asked for more than there is): ValueError.
    """
    left = bytearray(seed)

    def take(count: int) -> bytes:
        if len(left) < count:
            raise ValueError(f"{count} random bytes wanted, {len(left)} left")
        taken = bytes(left[:count])
        del left[:count]
        return taken

    return take
