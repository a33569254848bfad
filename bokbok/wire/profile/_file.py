"""Profile files: a wire format as TOML, to be read, written, and edited by hand.

What this module knows: how each strategy of a profile stands in a file, and which Python class is meant. What it
refuses to know: how any of them works. `docs/profiles.md` describes the file, `profile.schema.json` beside this module
is its schema.

A strategy that is not built in is named as `FILE.py:CLASS` (FILE beside the profile file) or `MODULE:CLASS`: such a
profile runs that code when it is loaded.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import BokbokError, ProfileError
from ...sexpr import DIALECTS
from ..boxes import Counted, Sent
from ..framing import Datums, IntegerLength, LengthPrefix, Lines, TextLength
from ..hello import Field, Template, TemplateHello, UsernameThenKey
from ..messages import BinaryHeader, Shapes, TaggedList
from ..packets import PacketForm
from ._profile import Derivation, Profile, Sha512First32

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

__all__ = ["LAYERS", "canonical", "dump_profile", "load_profile", "plain", "read_profile"]

FORMAT = 1
"""Of the file; a reader refuses any other."""

Registry = dict[str, Any]

LAYERS: dict[str, tuple[str, Registry]] = {
    "framing": ("framing", {c.strategy: c for c in (IntegerLength, TextLength, Lines, Datums)}),
    "hello-framing": ("hello_framing", {c.strategy: c for c in (IntegerLength, TextLength, Lines, Datums)}),
    "packets": ("packets", {PacketForm.strategy: PacketForm}),
    "nonces": ("nonces", {c.strategy: c for c in (Sent, Counted)}),
    "key-derivation": ("key_derivation", {Derivation.strategy: Derivation}),
    "hello": ("hello", {TemplateHello.strategy: TemplateHello}),
    "messages": ("messages", {c.strategy: c for c in (Shapes, BinaryHeader)}),
}
"""The tables of a file: the attribute of `Profile` that each is, and the strategies that it may name."""

_PLAIN_TEXT = re.compile(r"[\x20-\x7e\n\t\r]*\Z")
_TAG = re.compile(r"\((\S+) ID (DATUM|MESSAGE)\)\Z")
_PLAIN_SYMBOL = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*\Z")


def load_profile(path: str | Path) -> Profile:
    """Read a profile file.

    Raises:
        ProfileError: it cannot be read, or is no profile: where, and what was expected.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ProfileError(f"profile {str(path)!r}: {error.strerror}") from None
    except ValueError as error:
        raise ProfileError(f"profile {str(path)!r}: no path: {error}") from None
    return read_profile(data, str(path))


def read_profile(data: bytes | str, path: str = "<profile>") -> Profile:
    """The profile in the text of a file.

    Args:
        data: the text.
        path: where it comes from: for errors, and for strategies that stand in a file beside it.

    Raises:
        ProfileError: it is no profile.
    """
    try:
        document = tomllib.loads(data if isinstance(data, str) else data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ProfileError(f"profile {path!r}: no UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"profile {path!r}: no TOML: {error}") from None
    try:
        return _profile(document, path)
    except ProfileError as error:
        raise ProfileError(f"profile {path!r}: {error}") from None


def _profile(document: dict[str, Any], path: str) -> Profile:
    version = document.pop("bokbok-profile", None)
    if version != FORMAT:
        raise ProfileError(f"'bokbok-profile' is {version!r}; expected {FORMAT}: is this a profile file?")
    name = document.pop("name", Path(path).stem)
    about, dialect = document.pop("about", ""), document.pop("dialect", "chicken-4")
    if not isinstance(name, str) or not isinstance(about, str):
        raise ProfileError("'name' and 'about' are strings")
    if dialect not in DIALECTS:
        raise ProfileError(f"'dialect' is {dialect!r}; expected one of {', '.join(DIALECTS)}")
    layers: dict[str, Any] = {}
    for table, content in document.items():
        if table not in LAYERS:
            raise ProfileError(f"unknown key {table!r}; expected one of {', '.join(LAYERS)}")
        attribute, registry = LAYERS[table]
        if not isinstance(content, dict):
            raise ProfileError(f"[{table}] is a table; got {type(content).__name__}")
        if attribute == "hello_framing":
            layers["hello_framed"] = _framed(content.pop("packets", 0))
        layers[attribute] = _strategy(table, registry, dict(content), path)
    return canonical(Profile(name, about=about, dialect=DIALECTS[dialect], **layers))


def _framed(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ProfileError(f"[hello-framing] packets is a number of packets, 0 for all of the hello's; got {value!r}")
    return value


def _strategy(table: str, registry: Registry, content: dict[str, Any], path: str) -> Any:
    only = next(iter(registry)) if len(registry) == 1 else None
    name = content.pop("strategy", only)
    if not isinstance(name, str) or (name not in registry and ":" not in name):
        raise ProfileError(
            f"[{table}] strategy is {name!r}; expected one of {', '.join(registry)}, or FILE.py:CLASS of your own"
        )
    made = registry[name] if name in registry else _foreign(table, name, path)
    fields = {field.name: field for field in dataclasses.fields(made)} if dataclasses.is_dataclass(made) else {}
    values: dict[str, Any] = {}
    for key, value in content.items():
        attribute = key.replace("-", "_")
        place = f"[{table}] {key}"
        if name in registry and (attribute not in fields or fields[attribute].metadata.get("hidden")):
            known = ", ".join(f.replace("_", "-") for f in fields if not fields[f].metadata.get("hidden"))
            raise ProfileError(f"{place}: {name!r} has no such key; known: {known}")
        kind = str(fields[attribute].type) if attribute in fields else ""
        values[attribute] = _value(kind, value, place)
    try:
        return made(**values)
    except ProfileError:
        raise
    except (BokbokError, TypeError, ValueError) as error:
        raise ProfileError(f"[{table}]: {error}") from None


def _foreign(table: str, name: str, path: str) -> Any:
    """A class of somebody's own."""
    where, _, attribute = name.rpartition(":")
    try:
        if where.endswith(".py"):
            file = Path(path).parent / where
            spec = importlib.util.spec_from_file_location(f"bokbok_profile_{file.stem}", file)
            if spec is None or spec.loader is None:
                raise ImportError(f"{file} cannot be loaded")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look themselves up there
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        return getattr(module, attribute)
    except Exception as error:  # whatever that code does
        raise ProfileError(f"[{table}] strategy {name!r}: {type(error).__name__}: {error}") from None


def _bytes(value: Any, place: str) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, dict) and set(value) == {"hex"} and isinstance(value["hex"], str):
        try:
            return bytes.fromhex(value["hex"])
        except ValueError:
            pass
    raise ProfileError(f'{place}: expected a string, or {{ hex = "00ff" }}; got {value!r}')


def _template(value: Any, place: str) -> Template:
    if not isinstance(value, list):
        raise ProfileError(f"{place}: expected a list of literals and fields; got {value!r}")
    parts: list[bytes | Field] = []
    for item in value:
        if isinstance(item, dict) and set(item) <= {"user", "key", "nonce", "any"} and len(item) == 1:
            ((name, encoding),) = item.items()
            if name == "any":
                if type(encoding) is not int or encoding < 1:
                    raise ProfileError(f"{place}: any is a number of bytes; got {encoding!r}")
                parts.append(Field("any", "raw", encoding))
                continue
            field = Field(name, str(encoding))
            try:
                _ = field.form
            except BokbokError as error:
                raise ProfileError(f"{place}: {name}: {error}") from None
            parts.append(field)
        else:
            parts.append(_bytes(item, place))
    return Template(tuple(parts))


def _value(kind: str, value: Any, place: str) -> Any:
    """What stands in a file as what a strategy wants."""
    if kind == "bytes":
        return _bytes(value, place)
    if kind == "bytes | Kinds":
        if not isinstance(value, list):
            return _bytes(value, place)
        if len(value) != 3:
            raise ProfileError(f"{place}: expected one for all, or three: of requests, responses and errors")
        return tuple(_bytes(item, place) for item in value)
    if kind == "Template":
        return _template(value, place)
    if kind in ("tuple[Template, ...]", "tuple[bytes, ...]"):
        if not isinstance(value, list):
            raise ProfileError(f"{place}: expected a list, one item a packet; got {value!r}")
        each: Callable[[Any, str], Any] = _template if "Template" in kind else _bytes
        return tuple(each(item, f"{place}, packet {number}") for number, item in enumerate(value, 1))
    for name, python in (("str", str), ("int", int), ("bool", bool)):
        if kind == name and type(value) is not python:
            raise ProfileError(f"{place}: expected {name}; got {value!r}")
    return value


def canonical(profile: Profile) -> Profile:
    """The same profile, with the default's own strategies where others say the same: those are the fastest."""
    changes: dict[str, Any] = {}
    if profile.framing == IntegerLength():
        changes["framing"] = LengthPrefix()
    if profile.hello == TemplateHello((Template((Field("user"),)), Template((Field("key"),)))):
        changes["hello"] = UsernameThenKey()
    if profile.key_derivation == Derivation():
        changes["key_derivation"] = Sha512First32()
    messages = profile.messages
    if isinstance(messages, Shapes):
        tags = [_TAG.match(text) for text in (messages.request, messages.response, messages.error)]
        names = [match[1] for match in tags if match and _PLAIN_SYMBOL.match(match[1])]
        simple = Shapes(
            messages.request, messages.response, messages.error,
            first_id=messages.first_id, server_first_id=messages.first_id, id_step=messages.id_step,
        )  # fmt: skip
        if len(names) == 3 and messages == simple:
            changes["messages"] = TaggedList(
                request=names[0], response=names[1], error=names[2],
                first_id=messages.first_id, id_step=messages.id_step,
            )  # fmt: skip
    if profile.hello_framing is not None and profile.hello_framing == profile.framing:
        changes |= {"hello_framing": None, "hello_framed": 0}
    return dataclasses.replace(profile, **changes) if changes else profile


def plain(profile: Profile) -> Profile:
    """The reverse of `canonical`: every layer by a strategy that a file can name."""
    changes: dict[str, Any] = {}
    if isinstance(profile.framing, LengthPrefix):
        changes["framing"] = IntegerLength()
    if isinstance(profile.hello_framing, LengthPrefix):
        changes["hello_framing"] = IntegerLength()
    if isinstance(profile.hello, UsernameThenKey):
        changes["hello"] = TemplateHello((Template((Field("user"),)), Template((Field("key"),))))
    if isinstance(profile.key_derivation, Sha512First32):
        changes["key_derivation"] = Derivation()
    messages = profile.messages
    if isinstance(messages, TaggedList):
        changes["messages"] = Shapes(
            f"({messages.request} ID DATUM)", f"({messages.response} ID DATUM)", f"({messages.error} ID MESSAGE)",
            first_id=messages.first_id, server_first_id=messages.first_id, id_step=messages.id_step,
        )  # fmt: skip
    return dataclasses.replace(profile, **changes) if changes else profile


def _quoted(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    out = "".join(escapes.get(c, c if c.isprintable() else f"\\u{ord(c):04x}") for c in text)
    return f'"{out}"'


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        text = value.decode("latin-1")
        return _quoted(text) if _PLAIN_TEXT.match(text) else f'{{ hex = "{value.hex()}" }}'
    if isinstance(value, Field):
        return f"{{ any = {value.size} }}" if value.name == "any" else f"{{ {value.name} = {_quoted(value.encoding)} }}"
    if isinstance(value, Template):
        return "[" + ", ".join(map(_toml, value.parts)) + "]"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    raise ProfileError(f"a value of type {type(value).__name__} does not stand in a profile file")


def dump_profile(profile: Profile, comments: Mapping[str, str] | None = None) -> str:
    """The text of a profile's file.

    Args:
        profile: with strategies that are built in.
        comments: what to write above a table or a key, by `table` or `table.key` (`""`: above everything).

    Raises:
        ProfileError: it has a strategy that a file cannot name.
    """
    comments = comments or {}
    profile = plain(profile)
    lines: list[str] = []

    def comment(place: str) -> None:
        lines.extend(f"# {line}".rstrip() for line in comments.get(place, "").splitlines())

    comment("")
    lines += [f"bokbok-profile = {FORMAT}", f"name = {_toml(profile.name)}"]
    if profile.about:
        lines.append(f"about = {_toml(profile.about)}")
    comment("dialect")
    lines.append(f"dialect = {_toml(profile.dialect.name)}")
    for table, (attribute, registry) in LAYERS.items():
        strategy = getattr(profile, attribute)
        if strategy is None:
            continue
        name = getattr(strategy, "strategy", None)
        if name not in registry or type(strategy) is not registry[name]:
            raise ProfileError(f"[{table}]: {type(strategy).__name__} has no name in a profile file")
        lines.append("")
        comment(table)
        lines.append(f"[{table}]")
        if len(registry) > 1:
            lines.append(f"strategy = {_toml(name)}")
        if attribute == "hello_framing" and profile.hello_framed:
            lines.append(f"packets = {profile.hello_framed}")
        for field in dataclasses.fields(strategy):
            value = getattr(strategy, field.name)
            needed = field.default is dataclasses.MISSING or value != field.default
            if field.metadata.get("hidden") or not (needed or field.name in _ALWAYS.get(table, ())):
                continue
            key = field.name.replace("_", "-")
            comment(f"{table}.{key}")
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


_ALWAYS: dict[str, tuple[str, ...]] = {
    "framing": ("integer", "own", "base", "ending", "separator"),
    "hello-framing": ("integer", "own", "base", "ending", "separator"),
    "packets": ("encoding", "client", "server"),
    "nonces": ("place", "key", "base", "order", "client", "server"),
    "key-derivation": ("name",),
    "hello": ("packets", "content", "insecure"),
    "messages": (
        "request",
        "response",
        "error",
        "id",
        "integer",
        "order",
        "payload",
        "first_id",
        "server_first_id",
        "id_step",
    ),
}
"""The keys that are written also where they say what is the default."""
