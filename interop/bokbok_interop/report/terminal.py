"""The terminal: a live matrix with progress and time left, then what failed.

What this module knows: rich. What it refuses to know: anything that is not in a result or in the document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..cases import CHAPTERS
from ..dump import render
from ..model import RUNNER, Cell, Outcome, Result
from ..runner import Observer

__all__ = [
    "LiveMatrix",
    "PlainProgress",
    "print_dump",
    "print_failures",
    "print_matrix",
    "print_summary",
    "print_verdicts",
]

STYLES = {"passed": "green", "failed": "bold red", "unsupported": "yellow", "absent": "dim"}
LAST_PACKETS = 4
"""Packets of a failed conversation that the terminal shows."""


def _square(counts: Mapping[str, int]) -> Text:
    text = Text()
    for outcome in Outcome:
        count = counts.get(outcome.value, 0)
        if count:
            if text:
                text.append(" ")
            text.append(f"{outcome.symbol}{count}", STYLES[outcome.value])
    return text or Text("·", "dim")


def _matrix(counts: Mapping[tuple[str, str], Counter[str]], peers: Sequence[str], title: str) -> Table:
    servers = [*peers, RUNNER] if any(server == RUNNER for _, server in counts) else list(peers)
    clients = [*peers, RUNNER] if any(client == RUNNER for client, _ in counts) else list(peers)
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=False, pad_edge=False)
    table.add_column("client ↓   server →", style="bold", no_wrap=True)
    for server in servers:
        table.add_column(server)
    for client in clients:
        if any((client, server) in counts for server in servers):
            table.add_row(client, *(_square(counts.get((client, server), {})) for server in servers))
    return table


class LiveMatrix(Observer):
    """The table that is redrawn while the run goes on. A context manager."""

    def __init__(self, console: Console, peers: Sequence[str]) -> None:
        self.console = console
        self.peers = list(peers)
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("cells,"),
            TimeElapsedColumn(),
            TextColumn("gone,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self.task = self.progress.add_task("preparing", total=None)
        self.live = Live(self, console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> LiveMatrix:
        self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.live.__exit__(*error)

    def __rich__(self) -> Group:
        return Group(_matrix(self.counts, self.peers, ""), self.progress)

    def planned(self, cells: int) -> None:
        """See `Observer.planned`."""
        self.progress.update(self.task, total=cells, description="playing")

    def finished(self, result: Result) -> None:
        """See `Observer.finished`."""
        key = (result.cell.client, result.cell.server)
        self.counts.setdefault(key, Counter())[result.outcome.value] += 1
        self.progress.advance(self.task)
        if result.outcome is Outcome.FAILED:
            self.console.print(f"[bold red]✗[/] {escape(str(result.cell))}: {escape(result.reason)}", highlight=False)

    def note(self, text: str) -> None:
        """See `Observer.note`."""
        self.console.print(f"[yellow]{escape(text)}[/]", highlight=False)


class PlainProgress(Observer):
    """For pipes and CI: a line for each failure and for each tenth of the run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.total = self.done = 0

    def planned(self, cells: int) -> None:
        """See `Observer.planned`."""
        self.total = cells
        self.console.print(f"playing {cells} cells", highlight=False)

    def playing(self, cell: Cell) -> None:
        """See `Observer.playing`."""

    def finished(self, result: Result) -> None:
        """See `Observer.finished`."""
        self.done += 1
        if result.outcome is Outcome.FAILED:
            self.console.print(
                f"✗ {escape(str(result.cell))}: {escape(result.reason)}", highlight=False, soft_wrap=True
            )
        step = max(1, self.total // 10)
        if self.done % step == 0:
            self.console.print(f"{self.done} of {self.total} cells", highlight=False)

    def note(self, text: str) -> None:
        """See `Observer.note`."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)


def print_matrix(console: Console, document: Mapping[str, Any]) -> None:
    """The matrix, one square for each ordered pair, and why peers are absent."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in document["cells"]:
        counts.setdefault((cell["client"], cell["server"]), Counter())[cell["outcome"]] += 1
    names = [peer["name"] for peer in document["peers"]]
    console.print(_matrix(counts, names, ""))
    console.print(
        "[green]✓[/] passed  [bold red]✗[/] failed  [yellow]–[/] unsupported  [dim]○[/] absent", highlight=False
    )
    print_absent(console, document)


def print_absent(console: Console, document: Mapping[str, Any]) -> None:
    """Which peers are not available here, and why."""
    for peer in document["peers"]:
        if peer.get("absent"):
            console.print(
                f"[dim]○ {escape(peer['name'])} is absent: {escape(peer['absent'])}[/]", highlight=False, soft_wrap=True
            )


def print_failures(console: Console, document: Mapping[str, Any], limit: int = 25) -> None:
    """What failed: the requirement, expected and actual, the last packets. The same failure is shown once."""
    cases = {case["id"]: case for case in document["cases"]}
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in document["cells"]:
        if cell["outcome"] == "failed":
            groups.setdefault((cell["case"], cell["reason"]), []).append(cell)
    for index, ((case_id, reason), cells) in enumerate(groups.items()):
        if index >= limit:
            console.print(f"... and {len(groups) - limit} more kinds of failure: see the JSON or HTML report")
            break
        console.print(_failure(cases.get(case_id), case_id, reason, cells))


def _failure(case: Mapping[str, Any] | None, case_id: str, reason: str, cells: Sequence[Mapping[str, Any]]) -> Panel:
    first = cells[0]
    lines = [Text(reason, "bold")]
    if case is not None:
        requirement = case["requirements"][0]
        lines.append(Text.assemble(("requirement  ", "cyan"), f"“{requirement['text']}”"))
        lines.append(
            Text.assemble(("             ", "cyan"), (f"{requirement['document']}, {requirement['section']}", "dim"))
        )
    for key, label in (("expected", "expected     "), ("actual", "actual       ")):
        if first.get(key):
            lines.append(Text.assemble((label, "cyan"), first[key]))
    where = [f"{c['client']} → {c['server']}, {c['transport']}, {c['security']}" for c in cells]
    lines.append(
        Text.assemble(
            ("cells        ", "cyan"), "; ".join(where[:4]) + (f"; and {len(where) - 4} more" if len(where) > 4 else "")
        )
    )
    for packet in first.get("evidence", {}).get("packets", [])[-LAST_PACKETS:]:
        shown = [r for r in packet["ranges"] if r["layer"] in ("opened", "message", "raw", "hello")]
        data = bytes.fromhex(shown[-1]["hex"])[:160].decode("utf-8", "backslashreplace") if shown else ""
        problem = f"  ! {packet['problem']}" if packet["problem"] else ""
        lines.append(Text(f"  {packet['t']:8.4f} s  {packet['from']:>6}: {packet['title']}  {data!r}{problem}", "dim"))
    title = Text(f"✗ {case_id}", "bold red")
    return Panel(Group(*lines), title=title, title_align="left", border_style="red")


def print_summary(console: Console, document: Mapping[str, Any]) -> None:
    """One line at the end."""
    counts = document["summary"]
    parts = [f"[{STYLES[o]}]{counts[o]} {o}[/]" for o in ("passed", "failed", "unsupported", "absent") if counts[o]]
    stopped = " [bold yellow](interrupted)[/]" if document["interrupted"] else ""
    console.print(
        f"{', '.join(parts) or 'nothing was played'} in {document['seconds']:.1f} s{stopped}", highlight=False
    )


def print_verdicts(console: Console, document: Mapping[str, Any], name: str) -> None:
    """What `check` says at its end: one line for each chapter, then one for all."""
    chapters: dict[str, Counter[str]] = {}
    reasons: dict[str, set[str]] = {}
    for cell in document["cells"]:
        chapter = cell["case"].split(".", 1)[0]
        chapters.setdefault(chapter, Counter())[cell["outcome"]] += 1
        if cell["outcome"] in ("unsupported", "absent"):
            reasons.setdefault(chapter, set()).add(cell["reason"])
    table = Table(title=f"{name}, chapter by chapter", title_justify="left", title_style="bold", expand=False)
    table.add_column("chapter", style="bold")
    table.add_column("verdict")
    table.add_column("cells")
    table.add_column("why not", overflow="fold")
    for chapter in sorted(chapters, key=list(CHAPTERS).index):
        counts = chapters[chapter]
        if counts["failed"]:
            verdict = Text("✗ does not conform", "bold red")
        elif counts["passed"]:
            verdict = Text("✓ conforms", "green")
        else:
            verdict = Text("– not played", "yellow")
        table.add_row(chapter, verdict, _square(counts), "; ".join(sorted(reasons.get(chapter, ()))[:3]))
    console.print(table)
    print_absent(console, document)
    about = next((peer.get("puppet") for peer in document["peers"] if peer["name"] == name), None)
    if about:
        console.print(
            f"it calls itself {about['name']} {about['version']}: {' '.join(about['features'])}",
            markup=False,
            highlight=False,
        )
    print_summary(console, document)


LAYERS = {
    "framing": "bright_black",
    "hello": "blue",
    "nonce": "magenta",
    "tag": "yellow",
    "box": "dark_orange3",
    "message": "green",
    "opened": "green",
    "raw": "red",
}
"""The colour of each layer; the layer's name always stands beside it."""


def print_dump(console: Console, packets: Sequence[Mapping[str, Any]]) -> None:
    """An explained recording (`dump.explain`) in colours; without a terminal it is the plain text of `dump.render`."""
    for packet in packets:
        first, *lines = render([dict(packet)]).splitlines()
        console.print(Text(first, "bold"), soft_wrap=True)
        style = ""
        for line in lines:
            if line.lstrip().startswith("! "):
                console.print(Text(line, "bold red"), soft_wrap=True)
                continue
            # The layer is named on the first line of its bytes; those below are the same layer's.
            for layer, colour in LAYERS.items():
                if re.search(rf"  {layer}(: |$)", line):
                    style = colour
            console.print(Text(line, "green" if line.lstrip().startswith("says ") else style), soft_wrap=True)
