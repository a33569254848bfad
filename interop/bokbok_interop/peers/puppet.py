"""The runner's side of the puppet protocol: commands out, answers and events in, one datum on each line.

What this module knows: how commands are numbered and answered, which case an event belongs to, and what a puppet may
not do. `Running` knows where the puppet runs.

A puppet that breaks the protocol is broken for good: every command that waits for it, and every later one, raises the
same `PuppetFault`.
"""

from __future__ import annotations

import asyncio
import difflib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bokbok.errors import SexprError
from bokbok.sexpr import CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5, Symbol, dumps, loads

from ..model import Kind
from .base import PuppetFault, Running

__all__ = ["HELLO_SECONDS", "Answer", "Features", "Puppet", "Trace", "symbol_name"]

PROTOCOL = "puppet-1"
"""The version of this protocol, as a feature."""
MAX_LINE = 96 * 1024 * 1024
"""Bytes of one line: a packet of 16 MiB is at most four times as long when every byte of it is escaped."""
MAX_STRAY = 1_000
"""A puppet that writes more events about things that are over counts as flooding."""
MAX_CLOSED = 20
"""Events that one connection has closed. One is right, a few are a case's failure, more are a flood."""
MAX_OPENED = 20_000
"""Connections that a puppet's servers may open: more than any case makes."""
MAX_ARRIVED = 20_000
"""Handlers that may wait at a rendezvous: more than any case asks for."""
HELLO_SECONDS = 20.0
"""Seconds that a puppet may take to start and to answer `hello`."""
HUNG_SECONDS = 30.0
"""Seconds that it may take to answer `hello` later on, when it is busy. A puppet that takes longer is stuck."""
LEAVE_SECONDS = 3.0
"""Seconds that a puppet may live after the end of its standard output, and its output after the puppet's end."""
SHOWN = 240
"""Bytes of a line that an error message shows."""


def symbol_name(datum: Any) -> str | None:
    """The name of a symbol, `None` for anything else."""
    return datum.value() if isinstance(datum, Symbol) else None


def shown(line: bytes, limit: int = SHOWN) -> str:
    """A line as people can read it, shortened."""
    text = line[: limit + 1].decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text) or "an empty line"
    return text if len(text) <= limit else f"{text[:limit]}... ({len(line)} bytes)"


@dataclass
class Answer:
    """What a puppet answered.

    Attributes:
        tag: `ok`, `response`, `remote-error`, `network-error`, `invalid` or `unsupported`.
        values: what follows the tag.
    """

    tag: str
    values: list[Any]


@dataclass
class Trace:
    """The datums that one case and its puppets exchanged, for the evidence.

    Attributes:
        lines: (seconds since the case began, role, `>` to the puppet or `<` from it, the line).
    """

    start: float = field(default_factory=time.monotonic)
    lines: list[tuple[float, str, str, bytes]] = field(default_factory=list)
    limit: int = 4_000

    def add(self, role: str, direction: str, line: bytes) -> None:
        """Keep one line, shortened to what a person may want to see."""
        if len(self.lines) < self.limit:
            if len(line) > 4_096:
                line = line[:4_096] + b" ... (%d bytes)" % len(line)
            self.lines.append((time.monotonic() - self.start, role, direction, line))


FEATURES = frozenset(
    {PROTOCOL, "profiles", "rendezvous", "shared-hellos", "tcp", "unix", "ipv6", "secure", "insecure", "port-0"}
    | {kind.value for kind in Kind}
)
"""The features that are words of their own."""
DIALECTS = {dialect.name: dialect for dialect in (CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5)}
"""The values of the feature `dialect`, and what they stand for."""
_KEYS = ("dialect", "profile")


class Features:
    """The features that a puppet says it has.

    Attributes:
        names: the features that are words of their own.
        values: the others, by key.
        problem: why it cannot be played with these features, in words; or empty.
        warnings: what is unusual about them, one line each.
    """

    def __init__(self, datums: Sequence[Any]) -> None:
        self.names: set[str] = set()
        self.values: dict[str, str] = {}
        self.problem = ""
        self.warnings: list[str] = []
        for datum in datums:
            match datum:
                case Symbol():
                    self._add_name(datum.value())
                case [Symbol() as key, Symbol() as value]:
                    self._add_value(key.value(), value.value())
                case [Symbol() as key, *_] if key.value() in _KEYS:
                    self._wrong(f"the feature {shown(dumps(datum))} is malformed; expected ({key.value()} SYMBOL)")
                case _:
                    said = shown(dumps(datum))
                    self.warnings.append(f"the feature {said} is ignored: expected a symbol, or (KEY SYMBOL)")
        if PROTOCOL not in self.names:
            self._wrong(f"it does not claim {PROTOCOL}, the protocol that this runner speaks: {shown(dumps(datums))}")
        if self.dialect is None:
            self.warnings.append(
                "it states no dialect, so the bytes of its datums are not compared "
                f"(expected one of {', '.join(f'(dialect {name})' for name in DIALECTS)})"
            )

    def _wrong(self, problem: str) -> None:
        self.problem = self.problem or problem

    def _add_name(self, name: str) -> None:
        self.names.add(name)
        if name not in FEATURES:
            if name.startswith("puppet-"):
                self._wrong(f"the feature {name} is a protocol that this runner does not speak; expected {PROTOCOL}")
            else:
                self._unknown(name, [*FEATURES, *_KEYS])

    def _add_value(self, key: str, value: str) -> None:
        self.values[key] = value
        if key == "dialect" and value not in DIALECTS:
            near = _nearest(value, list(DIALECTS))
            self._wrong(f"the dialect {value} is unknown; expected {' or '.join(DIALECTS)}{near}")
        elif key not in _KEYS:
            self._unknown(key, [*_KEYS, *FEATURES])

    def _unknown(self, name: str, known: Sequence[str]) -> None:
        warning = f"the feature {name} is unknown, and ignored{_nearest(name, known)}"
        if warning not in self.warnings:
            self.warnings.append(warning)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def dialect(self) -> str | None:
        """`chicken-4`, `chicken-4-exact`, `chicken-5`, or `None` if it does not state one."""
        return self.values.get("dialect")

    @property
    def profile(self) -> str | None:
        """The wire profile that it speaks."""
        return self.values.get("profile")

    def words(self) -> list[str]:
        """All of them as text, sorted."""
        return sorted(self.names) + [f"({key} {value})" for key, value in sorted(self.values.items())]


def _nearest(name: str, known: Sequence[str]) -> str:
    """The known name that is most similar to this one, as the end of a sentence; or empty."""
    found = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {found[0]}?)" if found else ""


EventSink = Callable[[str, list[Any], bytes], None]
"""A function that takes an event: its name, what follows, and the line."""


class Puppet:
    """One running puppet.

    Attributes:
        running: where it runs.
        name, version: what it calls itself, after `start`.
        features: its features, after `start`.
        fault: why it cannot be used any more, or `None`.
        broke: set together with `fault`.
        expected_end: whether the runner itself ended it, while there was nothing wrong with it.
    """

    def __init__(self, running: Running) -> None:
        self.running = running
        self.name = self.version = ""
        self.features = Features([Symbol(PROTOCOL)])
        self.fault: PuppetFault | None = None
        self.broke = asyncio.Event()
        self.expected_end = False
        self._numbers = itertools.count(1)
        self._handles = itertools.count(1)
        self._waiting: dict[int, tuple[asyncio.Future[Answer], Trace | None, str]] = {}
        self._owners: dict[int | str, tuple[EventSink, Trace | None, str]] = {}
        self._abandoned: set[int] = set()
        self._stray = 0
        self._closed: Counter[int | str] = Counter()
        self._opened = self._arrived = self._connects = 0
        self._held: set[str] = set()
        self._released: set[str] = set()
        self._send_lock = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._pulse: asyncio.Future[float | None] | None = None

    @property
    def connections(self) -> int:
        """How many connections it was told to make, or has reported."""
        return self._connects + self._opened

    @property
    def peer(self) -> str:
        """The peer's name in the matrix."""
        return self.running.peer

    async def start(self, timeout: float = HELLO_SECONDS) -> Puppet:
        """Start reading, and say hello.

        Raises:
            PuppetFault: it does not answer, or does not answer as a puppet should.
        """
        self._reader = asyncio.ensure_future(self._read())
        self._watcher = asyncio.ensure_future(self._watch())
        await self.say_hello(timeout)
        return self

    async def say_hello(self, timeout: float = HELLO_SECONDS) -> None:
        """Ask for its name and its features.

        Raises:
            PuppetFault: it does not answer, or does not answer as a puppet should.
        """
        answer = await self.command("hello", timeout=timeout)
        match answer:
            case Answer("ok", [str(name), str(version), list(features)]):
                self.name, self.version, self.features = name, version, Features(features)
                if self.features.problem:
                    raise self.breaks(self.features.problem)
            case _:
                raise self.breaks(f'answered `hello` with {answer}; expected ok "name" "version" (...)')

    def breaks(self, problem: str) -> PuppetFault:
        """Give it up, because of an answer that a puppet must not give."""
        return self._break("nonsense", problem)

    def holds(self, but: str) -> bool:
        """Whether some handler waits here at another rendezvous than this one, of whatever case."""
        return bool(self._held - {but})

    def new_handle(self) -> int:
        """A handle that is not used yet."""
        return next(self._handles)

    def own(self, about: int | str, sink: EventSink, trace: Trace | None = None, role: str = "") -> None:
        """Send the events about a handle to `sink`; for a server, also those of the connections that it opens.

        Args:
            about: the handle, or the name of a rendezvous.
            sink: takes them.
            trace: takes the lines.
            role: who this puppet is in the trace.
        """
        self._owners[about] = (sink, trace, role)

    async def command(
        self, verb: str, *arguments: Any, timeout: float | None = None, trace: Trace | None = None, role: str = ""
    ) -> Answer:
        """Give a command and wait for its answer.

        Args:
            verb: `listen`, `connect`, …
            arguments: datums. `Raw`, a subclass of `bytes`, is a datum that is written already.
            timeout: seconds; after them the puppet counts as hung.
            trace: takes the lines.
            role: who this puppet is in the trace.

        Raises:
            PuppetFault: the puppet is broken, or does not answer in time.
        """
        if self.fault is not None:
            raise self.fault
        self._connects += verb == "connect"
        if verb == "signal":
            self._held.discard(arguments[0])
            self._released.add(arguments[0])
        number = next(self._numbers)
        parts = [str(number).encode(), verb.encode()]
        parts += [bytes(a) if isinstance(a, Raw) else dumps(a) for a in arguments]
        line = b"(" + b" ".join(parts) + b")"
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (future, trace, role)
        if trace is not None:
            trace.add(role, ">", line)
        sending = asyncio.ensure_future(self._send(line + b"\n"))
        try:
            if timeout is None:
                return await future
            try:
                return await asyncio.wait_for(future, timeout)
            except asyncio.TimeoutError:
                raise self._break("hung", f"did not answer {shown(line)} within {timeout:g} seconds") from None
        finally:
            if self._waiting.pop(number, None) is not None:
                # The case stopped waiting. If the answer still comes, it is dropped, and is not a fault.
                self._abandoned.add(number)
            if not sending.done():
                sending.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _send(self, line: bytes) -> None:
        async with self._send_lock:
            if self.fault is None:  # the puppet has broken in the meantime, and nobody reads the command
                await self.running.send(line)

    async def pulse(self) -> float | None:
        """Seconds that it takes to answer now; `None` if it is broken. A puppet that takes `HUNG_SECONDS` counts as
        broken."""
        if self.fault is not None:
            return None
        if self._pulse is None or self._pulse.done():  # one measurement for all who want to know
            self._pulse = asyncio.ensure_future(self._measure())
        return await asyncio.shield(self._pulse)

    async def _measure(self) -> float | None:
        start = time.monotonic()
        try:
            await self.command("hello", timeout=HUNG_SECONDS)
        except PuppetFault:
            return None
        return time.monotonic() - start

    async def close(self) -> int | None:
        """End it by the end of its standard input; kill it if it does not end."""
        self.expected_end |= self.fault is None
        try:
            return await self.running.close()
        finally:
            await self._stop_reading()

    async def kill(self) -> None:
        """Kill it."""
        self.expected_end |= self.fault is None
        try:
            await self.running.kill()
        finally:
            await self._stop_reading()

    async def _stop_reading(self) -> None:
        tasks = [task for task in (self._reader, self._watcher) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._break("crashed", "was ended by the runner")

    # -- reading

    async def _watch(self) -> None:
        """A puppet that has ended may leave a process behind that holds its output open: then the output does not
        end."""
        how = await self.running.ended()
        await asyncio.sleep(LEAVE_SECONDS)
        if self.fault is None:
            self._break("crashed", f"{how}, and something that it started holds its output open{self._last_words()}")
            await self.running.kill()

    async def _read(self) -> None:
        pending: list[bytes] = []
        size = 0
        count = 0
        try:
            while data := await self.running.receive():
                *ends, rest = data.split(b"\n")
                for end in ends:
                    pending.append(end)
                    line = b"".join(pending)
                    pending, size = [], 0
                    count += 1
                    self._line(line, count)
                    if count % 64 == 0:
                        await asyncio.sleep(0)  # a flood must not keep the others from running
                if rest:
                    pending.append(rest)
                    size += len(rest)
                    if size > MAX_LINE:
                        raise _Broken("flooded", f"wrote a line of more than {MAX_LINE >> 20} MiB")
        except _Broken as broken:
            self._break(broken.kind, broken.problem)
            await self.running.kill()
            return
        try:
            how = await asyncio.wait_for(self.running.ended(), LEAVE_SECONDS)
        except asyncio.TimeoutError:
            self._break("nonsense", "closed its standard output and lives on")
            await self.running.kill()
            return
        if size:
            how += f", in the middle of a line: {shown(b''.join(pending))}"
        self._break("crashed", how + self._last_words())

    def _last_words(self) -> str:
        words = self.running.log.text()[-2_000:].strip().splitlines()
        return f"; the last line of its log: {words[-1][:160]}" if words else "; its log is empty"

    def _line(self, line: bytes, count: int) -> None:
        try:
            datum = loads(line)
        except SexprError as error:
            raise _Broken(
                "nonsense", f"wrote a line (its {count}.) that is not a datum: {shown(line)} ({error})"
            ) from None
        match datum:
            case [int(number), tag, *values] if not isinstance(number, bool) and (name := symbol_name(tag)):
                self._answered(number, Answer(name, values), line)
            case [event, kind, *values] if symbol_name(event) == "event" and (name := symbol_name(kind)):
                self._event(name, values, line)
            case _:
                raise _Broken("nonsense", f"wrote a line that is neither an answer nor an event: {shown(line)}")

    def _answered(self, number: int, answer: Answer, line: bytes) -> None:
        entry = self._waiting.pop(number, None)
        if entry is None:
            if number in self._abandoned:
                self._abandoned.discard(number)
                return
            raise _Broken("nonsense", f"answered command {number}, which was never given or is answered: {shown(line)}")
        future, trace, role = entry
        if trace is not None:
            trace.add(role, "<", line)
        if not future.done():
            future.set_result(answer)

    def _event(self, name: str, values: list[Any], line: bytes) -> None:
        kind, what = (str, "rendezvous") if name == "awaiting" else (int, "handle")
        if not values or type(values[0]) is not kind:
            raise _Broken("nonsense", f"wrote an event without a {what}: {shown(line)}")
        owner = self._owners.get(values[0])
        if owner is None:
            raise _Broken("nonsense", f"wrote an event about {what} {values[0]}, which names nothing: {shown(line)}")
        sink, trace, role = owner
        if name == "opened":
            if len(values) != 4 or type(values[1]) is not int or values[1] >= 0:
                raise _Broken(
                    "nonsense", f"expected (event opened SERVER HANDLE USER ADDRESS), HANDLE < 0: {shown(line)}"
                )
            self._opened += 1
            if self._opened > MAX_OPENED:
                raise _Broken("flooded", f"wrote more than {MAX_OPENED} events of opened connections")
            if values[1] in self._owners:
                raise _Broken("nonsense", f"gave the handle {values[1]} to two connections: {shown(line)}")
            self._owners[values[1]] = owner
        elif name == "awaiting":
            self._arrived += 1
            if (here := str(values[0])) not in self._released:
                self._held.add(here)
            if self._arrived > MAX_ARRIVED:
                raise _Broken("flooded", f"wrote more than {MAX_ARRIVED} events of handlers that wait")
        else:
            self._closed[values[0]] += 1
            if self._closed[values[0]] > MAX_CLOSED:
                raise _Broken("flooded", f"wrote more than {MAX_CLOSED} events about one connection: {shown(line)}")
        if trace is not None:
            trace.add(role, "<", line)
        sink(name, values, line)

    def stray(self) -> None:
        """Count an event that came after its case was over."""
        self._stray += 1
        if self._stray > MAX_STRAY:
            raise _Broken("flooded", f"wrote more than {MAX_STRAY} events about things that were over")

    def _break(self, kind: str, problem: str) -> PuppetFault:
        if self.fault is None:
            self.fault = PuppetFault(self.peer, kind, problem)
            self.broke.set()
        for future, _, _ in self._waiting.values():
            if not future.done():
                future.set_exception(self.fault)
                future.exception()  # a case that waits has it already; if none waits, it is not an error
        self._waiting.clear()
        return self.fault

    def declare_hung(self, problem: str) -> None:
        """Give it up."""
        self._break("hung", problem)


class Raw(bytes):
    """A datum that is written already, and becomes part of a command as it is. It must not contain a line feed."""


class _Broken(Exception):
    def __init__(self, kind: str, problem: str) -> None:
        self.kind = kind
        self.problem = problem
