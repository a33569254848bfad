"""Datums on the wire: every recorded vector, through the peer, byte for byte.

`bokbok_interop.vectors` has what CHICKEN 4.13.0 and 5.3.0 were seen to write, and values that were not recorded. This
module knows how a peer's dialect must write them.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from bokbok.errors import SexprError
from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_4_EXACT,
    Char,
    Symbol,
    dumps,
    loads,
)
from bokbok_traffic.capture import CLIENT, SERVER

from ..model import Failure
from ..peers.puppet import DIALECTS
from ..play import Play, Served, Side, Unsupported, readable, same, show
from ..raw import attack
from ..vectors import SIZES, load_dialect, load_lines, made, untag
from .base import case

BATCH = 120
"""Values in one request: few requests, and still a readable failure."""
AT_ONCE = 40
"""Spellings that are sent at once."""

_RECORDED = {"chicken-4-exact": "4.13.0", "chicken-5": "5.3.0"}


# `#:name` outside strings, characters and barred symbols: CHICKEN 5's keywords, which the profile writes as `name:`.
_KEYWORD = re.compile(
    rb'"(?:[^"\\]|\\.)*"|#\\.[^\s()]*|(#:)((?:\|(?:[^|\\]|\\.)*\||[^\s()|])+)|\|(?:[^|\\]|\\.)*\|', re.S
)


def _wire_keywords(text: bytes) -> bytes:
    return _KEYWORD.sub(lambda found: found[2] + b":" if found[1] else found[0], text)


@lru_cache(maxsize=1)
def _recorded() -> dict[str, dict[str, tuple[str, Any, bytes]]]:
    """By release: JSON of the value, to (type, value, what `write` printed)."""
    out: dict[str, dict[str, tuple[str, Any, bytes]]] = {}
    for release in _RECORDED.values():
        out[release] = {
            json.dumps(e["value"]): (e["value"]["t"], untag(e["value"]), bytes.fromhex(e["hex"]))
            for e in load_lines(release, "write")
        }
    return out


def written(value: Any, dialect: str, key: str | None = None) -> bytes:
    """What a peer of that dialect writes for a value: as recorded, or else as the library writes it."""
    release = _RECORDED.get(dialect)
    if release is not None and key is not None and key in _recorded()[release]:
        text = _recorded()[release][key][2]
        return _wire_keywords(text) if dialect == "chicken-5" else text
    return _wire_keywords(dumps(value, dialect=DIALECTS[dialect]))


def _close(one: Any, other: Any) -> bool:
    """Whether they are the same, except for digits of flonums that a 15-digit writer drops."""
    try:
        return bool(dumps(one, dialect=CHICKEN_4_EXACT) == dumps(other, dialect=CHICKEN_4_EXACT))
    except SexprError:
        return False


@cache
def plan(kinds: tuple[str, ...], client: str, server: str) -> list[tuple[Any, bytes, Any, bytes]]:
    """What is sent, and what must come back.

    Args:
        kinds: types of values.
        client: the dialect of the side that asks.
        server: the dialect of the side that answers.

    Returns:
        For each vector: the value, the client's bytes, the value as the server reads it, the server's bytes. Vectors
            whose bytes are not read back as the value (recorded faults of CHICKEN's own `write`) are left out.
    """
    out = []
    values: dict[str, tuple[str, Any]] = {}
    for release in _RECORDED.values():
        values.update({key: (kind, value) for key, (kind, value, _) in _recorded()[release].items()})
    values.update({json.dumps(e["value"]): (e["value"]["t"], untag(e["value"])) for e in load_dialect()})
    values.update({f"made {number}": each for number, each in enumerate(made.values())})
    seen: set[bytes] = set()
    for key, (kind, value) in values.items():
        bits = _bits(value)
        if kind not in kinds or bits is None or bits in seen:
            continue
        seen.add(bits)
        try:
            sent = written(value, client, key)
            if "chicken-5" in (client, server) and sent.startswith(b"##"):
                continue  # to CHICKEN 5 it is a symbol of another name
            there = loads(sent)
            answered = written(there, server, key if _bits(there) == _bits(value) else None)
            if not _close(there, value) or not _close(loads(answered), value):
                continue
        except SexprError:
            continue
        out.append((value, sent, there, answered))
    return out


def _bits(value: Any) -> bytes | None:
    try:
        return dumps(value, dialect=CHICKEN_4)
    except SexprError:
        return None


def dialect_of(side: Side) -> str | None:
    """The dialect that a peer claims, if it is a known one."""
    claimed = side.puppet.features.dialect
    return claimed if claimed in DIALECTS else None


async def _through(t: Play, *kinds: str) -> None:
    """Send every vector of these types through the client and the server, and check the bytes of both."""
    client, server = dialect_of(t.client) or "chicken-4", dialect_of(t.server) or "chicken-4"
    vectors = plan(kinds, client or "chicken-4", server or "chicken-4")
    if not vectors:
        raise Failure(f"no vectors of the types {', '.join(kinds)}")
    mine, _ = await t.pair()
    batches = [vectors[start : start + BATCH] for start in range(0, len(vectors), BATCH)]
    answers: list[Any] = []
    try:
        for batch in batches:
            answers.append(await mine.request(["echo", [value for value, *_ in batch]]))
    finally:
        # The side that wrote something wrong is to blame, whatever the other side made of it.
        conversation = t.conversation()
        for source, claimed, column, tag in ((CLIENT, client, 1, b"(request "), (SERVER, server, 3, b"(response ")):
            bodies = [p.body for p in conversation.packets if p.source == source and p.body.startswith(tag)]
            for body, batch in zip(bodies, batches, strict=False):
                if claimed is not None:
                    _compare(source, f"(dialect {claimed})", body, [vector[column] for vector in batch])
    for batch, answer in zip(batches, answers, strict=True):
        if not isinstance(answer, list) or len(answer) != len(batch):
            raise Failure(
                "an echo of a list came back as something else", expected=f"{len(batch)} values", actual=show(answer)
            )
        for (value, sent, _, _), back in zip(batch, answer, strict=True):
            if not _close(back, value):
                raise Failure("a value came back changed", expected=readable(sent), actual=show(back))
    if conversation.problem:
        raise Failure("the conversation cannot be read", actual=conversation.problem)


def _compare(source: str, dialect: str, body: bytes, texts: list[bytes]) -> None:
    inner = b" ".join(texts)
    if inner in body:
        return
    # Find the first datum that differs, for a helpful message.
    start = body.find(b'("echo" (') + 9 if source == CLIENT else body.find(b"(", 1) + 1
    at = start
    for text in texts:
        if body[at : at + len(text)] != text:
            raise Failure(
                f"a datum is not written as {dialect} writes it",
                expected=readable(text),
                actual=readable(body[at : at + len(text) + 24]),
                sentence="profile.dialect",
            )
        at += len(text) + 1
    problem = f"a list is not written as {dialect} writes it"
    raise Failure(problem, actual=readable(body[:80]), sentence="profile.dialect")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def strings(t: Play) -> None:
    """Every string is echoed, byte for byte."""
    await _through(t, "string")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def symbols(t: Play) -> None:
    """Every symbol is echoed, with and without bars, byte for byte."""
    await _through(t, "symbol")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def keywords(t: Play) -> None:
    """Every keyword is echoed, and all peers write it as foo:."""
    await _through(t, "keyword")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def fixnums(t: Play) -> None:
    """Every fixnum is echoed, byte for byte."""
    await _through(t, "fixnum", "boolean", "eof")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def flonums(t: Play) -> None:
    """Every flonum is echoed, in the digits of each peer's dialect."""
    await _through(t, "flonum")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def characters(t: Play) -> None:
    """Every character is echoed: named, numbered and raw."""
    await _through(t, "char")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def lists(t: Play) -> None:
    """Every list and dotted list is echoed, byte for byte."""
    await _through(t, "list", "dotted")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def vectors(t: Play) -> None:
    """Every vector is echoed, byte for byte."""
    await _through(t, "vector")


@case("request.message", "profile.dialect", only=("messages", "dialect"), once=True)
async def blobs_and_numeric_vectors(t: Play) -> None:
    """Every blob and SRFI-4 vector is echoed, byte for byte."""
    await _through(t, "blob", *(f"{tag}vector" for tag in SIZES))


@case("request.message", "about.symmetry", once=True)
async def from_server(t: Play) -> None:
    """The same values as requests of the server: they try its writer and the client's reader."""
    client, server = dialect_of(t.client) or "chicken-4", dialect_of(t.server) or "chicken-4"
    _, theirs = await t.pair()
    for kinds in (("string",), ("symbol", "keyword"), ("fixnum", "flonum", "char"), ("list", "vector", "dotted")):
        vectors = plan(kinds, server, client)
        for start in range(0, len(vectors), 200):
            batch = vectors[start : start + 200]
            answer = await theirs.request(["echo", [value for value, *_ in batch]])
            if not isinstance(answer, list) or len(answer) != len(batch):
                raise Failure("an echo of a list came back as something else", actual=show(answer))
            for (value, sent, _, _), back in zip(batch, answer, strict=True):
                # CHICKEN's own `read` may be wrong in a flonum's last bit, and so in the fifteenth digit that it
                # prints.
                near = isinstance(back, float) and isinstance(value, float) and math.isclose(back, value, rel_tol=1e-14)
                if not near and not _close(back, value):
                    raise Failure("a value came back changed", expected=readable(sent), actual=show(back))


@case("request.message", once=True)
async def flonums_exact(t: Play) -> None:
    """A flonum that 15 digits determine comes back as exactly the same double."""
    mine, theirs = await t.pair()
    numbers = [0.1, 0.5, 1e100, 1e-300, 123456789012345.0, -2.5e-5, 1e22, 3.14159, -0.0, 65536.0]
    for conn in (mine, theirs):
        answer = await conn.request(["echo", numbers])
        t.check(
            isinstance(answer, list)
            and all(isinstance(number, float) for number in answer)
            and struct.pack(f"{len(answer)}d", *answer) == struct.pack(f"{len(numbers)}d", *numbers),
            "flonums came back changed",
            expected=show(numbers),
            actual=show(answer),
        )


# Spellings that both releases read alike, and that no writer produces: a peer need not support them.
_FAR_FETCHED = {
    b"#+foo bar",
    b"(a . )",
    b"'",
    b"#${616}",
    b"#!optional",
    b"#!rest",
    b"#!key",
    b"a\x00b",
    b"#i1",
    b"#e1",
}


@cache
def spellings() -> list[tuple[bytes, Any]]:
    """Datums in spellings that `write` does not produce, and that CHICKEN 4.13.0 and 5.3.0 read alike."""
    read = [{entry["hex"]: entry for entry in load_lines(release, "read")} for release in _RECORDED.values()]
    found = []
    for hexed, entry in read[0].items():
        spelt = bytes.fromhex(hexed)
        other = read[1].get(hexed)
        if (
            other is not None
            and entry["value"] is not None
            and entry["value"] == other["value"]
            and not entry["rest"]
            and entry["value"]["t"] != "eof"
            and spelt not in _FAR_FETCHED
        ):
            found.append((spelt, untag(entry["value"])))
    known = {spelt for spelt, _ in found}
    return found + [(spelt, loads(spelt)) for spelt in made.SPELLINGS if spelt not in known]


def _fits_15_digits(value: Any) -> bool:
    """Whether its written form is close to it: fifteen digits of the largest flonum are beyond all flonums."""
    return _close(loads(dumps(value, dialect=CHICKEN_4_EXACT)), value)


async def _are_read(t: Play, spellings: Sequence[tuple[bytes, Any]], *, refusable: bool = False) -> None:
    """Check that each is read as CHICKEN reads it, or (if `refusable`) is answered with an error.

    Many are sent at once. If that fails, each of them is sent alone, to say which one is wrong.
    """
    if dialect_of(t.server) != "chicken-4":
        spellings = [(spelt, value) for spelt, value in spellings if _fits_15_digits(value)]
    served = await t.server.listen()
    for start in range(0, len(spellings), AT_ONCE):
        some = spellings[start : start + AT_ONCE]
        try:
            await _read_at_once(t, served, some, refusable=refusable)
        except Failure as failure:
            for one in some:
                await _read_at_once(t, served, [one], refusable=refusable)
            raise failure


async def _read_at_once(t: Play, served: Served, some: Sequence[tuple[bytes, Any]], *, refusable: bool) -> None:
    raw = await attack(t, served)
    alike = same if dialect_of(t.server) == "chicken-4" else _close  # this one keeps all digits of a flonum
    # A line feed after it, so that a comment at its end is complete.
    texts = [b'(request %d ("echo" %b\n))' % (number, spelt) for number, (spelt, _) in enumerate(some)]
    await raw.send(b"".join(map(raw.packet, texts)))
    shown = readable(some[0][0]) if len(some) == 1 else f"{len(some)} at once"
    for _ in some:
        try:
            kind, number, back = await raw.hear()
        except Failure as failure:
            problem = f"a datum was not answered: {shown}"
            raise Failure(problem, expected="an answer", actual=failure.actual or failure.problem) from failure
        spelt, value = some[number]
        t.check(
            (kind == "response" and alike(back, value)) or (refusable and kind == "error"),
            f"a datum was not read as CHICKEN reads it: {readable(spelt)}",
            expected=show(value) + (", or an error" if refusable else ""),
            actual=show(back) if kind == "response" else f"({kind} {number} {show(back)})",
        )
    await raw.close()


@case("profile.reads-like-chicken", "request.message", opponent="client", only=("messages", "counted"), once=True)
async def other_spellings(t: Play) -> None:
    """A datum in a spelling that write does not produce is read as both CHICKENs read it."""
    await _are_read(t, spellings())


@case("profile.reads-like-chicken", "profile.unreadable", opponent="client", only=("messages", "counted"), once=True)
async def rare_spellings(t: Play) -> None:
    """A datum in a rare spelling is read as both CHICKENs read it, or is refused: it is never read as another one."""
    await _are_read(t, [(spelt, loads(spelt)) for spelt in made.RARE_SPELLINGS], refusable=True)


@case("profile.dialect", "request.message", opponent="client", only=("messages", "dialect"), once=True)
async def beyond_fixnums(t: Play) -> None:
    """CHICKEN 4 has no whole numbers beyond its fixnums: a peer of its dialect does not write any."""
    dialect = dialect_of(t.server) or "chicken-5"
    if not dialect.startswith("chicken-4"):
        raise Unsupported(f"{t.server.puppet.peer} may write larger whole numbers, by its dialect")
    raw = await attack(t, await t.server.listen())
    for number, value in enumerate((1 << 62, -(1 << 62) - 1, 1 << 63, (1 << 62) - 1, -(1 << 62))):
        fits = -(1 << 62) <= value < 1 << 62
        await raw.say(b'(request %d ("echo" %d))' % (number, value))
        kind, back = await raw.answer_to(number)
        t.check(
            back == value and type(back) is int if fits else kind == "error" or isinstance(back, float),
            f"the answer to an echo of {value}",
            expected=str(value) if fits else "a flonum, or an error",
            actual=f"({kind} {number} {show(back)})",
        )


@case("request.message", "start.request-handler", once=True)
async def types_are_told_apart(t: Play) -> None:
    """The other end tells types apart: it names a string, a symbol, a character and a number differently."""
    mine, theirs = await t.pair()
    for conn in (mine, theirs):
        values = ["x", Symbol("x"), Char("x"), 1, 1.5, [1], (1,), b"x", True]
        names = [await conn.request(["type", value]) for value in values]
        pairs = [(0, 1), (0, 2), (1, 2), (5, 6), (0, 7), (3, 8), (0, 3), (5, 0)]
        for one, other in pairs:
            t.check(
                names[one] != names[other],
                f"the peer takes {show(values[one])} and {show(values[other])} for the same type",
                expected="two names",
                actual=show(names[one]),
            )
