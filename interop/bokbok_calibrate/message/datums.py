"""Messages that are datums: which part of each is the kind, which is the ID, and which is the content.

What this module knows: each choice of one number as the ID and one part as the datum of a plaintext (`views`) gives a
*shape*: the rest, with holes in their places. The right shapes are few and fit everything: IDs of requests count up,
answers name a request that waits for them, and the datums are those that a client is known to send.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bokbok.errors import BokbokError
from bokbok.sexpr import Char, Dotted, Keyword, Symbol, dumps, loads
from bokbok.wire.messages import ERROR, REQUEST, RESPONSE, Shapes

from ..clock import Clock
from .body import Body, Fit, Slot, finished, numbering, other_side, progression
from .reading import Key, View, views_of

__all__ = ["fit_datums"]

_MOST_REQUESTS = 40
_MOST_UNLIKELY = 10
"""How many forms of a request are tried in which no expected datum appears."""
_MOST_FITS = 4
_MOST_ANSWERS = 30
_MOST_TRIED = 12
_LARGEST = 1 << 64
_FEW = 3
"""The most requests without any answer: of more, one would have been answered."""


def fit_datums(
    bodies: Sequence[Body], inner: Sequence[Body], ending: str, known: set[bytes], clock: Clock, *, whole: bool
) -> list[Fit]:
    """Messages that fit all plaintexts; see `fit.fit_messages`.

    Args:
        bodies: the plaintexts.
        inner: the same without their common ending.
        ending: that ending.
        known: datums that may be expected, as written.
        clock: says when to give up.
        whole: whether the recording is complete.
    """
    return _Shapes(bodies, inner, ending, known, clock, whole).fits()


class _Shapes:
    """Messages that are datums."""

    def __init__(
        self, bodies: Sequence[Body], inner: Sequence[Body], ending: str, known: set[bytes], clock: Clock, whole: bool
    ) -> None:
        self.whole = whole
        self.bodies = bodies
        self.ending = ending
        self.known = known
        self.clock = clock
        self.tables: list[dict[Key, View]] = []
        self.cover: dict[Key, list[int]] = defaultdict(list)
        self.hits: dict[Key, int] = defaultdict(int)
        for index, body in enumerate(inner):
            clock.check()
            table = views_of(body.data)
            self.tables.append(table)
            for key, view in table.items():
                self.cover[key].append(index)
                if view.written in known and view.written not in (b"()", b"42"):
                    self.hits[key] += 1
            if not table:
                break

    def fits(self) -> list[Fit]:
        """Messages that fit, the likely forms of a request first."""
        if not self.tables[-1]:
            return []
        requests = []
        for key in self.cover:
            if self._is_plain_too(key):
                continue
            lists = self._numbers(key).values()
            steps = [progression(ids) for ids in lists]
            counts = all(step is not None for step in steps) and len({step for step in steps if step}) <= 1
            # IDs that both sides share, or all connections, have gaps, and still rise.
            rise = all(a < b for ids in lists for a, b in itertools.pairwise(ids))
            if not counts and not (rise and self.hits[key] >= 2):
                continue
            same_start = len({(source, ids[0]) for (_, source), ids in self._numbers(key).items()}) <= 2
            covered = len(self.cover[key]) + self.hits[key]
            simple = (key.form.id != "symbol", key.form.id_base == 10, not key.has_tail, not key.nested)
            order = (self.hits[key] > 0, counts, same_start, covered, *simple, -len(key.shape))
            requests.append((order, key))
        requests.sort(key=lambda item: item[0], reverse=True)
        out: list[Fit] = []
        unlikely = 0
        for _, key in requests[:_MOST_REQUESTS]:
            self.clock.check()
            unlikely += not self.hits[key]
            if unlikely > _MOST_UNLIKELY:
                break
            fit = self._with_answers(key)
            if fit is not None:
                fit.hits = self.hits[key]
                fit.score += fit.hits * 3 + len(self.cover[key]) - (5 if key.has_tail and not fit.hits else 0)
                fit.score -= len(key.shape) / 1000 + (key.form.id_base == 16) + 2 * len(fit.notes)
                out.append(fit)
                if len(out) >= _MOST_FITS:
                    break
        # A known datum is understood only if it is read as itself.
        return [fit for fit in out if fit.hits] or out

    def _is_plain_too(self, key: Key) -> bool:
        """Whether the same IDs are written without leading zeros, or in decimal digits: there is no evidence for
        more."""
        form = key.form
        plainer = [replace(form, id_width=0)] if form.id_width else []
        plainer += [replace(one, id_base=10) for one in (form, *plainer) if one.id_base == 16]
        mine = len(self.cover[key])
        return any(len(self.cover.get(replace(key, form=one), ())) >= mine for one in plainer)

    def _numbers(self, key: Key) -> dict[Slot, list[int]]:
        out: dict[Slot, list[int]] = defaultdict(list)
        for index in self.cover[key]:
            out[self.bodies[index].conn, self.bodies[index].source].append(self.tables[index][key].id)
        return out

    def _with_answers(self, key: Key) -> Fit | None:
        """Given the form of a request, the forms of its answers, so that nothing is left over."""
        bodies, tables = self.bodies, self.tables
        mine = set(self.cover[key])
        asked: dict[Slot, set[int]] = defaultdict(set)
        for index in mine:
            asked[bodies[index].conn, bodies[index].source].add(tables[index][key].id)
        rest = [index for index in range(len(bodies)) if index not in mine]
        if not rest and len({body.source for body in bodies}) > 1 and len(bodies) > _FEW:
            return None  # two sides that only ask, and never answer
        answers: dict[Key, list[int]] = defaultdict(list)
        heard = {(body.conn, body.source) for body in bodies}
        for index in rest:
            there = (bodies[index].conn, other_side(bodies[index].source))
            last = -1 if there not in heard else max(asked[there], default=-1) if not self.whole else _LARGEST
            for other, view in tables[index].items():
                # The last requests of the other direction, or all of them, may not have been recorded.
                if other.form == key.form and (view.id in asked[there] or view.id > last):
                    answers[other].append(index)
        # No request is answered twice.
        answers = {
            other: found
            for other, found in answers.items()
            if len({(bodies[i].conn, bodies[i].source, tables[i][other].id) for i in found}) == len(found)
        }
        if not set(rest) <= set().union(*answers.values()):
            return None
        best: Fit | None = None
        for response, error in itertools.islice(self._pairs(key, rest, answers), _MOST_TRIED):
            self.clock.check()
            fit = self._made(key, mine, response, error, answers)
            if fit is not None and (best is None or fit.score > best.score):
                best = fit
        return best

    def _pairs(self, key: Key, rest: list[int], answers: dict[Key, list[int]]) -> list[tuple[Key | None, Key | None]]:
        """The forms of a response and an error that leave nothing over, the likely ones first."""
        if not rest:
            return [(None, None)]
        skeleton = _skeleton(key.shape)

        def rank(other: Key) -> tuple[Any, ...]:
            same = _skeleton(other.shape) == skeleton
            known = sum(self.tables[i][other].written in self.known for i in answers[other])
            nested = other.nested == key.nested
            return same + nested, same, not other.has_tail, len(answers[other]), known, -len(other.shape)

        ranked = sorted(answers, key=rank, reverse=True)
        texts = [other for other in ranked if self._is_error(other, answers[other])]
        out: list[tuple[Key | None, Key | None]] = []
        for response in ranked[:_MOST_ANSWERS]:
            left = set(rest) - set(answers[response])
            if not left:
                out.append((response, None))
            errors = [e for e in texts if e != response and left <= set(answers[e]) and set(answers[e]) & set(rest)]
            errors.sort(key=lambda e: (not _alike(response, e), len(set(answers[e]) & set(answers[response]))))
            out += [(response, error) for error in errors[:3] if left or set(answers[error]) < set(answers[response])]
        # All answers are failures.
        out += [(None, error) for error in texts[:_MOST_ANSWERS] if set(rest) <= set(answers[error])]
        out.sort(key=lambda pair: pair[0] is None)
        return out

    def _is_error(self, key: Key, found: list[int]) -> bool:
        """Whether everything in the place of a datum may be an error's message."""
        return all(type(self.tables[i][key].payload) is str for i in found)

    def _made(
        self, key: Key, mine: set[int], response: Key | None, error: Key | None, answers: dict[Key, list[int]]
    ) -> Fit | None:
        bodies, tables = self.bodies, self.tables
        notes = []
        seen = {REQUEST}
        kinds = []
        in_error = set(answers[error]) if error is not None else set()
        in_response = set(answers[response]) if response is not None else set()
        for index in range(len(bodies)):
            failed = index in in_error and (index not in in_response or self._more_special(error, response))
            kinds.append(REQUEST if index in mine else ERROR if failed else RESPONSE)
        if RESPONSE in kinds:
            seen.add(RESPONSE)
        if ERROR in kinds:
            seen.add(ERROR)
        if response is None:
            notes.append("no answer was seen: its form is assumed to be the request's")
            response = replace(key, shape=_retagged(key.shape, "response"))
        if error is None:
            notes.append("no failed request was seen: the form of an error is assumed")
            error = replace(response, shape=_error_after(key.shape, response.shape), nested=False)
        requests = [
            (bodies[i].conn, bodies[i].source, tables[i][key].id) for i in sorted(mine) if not bodies[i].made_up
        ]
        first, server_first, step, told = numbering(requests, shown=not any(body.made_up for body in bodies))
        best: Fit | None = None
        for separator in (" ", "\n") if _is_bare(key.shape) else (" ",):
            try:
                shapes = Shapes(
                    key.shape, response.shape, error.shape.replace("DATUM", "MESSAGE"), key.form.id, key.form.id_prefix,
                    key.form.id_width, key.form.id_base, "string" if key.nested else "datum",
                    "text" if error.nested else "string", separator, self.ending,
                    first_id=first, server_first_id=server_first, id_step=step,
                )  # fmt: skip
            except BokbokError:  # a shape whose literals contain a hole's name
                return None
            fit = finished(shapes, bodies, kinds, seen, notes + told)
            if fit is not None and (best is None or fit.spelt < best.spelt):
                best = fit
        return best

    @staticmethod
    def _more_special(error: Key | None, response: Key | None) -> bool:
        return error is not None and (response is None or len(error.shape) > len(response.shape))


def _alike(a: Key, b: Key) -> bool:
    return _skeleton(a.shape) == _skeleton(b.shape)


def _is_bare(shape: str) -> bool:
    return len(loads(f"({shape})")) > 1


@functools.lru_cache(maxsize=4096)
def _skeleton(shape: str) -> str:
    """A shape with its literals blanked, which the shapes of a family share."""
    tokens = shape.replace("(", " ( ").replace(")", " ) ").split()
    return " ".join(token if token in ("(", ")", "ID", "DATUM", ".", "#") else "_" for token in tokens)


_NO_TAGS = ("ID", "DATUM", "type", "tag", "id", "kind")


def _retagged(shape: str, tag: str) -> str:
    """The form of a kind that was not seen: the request's, with another tag in the first literal."""

    def swap(part: Any) -> tuple[Any, bool]:
        if isinstance(part, Symbol) and part.value() in _NO_TAGS:
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

    new, done = swap(loads(f"({shape})"))
    if not done:
        return f"({tag} {shape})"
    return dumps(new).decode("utf-8", "surrogateescape")[1:-1]


def _name_of(tag: Any) -> str:
    if isinstance(tag, (Keyword, Char)):
        return tag.name if isinstance(tag, Keyword) else tag.value
    return tag.value() if isinstance(tag, Symbol) else str(tag)


_ERROR_TAGS = {("req", "res"): "err", ("q", "a"): "e", ("Q", "A"): "E", ("?", "="): "!", ("->", "<-"): "!"}
"""The tag of an error that suits those of a request and a response."""


def _error_after(request: str, response: str) -> str:
    """The form of an error that was not seen: the response's, with another tag at the place where it differs from a
    request."""
    mine, theirs = loads(f"({request})"), loads(f"({response})")

    def swap(a: Any, b: Any) -> tuple[Any, bool]:
        if type(a) is type(b) and isinstance(a, (list, tuple)) and len(a) == len(b):
            for index, (one, other) in enumerate(zip(a, b, strict=True)):
                new, done = swap(one, other)
                if done:
                    changed = [*b[:index], new, *b[index + 1 :]]
                    return (tuple(changed) if isinstance(b, tuple) else changed), True
            return b, False
        if isinstance(a, Dotted) and isinstance(b, Dotted):
            items, done = swap(list(a.items), list(b.items))
            if done:
                return Dotted(items, b.tail), True
            tail, done = swap(a.tail, b.tail)
            return Dotted(b.items, tail), done
        if type(a) is not type(b) or a == b:
            return b, False
        if type(a) is int:
            return max(a, b) + 1, True
        if not isinstance(a, (str, Symbol, Keyword, Char)):
            return b, False
        asked, answered = _name_of(a), _name_of(b)
        usual = "e" if len(answered) == 1 else "ERROR" if answered.isupper() else "error"
        tag = _ERROR_TAGS.get((asked, answered), usual)
        return type(b)(tag if tag not in (asked, answered) else "x"), True

    new, done = swap(mine, theirs)
    return dumps(new).decode("utf-8", "surrogateescape")[1:-1] if done else _retagged(request, "error")
