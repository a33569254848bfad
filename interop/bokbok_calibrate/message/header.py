"""Messages with a binary header: a tag, an ID, and then the datum.

What this module knows: where tag and ID may be in a header. `fit_datums` has messages that are datums.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bokbok.errors import BokbokError, ReadError
from bokbok.sexpr import loads
from bokbok.wire.messages import ERROR, REQUEST, RESPONSE, BinaryHeader, legible

from ..clock import Clock
from .body import Body, Fit, Slot, finished, numbering, other_side
from .reading import written

__all__ = ["fit_binary"]

_STRUCTS = {
    "u32-be": ">I", "u32-le": "<I", "u16-be": ">H", "u16-le": "<H", "u64-be": ">Q", "u64-le": "<Q", "u8": ">B",
}  # fmt: skip
_TAG_SIZES = (1, 0, 2, 4, 3)
_MOST_TAGS = 3
_LARGEST_ID = 1 << 31
_LARGE_ID = 1 << 16
_FEW = 3
_SAMPLE = 4


@dataclass(frozen=True)
class _Row:
    """One plaintext, taken apart."""

    tag: bytes
    id: int
    rest: bytes

    @property
    def datum(self) -> Any:
        """The datum after the header; `None` if it cannot be read."""
        return _datum_in(self.rest)[0]

    @property
    def reads(self) -> bool:
        """Whether exactly one datum follows the header."""
        return _datum_in(self.rest)[1]


@functools.lru_cache(maxsize=1024)
def _datum_in(text: bytes) -> tuple[Any, bool]:
    if not text[:1].isspace():
        for shown in (text, legible(text)):
            if shown is not None:
                with contextlib.suppress(ReadError):
                    return loads(shown), True
    return None, False


def fit_binary(bodies: Sequence[Body], known: set[bytes], clock: Clock, *, whole: bool) -> list[Fit]:
    """Messages that fit all plaintexts; see `fit.fit_messages`."""
    out = []
    for ending in _endings(bodies):
        for tag_size in _TAG_SIZES:
            for name in _STRUCTS:
                for order in ("tag-id", "id-tag") if tag_size else ("tag-id",):
                    clock.check()
                    fit = _tried(bodies, known, tag_size, name, order, ending, whole)
                    if fit is not None:
                        fit.score -= 0 if tag_size == 1 else 5 + tag_size
                        out.append(fit)
        if out:
            break
    return out


def _endings(bodies: Sequence[Body]) -> list[str]:
    """White space that may follow each datum."""
    return [ending for ending in ("\r\n", "\n", " ") if all(b.data.endswith(ending.encode()) for b in bodies)] + [""]


def _rows(bodies: Sequence[Body], tag_size: int, name: str, order: str, ending: str) -> list[_Row] | None:
    layout = struct.Struct(_STRUCTS[name])
    size = tag_size + layout.size
    rows: list[_Row] = []
    for number, body in enumerate(bodies):
        if len(body.data) < size:
            return None
        if order == "tag-id":
            tag, id = body.data[:tag_size], layout.unpack_from(body.data, tag_size)[0]
        else:
            tag, id = body.data[layout.size : size], layout.unpack_from(body.data, 0)[0]
        if id > _LARGEST_ID:
            return None
        rows.append(_Row(tag or body.prefix, id, body.data[size:].removesuffix(ending.encode())))
        if number == _SAMPLE and not any(row.reads for row in rows):
            return None
    # Datums are read only if tags and IDs make sense, since datums may be long.
    if len({row.tag for row in rows}) > _MOST_TAGS:
        return None
    return rows


def _tried(
    bodies: Sequence[Body], known: set[bytes], tag_size: int, name: str, order: str, ending: str, whole: bool
) -> Fit | None:
    rows = _rows(bodies, tag_size, name, order, ending)
    if rows is None:
        return None
    tags = list(dict.fromkeys(row.tag for row in rows))
    if len(tags) == 1 and len({body.source for body in bodies}) > 1 and len(bodies) > _FEW:
        return None  # two sides that only ask, and never answer
    possible = [tag for tag in tags if _are_requests(bodies, rows, tag, whole=whole)]
    if not possible or not any(row.reads for row in rows):
        return None
    # An error may have its text there as it is; a request and a response have datums.
    unread = {row.tag for row in rows if not row.reads}
    if len(unread) > 1:
        return None

    def hits(tag: bytes) -> int:
        return sum(row.tag == tag and row.reads and _said(row.datum) in known for row in rows)

    for request in sorted(possible, key=hits, reverse=True):
        if request in unread:
            continue
        fit = _fitted(bodies, rows, request, unread, name, order, ending)
        if fit is not None:
            largest = max(row.id for row in rows)
            fit.hits = hits(request)
            fit.score += 3 * fit.hits - (0 if largest < _LARGE_ID else 20)
            step = getattr(fit.messages, "id_step", 1)
            fit.score -= 0 if step in (1, 2) else 10  # 256 is 1 in the other byte order
            fit.score -= struct.calcsize(_STRUCTS[name]) / 100 + 2 * len(fit.notes)
            return fit
    return None


def _said(datum: Any) -> bytes | None:
    """The content of a payload, whether nested or not."""
    if type(datum) is str:
        try:
            datum = loads(datum)
        except ReadError:
            return None
    return written(datum) if isinstance(datum, list) and datum and type(datum[0]) is str else None


def _are_requests(bodies: Sequence[Body], rows: Sequence[_Row], tag: bytes, *, whole: bool) -> bool:
    """Whether the IDs of messages with this tag rise, and the others answer one of them."""
    lists: dict[Slot, list[int]] = defaultdict(list)
    for body, row in zip(bodies, rows, strict=True):
        if row.tag == tag:
            lists[body.conn, body.source].append(row.id)
    if not all(a < b for numbers in lists.values() for a, b in itertools.pairwise(numbers)):
        return False
    heard = {(body.conn, body.source) for body in bodies}
    for body, row in zip(bodies, rows, strict=True):
        there = (body.conn, other_side(body.source))
        asked = lists.get(there, [])
        # The last requests of the other direction, or all of them, may not have been recorded.
        missing = there not in heard or (not whole and row.id > max(asked, default=-1))
        if row.tag != tag and row.id not in asked and not missing:
            return False
    return True


def _fitted(
    bodies: Sequence[Body], rows: Sequence[_Row], request: bytes, unread: set[bytes], name: str, order: str, ending: str
) -> Fit | None:
    asked = {(b.conn, b.source, r.id): r.datum for b, r in zip(bodies, rows, strict=True) if r.tag == request}
    tags = {row.tag for row in rows}

    def failures(tag: bytes) -> float:
        points = 5.0 if tag in unread else 0.0
        for body, row in zip(bodies, rows, strict=True):
            if row.tag == tag:
                question = asked.get((body.conn, other_side(body.source), row.id))
                text = question if type(question) is str else (written(question) or b"").decode("latin-1")
                points += 3 if '"fail"' in text or '"unknown"' in text or '\\"fail\\"' in text else -1
        return points

    answers = sorted(tags - {request}, key=failures)
    notes: list[str] = []
    seen = {REQUEST}
    size = len(request)
    free = [tag for n in range(1, 9) if (tag := bytes((n,)) * size) not in tags]
    if not size and len(answers) < 2:
        return None  # no tag at all tells an answer from a request
    if len(answers) == 2:
        response, error = answers
        seen |= {RESPONSE, ERROR}
    elif len(answers) == 1:
        response, error = answers[0], free[0]
        if response in unread:
            return None
        seen.add(RESPONSE)
        notes.append("no failed request was seen: the tag of an error is assumed")
    else:
        response, error = free[0], free[1]
        notes.append("no answer was seen: the tags of answers are assumed")
    datums = [row.datum for row in rows if row.tag in (request, response)]
    nested = all(type(datum) is str for datum in datums) and all(map(_reads, datums))
    texts = [row.datum for row in rows if row.tag == error]
    message = "bytes" if error in unread else "string"
    if message == "string" and texts and not all(type(text) is str for text in texts):
        return None
    if nested and message == "string" and texts and all(map(_reads_as_string, texts)):
        message = "text"
    ids = [(b.conn, b.source, r.id) for b, r in zip(bodies, rows, strict=True) if r.tag == request and not b.made_up]
    first, server_first, step, told = numbering(ids, shown=not any(body.made_up for body in bodies))
    try:
        messages = BinaryHeader(
            request, response, error, name, order, "string" if nested else "datum", message, ending,
            first_id=first, server_first_id=server_first, id_step=step,
        )  # fmt: skip
    except BokbokError:  # tags of different lengths
        return None
    kinds = {request: REQUEST, response: RESPONSE, error: ERROR}
    return finished(messages, bodies, [kinds[row.tag] for row in rows], seen, notes + told)


def _reads(text: str) -> bool:
    try:
        loads(text)
    except ReadError:
        return False
    return True


def _reads_as_string(text: str) -> bool:
    try:
        return type(loads(text)) is str
    except ReadError:
        return False
