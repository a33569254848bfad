"""The results as one JSON document: what `--json` writes, and what every other report is made from.

What this module knows: the document's form, which `schema.json` beside it describes.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import fastjsonschema

from bokbok import __version__

from ..cases import REQUIREMENTS, Case, Requirement
from ..model import RUNNER, Outcome, Result
from .files import JOURNAL

__all__ = [
    "FORMAT",
    "DocumentError",
    "build",
    "counts_for",
    "describe_cell",
    "load",
    "merge",
    "missing_shards",
    "pack",
    "played_again",
    "requirement_of",
    "sentence",
    "source",
    "summary",
    "unpack",
]

FORMAT = 1
MAX_BYTES = 1 << 30
"""The most bytes of a file of results. The whole matrix, with its evidence, has some ten megabytes."""
MAX_PROBLEM = 500
"""The most characters of a text about a wrong file, which may contain anything."""
MAX_UNPACKED = 64 << 20
"""Bytes of one cell's evidence."""
_KEY = ("client", "server", "transport", "security", "case")


class DocumentError(ValueError):
    """A file does not contain results. The message says what was expected."""


def pack(evidence: Mapping[str, Any]) -> str:
    """Evidence of a pass, compressed: base64 of zlib of JSON."""
    return base64.b64encode(zlib.compress(json.dumps(evidence, ensure_ascii=False).encode(), 6)).decode("ascii")


def unpack(text: str) -> dict[str, Any]:
    """The reverse of `pack`."""
    data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), MAX_UNPACKED)
    value: dict[str, Any] = json.loads(data)
    return value


def summary(outcomes: Iterable[str]) -> dict[str, int]:
    """How many cells have which outcome."""
    counted = Counter(outcomes)
    return {outcome.value: counted[outcome.value] for outcome in Outcome}


def proof(cells: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How far bytes have shown that peers speak the profile: a document's `not_shown` and `no_verdict`.

    Only cells that were played count. Cells of earlier versions do not say what they have shown.
    """
    missing = 0
    passed: Counter[tuple[str, str, str, str]] = Counter()
    seen = set()
    for cell in cells:
        if "shown" not in cell:
            continue
        roles = [role for role in ("client", "server") if cell[role] != RUNNER]
        missing += any(role not in cell["shown"] for role in roles)
        for role in roles:
            place = (cell[role], role, cell["transport"], cell["security"])
            passed[place] += cell["outcome"] == Outcome.PASSED.value
            if role in cell["shown"]:
                seen.add(place)
    keys = ("peer", "role", "transport", "security")
    unseen = [place for place, count in passed.items() if count and place not in seen]
    return {
        "not_shown": missing,
        "no_verdict": [dict(zip(keys, place, strict=True)) | {"cells": passed[place]} for place in unseen],
    }


def without_verdict(document: Mapping[str, Any]) -> list[str]:
    """The pairs without a verdict, in words."""
    return [
        f"no verdict on {each['peer']} as {each['role']}, {each['transport']}, {each['security']}: no cell shows its "
        f"bytes ({each['cells']} passed)"
        for each in document.get("no_verdict", ())
    ]


def build(
    results: Sequence[Result],
    *,
    cases: Sequence[Case],
    peers: Sequence[Mapping[str, Any]],
    started: str,
    seconds: float,
    command: Sequence[str],
    profile: str,
    seed: int,
    planned: int,
    interrupted: bool,
    shard: str = "",
) -> dict[str, Any]:
    """The document of one run.

    Args:
        results: the results of the cells that were played.
        cases: all cases that were selected.
        peers: a description of each: name, command or image, puppet's name, version and features, or `absent`.
        started: when the run began, in ISO 8601.
        seconds: how long the run took.
        command: the command line, as typed.
        profile: the name of the wire profile.
        seed: the seed of the run.
        planned: how many cells were planned.
        interrupted: whether the run did not end by itself.
        shard: `K/N`, or empty.
    """
    cells = [describe_cell(result) for result in results]
    return {
        "bokbok-interop": FORMAT,
        "version": __version__,
        "python": sys.version.split()[0],
        "started": started,
        "seconds": round(seconds, 3),
        "command": list(command),
        "profile": profile,
        "seed": seed,
        "shard": shard,
        "planned": planned,
        "interrupted": interrupted,
        "summary": summary(cell["outcome"] for cell in cells),
        **proof(cells),
        "peers": [dict(peer) for peer in peers],
        "cases": [describe(case) for case in cases],
        "cells": cells,
    }


def describe_cell(result: Result) -> dict[str, Any]:
    """A result as plain values. Evidence of cells that did not fail is packed."""
    entry: dict[str, Any] = {
        "client": result.cell.client,
        "server": result.cell.server,
        "transport": result.cell.transport,
        "security": result.cell.security,
        "case": result.cell.case,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "seconds": round(result.seconds, 4),
    }
    if result.expected or result.actual:
        entry |= {"expected": result.expected, "actual": result.actual}
    if result.sentence:
        entry["requirement"] = sentence(REQUIREMENTS[result.sentence])
    if result.outcome in (Outcome.PASSED, Outcome.FAILED):
        entry["shown"] = sorted(result.shown)
    if result.attempts > 1:
        entry |= {"attempts": result.attempts, "again": result.again}
    if result.crash is not None:
        entry["crash"] = {"peer": result.crash.peer, "how": result.crash.how}
    if result.behind is not None:
        entry["behind"] = dataclasses.asdict(result.behind) | {
            "cases": list(result.behind.cases),
            "says": str(result.behind),
        }
    if result.round > 1:
        entry["round"] = result.round
    if result.evidence:
        if result.outcome is Outcome.FAILED:
            entry["evidence"] = result.evidence
        else:
            entry["packed"] = pack(result.evidence)
    return entry


def describe(case: Case) -> dict[str, Any]:
    """A case as plain values."""
    return {
        "id": case.id,
        "chapter": case.chapter,
        "kind": case.kind.value,
        "title": case.title,
        "about": case.subject,
        "requirements": [sentence(requirement) for requirement in case.requirements],
    }


def sentence(requirement: Requirement) -> dict[str, str]:
    """A sentence as plain values."""
    return {
        "name": requirement.name,
        "document": requirement.document,
        "section": requirement.section,
        "text": requirement.text,
        "link": requirement.link,
    }


def source(requirement: Mapping[str, str]) -> str:
    """Where a sentence is, for people: the document, the heading, and the file with its anchor.

    Results of earlier versions have no link.
    """
    parts = (requirement["document"], requirement["section"], requirement.get("link"))
    return ", ".join(part for part in parts if part)


def counts_for(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The cells whose subject is this peer: those that show something about it."""
    about = {case["id"]: case["about"] for case in document["cases"]}
    return [
        cell
        for cell in document["cells"]
        for subject in (about.get(cell["case"], "either"),)
        if (subject != "client" and cell["server"] == name) or (subject != "server" and cell["client"] == name)
    ]


def played_again(cells: Iterable[tuple[str, str]]) -> list[str]:
    """How many cells were played again, alone, why, and how many of them passed then: one line for each cause.

    Args:
        cells: for each cell, why it was played again (or empty), and its outcome.
    """
    causes: dict[str, Counter[str]] = {}
    for again, outcome in cells:
        if again:
            causes.setdefault(again.partition(" (")[0], Counter())[outcome] += 1
    return [
        f"{counts.total()} cell{'s were' if counts.total() > 1 else ' was'} played again, alone: {cause}; "
        f"{counts[Outcome.PASSED.value]} passed then"
        for cause, counts in causes.items()
    ]


def requirement_of(cell: Mapping[str, Any], cases: Mapping[str, Mapping[str, Any]]) -> Mapping[str, str] | None:
    """The sentence that a failed cell points at: the broken one, or else the first one that its case quotes.

    Args:
        cell: a cell of a document.
        cases: the document's cases, by id.
    """
    if found := cell.get("requirement"):
        return found  # type: ignore[no-any-return]
    quoted = cases.get(cell["case"], {}).get("requirements")
    return quoted[0] if quoted else None


def load(path: Path) -> dict[str, Any]:
    """Read a document, or the journal of a run that was killed.

    Raises:
        DocumentError: the file cannot be read, or contains something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{path} is longer than {MAX_BYTES >> 20} MiB: expected results of bokbok-interop")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path} is not JSON: byte {error.start} of the file is not UTF-8") from None
    document = _from_journal(path, text) if JOURNAL in text[:64] else _parse(text, str(path))
    if not isinstance(document, dict) or document.get("bokbok-interop") != FORMAT:
        raise DocumentError(f'{path} holds no results: expected "bokbok-interop": {FORMAT}, as `run --json` writes it')
    try:
        _validate()(document)
    except fastjsonschema.JsonSchemaValueException as error:
        where = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in error.path[1:]).lstrip(".")
        expected = str(error).removeprefix(f"{error.name} ")
        raise DocumentError(f"{path}: {where or 'the document'} {expected}"[:MAX_PROBLEM]) from None
    document["summary"] = summary(cell["outcome"] for cell in document["cells"])
    return document | proof(document["cells"])


@functools.cache
def _validate() -> Callable[[Any], Any]:
    schema = resources.files(__package__).joinpath("schema.json").read_text("utf-8")
    check: Callable[[Any], Any] = fastjsonschema.compile(json.loads(schema))
    return check


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{where} is not JSON: {error}"[:MAX_PROBLEM]) from None


def _from_journal(path: Path, text: str) -> dict[str, Any]:
    """The document that a journal amounts to: what was played until the run was killed. Its last line may be cut."""
    lines = text.split("\n")
    header, *cells = (_parse(line, f"{path}, line {number}") for number, line in enumerate(lines[:-1] or lines, 1))
    if not isinstance(header, dict) or not all(isinstance(cell, dict) for cell in cells):
        raise DocumentError(f"{path} is not a journal: expected an object in each line")
    last = {tuple(str(cell.get(part)) for part in (*_KEY, "round")): cell for cell in cells}
    header.pop(JOURNAL, None)
    return {**header, "interrupted": True, "cells": list(last.values())}


def missing_shards(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The shards that are missing from these documents for a whole run, as `K/N`.

    Raises:
        DocumentError: the documents have different numbers of shards.
    """
    given = [document["shard"] for document in documents if document.get("shard")]
    if not given:
        return []
    of = {shard.partition("/")[2] for shard in given}
    if len(of) > 1:
        raise DocumentError(f"these are shards of different runs: {', '.join(sorted(given))}")
    count = of.pop()
    return [shard for number in range(1, int(count) + 1) if (shard := f"{number}/{count}") not in given]


def merge(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge several shards, or several runs, into one document. If a cell was played twice, the worse outcome counts.

    Raises:
        DocumentError: there is nothing to merge, or two documents are about different profiles.
    """
    if not documents:
        raise DocumentError("nothing to merge")
    if len({document["profile"] for document in documents}) > 1:
        raise DocumentError("these results are about different wire profiles: they cannot be merged")
    worst = ["passed", "unsupported", "absent", "failed"]
    cells: dict[tuple[str, ...], dict[str, Any]] = {}
    peers: dict[str, Any] = {}
    cases: dict[str, Any] = {}
    for document in documents:
        for cell in document["cells"]:
            key = tuple(str(cell.get(k, 1)) for k in (*_KEY, "round"))
            if key not in cells or worst.index(cell["outcome"]) > worst.index(cells[key]["outcome"]):
                cells[key] = cell
        for peer in document["peers"]:
            if peer["name"] not in peers or "absent" in peers[peer["name"]]:
                peers[peer["name"]] = peer
        for case in document["cases"]:
            cases[case["id"]] = case
    merged = dict(documents[0])
    merged.update(
        seconds=round(max(document["seconds"] for document in documents), 3),
        shard="",
        planned=sum(document["planned"] for document in documents),
        interrupted=any(document["interrupted"] for document in documents),
        summary=summary(cell["outcome"] for cell in cells.values()),
        **proof(cells.values()),
        peers=list(peers.values()),
        cases=list(cases.values()),
        cells=list(cells.values()),
    )
    return merged
