"""The vocabulary of cases: two sides, their servers and connections, the relay between them.

What this module knows: how a step of a case becomes commands to puppets, and how long to wait for what must come.

A request that fails raises its error (`RemoteFailed`, `NetworkFailed`, `Refused`), so that a case reads as if
everything goes well; `Play.fails` expects an error. Whatever a case does not expect becomes its failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from bokbok.address import format_address
from bokbok.sexpr import CHICKEN_4, Dotted, Symbol, dumps
from bokbok.wire import Profile
from bokbok_traffic.capture import Capture
from bokbok_traffic.relay import Relay

from .dump import Conversation
from .model import Failure, Late, Missing
from .peers.base import PuppetFault
from .peers.puppet import Answer, Puppet, Raw, Trace, symbol_name
from .rendezvous import SLEEPS, Rendezvous

__all__ = [
    "PASSPHRASE",
    "USER",
    "Conn",
    "Invalid",
    "NetworkFailed",
    "Play",
    "Refused",
    "RemoteFailed",
    "Served",
    "Side",
    "Silent",
    "Unsupported",
    "readable",
    "same",
    "show",
    "written",
]

T = TypeVar("T")
_Awaited = tuple[str | Callable[[], str], str]
"""What a case waits for, in words (made only when they are read), and the name of the sentence that promises it."""

USER = "alice"
PASSPHRASE = "correct horse battery staple"  # noqa: S105 (there is nothing to protect)
PATIENCE = 10.0
"""Seconds that something which must happen by itself may take: that a handler runs, that a close is noticed. It is less
if the whole case has little time, and more if the puppets answer slowly (`Play.slowness`)."""
PROMPT = 0.05
"""Seconds, many times as long as a puppet on an idle machine needs to answer `hello`. If it takes longer, that is not
its fault: the machine is busy, so all waiting takes longer in proportion."""
MOST_RECORDED = 64 << 20
"""Bytes of one cell's recording: far more than a case about bytes needs. A longer direction is cut there, with a
mark."""
SLOWEST = 8.0
"""The most times as long."""
STEP = 1.0
"""Seconds between two measurements of how slow the puppets are, once a time limit has been reached."""
TRIES = 4
"""How often to try something for which the other side's clock leaves too little time on a slow machine."""

_USE_DEFAULT: Any = object()
_CLOSE_HANDLERS = {"client": "open.close-handler", "server": "start.close-handler"}
_ALONE = frozenset({"hello", "listen", "info", "close", "stop", "key", "signal"})
"""Commands that depend only on the puppet: if one of them is not answered, that is the puppet's own fault."""
_LIMITS = {**dict.fromkeys(_ALONE, 1.0), "connect": 3.0}
"""Commands with their own limit, in multiples of a case's patience: `connect` may find out that no server is there."""
_WITH_HANDLE = frozenset({"listen", "connect", "request", "info", "close", "stop", "wait"})
"""Commands whose first argument is a handle."""
_COMMANDS = {"close": "close-connection", "stop": "stop-server", "wait": "wait-stopped"}
"""The sentences that are broken if a command is not answered, whatever the case is about."""


class Refused(Failure):
    """A command had another answer than the case wants. If it is not caught, the case fails.

    Attributes:
        message: what the puppet said.
        command: the command.
    """

    tag = ""

    def __init__(self, message: str, command: str) -> None:
        self.message = message
        self.command = command
        super().__init__(f"{command} failed", expected="an answer", actual=f'{self.tag} "{message[:500]}"')


class RemoteFailed(Refused):
    """`(N remote-error "message")`."""

    tag = "remote-error"


class NetworkFailed(Refused):
    """`(N network-error "message")`."""

    tag = "network-error"


class Invalid(Refused):
    """`(N invalid "message")`."""

    tag = "invalid"


class _Limit:
    """A time limit that is longer while the puppets are slow.

    Each second counts for as much less as the puppets are slower than on an idle machine. They are asked only once the
    limit has been reached, and then every `STEP` seconds: a moment in which they were slow must not make the limit
    longer for the time after it.

    Args:
        seconds: on an idle machine.
        slowness: see `Play.slowness`.
    """

    def __init__(self, seconds: float, slowness: Callable[[], Awaitable[float]]) -> None:
        self._left = seconds
        self._since = time.monotonic()
        self._until = self._since + seconds
        self._slowness = slowness

    async def rest(self) -> float:
        """Seconds that may be waited before this is asked again. None are left if it is 0 or less."""
        if (rest := self._until - time.monotonic()) > 0:
            return rest
        slowness = await self._slowness()
        now = time.monotonic()
        self._left -= (now - self._since) / slowness
        self._since, self._until = now, now + min(self._left, STEP)
        return self._until - now


class Silent(Failure):
    """A command that depends only on the puppet was not answered. That is the puppet's own fault, whatever the case is
    about.

    Attributes:
        peer: whose.
    """

    def __init__(self, peer: str, problem: str, *, expected: str, sentence: str) -> None:
        super().__init__(problem, expected=expected, actual="none", sentence=sentence)
        self.peer = peer


class Unsupported(Exception):
    """`(N unsupported "what")`, or a feature that is missing: the cell is unsupported."""


_REFUSALS: dict[str, type[Refused]] = {c.tag: c for c in (RemoteFailed, NetworkFailed, Invalid)}


def show(datum: Any, limit: int = 400) -> str:
    """A datum as text for people."""
    try:
        text = dumps(datum).decode("utf-8", "backslashreplace")
    except Exception:
        text = repr(datum)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def readable(data: bytes) -> str:
    """Bytes of a message as people can read them."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in data.decode("utf-8", "backslashreplace"))


def written(*datums: Any) -> str:
    """Datums as Scheme writes them, for people."""
    return " ".join(show(datum) for datum in datums)


class _Shown:
    """A command in words, made only when it is read: most are never read, and some are megabytes.

    Handles, ports and paths are left out: they differ from cell to cell, and the same failure must have the same words.
    """

    def __init__(self, verb: str, arguments: Sequence[Any]) -> None:
        self._verb, self._arguments = verb, arguments

    def __str__(self) -> str:
        told = [show(each, 120) if not isinstance(each, Raw) else "..." for each in self._arguments]
        if self._verb in ("listen", "connect"):
            told[1] = "ADDRESS"
        if self._verb in _WITH_HANDLE:
            del told[0]
        return f"({' '.join([self._verb, *told])})"


def same(one: Any, other: Any) -> bool:
    """Whether two datums are the same, including types: 1 is not 1.0, a string is not a symbol, -0.0 is not 0.0."""
    return dumps(one, dialect=CHICKEN_4) == dumps(other, dialect=CHICKEN_4)


def address_datum(address: Sequence[Any]) -> list[Any]:
    """A canonical address as the puppet protocol writes it."""
    if address[0] == "unix":
        return [Symbol("unix"), address[1]]
    return [Symbol("tcp"), False if address[1] is None else address[1], address[2]]


def canonical(datum: Any) -> tuple[Any, ...]:
    """The reverse of `address_datum`.

    Raises:
        Failure: the datum is not an address.
    """
    match datum:
        case [kind, str(host), int(port)] if symbol_name(kind) == "tcp":
            return ("tcp", host, port)
        case [kind, False, int(port)] if symbol_name(kind) == "tcp":
            return ("tcp", None, port)
        case [kind, str(path)] if symbol_name(kind) == "unix":
            return ("unix", path)
    raise Failure("an address in no documented form", expected="(tcp HOST PORT) or (unix PATH)", actual=show(datum))


async def _for_ten_seconds(work: Sequence[Awaitable[Any]]) -> None:
    """Wait for something that may fail."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 10)


async def _cancelled(request: asyncio.Future[Any]) -> None:
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


class Conn:
    """A connection that a puppet holds, on either side.

    Attributes:
        side: the side that has it.
        handle: its name there.
        user, address: those of an accepted connection, as its open handler reported them.
        closings: how often its close handler has run.
    """

    def __init__(self, side: Side, handle: int, user: Any = None, address: Any = None) -> None:
        self.side = side
        self.handle = handle
        self.user = user
        self.address = address
        self.closings = 0

    async def request(self, datum: Any, timeout: float | None = None) -> Any:
        """`request!`: the response's datum.

        Raises:
            RemoteFailed, NetworkFailed, Invalid: the request failed.
        """
        answer = await self.side.command("request", self.handle, datum, timeout=timeout)
        if answer.tag != "response" or len(answer.values) != 1:
            raise Failure("a request was answered out of form", expected="response DATUM", actual=str(answer))
        return answer.values[0]

    async def echo(self, datum: Any) -> None:
        """Ask for the echo of a datum, and check that it is the same."""
        answer = await self.request(["echo", datum])
        if not same(answer, datum):
            raise Failure("an echo came back changed", expected=show(datum), actual=show(answer))

    async def info(self) -> tuple[Any, tuple[Any, ...]]:
        """`connection-user` (or `False`) and `connection-addr`."""
        answer = await self.side.command("info", self.handle)
        if len(answer.values) != 2:
            raise Failure("`info` was answered out of form", expected="ok USER ADDRESS", actual=str(answer))
        return answer.values[0], canonical(answer.values[1])

    async def close(self) -> None:
        """`close-connection!`."""
        await self.side.command("close", self.handle)

    async def closed(self, seconds: float | None = None) -> None:
        """Wait until its close handler has run.

        Raises:
            Failure: it does not, in time.
        """
        await self.side.wait_for(
            lambda: self.closings > 0,
            f"the close handler of the {self.side.role}'s connection",
            seconds,
            _CLOSE_HANDLERS[self.side.role],
        )

    def __repr__(self) -> str:
        return f"<connection {self.handle} of {self.side.role}>"


class Served:
    """A server that a puppet runs.

    Attributes:
        bound: the address, as the puppet told it.
        address: the address for clients: the relay's, or the server's own in a direct case.
        relay: the relay in front of it, or `None`.
        connections: the connections that it has opened, in order.
    """

    def __init__(self, side: Side, handle: int) -> None:
        self.side = side
        self.handle = handle
        self.bound: tuple[Any, ...] = ()
        self.address: tuple[Any, ...] = ()
        self.users: Any = False
        self.relay: Relay | None = None
        self.connections: list[Conn] = []
        self._taken = 0
        self.stopped = False

    def seen_from(self, side: Side) -> tuple[Any, ...]:
        """Its own address, without a relay, for the programs of a side."""
        return self.side.puppet.running.from_puppet(side.puppet.running, self.bound)

    async def opened(self, seconds: float | None = None) -> Conn:
        """The next connection whose open handler has run.

        Raises:
            Failure: there is none, in time.
        """
        await self.side.wait_for(
            lambda: len(self.connections) > self._taken, "the open handler of the server", seconds, "start.open-handler"
        )
        self._taken += 1
        return self.connections[self._taken - 1]

    async def stop(self) -> None:
        """`stop-server!`."""
        self.stopped = True
        await self.side.command("stop", self.handle)

    async def wait(self, timeout: float | None = None) -> None:
        """`wait-until-server-stopped`."""
        await self.side.command("wait", self.handle, timeout=timeout)


class Side:
    """A puppet in the role that it has in this case.

    Attributes:
        role: `client` or `server`.
        puppet: which.
        arrived: how many handlers have begun to wait here, by the name of the rendezvous.
    """

    def __init__(self, role: str, puppet: Puppet, play: Play) -> None:
        self.role = role
        self.puppet = puppet
        self.play = play
        self.changed = asyncio.Event()
        self.conns: dict[int, Conn] = {}
        self.servers: dict[int, Served] = {}
        self.arrived: Counter[str] = Counter()
        self._held: set[str] = set()
        self.addresses: list[tuple[Any, ...]] = []
        self.over = False

    async def command(self, verb: str, *arguments: Any, timeout: float | None = None) -> Answer:
        """Give a command; raise an error if it fails.

        Raises:
            RemoteFailed, NetworkFailed, Invalid: the puppet's own answers.
            Unsupported: the puppet says that it lacks the feature.
            Failure: no answer within `timeout` seconds (the puppet as a whole still lives).
        """
        shown = _Shown(verb, arguments)
        with self.play.waiting(
            lambda: f"the {self.role} ({self.puppet.peer}) to answer {shown}", _COMMANDS.get(verb, "")
        ):
            asked = self.puppet.command(verb, *arguments, trace=self.play.trace, role=self.role)
            limit = self.play.patience * _LIMITS[verb] if timeout is None and verb in _LIMITS else timeout
            try:
                answer = await (asked if limit is None else self.play.timed(asked, limit))
            except asyncio.TimeoutError:
                problem = f"{shown} was not answered by the {self.role}"
                expected, sentence = f"an answer within {limit:.3g} s", _COMMANDS.get(verb, "")
                if verb in _ALONE:
                    raise Silent(self.puppet.peer, problem, expected=expected, sentence=sentence) from None
                raise Failure(problem, expected=expected, actual="none", sentence=sentence) from None
        self.play.touch()
        if answer.tag in _REFUSALS:
            message = answer.values[0] if answer.values and isinstance(answer.values[0], str) else ""
            if len(answer.values) != 1 or not isinstance(answer.values[0], str):
                raise Failure(
                    f"{shown} was answered out of form", expected=f'{answer.tag} "message"', actual=str(answer)
                )
            raise _REFUSALS[answer.tag](message, str(shown))
        if answer.tag == "unsupported":
            raise Unsupported(f"{self.puppet.peer} says: {show(answer.values)} is unsupported")
        if answer.tag not in ("ok", "response"):
            raise Failure(f"{shown} was answered out of form", expected="ok", actual=str(answer))
        return answer

    async def new_address(self) -> tuple[Any, ...]:
        """An address of the play's transport at which this side can listen: the runner and the other side can reach
        it."""
        play, running = self.play, self.puppet.running
        other = next((side.puppet.running for side in play.sides if side is not self), None)
        address = await running.listen_address(play.transport, play.new_name(), other)
        self.addresses.append(address)
        if address[0] == "tcp" and address[2] == 0 and "port-0" not in self.puppet.features:
            from .peers.local import free_port

            return (*address[:2], free_port(address[1]))
        return address

    async def listen(
        self,
        address: Sequence[Any] | None = None,
        *,
        users: Any = _USE_DEFAULT,
        backlog: int = 10,
        memory: str | None = None,
    ) -> Served:
        """`start-server`, with no relay before it.

        Args:
            address: canonical; by default one that the play's transport asks for.
            users: {user: passphrase or None}, `None` for insecure; by default what the play's security asks for.
            backlog: of the listening socket.
            memory: names a memory of hellos that it shares with this puppet's other servers of the same name. Needs the
                feature `shared-hellos`.
        """
        play = self.play
        if address is None:
            address = await self.new_address()
        if users is _USE_DEFAULT:
            users = {USER: PASSPHRASE} if play.secure else None
        table: Any = False
        if users is not None:
            table = [Dotted([user], False if secret is None else secret) for user, secret in users.items()]
        served = Served(self, self.puppet.new_handle())
        served.users = users
        self.servers[served.handle] = served
        self.puppet.own(served.handle, self._event, play.trace, self.role)
        more = () if memory is None else (memory,)
        answer = await self.command("listen", served.handle, address_datum(address), backlog, table, *more)
        if len(answer.values) != 1:
            raise Failure("`listen` was answered out of form", expected="ok ADDRESS", actual=str(answer))
        served.bound = canonical(answer.values[0])
        if served.bound[0] == "tcp" and served.bound[2] == 0:
            raise Failure("`listen` does not tell the port", expected="the port that was bound", actual="0")
        served.address = served.bound
        return served

    async def connect(self, address: Any, user: Any = _USE_DEFAULT, passphrase: Any = _USE_DEFAULT) -> Conn:
        """`open-connection!`.

        Args:
            address: canonical, or a string in one of the documented forms.
            user: `None` for insecure; by default what the play's security asks for.
            passphrase: as `user`.
        """
        secure = self.play.secure
        user = (USER if secure else None) if user is _USE_DEFAULT else user
        passphrase = (PASSPHRASE if secure else None) if passphrase is _USE_DEFAULT else passphrase
        if user is not None and passphrase is not None:
            self.play.offer(user, passphrase)
        conn = Conn(self, self.puppet.new_handle())
        self.conns[conn.handle] = conn
        self.puppet.own(conn.handle, self._event, self.play.trace, self.role)
        shown = address if isinstance(address, str) else address_datum(address)
        try:
            await self.command(
                "connect",
                conn.handle,
                shown,
                False if user is None else user,
                False if passphrase is None else passphrase,
            )
        except Refused:
            del self.conns[conn.handle]
            raise
        return conn

    def _event(self, name: str, values: list[Any], line: bytes) -> None:
        self.play.touch()
        if self.over:
            self.puppet.stray()
            return
        if name == "opened":
            server = self.servers.get(values[0])
            if server is None:
                self.play.problem(f"an `opened` event names a handle that is not a server's: {show(values)}")
                return
            conn = Conn(self, values[1], values[2], values[3])
            self.conns[conn.handle] = conn
            server.connections.append(conn)
        elif name == "closed":
            closed = self.conns.get(values[0])
            if closed is not None:
                closed.closings += 1
                if closed.closings > 1:
                    self.play.problem(
                        f"a close handler ran {closed.closings} times for one connection", _CLOSE_HANDLERS[self.role]
                    )
        elif name == "awaiting":
            self.arrived[values[0]] += 1
        else:
            self.play.problem(f"an unknown event: {readable(line[:200])}")
        self.changed.set()

    def expect(self, name: str) -> None:
        """Handlers will wait here, at the rendezvous of this name. They are released when the case ends."""
        self._held.add(name)
        self.puppet.own(name, self._event, self.play.trace, self.role)

    async def release(self, name: str) -> None:
        """Let the handlers that wait for this name go on, now and later."""
        await self.command("signal", name)
        self._held.discard(name)

    async def wait_for(self, condition: Any, what: str, seconds: float | None = None, sentence: str = "") -> None:
        """Wait until a condition over this side's events holds.

        Args:
            condition: is evaluated after every event.
            what: what is waited for, in words.
            seconds: a time shorter than the case's patience.
            sentence: the name of the sentence that is broken if the condition never holds.

        Raises:
            Failure: it does not, in time.
            PuppetFault: the puppet broke meanwhile.
        """
        with self.play.waiting(f"{what} ({self.puppet.peer})", sentence):
            seconds = self.play.patience if seconds is None else min(seconds, self.play.patience)
            limit = _Limit(seconds, self.play.slowness)
            while not condition():
                if self.puppet.fault is not None:
                    raise self.puppet.fault
                rest = await limit.rest()
                if condition():
                    break
                if rest <= 0:
                    if (failure := self._opened_too_often()) is not None:
                        raise failure
                    raise Missing(
                        f"{what} did not run",
                        expected=f"an event from the {self.role} within {seconds:.3g} s",
                        actual="none",
                        sentence=sentence,
                    )
                self.changed.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    # At most a second, to notice a puppet that has broken in the meantime.
                    await asyncio.wait_for(self.changed.wait(), min(rest, 1.0))

    def _opened_too_often(self) -> Failure | None:
        """A better explanation for a missing event of a connection: the open handler has reported it under two
        names."""
        for server in self.servers.values():
            made = 0 if server.relay is None else len(server.relay.links) + self.play.raw_count
            if len(self.play.sides) == 1:
                made = self.play.raw_count
            if 0 < made < len(server.connections):
                return Missing(
                    "the open handler ran more often than there were connections",
                    expected=f"{made} at the most",
                    actual=str(len(server.connections)),
                    sentence="profile.open-handler",
                )
        return None

    async def settle(self) -> None:
        """Wait until the puppet has handled, and printed, everything that was under way: a round trip through it.

        What a puppet printed before its answer has arrived before this returns.
        """
        await self.command("hello")

    async def release_all(self) -> None:
        """Let all handlers go on that still wait when the case ends."""
        if self.puppet.fault is None:
            await _for_ten_seconds([self.puppet.command("signal", name) for name in self._held])

    async def cleanup(self) -> None:
        """Close and stop what is still open when the case ends."""
        if self.puppet.fault is None:
            jobs: list[Awaitable[Any]] = [
                self.puppet.command("close", conn.handle) for conn in self.conns.values() if conn.handle > 0
            ]
            jobs += [
                self.puppet.command("stop", server.handle)
                for server in self.servers.values()
                if not server.stopped and server.bound
            ]
            await _for_ten_seconds(jobs)
        for address in self.addresses:
            self.puppet.running.release(address)
        self.over = True


class Play:
    """One case being played: the argument of its coroutine.

    Attributes:
        client, server: the two sides.
        transport, security: of this cell.
        profile: the wire format of both.
        capture: every byte that went through the relay.
        trace: every datum exchanged with the puppets.
        offered: the passphrases, right or wrong, with which clients were told to say hello, each with its own name.
        limit: seconds for the whole case.
        patience: seconds for what must happen by itself.
    """

    _names = itertools.count(1)

    def __init__(
        self,
        *,
        transport: str,
        security: str,
        profile: Profile,
        client: Puppet | None = None,
        server: Puppet | None = None,
        direct: bool = False,
        limit: float = 30.0,
        seed: int = 0,
    ) -> None:
        self.transport = transport
        self.security = security
        self.profile = profile
        self.direct = direct
        self.limit = limit
        self.patience = min(PATIENCE, limit / 3)
        self.seed = seed
        self.trace = Trace()
        self.capture = Capture(transport, limit=MOST_RECORDED)
        self.problems: list[Failure] = []
        self.touched = time.monotonic()
        self.secrets: dict[str, str] = {USER: PASSPHRASE}
        self.offered: dict[str, str] = {}
        self.relays: list[Relay] = []
        self.cleanups: list[Any] = []
        self.raw_count = 0
        self.start: Callable[[str], Awaitable[Puppet]] | None = None
        self._raw_capture: Capture | None = None
        self._raw_roles: set[str] = set()
        self._waiting: list[_Awaited] = []
        self._cut_short: list[tuple[float, _Awaited]] = []
        if client is not None:
            self.client = Side("client", client, self)
        if server is not None:
            self.server = Side("server", server, self)
        self.sides = [getattr(self, role) for role in ("client", "server") if hasattr(self, role)]

    # -- words for cases

    @property
    def secure(self) -> bool:
        """Whether this cell is a secure one."""
        return self.security == "secure"

    @property
    def relay(self) -> Relay:
        """The relay of this case's first server."""
        return self.relays[0]

    def offer(self, user: str, passphrase: str) -> None:
        """Note that a client says hello with these, so that its boxes in the recording can be opened, accepted or
        not."""
        if passphrase not in self.offered.values():
            self.offered[user if user not in self.offered else f"{user} ({len(self.offered) + 1})"] = passphrase

    def new_name(self) -> str:
        """A short word that no other case of this run has."""
        return f"s{next(Play._names)}"

    def problem(self, what: str, sentence: str = "") -> None:
        """Note something wrong that no line of the case checks. The case fails at its end."""
        self.problems.append(Failure(what, sentence=sentence))

    def touch(self) -> None:
        """Something came from a puppet: the case makes progress."""
        self.touched = time.monotonic()

    @contextlib.contextmanager
    def waiting(self, what: str | Callable[[], str], sentence: str = "") -> Iterator[None]:
        """Remember what the case waits for, and which sentence promises it, for the text of a time-out."""
        entry = (what, sentence)
        self._waiting.append(entry)
        try:
            yield
        except asyncio.CancelledError:
            self._cut_short.append((time.monotonic(), entry))
            raise
        finally:
            self._waiting.remove(entry)

    def waited_for(self) -> tuple[str, str]:
        """What the case waits for, or waited for when it was cut short a moment ago; and the broken sentence's name."""
        since = time.monotonic() - 1.0
        entries = (self._waiting + [entry for when, entry in self._cut_short if when > since])[-3:]
        each = (what if isinstance(what, str) else what() for what, _ in entries)
        words = "; ".join(dict.fromkeys(each)) or "nothing in particular"
        sentences = {sentence for _, sentence in entries}
        return words, sentences.pop() if len(sentences) == 1 else ""

    @contextlib.contextmanager
    def trying(self, datum: Any = None, *, where: str = "") -> Iterator[None]:
        """Add to a failure in this block which of a case's many values it is about, or where in a conversation it
        is."""
        what = where or f"with {written(datum)}"
        with self.waiting(what):
            try:
                yield
            except Failure as failure:
                failure.problem += f", {what}"
                raise

    def need(self, *features: str) -> None:
        """End the case as unsupported unless both puppets have these features.

        Raises:
            Unsupported: one has not.
        """
        for side in (self.client, self.server):
            for feature in features:
                if feature not in side.puppet.features:
                    raise Unsupported(f"{side.puppet.peer} lacks the feature {feature}")

    async def serve(self, *, users: Any = _USE_DEFAULT, backlog: int = 10, address: Any = None) -> Served:
        """Start a server, with the relay before it unless the case is direct."""
        served = await self.server.listen(address, users=users, backlog=backlog)
        if served.users:
            self.secrets.update({u: p for u, p in served.users.items() if p is not None})
        if self.direct:
            served.address = served.seen_from(self.client)
        else:
            await self.relay_to(served)
        return served

    async def relay_to(self, served: Served) -> Relay:
        """Put a relay before a server."""
        client = self.client.puppet.running
        capture = self.capture if not self.relays else Capture(self.transport, limit=MOST_RECORDED)
        relay = Relay(
            client.relay_address(self.transport, self.new_name()),
            self.server.puppet.running.from_runner(served.bound),
            capture,
            follow=False,
        )
        await relay.start()
        self.relays.append(relay)
        served.relay = relay
        served.address = client.to_runner(relay.address)
        return relay

    async def connect(self, served: Served, user: Any = _USE_DEFAULT, passphrase: Any = _USE_DEFAULT) -> Conn:
        """Connect the client to a server."""
        if user is not _USE_DEFAULT and user is not None and passphrase is not None:
            self.secrets.setdefault(user, passphrase)
        return await self.client.connect(served.address, user, passphrase)

    async def pair(self, served: Served | None = None) -> tuple[Conn, Conn]:
        """A connection to a server, by default a new one, and its other end: (the client's, the server's)."""
        if served is None:
            served = await self.serve()
        mine = await self.connect(served)
        theirs = await served.opened()
        return mine, theirs

    async def in_flight(self, conn: Conn, datum: Any) -> asyncio.Future[Any]:
        """Begin a request, and return once the other end has read it: its handler runs, and the answer has not come
        yet.

        The future is cancelled at the end of the case.
        """
        source, relay = conn.side.role, self.relay
        before = relay.seen[source]
        request = self.spawn(conn.request(datum))
        with self.waiting(f"the {source}'s request on the wire"):
            await relay.more_from(source, before)
        # Packets keep their order: when this one is answered, the one before it has been read.
        await conn.echo("the one before has been read")
        return request

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Start something in the background. It is cancelled when the case ends, if it still runs.

        You may await the future for its value or its exception, but need not.
        """
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.cleanups.append(lambda: _cancelled(task))
        return task

    async def another(self, role: str) -> Side:
        """Start another puppet of the peer that plays this role. It ends with the case.

        Raises:
            PuppetFault: it does not start.
        """
        if self.start is None:
            raise Unsupported("no further puppet can be started here")
        with self.waiting(f"another puppet of the {role}"):
            puppet = await self.start(role)
        side = Side(role, puppet, self)
        self.sides.append(side)
        return side

    def raw_capture(self, role: str) -> Capture:
        """A tap for the bytes of a connection in which the runner is one end, in this role.

        It is separate from a relay's tap, so that connections do not share their numbers.
        """
        if len(self.sides) < 2:
            return self.capture
        self._raw_roles.add(role)
        self._raw_capture = self._raw_capture or Capture(self.transport, limit=MOST_RECORDED)
        return self._raw_capture

    def recorded(self) -> list[tuple[Capture, set[str]]]:
        """Everything that was recorded, and the roles of puppets in it."""
        roles = {side.role for side in self.sides}
        captures = dict.fromkeys([self.capture, *(relay.capture for relay in self.relays)])
        found = [(capture, roles) for capture in captures]
        return found + ([(self._raw_capture, roles - self._raw_roles)] if self._raw_capture else [])

    def conversation(self, number: int = 1) -> Conversation:
        """The conversation over a connection of the first relay, taken apart. Numbers begin at 1."""
        return Conversation(self.capture, number, self.profile, self.secrets if self.secure else {})

    async def fails(self, request: Awaitable[Any], *kinds: type[Refused], why: str) -> Refused:
        """Check that something fails in one of the given ways.

        Raises:
            Failure: it succeeds, or fails in another way.
        """
        expected = " or ".join(kind.tag for kind in kinds)
        try:
            value = await request
        except kinds as refusal:
            return refusal
        except Refused as refusal:
            raise Failure(why, expected=expected, actual=f'{refusal.tag} "{refusal.message[:300]}"') from None
        raise Failure(why, expected=expected, actual=f"success: {show(value)}")

    def equal(self, actual: Any, expected: Any, what: str) -> None:
        """Check that two datums are the same.

        Raises:
            Failure: they are not.
        """
        if not same(actual, expected):
            raise Failure(what, expected=show(expected), actual=show(actual))

    def check(self, condition: bool, problem: str, *, expected: str = "", actual: str = "", sentence: str = "") -> None:
        """Check that something holds. For the arguments see `Failure`.

        Raises:
            Failure: it does not.
        """
        if not condition:
            raise Failure(problem, expected=expected, actual=actual, sentence=sentence)

    async def have_opened(self, served: Served, count: int, problem: str) -> None:
        """Check how many connections a server has opened, once it has told of all of them.

        Raises:
            Failure: there are more, or fewer.
        """
        await self.server.settle()
        opened = len(served.connections)
        self.check(opened == count, problem, expected=f"{count} opened connections", actual=str(opened))

    async def until(self, condition: Callable[[], bool], problem: str, actual: Callable[[], str]) -> None:
        """Wait until something holds that no event reports.

        Raises:
            Failure: it does not, in time.
        """

        async def watch() -> None:
            while not condition():
                await asyncio.sleep(0.05)

        try:
            await self.timed(watch(), self.patience)
        except asyncio.TimeoutError:
            raise Failure(problem, actual=actual()) from None

    async def within(self, seconds: float, work: Awaitable[T], what: str, sentence: str = "") -> T:
        """Await something that must not take longer.

        Args:
            seconds: how long.
            work: what is awaited.
            what: what it is, in words.
            sentence: the name of the sentence that is broken if it takes longer.

        Raises:
            Failure: it does.
        """
        seconds = min(seconds, self.patience) if seconds <= PATIENCE else seconds
        try:
            return await self.timed(work, seconds)
        except asyncio.TimeoutError:
            raise (Missing if seconds >= self.patience else Failure)(
                f"{what} took too long", expected=f"it within {seconds:.3g} s", actual="nothing yet", sentence=sentence
            ) from None

    async def slowness(self) -> float:
        """How many times slower the puppets answer now than on an idle machine: from 1 to `SLOWEST`.

        It measures a round trip through each of them. So it does not matter what slows them down: the runner, another
        program, or work of the puppet itself for another case.
        """
        return max(1.0, min(SLOWEST, await self.pulse() / PROMPT))

    async def pulse(self) -> float:
        """Seconds that the slowest of the puppets takes to answer now."""
        took = await asyncio.gather(*(side.puppet.pulse() for side in self.sides))
        return max((each for each in took if each is not None), default=0.0)

    async def timed(self, work: Awaitable[T], seconds: float, *, grace: float = 0.0) -> T:
        """Await something for so many seconds, longer where the puppets are slow; then cancel it.

        Args:
            work: what to await.
            seconds: on a machine that is not busy.
            grace: it may go on, up to `SLOWEST` times as long, while the last sign from a puppet is not older than so
                many
            seconds: a case that makes progress is slow, and not stuck.

        Raises:
            asyncio.TimeoutError: it takes longer.
        """
        task = asyncio.ensure_future(work)
        start = time.monotonic()
        limit = _Limit(seconds, self.slowness)
        try:
            await asyncio.wait({task}, timeout=seconds)
            while not task.done():
                rest = await limit.rest()
                if grace and time.monotonic() < start + seconds * SLOWEST:
                    rest = max(rest, self.touched + grace - time.monotonic())
                if task.done():
                    break
                if rest <= 0:
                    raise asyncio.TimeoutError
                await asyncio.wait({task}, timeout=rest)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            elif not task.cancelled():
                task.exception()  # others who wait were told of it, or were cancelled in the meantime

    def other(self, conn: Conn) -> Side:
        """The side at the other end of a connection."""
        return self.server if conn.side.role == "client" else self.client

    def rendezvous(self, conn: Conn | None = None, milliseconds: int = SLEEPS[-1]) -> Rendezvous:
        """Where handlers wait until the case releases them.

        Args:
            conn: the handlers are at its other end; by default they are those of the only puppet.
            milliseconds: how long they sleep if they cannot wait.
        """
        return Rendezvous(self.sides[0] if conn is None else self.other(conn), self.new_name(), milliseconds)

    def attempts(self, conn: Conn, sleeps: Sequence[int] = SLEEPS) -> Iterator[Rendezvous]:
        """For a case that depends on order: one rendezvous that ensures the order, or several that sleep longer and
        longer.

        Args:
            conn: see `rendezvous`.
            sleeps: milliseconds.
        """
        for milliseconds in sleeps:
            yield (here := self.rendezvous(conn, milliseconds))
            if here.made:
                return

    async def beside_a_handler(self, conn: Conn, work: Callable[[], Coroutine[Any, Any, Any]], problem: str) -> None:
        """Check that something gets done while a handler at the other end of `conn` waits.

        Only the order counts. If handlers sleep, a slow machine may not have finished before one wakes: then another
        one sleeps longer. A faulty peer never finishes before it.

        Raises:
            Failure: it is not done.
        """
        for here in self.attempts(conn):
            held = await here.hold(conn)
            await here.beside(work(), problem)
            if not held.done():
                if here.made:
                    await here.release()
                    self.equal(await held, here.answer, "the answer of the handler that waited")
                return
        raise Failure(
            problem,
            expected="the others served while a handler waits",
            actual="the one that waited was answered first",
        )

    async def at_once(self, conn: Conn, count: int, sleeps: Sequence[int]) -> None:
        """Check that so many handlers at the other end of `conn` run at the same time, and that all of them answer.

        Args:
            conn: carries the requests.
            count: how many.
            sleeps: milliseconds, if handlers cannot wait: then all together must take less than ten times as long.

        Raises:
            Failure: they do not.
        """
        problem = f"{count} handlers at the other end of the {conn.side.role} do not run at once"
        for here in self.attempts(conn, sleeps):
            start = time.monotonic()
            requests = [self.spawn(conn.request(here.request)) for _ in range(count)]
            await here.arrived(count, problem=problem)
            if here.made:
                await here.release()
            answers = await asyncio.gather(*requests)
            took = time.monotonic() - start
            self.equal(answers, [here.answer] * count, f"the answers of {count} handlers")
            if here.made or took < 10 * here.seconds:
                return
        raise Late(problem, expected=f"about {here.seconds:g} s for all that sleep so long", actual=f"{took:.1f} s")

    async def in_time(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something for which the other side waits so long, by its own clock, and no longer.

        A failure counts if it came earlier, or if something is missing. Otherwise this machine was too slow, and the
        work is done again.

        Args:
            seconds: by the other side's clock.
            work: begins from scratch each time.

        Raises:
            Failure: it fails.
        """
        for attempt in range(TRIES):
            start = time.monotonic()
            try:
                return await work()
            except Failure as failure:
                if time.monotonic() - start < seconds or isinstance(failure, Missing):
                    raise
                if attempt == TRIES - 1:  # too slow each time: on a busy machine the case is played again, alone
                    expected, actual = failure.expected, failure.actual
                    raise Late(
                        failure.problem, expected=expected, actual=actual, sentence=failure.sentence
                    ) from failure

    async def first(self, requests: Sequence[asyncio.Future[T]]) -> asyncio.Future[T]:
        """The request that ends first.

        Raises:
            Failure: none does, in time.
        """
        await self.within(PATIENCE, asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED), "the first answer")
        return next(request for request in requests if request.done())

    @contextlib.asynccontextmanager
    async def beside(self, *work: Awaitable[Any]) -> AsyncIterator[Sequence[asyncio.Future[Any]]]:
        """Run something in the background of the `async with` block. What is left at its end is cancelled."""
        tasks = [asyncio.ensure_future(one) for one in work]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def cleanup(self) -> None:
        """End whatever the case has left behind."""
        # This comes first, since everything else may wait for handlers.
        await asyncio.gather(*(side.release_all() for side in self.sides))
        for callback in self.cleanups:
            with contextlib.suppress(OSError, PuppetFault, Failure):
                await callback()
        for relay in self.relays:
            for source in ("client", "server"):
                relay.release(source)
        await asyncio.gather(*(side.cleanup() for side in self.sides), return_exceptions=True)
        for relay in self.relays:
            await relay.stop()

    def string(self, address: Sequence[Any]) -> str:
        """An address in the documented string form."""
        return format_address(tuple(address))
