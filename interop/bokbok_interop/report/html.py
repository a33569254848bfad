"""One HTML page that works from disk: the matrix as a picture, filters, search, and the evidence of every cell.

What this module knows: how to put a document into the page's template. `page.html.j2`, `page.css` and `page.js` say how
the page looks and behaves.

The page does not load anything. Evidence is packed (base64 of zlib), and the browser unpacks it when a cell is opened,
so that a page with ten thousand cells has only a few megabytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ..cases.requirements import document_texts
from .causes import failures
from .document import DocumentError, pack, without_verdict

__all__ = ["render"]

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")

_OUTCOMES = ("passed", "failed", "unsupported", "absent")
MAX_EVIDENCE = 400_000
"""The most bytes of one failure's packed evidence in the page. Longer evidence is cut. The JSON has all of it."""


def _compact(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document as the page's script reads it (each name once, cells as short lists of numbers), and the evidence.

    The evidence is separate, one line for each cell, since it is most of the page, and is read only when a cell is
    opened.
    """
    cases = {case["id"]: index for index, case in enumerate(document["cases"])}
    names: dict[str, int] = {}
    reasons: dict[str, int] = {"": 0}
    cells: list[list[Any]] = []
    evidence: list[str] = []
    described = list(document["cases"])
    # The same failures in the same order as in the terminal.
    failure = {id(cell): number for number, alike in enumerate(failures(document)) for cell in alike}
    for cell in document["cells"]:
        if cell["case"] not in cases:
            cases[cell["case"]] = len(described)
            described.append(
                {"id": cell["case"], "chapter": cell["case"].split(".")[0], "kind": "", "title": "", "requirements": []}
            )
        packed = cell.get("packed", "")
        if cell.get("evidence"):
            kept = dict(cell["evidence"])
            kept.pop("dump", None)  # the page draws it from the packets
            kept.pop("capture", None)
            packed = pack(kept)
            while len(packed) > MAX_EVIDENCE and (kept.get("packets") or kept.get("datums")):
                kept["packets"] = kept.get("packets", [])[: len(kept.get("packets", [])) // 2]
                kept["datums"] = kept.get("datums", [])[: len(kept.get("datums", [])) // 2]
                kept["cut"] = True
                packed = pack(kept)
        index = 0
        if packed:
            # It goes into the page unchanged.
            if not _BASE64.fullmatch(packed):
                raise DocumentError(f"the evidence of {cell['case']} is not base64")
            evidence.append(packed)
            index = len(evidence)
        extra = {
            k: cell[k]
            for k in ("expected", "actual", "requirement", "crash", "attempts", "again", "round")
            if cell.get(k)
        }
        if id(cell) in failure:
            extra["failure"] = failure[id(cell)]
        cells.append(
            [
                names.setdefault(cell["client"], len(names)),
                names.setdefault(cell["server"], len(names)),
                int(cell["transport"] == "unix"),
                int(cell["security"] == "insecure"),
                cases[cell["case"]],
                _OUTCOMES.index(cell["outcome"]),
                reasons.setdefault(cell["reason"], len(reasons)),
                cell["seconds"],
                index,
                extra or 0,
            ]
        )
    compact = {
        "names": list(names),
        "cases": described,
        "reasons": list(reasons),
        "cells": cells,
    }
    return compact, evidence


def _script(value: Any) -> str:
    """JSON that is safe inside a script element, whatever strings it contains."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _with_anchors(text: str) -> Markup:
    """A document's text, escaped except for its anchors, to which the page can jump."""
    return Markup(re.sub(r"&lt;a id=&#34;([^&]+)&#34;&gt;&lt;/a&gt;", r'<b id="rule:\1">▸</b>', str(escape(text))))


def _hash(text: str) -> str:
    """The hash by which the page's content security policy allows an element's text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def render(document: Mapping[str, Any]) -> bytes:
    """The page of a document.

    Raises:
        DocumentError: something in it is invalid.
    """
    environment = Environment(
        loader=PackageLoader(__package__.split(".")[0], "report"), autoescape=True, undefined=StrictUndefined
    )
    files = resources.files(__package__)
    data, evidence = _compact(document)
    css, js = (files.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    page = environment.get_template("page.html.j2").render(
        document=document,
        data=_script(data),
        evidence="\n".join(evidence),
        without_verdict=without_verdict(document),
        took=_duration(document["seconds"]),
        documents=[_with_anchors(text) for text in document_texts()],
        css=Markup(css),
        js=Markup(js),
        policy=(
            f"default-src 'none'; script-src {_hash(js)}; style-src {_hash(css)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
    )
    # A lone surrogate stands for a byte that is not UTF-8.
    return page.encode("utf-8", "backslashreplace")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
