"""Secure connections: foreign formats that a real peer might well have, and some that are not in the table."""

from __future__ import annotations

import dataclasses
import random

import pytest

from bokbok.wire import INFERRED_1
from bokbok.wire.hello import Field, Template, TemplateHello
from bokbok_calibrate.derivation import Secrets
from bokbok_calibrate.search.solve import solve
from tests.support import foreign
from tests.support.calibrating import KNOWN, SECRETS, SHORT, recording, solved
from tests.support.foreign.registry import OUTSIDE, all_kinds
from tests.support.fresh import TALK, fresh_problems, recorded_foreign

KNOWN_FORMATS = {name: fmt for name, fmt in foreign.interesting_formats().items() if fmt.secure}
OUTSIDE_KINDS = [kind for kind in all_kinds(OUTSIDE) if kind.layer in ("cipher", "body", "stream", "derivation")]
PATIENCE = 2.0
"""Seconds that a search may take. Most of these take less."""


@pytest.mark.parametrize("fmt", KNOWN_FORMATS.values(), ids=KNOWN_FORMATS)
def test_a_foreign_format_is_found_and_spoken_in_both_roles(fmt: foreign.Format) -> None:
    recorded = recorded_foreign(fmt, random.Random(1), script=SHORT)
    secrets = Secrets(b"myuser", fmt.derivation.example.encode())
    answer = solve(recorded, secrets, KNOWN)
    assert answer.status == 0, answer.apart + answer.open
    assert fresh_problems(answer.profiles[0], fmt) == []


BASES = [pytest.param(fmt, id=name) for name, fmt in foreign.formats_with_base().items()]


@pytest.mark.parametrize("fmt", [*BASES[1:-4:4], *BASES[-4:]])
def test_a_base_of_nonces_is_found_wherever_it_stands(fmt: foreign.Format) -> None:
    answer = solve(recorded_foreign(fmt, random.Random(1), script=SHORT[:5]), SECRETS, KNOWN)
    assert answer.status == 0, answer.apart + answer.open
    assert fresh_problems(answer.profiles[0], fmt, TALK[:4]) == []


def test_a_base_behind_a_raw_box_is_found_whose_session_key_is_a_text() -> None:
    fmt = foreign.random_format(random.Random(91_026), secure=True, readings=True)
    answer = solve(recorded_foreign(fmt, random.Random(1), script=SHORT[:5]), SECRETS, KNOWN)
    assert answer.status == 0, answer.apart + answer.open
    assert fresh_problems(answer.profiles[0], fmt, TALK[:4]) == []


@pytest.mark.parametrize("kind", OUTSIDE_KINDS, ids=lambda kind: f"{kind.layer}-{kind.kind}")
def test_a_format_that_is_in_no_table_is_never_claimed(kind: type) -> None:
    fmt = foreign.foreign_format(random.Random(3), kind)
    secrets = Secrets(b"myuser", fmt.derivation.example.encode()) if fmt.secure else Secrets()
    answer = solve(recorded_foreign(fmt, random.Random(1), script=SHORT), secrets, KNOWN, patience=PATIENCE)
    assert answer.status == 4
    assert answer.steps


def hello(*content: bytes | Field) -> TemplateHello:
    default = INFERRED_1.hello
    assert isinstance(default, TemplateHello)
    return dataclasses.replace(default, content=Template(content))


@pytest.mark.parametrize(
    "content",
    [(Field("key"), Field("any", "raw", 1)), (b"\0\0", Field("key")), (Field("any", "raw", 16), Field("key"))],
    ids=["a byte behind", "a version before", "a salt before"],
)
def test_one_connection_leaves_open_whether_what_is_beside_the_key_changes(content: tuple[bytes | Field, ...]) -> None:
    profile = dataclasses.replace(INFERRED_1, hello=hello(*content))
    answer = solved(recording(profile, connections=1))
    assert answer.status == 3
    assert any("a second connection would tell" in text for text in answer.open)
    assert solved(recording(profile)).status == 0


def test_a_derivation_that_no_document_lets_expect_is_named_and_not_claimed() -> None:
    profile = dataclasses.replace(
        INFERRED_1, key_derivation=dataclasses.replace(INFERRED_1.key_derivation, name="blake2b-256")
    )  # type: ignore[type-var]
    answer = solved(recording(profile, lines=SHORT[:3]))
    assert answer.status == 4
    assert any("blake2b-256 opens one" in step.text for step in answer.steps)
