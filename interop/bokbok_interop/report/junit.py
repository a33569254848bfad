"""JUnit XML, for CI systems.

What this module knows: which element stands for which outcome.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from .document import requirement_of, source

__all__ = ["render"]

# XML 1.0 cannot contain most control characters, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def render(document: Mapping[str, Any]) -> bytes:
    """The results as XML: one suite for each pair, transport and security mode, one test for each cell."""
    cases = {case["id"]: case for case in document["cases"]}
    suites: dict[tuple[str, ...], TestSuite] = {}
    for cell in document["cells"]:
        key = (cell["client"], cell["server"], cell["transport"], cell["security"])
        name = _clean(f"{key[0]} to {key[1]}, {key[2]}, {key[3]}")
        if key not in suites:
            suites[key] = TestSuite(name)
            suites[key].timestamp = _clean(str(document["started"])[:19])
        test = TestCase(
            _clean(cell["case"]),
            classname=_clean(".".join(part.replace(".", "_") for part in key)),
            time=cell["seconds"],
        )
        reason = _clean(cell["reason"])
        if cell["outcome"] == "failed":
            failure = Failure(reason, "failed")
            failure.text = _clean(_text(cell, requirement_of(cell, cases)))
            test.result = [failure]
        elif cell["outcome"] != "passed":
            test.result = [Skipped(f"{cell['outcome']}: {reason}", cell["outcome"])]
        if cell.get("again"):
            test.system_out = _clean(f"played {cell['attempts']} times, the last time alone: {cell['again']}")
        suites[key].add_testcase(test)
    xml = JUnitXml("bokbok-interop")
    missing = [json.dumps(each) for each in document.get("no_verdict", ())]
    for suite in suites.values():
        suite.update_statistics()  # type: ignore[no-untyped-call]
        xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    if suites:
        first = next(iter(suites.values()))
        first.add_property("not-shown", str(document.get("not_shown", 0)))
        for each in missing:
            first.add_property("no-verdict", _clean(each))
    out = io.BytesIO()
    xml.write(out, pretty=True)
    return out.getvalue()


def _text(cell: Mapping[str, Any], requirement: Mapping[str, str] | None) -> str:
    parts = []
    if requirement is not None:
        parts = [f"requirement: {requirement['text']}", f"({source(requirement)})"]
    for key in ("expected", "actual"):
        if cell.get(key):
            parts.append(f"{key}: {cell[key]}")
    evidence = cell.get("evidence", {})
    if evidence.get("dump"):
        parts.append("\n" + evidence["dump"][-8_000:])
    for role in ("client", "server"):
        if evidence.get(f"{role}_log"):
            parts.append(f"\nlog of the {role}:\n{evidence[f'{role}_log'][-4_000:]}")
    return "\n".join(parts)
