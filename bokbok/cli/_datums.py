"""Datums from arguments and from standard input: where each begins and ends."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import SexprError
from ..sexpr import Dialect, Reader, dumps, loads
from ._exit import Failure, Status
from ._text import printable

__all__ = ["STDIN", "check_writable", "parse_arguments", "read_stdin"]

_READ = 64 * 1024
_EXCERPT = 60  # characters of an argument that an error repeats


class _Stdin:
    """The type of `STDIN`."""


STDIN = _Stdin()
"""Stands for the datums of standard input among those of the arguments."""


def parse_arguments(arguments: Sequence[str], dialect: Dialect) -> list[Any]:
    """Read one datum from each argument; `-` becomes `STDIN`.

    Raises:
        Failure: one of them is not a datum, or cannot be sent in this dialect.
    """
    datums: list[Any] = []
    for number, argument in enumerate(arguments, start=1):
        if argument == "-":
            datums.append(STDIN)
            continue
        excerpt = argument if len(argument) <= _EXCERPT else argument[: _EXCERPT - 1] + "…"
        try:
            # The bytes that were typed, not the text that the locale made of them.
            datums.append(loads(os.fsencode(argument), dialect=dialect))
            dumps(datums[-1], dialect=dialect)
        except SexprError as error:
            raise Failure(Status.DATUM, f"argument {number}, {printable(excerpt)}: {error}") from None
    return datums


def check_writable(datum: Any, dialect: Dialect, place: str | None) -> None:
    """Refuse a datum that reads in a dialect and has no form in it, such as `1/2` in CHICKEN 4.

    Raises:
        Failure: it is such a datum.
    """
    try:
        dumps(datum, dialect=dialect)
    except SexprError as error:
        raise Failure(Status.DATUM, str(error), place=place) from None


def read_stdin(dialect: Dialect, wake: int, woken: Callable[[], None]) -> Iterator[Any]:
    """The datums of standard input, each as soon as it is complete.

    Args:
        dialect: whose syntax.
        wake: a descriptor that becomes readable when something else has happened.
        woken: what is called then.

    Raises:
        Failure: standard input cannot be read, or holds something that is not a datum. The datums before that have
            been returned.
    """
    if sys.stdin is None:
        raise Failure(Status.FILE, "standard input is closed")
    descriptor = sys.stdin.fileno()
    reader = Reader(dialect=dialect)
    try:
        while data := _read(descriptor, wake, woken):
            yield from reader.feed(data)
            reader.feed(b"")  # if there was an error behind those datums: now, and not with the next input
        yield from reader.close()
    except SexprError as error:
        raise Failure(Status.DATUM, f"standard input: {error}") from None


def _read(descriptor: int, wake: int, woken: Callable[[], None]) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if wake in ready:
            os.read(wake, _READ)
            woken()
        if descriptor in ready:
            try:
                return os.read(descriptor, _READ)
            except BlockingIOError:  # somebody else was faster
                continue
            except OSError as error:
                raise Failure(Status.FILE, f"standard input: {error.strerror}") from None
