"""Templates: what is left when everything known is taken out."""

from __future__ import annotations

import os

import pytest

from bokbok.wire.encoding import ENCODINGS
from bokbok.wire.hello import Field, Template
from bokbok_calibrate.hello import base_in, contents_of, literal_template, user_templates, with_base

ONE, TWO = b"\x01" * 31 + b"\xf1", b"\x02" * 31 + b"\xf2"
KEY, BASE = Field("key"), Field("nonce")


def first(contents: list[bytes], user: bytes = b"myuser") -> tuple[Template, list[bytes]]:
    return next(contents_of(contents, user))


@pytest.mark.parametrize(
    ("contents", "parts"),
    [
        ([ONE, TWO], (KEY,)),
        ([ONE + b"0.2", TWO + b"0.2"], (KEY, b"0.2")),
        ([ONE + b"\0myuser", TWO + b"\0myuser"], (KEY, b"\0", Field("user"))),
        ([ONE + b"\xa1", TWO + b"\xa2"], (KEY, Field("any", "raw", 1))),
        ([ONE + b"A"], (KEY, Field("any", "raw", 1))),
        ([ONE + b"bokbok 0.2"], (KEY, b"bokbok 0.2")),
        ([b"#${" + one.hex().encode() + b"}" for one in (ONE, TWO)], (Field("key", "blob"),)),
    ],
)
def test_what_stands_beside_a_session_key(contents: list[bytes], parts: tuple[bytes | Field, ...]) -> None:
    template, keys = first(contents)
    assert template.parts == parts
    assert keys == [ONE, TWO][: len(contents)]


def test_a_session_key_may_stand_behind_what_changes() -> None:
    contents = [os.urandom(16) + ONE, os.urandom(16) + TWO]
    found = [template.parts for template, keys in contents_of(contents, b"myuser") if keys == [ONE, TWO]]
    assert found == [(Field("any", "raw", 16), KEY)]


def any_(size: int) -> Field:
    return Field("any", "raw", size)


def test_a_base_of_nonces_may_stand_anywhere_beside_the_key() -> None:
    def bases(*parts: bytes | Field) -> list[tuple[bytes | Field, ...]]:
        return [template.parts for template in with_base(Template(parts))]

    assert bases(KEY, any_(30)) == [(KEY, BASE, any_(6)), (KEY, any_(6), BASE)]
    assert bases(any_(24), KEY) == [(BASE, KEY)]
    assert bases(KEY, bytes(24)) == [(KEY, BASE)]  # it is the same in every connection that was recorded
    assert bases(KEY, any_(8), b"literal") == []


@pytest.mark.parametrize("form", ["blob", "u8vector", "string"])
def test_a_base_of_nonces_may_stand_beside_the_key_as_text(form: str) -> None:
    keys, bases = [os.urandom(32), os.urandom(32)], [os.urandom(24), os.urandom(24)]
    write = ENCODINGS[form].encode
    contents = [b"(" + write(key) + b" " + write(base) + b")" for key, base in zip(keys, bases, strict=True)]
    found = next((template, got) for template, got in contents_of(contents, b"myuser") if "nonce" in template.fields())
    assert found == (Template((b"(", Field("key", form), b" ", Field("nonce", form), b")")), keys)
    assert [base_in(found[0], content) for content in contents] == bases


def test_all_but_the_fields_is_literal() -> None:
    template = literal_template(b"(user KEY)", [(6, 9, Field("key", "hex"))])
    assert template.parts == (b"(user ", Field("key", "hex"), b")")


@pytest.mark.parametrize(
    ("packet", "textual", "parts"),
    [
        (b"myuser", False, (Field("user", "raw"),)),
        (b"\x06myuser", False, (Field("user", "u8"),)),
        (b"\0\x06myuser", False, (Field("user", "u16-be"),)),
        (b"myuser\0", False, (Field("user", "nul"),)),
        (b'"myuser"', True, (Field("user", "string"),)),
        (b"(hello myuser)", True, (b"(hello ", Field("user", "symbol"), b")")),
        (b"xmyuser", False, (b"x", Field("user", "raw"))),
    ],
)
def test_the_likeliest_form_of_a_username(packet: bytes, textual: bool, parts: tuple[bytes | Field, ...]) -> None:
    ranked = sorted(user_templates(packet, b"myuser", [], textual=textual), key=lambda item: item[0])
    assert ranked[0][1].parts == parts


def test_a_username_without_a_letter_is_a_string_or_a_symbol() -> None:
    found = [template.parts for _, template in user_templates(b'"" x', b"", [], textual=True)]
    assert (Field("user", "string"), b" x") in found
