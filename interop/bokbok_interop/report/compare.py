"""Two runs side by side: what got worse, what got better, what is new, what is missing.

What this module knows: cells of two documents, matched by peers, modes and case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["Comparison", "compare", "print_comparison"]

Key = tuple[str, str, str, str, str]
_RANK = {"failed": 0, "absent": 1, "unsupported": 1, "passed": 2}


@dataclass
class Comparison:
    """The cells that differ; each with its outcome before and after and the reason that it has now."""

    worse: list[tuple[Key, str, str, str]] = field(default_factory=list)
    better: list[tuple[Key, str, str, str]] = field(default_factory=list)
    other: list[tuple[Key, str, str, str]] = field(default_factory=list)
    new: list[tuple[Key, str, str]] = field(default_factory=list)
    gone: list[tuple[Key, str]] = field(default_factory=list)
    same: int = 0

    @property
    def bad(self) -> bool:
        """Whether anything failed that did not fail before."""
        return any(after == "failed" for _, _, after, _ in self.worse) or any(now == "failed" for _, now, _ in self.new)


def _cells(document: Mapping[str, Any]) -> dict[Key, Mapping[str, Any]]:
    found: dict[Key, Mapping[str, Any]] = {}
    for cell in document["cells"]:
        key = (cell["client"], cell["server"], cell["transport"], cell["security"], cell["case"])
        if key not in found or _RANK[cell["outcome"]] < _RANK[found[key]["outcome"]]:
            found[key] = cell  # the worst of several rounds
    return found


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """Match the cells of two documents."""
    before, after = _cells(old), _cells(new)
    out = Comparison()
    for key, cell in after.items():
        if key not in before:
            out.new.append((key, cell["outcome"], cell["reason"]))
            continue
        was, now = before[key]["outcome"], cell["outcome"]
        if was == now:
            out.same += 1
            continue
        change = (key, was, now, cell["reason"])
        (out.worse if _RANK[now] < _RANK[was] else out.better if _RANK[now] > _RANK[was] else out.other).append(change)
    out.gone = [(key, cell["outcome"]) for key, cell in before.items() if key not in after]
    return out


def _where(key: Key) -> str:
    return f"{key[0]} → {key[1]}, {key[2]}, {key[3]}"


def print_comparison(console: Console, found: Comparison, limit: int = 200) -> None:
    """The differences as tables."""
    for title, style, changes in (
        ("worse", "red", found.worse),
        ("better", "green", found.better),
        ("otherwise changed", "yellow", found.other),
    ):
        if changes:
            table = Table(
                title=f"{title} ({len(changes)})", title_justify="left", title_style=f"bold {style}", expand=True
            )
            for column in ("case", "cell", "before", "after", "reason"):
                table.add_column(column, ratio=3 if column == "reason" else None, overflow="fold")
            for key, was, now, reason in changes[:limit]:
                table.add_row(key[4], _where(key), was, now, reason)
            console.print(table)
            if len(changes) > limit:
                console.print(f"... and {len(changes) - limit} more")
    failing = [(key, reason) for key, now, reason in found.new if now == "failed"]
    for key, reason in failing[:limit]:
        console.print(f"new and failed: {key[4]} [{_where(key)}]: {reason}")
    console.print(
        f"{found.same} cells the same, {len(found.worse)} worse, {len(found.better)} better, "
        f"{len(found.other)} otherwise changed, {len(found.new)} new ({len(failing)} of them failed), "
        f"{len(found.gone)} gone",
    )
