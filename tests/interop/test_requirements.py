from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from bokbok_interop.cases import DOCUMENTS, REQUIREMENTS, all_cases

DOCS = Path(__file__).parents[2] / "docs"
FILES = ("egg-reference.md", "protocol.md")
# Quotations do not change: a digest of the texts of all sentences, one on each line.
QUOTED = {
    "reference": "f525fdd4d1d060803172ba9c2d4e966ebef03b661c76c2bfbdf626e770326e52",
    "readme": "98e73c21891d0ef83d1f727bbc6b04b79951b51b71edb5c8c3d05aa7ae200a77",
}


def plain(lines: str) -> str:
    """Markdown without the marks of quotations, on one line."""
    return " ".join(re.sub(r"^> ?", "", lines, flags=re.MULTILINE).split())


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_a_sentence_stands_in_its_document_to_the_letter_behind_its_anchor(name: str) -> None:
    requirement = REQUIREMENTS[name]
    file, _, anchor = requirement.link.removeprefix("docs/").partition("#")
    before, mark, behind = (DOCS / file).read_text().partition(f'<a id="{anchor}"></a>')
    assert mark
    assert re.findall(r"^#+ (.*)$", before, re.MULTILINE)[-1] == requirement.section
    # A sentence ends with its paragraph, its list item, or where the next one begins.
    whole = re.split(r"\n(?:>? *\n|>? *- |#)|<a id=", behind)[0]
    assert requirement.text == plain(whole)


def test_every_anchor_is_the_name_of_a_sentence() -> None:
    anchors = [name for file in FILES for name in re.findall(r'<a id="([^"]*)"></a>', (DOCS / file).read_text())]
    assert anchors == list(REQUIREMENTS)


def test_sentences_are_text_that_needs_no_rendering() -> None:
    for name, requirement in REQUIREMENTS.items():
        without_code = re.sub(r"`[^`]*`", "", requirement.text)
        assert not re.search(r"\]\(|\*|[|\\]", without_code), name


@pytest.mark.parametrize("document", QUOTED)
def test_the_eggs_own_sentences_are_those_that_were_copied(document: str) -> None:
    texts = "\n".join(r.text for r in REQUIREMENTS.values() if r.document == document)
    assert hashlib.sha256(texts.encode()).hexdigest() == QUOTED[document]


def test_every_document_has_sentences() -> None:
    assert {requirement.document for requirement in REQUIREMENTS.values()} == set(DOCUMENTS)


# What only one side does: it serves, refuses hellos and stops; it opens, and reads an address.
SERVERS = {
    *("profile.early", "profile.refusal", "profile.open-handler", "profile.limit-connections", "profile.mapped"),
    *("profile.stop-handlers", "profile.stop", "profile.stop-at-once", "profile.stop-queue", "profile.stop-hello"),
    *("profile.wait", "guards.hello", "guards.hello-memory", "guards.hello-refused", "guards.hello-shared"),
    *("guards.refusal", "guards.hello-timeout", "guards.gone"),
}
CLIENTS = {"profile.client-open", "profile.address-strings"}


def test_what_both_sides_must_do_is_asked_of_both() -> None:
    asked: dict[str, set[str]] = {name: set() for name in REQUIREMENTS}
    for case in all_cases():
        sides = {"client", "server"} if case.subject == "either" else {case.subject}
        for rule in case.requirements:
            asked[rule.name] |= sides
    of_both = {name for name, sides in asked.items() if sides == {"client", "server"}}
    rules = {one.name for one in REQUIREMENTS.values() if one.document in ("profile", "guards") and not one.untestable}
    assert rules - of_both == SERVERS | CLIENTS
