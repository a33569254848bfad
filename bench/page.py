"""The page of `make bench`: tables and charts of the figures that bench/speed.py has measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import charts

BEGIN, END = "<!-- made by `make bench`: do not edit by hand -->", "<!-- end of what `make bench` makes -->"
INTRODUCTION = """# Speed

`make bench` measures this page: it starts every competitor itself, and all of a table take turns in short slices.
"""
Figures = list[float]
"""A median and its quartiles."""


def write(document: dict[str, Any], folder: Path) -> str:
    """Write speed.md and the charts beside it.

    Args:
        document: what speed.py has measured; a part may be missing.
        folder: where the page is, or will be. Text around the part that is made stays as it is.

    Returns:
        The part that was made.
    """
    made = "\n\n".join(
        line for part, show in PARTS.items() if part in document for line in show(document[part], folder)
    )
    path = folder / "speed.md"
    text = path.read_text() if path.exists() else f"{INTRODUCTION}\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.partition(END)[2]}")
    return made


def _about(part: dict[str, Any]) -> str:
    about = part["about"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"{about['date']}; {about['machine']}; {about['python']}; {packages}. Load of the machine when this began and "
        f"when it ended: {about['load'][0]} and {about['load'][1]}. {about['rounds']} rounds."
    )


def _number(value: float) -> str:
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def _with_spread(figures: Figures, scale: float = 1) -> str:
    median, low, high = (_number(value * scale) for value in figures)
    return f"{median} <sub>{low}–{high}</sub>"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _against(entry: dict[str, Any], opponent: str, what: str) -> str:
    found = entry.get("against", {}).get(opponent)
    return _number(found[what][0]) if found else ""


def _requests(part: dict[str, Any], folder: Path) -> list[str]:
    lines = [
        "## Requests",
        "Secure (Pyro5: not encrypted), over loopback TCP, client and server in processes of their own. The C program "
        "has the same boxes and no codec: it is the limit. Beside each median stand the quartiles of its slices. "
        "Ratios are medians of the ratios within each round. Of rates, more is better; of processor time, less. "
        "Processor time is that of client and server together. The cores are kept awake by a process at nice 19 on "
        "each, or left as they are.",
        _about(part),
        _chart(_draw_requests, part, (9, 9), folder, "speed-requests"),
    ]
    for table in part["tables"]:
        opponent = table["opponent"]
        head = ["", "requests/s", "processor, µs", f"rate by {opponent}", f"processor by {opponent}"]
        head += ["cores as they are: requests/s", "processor, µs", f"rate by {opponent}", f"processor by {opponent}"]
        rows = []
        for awake, asleep in zip(table["awake"], table["as they are"], strict=True):
            row = [awake["name"]]
            for entry in (awake, asleep):
                row += [_with_spread(entry["rate"]), _with_spread(entry["processor"], 1e6)]
                row += [_against(entry, opponent, "rate"), _against(entry, opponent, "processor")]
            rows.append(row)
        lines += [f"### {table['title']}", _table(head, rows)]
    return lines


def _chart(
    draw: Callable[[Any, charts.Theme, list[dict[str, Any]]], None],
    part: dict[str, Any],
    size: tuple[float, float],
    folder: Path,
    name: str,
) -> str:
    return charts.save(lambda figure, theme: draw(figure, theme, part["tables"]), size, folder / "img", name)


def _draw_requests(figure: Any, theme: charts.Theme, tables: list[dict[str, Any]]) -> None:
    heights = [len(table["awake"]) for table in tables]
    axes = figure.subplots(len(tables), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    for row, table in enumerate(tables):
        for column, (what, scale) in enumerate((("rate", 1.0), ("processor", 1e6))):
            _bars(axes[row][column], theme, table["awake"], what, scale, named=column == 0)
        axes[row][0].set_title(f"{table['title']}: requests/s", loc="left")
        axes[row][1].set_title("processor time, µs", loc="left")


def _bars(axis: Any, theme: charts.Theme, entries: list[dict[str, Any]], what: str, scale: float, named: bool) -> None:
    entries = entries[::-1]
    values = [entry[what][0] * scale for entry in entries]
    errors = [
        [(entry[what][0] - entry[what][1]) * scale for entry in entries],
        [(entry[what][2] - entry[what][0]) * scale for entry in entries],
    ]
    names = [entry["name"] for entry in entries]
    axis.barh(
        range(len(names)), values, xerr=errors, color=[charts.colour(n, theme) for n in names], ecolor=theme["ink"]
    )
    axis.set_yticks(range(len(names)), names if named else [])
    axis.set_xlim(0, 1.25 * max(values))
    for position, (value, high) in enumerate(zip(values, errors[1], strict=True)):
        axis.annotate(f" {_number(value)}", (value + high, position), va="center")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.locator_params(axis="x", nbins=5)
    axis.grid(axis="x")


def _codec(part: dict[str, Any], folder: Path) -> list[str]:
    names = [entry["name"] for entry in part["tables"][0]["entries"]]
    ours = [name for name in names if name.startswith("bokbok")]
    head = ["", *(f"{name}, µs" for name in names)]
    head += [f"{name} by {opponent}" for name in ours for opponent in ("sexpdata", "json")]
    rows = []
    for table in part["tables"]:
        entries = {entry["name"]: entry for entry in table["entries"]}
        row = [table["title"], *(_with_spread(entries[name]["processor"], 1e6) for name in names)]
        row += [_against(entries[name], opponent, "rate") for name in ours for opponent in ("sexpdata", "json")]
        rows.append(row)
    return [
        "## Codec",
        "Reading and writing the same value from and to bytes, as long as its JSON is: records of strings, numbers and "
        "lists, which all three can hold. Processor time; then how many times as fast as sexpdata and as Python's "
        "`json`, which is written in C.",
        _about(part),
        _chart(_draw_codec, part, (9, 3.6), folder, "speed-codec"),
        _table(head, rows),
    ]


def _draw_codec(figure: Any, theme: charts.Theme, tables: list[dict[str, Any]]) -> None:
    axes = figure.subplots(1, 2, sharey=True)
    for axis, direction in zip(axes, ("read", "write"), strict=True):
        chosen = [table for table in tables if table["title"].startswith(direction)]
        sizes = [int(table["title"].split()[1].replace(",", "")) for table in chosen]
        for name in [entry["name"] for entry in chosen[0]["entries"]]:
            rates = [
                size * entry["rate"][0] / 1e6
                for size, table in zip(sizes, chosen, strict=True)
                for entry in table["entries"]
                if entry["name"] == name
            ]
            style = "-" if name.startswith("bokbok") else {"sexpdata": "--", "json": ":"}[name]
            axis.plot(sizes, rates, style, marker="o", markersize=3, color=charts.colour(name, theme), label=name)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(f"{direction}: megabytes of JSON per second", loc="left")
        axis.set_xlabel("bytes of the value's JSON")
        axis.grid()
    axes[0].legend()


def _start(part: dict[str, Any], folder: Path) -> list[str]:
    lines = [
        "## Start",
        "Whole processes, from start to end, one request each.",
        _about(part),
    ]
    for table in part["tables"]:
        rows = [
            [
                entry["name"],
                _with_spread(entry["rate"], 1e3),
                _with_spread(entry["processor"], 1e3),
                _against(entry, "python -c pass", "rate"),
                _against(entry, "python -c pass", "processor"),
            ]
            for entry in table["entries"]
        ]
        head = ["", "ms", "processor, ms", "time by `python -c pass`", "processor by `python -c pass`"]
        lines += [f"### {table['title'].capitalize()}", _table(head, rows)]
    return lines


PARTS: dict[str, Callable[[dict[str, Any], Path], list[str]]] = {
    "requests": _requests,
    "codec": _codec,
    "start": _start,
}
