"""How long a page with ten thousand cells takes to open, to filter and to show a cell's evidence, in a real browser.

    python bench/interop_page.py [CELLS] [--keep FILE.html]

It makes a document of so many cells (10,000) with evidence like that of a run, makes its page, and opens that several
times in a headless Chromium (`apt-get install chromium`). Times are the browser's own: from the start of the navigation
until the page is drawn, and from a key press until the list is drawn again.
"""

from __future__ import annotations

import argparse
import html as escapes
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "interop")]

from bokbok_interop.cases import all_cases  # noqa: E402 - the path is set above
from bokbok_interop.model import Cell, Outcome, Result  # noqa: E402
from bokbok_interop.report import document, html  # noqa: E402

ROUNDS = 7
SEARCHES = ["e", "er", "err", "errors", "errors.rem", "close handler", "peer3 connect", "zzz", ""]
MEASURE = """
addEventListener('load', () => {
  const note = {}, timed = act => { const start = performance.now(); act(); document.body.offsetHeight;
    return performance.now() - start; };
  document.body.offsetHeight;
  note.open = performance.now();
  const search = document.getElementById('search');
  note.search = SEARCHES.map(text => timed(() => { search.value = text; search.dispatchEvent(new Event('input')); }));
  note.outcome = timed(() => document.querySelector('[data-outcome]').click());
  note.square = timed(() => document.querySelector('[data-pair]').click());
  note.reset = timed(() => document.getElementById('reset').click());
  const list = document.getElementById('list');
  note.scroll = timed(() => { list.scrollTop = list.scrollHeight / 2; list.onscroll(); });
  note.cell = timed(() => document.querySelector('.row').click());
  const out = document.createElement('pre'); out.id = 'note'; out.textContent = JSON.stringify(note);
  document.body.append(out);
});
"""


def make(count: int) -> dict[str, Any]:
    """A document of so many cells."""
    source = random.Random(1)
    cases = all_cases()
    results = []
    for index in range(count):
        case = cases[index % len(cases)]
        pair = index // len(cases)
        cell = Cell(f"peer{pair % 6}", f"peer{pair // 6 % 6}", ("tcp", "unix")[pair % 2], "secure", case.id)
        datums = [[0.01 * i, "client", ">", f'({i} request 7 ("echo" {source.random()}))'] for i in range(12)]
        packets = [
            {
                "t": 0.01 * i,
                "from": ("client", "server")[i % 2],
                "conn": 1,
                "title": f"request {i}",
                "problem": "",
                "text": f'(request {i} ("echo" {i}))',
                "ranges": [
                    {"offset": 70 * i, "hex": source.randbytes(48).hex(), "length": 48, "layer": "box", "note": ""}
                ],
            }
            for i in range(6)
        ]
        failed = source.random() < 0.03
        result = Result(cell, Outcome.FAILED if failed else Outcome.PASSED, seconds=source.random())
        result.evidence = {"datums": datums, "packets": packets, "client_log": "a line of a log\n" * 8}
        if failed:
            result.reason, result.expected, result.actual = f"what went wrong with {case.id}", "this", "that"
        results.append(result)
    return document.build(
        results, cases=cases, peers=[{"name": f"peer{i}"} for i in range(6)], started="2026-01-01T00:00:00+00:00",
        seconds=500.0, command=["run"], profile="inferred-1", seed=0, planned=count, interrupted=False,
    )  # fmt: skip


def browse(browser: str, page: Path, folder: Path) -> dict[str, Any]:
    """Open the page once. Returns what the script in it measured."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,900"]
    done = subprocess.run(
        [browser, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r'<pre id="note">(.*?)</pre>', done.stdout, re.S)
    if found is None:
        sys.exit(f"the browser did not get that far: {done.stderr[-500:]}")
    note: dict[str, Any] = json.loads(escapes.unescape(found[1]))
    return note


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", nargs="?", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="also write the page there")
    options = parser.parse_args()
    browser = next((b for name in ("chromium", "chromium-browser", "google-chrome") if (b := shutil.which(name))), None)
    if browser is None:
        sys.exit("there is no chromium here: apt-get install chromium")
    text = html.render(make(options.cells))
    if options.keep:
        options.keep.write_text(text)
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "page.html"
        script = MEASURE.replace("SEARCHES", json.dumps(SEARCHES))
        page.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
        notes = [browse(browser, page, Path(name)) for _ in range(ROUNDS)]
    print(f"{options.cells} cells, {len(text) / 1e6:.1f} MB, {ROUNDS} rounds; milliseconds, median (worst)")
    for what, title in (
        ("open", "open: from navigation until drawn"),
        ("search", "a key typed into the search"),
        ("outcome", "an outcome hidden"),
        ("square", "a square of the matrix"),
        ("reset", "all shown again"),
        ("scroll", "scrolled to the middle"),
        ("cell", "a cell opened"),
    ):
        times = [t for note in notes for t in (note[what] if isinstance(note[what], list) else [note[what]])]
        print(f"  {title:<36} {statistics.median(times):7.1f} ({max(times):.1f})")


if __name__ == "__main__":
    main()
