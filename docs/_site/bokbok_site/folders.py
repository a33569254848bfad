"""Links to folders of the repository: the site shows no folders, so the words stay and the link goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class Folders(SphinxTransform):
    """Replaces each link that leads to a folder by what it says."""

    default_priority = 800

    def apply(self, **_: Any) -> None:
        """Change the document."""
        here = Path(self.env.srcdir, self.env.docname).parent
        for reference in list(self.document.findall(addnodes.pending_xref)):
            if reference.get("reftype") == "myst" and (here / reference["reftarget"]).is_dir():
                reference.replace_self(reference.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(Folders)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
