"""Values to and from the structures of sexpdata, the Python library for Emacs Lisp's s-expressions.

What this module knows: which of sexpdata's structures stands for which value here.

| here | sexpdata |
|---|---|
| `list` | `list` |
| `tuple` (a vector) | `Brackets` |
| `Dotted([a], b)` | `[a, Symbol("."), b]` |
| `[Symbol("quote"), x]` | `Quoted(x)` |
| `Keyword("a")` | `Symbol(":a")` |

Everything else is the same on both sides; what sexpdata has no structure for (`Char`, `bytes`, arrays, `EOF`) stays as
it is, though sexpdata itself could not write it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sexpdata import Brackets, Delimiters, Quoted, String

from bokbok.errors import WriteError
from bokbok.sexpr.types import Dotted, Keyword, Symbol

__all__ = ["from_sexpdata", "to_sexpdata"]

_DOT: Final = Symbol(".")
_QUOTE: Final = Symbol("quote")


class _Refusal(Exception):
    """What is being converted has no counterpart; the argument says why. The caller knows where it is."""


Parts = tuple[Sequence[Any], Callable[[list[Any]], Any]]


def to_sexpdata(value: Any) -> Any:
    """Converts a value of this package to the structures of sexpdata.

    Args:
        value: any value that the reader returns.

    Returns:
        The same in sexpdata's structures; the argument is not changed.

    Raises:
        WriteError: if it cannot be told from another value there (a list with the symbol `.` where a dot would stand, a
            symbol that begins with a colon, the keyword without a name), or holds itself.
    """
    return _convert(value, _to_atom, _to_parts)


def from_sexpdata(value: Any) -> Any:
    """Converts the structures of sexpdata to a value of this package. The reverse of `to_sexpdata`.

    Args:
        value: what `sexpdata.loads` returns, or was built for `sexpdata.dumps`.

    Returns:
        The same as lists, tuples, `Dotted` and so on; the argument is not changed.

    Raises:
        WriteError: if it holds itself.
    """
    return _convert(value, _from_atom, _from_parts)


def _convert(value: Any, atom: Callable[[Any], Any], parts: Callable[[Any], Parts | None]) -> Any:
    """Rebuilds a value from the leaves up, without recursion.

    Args:
        value: the value.
        atom: converts a leaf.
        parts: splits a container into what is converted and what makes the new one of that; `None` for a leaf.
    """
    # Every open container: its parts, what they have become, what makes the new one, the old one.
    stack: list[tuple[Sequence[Any], list[Any], Callable[[list[Any]], Any], Any]] = []
    active: set[int] = set()
    try:
        while True:
            split = parts(value)
            if split is not None:
                if id(value) in active:
                    raise _Refusal("a cycle: this value is part of itself")
                active.add(id(value))
                stack.append((split[0], [], split[1], value))
            else:
                result = atom(value)
                if not stack:
                    return result
                stack[-1][1].append(result)
            while True:
                elements, done, make, container = stack[-1]
                if len(done) < len(elements):
                    value = elements[len(done)]
                    break
                result = make(done)
                active.remove(id(container))
                stack.pop()
                if not stack:
                    return result
                stack[-1][1].append(result)
    except _Refusal as refusal:
        path = "".join(f"[{len(done)}]" for _, done, _, _ in stack)
        raise WriteError(str(refusal), f"message{path}") from None


def _to_atom(value: Any) -> Any:
    if isinstance(value, Keyword):
        if not value.name:
            raise _Refusal("keyword without a name, which is the symbol : for sexpdata")
        return Symbol(":" + value.name)
    if isinstance(value, Symbol) and value.startswith(":") and len(value) > 1:
        raise _Refusal("symbol that begins with a colon, which is a keyword for sexpdata")
    return value


def _to_parts(value: Any) -> Parts | None:
    if isinstance(value, Dotted):
        return [*value.items, value.tail], lambda done: [*done[:-1], _DOT, done[-1]]
    if isinstance(value, (Quoted, Delimiters)):
        return None
    if isinstance(value, tuple):
        return value, Brackets
    if isinstance(value, list):
        if len(value) == 2 and value[0] == _QUOTE:
            return value, lambda done: Quoted(done[1])
        if len(value) > 2 and value[-2] == _DOT:
            raise _Refusal("list with the symbol . before its last element, which is a dot for sexpdata")
        return value, list
    return None


def _from_atom(value: Any) -> Any:
    if isinstance(value, Symbol):
        return Keyword(value[1:]) if value.startswith(":") and len(value) > 1 else value
    return str.__str__(value) if isinstance(value, String) else value


def _from_parts(value: Any) -> Parts | None:
    if isinstance(value, Quoted):
        return (value.x,), lambda done: [_QUOTE, *done]
    if isinstance(value, Delimiters):
        value, make = value.I, tuple if isinstance(value, Brackets) else list
    elif isinstance(value, (list, tuple)):
        make = list
    else:
        return None
    if make is list and _is_dotted(value):
        return _flat(value), _dotted
    return value, make


def _is_dotted(elements: Sequence[Any]) -> bool:
    return len(elements) > 2 and isinstance(elements[-2], Symbol) and bool(elements[-2] == _DOT)


def _flat(elements: Sequence[Any]) -> list[Any]:
    """The items and the tail of a dotted list: those of dotted lists as its tail, `(a . (b . (c . d)))`, at once.

    One within the other, each would copy all that are behind it once more.
    """
    items: list[Any] = []
    seen: set[int] = set()
    while True:
        items += elements[:-2]
        tail = elements[-1]
        behind: Any = tail.I if isinstance(tail, Delimiters) and not isinstance(tail, (Brackets, Quoted)) else tail
        if not isinstance(behind, (list, tuple)) or not _is_dotted(behind):
            return [*items, tail]
        if id(tail) in seen:
            raise _Refusal("a cycle: this value is its own tail")
        seen.add(id(tail))
        elements = behind


def _dotted(done: list[Any]) -> Any:
    tail = done[-1]
    if isinstance(tail, list):
        return done[:-1] + tail
    if isinstance(tail, Dotted):
        return Dotted(done[:-1] + tail.items, tail.tail)
    return Dotted(done[:-1], tail)
