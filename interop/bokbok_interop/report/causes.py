"""Groups failures that have the same cause, and orders them so that the likeliest cause comes first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..cases import PREFLIGHT
from ..model import RUNNER, is_given_up

__all__ = ["Cells", "crash_of", "directions", "failures", "packets_that_matter"]

Cells = Sequence[Mapping[str, Any]]

MOST_ALIKE = 3
"""Failed cases after the first one that are listed by name, although the reason is the same."""
MOST_QUOTED = 20
"""The most cases that quote a sentence. A sentence that more of them quote (`a message is a list`) explains little."""
_BEFORE = 3
"""Packets that are shown before the one that matters."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def failures(document: Mapping[str, Any]) -> list[Cells]:
    """The failed cells, grouped by failure.

    Cells in which the process of a peer ended in the same way are one failure, whatever their cases noticed of it; so
    are cells that fail only behind others in the same process, for what they have in common (`_behind_what`). Cells of
    one case are one failure. Cells of several cases are one failure if all of them failed at the same sentence for the
    same reason, or for a reason that does not concern the cases, such as a puppet that does not start. Numbers are
    ignored. The preflight comes first, in its own order, then processes that ended. What follows from a puppet that was
    given up for an earlier failure comes last. Between them, one failure explains another one if each case of the other
    relies on the sentence that the first one broke. Failures without an explanation come first, then those that explain
    most cells (including their own), then those that happened earliest in a conversation.
    """
    order = {case["id"]: index for index, case in enumerate(document["cases"])}
    failed = [cell for cell in document["cells"] if cell["outcome"] == "failed"]
    failed.sort(key=lambda cell: order.get(cell["case"], len(order)))
    alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    common: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    behind = [cell for cell in failed if cell.get("behind")]
    pairs = [{cell["client"], cell["server"]} - {RUNNER} for cell in behind]
    of_one = bool(pairs) and bool(set.intersection(*pairs))
    shown = {_behind_what(cell, of_one=of_one) for cell in behind if cell["behind"]["cases"]}
    for cell in failed:
        together = crash_of(cell) or _behind_what(cell, of_one=of_one)
        if of_one and len(shown) == 1 and cell.get("behind") and not crash_of(cell):
            together = next(iter(shown))  # for the others there was no time
        if together:
            common.setdefault(together, []).append(cell)
            continue
        reason = _NUMBER.sub("#", cell["reason"])
        alike.setdefault((reason, cell.get("requirement", {}).get("name", "")), []).append(cell)
    # The shorter the conversation, the nearer is its end to what ended the process.
    found: list[list[Mapping[str, Any]]] = [
        sorted(cells, key=lambda cell: (not cell.get("behind", {}).get("complete", True), _length(cell)))
        for cells in common.values()
    ]
    for (_, sentence), cells in alike.items():
        by_case: dict[str, list[Mapping[str, Any]]] = {}
        for cell in cells:
            by_case.setdefault(cell["case"], []).append(cell)
        found += [cells] if len(by_case) > (1 if sentence else 1 + MOST_ALIKE) else by_case.values()

    said = {case["id"]: [each["name"] for each in case["requirements"]] for case in document["cases"]}
    quoted = Counter(name for names in said.values() for name in set(names))
    broken = [_sentence(cells[0], said) for cells in found]

    def explains(one: int, other: int) -> bool:
        """Whether every case of the other failure relies on the sentence that this one broke."""
        sentence = broken[one]
        return (
            sentence not in ("", broken[other])
            and quoted[sentence] <= MOST_QUOTED
            and all(sentence in said.get(cell["case"], ()) for cell in found[other])
        )

    def rank(index: int) -> tuple[Any, ...]:
        cells = found[index]
        first = order.get(cells[0]["case"], len(order))
        if any(cell["case"].startswith(f"{PREFLIGHT}.") for cell in cells):
            return (0, first)
        if crash_of(cells[0]):
            return (0, len(order), -len(cells), first)
        others = [other for other in range(len(found)) if other != index]
        follows = any(explains(other, index) and not explains(index, other) for other in others)
        explained = sum(cell.get("behind", {}).get("failed", 1) for cell in cells) + sum(
            len(found[other]) for other in others if explains(index, other)
        )
        given_up = is_given_up(cells[0]["reason"])
        return (2 if given_up else 1, follows, -explained, min(map(_length, cells)), first)

    return [found[index] for index in sorted(range(len(found)), key=rank)]


def _behind_what(cell: Mapping[str, Any], *, of_one: bool) -> tuple[str, ...] | None:
    """What the cells have in common that fail only behind others; `None` if this one is none of them.

    Args:
        cell: a failed cell.
        of_one: whether one peer is in all of them.
    """
    behind = cell.get("behind")
    if not behind:
        return None
    pair = sorted((cell["client"], cell["server"]))
    if behind.get("by_number"):
        return "number", *(() if of_one else pair)
    return ("after", *behind["cases"]) if of_one and len(behind["cases"]) == 1 else ("behind", *pair)


def crash_of(cell: Mapping[str, Any]) -> tuple[str, str] | None:
    """Whose process ended in a failed cell, and how, without the numbers in its log; `None` if none did."""
    crash = cell.get("crash")
    if not crash:
        return None
    status, semicolon, log = crash["how"].partition("; ")
    return crash["peer"], status + semicolon + _NUMBER.sub("#", log)


def _sentence(cell: Mapping[str, Any], said: Mapping[str, Sequence[str]]) -> str:
    """The name of the sentence that a failed cell broke."""
    named: str = cell.get("requirement", {}).get("name", "")
    return named or next(iter(said.get(cell["case"], ())), "")


def _length(cell: Mapping[str, Any]) -> int:
    """How far a conversation had come when its cell failed."""
    evidence = cell.get("evidence", {})
    return len(evidence.get("packets", ())) or len(evidence.get("datums", ())) or 1 << 30


def directions(cells: Cells) -> Cells:
    """For each ordered pair, the first cell that has evidence: a peer may fail as client and as server."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for cell in cells:
        if cell.get("evidence"):
            found.setdefault((cell["client"], cell["server"]), cell)
    return list(found.values())


def packets_that_matter(packets: Sequence[Mapping[str, Any]], most: int) -> Sequence[Mapping[str, Any]]:
    """The packets of a conversation that a person wants to see: up to the one with a problem, or else the last ones.

    A connection on which there is only an end is left out, if there is another one.
    """
    speaking = {packet["conn"] for packet in packets if _says(packet)}
    mine = [packet for packet in packets if packet["conn"] in speaking] or packets
    odd = next((i for i, p in enumerate(mine) if p["problem"] and not p["problem"].startswith("cut off")), None)
    if odd is not None:
        conn = mine[odd]["conn"]
        before = [packet for packet in mine[:odd] if packet["conn"] == conn][-_BEFORE:]
        after = [packet for packet in mine[odd + 1 :] if packet["conn"] == conn]
        return [*before, mine[odd], *after][:most]
    if not mine:
        return []
    last = next((packet["conn"] for packet in reversed(mine) if _says(packet)), mine[-1]["conn"])
    # An end is shown only together with what came before it.
    return [packet for packet in mine if packet["conn"] == last and (_says(packet) or len(mine) <= most)][-most:]


def _says(packet: Mapping[str, Any]) -> bool:
    return bool(packet["ranges"] or packet["problem"])
