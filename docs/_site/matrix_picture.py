"""Draw `docs/pictures/matrix.svg` from the results of a real run:

bokbok-interop run --json results.json
python docs/_site/matrix_picture.py results.json docs/pictures/matrix.svg
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, TOP = 130, 54, 150, 74

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" \
aria-labelledby="matrix-title" font-family="system-ui, sans-serif" font-size="14" fill="currentColor">
<style>svg {{ color: #222 }} @media (prefers-color-scheme: dark) {{ svg {{ color: #ddd }} }}</style>
<title id="matrix-title">{title}</title>
"""


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>{text}</text>\n'


def draw(results: dict[str, Any]) -> str:
    """The SVG: a row for each client, a column for each server."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in results["cells"]:
        counts.setdefault((cell["client"], cell["server"]), Counter())[cell["outcome"]] += 1
    names = [peer["name"] for peer in results["peers"] if any(peer["name"] in pair for pair in counts)]
    names = sorted(names, key=lambda name: (name == "runner", [peer["name"] for peer in results["peers"]].index(name)))
    small, mono = ' font-size="12" opacity=".8"', ' font-family="ui-monospace, monospace" font-size="13"'
    total = Counter(cell["outcome"] for cell in results["cells"])
    body = _text(LEFT + WIDTH * len(names) / 2, 22, "server", more=small)
    body += _text(LEFT - 12, TOP - 12, "client", "end", small)
    for column, name in enumerate(names):
        body += _text(LEFT + WIDTH * (column + 0.5), TOP - 12, name, more=mono)
    for row, client in enumerate(names):
        body += _text(LEFT - 12, TOP + HEIGHT * (row + 0.5) + 5, client, "end", mono)
        for column, server in enumerate(names):
            found = counts.get((client, server), Counter())
            x, y = LEFT + WIDTH * column, TOP + HEIGHT * row
            played = found["passed"] + found["failed"]
            color = "#b3261e" if found["failed"] else "#2e7d32" if played else "none"
            body += (
                f'<rect x="{x + 2}" y="{y + 2}" width="{WIDTH - 4}" height="{HEIGHT - 4}" rx="5" fill="{color}" '
                f'fill-opacity=".16" stroke="{color if played else "currentColor"}" '
                f'stroke-opacity="{1 if played else 0.2}"/>\n'
            )
            middle = x + WIDTH / 2
            if found["failed"]:
                body += _text(middle, y + 25, f"✗ {found['failed']} failed")
                body += _text(middle, y + 42, f"{found['passed']} passed", more=small)
            elif played:
                body += _text(middle, y + 25, f"✓ {found['passed']}")
                if found["unsupported"]:
                    body += _text(middle, y + 42, f"– {found['unsupported']} unsupported", more=small)
    height = TOP + HEIGHT * len(names) + 34
    said = ", ".join(f"{count:,} {outcome}" for outcome, count in total.most_common())
    chapters = sorted({cell["case"].partition(".")[0] for cell in results["cells"]})
    played = "all chapters" if len(chapters) > 8 else f"{', '.join(chapters)} alone"
    body += _text(LEFT, height - 10, f"{said} ({played}) · {results['started'][:10]}", "start", small)
    title = f"The matrix of {len(names)} peers: {said}"
    return HEAD.format(w=LEFT + WIDTH * len(names) + 10, h=height, title=title) + body + "</svg>\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(json.loads(Path(sys.argv[1]).read_text("utf-8"))), encoding="utf-8")
