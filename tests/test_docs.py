"""The links between the project's texts: each leads to an existing file, and to a heading or an anchor in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def texts() -> list[Path]:
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md") if not path.is_symlink())
    return sorted(path for path in found if not any(part.startswith(".") or part == "build" for part in path.parts))


def without_code(text: str) -> str:
    text = re.sub(r"^(\s*)(```|~~~).*?^\s*\2\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(text: str) -> set[str]:
    """The anchors of a text: those of headings, as GitHub makes them, and explicit ones."""
    found = set(re.findall(r'<a id="([^"]*)"></a>', text))
    for heading in re.findall(
        r"^#+ +(.*?) *$", re.sub(r"^(\s*)(```|~~~).*?^\s*\2\s*$", "", text, flags=re.M | re.S), re.M
    ):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (named := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(named)
    return found


@pytest.mark.parametrize("path", texts(), ids=str)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\(([^()\s]+)\)", without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        where = (ROOT / path).parent / file if file else ROOT / path
        if not where.exists() or (anchor and anchor not in anchors(where.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []
