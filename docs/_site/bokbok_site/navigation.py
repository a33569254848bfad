"""Pages that the navigation does not name yet stand under *More*, so that a new page needs no other change."""

from __future__ import annotations

from pathlib import PurePosixPath

from sphinx.application import Sphinx


def _more(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname != app.config.root_doc:
        return
    folder = PurePosixPath(docname).parent
    lines = source[0].splitlines()
    found = sorted(
        name.removeprefix(f"{folder}/")
        for name in app.env.found_docs
        if PurePosixPath(name).parent == folder and name != docname
    )
    new = [name for name in found if name not in lines]
    if new:
        source[0] += "\n\n```{toctree}\n:hidden:\n:caption: More\n\n" + "\n".join(new) + "\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the step."""
    app.connect("source-read", _more)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
