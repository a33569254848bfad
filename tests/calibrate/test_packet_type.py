"""The type of a packet: the bytes around the boxes."""

from __future__ import annotations

from bokbok.wire.packets import PacketForm
from bokbok_calibrate.nonce import Opened
from bokbok_calibrate.packet_type import packet_form


def form(*said: tuple[str, int, bytes, bytes], made_up: str | None = None) -> PacketForm | None:
    opened = [Opened(prefix, suffix, b"") for _, _, prefix, suffix in said]
    sources, kinds = [source for source, *_ in said], [kind for _, kind, *_ in said]
    return packet_form(opened, sources, kinds, "raw", made_up=made_up)


def test_types_are_one_for_all_or_one_for_each_kind_of_message() -> None:
    assert form(("client", 0, b"Q", b""), ("server", 1, b"Q", b"")) == PacketForm("raw", b"Q", b"Q")
    three = form(("client", 0, b"Q", b""), ("client", 1, b"A", b""), ("server", 1, b"A", b""), ("server", 2, b"E", b""))
    assert three == PacketForm("raw", (b"Q", b"A", b"E"), (b"Q", b"A", b"E"))


def test_types_and_endings_that_change_are_none() -> None:
    assert form(("client", 0, b"1", b""), ("client", 0, b"2", b"")) is None
    assert form(("client", 0, b"", b"1"), ("client", 0, b"", b"2")) is None


def test_a_side_that_was_not_heard_does_as_the_other() -> None:
    assert form(("client", 0, b"Q", b";")) == PacketForm("raw", b"Q", b"Q", b";", b";")
    assert form(("client", 0, b"Q", b""), ("server", 1, b"made up", b""), made_up="server") == PacketForm(
        "raw", b"Q", b"Q"
    )
