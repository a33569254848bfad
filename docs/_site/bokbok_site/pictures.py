"""Pictures that follow the theme: an SVG of `docs/pictures` stands in the page itself, and takes its colours from it.

Elsewhere the same file is an image of its own, which follows the reader's system (a media query in its `<style>`).

The benchmarks' charts in `docs/img` come in two, light and dark, and their pages name both in HTML of their own, which
Sphinx does not read: the folder is copied as it is.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_PROLOG = re.compile(r"^\s*(<\?xml.*?\?>|<!--.*?-->|\s)*", re.DOTALL)
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)


def _inline(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir, image["uri"])
        if path.suffix != ".svg" or "pictures" not in path.parts:
            continue
        alt = image.get("alt", "")
        if not alt:
            raise ExtensionError(f"{docname}: the picture {path.name} needs a text for those who do not see it")
        text = _STYLE.sub("", _PROLOG.sub("", path.read_text(encoding="utf-8")))
        # A narrow screen scrolls a wide picture, and a keyboard must be able to.
        markup = f'<div class="picture" tabindex="0" role="group" aria-label="Picture">{text}</div>'
        image.replace_self(nodes.raw("", markup, format="html"))


def _copy_charts(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        shutil.copytree(Path(app.confdir, "img"), Path(app.outdir, "docs", "img"), dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the steps."""
    app.connect("doctree-resolved", _inline)
    app.connect("build-finished", _copy_charts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
