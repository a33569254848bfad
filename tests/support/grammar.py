"""The grammar of docs/sexpr.md: reads it from the document, derives texts from it, and recognises texts by it.

It knows the notation (that of the XML recommendation, over bytes). A production is a tree of tuples whose first item
says what it is: `set` (bytes), `ref` (name), `seq` and `alt` (trees), `minus` (a tree, and
another one whose texts it is not), `many` (tree, least, most or `None`).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "sexpr.md"
Tree = tuple[Any, ...]

_TOKEN = re.compile(
    r"""\s*(?:(?P<rule>[\w-]+)\s*::=|(?P<ref>[a-zA-Z][\w-]*)|"(?P<double>[^"]*)"|'(?P<single>[^']*)'|\[(?P<set>[^\]]*)\]"""
    r"""|(?P<byte>\#x[0-9A-F]+)|(?P<sign>[()|*+?-]))"""
)
_IN_SET = re.compile(r"(#x[0-9A-F]{1,2}|.)(?:-(#x[0-9A-F]{1,2}|.))?", re.DOTALL)
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def _byte(text: str) -> int:
    return int(text[2:], 16) if text.startswith("#x") else ord(text)


def _set(text: str) -> Tree:
    negated = text.startswith("^")
    found: set[int] = set()
    for first, last in _IN_SET.findall(text[negated:]):
        found.update(range(_byte(first), _byte(last or first) + 1))
    return ("set", bytes(byte for byte in range(256) if (byte in found) != negated))


def parse(text: str) -> dict[str, Tree]:
    """The productions by name, in their order."""
    tokens: list[tuple[str, str]] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        assert match is not None, text[position : position + 40]
        assert match.lastgroup is not None
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()

    def alternatives() -> Tree:
        found = [sequence()]
        while tokens and tokens[0] == ("sign", "|"):
            del tokens[0]
            found.append(sequence())
        return ("alt", *found) if len(found) > 1 else found[0]

    def sequence() -> Tree:
        found: list[Tree] = []
        minuend: Tree | None = None
        while tokens and tokens[0][0] != "rule" and tokens[0] not in (("sign", "|"), ("sign", ")")):
            kind, value = tokens.pop(0)
            if (kind, value) == ("sign", "-"):
                minuend = found.pop()
                continue
            if kind == "ref":
                tree: Tree = ("ref", value)
            elif kind in ("double", "single"):
                tree = ("seq", *[("set", bytes((byte,))) for byte in value.encode("ascii")])
            elif kind == "set":
                tree = _set(value)
            elif kind == "byte":
                tree = ("set", bytes((_byte(value),)))
            else:
                assert value == "(", value
                tree = alternatives()
                assert tokens.pop(0) == ("sign", ")")
            if tokens and tokens[0][0] == "sign" and tokens[0][1] in _REPEATS:
                tree = ("many", tree, *_REPEATS[tokens.pop(0)[1]])
            if minuend is not None:
                tree, minuend = ("minus", minuend, tree), None
            found.append(tree)
        return ("seq", *found) if len(found) != 1 else found[0]

    rules: dict[str, Tree] = {}
    while tokens:
        kind, name = tokens.pop(0)
        assert kind == "rule", name
        assert name not in rules, name
        rules[name] = alternatives()
    return rules


class Grammar:
    """The productions, with functions to derive texts and to recognise them."""

    def __init__(self, rules: dict[str, Tree]) -> None:
        self.rules = rules
        self.heights: dict[str, float] = dict.fromkeys(rules, math.inf)
        while True:
            heights = {name: 1 + self._height(tree) for name, tree in rules.items()}
            if heights == self.heights:
                break
            self.heights = heights

    def _height(self, tree: Tree) -> float:
        """How many productions are nested in the flattest derivation."""
        kind = tree[0]
        if kind == "set":
            return 0
        if kind == "ref":
            return self.heights[tree[1]]
        if kind == "many":
            return self._height(tree[1]) if tree[2] else 0
        if kind == "minus":
            return self._height(tree[1])
        return (min if kind == "alt" else max)(map(self._height, tree[1:]), default=0)

    def derive(self, name: str, choose: Callable[[int], int], height: int, used: set[Tree] | None = None) -> bytes:
        """A text of that production.

        Args:
            name: the production.
            choose: returns a number from 0 up to, but not including, its argument.
            height: how many productions may nest, if that is enough to end at all.
            used: notes the alternatives that were chosen.
        """

        def expand(tree: Tree, left: int) -> bytes:
            kind = tree[0]
            if kind == "set":
                return tree[1][choose(len(tree[1])) :][:1] if len(tree[1]) > 1 else tree[1]
            if kind == "ref":
                return expand(self.rules[tree[1]], left - 1)
            if kind == "seq":
                return b"".join([expand(part, left) for part in tree[1:]])
            if kind == "many":
                _, inner, least, most = tree
                count = least if self._height(inner) > left else least + choose((most or 3) + 1 - least)
                return b"".join([expand(inner, left) for _ in range(count)])
            if kind == "minus":
                while self._matches(tree[2], text := expand(tree[1], left)):
                    pass
                return text
            fitting = [part for part in tree[1:] if self._height(part) <= left]
            fitting = fitting or [min(tree[1:], key=self._height)]
            chosen = fitting[choose(len(fitting))]
            if used is not None:
                used.add((tree, chosen))
            return expand(chosen, left)

        return expand(("ref", name), height)

    def alternatives(self) -> set[Tree]:
        """Every alternative, as `derive` notes it."""
        found: set[Tree] = set()
        trees = list(self.rules.values())
        while trees:
            tree = trees.pop()
            if tree[0] == "alt":
                found.update((tree, part) for part in tree[1:])
            trees += [part for part in tree[1:] if isinstance(part, tuple)]
        return found

    def recognises(self, name: str, text: bytes) -> bool:
        """Whether the text is one of that production."""
        return self._matches(self.rules[name], text)

    def _matches(self, whole: Tree, text: bytes) -> bool:
        known: dict[tuple[int, int], frozenset[int]] = {}

        def ends(tree: Tree, start: int) -> frozenset[int]:
            key = (id(tree), start)
            if key not in known:
                known[key] = frozenset(search(tree, start))
            return known[key]

        def search(tree: Tree, start: int) -> Iterable[int]:
            kind = tree[0]
            if kind == "set":
                return (start + 1,) if start < len(text) and text[start] in tree[1] else ()
            if kind == "ref":
                return ends(self.rules[tree[1]], start)
            if kind == "alt":
                return set().union(*(ends(part, start) for part in tree[1:]))
            if kind == "seq":
                reached = {start}
                for part in tree[1:]:
                    reached = {end for position in reached for end in ends(part, position)}
                return reached
            if kind == "minus":
                return ends(tree[1], start) - ends(tree[2], start)
            _, inner, least, most = tree
            fresh = set(ends(inner, start))
            found = fresh if least else fresh | {start}
            while fresh and most is None:
                fresh = {end for position in fresh for end in ends(inner, position)} - found
                found = found | fresh
            return found

        return len(text) in ends(whole, 0)


@functools.cache
def documented() -> Grammar:
    """The grammar of the document: all of its blocks."""
    blocks = re.findall(r"^```ebnf\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return Grammar(parse("".join(blocks)))
