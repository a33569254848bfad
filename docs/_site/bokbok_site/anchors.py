"""Anchors of sentences: `<a id="profile.key"></a>` in a page is a target that other pages can link to.

The conformance suite quotes such sentences by these anchors, so they stay plain HTML, which every viewer of Markdown
shows alike. MyST passes HTML through without looking at it; here each becomes a target that links are checked against,
with a mark beside it that shows on hovering, to copy the link from.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_OPENING = re.compile(r'<a id="(?P<name>[^"]+)">')


class Anchors(SphinxTransform):
    """Turns each pair of `<a id="…">` and `</a>` into a target."""

    default_priority = 300  # before MyST looks for what a link leads to

    def apply(self, **_: Any) -> None:
        """Change the document."""
        slugs = self.env.metadata[self.env.docname].setdefault("myst_slugs", {})
        for raw in list(self.document.findall(nodes.raw)):
            found = _OPENING.fullmatch(raw.astext())
            if raw.get("format") != "html" or not found:
                continue
            name = found["name"]
            closing = raw.next_node(descend=False, siblings=True)
            if isinstance(closing, nodes.raw) and closing.astext() == "</a>":
                closing.parent.remove(closing)
            mark = nodes.reference("", "", refid=name, classes=["sentence"], reftitle=f"Link to {name}")
            target = nodes.target("", "", ids=[name])
            self.document.ids[name] = target
            raw.replace_self([target, mark])
            slugs[name] = (raw.line or 0, name, name)
            own = getattr(self.document, "myst_slugs", None)
            if own is not None:
                own[name] = (raw.line or 0, name, name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(Anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
