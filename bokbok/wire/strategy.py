"""What every strategy of a profile has: a name, keys of given kinds, and words for them.

A strategy is a frozen dataclass. Each of its fields is one key of a profile file; the field's *kind* says which values
it takes, how these stand in TOML, and what the schema says of them. The kind follows from the field's type, or is given
with `key`. From these the reader and the writer of profile files, the schema, the digest and the reports are made, so
that a strategy is described in one place: its own class.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from ..errors import ProfileError

__all__ = [
    "Bytes",
    "Choice",
    "Flag",
    "Integer",
    "Key",
    "Kind",
    "PerMessage",
    "Schema",
    "Several",
    "Span",
    "Strategy",
    "Text",
    "check",
    "described",
    "key",
    "keys_of",
    "shown",
]

Schema = dict[str, Any]
"""A JSON schema."""

MOST_BYTES = 65_536
"""Bytes of one literal of a profile: far beyond what a format has in front of its packets."""


class Span(NamedTuple):
    """Some of the bytes of a packet, and what they are.

    Attributes:
        name: what they are: `length`, `nonce`, `tag`, …
        start: where they begin.
        end: where they end.
    """

    name: str
    start: int
    end: int


def shown(value: Any) -> str:
    """A value of a profile file as an error shows it: shortened to fit a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


class Kind:
    """Which values a key takes, and how they stand in a file."""

    expected: str = "a value"
    """In words, for errors."""

    def holds(self, value: Any) -> bool:
        """Whether a strategy's attribute may have this value."""
        raise NotImplementedError

    def from_toml(self, value: Any) -> Any:
        """A file's value as the attribute's value. A value that does not fit is returned as it is; `holds` refuses
        it."""
        return value

    def to_toml(self, value: Any) -> Any:
        """The reverse: a string, a number, a boolean, a list, or a dict for an inline table."""
        return value

    def schema(self) -> Schema:
        """What a file may hold."""
        raise NotImplementedError


class Text(Kind):
    """A string."""

    expected = "a string"

    def holds(self, value: Any) -> bool:
        """See `Kind.holds`."""
        return type(value) is str

    def schema(self) -> Schema:
        """See `Kind.schema`."""
        return {"type": "string"}


class Flag(Kind):
    """True or false."""

    expected = "true or false"

    def holds(self, value: Any) -> bool:
        """See `Kind.holds`."""
        return type(value) is bool

    def schema(self) -> Schema:
        """See `Kind.schema`."""
        return {"type": "boolean"}


class Integer(Kind):
    """An integer within limits, so that a wrong file cannot ask for endless memory or time.

    Args:
        least: the smallest.
        most: the largest.
    """

    def __init__(self, least: int = 0, most: int = (1 << 63) - 1) -> None:
        self.least, self.most = least, most
        self.expected = f"an integer from {least} to {most}"

    def holds(self, value: Any) -> bool:
        """See `Kind.holds`."""
        return type(value) is int and self.least <= value <= self.most

    def schema(self) -> Schema:
        """See `Kind.schema`."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


class Choice(Kind):
    """One of some strings or integers."""

    def __init__(self, *options: str | int) -> None:
        self.options = options
        self.expected = f"one of {', '.join(map(str, options))}"

    def holds(self, value: Any) -> bool:
        """See `Kind.holds`."""
        return any(type(value) is type(option) and value == option for option in self.options)

    def schema(self) -> Schema:
        """See `Kind.schema`."""
        return {"enum": list(self.options)}


class Bytes(Kind):
    """Literal bytes: text, or `{ hex = "00ff" }` where they are not printable ASCII.

    Args:
        least: how many there are at least.
    """

    def __init__(self, least: int = 0) -> None:
        self.least = least
        self.expected = 'a string, or { hex = "00ff" }' + (f", of {least} bytes or more" if least else "")

    def holds(self, value: Any) -> bool:
        """See `Kind.holds`."""
        return isinstance(value, bytes) and self.least <= len(value) <= MOST_BYTES

    def from_toml(self, value: Any) -> Any:
        """See `Kind.from_toml`."""
        if isinstance(value, str):
            return value.encode("utf-8")
        if isinstance(value, dict) and set(value) == {"hex"} and isinstance(value["hex"], str):
            try:
                return bytes.fromhex(value["hex"])
            except ValueError:
                pass
        return value

    def to_toml(self, value: Any) -> Any:
        """See `Kind.to_toml`."""
        plain = all(32 <= byte < 127 or byte in b"\n\t\r" for byte in value)
        return value.decode("ascii") if plain else {"hex": value.hex()}

    def schema(self) -> Schema:
        """See `Kind.schema`."""
        return {"$ref": "#/$defs/bytes"}

    @staticmethod
    def definition() -> Schema:
        """What the schema defines once."""
        digits = {"type": "string", "pattern": "^([0-9a-fA-F]{2})*$"}
        of_hex = {"type": "object", "properties": {"hex": digits}, "required": ["hex"], "additionalProperties": False}
        return {"description": "text, or bytes in hexadecimal digits", "oneOf": [{"type": "string"}, of_hex]}


class Several(Kind):
    """A list of values of one kind."""

    def __init__(self, kind: Kind, most: int = 64) -> None:
        self.kind, self.most = kind, most
        self.expected = f"a list of at most {most}, each {kind.expected}"

    def holds(self, value: Any) -> bool:
        """See `Kind.holds`."""
        return type(value) is tuple and len(value) <= self.most and all(map(self.kind.holds, value))

    def from_toml(self, value: Any) -> Any:
        """See `Kind.from_toml`."""
        return tuple(map(self.kind.from_toml, value)) if isinstance(value, list) else value

    def to_toml(self, value: Any) -> Any:
        """See `Kind.to_toml`."""
        return list(map(self.kind.to_toml, value))

    def schema(self) -> Schema:
        """See `Kind.schema`."""
        return {"type": "array", "items": self.kind.schema(), "maxItems": self.most}


class PerMessage(Kind):
    """One value for all messages, or three: of requests, responses and errors."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.expected = f"{kind.expected}: one for all, or a list of three, of requests, responses and errors"

    def holds(self, value: Any) -> bool:
        """See `Kind.holds`."""
        return self.kind.holds(value) or (type(value) is tuple and len(value) == 3 and all(map(self.kind.holds, value)))

    def from_toml(self, value: Any) -> Any:
        """See `Kind.from_toml`."""
        return tuple(map(self.kind.from_toml, value)) if isinstance(value, list) else self.kind.from_toml(value)

    def to_toml(self, value: Any) -> Any:
        """See `Kind.to_toml`."""
        return list(map(self.kind.to_toml, value)) if isinstance(value, tuple) else self.kind.to_toml(value)

    def schema(self) -> Schema:
        """See `Kind.schema`."""
        one = self.kind.schema()
        return {"oneOf": [one, {"type": "array", "items": one, "minItems": 3, "maxItems": 3}]}


class Key(NamedTuple):
    """One key of a strategy.

    Attributes:
        name: as a file spells it.
        attribute: as the class does.
        kind: which values it takes.
        default: what it is where the file leaves it out; `dataclasses.MISSING` where the file must not.
        always: whether it is written even if it is the default.
    """

    name: str
    attribute: str
    kind: Kind
    default: Any
    always: bool

    @property
    def required(self) -> bool:
        """Whether a file must not leave it out."""
        return self.default is dataclasses.MISSING


_KIND = "bokbok-kind"
_ALWAYS = "bokbok-always"
_HIDDEN = "bokbok-hidden"


def key(
    default: Any = dataclasses.MISSING, kind: Kind | None = None, *, always: bool = False, hidden: bool = False
) -> Any:
    """A field of a strategy: one key of a profile file.

    Args:
        default: what it is where a file leaves it out; without it, a file must not.
        kind: which values it takes; without it, the field's type says so.
        always: whether it is written even if it is the default, since readers look for it.
        hidden: whether no file can name it, for what only tests choose.
    """
    return dataclasses.field(default=default, repr=not hidden, metadata={_KIND: kind, _ALWAYS: always, _HIDDEN: hidden})


_OF_TYPES: dict[Any, Kind] = {str: Text(), int: Integer(), bool: Flag(), bytes: Bytes()}
_OF_NAMES: dict[Any, Kind] = {kind.__name__: made for kind, made in _OF_TYPES.items()}


def _kind_of(hint: Any, place: str) -> Kind:
    if hint in _OF_TYPES:
        return _OF_TYPES[hint]
    if typing.get_origin(hint) is Literal:
        return Choice(*typing.get_args(hint))
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (...,):
        return Several(_kind_of(typing.get_args(hint)[0], place))
    raise ProfileError(f"{place}: nothing says how a {hint} stands in a profile file; say it with key(kind=…)")


def _kind_by_hint(strategy: type[Strategy], name: str) -> Kind:
    # All that the class is annotated with is compiled and evaluated for this, so not for what says it by name.
    return _kind_of(typing.get_type_hints(strategy)[name], f"{strategy.__name__}.{name}")


@functools.cache
def keys_of(strategy: type[Strategy]) -> Mapping[str, Key]:
    """The keys of a strategy, by their names in a file.

    Raises:
        ProfileError: the class is not a dataclass, or has a field whose kind nothing says.
    """
    if not hasattr(strategy, "__dataclass_fields__"):
        raise ProfileError(f"{strategy.__name__}: expected a dataclass: its fields are the keys of a profile file")
    found = {}
    # What a base of several strategies adds (keyword-only) comes last.
    fields: Any = dataclasses.fields(typing.cast(Any, strategy))
    for field in sorted(fields, key=lambda field: bool(field.kw_only)):
        if field.metadata.get(_HIDDEN):
            continue
        kind = field.metadata.get(_KIND) or _OF_NAMES.get(field.type) or _kind_by_hint(strategy, field.name)
        name = field.name.replace("_", "-")
        found[name] = Key(name, field.name, kind, field.default, bool(field.metadata.get(_ALWAYS)))
    return types.MappingProxyType(found)


def check(strategy: Strategy) -> None:
    """Look at each key's value.

    Raises:
        ProfileError: one is not of its kind: which, and what was expected.
    """
    for name, one in keys_of(type(strategy)).items():
        value = getattr(strategy, one.attribute)
        if not one.kind.holds(value):
            raise ProfileError(f"{name}: expected {one.kind.expected}; got {shown(value)}")


def described(strategy: Strategy) -> dict[str, Any]:
    """A strategy with every default written out, as a table of a file."""
    keys = keys_of(type(strategy)).values()
    return {
        "strategy": strategy.strategy,
        **{one.name: one.kind.to_toml(getattr(strategy, one.attribute)) for one in keys},
    }


class Strategy(ABC):
    """Base of every strategy.

    Attributes:
        strategy: how a profile file calls it.
    """

    strategy: ClassVar[str]

    def __post_init__(self) -> None:
        check(self)

    def words(self) -> str:
        """The strategy and its choices in words, for reports: its name and what is not the default, unless a class
        says it better."""
        keys = keys_of(type(self)).values()
        changed = [f"{one.name} {v!r}" for one in keys if (v := getattr(self, one.attribute)) != one.default]
        return ", ".join([self.strategy, *changed])
