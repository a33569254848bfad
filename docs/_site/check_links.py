"""Follow every link of the built site, without the network: each page, file and anchor must be there.

    python docs/_site/check_links.py FOLDER

Sphinx checks the links that it makes of texts. This looks at what a reader gets: the theme's links, those of generated
tables, pictures, styles and scripts. Nothing may be loaded from elsewhere, so that the site works offline.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ALLOWED_WITHOUT_A_MARK = {"", "top"}


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[tuple[str, str, int]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value is not None:
                self.links.append((tag, value, self.getpos()[0]))


def problems(folder: Path) -> list[str]:
    """What is wrong, a line each."""
    pages = {path.resolve(): _Page(path) for path in sorted(folder.rglob("*.html"))}
    out, count = [], 0
    for path, page in pages.items():
        for tag, link, line in page.links:
            parts = urlsplit(link)
            where = f"{path.relative_to(folder.resolve())}:{line}: {link}"
            if parts.scheme or parts.netloc:
                if tag != "a" and parts.scheme != "data":
                    out.append(f"{where}: <{tag}> loads something from elsewhere")
                continue
            count += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            if not target.is_file():
                out.append(f"{where}: no such file")
            elif target in pages and anchor not in pages[target].anchors | _ALLOWED_WITHOUT_A_MARK:
                out.append(f"{where}: no such anchor")
    print(f"{count} links of {len(pages)} pages followed", file=sys.stderr)
    return out if pages else [f"no pages in {folder}"]


if __name__ == "__main__":
    found = problems(Path(sys.argv[1]))
    print("\n".join(found))
    sys.exit(bool(found))
