"""The report on the terminal: a live matrix with progress and time left, then what failed.

What this module knows: rich.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..dump import render
from ..model import BROKE, RUNNER, Cell, Outcome, Result, is_stuck
from ..play import readable
from ..runner import Observer
from .causes import Cells, crash_of, directions, failures, packets_that_matter
from .document import counts_for, played_again, requirement_of, source, without_verdict
from .verdicts import verdicts, warnings_of

__all__ = [
    "LiveMatrix",
    "PlainProgress",
    "print_dump",
    "print_failures",
    "print_matrix",
    "print_results",
    "print_summary",
    "print_unseen",
    "print_verdicts",
]

STYLES = {"passed": "green", "failed": "bold red", "unsupported": "yellow", "absent": "dim"}
MOST_SAID = 6
"""How many failed cells with the same reason are shown during the run."""
MOST_REASONS = 3
"""How many reasons why cells of one chapter were not played are shown."""
LAST_LOG = 6
"""Lines of the log that are shown for a puppet that broke."""
SHORT_LOG = 2
"""Lines that are shown for others."""
MOST_DIRECTIONS = 2
"""For how many ordered pairs one failure shows the packets."""
MOST_TEXT = 160
"""Characters of a packet that are shown."""
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


def _matrix(
    counts: Mapping[tuple[str, str], Counter[str]], peers: Sequence[str], width: int, *, live: bool = False
) -> Table:
    """The matrix. If there is no room for the servers' names, the peers have numbers."""
    servers = [*peers, RUNNER] if any(server == RUNNER for _, server in counts) else list(peers)
    clients = [*peers, RUNNER] if any(client == RUNNER for client, _ in counts) else list(peers)
    squares = {key: _square(found) for key, found in counts.items()}
    columns = [
        max([len(server), *(squares[key].cell_len for key in squares if key[1] == server)]) for server in servers
    ]
    numbered = max(18, *map(len, clients)) + sum(columns) + 3 * len(columns) + 4 > width
    table = Table(show_lines=False, pad_edge=False, title=None)
    table.add_column("client ↓   server →", style="bold", no_wrap=True)
    for number, server in enumerate(servers, 1):
        table.add_column(str(number) if numbered else server, no_wrap=not numbered)
    for number, client in enumerate(clients, 1):
        if live or any((client, server) in counts for server in servers):
            name = f"{number} {client}" if numbered else client
            table.add_row(name, *(squares.get((client, server), _square({})) for server in servers))
    return table


class _Failures:
    """Chooses the lines about failures: of one that many cells share, the first few cells, then once that there are
    more."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def line(self, result: Result) -> Text | None:
        """What to print about a failed cell, or `None`."""
        self._seen[result.reason] += 1
        said = self._seen[result.reason]
        if said > MOST_SAID + 1:
            return None
        what = "and more for the same reason" if said > MOST_SAID else str(result.cell)
        return Text.assemble(("✗", STYLES["failed"]), f" {what}: {result.reason}")


class LiveMatrix(Observer):
    """The table that is redrawn during the run. A context manager."""

    def __init__(self, console: Console, peers: Sequence[str]) -> None:
        self._failures = _Failures()
        self.console = console
        self.peers = list(peers)
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        wide = console.width >= 90
        self.progress = Progress(
            TextColumn("{task.description}"),
            *([BarColumn()] if wide else []),
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
        return Group(_matrix(self.counts, self.peers, self.console.width, live=True), self.progress)

    def planned(self, cells: int) -> None:
        """See `Observer.planned`."""
        self.progress.update(self.task, total=cells, description="playing")

    def finished(self, result: Result) -> None:
        """See `Observer.finished`."""
        key = (result.cell.client, result.cell.server)
        self.counts.setdefault(key, Counter())[result.outcome.value] += 1
        self.progress.advance(self.task)
        if result.outcome is Outcome.FAILED and (line := self._failures.line(result)):
            self.console.print(line)

    def note(self, text: str) -> None:
        """See `Observer.note`."""
        self.console.print(Text(text, "yellow"))


class PlainProgress(Observer):
    """For pipes and CI: one line for each failure, and one for each tenth of the run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.total = self.done = 0
        self._failures = _Failures()

    def planned(self, cells: int) -> None:
        """See `Observer.planned`."""
        self.total = cells
        self.console.print(f"playing {cells} cells")

    def playing(self, cell: Cell) -> None:
        """See `Observer.playing`."""

    def finished(self, result: Result) -> None:
        """See `Observer.finished`."""
        self.done += 1
        if result.outcome is Outcome.FAILED and (line := self._failures.line(result)):
            self.console.print(line, soft_wrap=True)
        step = max(1, self.total // 10)
        if self.done % step == 0:
            self.console.print(f"{self.done} of {self.total} cells")

    def note(self, text: str) -> None:
        """See `Observer.note`."""
        self.console.print(Text(text), soft_wrap=True)


def print_matrix(console: Console, document: Mapping[str, Any]) -> None:
    """The matrix, one square for each ordered pair, and why peers are absent."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in document["cells"]:
        counts.setdefault((cell["client"], cell["server"]), Counter())[cell["outcome"]] += 1
    names = [peer["name"] for peer in document["peers"]]
    console.print(_matrix(counts, names, console.width))
    legend = [part for each in Outcome for part in ((each.symbol, STYLES[each.value]), f" {each.value}  ")]
    console.print(Text.assemble(*legend))
    print_absent(console, document)


def print_absent(console: Console, document: Mapping[str, Any]) -> None:
    """Which peers are not available here, and why."""
    for peer in document["peers"]:
        if peer.get("absent"):
            console.print(Text(f"○ {peer['name']} is absent: {peer['absent']}", "dim"), soft_wrap=True)


def print_warnings(console: Console, document: Mapping[str, Any]) -> None:
    """What is unusual about the features of peers."""
    for warning in warnings_of(document):
        console.print(Text(f"warning: {warning}", "yellow"), soft_wrap=True)


def print_failures(console: Console, document: Mapping[str, Any], limit: int = 25) -> None:
    """What failed, each failure once: the requirement, expected and actual, the packets that matter, the logs."""
    cases = {case["id"]: case for case in document["cases"]}
    features = {peer["name"]: peer.get("puppet", {}).get("features", ()) for peer in document["peers"]}
    found = failures(document)
    for cells in found[:limit]:
        console.print(_ended(cells, document) if crash_of(cells[0]) else _failure(cells, cases, features))
    if len(found) > limit:
        console.print(f"... and {len(found) - limit} more kinds of failure: see the JSON or HTML report")


def _ended(cells: Cells, document: Mapping[str, Any]) -> Panel:
    """A process of a peer that ended: how, and which cases do it."""
    peer, how = cells[0]["crash"]["peer"], cells[0]["crash"]["how"]
    case_ids = list(dict.fromkeys(cell["case"] for cell in cells))
    beside = sum(
        cell["outcome"] == Outcome.PASSED.value
        and cell.get("again") == BROKE
        and peer in (cell["client"], cell["server"])
        for cell in document["cells"]
    )
    lines = [Text(f"the process of {peer} {how}", "bold")]
    lines.append(Text.assemble(("cells        ", "cyan"), _some(_where(cells), 4)))
    lines.append(Text.assemble(("cases        ", "cyan"), _some(case_ids, 8, ", ")))
    if beside:
        lines.append(
            Text.assemble(("beside them  ", "cyan"), f"{beside} cells of the same processes, which pass alone")
        )
    lines += [
        Text.assemble(("behind       ", "cyan"), f"{cell['case']} {cell['behind']['says']}")
        for cell in cells
        if cell.get("behind")
    ]
    lines += _behind(cells)
    shown = directions(cells)
    for cell in shown[:MOST_DIRECTIONS]:
        lines += _evidence(cell, title=len(shown) > 1, log=LAST_LOG)
    return _panel(case_ids, lines, f": the process of {peer} ended")


def _behind(cells: Cells) -> list[Text]:
    """Which cells must come before those that fail only behind others."""
    lines = []
    for cell in cells:
        behind = cell.get("behind", {})
        if behind.get("cases") and not behind.get("by_number"):
            told = f"{cell['case']} after {_some(behind['cases'], 8, ', ')}"
            lines.append(Text.assemble(("behind       ", "cyan"), told))
    return lines


def _panel(case_ids: Sequence[str], lines: Sequence[Text], what: str = "") -> Panel:
    more = len(case_ids) - 1
    title = f"✗ {case_ids[0]}" + (f" and {more} more case{'s' if more > 1 else ''}" if more else "") + what
    return Panel(Group(*lines), title=Text(title, "bold red"), title_align="left", border_style="red")


def _failure(cells: Cells, cases: Mapping[str, Mapping[str, Any]], features: Mapping[str, Sequence[str]]) -> Panel:
    shown = directions(cells)
    first = shown[0] if shown else cells[0]
    case_ids = list(dict.fromkeys(cell["case"] for cell in cells))
    broken = is_stuck(first["reason"])
    lines = [Text(first["reason"], "bold")]
    requirement = requirement_of(first, cases)
    if requirement is not None and not broken and not first.get("behind"):
        lines.append(Text.assemble(("requirement  ", "cyan"), f"“{requirement['text']}”"))
        lines.append(Text(f"             {source(requirement)}", "dim"))
    for key, label in (("expected", "expected     "), ("actual", "actual       ")):
        if first.get(key):
            lines.append(Text.assemble((label, "cyan"), first[key]))
    if requirement is not None and requirement["name"] == "profile.dialect":
        for name in dict.fromkeys((first["client"], first["server"])):
            if stated := [feature for feature in features.get(name, ()) if feature.startswith("(dialect ")]:
                lines.append(Text.assemble(("dialect      ", "cyan"), f"{stated[0]}, as {name} states"))
    lines.append(Text.assemble(("cells        ", "cyan"), _some(_where(cells), 4)))
    if len(case_ids) > 1:
        lines.append(Text.assemble(("cases        ", "cyan"), _some(case_ids, 8, ", ")))
    lines += _behind(cells)
    for cell in shown[:MOST_DIRECTIONS]:
        lines += _evidence(cell, title=len(shown) > 1, log=LAST_LOG if broken else SHORT_LOG)
    return _panel(case_ids, lines, ", behind other cells" if first.get("behind") else "")


def _evidence(cell: Mapping[str, Any], *, title: bool, log: int) -> list[Text]:
    """The packets of one cell that matter, and the last lines of the puppets' logs."""
    evidence = cell["evidence"]
    lines = [Text(f"  {cell['client']} → {cell['server']}:")] if title else []
    for packet in packets_that_matter(evidence.get("packets", ()), LAST_PACKETS):
        problem = f"  ! {packet['problem']}" if packet["problem"] else ""
        said = f"  {_said(packet)}".rstrip()
        lines.append(Text(f"  {packet['t']:8.4f} s  {packet['from']:>6}: {packet['title']}{said}{problem}", "dim"))
    for role in ("client", "server"):
        for line in evidence.get(f"{role}_log", "").strip().splitlines()[-log:]:
            lines.append(Text(f"  log of {cell[role]}: {line}", "dim"))
    return lines


def _said(packet: Mapping[str, Any]) -> str:
    """What a packet says, as Scheme writes it; or its bytes, if it does not open."""
    if packet.get("text"):
        return readable(packet["text"][:MOST_TEXT].encode("utf-8", "backslashreplace"))
    shown = [r for r in packet["ranges"] if r["layer"] in ("opened", "message", "raw", "hello")]
    return readable(bytes.fromhex(shown[-1]["hex"])[:MOST_TEXT]) if shown else ""


def _where(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The cells' pairs, each once: `a → b, tcp, secure`, or `a → b` if it is in all of them."""
    pairs: dict[str, dict[str, None]] = {}
    for cell in cells:
        pairs.setdefault(f"{cell['client']} → {cell['server']}", {})[f"{cell['transport']}, {cell['security']}"] = None
    out = []
    for pair, modes in pairs.items():
        out += [f"{pair}, everywhere"] if len(modes) == 4 else [f"{pair}, {mode}" for mode in modes]
    return out


def _some(words: Sequence[str], most: int, separator: str = "; ") -> str:
    more = len(words) - most
    return separator.join(words[:most]) + (f"{separator}and {more} more" if more > 0 else "")


def print_summary(console: Console, document: Mapping[str, Any]) -> None:
    """What was played again, and one line at the end."""
    for line in played_again((cell.get("again", ""), cell["outcome"]) for cell in document["cells"]):
        console.print(Text(line, "yellow"), soft_wrap=True)
    counts = document["summary"]
    parts = [Text(f"{counts[o.value]} {o.value}", STYLES[o.value]) for o in Outcome if counts[o.value]]
    said = Text(", ").join(parts) if parts else Text("nothing was played")
    if document.get("not_shown"):
        said.append(f" ({document['not_shown']} not shown by bytes)")
    said.append(f" in {document['seconds']:.1f} s")
    if document["interrupted"]:
        said.append(" (interrupted)", "bold yellow")
    for line in without_verdict(document):
        console.print(Text(line, "bold yellow"), soft_wrap=True)
    console.print(said)


def print_results(console: Console, document: Mapping[str, Any]) -> None:
    """What failed, then the matrix and the summary."""
    print_failures(console, document)
    print_matrix(console, document)
    print_warnings(console, document)
    print_summary(console, document)


def print_verdicts(console: Console, document: Mapping[str, Any], name: str) -> None:
    """The end of `check`: one line for each chapter, then one for all."""
    table = Table(title=f"{name}, chapter by chapter", title_justify="left", title_style="bold", expand=False)
    table.add_column("chapter", style="bold")
    table.add_column("verdict", overflow="fold")
    table.add_column("cells")
    table.add_column("why not", overflow="fold")
    for verdict in verdicts(document, name):
        style = {True: STYLES["passed"], False: STYLES["failed"], None: STYLES["unsupported"]}[verdict.conforms]
        table.add_row(
            verdict.chapter, Text(verdict.text, style), _square(verdict.counts), "; ".join(verdict.why[:MOST_REASONS])
        )
    console.print(table)
    mine = {id(cell) for cell in counts_for(document, name)}
    others = Counter(cell["outcome"] for cell in document["cells"] if id(cell) not in mine)
    if others:
        said = Text.assemble(
            f"{others.total()} cells are about the other side and count for no verdict: ", _square(others)
        )
        console.print(said, soft_wrap=True)
    print_absent(console, document)
    about = next((peer.get("puppet") for peer in document["peers"] if peer["name"] == name), None)
    if about:
        console.print(
            f"it calls itself {about['name']} {about['version']}: {' '.join(about['features'])}",
        )
    print_warnings(console, document)
    print_summary(console, document)


def print_unseen(console: Console, lines: Sequence[str]) -> None:
    """What `check` did not look at."""
    for number, line in enumerate(lines):
        console.print(Text(f"{'             ' if number else 'not seen here'} {line}", "dim"), soft_wrap=True)


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
    """An explained recording (`dump.explain`) in colour. If it is not a terminal, the plain text of `dump.render`."""
    for packet in packets:
        first, *lines = render([dict(packet)]).splitlines()
        console.print(Text(first, "bold"), soft_wrap=True)
        style = ""
        for line in lines:
            if line.lstrip().startswith("! "):
                console.print(Text(line, "bold red"), soft_wrap=True)
                continue
            # Only the first line of a layer's bytes names the layer.
            for layer, colour in LAYERS.items():
                if re.search(rf"  {layer}(: |$)", line):
                    style = colour
            console.print(Text(line, "green" if line.lstrip().startswith("says ") else style), soft_wrap=True)
