"""Values to and from the structures of sexpdata, the Python library for Emacs Lisp's s-expressions.

What this module knows: which of sexpdata's structures stands for which value here. What it refuses to know: any syntax.

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

Parts = tuple[Sequence[Any], Callable[[list[Any]], Any]]


def to_sexpdata(value: Any) -> Any:
    """Converts a value of this package to the structures of sexpdata.

    Args:
        value: any value that the reader returns.

    Returns:
        The same in sexpdata's structures; the argument is not changed.

    Raises:
        WriteError: if it cannot be told from another value there (a list with the symbol `.` where a dot would stand, a
            symbol that begins with a colon), or holds itself.
    """
    return _convert(value, _to_atom, _to_parts)


def from_sexpdata(value: Any) -> Any:
    """Converts the structures of sexpdata to a value of this package. The reverse of `to_sexpdata`.

    Args:
        value: what `sexpdata.loads` returns, or was built for `sexpdata.dumps`.

    Returns:
        The same as lists, tuples, `Dotted` and so on; the argument is not changed.

    Raises:
        WriteError: if it holds itself, or a dot stands where no tail follows.
    """
    return _convert(value, _from_atom, _from_parts)


def _convert(value: Any, atom: Callable[[Any, str], Any], parts: Callable[[Any, str], Parts | None]) -> Any:
    """Rebuilds a value from the leaves up, without recursion.

    Args:
        value: the value.
        atom: converts a leaf; takes its path too, for errors.
        parts: splits a container into what is converted and what makes the new one of that; `None` for a leaf.
    """
    # Every open container: its parts, what they have become, what makes the new one, its path, its identity.
    stack: list[tuple[Sequence[Any], list[Any], Callable[[list[Any]], Any], str, int]] = []
    active: set[int] = set()
    path = "message"
    while True:
        split = parts(value, path)
        if split is not None:
            if id(value) in active:
                raise WriteError("a cycle: this value is part of itself", path)
            active.add(id(value))
            stack.append((split[0], [], split[1], path, id(value)))
        else:
            result = atom(value, path)
            if not stack:
                return result
            stack[-1][1].append(result)
        while True:
            elements, done, make, path, identity = stack[-1]
            if len(done) < len(elements):
                value = elements[len(done)]
                path = f"{path}[{len(done)}]"
                break
            result = make(done)
            active.remove(identity)
            stack.pop()
            if not stack:
                return result
            stack[-1][1].append(result)


def _to_atom(value: Any, path: str) -> Any:
    if isinstance(value, Keyword):
        return Symbol(":" + value.name)
    if isinstance(value, Symbol) and value.startswith(":") and len(value) > 1:
        raise WriteError("symbol that begins with a colon, which is a keyword for sexpdata", path)
    return value


def _to_parts(value: Any, path: str) -> Parts | None:
    if isinstance(value, Dotted):
        return [*value.items, value.tail], lambda done: [*done[:-1], _DOT, done[-1]]
    if isinstance(value, (Quoted, Delimiters)):
        return None
    if isinstance(value, tuple):
        return value, Brackets
    if isinstance(value, list):
        if len(value) == 2 and value[0] == _QUOTE:
            return value[1:], lambda done: Quoted(done[0])
        if len(value) > 2 and value[-2] == _DOT:
            raise WriteError("list with the symbol . before its last element, which is a dot for sexpdata", path)
        return value, list
    return None


def _from_atom(value: Any, path: str) -> Any:
    if isinstance(value, Symbol):
        return Keyword(value[1:]) if value.startswith(":") and len(value) > 1 else value
    return str.__str__(value) if isinstance(value, String) else value


def _from_parts(value: Any, path: str) -> Parts | None:
    if isinstance(value, Quoted):
        return (value.x,), lambda done: [_QUOTE, *done]
    if isinstance(value, Delimiters):
        value, make = value.I, tuple if isinstance(value, Brackets) else list
    elif isinstance(value, (list, tuple)):
        make = list
    else:
        return None
    if len(value) > 2 and isinstance(value[-2], Symbol) and value[-2] == _DOT and make is list:
        return [*value[:-2], value[-1]], _dotted
    return value, make


def _dotted(done: list[Any]) -> Any:
    tail = done[-1]
    if isinstance(tail, list):
        return done[:-1] + tail
    if isinstance(tail, Dotted):
        return Dotted(done[:-1] + tail.items, tail.tail)
    return Dotted(done[:-1], tail)
