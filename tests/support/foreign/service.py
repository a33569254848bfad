"""The conformance service: what a foreign peer answers, on either side of a connection.

A handler is a generator that yields `Ask` to make a request over the same connection and `Pause` to wait; what it
returns is the answer, a `Failed` that it raises an error. It knows requests and answers, nothing of formats.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from .sexpr import EOF, Char, Datum, Dotted, Keyword, Numbers, Symbol, from_bytes, write


class Failed(Exception):
    """A handler's error; its text travels."""


@dataclass(frozen=True)
class Ask:
    """Make this request; the answer comes back, or `Failed` is raised."""

    datum: Datum


@dataclass(frozen=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Later:
    """Make these requests, with a pause before each, once the answer has been given."""

    datums: tuple
    seconds: float


class Unwritable:
    """A value that has no external representation."""


CLOSE = object()
"""What a handler yields to close the connection."""

Handler = Generator[Any, Any, Datum]


@dataclass
class Service:
    """One program's service.

    Args:
        unspecified: what a procedure that returns nothing puts on the wire: `None` is written `()`.
        callback_pause: seconds before each of the demo's three callbacks.
    """

    unspecified: Datum = None
    callback_pause: float = 0.01
    counts: dict[str, int] = field(default_factory=dict)

    def handle(self, request: Datum, user: str | None, role: str) -> Handler:
        """The handler of a request."""
        name, *arguments = request if isinstance(request, list) and request else [None]
        if isinstance(name, str):
            handler = getattr(self, f"_{name}_{len(arguments)}".replace("-", "_"), None)
            if handler is not None:
                return handler(*arguments, user=user, role=role)  # type: ignore[no-any-return]
        return self._unknown(request)

    def _unknown(self, request: Datum) -> Handler:
        yield from ()
        raise Failed(f"unrecognised request: {from_bytes(write(request, 'chicken-5'))}")

    def _echo_1(self, value: Datum, **_: Any) -> Handler:
        yield from ()
        return value

    def _ping_1(self, value: Datum, **_: Any) -> Handler:
        yield from ()
        return ["pong", value]

    def _sleep_2(self, milliseconds: Any, value: Datum, **_: Any) -> Handler:
        yield Pause(milliseconds / 1000)
        return value

    def _count_1(self, name: Any, **_: Any) -> Handler:
        yield from ()
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.counts[name]

    def _fail_1(self, text: Any, **_: Any) -> Handler:
        yield from ()
        raise Failed(text if isinstance(text, str) else from_bytes(write(text, "chicken-5")))

    def _raise_1(self, value: Datum, **_: Any) -> Handler:
        yield from ()
        raise Failed(from_bytes(write(value, "chicken-5")))

    def _callback_2(self, count: Any, value: Datum, **_: Any) -> Handler:
        answers: list[Datum] = []
        for index in range(count):
            answers.append((yield Ask(["echo", [index, value]])))
        return answers

    def _relay_2(self, count: Any, value: Datum, **_: Any) -> Handler:
        if not count:
            return value
        answer: Datum = yield Ask(["relay", count - 1, value])
        return answer

    def _whoami_0(self, user: str | None, **_: Any) -> Handler:
        yield from ()
        return user if user is not None else False

    def _type_1(self, value: Datum, **_: Any) -> Handler:
        yield from ()
        return type_name(value)

    def _unspecified_0(self, **_: Any) -> Handler:
        yield from ()
        return self.unspecified

    def _unwritable_0(self, **_: Any) -> Handler:
        yield from ()
        return Unwritable()  # type: ignore[return-value]

    def _close_0(self, **_: Any) -> Handler:
        yield CLOSE
        return None

    # The egg's demo: the server answers ("asynch") at once and then calls back three times.

    def _asynch_0(self, **_: Any) -> Handler:
        callbacks = tuple(["callback", str(number)] for number in (1, 2, 3))
        yield Later(callbacks, self.callback_pause)
        return self.unspecified

    def _callback_1(self, number: Datum, role: str, **_: Any) -> Handler:
        yield from ()
        return self.unspecified


def type_name(value: Datum) -> str:
    """The name of a datum's type."""
    if value is None or value == []:
        return "null"
    names: list[tuple[Any, str]] = [
        (bool, "boolean"),
        (int, "fixnum"),
        (float, "flonum"),
        (str, "string"),
        (bytes, "blob"),
        (list, "list"),
        (tuple, "vector"),
        (Symbol, "symbol"),
        (Keyword, "keyword"),
        (Char, "char"),
        (Dotted, "pair"),
    ]
    for cls, name in names:
        if isinstance(value, cls):
            return name
    if isinstance(value, Numbers):
        return f"{value.tag}vector"
    return "eof" if value is EOF else "unknown"
