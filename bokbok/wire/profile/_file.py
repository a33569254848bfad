"""Profile files: a wire format as TOML, to be read, written, and edited by hand.

`docs/profiles.md` describes the file. A strategy's keys say how it stands in the file (`bokbok.wire.strategy`). The
TOML libraries are imported when they are needed: most programs speak the default profile, and start faster without
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..._toml import tomllib
from ...errors import BokbokError, ProfileError
from ...sexpr import DIALECTS
from ..hello import Fields
from ..strategy import Bytes, Choice, Integer, Kind, Schema, Strategy, Text, check, keys_of, shown
from ._layers import LAYERS, Layer
from ._own import load_strategies, read_bounded
from ._profile import Profile

__all__ = ["dump_profile", "load_profile", "load_strategies", "profile_schema", "read_profile"]

FORMAT = 1
"""Of the file; a reader refuses any other."""

_FRAMED = Integer(0, 64)
"""`packets` of `[hello-framing]`."""
_HEAD: dict[str, Kind] = {"name": Text(), "about": Text(), "dialect": Choice(*DIALECTS)}


def load_profile(path: str | os.PathLike[str], *, strategies: Iterable[str | os.PathLike[str]] = ()) -> Profile:
    """Read a profile file.

    Args:
        path: of the file.
        strategies: Python files with strategies of your own, which are run; see `load_strategies`.

    Raises:
        ProfileError: the file cannot be read, or does not hold a profile: where, and what was expected.
    """
    load_strategies(strategies)
    return read_profile(read_bounded(path, "profile"), os.fspath(path))


def read_profile(data: bytes | str, path: str = "<profile>") -> Profile:
    """The profile in the text of a file. It names only strategies of the library and those that are registered.

    Args:
        data: the text.
        path: where it comes from, for errors and for a profile without a name.

    Raises:
        ProfileError: it does not hold a profile: where, and what was expected.
    """
    try:
        document = tomllib().loads(data if isinstance(data, str) else data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ProfileError(f"profile {path!r}: byte {error.start} is not UTF-8; expected a TOML file") from None
    except (ValueError, RecursionError) as error:  # tomllib's own error among them
        text = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise ProfileError(f"profile {path!r}: expected a TOML file: {text}") from None
    try:
        return _profile(document, path)
    except ProfileError as error:
        raise ProfileError(f"profile {path!r}: {error}") from None


def _profile(document: dict[str, Any], path: str) -> Profile:
    version = document.pop("bokbok-profile", None)
    if type(version) is not int or version != FORMAT:
        raise ProfileError(f"bokbok-profile: expected {FORMAT}; got {shown(version)} (is this a profile file?)")
    head = {"name": os.path.splitext(os.path.basename(path))[0], "about": "", "dialect": "chicken-4"}
    for name, kind in _HEAD.items():
        head[name] = document.pop(name, head[name])
        if not kind.holds(head[name]):
            raise ProfileError(f"{name}: expected {kind.expected}; got {shown(head[name])}")
    layers: dict[str, Any] = {}
    for table, content in document.items():
        if table not in LAYERS:
            raise ProfileError(f"{table}: expected one of {', '.join(['bokbok-profile', *_HEAD, *LAYERS])}")
        if not isinstance(content, dict):
            raise ProfileError(f"{table}: expected a table, [{table}]; got {shown(content)}")
        try:
            if table == "hello-framing":
                layers["hello_framed"] = content.pop("packets", 0)
                if not _FRAMED.holds(layers["hello_framed"]):
                    raise ProfileError(
                        f"packets: expected {_FRAMED.expected}, 0 for all of the hello's; got "
                        f"{shown(layers['hello_framed'])}"
                    )
            layers[LAYERS[table].attribute] = _strategy(LAYERS[table], content)
        except BokbokError as error:
            raise ProfileError(f"[{table}] {error}") from None
    return Profile(head["name"], about=head["about"], dialect=DIALECTS[head["dialect"]], **layers)


def _strategy(layer: Layer, content: dict[str, Any]) -> Strategy:
    name = content.pop("strategy", layer.only)
    made = layer.strategies.get(name) if isinstance(name, str) else None
    if made is None:
        raise ProfileError(
            f"strategy: expected one of {', '.join(layer.strategies)}; got {shown(name)} (one of your own comes from a "
            "Python file: strategies=, or --strategies FILE)"
        )
    keys = keys_of(made)
    values = {}
    for key, value in content.items():
        if key not in keys:
            raise ProfileError(f"{key}: expected one of the keys of {name!r}: {', '.join(keys)}")
        kind = keys[key].kind
        values[keys[key].attribute] = held = kind.from_toml(value)
        if not kind.holds(held):
            raise ProfileError(f"{key}: expected {kind.expected}; got {shown(value)}")
    try:
        strategy = made(**values)
    except BokbokError:
        raise
    except Exception as error:  # from a user's own class
        raise ProfileError(f"strategy {name!r}: {type(error).__name__}: {error}") from None
    check(strategy)
    return strategy


def dump_profile(profile: Profile, comments: Mapping[str, str] | None = None) -> str:
    """The text of a profile's file.

    Args:
        profile: its strategies are the library's, or registered.
        comments: what to write above a table or a key, by `table` or `table.key` (`""`: above everything).

    Raises:
        ProfileError: it has a strategy that a file cannot name.
    """
    import tomlkit

    comments = comments or {}

    def comment(container: Any, place: str) -> None:
        for line in comments.get(place, "").splitlines():
            container.add(tomlkit.comment(line) if line.strip() else tomlkit.nl())

    document = tomlkit.document()
    comment(document, "")
    document.add("bokbok-profile", tomlkit.item(FORMAT))
    document.add("name", tomlkit.item(profile.name))
    if profile.about:
        document.add("about", tomlkit.item(profile.about))
    comment(document, "dialect")
    document.add("dialect", tomlkit.item(profile.dialect.name))
    for name, layer in LAYERS.items():
        strategy = getattr(profile, layer.attribute)
        if strategy is None:
            continue
        if layer.strategies.get(getattr(strategy, "strategy", "")) is not type(strategy):
            raise ProfileError(f"[{name}] {type(strategy).__name__} is not registered, so no file can name it")
        document.add(tomlkit.nl())
        comment(document, name)
        table = tomlkit.table()
        if layer.only != strategy.strategy:
            table.add("strategy", tomlkit.item(strategy.strategy))
        if name == "hello-framing" and profile.hello_framed:
            table.add("packets", tomlkit.item(profile.hello_framed))
        for key in keys_of(type(strategy)).values():
            value = getattr(strategy, key.attribute)
            if key.always or value != key.default:
                comment(table, f"{name}.{key.name}")
                table.add(key.name, _toml(key.kind.to_toml(value)))
        document.add(name, table)
    return tomlkit.dumps(document)


def _toml(value: Any) -> Any:
    """A value in the form in which it stands in a file: on one line."""
    import tomlkit

    if isinstance(value, list):
        array = tomlkit.array()
        for item in value:
            array.append(_toml(item))
        return array
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for name, item in value.items():
            table.append(name, _toml(item))
        return table
    return tomlkit.item(value)


def profile_schema() -> Schema:
    """The JSON schema of profile files, made of the strategies: the library's, and those that are registered."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A wire format that bokbok speaks (docs/profiles.md)",
        "type": "object",
        "required": ["bokbok-profile"],
        "additionalProperties": False,
        "properties": {
            "bokbok-profile": {"const": FORMAT},
            **{name: kind.schema() for name, kind in _HEAD.items()},
            **{name: _table_schema(name, layer) for name, layer in LAYERS.items()},
        },
        "$defs": {"bytes": Bytes.definition(), "template": Fields.definition()},
    }


def _table_schema(name: str, layer: Layer) -> Schema:
    forms = []
    for made in layer.strategies.values():
        keys = keys_of(made).values()
        properties = {"strategy": {"const": made.strategy}, **{key.name: key.kind.schema() for key in keys}}
        if name == "hello-framing":
            properties["packets"] = {**_FRAMED.schema(), "description": "packets of the hello, 0 for all"}
        needed = [key.name for key in keys if key.required]
        forms.append(
            {
                "type": "object",
                "properties": properties,
                "required": ([] if layer.only == made.strategy else ["strategy"]) + needed,
                "additionalProperties": False,
            }
        )
    return {"oneOf": forms}
