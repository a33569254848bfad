"""Frozen dataclasses whose definition costs little.

`dataclasses.dataclass(frozen=True)` writes six functions for each class as text, and compiles them, each time that a
program starts: 0.6 ms a class (CPython 3.11), and for some twenty classes a fifth of a whole `bokbok call`. The
`dataclass` here makes the same of a class with functions that exist already. What it makes is a dataclass to
`dataclasses.fields`, `replace` and `asdict`, and to a dataclass that derives from it. The plain version is to import
`dataclass` from `dataclasses`. That is still the right one for a class of which many instances are made.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import reprlib
from collections.abc import Callable
from typing import Any

TYPE_CHECKING = False
__all__ = ["dataclass"]

_MISSING = dataclasses.MISSING
_set = object.__setattr__


def _make(cls: Any = None, /, *, frozen: bool, kw_only: bool = False) -> Any:
    """A decorator: see `dataclasses.dataclass`, of which it has these parameters."""
    assert frozen
    if cls is None:
        return functools.partial(_make, frozen=frozen, kw_only=kw_only)
    fields = _fields_of(cls, kw_only)
    for name, function in (
        *(("__init__", _init(cls, fields)), ("__repr__", _repr(fields)), ("__signature__", _Signature(cls))),
        *_comparing(fields),
        *_refusing(cls, fields),
        ("__match_args__", tuple(field.name for field in fields if field.init and not field.kw_only)),
    ):
        if name not in vars(cls):
            setattr(cls, name, function)
    return cls


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _make


def _fields_of(cls: Any, kw_only: bool) -> list[dataclasses.Field[Any]]:
    """Makes the class's fields, as the standard library has them; its bases' among them."""
    own = vars(cls).get("__annotations__", {})
    apart: Any = type(cls.__name__, (), {"__module__": cls.__module__, "__annotations__": own, "__doc__": cls.__doc__})
    for name in own:
        if name in vars(cls):
            setattr(apart, name, vars(cls)[name])
    dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(apart)
    for name, value in list(vars(cls).items()):
        if isinstance(value, dataclasses.Field):
            if value.default is _MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, value.default)
    inherited = [getattr(base, "__dataclass_fields__", {}) for base in cls.__mro__[:0:-1]]
    cls.__dataclass_fields__ = functools.reduce(operator.or_, [*inherited, apart.__dataclass_fields__])
    # A dataclass that derives from this one looks there: it must be frozen too.
    params = cls.__dataclass_params__ = apart.__dataclass_params__
    params.init = params.repr = params.eq = params.frozen = True
    if "__replace__" in vars(apart):  # from Python 3.13 on
        cls.__replace__ = apart.__replace__
    return list(dataclasses.fields(cls))


def _init(cls: Any, fields: list[dataclasses.Field[Any]]) -> Callable[..., None]:
    taken = {field.name for field in fields if field.init}
    positional = [field.name for field in fields if field.init and not field.kw_only]
    required = {f.name for f in fields if f.init and f.default is _MISSING and f.default_factory is _MISSING}
    defaults = [(field.name, field.default, field.default_factory) for field in fields]
    finish = hasattr(cls, "__post_init__")

    def __init__(self: Any, *given: Any, **named: Any) -> None:
        values = dict(zip(positional, given, strict=False))
        if len(given) > len(positional) or values.keys() & named.keys():
            _compiled(cls)(self, *given, **named)  # raises the error
        values |= named
        if not required <= values.keys() <= taken:
            _compiled(cls)(self, *given, **named)
        for name, default, factory in defaults:
            if name in values:
                _set(self, name, values[name])
            elif default is not _MISSING:
                _set(self, name, default)
            elif factory is not _MISSING:
                _set(self, name, factory())
        if finish:
            self.__post_init__()

    return __init__


@functools.cache
def _compiled(cls: Any) -> Callable[..., None]:
    """The `__init__` that the standard library writes for a class: for its errors and its signature."""
    fields = dataclasses.fields(cls)
    body: dict[str, Any] = {field.name: field for field in fields}
    body |= {"__annotations__": {field.name: field.type for field in fields}, "__doc__": cls.__doc__}
    body |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    made: Any = dataclasses.dataclass(repr=False, eq=False)(type(cls.__name__, (), body))
    return made.__init__  # type: ignore[no-any-return]


class _Signature:
    """What `inspect.signature` looks for: the class's own parameters, not those of the function that all share."""

    def __init__(self, cls: Any) -> None:
        self._class = cls

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is not None or owner.__init__ is not self._class.__init__:
            raise AttributeError("__signature__")
        import inspect  # only here

        whole = inspect.signature(_compiled(self._class))
        return whole.replace(parameters=list(whole.parameters.values())[1:])


def _repr(fields: list[dataclasses.Field[Any]]) -> Callable[[Any], str]:
    shown = [field.name for field in fields if field.repr]

    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    return reprlib.recursive_repr()(__repr__)


def _comparing(fields: list[dataclasses.Field[Any]]) -> list[tuple[str, Callable[..., Any]]]:
    names = [field.name for field in fields if field.compare]
    values: Callable[[Any], Any]
    values = operator.attrgetter(*names) if len(names) > 1 else lambda self: tuple(getattr(self, n) for n in names)

    def __eq__(self: Any, other: object) -> Any:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return [("__eq__", __eq__), ("__hash__", __hash__)]


def _refusing(cls: Any, fields: list[dataclasses.Field[Any]]) -> list[tuple[str, Callable[..., None]]]:
    names = {field.name for field in fields}

    def __setattr__(self: Any, name: str, value: object) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return [("__setattr__", __setattr__), ("__delattr__", __delattr__)]
