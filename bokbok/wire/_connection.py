"""The whole protocol as a value that you feed: bytes in, events out; requests in, bytes out.

What this module knows: the rules of a conversation (who says hello, which IDs are outstanding, what ends a connection).
Sockets, threads, tasks and clocks are in the front ends. It has no callbacks. Both front ends, the conformance runner
and the fuzzers drive this same object, so that there is one place where the protocol can be wrong.

It is not thread-safe. It has parts with a rule each, so that a front end with threads does not need one lock for all:

| part | who | methods | attributes |
|---|---|---|---|
| reading | one thread at a time: who reads | `read`, `read_alone`, `more`, `held`, `clear` | all of `_reading` |
| writing | one thread at a time: who sends | `sealed` | `_boxes`, `_seal`, `_sealer` |
| encoding | any thread, at any time | `encode` | `_encode` (and what never changes) |
| the conversation | who holds the lock | all others | all others |

So `receive(data)` is `take(read(data))`: `read` splits, opens and parses without the lock, and stops when its time is
over; `take` is short. `data_to_send()` is `sealed(take_out())`: `take_out` is short, `sealed` makes the boxes, without
the lock. `request(message)` is `request(encode(message), encoded=True)`, `respond` likewise: `encode` writes the
datum, without the lock.

Until a hello has opened (`state` is `hello` or `lookup`) there is nothing long to read: hold the lock, and call
`receive`. `read` looks at `state` once, so close a connection under the lock, even while another thread reads. To free
what was read in part, the reading thread calls `read` once more, or drops the connection. If a profile's packets are
more than a length and a box, a message is sealed when it is put, under the lock: its caller must get the errors of the
framing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, cast

from ..errors import BokbokError, ConnectionClosed, LocalProtocolError, ProfileError, RemoteProtocolError, WriteError
from ..keys import Key
from ..sexpr import PIECE
from ._events import (
    AnswerUnreadable,
    Closed,
    ErrorReceived,
    Event,
    HelloOpened,
    HelloReceived,
    Opened,
    PeerFinished,
    Plain,
    RequestUnreadable,
    as_event,
)
from ._guards import (
    DEFAULT_GUARDS,
    DEFAULT_WINDOW,
    BrokenCryptographyWarning,
    Guards,
    HelloMemory,
    RequestWindow,
)
from ._limits import DEFAULT_LIMITS, Limits
from ._native import Sealer, bind, make_sealer, make_splitter
from ._reading import MESSAGE, Batch, ReadAlone, make_reading
from .boxes import KEY_BYTES as SESSION_KEY_BYTES
from .boxes import Draw
from .framing import Preamble
from .messages import MAX_ID, REQUEST, RESPONSE, Brief, Read, Unreadable
from .profile import Profile, ProfileLike, get_profile

__all__ = ["REPLAYED_HELLO", "Connection", "State", "check_cryptography"]

REPLAYED_HELLO: Final = (
    "the hello is a copy of one that came before: a replay, or a client whose random source starts "
    "anew at each start of its program (then turn the guard hello_replay off)"
)
"""Why a hello that was seen before is refused."""

Wrap = Callable[[bytes], bytes]
Put = Callable[[bytes], None]

State = Literal["hello", "lookup", "open", "peer-finished", "closed"]
"""Where a connection stands: `hello` and `lookup` only on a secure server, before the hello has opened."""

_NOTHING_CAME = "the server ended the connection before it had sent anything"
_SECURE_CLIENT = (
    "possible causes: the key is wrong for this user, the user is unknown there, the server is insecure, or it failed"
)
_INSECURE_CLIENT = "possible causes: the server is secure and expects a user and a key, or it failed"


def _composed(first: Wrap | None, second: Wrap | None) -> Wrap | None:
    if first is None or second is None:
        return first or second
    return lambda data: second(first(data))


def _putting(out: list[bytes], write: Callable[[list[bytes], bytes], None], wrap: Wrap | None) -> Put:
    if wrap is None:
        return lambda body: write(out, body)
    return lambda body: write(out, wrap(body))


class _Whole(bytes):
    """Bytes to be sent that are sealed already."""


def check_cryptography(profile: Profile, guards: Guards, *, stacklevel: int = 2) -> None:
    """Refuse a profile whose nonces repeat, or warn about it if the guard is off.

    Args:
        profile: to be spoken on secure connections.
        guards: what is refused.
        stacklevel: which frame a warning names; 2 is the caller.

    Raises:
        ProfileError: it is broken cryptography, and `guards.nonce_reuse` is on.
    """
    leaks = profile.leaks
    if leaks is None:
        return
    if guards.nonce_reuse:
        raise ProfileError(
            f"the profile {profile.name!r} is broken cryptography and is not spoken: {leaks}. The guard "
            "nonce_reuse refuses it; turned off by name, it is spoken all the same"
        )
    warnings.warn(f"profile {profile.name!r}: {leaks}", BrokenCryptographyWarning, stacklevel=stacklevel)


def _is_secure(role: str, user: str | None, key: Key | None, secure: bool) -> bool:
    """Whether a connection with these arguments is secure; raises an error where they are wrong, or do not fit."""
    if user is not None and not isinstance(user, str):
        raise TypeError(f"user: expected a str, got {type(user).__name__}")
    if key is not None and not isinstance(key, Key):  # not shown: it may be a passphrase
        raise TypeError(
            f"key: expected a bokbok.Key, got {type(key).__name__}; passphrase_to_key() and Key.from_bytes() make one"
        )
    if role not in ("client", "server"):
        raise ValueError(f"the role is {role!r}; expected 'client' or 'server'")
    if role == "server" and (user is not None or key is not None):
        raise ValueError(
            "a server's connection was given a user or a key; expected neither: its user comes from the hello, its key "
            "from authenticate()"
        )
    if role == "client":
        if (user is None) != (key is None):
            raise ValueError(
                "a client was given a user or a key alone; expected both for a secure connection, neither "
                "for an insecure one"
            )
        if secure and user is None:
            raise ValueError("a secure client was given neither a user nor a key; expected both")
        return user is not None
    return secure


class Connection:
    """One side of one connection, without the transport.

    A secure client is given `user` and `key`; its hello lies in `data_to_send()` from the start. A secure server is
    given `secure=True`, and asks for the user's key with a `HelloReceived` event, which `authenticate` answers.
    Without these the connection is insecure, and open from the start.

    Args:
        role: which side this is: `"client"` or `"server"`.
        user: client: the username, any string of at most 255 bytes; `None` for an insecure connection.
        key: client: the user's key. It is used for the hello and not kept.
        secure: server: whether clients must say hello.
        profile: the wire format, or its name.
        limits: `packet`, `depth`, `message_memory` and `keys_per_user` are enforced here.
        guards: what is refused although it is well formed.
        hellos: server: the hellos seen before, shared by all connections of the server; without it (or with the
            guard off) a replayed hello is served.
        confirm_hellos: server: whether a hello that has opened waits for `admit`, since others remember hellos too.
        draw: source of randomness, how many bytes to those bytes; only tests give another than the default.

    Raises:
        ValueError: `user` without `key` or the other way round, or a username that the profile cannot carry.
        ProfileError: the profile is unknown, or its nonces repeat and the guard `nonce_reuse` is on.
    """

    # More attributes than instances of a class can share the names of: a dictionary each would take four times as much.
    # What is not named here still works.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_announced",
        "_boxes",
        "_brief",
        "_codec",
        "_confirm_hellos",
        "_counted",
        "_draw",
        "_encode",
        "_encode_error",
        "_encode_request",
        "_encode_response",
        "_error",
        "_guards",
        "_hello",
        "_hello_packets",
        "_hello_splitter",
        "_hellos",
        "_id_step",
        "_most_keys",
        "_next_id",
        "_out",
        "_outstanding",
        "_packet_limit",
        "_pending",
        "_profile",
        "_put_error",
        "_put_request",
        "_put_response",
        "_reading",
        "_request_of",
        "_response_of",
        "_role",
        "_room",
        "_seal",
        "_sealer",
        "_sealing",
        "_secure",
        "_session_key",
        "_splitter",
        "_state",
        "_unanswered",
        "_unsent",
        "_user",
        "_window",
        "_write_packet",
    )

    def __init__(
        self,
        role: Literal["client", "server"],
        *,
        user: str | None = None,
        key: Key | None = None,
        secure: bool = False,
        profile: ProfileLike = None,
        limits: Limits = DEFAULT_LIMITS,
        guards: Guards = DEFAULT_GUARDS,
        hellos: HelloMemory | None = None,
        confirm_hellos: bool = False,
        draw: Draw = os.urandom,
    ) -> None:
        # This is long because most of it lists a connection's state, each attribute with its meaning.
        secure = _is_secure(role, user, key, secure)
        self._role = role
        self._secure = secure
        self._profile = get_profile(profile)
        self._guards = guards
        self._hellos = hellos if guards.hello_replay else None
        self._confirm_hellos = confirm_hellos
        self._most_keys = limits.keys_per_user
        self._pending: bytes | None = None  # the session key of a hello that waits for `admit`
        self._draw = draw

        if secure:
            check_cryptography(self._profile, guards, stacklevel=3)

        # The profile, resolved: from here on no packet asks what is spoken.
        messages, framing = self._profile.messages, self._profile.framing
        codec = messages.bind(self._profile.dialect, limits.depth, limits.message_memory)
        self._encode_request, self._encode_response, self._encode_error = codec.request, codec.response, codec.error
        self._encode, self._request_of, self._response_of = codec.payload, codec.request_of, codec.response_of
        self._brief = codec.brief or Brief(codec.request, codec.response, codec.payload)
        self._write_packet = framing.writer()
        most = framing.most()
        self._packet_limit = limits.packet if most is None else min(limits.packet, most)
        self._splitter = make_splitter(framing, limits.packet)
        self._codec = codec
        self._reading = make_reading(self._splitter, codec)
        self._hello_splitter = self._splitter
        self._hello_packets = 0
        self._room = 0  # bytes of the longest body that fits into a packet
        mine, peers = (
            (messages.first_id, messages.server_first_id)
            if role == "client"
            else (messages.server_first_id, messages.first_id)
        )
        self._window: RequestWindow | None = None
        if guards.request_replay != "off":
            size = 0 if guards.request_replay == "strict" else DEFAULT_WINDOW
            self._window = RequestWindow(size, start=peers, step=messages.id_step)

        self._out: list[bytes] = []  # always the same list: functions are bound to it
        self._sealer: Sealer | None = None  # what makes packets of it when it is sent, compiled
        # The same of one message: without the above, `None` where that was done already; with it, until one is large.
        self._seal: Wrap | None = None
        self._session_key: bytes | None = None
        self._sealing = 0  # bytes that this adds to a packet, about
        self._counted = 0  # pieces of it whose bytes are counted in `_unsent`
        self._unsent = 0
        self._next_id = mine
        self._id_step = messages.id_step
        # Our requests that were not answered yet: keys of a dict, since a set of numbers is an object for the garbage
        # collector, and a dict of them is none.
        self._outstanding: dict[int, None] = {}
        self._unanswered: dict[int, int] = {}  # the peer's, and how often (more than once only without the guard)
        self._error: ConnectionClosed | None = None
        self._user: str | None = user
        self._state: State = "open"
        self._announced: tuple[bytes, ...] = ()  # the packets of an insecure hello
        if user is not None and key is not None:
            self._say_hello(user, key)
        elif secure:
            self._await_hello()
        else:
            self._bind_packets(None)
            self._announce_insecure()

    # Public attributes.

    @property
    def role(self) -> Literal["client", "server"]:
        """Which side this is."""
        return self._role

    @property
    def secure(self) -> bool:
        """Whether packets are boxed."""
        return self._secure

    @property
    def state(self) -> State:
        """Where the connection stands."""
        return self._state

    @property
    def user(self) -> str | None:
        """The username; `None` on an insecure connection, and on a server until the hello has opened."""
        return self._user

    @property
    def error(self) -> ConnectionClosed | None:
        """Why no more requests can be made: the error that waiting requests got; `None` while the connection is
        open."""
        return self._error

    @property
    def unanswered(self) -> int:
        """How many of the peer's requests were neither answered nor failed yet."""
        return sum(self._unanswered.values())

    @property
    def outstanding(self) -> int:
        """How many of this side's requests were not answered yet."""
        return len(self._outstanding)

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` would return anything."""
        return bool(self._out)

    @property
    def output(self) -> list[bytes]:
        """What `take_out` would return; always the same list. Only look at it."""
        return self._out

    @property
    def unsent(self) -> int:
        """Bytes that `data_to_send` would return; about so many, where lengths have no fixed size."""
        # Only what is new since the last call is counted: this is called for each answer to a peer that does not read.
        new = self._out[self._counted :]
        self._counted += len(new)
        self._unsent += sum(map(len, new)) + self._sealing * len(new)
        return self._unsent

    @property
    def more(self) -> bool:
        """Whether `receive` or `read` has stopped because its time was over: call it again, without data."""
        return self._reading.more

    @property
    def long(self) -> int:
        """The bytes of the long message that comes next, or whose rest does; 0: none does. Until it is `begun` it takes
        no more memory than its bytes, and then far more until it has been handled: do not begin many at once."""
        return self._reading.long

    @property
    def begun(self) -> bool:
        """Whether a long message was read in part."""
        return self._reading.begun

    @property
    def clear(self) -> bool:
        """Whether `held` is 0, in fewer steps."""
        return self._reading.clear or not self._reading.held()

    @property
    def held(self) -> int:
        """Estimated bytes of memory of what has come and is not in an event yet: parts of packets and of a message."""
        reading = self._reading
        return 0 if reading.clear else reading.held()

    def __repr__(self) -> str:
        kind = "secure" if self._secure else "insecure"
        return f"<wire.Connection {kind} {self._role}, {self._state}>"

    # What comes from this side's program.

    def request(self, message: Any, *, encoded: bool = False, brief: bool = False) -> int:
        """Ask the peer.

        Args:
            message: any datum that has an external representation in the profile's dialect.
            encoded: whether it is what `encode` has written of one.
            brief: whether others wait meanwhile; see `encode`.

        Returns:
            The request's ID, which the event of its answer repeats.

        Raises:
            WriteError: the message cannot travel, or needs a longer packet than the limit. Nothing was sent.
            ConnectionClosed: the connection is over, or the peer sends no more.
            LocalProtocolError: a server's connection whose hello has not opened yet.
            TakesLong: `brief`, and the message is not. Nothing was sent.
        """
        id = self._next_id
        if id > MAX_ID or self._state != "open":
            raise self._cannot_ask()
        if encoded:
            body = self._request_of(id, message)
        else:
            body = self._brief.request(id, message) if brief else self._encode_request(id, message)
        if len(body) > self._room:
            raise self._too_long(body)
        self._put_request(body)
        self._next_id = id + self._id_step
        self._outstanding[id] = None
        return id

    def encode(self, message: Any, *, brief: bool = False) -> bytes:
        """Write a datum, for `request` or `respond`: what takes long where a message is long.

        Args:
            message: the datum.
            brief: whether others wait meanwhile, as on an event loop: what would keep them for long is not written.

        Raises:
            WriteError: the message cannot travel.
            TakesLong: `brief`, and the message is not: call this without it, where nobody waits.
            Exception: whatever a method of an object in `message` raised.
        """
        return self._brief.payload(message) if brief else self._encode(message)

    @property
    def encoder(self) -> Callable[[Any], bytes]:
        """`encode` without `brief`: the same function for as long as there is the connection."""
        return self._encode

    def _cannot_ask(self) -> BokbokError:
        if self._state != "open":
            return self._cannot_send("a request")
        return LocalProtocolError(f"this connection has used up its request IDs, up to {MAX_ID}; open another one")

    def respond(
        self,
        id: int,
        message: Any,
        *,
        refusal: str = "the answer cannot travel",
        encoded: bool = False,
        brief: bool = False,
    ) -> WriteError | None:
        """Answer one of the peer's requests.

        Args:
            id: the ID of a `RequestReceived` that was not answered yet.
            message: the answer.
            refusal: what the error that stands in for an answer that cannot travel begins with.
            encoded: whether `message` is what `encode` has written of the answer.
            brief: whether others wait meanwhile; see `encode`.

        Returns:
            `None`; or, where the answer cannot travel, why: the request was then answered with that error instead.

        Raises:
            LocalProtocolError: no request of this ID waits for an answer.
            ConnectionClosed: the connection is over.
            TakesLong: `brief`, and the answer is not. The request is not answered then.
            Exception: whatever a method of an object in `message` raised; nor is it then.
        """
        times = self._unanswered.pop(id, 0)
        if times != 1:
            self._answer_again(id, times)
        try:
            if encoded:
                body = self._response_of(id, message)
            else:
                body = self._brief.response(id, message) if brief else self._encode_response(id, message)
            if len(body) > self._room:
                raise self._too_long(body)
            self._put_response(body)
        except WriteError as error:
            self._send_error(id, f"{refusal}: {error}")
            return error
        except BaseException:
            self._unanswered[id] = self._unanswered.get(id, 0) + 1
            raise
        return None

    def fail(self, id: int, message: str) -> None:
        """Answer one of the peer's requests with an error.

        Args:
            id: the ID of a `RequestReceived` that was not answered yet.
            message: what went wrong. What no string of the dialect can hold is replaced; what is too long is cut.

        Raises:
            LocalProtocolError: no request of this ID waits for an answer.
            ConnectionClosed: the connection is over.
        """
        times = self._unanswered.pop(id, 0)
        if times != 1:
            self._answer_again(id, times)
        self._send_error(id, message)

    def authenticate(self, key: Key | Sequence[Key] | None, *, seconds: float | None = None) -> list[Event]:
        """Server: answer a `HelloReceived`.

        Args:
            key: the user's key, or its keys, of which one may have made the hello; `None` for a user who is unknown or
                not allowed.
            seconds: how long to read what has come behind the hello; see `receive`.

        Returns:
            `Opened` and what has come behind the hello, or `Closed`. An unknown user and a hello that does not open
            look the same to the peer, and so do one key and several: the bytes and the work done are equal. With
            `confirm_hellos`, `HelloOpened` instead of `Opened`, alone.

        Raises:
            LocalProtocolError: no hello waits for its key.
            ValueError: there are more keys than `Limits.keys_per_user`.
        """
        if self._state != "lookup" or self._pending is not None:
            raise LocalProtocolError(
                f"no hello waits for its key: the connection's state is {self._state!r}; expected 'lookup'"
            )
        events: list[Event] = []
        try:
            session_key = self._try_keys(() if key is None else (key,) if isinstance(key, Key) else key)
            if self._hellos is not None and not self._hellos.remember(self._hello.box):
                raise RemoteProtocolError(REPLAYED_HELLO)
        except RemoteProtocolError as error:
            self._close(error, events)
            return events
        if self._confirm_hellos:
            self._pending = session_key
            user = self._hello.user.decode("utf-8", "surrogateescape")
            import hashlib  # only here: OpenSSL comes with it

            return [HelloOpened(user, hashlib.sha256(self._hello.box).digest())]
        return self._welcome(session_key, seconds)

    def _try_keys(self, keys: Sequence[Key]) -> bytes:
        """The session key of a hello, by whichever of the user's keys opens it.

        Raises:
            RemoteProtocolError: none does.
        """
        if len(keys) > self._most_keys:
            raise ValueError(f"expected {self._most_keys} keys at most (the limit keys_per_user); got {len(keys)}")
        session_key: bytes | None = None
        problem: RemoteProtocolError | None = None
        # Each hello costs the same number of tries. A key that nobody has costs the same work as one that is wrong, and
        # stands in for those behind the one that fits, too: a box may be made so that it opens by two keys.
        for number in range(self._most_keys):
            nobodys = os.urandom(SESSION_KEY_BYTES)
            key = keys[number].to_bytes() if number < len(keys) and session_key is None else nobodys
            try:
                session_key = self._hello.session_key(self._boxes.key_opener(key))
            except RemoteProtocolError as error:
                problem = problem or error
        if session_key is None:
            assert problem is not None
            raise problem
        return session_key

    def admit(self, refusal: str | None = None, *, seconds: float | None = None) -> list[Event]:
        """Server: answer a `HelloOpened`.

        Args:
            refusal: why the hello is refused, such as `REPLAYED_HELLO`; `None` admits it.
            seconds: how long to read what has come behind the hello; see `receive`.

        Returns:
            `Opened` and what has come behind the hello, or `Closed`.

        Raises:
            LocalProtocolError: no hello waits to be admitted.
        """
        session_key, self._pending = self._pending, None
        if self._state != "lookup" or session_key is None:
            raise LocalProtocolError(
                f"no hello waits to be admitted: the connection's state is {self._state!r}; expected 'lookup', behind "
                "a HelloOpened"
            )
        if refusal is not None:
            events: list[Event] = []
            self._close(RemoteProtocolError(refusal), events)
            return events
        return self._welcome(session_key, seconds)

    def _welcome(self, session_key: bytes, seconds: float | None) -> list[Event]:
        """A hello is over, and the connection open."""
        events: list[Event] = []
        self._bind_packets(session_key)
        self._user = self._hello.user.decode("utf-8", "surrogateescape")
        del self._hello
        self._hello_is_over()
        events.append(Opened(self._user))
        events += self.take(self.read(seconds=seconds, begin=False))
        return events

    def close(self, reason: str = "closed by this side") -> None:
        """End the conversation: nothing more is taken in or sent, except for what `data_to_send` still has."""
        if self._state != "closed":
            self._state = "closed"
            self._error = self._error or ConnectionClosed(reason)
            self._outstanding.clear()
            self._unanswered.clear()

    # What comes from, and goes to, the transport.

    def data_to_send(self) -> bytes:
        """Everything that is to be written to the transport now; each byte is returned once."""
        out = self._out
        if not out:
            return b""
        if len(out) > 1:
            return self.sealed(self.take_out())
        # The usual case, one message alone, needs neither of the two lists.
        self._counted = self._unsent = 0
        return self._sealed_alone(out.pop())

    def take_out(self) -> list[bytes]:
        """What `data_to_send` makes its bytes of, each once; for `sealed`."""
        out = self._out
        outgoing = out[:]
        if outgoing:
            out.clear()
            self._counted = self._unsent = 0
        return outgoing

    def sealed(self, outgoing: list[bytes]) -> bytes:
        """The bytes to be written to the transport, of what `take_out` has returned, in the same order."""
        if len(outgoing) == 1:
            return self._sealed_alone(outgoing[0])
        seal, sealer = self._seal, self._sealer
        if sealer is not None:
            whole = sealer.sealed(outgoing, seal)
            if whole is None:
                whole = sealer.sealed(outgoing, self._make_seal())
                assert whole is not None
            return whole
        if seal is not None:
            outgoing = [seal(piece) if type(piece) is bytes else piece for piece in outgoing]
        return b"".join(outgoing)

    def _sealed_alone(self, piece: bytes) -> bytes:
        # `sealed` of one piece: a large one's packet is not copied once more into a whole.
        seal, sealer = self._seal, self._sealer
        if sealer is not None:
            packet = sealer.packet(piece)
            if packet is not None:
                return packet
            if seal is None:
                seal = self._make_seal()
        return seal(piece) if seal is not None and type(piece) is bytes else piece

    def _make_seal(self) -> Wrap:
        """There is a first message that is large for the accelerator."""
        assert self._session_key is not None
        self._seal = self._boxes.sealer(self._session_key, self._profile.framing.head())
        return self._seal

    def receive(self, data: bytes = b"", *, seconds: float | None = None) -> list[Event]:
        """Take bytes from the transport, in pieces of any size.

        While a `HelloReceived` waits for `authenticate`, bytes are kept and not looked at: stop reading meanwhile.

        Args:
            data: what has come; nothing, to go on where the time was over.
            seconds: stop reading after about this much time (wall clock); `None` reads all there is. Then
                `more` says whether there is anything left: read no further bytes, let others have their turn, and call
                this again without data. A box is opened in one piece (16 MiB take about 20 ms), as is a token.

        Returns:
            What has happened. `Closed`, if there, is the last: this method never raises for what a peer sends.
        """
        return list(map(as_event, self.receive_plain(data, seconds)))

    def receive_plain(self, data: bytes = b"", seconds: float | None = None, begin: bool = True) -> list[Plain]:
        """The same as `receive`, for a front end: what is ordinary is not made an event of.

        A request that reads stays what was read, `(REQUEST, ID, datum, cost)`, and a response `(RESPONSE, ID, datum,
        cost)`. That saves an object for each message, which costs more than looking at it. `begin` is that of `read`.
        """
        events: list[Plain] = []
        if self._state == "open":
            # `take_plain(read(data))`, without the calls: this is done for each piece that comes.
            reading, alone = self._reading, None
            if data and (alone := reading.read_alone(data)) is None:
                reading.feed(data)
            elif type(alone) is tuple and (
                (alone[0] == RESPONSE and self.take_response(alone))
                or (alone[0] == REQUEST and self.take_request(alone))
            ):
                events.append(alone)
                return events
            try:
                self._take_messages(reading.read(seconds, begin) if alone is None else [alone], events)
            except RemoteProtocolError as error:
                self._close(error, events)
        elif self._state not in ("hello", "lookup"):
            self.read()
        elif data:
            self._reading.received = True
            self._hello_splitter.feed(data)
            self._process(events, seconds)
        return events

    def read(self, data: bytes = b"", *, seconds: float | None = None, begin: bool = True) -> Batch:
        """The first half of `receive`: split, open and parse, once the connection is open.

        Args:
            data: see `receive`.
            seconds: see `receive`.
            begin: whether a long message may be begun. Without that, and with a limit of time, one that comes next
                stays bytes, and reading stops there.

        Returns:
            What came, for `take`, in the same order.
        """
        if self._state != "open":
            if self._state == "closed":
                self._reading.drop()
            return []
        reading = self._reading
        if data:
            reading.feed(data)
        return reading.read(seconds, begin)

    @property
    def read_alone(self) -> ReadAlone:
        """`read` for bytes that are one packet and nothing else, in fewer steps; the same function for as long as there
        is the connection. It returns the message, or the error; or `None`: then `read` has to be given the same."""
        return self._reading.read_alone

    def take(self, batch: Batch) -> list[Event]:
        """The second half of `receive`: what the messages mean that `read` has returned.

        Returns:
            What has happened, as `receive` does.
        """
        return list(map(as_event, self.take_plain(batch)))

    def take_plain(self, batch: Batch) -> list[Plain]:
        """The second half of `receive_plain`."""
        events: list[Plain] = []
        if self._state == "open":
            try:
                self._take_messages(batch, events)
            except RemoteProtocolError as error:
                self._close(error, events)
        return events

    def take_request(self, message: Read) -> bool:
        """`take_plain` of one request, in fewer steps, if it is as most are, in its turn; its event is itself then.

        Returns:
            Whether it is; false: nothing was done.
        """
        _, id, datum, _ = message
        window = self._window
        if (
            self._state != "open"
            or window is None
            or id != window.next
            or id in self._unanswered
            or type(datum) is Unreadable
        ):
            return False
        window.next = id + window.step
        self._unanswered[id] = 1
        return True

    def take_response(self, message: Read) -> bool:
        """The same of one response, to a request that waits for it."""
        _, id, datum, _ = message
        if self._state != "open" or id not in self._outstanding or type(datum) is Unreadable:
            return False
        del self._outstanding[id]
        return True

    def receive_eof(self) -> list[Event]:
        """Take the transport's end of file: the peer sends no more.

        Returns:
            `PeerFinished`, after which answers may still be sent; or `Closed`, where no hello had opened. Nothing,
            if the connection was over already.
        """
        events: list[Event] = []
        if self._state == "open":
            pending = self._splitter.pending()
            if pending is not None:
                self._error = ConnectionClosed(
                    f"the other end closed the connection in the middle of a packet: {pending}"
                )
            else:
                self._error = ConnectionClosed(self._with_likely_cause("the other end closed the connection"))
            self._state = "peer-finished"
            self._outstanding.clear()
            events.append(PeerFinished(self._error))
        elif self._state in ("hello", "lookup"):
            self._close(ConnectionClosed("the other end closed the connection before its hello had opened"), events)
        return events

    def lost(self, reason: str) -> ConnectionClosed:
        """Record that the transport broke (a reset, a time-out): waiting requests fail with this.

        Args:
            reason: what the transport says, such as `"connection reset by peer"`.
        """
        self.close(self._with_likely_cause(reason))
        assert self._error is not None
        return self._error

    def _with_likely_cause(self, reason: str) -> str:
        """Add the likely causes to the reason of an end, for a client that never received anything."""
        if self._role == "client" and not self._reading.received:
            if self._secure:
                return f"{reason}: {_NOTHING_CAME}; {_SECURE_CLIENT}"
            if self._outstanding:
                return f"{reason}: {_NOTHING_CAME}; {_INSECURE_CLIENT}"
        return reason

    # The rules.

    def _process(self, events: list[Plain], seconds: float | None) -> None:
        """Take every whole packet of a hello that is there, and what comes behind it."""
        try:
            while self._state == "hello":
                packet = self._hello_splitter.next()
                if packet is None:
                    return
                if not self._secure:
                    self._take_announcement(packet)
                elif self._hello.receive(packet):
                    self._state = "lookup"
                    events.append(HelloReceived(self._hello.user.decode("utf-8", "surrogateescape")))
                else:
                    self._count_hello_packet()
                    self._hello_splitter.limit = self._hello.limit
        except RemoteProtocolError as error:
            self._close(error, events)
        if self._state == "open":
            events += self.take_plain(self.read(seconds=seconds, begin=False))

    def _take_announcement(self, packet: bytes) -> None:
        """An insecure server, whose profile has the client announce itself."""
        if packet != self._announced[0]:
            raise RemoteProtocolError(
                f"the connection begins with {packet[:40]!r}; expected {self._announced[0]!r} of an insecure client"
            )
        self._announced = self._announced[1:]
        if self._announced:
            self._count_hello_packet()
            self._hello_splitter.limit = len(self._announced[0])
        else:
            self._hello_is_over()

    def _count_hello_packet(self) -> None:
        """A packet of the hello has come, and more are to come: perhaps in the other framing."""
        self._hello_packets += 1
        if self._hello_packets == self._profile.hello_framed and self._profile.hello_framing is not None:
            self._leave_hello_framing()

    def _leave_hello_framing(self) -> None:
        if self._hello_splitter is not self._splitter:
            self._splitter.feed(self._hello_splitter.rest())
            self._hello_splitter = self._splitter

    def _hello_is_over(self) -> None:
        self._state = "open"
        self._leave_hello_framing()
        self._splitter.limit = self._packet_limit

    def _take_messages(self, batch: Batch, events: list[Plain]) -> None:
        # What every message goes through, in one loop. The plain version is a method for each step, with its attributes
        # looked up for each message, and an event made of it: here they are local names, and what is ordinary stays the
        # tuple that was read.
        error = batch.pop() if batch and type(batch[-1]) is not tuple else None
        window, outstanding, unanswered = self._window, self._outstanding, self._unanswered
        messages: list[Any] = batch
        for message in messages:
            kind, id, datum, _ = message
            if kind == REQUEST:
                if window is not None:
                    if id == window.next:  # as always; `use` in one step
                        window.next = id + window.step
                    elif (refusal := window.use(id)) is not None:
                        raise RemoteProtocolError(refusal)
                if type(datum) is Unreadable:
                    self._send_error(id, f"the request cannot be read: {datum.problem}")
                    events.append(RequestUnreadable(id, datum.problem))
                else:
                    unanswered[id] = unanswered.get(id, 0) + 1
                    events.append(message)
                continue
            if id not in outstanding:
                raise RemoteProtocolError(
                    f"an answer to request {id}, which does not wait for one (answered twice, or never asked)"
                )
            del outstanding[id]
            if type(datum) is Unreadable:
                events.append(AnswerUnreadable(id, datum.problem))
            elif kind == RESPONSE:
                events.append(message)
            else:
                events.append(ErrorReceived(id, datum))
        if error is not None:
            raise cast(RemoteProtocolError, error)

    def _say_hello(self, user: str, key: Key) -> None:
        hello = self._profile.hello
        try:
            name = user.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ValueError("the username holds a lone surrogate that does not stand for a byte") from None
        if len(name) > hello.max_username:
            raise ValueError(f"the username has {len(name)} bytes; expected {hello.max_username} at most")
        session_key = self._draw(SESSION_KEY_BYTES)  # drawn before the nonces' prefix, as the vectors have it
        self._boxes = self._profile.nonces.start(self._role, self._draw)
        packets = hello.client(name, session_key, self._boxes.key_sealer(key.to_bytes()), self._boxes)
        self._write_hello(hello.preamble, packets)
        self._bind_packets(session_key)

    def _await_hello(self) -> None:
        """Secure server: be ready for the hello's first packet."""
        self._state = "hello"
        self._begin_hello_framing()
        self._boxes = self._profile.nonces.start(self._role, self._draw)
        self._hello = self._profile.hello.server(self._boxes)
        self._hello_splitter.limit = self._hello.limit
        self._expect_preamble(self._profile.hello.preamble)

    def _announce_insecure(self) -> None:
        """Insecure connection: write, or be ready for, what announces it. Most profiles have nothing of the kind."""
        self._announced = self._profile.hello.insecure
        preamble = self._profile.hello.insecure_preamble
        if self._role == "client":
            self._write_hello(preamble, self._announced)
        elif self._announced:
            self._state = "hello"
            self._begin_hello_framing()
            self._hello_splitter.limit = len(self._announced[0])
            self._expect_preamble(preamble)
        elif preamble:
            self._state = "hello"
            self._announced = (preamble,)
            self._hello_splitter = Preamble(preamble)

    def _begin_hello_framing(self) -> None:
        if self._profile.hello_framing is not None:
            self._hello_splitter = self._profile.hello_framing.splitter(self._splitter.limit)

    def _expect_preamble(self, preamble: bytes) -> None:
        if preamble:
            self._hello_splitter = Preamble(preamble, self._hello_splitter)

    def _write_hello(self, preamble: bytes, packets: Iterable[bytes]) -> None:
        out: list[bytes] = [preamble] if preamble else []
        framing, framed = self._profile.hello_framing, self._profile.hello_framed
        write = self._write_packet if framing is None else framing.writer()
        for number, packet in enumerate(packets):
            if framed and number == framed:
                write = self._write_packet
            write(out, packet)
        self._out += map(_Whole, out)

    def _bind_packets(self, session_key: bytes | None) -> None:
        """Resolve what happens to a message's body on its way into a packet and back.

        The plain version would do for each packet what is done here once: ask the form of packets for what stands
        around a box, seal, encode, and have the framing write the result, each by a method looked up on the profile.
        Here these become closures: `_put_request` and the like take a body to the output, `unwrap` a packet to a body.
        Steps that a profile does not have leave no call behind (`None`). Where nothing stands between the box and the
        framing's head, one function makes both in one piece, when they are sent (`_seal`): that cannot fail any more.
        """
        profile, role, framing = self._profile, self._role, self._profile.framing
        secure = session_key is not None
        packets = profile.packets
        wraps, unwrap = packets.wraps(role, secure), packets.unwrap("server" if role == "client" else "client", secure)
        self._room = packets.room(self._packet_limit)
        # Where a packet is nothing but a box behind its length, both are made in one piece: asked of any framing.
        head = framing.head() if wraps == (None, None, None) else None
        seal: Wrap | None = None
        reading, reflection = self._reading, self._guards.reflection
        if unwrap is None:
            boxes = self._boxes if session_key is not None else None
            reading.batch = bind(self._splitter, self._codec, boxes, session_key, reflection, PIECE, MESSAGE)
        if session_key is not None:
            self._session_key = session_key
            self._room -= self._boxes.overhead
            if head is not None:
                self._sealer = make_sealer(framing, self._boxes, session_key)
            if self._sealer is None:
                seal = self._boxes.sealer(session_key, head)
            if reading.batch is not None:
                reading.boxes, reading.key, reading.refuse_own = self._boxes, session_key, reflection
            else:
                open_box = self._boxes.opener(session_key, refuse_own=reflection)
                unwrap = open_box if unwrap is None else _composed(unwrap, open_box)
        reading.unwrap = unwrap
        # What puts the body of a request, a response, an error on its way.
        if head is not None and session_key is not None:
            self._seal, self._sealing = seal, len(head(self._boxes.overhead)) + self._boxes.overhead
            self._put_request = self._put_response = self._put_error = self._out.append
        else:
            self._put_request, self._put_response, self._put_error = (
                _putting(self._out, self._write_packet, _composed(seal, wrap)) for wrap in wraps
            )

    def _too_long(self, body: bytes) -> WriteError:
        # Looked at before sealing: a nonce is not spent on what is not sent.
        needed = len(body) + self._packet_limit - self._room
        return WriteError(f"needs a packet of {needed} bytes; the limit is {self._packet_limit}")

    def _send_error(self, id: int, text: str) -> None:
        body = self._encode_error(id, text)
        if len(body) > self._room:
            # A byte becomes four at most (`\xHH`); the rest is the message around the text.
            room = max(0, (self._room - 64) // 4)
            cut = text.encode("utf-8", "replace")[: max(0, room - 32)].decode("utf-8", "ignore")
            body = self._encode_error(id, f"{cut} … (cut)")
        self._put_error(body)

    def _answer_again(self, id: int, times: int) -> None:
        """Answer one of the peer's requests that did not come exactly once."""
        if self._state == "closed":
            raise self._cannot_send("an answer")
        if not times:
            raise LocalProtocolError(f"request {id} does not wait for an answer; expected the ID of one that does")
        self._unanswered[id] = times - 1

    def _cannot_send(self, what: str) -> BokbokError:
        if self._error is not None:
            # A new exception each time: one that is raised twice keeps the traceback of the first time.
            return type(self._error)(self._error.reason)
        return LocalProtocolError(f"{what} cannot be sent before the client's hello has opened (event Opened)")

    def _close(self, error: ConnectionClosed, events: list[Any]) -> None:
        """The conversation is over by what the peer did, or failed to do."""
        # Without the frames that it has come through: they hold this object, and what had been read.
        self._error = error.with_traceback(None)
        self.close()
        events.append(Closed(error))
