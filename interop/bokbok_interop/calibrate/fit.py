"""Messages: with plaintexts in hand, which part of each is the kind, which the ID, and which the datum.

What this module knows: how to find one form of request, response and error that all plaintexts have. What it refuses
to know: boxes, packets and keys.

Every way to see one number as the ID and one part as the datum of a plaintext gives a *shape*: what is left, with holes
in their places. The right shapes are few and fit everything: IDs of requests count up, answers name a request that
waits for them, and the datums are those that a client is known to send.
"""

from __future__ import annotations

import itertools
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bokbok.errors import ReadError, WriteError
from bokbok.sexpr import CHICKEN_4, CHICKEN_5, DIALECTS, Dialect, Dotted, Symbol, dumps, loads
from bokbok.wire.messages import ERROR, REQUEST, RESPONSE, Messages
from bokbok.wire.shapes import BinaryHeader, Shapes

__all__ = ["Body", "Fit", "fit_messages"]

_ID, _DATUM = Symbol("ID"), Symbol("DATUM")
_DEPTH = 4
_FORMATS = ("u32-be", "u32-le", "u16-be", "u16-le", "u64-be", "u64-le", "u8")
_STRUCTS = {
    "u8": ">B", "u16-be": ">H", "u16-le": "<H", "u32-be": ">I", "u32-le": "<I", "u64-be": ">Q", "u64-le": "<Q",
}  # fmt: skip


@dataclass(frozen=True)
class Body:
    """One plaintext.

    Attributes:
        conn: number of the connection.
        source: `client` or `server`.
        data: its bytes.
        prefix: the literal bytes in front of its box, or in front of it.
    """

    conn: int
    source: str
    data: bytes
    prefix: bytes = b""


@dataclass(frozen=True)
class View:
    """One way to see a plaintext: its shape, and what stands in the holes."""

    shape: str
    id: int
    form: str
    nested: bool
    payload: Any
    depth: int


@dataclass
class Fit:
    """Messages that explain all plaintexts.

    Attributes:
        messages: the strategy.
        kinds: of each plaintext, in order: request, response or error; `None` for those left over.
        dialects: those that write all datums as they are, or the ones that come nearest.
        spelt: how many plaintexts no dialect writes as they are.
        seen: the kinds that were seen.
        notes: what to tell.
        score: how well it fits; more is better.
    """

    messages: Messages
    kinds: list[int | None]
    dialects: list[Dialect]
    spelt: int
    seen: set[int]
    notes: list[str] = field(default_factory=list)
    score: float = 0


def _text(value: Any) -> bytes | None:
    try:
        return dumps(value, dialect=CHICKEN_4)
    except WriteError:
        try:
            return dumps(value, dialect=CHICKEN_5)
        except WriteError:
            return None


def _as_id(value: Any) -> tuple[int, str] | None:
    if type(value) is int and 0 <= value < 1 << 62:
        return value, "fixnum"
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 19 and str(int(value)) == value:
        return int(value), "string"
    if type(value) is float and 0 <= value < 1 << 50 and value == int(value):
        return int(value), "flonum"
    return None


Path = tuple[Any, ...]


def _places(value: Any, path: Path = (), depth: int = 0) -> Iterator[tuple[Path, Any]]:
    """Every part of a datum that a hole could stand for: where, and what it is. `("t", n)`: the tail from item n."""
    yield path, value
    if depth >= _DEPTH:
        return
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value[:6]):
            yield from _places(item, (*path, index), depth + 1)
        if isinstance(value, list):
            for index in range(1, min(len(value), 4) + 1):
                yield (*path, ("t", index)), value[index:]
    elif isinstance(value, Dotted):
        for index, item in enumerate(value.items[:6]):
            yield from _places(item, (*path, index), depth + 1)
        count = len(value.items)
        for index in range(1, count + 1):
            rest = value.tail if index == count else Dotted(value.items[index:], value.tail)
            yield (*path, ("t", index)), rest


def _replace(value: Any, path: Path, hole: Any) -> Any:
    if not path:
        return hole
    step, rest = path[0], path[1:]
    if isinstance(step, tuple):
        items = list(value[: step[1]] if isinstance(value, list) else value.items[: step[1]])
        return Dotted(items, hole)
    if isinstance(value, Dotted):
        items = list(value.items)
        items[step] = _replace(items[step], rest, hole)
        return Dotted(items, value.tail)
    items = list(value)
    items[step] = _replace(items[step], rest, hole)
    return tuple(items) if isinstance(value, tuple) else items


def _inside(path: Path, other: Path) -> bool:
    """Whether a place lies in what a hole at `other` takes."""
    if len(path) < len(other):
        return False
    for mine, theirs in zip(path, other, strict=False):
        if isinstance(theirs, tuple):
            number = mine[1] if isinstance(mine, tuple) else mine
            return bool(number >= theirs[1])
        if mine != theirs:
            return False
    return True


def _views(body: bytes, known: set[bytes]) -> tuple[list[View], Any]:
    bare = False
    try:
        value = loads(body)
    except ReadError:
        try:
            value = loads(b"(" + body + b"\n)")
        except ReadError:
            return [], None
        if len(value) < 2:
            return [], None
        bare = True
    if not isinstance(value, (list, tuple, Dotted)):
        return [], value
    places = list(_places(value))
    ids = [(path, found) for path, part in places if (found := _as_id(part)) and not isinstance(path[-1:], str)]
    ids = [(path, found) for path, found in ids if path and not isinstance(path[-1], tuple) and len(path) <= 3]
    # The ID may be a tail as well: `((id . 0) …)`.
    ids += [
        (path, found)
        for path, part in places
        if path and isinstance(path[-1], tuple) and len(path) <= 3 and (found := _as_id(part))
    ]
    views: list[View] = []
    for id_path, (number, form) in ids[:12]:
        marked = None
        for path, part in places:
            if not path or len(path) > 3 or _inside(id_path, path) or _inside(path, id_path):
                continue
            marked = _replace(value, path, _DATUM) if _tail_after(path, id_path) else None
            shaped = (
                _replace(marked, id_path, _ID)
                if marked is not None
                else _replace(_replace(value, id_path, _ID), path, _DATUM)
            )
            text = _text(shaped)
            if text is None or len(text) > 200:
                continue
            if bare:
                text = text[1:-1]
            shape = text.decode("utf-8", "surrogateescape")
            views.append(View(shape, number, form, False, part, len(path)))
            if type(part) is str and part:
                try:
                    inner = loads(part)
                except ReadError:
                    continue
                views.append(View(shape, number, form, True, inner, len(path)))
    return views, value


def _tail_after(path: Path, id_path: Path) -> bool:
    return bool(path) and isinstance(path[-1], tuple)


Slot = tuple[int, str]


def _progression(ids: Sequence[int]) -> int | None:
    """The step of an arithmetic progression upwards; 0 for a single number."""
    if len(ids) < 2:
        return 0
    step = ids[1] - ids[0]
    if step < 1 or any(b - a != step for a, b in itertools.pairwise(ids)):
        return None
    return step


def _other(source: str) -> str:
    return "server" if source == "client" else "client"


def fit_messages(bodies: Sequence[Body], known: set[bytes]) -> list[Fit]:
    """Find the forms of request, response and error.

    Args:
        bodies: plaintexts, for each connection and direction in order.
        known: datums that may be expected, as written.

    Returns:
        What fits all of them, best first; often one, none if nothing does.
    """
    if not bodies:
        return []
    fits = _fit_datums(bodies, known)
    if not fits:
        fits = _fit_binary(bodies, known)
    fits.sort(key=lambda fit: -fit.score)
    return fits


@dataclass
class _Key:
    shape: str
    form: str
    nested: bool

    def __hash__(self) -> int:
        return hash((self.shape, self.form, self.nested))


def _fit_datums(bodies: Sequence[Body], known: set[bytes]) -> list[Fit]:
    tables: list[dict[tuple[str, str, bool], View]] = []
    cover: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    hits: dict[tuple[str, str, bool], int] = defaultdict(int)
    for index, body in enumerate(bodies):
        views, value = _views(body.data, known)
        if value is None:
            return []
        table = {}
        for view in views:
            key = (view.shape, view.form, view.nested)
            if key in table:
                continue
            table[key] = view
            cover[key].append(index)
            written = _text(view.payload)
            if written is not None and written in known and written not in (b"()", b"42"):
                hits[key] += 1
        tables.append(table)

    def numbers(key: tuple[str, str, bool]) -> dict[Slot, list[int]]:
        out: dict[Slot, list[int]] = defaultdict(list)
        for index in cover[key]:
            out[bodies[index].conn, bodies[index].source].append(tables[index][key].id)
        return out

    requests = []
    for key in cover:
        steps = [_progression(ids) for ids in numbers(key).values()]
        counts = all(step is not None for step in steps) and len({step for step in steps if step}) <= 1
        # IDs that are global to a process, or random, still never come twice.
        distinct = all(len(set(ids)) == len(ids) for ids in numbers(key).values())
        if not counts and not (distinct and hits[key] >= 2):
            continue
        tail = " . DATUM" in key[0]
        order = (hits[key] > 0, counts, len(cover[key]) + hits[key], not tail, not key[2], -len(key[0]))
        requests.append((order, key))
    requests.sort(reverse=True)
    out: list[Fit] = []
    for _, key in requests[:40]:
        fit = _with_answers(key, tables, cover, bodies, known, hits)
        if fit is not None:
            fit.score += hits[key] * 3 + len(cover[key]) - (5 if " . DATUM" in key[0] else 0) - len(key[0]) / 1000
            out.append(fit)
            if len(out) >= 4:
                break
    return out


def _with_answers(
    key: tuple[str, str, bool],
    tables: list[dict[tuple[str, str, bool], View]],
    cover: dict[tuple[str, str, bool], list[int]],
    bodies: Sequence[Body],
    known: set[bytes],
    hits: dict[tuple[str, str, bool], int],
) -> Fit | None:
    """Given the form of a request: those of its answers, so that nothing is left over."""
    asked: dict[Slot, set[int]] = defaultdict(set)
    mine = set(cover[key])
    for index in mine:
        asked[bodies[index].conn, bodies[index].source].add(tables[index][key].id)
    rest = [index for index in range(len(bodies)) if index not in mine]
    shape, form, nested = key
    candidates: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for index in rest:
        for other, view in tables[index].items():
            if other[1] == form and view.id in asked[bodies[index].conn, _other(bodies[index].source)]:
                candidates[other].append(index)
    skeleton = _skeleton(shape)

    def rank(other: tuple[str, str, bool]) -> tuple[Any, ...]:
        known_payloads = sum(_text(tables[i][other].payload) in known for i in candidates[other])
        same = _skeleton(other[0]) == skeleton
        return (
            same + (other[2] == nested),
            same,
            " . DATUM" not in other[0],
            len(candidates[other]),
            known_payloads,
            -len(other[0]),
        )

    once = {
        other
        for other, found in candidates.items()
        if len({(bodies[i].conn, bodies[i].source, tables[i][other].id) for i in found}) == len(found)
    }
    chosen: list[tuple[str, str, bool]] = []
    left = set(rest)
    for _ in range(2):
        if not left:
            break
        able = [other for other in once if set(candidates[other]) & left]
        if chosen:
            able = [other for other in able if left <= set(candidates[other])]
        if not able:
            return None
        able.sort(key=rank, reverse=True)
        best = None
        for other in able[:30]:
            remaining = left - set(candidates[other])
            if not chosen and remaining:
                # The other kind must take all that remains.
                second = [
                    o for o in once if remaining <= set(candidates[o]) and o != other
                    and all(type(tables[i][o].payload) is str or o[2] for i in remaining)
                ]  # fmt: skip
                if not second:
                    continue
            best = other
            break
        if best is None:
            return None
        chosen.append(best)
        left -= set(candidates[best])
    if left:
        return None
    response, error = _which(chosen, candidates, tables, bodies, key, mine)
    notes = []
    seen = {REQUEST}
    if response is not None:
        seen.add(RESPONSE)
    else:
        notes.append("no answer was seen: its form is assumed to be the request's")
        response = (_retag(shape, "response"), form, nested)
    if error is not None:
        seen.add(ERROR)
    else:
        notes.append("no failed request was seen: the form of an error is assumed")
        error = (_retag(shape, "error"), form, nested)
    kinds: list[int | None] = [None] * len(bodies)
    for index in range(len(bodies)):
        kinds[index] = REQUEST if index in mine else None
    for index in rest:
        in_error = error in tables[index] and index in candidates.get(error, ())
        in_response = response in tables[index] and index in candidates.get(response, ())
        kinds[index] = (
            ERROR
            if in_error and (not in_response or (ERROR in seen and len(error[0]) > len(response[0])))
            else RESPONSE
        )
    message = "string"
    texts = [tables[i][error].payload for i in range(len(bodies)) if kinds[i] == ERROR and error in tables[i]]
    if error[2] and texts:
        message = "text"
    first, server_first, step, note = _numbering(
        [(bodies[i].conn, bodies[i].source, tables[i][key].id) for i in sorted(mine)]
    )
    notes += note
    error_shape = error[0].replace("DATUM", "MESSAGE")
    try:
        base = Shapes(
            shape, response[0], error_shape, id=form, payload="string" if nested else "datum", message=message,
            first_id=first, server_first_id=server_first, id_step=step,
        )  # fmt: skip
    except ValueError:
        return None
    except Exception:  # a shape whose literals hold a hole's name
        return None
    return _finish(base, bodies, kinds, seen, notes)


def _skeleton(shape: str) -> str:
    """A shape with its literals blanked: what the shapes of a family have in common."""
    out = []
    for token in shape.replace("(", " ( ").replace(")", " ) ").split():
        out.append(
            token if token in ("(", ")", "ID", "DATUM", ".") or (token.startswith("#") and token == "#") else "_"  # noqa: S105
        )
    return " ".join(out)


def _retag(shape: str, tag: str) -> str:
    """The form of a kind that was not seen: the request's, with another tag in the first literal."""
    value = loads(f"({shape})")

    def swap(part: Any) -> tuple[Any, bool]:
        if isinstance(part, Symbol) and part.value() in ("ID", "DATUM", "type", "tag", "id", "kind"):
            return part, False
        if isinstance(part, (list, tuple)):
            for index, item in enumerate(part):
                new, done = swap(item)
                if done:
                    changed = [*part[:index], new, *part[index + 1 :]]
                    return (tuple(changed) if isinstance(part, tuple) else changed), True
            return part, False
        if isinstance(part, Dotted):
            items, done = swap(list(part.items))
            if done:
                return Dotted(items, part.tail), True
            tail, done = swap(part.tail)
            return Dotted(part.items, tail), done
        if isinstance(part, Symbol):
            return Symbol(tag), True
        if type(part) is str:
            return tag, True
        if type(part) is int:
            return part + (1 if tag == "response" else 2), True
        return part, False

    new, done = swap(value)
    if not done:
        return f"({tag} {shape})"
    text = dumps(new).decode("utf-8", "surrogateescape")
    return text[1:-1]


def _which(
    chosen: list[tuple[str, str, bool]],
    candidates: dict[tuple[str, str, bool], list[int]],
    tables: list[dict[tuple[str, str, bool], View]],
    bodies: Sequence[Body],
    key: tuple[str, str, bool],
    mine: set[int],
) -> tuple[tuple[str, str, bool] | None, tuple[str, str, bool] | None]:
    """Which of the answers' forms is the response and which the error."""
    payloads: dict[tuple[int, str, int], Any] = {
        (bodies[i].conn, bodies[i].source, tables[i][key].id): tables[i][key].payload for i in mine
    }

    def failures(other: tuple[str, str, bool]) -> float:
        points = 0.0
        for i in candidates[other]:
            view = tables[i][other]
            asked = payloads.get((bodies[i].conn, _other(bodies[i].source), view.id))
            if type(view.payload) is not str:
                points -= 3
            if isinstance(asked, list) and asked and type(asked[0]) is str:
                if asked[0] in ("fail", "raise", "unknown", "unwritable"):
                    points += 5
                elif asked[0] in ("ping", "echo"):
                    points -= 5
        for word, value in (("err", 2.0), ("fail", 2.0), ("exn", 2.0), ("resp", -2.0), ("ok", -1.0), ("ret", -1.0)):
            if word in other[0]:
                points += value
        return points / max(1, len(candidates[other]))

    if not chosen:
        return None, None
    if len(chosen) == 1:
        return (None, chosen[0]) if failures(chosen[0]) > 2 else (chosen[0], None)
    a, b = sorted(chosen, key=failures)
    return a, b


def _numbering(ids: list[tuple[int, str, int]]) -> tuple[int, int, int, list[str]]:
    """The first IDs of either side and their step; what to tell where they are not so."""
    lists: dict[Slot, list[int]] = defaultdict(list)
    for conn, source, number in ids:
        lists[conn, source].append(number)
    steps = {step for numbers in lists.values() if (step := _progression(numbers))}
    step = steps.pop() if len(steps) == 1 else 1
    notes = []
    firsts: dict[str, int] = {}
    for source in ("client", "server"):
        found = {numbers[0] for (_, side), numbers in lists.items() if side == source}
        if len(found) > 1:
            notes.append(f"the {source}'s IDs begin differently in each connection: a peer that takes any is assumed")
        if found:
            firsts[source] = min(found)
    if steps:
        notes.append("the IDs of requests do not count up by one step: a peer that takes any is assumed")
    first = firsts.get("client", firsts.get("server", 0))
    if "server" not in firsts:
        notes.append("no request of the server's was seen: where its IDs begin is assumed")
    return first, firsts.get("server", first + 1 if step == 2 else first), step, notes


def _finish(
    messages: Messages, bodies: Sequence[Body], kinds: list[int | None], seen: set[int], notes: list[str]
) -> Fit | None:
    """Which dialects write the datums as they came; `None` if the messages do not decode at all."""
    exact: dict[str, int] = {}
    spelt: dict[str, int] = {}
    sense = 0.0
    for dialect in DIALECTS.values():
        codec = messages.bind(dialect, 100_000)
        same = 0
        said: list[tuple[int, int, Any]] = []
        for body, kind in zip(bodies, kinds, strict=True):
            try:
                found, id, datum = codec.decode(body.data)
            except Exception:
                return None
            if kind is not None and found != kind:
                return None
            said.append((found, id, datum))
            if hasattr(datum, "problem"):
                continue
            try:
                again = (codec.request, codec.response, codec.error)[found](id, datum)
            except WriteError:
                continue
            same += again == body.data
        sense = max(sense, _sense(bodies, said))
        exact[dialect.name] = same
        spelt[dialect.name] = len(bodies) - same
    most = max(exact.values())
    dialects = [dialect for name, dialect in DIALECTS.items() if exact[name] == most]
    return Fit(messages, kinds, dialects, len(bodies) - most, seen, notes, score=most + 4 * sense)


def _sense(bodies: Sequence[Body], said: Sequence[tuple[int, int, Any]]) -> float:
    """How well the answers suit the questions: an echo is what was asked for, a failure says what it was told to."""
    asked: dict[tuple[int, str, int], Any] = {}
    for body, (kind, id, datum) in zip(bodies, said, strict=True):
        if kind == REQUEST:
            asked[body.conn, body.source, id] = datum
    points = 0.0
    for body, (kind, id, datum) in zip(bodies, said, strict=True):
        question = asked.get((body.conn, _other(body.source), id))
        if kind == REQUEST or not isinstance(question, list) or len(question) < 2 or type(question[0]) is not str:
            continue
        name, what = question[0], question[1]
        if name in ("echo", "ping"):
            points += (
                1 if kind == RESPONSE and _text(datum) == _text(what if name == "echo" else ["pong", what]) else -1
            )
        elif name == "fail" and type(what) is str:
            points += 1 if kind == ERROR and what in str(datum) else -1
    return points


def _fit_binary(bodies: Sequence[Body], known: set[bytes]) -> list[Fit]:
    out = []
    for tag_size in (1, 0, 2, 4):
        for name in _FORMATS:
            layout = struct.Struct(_STRUCTS[name])
            for order in ("tag-id", "id-tag") if tag_size else ("tag-id",):
                fit = _try_binary(bodies, known, tag_size, name, layout, order)
                if fit is not None:
                    fit.score -= 0 if tag_size == 1 else 5 + tag_size
                    out.append(fit)
    return out


def _try_binary(
    bodies: Sequence[Body], known: set[bytes], tag_size: int, name: str, layout: struct.Struct, order: str
) -> Fit | None:
    size = tag_size + layout.size
    rows: list[tuple[bytes, int, Any, bool]] = []
    for body in bodies:
        if len(body.data) <= size:
            return None
        if order == "tag-id":
            tag, number = body.data[:tag_size], layout.unpack_from(body.data, tag_size)[0]
        else:
            tag, number = body.data[layout.size : size], layout.unpack_from(body.data, 0)[0]
        try:
            rows.append((tag or body.prefix, number, loads(body.data[size:]), True))
        except ReadError:
            rows.append((tag or body.prefix, number, body.data[size:], False))
    tags = {row[0] for row in rows}
    if len(tags) > 3 or not any(row[3] for row in rows):
        return None
    if any(row[1] > 1 << 31 for row in rows):
        return None
    unread = {row[0] for row in rows if not row[3]}
    if len(unread) > 1:
        return None

    def is_request(tag: bytes) -> bool:
        lists: dict[Slot, list[int]] = defaultdict(list)
        for body, row in zip(bodies, rows, strict=True):
            if row[0] == tag:
                lists[body.conn, body.source].append(row[1])
        return all(len(set(numbers)) == len(numbers) for numbers in lists.values())

    def hits(tag: bytes) -> int:
        count = 0
        for row in rows:
            if row[0] == tag and row[3]:
                payload = row[2]
                if type(payload) is str:
                    try:
                        payload = loads(payload)
                    except ReadError:
                        continue
                if isinstance(payload, list) and payload and type(payload[0]) is str:
                    count += _text(payload) in known
        return count

    for request in sorted(tags, key=hits, reverse=True):
        if request in unread or not is_request(request):
            continue
        asked = {(b.conn, b.source, r[1]): r[2] for b, r in zip(bodies, rows, strict=True) if r[0] == request}
        if not all(
            (b.conn, _other(b.source), r[1]) in asked for b, r in zip(bodies, rows, strict=True) if r[0] != request
        ):
            continue
        answers = sorted(tags - {request})

        def failures(tag: bytes) -> float:
            points = 5.0 if tag in unread else 0.0
            for b, r in zip(bodies, rows, strict=True):
                if r[0] == tag:
                    question = asked[b.conn, _other(b.source), r[1]]  # noqa: B023
                    text = question if type(question) is str else (_text(question) or b"").decode("latin-1")
                    points += 3 if '"fail"' in text or '"unknown"' in text else -1
            return points

        answers.sort(key=failures)
        notes: list[str] = []
        seen = {REQUEST}
        free = [bytes((n,)) * tag_size for n in range(1, 9) if bytes((n,)) * tag_size not in tags]
        if len(answers) == 2:
            response, error = answers
            seen |= {RESPONSE, ERROR}
        elif len(answers) == 1:
            response, error = answers[0], free[0] if free else b""
            seen.add(RESPONSE)
            notes.append("no failed request was seen: the tag of an error is assumed")
        else:
            response, error = (free[0], free[1]) if len(free) > 1 else (b"", b"")
            notes.append("no answer was seen: the tags of answers are assumed")
        nested = all(type(r[2]) is str for r in rows if r[0] in (request, response)) and _all_read(
            [r[2] for r in rows if r[0] in (request, response)]
        )
        kind_of = {request: REQUEST, response: RESPONSE, error: ERROR}
        message = "bytes" if error in unread else "string"
        texts = [r[2] for r in rows if r[0] == error]
        if nested and message == "string" and texts and all(type(t) is str for t in texts) and _all_strings(texts):
            message = "text"
        first, server_first, step, note = _numbering(
            [(b.conn, b.source, r[1]) for b, r in zip(bodies, rows, strict=True) if r[0] == request]
        )
        try:
            messages = BinaryHeader(
                request, response, error, name, order, "string" if nested else "datum", message,
                first_id=first, server_first_id=server_first, id_step=step,
            )  # fmt: skip
        except Exception:  # tags of different lengths
            return None
        fit = _finish(messages, bodies, [kind_of[row[0]] for row in rows], seen, notes + note)
        if fit is not None:
            largest = max(row[1] for row in rows)
            fit.score += 3 * hits(request) - (0 if largest < 1 << 16 else 20) - layout.size / 100
            return fit
    return None


def _all_strings(texts: list[str]) -> bool:
    try:
        return all(type(loads(text)) is str for text in texts)
    except ReadError:
        return False


def _all_read(texts: list[Any]) -> bool:
    try:
        return all(loads(text) is not Ellipsis for text in texts)
    except ReadError:
        return False
