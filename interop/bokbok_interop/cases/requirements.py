"""The sentences that the cases check, quoted from the documents that users have.

What this module knows: where a sentence begins and ends in those documents. Each sentence is written once, in `docs/`.
`documents/` beside this package's modules has links to those files, so that an installed package contains them.

A sentence is the text after an anchor of its own, `<a id="NAME"></a>`, up to the next anchor or the end of its
paragraph or list item. Its name is the anchor. The heading above it is its section. There are four documents:
`reference` and `readme` are the egg's; `profile` and `guards` are this project's, and say nothing about the real egg.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

__all__ = ["DOCUMENTS", "REQUIREMENTS", "Requirement", "document_texts"]

DOCUMENTS = {
    "reference": "the egg's API reference",
    "readme": "the egg's README",
    "profile": "the default profile, inferred-1",
    "guards": "what a receiver guards against",
}

_FILES = {
    "reference": "egg-reference.md",
    "readme": "egg-reference.md",
    "profile": "protocol.md",
    "guards": "protocol.md",
}

_UNTESTABLE = {
    "connection-predicate": "a predicate of one language's own objects: no message can carry its argument",
    "start.backlog-advice": "advice, not a promise (every case listens with 10)",
    "start.user-key-database": "advice to the program's author",
    "profile.abandoned": "a puppet cannot be told to abandon a request",
    "profile.open-handler-asks": "a puppet's open handler does not ask anything, it only reports",
}
"""Why no case can check a sentence from outside, by its name."""


@dataclass(frozen=True)
class Requirement:
    """One sentence.

    Attributes:
        name: its anchor.
        document: a key of `DOCUMENTS`.
        section: the heading above it.
        text: the sentence, as written there.
        untestable: why no case can check it from outside, or empty.
    """

    name: str
    document: str
    section: str
    text: str
    untestable: str = ""

    @property
    def link(self) -> str:
        """Where it is: a file of the project and the anchor in it."""
        return f"docs/{_FILES[self.document]}#{self.name}"


def _text(file: str) -> str:
    return resources.files(__package__).joinpath("documents").joinpath(file).read_text("utf-8")


def document_texts() -> list[str]:
    """The whole documents, in Markdown."""
    return [_text(file) for file in dict.fromkeys(_FILES.values())]


_FENCE = re.compile(r"\s*(?:```|~~~)")
_HEADING = re.compile(r"#+ +(?P<section>.*)")
_QUOTED = re.compile(r"(?:> ?)?")
_ITEM = re.compile(r"\s*(?:[-*]|\d+\.) +")
_ANCHOR = re.compile(r'<a id="(?P<name>[^"]+)"></a>')


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Every paragraph and list item of a document, on one line each, with the heading above it."""
    section, block, in_fence = "", "", False
    for line in [*text.splitlines(), ""]:
        if _FENCE.match(line):
            in_fence = not in_fence
            line = ""
        if in_fence:
            continue
        line = _QUOTED.sub("", line, count=1)
        heading, item = _HEADING.match(line), _ITEM.match(line)
        if block and (heading or item or not line.strip()):
            yield section, block
            block = ""
        if heading:
            section = heading["section"].strip()
        else:
            block = f"{block} {line[item.end() :] if item else line}".strip()


def _quoted(file: str) -> Iterator[Requirement]:
    for section, block in _blocks(_text(file)):
        _, *found = _ANCHOR.split(block)
        for name, text in zip(found[::2], found[1::2], strict=True):
            first = name.split(".")[0]
            document = first if first in DOCUMENTS else "reference"
            yield Requirement(name, document, section, " ".join(text.split()), _UNTESTABLE.get(name, ""))


def _build() -> dict[str, Requirement]:
    out: dict[str, Requirement] = {}
    for file in dict.fromkeys(_FILES.values()):
        for requirement in _quoted(file):
            assert requirement.name not in out, requirement.name
            out[requirement.name] = requirement
    return out


REQUIREMENTS = _build()
"""Every sentence, by name, in the order of its document."""
