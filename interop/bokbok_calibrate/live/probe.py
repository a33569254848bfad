"""Calibrating with only a server: it is asked in one format after another until it answers.

What this module knows: which formats are likely, and what follows from how long a server keeps the connection open with
a format. Each layer is varied by itself before two are varied together. If a server stays open after a hello and closes
at the request, everything except the messages is very likely right, and the messages are varied at once. `solve` finds
a format from bytes.

Workers may make the connections. Then the next formats are tried while a server is still thinking about this one; the
order in which they count is the same.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import itertools
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bokbok.errors import BokbokError
from bokbok.wire import Closed, ErrorReceived, Profile, ResponseReceived
from bokbok.wire.boxes import Counted, Sent
from bokbok.wire.derivation import DERIVATIONS, Derivation
from bokbok.wire.framing import Datums, IntegerLength, Lines, TextLength
from bokbok.wire.hello import Field, Template, TemplateHello
from bokbok.wire.messages import BinaryHeader, Shapes
from bokbok.wire.packets import PacketForm
from bokbok_traffic.capture import CLIENT, SERVER, Capture, RecordingWriter
from bokbok_traffic.streams import open_stream

from ..conversation import connection, serve_one
from ..derivation import Secrets
from .listen import key_of

if TYPE_CHECKING:
    from bokbok_workers.workers import Workers  # imports Dask, which is an extra

__all__ = ["Probe", "candidates"]

_CONNECT = 5.0
_SILENCE = 0.6
"""Seconds of silence after which a server is assumed to send nothing more."""
_SETTLED = 0.3
"""Seconds after which a server that has not closed is assumed to have accepted a hello, or to wait for more of it."""
_READ = 1 << 16

ANSWERED, NONSENSE, SILENT, AFTER_REQUEST, AFTER_HELLO, UNREACHABLE = (
    "answered", "said something else", "stayed open and silent", "closed after the request", "closed after the hello",
    "cannot be reached",
)  # fmt: skip
"""How far a server got with a format."""


_TOLD_OF = 25
"""Progress is shown after so many connections."""

Chosen = tuple[int, ...]
"""For each layer the index of its strategy. Messages are the last layer."""


def candidates(secrets: Secrets) -> Iterator[tuple[Chosen, Profile]]:
    """Formats in order of likelihood: the default, then what differs from it in one layer, then in two, …"""
    layers = _layers(secrets)
    spans = [len(layer) for layer in layers.values()]
    ranked: list[tuple[int, Chosen]] = []
    for differing in range(_MOST_DIFFERING + 1):
        for places in itertools.combinations(range(len(spans)), differing):
            for indices in itertools.product(*(range(1, spans[place]) for place in places)):
                chosen = [0] * len(spans)
                for place, index in zip(places, indices, strict=True):
                    chosen[place] = index
                ranked.append((sum(index and 3 + index for index in chosen), tuple(chosen)))
    for _, whole in sorted(ranked):
        profile = _built(layers, whole, secrets)
        if profile is not None:
            yield whole, profile


def _with_other_messages(secrets: Secrets, chosen: Chosen) -> Iterator[tuple[Chosen, Profile]]:
    """The same layers below, with all possible messages."""
    layers = _layers(secrets)
    for index in range(len(layers["messages"])):
        whole = (*chosen[:-1], index)
        profile = _built(layers, whole, secrets)
        if profile is not None:
            yield whole, profile


_MOST_DIFFERING = 3


def _layers(secrets: Secrets) -> dict[str, list[Any]]:
    """The strategies of each layer, the likeliest first. Messages are the last layer."""
    framings = [
        IntegerLength(), IntegerLength("u16-be"), Datums(b"\n"), IntegerLength("u32-le"),
        TextLength(10, ending=b"\n"), TextLength(10, ending=b":", trailer=b","), IntegerLength("u64-be"),
        IntegerLength("u16-le"), IntegerLength("leb128"), IntegerLength("u32-be", own=True),
        TextLength(10, ending=b" "), TextLength(10, ending=b":"), TextLength(16, ending=b"\n"),
        Datums(b""), Lines(), IntegerLength("u8"),
        IntegerLength("u64-le"), IntegerLength("u16-be", own=True),
    ]  # fmt: skip
    tags = [
        ("request", "response", "error"), ("req", "res", "err"), ("call", "return", "error"),
        ("request", "reply", "error"), ("ask", "answer", "error"), ("q", "a", "e"), ("call", "return", "raise"),
        ("call", "result", "error"),
    ]  # fmt: skip
    forms = ["({} ID DATUM)", "({} ID . DATUM)", "#({} ID DATUM)", "(ID {} DATUM)", "({}: ID DATUM)", '("{}" ID DATUM)']
    messages: list[Any] = []
    pairs = itertools.product(range(len(forms)), range(len(tags)))
    for form, names in sorted(pairs, key=sum):
        request, response, error = (forms[form].replace("{}", name) for name in tags[names])
        messages.append(Shapes(request, response, error.replace("DATUM", "MESSAGE")))
    messages[2:2] = [replace(messages[0], first_id=1, server_first_id=1), BinaryHeader(b"\0", b"\1", b"\2")]
    messages += [BinaryHeader(), replace(messages[0], payload="string")]
    if not secrets.secure:
        return {"framing": framings, "messages": messages}
    derivations = [Derivation(name) for name in DERIVATIONS] if secrets.key is None else [Derivation()]
    order = ("sha512-first-32", "sha256", "sha512-last-32", "padded", "sha512-twice")
    derivations.sort(key=lambda one: order.index(one.name) if one.name in order else len(order))
    nonces: list[Any] = [
        Sent(), Sent("behind", "behind"), Sent("front", "zero"), Counted("key", client=1, server=1, key="front"),
        Counted(client=1, key="counter"), Counted(key="zero"), Counted(order="little", client=1, key="counter"),
        Counted("key", "little", client=1, server=1, key="front"), Counted("key", client=1, server=0, key="front"),
    ]  # fmt: skip
    return {
        "framing": framings,
        "derivation": derivations,
        "encoding": ["raw", "blob", "base64", "hex", "u8vector", "string"],
        "nonces": nonces,
        "hello": ["two packets", "one packet", "list", "name as string", "alist", "hello list"],
        "content": [
            Template((Field("key"),)),
            Template((Field("key", "blob"),)),
            Template((Field("key", "u8vector"),)),
        ],
        "messages": messages,
    }


def _built(layers: dict[str, list[Any]], chosen: Chosen, secrets: Secrets) -> Profile | None:
    """A profile of these strategies; `None` if they do not fit together."""
    options = {name: layer[index] for (name, layer), index in zip(layers.items(), chosen, strict=True)}
    framing, encoding = options["framing"], options.get("encoding", "raw")
    textual = isinstance(framing, (Datums, Lines))
    if not secrets.secure:
        if textual and isinstance(options["messages"], BinaryHeader):
            return None
        return Profile("probed", framing=framing, messages=options["messages"])
    if textual and encoding == "raw":
        encoding = "blob"  # as `write` prints bytes
    if isinstance(framing, Lines) and encoding in ("string", "u8vector"):
        return None
    form = "quoted-" + encoding if textual and encoding in ("hex", "base64") else encoding
    key, user = Field("key", form), Field("user", "string" if textual else "raw")
    listed = Field("key", "blob" if form in ("raw", "hex", "base64") else form)
    name = Field("user", "string")
    hellos: dict[str, tuple[Template, ...]] = {
        "two packets": (Template((user,)), Template((key,))),
        "one packet": (Template((Field("user", "u8"), key)),),
        "list": (Template((b"(", name, b" ", listed, b")")),),
        "name as string": (Template((name,)), Template((key,))),
        "alist": (Template((b"((user . ", name, b") (key . ", listed, b"))")),),
        "hello list": (Template((b"(hello ", name, b" ", listed, b")")),),
    }
    packets = hellos[options["hello"]]
    if textual and options["hello"] == "one packet":
        return None
    return Profile(
            "probed", framing=framing, messages=options["messages"], key_derivation=options["derivation"],
            nonces=options["nonces"], packets=PacketForm(form), hello=TemplateHello(packets, options["content"]),
        )  # fmt: skip


async def attempt(
    address: Any, profile: Profile, secrets: Secrets, add: Callable[[float, str, bytes], None]
) -> tuple[str, str]:
    """One connection: the hello, a request, and, if that is answered, one that fails.

    Args:
        address: the server's address.
        profile: the format.
        secrets: what is known about the client that this side plays.
        add: called with what is sent and received: seconds, direction, bytes.

    Returns:
        How far it got, and why the server could not be reached, if it could not.
    """
    try:
        reader, writer = await asyncio.wait_for(open_stream(address), _CONNECT)
    except (OSError, asyncio.TimeoutError) as error:
        return UNREACHABLE, getattr(error, "strerror", None) or str(error) or f"no connection in {_CONNECT:g} s"
    try:
        return await _ask(profile, secrets, reader, writer, add), ""
    except (BokbokError, ValueError):
        return NONSENSE, ""
    finally:
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1)


async def _ask(
    profile: Profile,
    secrets: Secrets,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    add: Callable[[float, str, bytes], None],
) -> str:
    begin = time.monotonic()

    async def send(data: bytes) -> None:
        if data:
            add(time.monotonic() - begin, CLIENT, data)
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                await writer.drain()

    async def receive(seconds: float) -> bytes | None:
        """The bytes that come; empty at the end of file, `None` if nothing comes."""
        try:
            data = await asyncio.wait_for(reader.read(_READ), seconds)
        except asyncio.TimeoutError:
            return None
        except ConnectionError:
            return b""
        if data:
            add(time.monotonic() - begin, SERVER, data)
        return data

    user = None if secrets.user is None else secrets.user.decode("utf-8", "surrogateescape")
    credentials: dict[str, Any] = {} if user is None else {"user": user, "key": key_of(profile, secrets)}
    side = connection("client", profile=profile, **credentials)
    if secrets.secure:
        # First only the hello: a server that does not understand it closes.
        await send(side.data_to_send())
        data = await receive(_SETTLED)
        if data == b"":
            return AFTER_HELLO
    else:
        data = None
    service = serve_one(side)
    side.request(["ping", "12345"])
    await send(side.data_to_send())
    asked = False
    while True:
        data = data or await receive(_SILENCE)
        if data is None:
            return SILENT
        if not data:
            return AFTER_REQUEST
        for event in side.receive(data):
            if isinstance(event, Closed):
                return NONSENSE
            if isinstance(event, (ResponseReceived, ErrorReceived)) and not asked:
                # A second request, and one that fails, so that an error is recorded, too.
                asked = True
                side.request(["fail", "marker of a failure"])
            elif not service.take(event) and asked:
                return ANSWERED
        data = None
        await send(side.data_to_send())


def attempt_there(
    address: Any, chosen: Chosen, secrets: Secrets
) -> tuple[str, str, str, list[tuple[float, str, bytes]]]:
    """`attempt` on a worker.

    Returns:
        As `attempt`, on which machine it was, and what was sent and received.
    """
    profile = _built(_layers(secrets), chosen, secrets)
    assert profile is not None
    said: list[tuple[float, str, bytes]] = []
    how, problem = asyncio.run(attempt(address, profile, secrets, lambda *one: said.append(one)))
    return how, problem, socket.gethostname(), said


@dataclass
class Probe:
    """Speaks to a server in one format after another.

    Args:
        secrets: what is known about the client that this side plays.
        say: called with lines about progress.
        record: opens a new file for the recording of a connection. It is called each time the server sends something on
            a connection, so that the last such connection is kept.
        workers: make the connections, if given: the server must be reachable from each of them.

    Attributes:
        capture: the recording of the connection that was answered; an empty one if none was.
        tried: how many connections were made.
        ways: how many of them got how far.
        furthest: the format with which a server stayed open, if there is one.
        problem: why the server could not be reached, if it could not.
    """

    secrets: Secrets
    say: Callable[[str], None]
    record: Callable[[], RecordingWriter] | None = None
    workers: Workers | None = None
    capture: Capture = field(default_factory=lambda: Capture("tcp"))
    tried: int = 0
    ways: collections.Counter[str] = field(default_factory=collections.Counter)
    furthest: Profile | None = None
    problem: str = ""

    async def run(self, address: Any, pause: float, most: int) -> Capture:
        """Try until it answers.

        Args:
            address: the server's address.
            pause: seconds between two connections; between their beginnings, if workers make them.
            most: the most connections to make.

        Raises:
            OSError: the server cannot be reached at all.
            WorkersError: workers make the connections, and are gone.
        """
        try:
            await self._all(address, pause, most)
        except asyncio.CancelledError:
            self.say("ended early")
        return self.capture

    async def _all(self, address: Any, pause: float, most: int) -> None:
        hurried = None if self.workers is None else _Hurried(self.workers, address, self.secrets, pause)
        try:
            await self._each(address, pause, most, hurried)
        finally:
            if hurried:
                await hurried.end()

    async def _each(self, address: Any, pause: float, most: int, hurried: _Hurried | None) -> None:
        plan = _Plan(self.secrets)
        while self.tried < most:
            one = plan.next()
            if one is None:
                break
            chosen, profile = one
            capture = Capture(str(address[0]))
            if hurried:
                hurried.begin([one, *plan.coming(min(hurried.room, most - self.tried) - 1)])
            elif self.tried:
                await asyncio.sleep(pause)
            self.tried += 1
            add = functools.partial(self._add, capture)
            if hurried:
                how, self.problem, said = await hurried.result(profile)
                for sent in said:
                    add(*sent)
            else:
                how, self.problem = await attempt(address, profile, self.secrets, add)
            self.ways[how] += 1
            if self.tried % _TOLD_OF == 0:
                self.say(next(self.notes()))
            if how == ANSWERED:
                self.say(f"after {self.tried} connections: an answer")
                self.capture = capture
                break
            if how == UNREACHABLE:
                if self.tried == 1:
                    raise OSError(f"the server cannot be reached: {self.problem}")
                self.say(f"the server cannot be reached any more: {self.problem}")
                break
            if how == AFTER_HELLO:
                plan.refused.add(chosen[:-1])
            elif how in (AFTER_REQUEST, NONSENSE) and self.secrets.secure and plan.vary(chosen):
                self.furthest = self.furthest or profile
                self.say(f"connection {self.tried}: a hello was accepted, the request was not; messages are varied")
        if hurried and hurried.made > self.tried:
            self.say(f"begun ahead, and not needed: {hurried.made - self.tried} more")
        if not self.ways[ANSWERED] and not self.ways[UNREACHABLE]:
            self.say(f"{self.tried} connections, no answer")

    def _add(self, capture: Capture, t: float, source: str, data: bytes) -> None:
        if source == SERVER and self.record is not None and not capture.length(1, SERVER):
            capture.keep(self.record())
        capture.add(t, 1, source, data)

    def notes(self) -> Iterator[str]:
        """How far the tries got, for a report."""
        if self.tried:
            ways = ", ".join(f"{count} {how}" for how, count in self.ways.most_common())
            yield f"{self.tried} connection{'s' * (self.tried > 1)}: {ways}"
        if self.ways[UNREACHABLE]:
            return
        if self.furthest is not None and not self.ways[ANSWERED]:
            proven = self.furthest
            yield (
                "the server stayed open after a hello and left at the request: framing, key, box, nonce and hello may "
                f"be right, and only the messages not: {proven.framing.words()}; {proven.key_derivation.words()}; "
                f"{proven.nonces.words()}; not {proven.messages.words()}"
            )
        if not self.ways[ANSWERED]:
            yield "a client that speaks to this server would show its format: record it (calibrate proxy, or a pcap)"


class _Plan:
    """Which format comes next.

    Attributes:
        refused: the layers below the messages with which the server has closed after the hello.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._usual = candidates(secrets)
        self._first: collections.deque[tuple[Chosen, Profile]] = collections.deque()
        self._then: collections.deque[tuple[Chosen, Profile]] = collections.deque()
        self._varied: set[Chosen] = set()
        self._done: set[Profile] = set()
        self.refused: set[Chosen] = set()

    def _is_left(self, one: tuple[Chosen, Profile]) -> bool:
        return one[0][:-1] not in self.refused and one[1] not in self._done

    def next(self) -> tuple[Chosen, Profile] | None:
        """The next format, which is then done."""
        while True:
            queue = self._first or self._then
            one = queue.popleft() if queue else next(self._usual, None)
            if one is None:
                return None
            if self._is_left(one):
                self._done.add(one[1])
                return one

    def coming(self, most: int) -> list[tuple[Chosen, Profile]]:
        """The formats that come next if nothing new is found out."""
        out = list(itertools.islice(filter(self._is_left, [*self._first, *self._then]), max(0, most)))
        while len(out) < most and (one := next(self._usual, None)) is not None:
            self._then.append(one)
            out += filter(self._is_left, [one])
        return out

    def vary(self, chosen: Chosen) -> bool:
        """Have all possible messages come next, over the same layers below. False if they did already."""
        if chosen[:-1] in self._varied:
            return False
        self._varied.add(chosen[:-1])
        self._first.extend(_with_other_messages(self._secrets, chosen))
        return True


class _Hurried:
    """Connections that workers make, some of them ahead.

    Args:
        workers: the workers. Each must reach the server.
        address: the server's address, as a worker sees it.
        secrets: what is known about the client that is played.
        pause: seconds between the beginnings of two connections.

    Attributes:
        made: how many connections have begun.
    """

    def __init__(self, workers: Workers, address: Any, secrets: Secrets, pause: float) -> None:
        self._workers, self._address, self._secrets, self._pause = workers, address, secrets, pause
        self._under_way: dict[Profile, asyncio.Future[Any]] = {}
        self._next = time.monotonic()
        self.made = 0

    @property
    def room(self) -> int:
        """How many connections it is worth having under way."""
        return self._workers.room

    def begin(self, coming: Iterable[tuple[Chosen, Profile]]) -> None:
        """Try these formats, one pause after another, unless they are tried already."""
        for chosen, profile in coming:
            if profile not in self._under_way:
                self._next = max(time.monotonic(), self._next)
                self._under_way[profile] = asyncio.ensure_future(self._made(chosen, self._next - time.monotonic()))
                self._next += self._pause

    async def _made(self, chosen: Chosen, seconds: float) -> Any:
        await asyncio.sleep(seconds)
        self.made += 1
        return await asyncio.wrap_future(self._workers.submit(attempt_there, self._address, chosen, self._secrets))

    async def result(self, profile: Profile) -> tuple[str, str, list[tuple[float, str, bytes]]]:
        """What became of a format that was begun."""
        how, problem, host, said = await self._under_way.pop(profile)
        return how, f"{problem} (from the worker on {host})" if problem else "", said

    async def end(self) -> None:
        """End what is under way."""
        for one in self._under_way.values():
            one.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
