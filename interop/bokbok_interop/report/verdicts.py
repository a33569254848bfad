"""What `check` concludes about one peer: a verdict for each chapter, from the cells whose subject is that peer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..cases import CHAPTERS
from ..model import Kind, is_stuck
from .document import counts_for

__all__ = ["Verdict", "verdicts", "warnings_of"]


@dataclass(frozen=True)
class Verdict:
    """The verdict for one chapter.

    Attributes:
        chapter: its name.
        conforms: whether the peer conforms; `None` if nothing can be said.
        text: the verdict in words.
        counts: how many of the chapter's cells about the peer have which outcome.
        why: why cells were not played, the most frequent reason first.
    """

    chapter: str
    conforms: bool | None
    text: str
    counts: Counter[str]
    why: tuple[str, ...]


def verdicts(document: Mapping[str, Any], name: str) -> list[Verdict]:
    """The verdicts about a peer, chapter by chapter.

    A peer conforms in a chapter if nothing failed and enough was played: no cell lacked its opponent, and at least half
    of the cells that bind the peer were played. A case of a kind that the peer does not claim does not bind it.
    """
    kinds = {case["id"]: case["kind"] for case in document["cases"]}
    claimed = _features(document, name)
    free = {kind.value for kind in Kind} - claimed if claimed else set()
    chapters: dict[str, list[Mapping[str, Any]]] = {cell["case"].split(".", 1)[0]: [] for cell in document["cells"]}
    for cell in counts_for(document, name):
        chapters[cell["case"].split(".", 1)[0]].append(cell)
    return [
        _verdict(chapter, chapters[chapter], lambda cell: kinds.get(cell["case"]) in free)
        for chapter in sorted(chapters, key=CHAPTERS.index)
    ]


def _verdict(chapter: str, cells: list[Mapping[str, Any]], is_free: Any) -> Verdict:
    counts = Counter(cell["outcome"] for cell in cells)
    reasons = Counter(cell["reason"] for cell in cells if cell["outcome"] in ("unsupported", "absent"))
    why = tuple(reason for reason, _ in reasons.most_common())
    refused = sum(cell["outcome"] == "unsupported" and not is_free(cell) for cell in cells)
    if counts["failed"]:
        stuck = all(is_stuck(cell["reason"]) for cell in cells if cell["outcome"] == "failed")
        if stuck:
            return Verdict(chapter, False, "✗ could not be played", counts, ("the puppet broke, see above", *why))
        return Verdict(chapter, False, "✗ does not conform", counts, why)
    if counts["passed"] and not counts["absent"] and counts["passed"] >= refused:
        return Verdict(chapter, True, "✓ conforms", counts, why)
    first = why[0] if why else "no case of it is about this peer"
    return Verdict(chapter, None, f"– nothing to say: {first}", counts, why[1:])


def _features(document: Mapping[str, Any], name: str) -> set[str]:
    about = next((peer.get("puppet") for peer in document["peers"] if peer["name"] == name), None)
    return set(about["features"]) if about else set()


def warnings_of(document: Mapping[str, Any]) -> list[str]:
    """What was unusual about the peers' features, one line each."""
    return [
        f"{peer['name']}: {warning}"
        for peer in document["peers"]
        for warning in peer.get("puppet", {}).get("warnings", ())
    ]
