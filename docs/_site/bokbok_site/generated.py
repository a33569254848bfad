"""Tables that are made from the code when the site is built, so that no page repeats what a module knows.

    ```{cases} lifecycle
    ```

shows the cases of a chapter with their sentences, `{mutants}` the broken peers of a chapter with the cases that catch
them, `{rules}` the rules of a document with the cases and broken peers of each, `{profile-keys}` the strategies of
profile files with their keys, `{results-members}` the members of the JSON that `bokbok-interop run --json` writes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[3]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


class _Made(SphinxDirective):
    """A directive whose content is Markdown that is made here."""

    optional_arguments = 1

    def run(self) -> list[Node]:
        nodes: list[Node] = self.parse_text_to_nodes(self.markdown(), allow_section_headings=True)
        return nodes

    def markdown(self) -> str:
        raise NotImplementedError


class Cases(_Made):
    """The cases of one chapter."""

    def markdown(self) -> str:
        """A table, with a link from each case to its sentences."""
        from bokbok_interop.cases import all_cases

        rows = []
        for case in all_cases():
            if case.chapter != self.arguments[0]:
                continue
            sentences = ", ".join(f"[{one.name}](/{one.link})" for one in case.requirements)
            rows.append([f"`{case.id}`", case.title, f"{case.kind.value}: {sentences}"])
        if not rows:
            raise self.error(f"no chapter {self.arguments[0]!r}")
        return _table(["case", "what must be true", "the sentences it checks"], rows)


class Chapters(_Made):
    """All chapters, with the number of cases."""

    def markdown(self) -> str:
        """A table."""
        from bokbok_interop.cases import CHAPTERS, all_cases

        cases = list(all_cases())
        rows = [[f"[{name}](#{name})", str(sum(case.chapter == name for case in cases))] for name in CHAPTERS]
        return _table(["chapter", "cases"], [*rows, ["all", str(len(cases))]])


@cache
def _mutants() -> list[dict[str, Any]]:
    command = [sys.executable, str(ROOT / "tests/interop/mutants"), "--json"]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


class Mutants(_Made):
    """The broken peers that the suite catches."""

    def markdown(self) -> str:
        """A table."""
        rows = []
        for mutant in _mutants():
            rows.append([f"`{mutant['name']}`", mutant["title"], ", ".join(f"`{case}`" for case in mutant["cases"])])
        return _table(["mutant", "what is wrong with it", "caught by"], rows)


class Rules(_Made):
    """The sentences of one document, each with what checks it, and the broken peers that those cases catch."""

    def markdown(self) -> str:
        """A table, with a link to each sentence."""
        from bokbok_interop.cases import REQUIREMENTS, all_cases

        cases = all_cases()
        rows = []
        for name, rule in REQUIREMENTS.items():
            if rule.document != self.arguments[0] or rule.untestable:
                continue
            mine = [case for case in cases if rule in case.requirements]
            first = {case.id for case in mine if case.requirement is rule}
            ids = {case.id for case in mine}
            broken = [one["name"] for one in _mutants() if (first or ids) & set(one["cases"])]
            shown = [", ".join(f"`{word}`" for word in words) for words in (dict.fromkeys(c.id for c in mine), broken)]
            rows.append([f"[{name}](/{rule.link})", *shown])
        return _table(["rule", "cases", "broken peers that break it"], rows)


def _number(value: int) -> str:
    """A number as people read it: a large one that is, or almost is, a power of two, as such."""
    if abs(value) < 1 << 20:
        return str(value)
    for near, rest in ((abs(value), ""), (abs(value) + 1, " − 1")):
        if near & (near - 1) == 0 and not (rest and value < 0):
            return f"{'−' if value < 0 else ''}2<sup>{near.bit_length() - 1}</sup>{rest}"
    return f"{value:,}"


def _takes(schema: dict[str, Any], whole: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _takes(whole["$defs"][name], whole) if name != "bytes" else "bytes: text, or a table with `hex`"
    if "const" in schema:
        return f"`{json.dumps(schema['const'], ensure_ascii=False)}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one, ensure_ascii=False)}`" for one in schema["enum"])
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return "; or ".join(_takes(one, whole) for one in schema[several])
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        kind = " or ".join(kind)
    if kind == "array" and isinstance(schema.get("items"), dict) and schema["items"].get("type") != "object":
        return f"a list of: {_takes(schema['items'], whole)}"
    if kind == "array":
        return "a list"
    if kind == "integer" and "minimum" in schema:
        most = schema.get("maximum")
        return f"a number from {_number(schema['minimum'])}" + (f" to {_number(most)}" if most is not None else " up")
    return {"string": "a string", "integer": "a number", "number": "a number", "boolean": "true or false"}.get(
        kind, kind
    )


class ProfileKeys(_Made):
    """The strategies of profile files."""

    def markdown(self) -> str:
        """A heading and a table for each layer."""
        from bokbok.wire.profile import profile_schema

        whole = profile_schema()
        properties = whole["properties"]
        plain = [[f"`{name}`", _takes(one, whole)] for name, one in properties.items() if not _strategies(one)]
        parts = ["## The file itself", _table(["key", "takes"], plain)]
        for layer, one in properties.items():
            rows = []
            for strategy in _strategies(one):
                keys = dict(strategy["properties"])
                name = f"`{keys.pop('strategy')['const']}`"
                for key, value in keys.items() or {"": {}}.items():
                    needed = " (needed)" if key in strategy.get("required", ()) else ""
                    rows.append([name, f"`{key}`{needed}" if key else "", _takes(value, whole) if key else "no keys"])
                    name = ""
            if rows:
                parts += [f"## `[{layer}]`", _table(["strategy", "key", "takes"], rows)]
        return "\n\n".join(parts)


def _strategies(schema: dict[str, Any]) -> list[dict[str, Any]]:
    found = schema.get("oneOf") or schema.get("anyOf") or [schema]
    return [one for one in found if "strategy" in one.get("properties", {})]


def _members(schema: dict[str, Any], whole: dict[str, Any], path: str = "") -> Iterator[list[str]]:
    required = schema.get("required", ())
    for name, one in schema.get("properties", {}).items():
        where = f"{path}{name}"
        if "$ref" in one:
            one = {**whole["$defs"][one["$ref"].rpartition("/")[2]], **{k: v for k, v in one.items() if k != "$ref"}}
        said = one.get("description", "")
        yield [f"`{where}`", _takes(one, whole), "always" if name in required else "", said]
        items = one.get("items", {})
        if "$ref" in items:
            items = whole["$defs"][items["$ref"].rpartition("/")[2]]
        if one.get("properties"):
            yield from _members(one, whole, f"{where}.")
        elif items.get("properties"):
            yield from _members(items, whole, f"{where}[].")


class ResultsMembers(_Made):
    """The members of results."""

    def markdown(self) -> str:
        """A table, with the path of each member."""
        whole = json.loads(resources.files("bokbok_interop.report").joinpath("schema.json").read_text("utf-8"))
        return _table(["member", "takes", "there", "meaning"], _members(whole, whole))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("cases", Cases)
    app.add_directive("chapters", Chapters)
    app.add_directive("mutants", Mutants)
    app.add_directive("profile-keys", ProfileKeys)
    app.add_directive("results-members", ResultsMembers)
    app.add_directive("rules", Rules)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
