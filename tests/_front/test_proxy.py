"""`bokbok._front.proxy`: the bytes of the PROXY protocol's header, without a socket."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from bokbok import AddressError
from bokbok._front.proxy import SIGNATURE, Header, Proxies, ProxyError


def head(command: int = 0x21, family: int = 0x11, rest: bytes = b"", length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(rest) if length is None else length) + rest


def read(data: bytes) -> Any:
    """The address in a header. Every byte of the header is asked for, and none after it."""
    header, offset = Header(), 0
    while header.missing:
        piece = data[offset : offset + header.missing]
        assert len(piece) == header.missing, "it asks for more than there is"
        offset += len(piece)
        header.take(piece)
    assert offset == len(data)
    return header.address()


FOUR = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack(">HH", 4711, 8000)
SIX = bytes.fromhex("20010db8000000000000000000000007") + bytes(15) + b"\1" + struct.pack(">HH", 4711, 8000)
MAPPED = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7]) + bytes(16) + struct.pack(">HH", 4711, 8000)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")
MORE = b"\x04\x00\x03abc"  # what a proxy may add


@pytest.mark.parametrize("more", [b"", MORE])
@pytest.mark.parametrize(
    ("family", "addresses", "whose"),
    [
        (0x11, FOUR, ("tcp", "192.0.2.7", 4711)),
        (0x21, SIX, ("tcp", "2001:db8::7", 4711)),
        (0x21, MAPPED, ("tcp", "192.0.2.7", 4711)),
        (0x31, UNIX, ("unix", "/run/client")),
        (0x00, b"", None),
    ],
)
def test_it_says_whose_a_connection_is(family: int, addresses: bytes, whose: Any, more: bytes) -> None:
    assert read(head(0x21, family, addresses + more)) == whose


def test_a_proxy_that_speaks_for_itself_says_nobodys() -> None:
    assert read(head(0x20, 0x00)) is None
    assert read(head(0x20, 0x11, FOUR)) is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8000\r\n", "it does not begin as"),
        (b"\0\0\0\x05alice" + bytes(20), "it does not begin as"),
        (head(0x11), "version and command 0x11"),
        (head(0x22), "version and command 0x22"),
        (head(0x21, 0x11, length=0xFFFF), "65535 bytes of addresses; the limit is 2048"),
        (head(0x21, 0x11, FOUR[:11]), "family 0x11 with 11 bytes of addresses"),
        (head(0x21, 0x21, SIX[:35]), "family 0x21 with 35 bytes"),
        (head(0x21, 0x31, UNIX[:-1]), "family 0x31"),
        (head(0x21, 0x12, FOUR), "family 0x12"),  # UDP
        (head(0x21, 0x99, FOUR), "family 0x99"),
    ],
)
def test_what_is_not_such_a_header_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ProxyError, match=problem):
        read(data)


def test_who_is_trusted() -> None:
    proxies = Proxies(["192.0.2.7", "10.0.0.0/8", "2001:db8::/32"])
    for address in ("192.0.2.7", "10.1.2.3", "2001:db8:1::1"):
        assert proxies.trusts(("tcp", address, 1))
    for address in ("192.0.2.8", "11.0.0.1", "2001:db9::1", "fe80::1%eth0", "::1"):
        assert not proxies.trusts(("tcp", address, 1))
    assert not proxies.trusts(("unix", "/s"))
    assert Proxies(["unix"]).trusts(("unix", "/s"))
    assert not Proxies().trusts(("tcp", "127.0.0.1", 1))


@pytest.mark.parametrize("wrong", ["", "example.org", "10.0.0.1/8", "300.0.0.1", "10.0.0.0/33"])
def test_who_cannot_be_trusted(wrong: str) -> None:
    with pytest.raises(AddressError, match="proxy "):
        Proxies([wrong])
