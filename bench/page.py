"""The pages of speed and scale: tables and charts of the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import charts

BEGIN, END = "<!-- made by a benchmark: do not edit by hand -->", "<!-- end of what it makes -->"
INTRODUCTIONS = {
    "speed": "# Speed\n\n`make bench` measures this page: it starts every competitor itself, and all of a table take "
    "turns in short slices.\n",
    "scale": "# Scale\n\n`python bench/scale.py` measures this page: how the library grows with connections, requests "
    "in flight, bytes and threads.\n",
}
Figures = list[float]
"""A median and its quartiles."""
Show = Callable[[dict[str, Any], Path], list[str]]
"""Makes a part of a page from the figures, and draws its charts into a folder."""


def write(name: str, document: dict[str, Any], folder: Path) -> str:
    """Write NAME.md and the charts beside it.

    Args:
        name: the page's name.
        document: the figures; a part may be missing.
        folder: where the page is, or will be. Text around the generated part stays as it is.

    Returns:
        The generated part.
    """
    shows = PAGES[name]
    made = "\n\n".join(line for part in shows if part in document for line in shows[part](document[part], folder))
    path = folder / f"{name}.md"
    text = path.read_text() if path.exists() else f"{INTRODUCTIONS[name]}\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.partition(END)[2]}")
    return made


def _about(part: dict[str, Any]) -> str:
    about = part["about"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    text = (
        f"{about['date']}; {about['machine']}; {about['python']}; {packages}. Load of the machine when this began and "
        f"when it ended: {about['load'][0]} and {about['load'][1]}."
    )
    if "rounds" in part:
        text += f" {part['rounds']} rounds."
    if max(about["load"]) > 2 * int(about["machine"].split()[0]):
        text += (
            " **The machine was busy with other work.** Rates and times then tell mostly how it was shared; processor "
            "time tells more, and is higher than on a quiet machine too."
        )
    return text


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
        "Secure (Pyro5: not encrypted), over loopback TCP, client and server in separate processes. The C program has "
        "the same boxes and no codec: it is the limit. Beside each median are the quartiles of its slices. Ratios are "
        "medians of the ratios within each round. A higher rate is better, and so is a lower processor time. "
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


# Scale.


def _grows(title: str, text: str, name: str, curves: tuple[tuple[str, str], ...]) -> Show:
    """A function that shows a part of scale.py: a chart for each curve, and the points as a table."""

    def show(part: dict[str, Any], folder: Path) -> list[str]:
        points = part["points"]
        grown, *measured = points[0]

        def draw(figure: Any, theme: charts.Theme) -> None:
            axes = figure.subplots(1, len(curves), squeeze=False)[0]
            for axis, (what, kind) in zip(axes, curves, strict=True):
                axis.plot(
                    [p[grown] for p in points], [p[what] for p in points], "-o", markersize=3, color=theme["ours"]
                )
                axis.set_xscale("log")
                axis.set_yscale(kind)
                if kind == "linear":
                    axis.set_ylim(bottom=0)
                    axis.yaxis.set_major_formatter("{x:,g}")
                axis.set_title(what, loc="left")
                axis.set_xlabel(grown)
                axis.grid()

        rows = [[f"{point[grown]:,}", *(_number(point[what]) for what in measured)] for point in points]
        chart = charts.save(draw, (4.5 * len(curves), 3), folder / "img", name)
        return [f"## {title}", text, _about(part), chart, _table([grown, *measured], rows)]

    return show


SPEED: dict[str, Show] = {"requests": _requests, "codec": _codec, "start": _start}
SCALE: dict[str, Show] = {
    "connections": _grows(
        "Connections",
        "Idle secure connections on one `bokbok.asyncio` server, each of which has answered one request. Memory is "
        "what the server's process alone holds, divided by the connections.",
        "scale-connections",
        (("bytes each", "linear"), ("hellos/s", "linear")),
    ),
    "in-flight": _grows(
        "Requests in flight",
        "Messages of 60 bytes on one secure connection, `bokbok.asyncio`.",
        "scale-in-flight",
        (("requests/s", "linear"), ("processor, µs", "linear")),
    ),
    "bytes": _grows(
        "Bytes",
        "A string and its echo on one secure connection, `bokbok.sync`: the time for both ways, and how far the "
        "server's memory rose.",
        "scale-bytes",
        (("echo, ms", "log"), ("server's peak, times the bytes", "log")),
    ),
    "threads": _grows(
        "Threads",
        "Threads that ask on one secure connection, `bokbok.sync`, with messages of 60 bytes.",
        "scale-threads",
        (("requests/s", "linear"), ("processor, µs", "linear")),
    ),
}
PAGES = {"speed": SPEED, "scale": SCALE}
