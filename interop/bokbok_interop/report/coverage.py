"""The requirements, and which case checks each: the tables of `bokbok-interop list`.

What this module knows: rich tables of cases and sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..cases import CHAPTERS, DOCUMENTS, REQUIREMENTS, Case

__all__ = ["as_json", "coverage_json", "print_cases", "print_coverage"]


def print_cases(console: Console, cases: Sequence[Case]) -> None:
    """The id, kind and requirement of every case, by chapter."""
    for chapter in CHAPTERS:
        mine = [case for case in cases if case.chapter == chapter]
        if not mine:
            continue
        table = Table(
            title=f"{chapter} ({len(mine)})", title_justify="left", title_style="bold", expand=True, show_lines=True
        )
        table.add_column("case", no_wrap=True, style="cyan")
        table.add_column("kind", no_wrap=True)
        table.add_column("what must be true, and the sentence that says so", ratio=1)
        for case in mine:
            where = [part for part in (_only(case.transports, 2), _only(case.securities, 2)) if part]
            played = {"client": "the runner is the client", "server": "the runner is the server"}.get(
                case.opponent or ""
            )
            notes = ", ".join([*where, *([played] if played else []), *(["long"] if case.long else [])])
            text = Text(case.title)
            text.append(f"\n“{case.requirement.text}”", "dim")
            text.append(
                f"\n{DOCUMENTS[case.requirement.document]}, {case.requirement.section}, {case.requirement.link}",
                "dim italic",
            )
            if notes:
                text.append(f"  [{notes}]", "dim")
            table.add_row(case.id.split(".", 1)[1], case.kind.value, text)
        console.print(table)
    console.print(f"{len(cases)} cases")


def _only(values: Sequence[str], of: int) -> str:
    return f"{values[0]} only" if len(values) < of else ""


def _by_requirement(cases: Sequence[Case]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in REQUIREMENTS}
    for case in cases:
        for requirement in case.requirements:
            found[requirement.name].append(case.id)
    return found


def print_coverage(console: Console, cases: Sequence[Case]) -> None:
    """Every sentence, with its cases, or the reason why no case can check it."""
    found = _by_requirement(cases)
    for document, title in DOCUMENTS.items():
        table = Table(title=title, title_justify="left", title_style="bold", expand=True, show_lines=True)
        table.add_column("section", ratio=1)
        table.add_column("sentence", ratio=3)
        table.add_column("cases", ratio=2, style="cyan")
        section = ""
        for name, requirement in REQUIREMENTS.items():
            if requirement.document != document:
                continue
            beside = (
                Text(f"untestable: {requirement.untestable}", "yellow")
                if requirement.untestable
                else Text(", ".join(found[name]) or "NONE", "" if found[name] else "bold red")
            )
            table.add_row(requirement.section if requirement.section != section else "", requirement.text, beside)
            section = requirement.section
        console.print(table)
    testable = [r for r in REQUIREMENTS.values() if r.document == "reference" and not r.untestable]
    covered = [r for r in testable if found[r.name]]
    console.print(
        f"the API reference: {len(covered)} of {len(testable)} sentences that can be tested have a case; "
        f"{sum(r.document == 'reference' for r in REQUIREMENTS.values()) - len(testable)} cannot be tested",
    )


def as_json(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """The cases as plain values."""
    from .document import describe

    return [
        describe(case) | {"transports": list(case.transports), "securities": list(case.securities), "long": case.long}
        for case in cases
    ]


def coverage_json(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """The sentences as plain values."""
    found = _by_requirement(cases)
    return [
        {
            "name": name,
            "document": r.document,
            "section": r.section,
            "text": r.text,
            "cases": found[name],
            "link": r.link,
            "untestable": r.untestable,
        }
        for name, r in REQUIREMENTS.items()
    ]
