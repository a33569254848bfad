"""Insecure connections: the content of packets is the only evidence."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bokbok.wire import INFERRED_1, Profile
from bokbok.wire.framing import IntegerLength, TextLength
from bokbok.wire.hello import TemplateHello
from bokbok.wire.messages import BinaryHeader, Shapes
from bokbok.wire.packets import PacketForm
from tests.support.calibrating import SHORT, recording, solved

DEMO = ('("ping" "12345")', '("asynch")')
OWN = ('("launch" 1)', '("land" 2)', '("orbit" 3)')


def profile(**layers: Any) -> Profile:
    return dataclasses.replace(INFERRED_1, name="calibrated", **layers)


def announced(*packets: bytes) -> TemplateHello:
    hello = INFERRED_1.hello
    assert isinstance(hello, TemplateHello)
    return dataclasses.replace(hello, insecure=packets)


@pytest.mark.parametrize(
    "layers",
    [
        {"packets": PacketForm("hex", plain=True)},
        {"packets": PacketForm("hex-upper", b"message ", b"answer ", plain=True)},
        {"packets": PacketForm("u8vector", b"\xfd", b"\xfc", plain=True), "framing": IntegerLength("leb128")},
        {"packets": PacketForm("blob", (b"Q", b"R", b"E"), (b"Q", b"R", b"E"), plain=True)},
        {"packets": PacketForm("string", b"\x10", b"\x20", plain=True), "messages": Shapes(
            "(DATUM req ID)", "(DATUM rsp ID)", "(MESSAGE exn ID)", id="string")},
        {"packets": PacketForm("base64", plain=True), "messages": BinaryHeader()},
        {"packets": PacketForm("raw", b"\x01", b"\x02")},
        {"packets": PacketForm("raw", b"to-server ", b"to-client ")},
        {"framing": TextLength(16, ending=b" ", upper=True)},
        {"hello": announced(b"insecure")},
        {"hello": announced(b"(hello #f)", b"no user")},
    ],
    ids=range(11),
)  # fmt: skip
def test_a_format_is_found(layers: dict[str, Any]) -> None:
    true = profile(**layers)
    answer = solved(recording(true, secure=False), secure=False)
    assert answer.status == 0
    found, wanted = answer.profiles[0], true
    assert (found.framing, found.packets, found.messages) == (wanted.framing, wanted.packets, wanted.messages)
    assert found.hello.insecure == wanted.hello.insecure  # type: ignore[attr-defined]


def test_a_form_of_which_no_request_is_known_is_left_open() -> None:
    answer = solved(recording(INFERRED_1, secure=False, lines=OWN), secure=False)
    assert answer.status == 3
    assert any("--messages" in text for text in answer.open)


def test_digits_are_not_taken_for_a_header_and_a_number() -> None:
    form = PacketForm("hex", b"client ", b"server ", plain=True)
    recorded = recording(profile(packets=form), secure=False, lines=DEMO)
    for one in recorded:  # as if the encoding were unknown
        one.client, one.server = (data.replace(b"28", b"2x") for data in (one.client, one.server))
    assert solved(recorded, secure=False).status == 4


def test_a_recording_that_ends_in_the_middle_of_a_packet_is_explained_up_to_there() -> None:
    true = profile(framing=TextLength(16, ending=b" ", upper=True))
    recorded = recording(true, secure=False, lines=SHORT, connections=1)
    recorded[0].client, recorded[0].ended = recorded[0].client[:-9], set()
    answer = solved(recorded, secure=False)
    assert answer.status == 0
    assert answer.profiles[0].framing == true.framing
    assert answer.proofs[0].cut > 0
