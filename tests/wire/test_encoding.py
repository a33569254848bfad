"""`bokbok.wire.encoding`: every form of some bytes, in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bokbok.errors import BokbokError, RemoteProtocolError
from bokbok.sexpr import loads
from bokbok.wire.encoding import ENCODINGS, USER_ENCODINGS, get_encoding

BYTES = st.binary(min_size=1, max_size=60) | st.sampled_from(
    [b'"', b"\\", b"\n\t\r\a\b\v\f", b"\0", b"\x7f\x80\xff", b"{}", b"=", b"-_", b"+/", b"a b"]
)
every = pytest.mark.parametrize("name", USER_ENCODINGS)


@every
@settings(max_examples=30)
@given(data=BYTES)
def test_what_is_encoded_decodes_to_the_same(name: str, data: bytes) -> None:
    if name == "nul":
        data = data.replace(b"\0", b"")
    form = get_encoding(name, user=True)
    assert form.decode(form.encode(data)) == data


@every
@settings(max_examples=30)
@given(data=st.binary(max_size=60))
def test_a_form_is_as_long_as_it_says(name: str, data: bytes) -> None:
    form = get_encoding(name, user=True)
    size = len(form.encode(data))
    if form.size is not None:
        assert size == form.size(len(data))
    assert size <= form.worst(len(data))


def plainly(data: bytes, escapes: dict[int, bytes]) -> bytes:
    """A string literal, made byte by byte."""
    return b'"' + b"".join(escapes.get(byte, bytes((byte,))) for byte in data) + b'"'


HEX = {byte: b"\\x%02x" % byte for byte in range(256)}
QUOTED = {byte: b"\\%c" % byte for byte in b'"\\'}
NAMED = {byte: b"\\%c" % name for byte, name in zip(range(7, 14), b"abtnvfr", strict=True)}
CONTROLS = {byte: HEX[byte] for byte in (*range(32), 127)}
HIGH = {byte: HEX[byte] for byte in range(128, 256)}


@pytest.mark.parametrize(
    ("name", "escapes"),
    [
        ("string", CONTROLS | NAMED | QUOTED),
        ("string-hex-high", CONTROLS | NAMED | QUOTED | HIGH),
        ("string-hex-controls", CONTROLS | QUOTED),
        ("string-hex", CONTROLS | QUOTED | HIGH),
    ],
)
@settings(max_examples=200)
@given(data=st.binary() | st.text('\\"\n\a nabtx0\x7f\xe9').map(str.encode))
def test_the_forms_of_a_string_differ_in_what_they_escape(name: str, escapes: dict[int, bytes], data: bytes) -> None:
    assert ENCODINGS[name].encode(data) == plainly(data, escapes)


@pytest.mark.parametrize("name", [name for name, form in USER_ENCODINGS.items() if form.delimited])
@settings(max_examples=30)
@given(data=BYTES, rest=st.sampled_from([b"", b" ", b")", b'"x"', b"(a)", b"\n"]))
def test_a_form_that_shows_its_end_is_found_in_what_surrounds_it(name: str, data: bytes, rest: bytes) -> None:
    if name == "nul":
        data = data.replace(b"\0", b"")
    form = get_encoding(name, user=True)
    whole = b"(" + form.encode(data)
    if name == "symbol" and rest == b'"x"':
        return  # nothing ends a symbol there
    end = len(whole) if form.size is not None else -1
    assert form.parse(whole + rest, 1, end) == (data, len(whole))


@every
@settings(max_examples=30)
@given(data=st.binary(max_size=30))
def test_anything_else_is_a_protocol_error(name: str, data: bytes) -> None:
    form = get_encoding(name, user=True)
    try:
        decoded = form.decode(data)
    except RemoteProtocolError:
        return
    assert isinstance(decoded, bytes)


@every
def test_every_form_begins_as_it_says(name: str) -> None:
    form = get_encoding(name, user=True)
    assert form.encode(b"abc").startswith(form.opening)


@pytest.mark.parametrize(
    "name", ["blob", "blob-upper", "u8vector", "string", "string-hex-high", "string-hex-controls", "string-hex"]
)
def test_a_literal_is_what_chickens_read_takes(name: str) -> None:
    assert loads(get_encoding(name).encode(b"a\n\xff")) is not None


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("blob", b"\0\xab", b"#${00ab}"),
        ("blob-upper", b"\0\xab", b"#${00AB}"),
        ("u8vector", b"\0\xff", b"#u8(0 255)"),
        ("string", b'a"\n\x01\xff', b'"a\\"\\n\\x01\xff"'),
        ("string-hex-high", b'a"\n\x01\xff', b'"a\\"\\n\\x01\\xff"'),
        ("string-hex-controls", b'a"\n\x01\xff', b'"a\\"\\x0a\\x01\xff"'),
        ("string-hex", b'a"\\\n\x01\xff', b'"a\\"\\\\\\x0a\\x01\\xff"'),
        ("hex", b"\0\xab", b"00ab"),
        ("hex-upper", b"\0\xab", b"00AB"),
        ("base64", b"\xfb\xff", b"+/8="),
        ("base64-unpadded", b"\xfb\xff", b"+/8"),
        ("base64url", b"\xfb\xff", b"-_8="),
        ("base64url-unpadded", b"\xfb\xff", b"-_8"),
        ("quoted-hex", b"\0\xab", b'"00ab"'),
        ("symbol", b"a b", b"|a b|"),
        ("u8", b"abc", b"\3abc"),
        ("u16-be", b"abc", b"\0\3abc"),
        ("u16-le", b"abc", b"\3\0abc"),
        ("u32-be", b"abc", b"\0\0\0\3abc"),
        ("u32-le", b"abc", b"\3\0\0\0abc"),
        ("nul", b"abc", b"abc\0"),
        ("raw", b"abc", b"abc"),
    ],
)
def test_the_forms_are_what_their_names_say(name: str, data: bytes, text: bytes) -> None:
    assert get_encoding(name, user=True).encode(data) == text


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("blob", b"#${0", "expected blob literal: .* at byte 4"),
        ("blob", b'"x"', "expected blob literal at byte 0"),
        ("u8vector", b"#s8(1)", "expected u8vector literal at byte 0"),
        ("string", b"x", "expected string literal at byte 0"),
        ("string", b'"x" ', "1 bytes behind a string of 3 bytes"),
        ("hex", b"0", "expected hexadecimal digits, two a byte, at byte 0"),
        ("hex", b"", "expected hexadecimal digits"),
        ("base64", b"a", "expected base64 at byte 0"),
        ("base64", b"", "expected base64 at byte 0"),
        ("base64-unpadded", b"a", "expected base64 at byte 0"),
        ("quoted-hex", b"00", "expected hex between quotes at byte 0"),
        ("quoted-hex", b'"00', "expected hex between quotes at byte 0"),
        ("quoted-hex", b'"00 "', "expected hex between quotes at byte 0"),
        ("u8", b"", "expected length byte and as many bytes at byte 0"),
        ("u8", b"\2a", "expected length byte and as many bytes at byte 0"),
        ("u16-be", b"\0", "expected length and as many bytes at byte 0"),
        ("u16-be", b"\0\2a", "expected length and as many bytes at byte 0"),
        ("nul", b"abc", "expected bytes ended by NUL at byte 0"),
        ("nul", b"a\0b", "1 bytes behind a nul of 2 bytes"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(name: str, data: bytes, problem: str) -> None:
    with pytest.raises(RemoteProtocolError, match=problem):
        get_encoding(name, user=True).decode(data)


def test_raw_bytes_that_are_too_few_are_told() -> None:
    with pytest.raises(RemoteProtocolError, match="expected 5 bytes or more; got 3"):
        get_encoding("raw").parse(b"abc", 0, 5)
    assert get_encoding("raw").parse(b"abc", 1, -1) == (b"bc", 3)


def test_a_form_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(BokbokError, match=r"unknown encoding 'rot13'; expected one of raw, blob"):
        get_encoding("rot13")
    assert "symbol" not in ENCODINGS  # for usernames only
    with pytest.raises(BokbokError, match="unknown encoding 'symbol'"):
        get_encoding("symbol")
