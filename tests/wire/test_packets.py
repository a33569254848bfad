"""`bokbok.wire.packets`: the bytes around a message's box."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bokbok.errors import BokbokError, RemoteProtocolError
from bokbok.wire.encoding import ENCODINGS, get_encoding
from bokbok.wire.packets import PacketForm

FORMS = [
    PacketForm(),
    PacketForm(client=b"m", server=b"m"),
    PacketForm(client=(b"q", b"a", b"e"), server=(b"Q", b"A", b"E")),
    PacketForm("blob", client=b"(box ", client_suffix=b")", server=b"(box ", server_suffix=b")"),
    PacketForm("base64", plain=True),
    PacketForm(client_suffix=b"\n", server_suffix=b"\r\n"),
]
every = pytest.mark.parametrize("form", FORMS, ids=repr)


@every
@pytest.mark.parametrize("secure", [False, True], ids=["insecure", "secure"])
@settings(max_examples=30)
@given(body=st.binary(min_size=1, max_size=50))
def test_what_is_wrapped_is_unwrapped(form: PacketForm, secure: bool, body: bytes) -> None:
    for role in ("client", "server"):
        unwrap = form.unwrap(role, secure)  # type: ignore[arg-type]
        for wrap in form.wraps(role, secure):  # type: ignore[arg-type]
            packet = body if wrap is None else wrap(body)
            assert (packet if unwrap is None else unwrap(packet)) == body


@every
@given(body=st.binary(min_size=1, max_size=50))
def test_spans_cover_a_packet_once_and_in_order(form: PacketForm, body: bytes) -> None:
    for role in ("client", "server"):
        for wrap in form.wraps(role, True):  # type: ignore[arg-type]
            packet = body if wrap is None else wrap(body)
            spans = form.spans(role, packet, True)  # type: ignore[arg-type]
            assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])]
            assert spans[-1].end == len(packet)
            (box,) = (span for span in spans if span.name == "box")
            assert get_encoding(form.encoding).decode(packet[box.start : box.end]) == body


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("prefix", [b"", b"four"])
@pytest.mark.parametrize("limit", [100, 1000, 65_535])
def test_what_there_is_room_for_fits(encoding: str, prefix: bytes, limit: int) -> None:
    form = PacketForm(encoding, client=prefix, server=prefix)
    room = form.room(limit)
    assert room > 0
    for wrap in form.wraps("client", True):
        for body in (b"\0" * room, b"\xff" * room, b"a" * room):
            assert len(wrap(body) if wrap is not None else body) <= limit
    if ENCODINGS[encoding].size is not None:  # then nothing is wasted, either
        (wrap, *_) = form.wraps("client", True)
        assert len(wrap(bytes(room + 1)) if wrap is not None else bytes(room + 1)) > limit


@pytest.mark.parametrize(
    ("form", "packet", "problem"),
    [
        (FORMS[1], b"x", "a packet begins with b'x'; expected b'm'"),
        (FORMS[2], b"m", "expected b'q' or b'a' or b'e'|expected"),
        (FORMS[3], b"(box #${00}", r"expected b'\(box ' and b'\)'"),
        (FORMS[3], b"(box x)", "expected blob literal at byte 0"),
        (FORMS[5], b"x", r"and b'\\n'"),
    ],
)
def test_a_packet_of_another_form_is_a_protocol_error(form: PacketForm, packet: bytes, problem: str) -> None:
    unwrap: Any = form.unwrap("client", True)
    with pytest.raises(RemoteProtocolError, match=problem):
        unwrap(packet)


def test_prefix_and_suffix_do_not_overlap() -> None:
    unwrap: Any = PacketForm(client=b"ab", client_suffix=b"bc").unwrap("client", False)
    with pytest.raises(RemoteProtocolError):
        unwrap(b"abc")
    assert unwrap(b"abbc") == b""


def test_an_encoding_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BokbokError, match=r"encoding: expected one of raw, blob.*; got 'rot13'"):
        PacketForm("rot13")
