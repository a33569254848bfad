"""What each strategy of the table puts on the wire, against bytes that were worked out by hand."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from tests.support.foreign import CannotCarry, Endpoint, Format, Nonsense
from tests.support.foreign.layers.derivation import KeyDerivation, Padded, Sha256, Sha512
from tests.support.foreign.layers.encoding import Base64, BoxEncoding, Hex, Literal, Raw
from tests.support.foreign.layers.framing import Announced, Digits, Framing, Integer, Leb128, Unframed
from tests.support.foreign.layers.granted import open_box
from tests.support.foreign.layers.hello import Announcement, Hello, NoHello, OneDatum, OnePacket, TwoPackets
from tests.support.foreign.layers.message import BinaryEnvelope, DatumEnvelope, Envelope
from tests.support.foreign.layers.nonce import Counter, NonceScheme, RandomBase, Sent
from tests.support.foreign.layers.packet_type import PacketType, TypeByte, TypeSymbol
from tests.support.foreign.layers.session_key import KeyDatum, RawKey, SessionKey, TrailingMaterial
from tests.support.foreign.state import ERROR, HELLO, KEY, MESSAGE, REQUEST, RESPONSE, Message, Program, Shape, State

ABC = Shape(MESSAGE)


@pytest.mark.parametrize(
    ("framing", "wrapped"),
    [
        (Integer(), b"\0\0\0\x03abc"),
        (Integer(1), b"\x03abc"),
        (Integer(1, "big", True), b"\x04abc"),
        (Integer(2), b"\0\x03abc"),
        (Integer(2, "little"), b"\x03\0abc"),
        (Integer(4, "little", True), b"\x07\0\0\0abc"),
        (Integer(8), b"\0\0\0\0\0\0\0\x03abc"),
        (Integer(8, "little", True), b"\x0b\0\0\0\0\0\0\0abc"),
        (Leb128(), b"\x03abc"),
        (Digits(10, "\n"), b"3\nabc"),
        (Digits(10, " "), b"3 abc"),
        (Digits(10, ":"), b"3:abc"),
        (Digits(10, ":", True), b"3:abc,"),
        (Digits(16, " "), b"3 abc"),
        (Digits(10, ":", padded=4), b"0003:abc"),
        (Unframed(True), b"abc\n"),
        (Announced("list", ""), b"(3)abc"),
        (Announced("list", "packet", "\n"), b"(packet 3)\nabc"),
        (Announced("vector", "", " "), b"#(3) abc"),
        (Announced("dotted", "length"), b"(length . 3)abc"),
    ],
)
def test_framing(framing: Framing, wrapped: bytes) -> None:
    assert framing.wrap(b"abc", ABC) == wrapped
    assert framing.unwrap(wrapped + b"more", ABC) == (b"abc", len(wrapped))
    for cut in range(len(wrapped)):
        assert framing.unwrap(wrapped[:cut], ABC) is None


def test_framing_of_nothing_between_ends_with_the_datum() -> None:
    assert Unframed(False).wrap(b"(a)", ABC) == b"(a)"
    assert Unframed(False).unwrap(b"(a)(b)", ABC) == (b"(a)", 3)
    assert Unframed(False).unwrap(b"(a", ABC) is None


@pytest.mark.parametrize(
    ("framing", "size", "header"),
    [
        (Leb128(), 127, b"\x7f"),
        (Leb128(), 128, b"\x80\x01"),
        (Leb128(), 300, b"\xac\x02"),
        (Leb128(), 16384, b"\x80\x80\x01"),
        (Digits(16, ":"), 255, b"ff:"),
        (Digits(16, ":", upper=True), 255, b"FF:"),
        (Integer(2, "little"), 258, b"\x02\x01"),
    ],
)
def test_framing_of_longer_packets(framing: Framing, size: int, header: bytes) -> None:
    wrapped = framing.wrap(bytes(size), ABC)
    assert wrapped == header + bytes(size)
    assert framing.unwrap(wrapped, ABC) == (bytes(size), len(wrapped))


@pytest.mark.parametrize(
    ("framing", "size"),
    [(Integer(1), 256), (Integer(1, "big", True), 255), (Integer(2), 65536), (Digits(padded=2), 100)],
)
def test_framing_refuses_what_it_cannot_count(framing: Framing, size: int) -> None:
    assert framing.wrap(bytes(size - 1), ABC)
    with pytest.raises(CannotCarry):
        framing.wrap(bytes(size), ABC)


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        (Integer(4, "big", True), b"\0\0\0\x03"),
        (Integer(4), b"\xff\0\0\0"),
        (Leb128(), b"\xff" * 10),
        (Digits(), b"x:"),
        (Digits(), b"1" * 40),
        (Digits(10, ":", True), b"1:a;"),
        (Announced("list", "packet"), b"(bucket 3)abc"),
        (Announced("list"), b"(a)"),
        (Unframed(True), b"(a) "),
        (Unframed(False), b")"),
    ],
)
def test_framing_knows_nonsense(framing: Framing, data: bytes) -> None:
    with pytest.raises(Nonsense):
        framing.unwrap(data, ABC)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (Raw(), b'\x00"\xff'),
        (Literal("blob"), b"#${0022ff}"),
        (Literal("u8vector"), b"#u8(0 34 255)"),
        (Literal("string"), b'"\\x00\\"\xff"'),
        (Hex(), b"0022ff"),
        (Hex(upper=True), b"0022FF"),
        (Hex(quoted=True), b'"0022ff"'),
        (Base64(), b"ACL/"),
        (Base64(quoted=True), b'"ACL/"'),
    ],
)
def test_encoding(encoding: BoxEncoding, body: bytes) -> None:
    assert encoding.encode(b'\x00"\xff') == body
    assert encoding.decode(body) == b'\x00"\xff'


def test_encoding_puts_the_nonce_in_front_or_behind() -> None:
    nonce, sealed = bytes(24), b"s" * 20
    assert Raw().pack(nonce, sealed, "front") == nonce + sealed
    assert Raw().pack(nonce, sealed, "behind") == sealed + nonce
    assert Raw().pack(nonce, sealed, "unsent") == sealed
    assert Raw().unpack(sealed + nonce, "behind") == (nonce, sealed)


def test_base64_may_lack_its_padding() -> None:
    assert Base64(padding=False).encode(b"1234") == b"MTIzNA"
    assert Base64(padding=False).decode(b"MTIzNA") == b"1234"


@pytest.mark.parametrize(
    ("derivation", "key"),
    [
        (Sha512(), hashlib.sha512(b"secret").digest()[:32]),
        (Sha512("last"), hashlib.sha512(b"secret").digest()[32:]),
        (Sha512("first", 2), hashlib.sha512(hashlib.sha512(b"secret").digest()).digest()[:32]),
        (Sha256(), hashlib.sha256(b"secret").digest()),
        (Padded(), b"secret" + bytes(26)),
    ],
)
def test_derivation(derivation: KeyDerivation, key: bytes) -> None:
    assert derivation.derive(b"secret", b"user") == key


def test_derivation_cuts_a_long_passphrase() -> None:
    assert Padded().derive(b"0123456789" * 4, b"") == b"01234567890123456789012345678901"


def state(role: str) -> State:
    """A side of a connection, its random bytes counting from 1."""
    return State(role, lambda count: bytes(range(1, count + 1)), Program(), user="me")


def numbers(scheme: NonceScheme, role: str, packets: str, endian: str) -> list[int]:
    """The nonces of a side's boxes, as numbers: `k` is the session key's, `m` a message's."""
    side = state(role)
    side.memory["base"] = (1000).to_bytes(24, endian)  # type: ignore[arg-type]
    nonces = [scheme.outgoing(side, KEY if packet == "k" else MESSAGE, None) for packet in packets]
    return [int.from_bytes(nonce, endian) for nonce in nonces]  # type: ignore[arg-type]


@pytest.mark.parametrize("endian", ["big", "little"])
def test_nonce_counters(endian: str) -> None:
    assert numbers(Counter(endian, 0, "counted"), "client", "kmmm", endian) == [0, 1, 2, 3]
    assert numbers(Counter(endian, 1, "counted", 1), "client", "kmm", endian) == [1, 2, 3]
    assert numbers(Counter(endian, 1, "counted", 1), "server", "mm", endian) == [1, 2]
    assert numbers(Counter(endian, 1, "zero", 1), "client", "kmm", endian) == [0, 1, 2]
    assert numbers(Counter(endian, 1, "apart", 1), "client", "kmm", endian) == [1, 1, 2]
    assert numbers(Counter(endian, 0, "zero"), "server", "mm", endian) == [0, 1]


@pytest.mark.parametrize("endian", ["big", "little"])
def test_nonce_base(endian: str) -> None:
    assert numbers(RandomBase(endian), "client", "kmm", endian) == [1000, 1001, 1002]
    assert numbers(RandomBase(endian), "server", "mm", endian) == [1000, 1001]
    assert numbers(RandomBase(endian, server_first=1), "server", "mm", endian) == [1001, 1002]
    inside = RandomBase(endian, RandomBase.INSIDE, "zero", 0, 0)
    assert numbers(inside, "client", "kmm", endian) == [0, 1000, 1001]
    beside = RandomBase(endian, "front", "zero", 0, 0)
    assert numbers(beside, "client", "kmm", endian) == [0, 1000, 1001]


def test_nonce_base_is_random() -> None:
    side = state("client")
    assert RandomBase().outgoing(side, KEY, None) == RandomBase().travelling(side, KEY) == bytes(range(1, 25))


def test_nonce_base_travels_with_the_session_key_alone() -> None:
    side = state("client")
    assert [RandomBase().place(side, KEY, True), RandomBase().place(side, MESSAGE, True)] == ["front", "unsent"]


def test_nonce_base_wraps_around() -> None:
    side = state("client")
    side.memory["base"] = b"\xff" * 24
    assert RandomBase().outgoing(side, MESSAGE, None) == bytes(24)


def test_nonce_sent() -> None:
    side = state("client")
    assert Sent().outgoing(side, KEY, None) == bytes(range(1, 25))
    assert Sent("front", "prefix and counter").outgoing(side, KEY, None) == bytes(range(1, 17)) + bytes(8)
    assert Sent("front", "prefix and counter").outgoing(side, MESSAGE, None) == bytes(range(1, 17)) + bytes(7) + b"\1"
    assert Sent(key_box="zero").outgoing(side, KEY, None) == bytes(24)
    assert [Sent("behind", key_box="zero").place(side, packet, True) for packet in (KEY, MESSAGE)] == [
        "unsent",
        "behind",
    ]


@pytest.mark.parametrize(
    ("session_key", "plaintext"),
    [
        (RawKey(), b"K" * 32),
        (TrailingMaterial("zeros", 8), b"K" * 32 + bytes(8)),
        (TrailingMaterial("random", 4), b"K" * 32 + b"\1\2\3\4"),
        (TrailingMaterial("user", 0), b"K" * 32 + b"me"),
        (TrailingMaterial("nonce base", 24), b"K" * 32 + bytes(range(1, 25))),
        (KeyDatum("blob"), b"#${" + b"4b" * 32 + b"}"),
        (KeyDatum("u8vector"), b"#u8(" + b" ".join([b"75"] * 32) + b")"),
        (KeyDatum("string"), b'"' + b"K" * 32 + b'"'),
    ],
)
def test_session_key(session_key: SessionKey, plaintext: bytes) -> None:
    assert session_key.wrap(b"K" * 32, state("client")) == plaintext
    assert session_key.unwrap(plaintext, state("server")) == b"K" * 32
    with pytest.raises(Nonsense):
        session_key.unwrap(plaintext + b"x", state("server"))


@pytest.mark.parametrize(
    ("packet_type", "wire"),
    [
        (TypeByte(1, 2, 3, 3), b"\x04\x01abc"),
        (TypeByte(1, 2, 3, 3, "before"), b"\x01\x03abc"),
        (TypeSymbol(), b"\x09hello abc"),
        (TypeSymbol(between="\n", place="before"), b"hello\n\x03abc"),
    ],
)
def test_packet_type(packet_type: PacketType, wire: bytes) -> None:
    fmt = Format(secure=False, framing=Integer(1), packet_type=packet_type, hello=Announcement("abc"))
    assert Endpoint(fmt, "client", random=bytes).take_writes() == [wire]


def test_packet_type_differs_by_packet_and_direction() -> None:
    marks = TypeByte(1, 2, 3, 4)
    assert [marks.marks(packet, "client") for packet in (HELLO, KEY, MESSAGE)] == [b"\1", b"\2", b"\3"]
    assert marks.marks(MESSAGE, "server") == b"\4"


REQUEST_0 = Message(REQUEST, 0, ["ping", "1"])
RESPONSE_7 = Message(RESPONSE, 7, [])
ERROR_7 = Message(ERROR, 7, 'no "x"')


@pytest.mark.parametrize(
    ("envelope", "message", "text"),
    [
        (DatumEnvelope(), REQUEST_0, b'(request 0 ("ping" "1"))'),
        (DatumEnvelope(), RESPONSE_7, b"(response 7 ())"),
        (DatumEnvelope(), ERROR_7, b'(error 7 "no \\"x\\"")'),
        (DatumEnvelope(("q", "a", "e"), "keyword"), REQUEST_0, b'(q: 0 ("ping" "1"))'),
        (DatumEnvelope(("q", "a", "e"), "string"), REQUEST_0, b'("q" 0 ("ping" "1"))'),
        (DatumEnvelope(("q", "a", "e"), "character"), REQUEST_0, b'(#\\q 0 ("ping" "1"))'),
        (DatumEnvelope(("1", "2", "3"), "integer"), RESPONSE_7, b"(2 7 ())"),
        (DatumEnvelope(order=("id", "tag", "datum")), REQUEST_0, b'(0 request ("ping" "1"))'),
        (DatumEnvelope(order=("datum", "id", "tag")), REQUEST_0, b'(("ping" "1") 0 request)'),
        (DatumEnvelope(container="dotted"), REQUEST_0, b'(request 0 "ping" "1")'),
        (DatumEnvelope(container="dotted"), ERROR_7, b'(error 7 . "no \\"x\\"")'),
        (DatumEnvelope(container="dotted", order=("tag", "datum", "id")), RESPONSE_7, b"(response () . 7)"),
        (DatumEnvelope(container="vector"), REQUEST_0, b'#(request 0 ("ping" "1"))'),
        (DatumEnvelope(id_as="string"), REQUEST_0, b'(request "0" ("ping" "1"))'),
        (DatumEnvelope(payload_as="string"), REQUEST_0, b'(request 0 "(\\"ping\\" \\"1\\")")'),
        (DatumEnvelope(payload_as="string"), ERROR_7, b'(error 7 "no \\"x\\"")'),
        (DatumEnvelope(payload_as="string", error_as="nested"), ERROR_7, rb'(error 7 "\"no \\\"x\\\"\"")'),
        (BinaryEnvelope(), REQUEST_0, b'\0\0\0\0\0("ping" "1")'),
        (BinaryEnvelope((1, 2, 3), "little"), RESPONSE_7, b"\x02\x07\0\0\0()"),
        (BinaryEnvelope((1, 2, 3), "big", True), ERROR_7, b'\0\0\0\x07\x03"no \\"x\\""'),
    ],
)
def test_message(envelope: Envelope, message: Message, text: bytes) -> None:
    assert envelope.encode(message, "chicken-4") == [text]
    assert envelope.decode([text], "chicken-4") == message


@pytest.mark.parametrize(
    ("envelope", "text"),
    [
        (DatumEnvelope(), b"(request 0)"),
        (DatumEnvelope(), b"(request -1 x)"),
        (DatumEnvelope(), b"#(request 0 x)"),
        (DatumEnvelope(), b"(error 0 x)"),
        (DatumEnvelope(id_as="string"), b"(request 0 x)"),
        (DatumEnvelope(container="vector"), b"(request 0 x)"),
        (DatumEnvelope(container="dotted"), b"(request)"),
        (DatumEnvelope(payload_as="string"), b"(request 0 x)"),
        (BinaryEnvelope(), b"\x09\0\0\0\0x"),
        (BinaryEnvelope(), b"\0\0\0"),
    ],
)
def test_message_knows_nonsense(envelope: Envelope, text: bytes) -> None:
    with pytest.raises(Nonsense):
        envelope.decode([text], "chicken-4")


def test_message_numbering() -> None:
    odd_and_even = DatumEnvelope(client_first=0, server_first=1, step=2)
    client, server = state("client"), state("server")
    assert [odd_and_even.number(client) for _ in range(3)] == [0, 2, 4]
    assert [odd_and_even.number(server) for _ in range(3)] == [1, 3, 5]


def hello_bytes(fmt: Format) -> bytes:
    """All that a client writes before its first message."""
    client = Endpoint(fmt, "client", random=Random(1).randbytes, user="me", passphrase="secret")
    return b"".join(client.take_writes())


def secure(hello: Hello) -> Format:
    """A format with lengths of one byte, so that packets are easily told."""
    return Format(framing=Integer(1), hello=hello)


def key_in(box: bytes) -> bytes:
    """What is in the box of a session key of `secret`."""
    return open_box(box[24:], box[:24], hashlib.sha512(b"secret").digest()[:32])


@pytest.mark.parametrize(
    ("hello", "before"),
    [
        (TwoPackets(), b"\x02me\x48"),
        (TwoPackets("length byte"), b"\x03\x02me\x48"),
        (TwoPackets("NUL-ended"), b"\x03me\0\x48"),
        (TwoPackets("string"), b'\x04"me"\x48'),
        (TwoPackets("symbol"), b"\x02me\x48"),
        (TwoPackets("plain", "BK\x01", "in the first packet"), b"\x05BK\x01me\x48"),
        (TwoPackets("plain", "BK", "in a packet of its own"), b"\x02BK\x02me\x48"),
        (TwoPackets("plain", "BK\n", "before the first packet"), b"BK\n\x02me\x48"),
        (OnePacket("length byte"), b"\x4b\x02me"),
        (OnePacket("NUL-ended"), b"\x4bme\0"),
        (OnePacket("string"), b'\x4c"me"'),
        (OnePacket("symbol"), b"\x4bme "),
    ],
)
def test_hello_of_raw_boxes(hello: Hello, before: bytes) -> None:
    data = hello_bytes(secure(hello))
    assert data[: len(before)] == before
    assert len(data) == len(before) + 72
    assert len(key_in(data[-72:])) == 32


@pytest.mark.parametrize(
    ("hello", "before", "behind"),
    [
        (OneDatum("list"), b'("me" #${', b"})"),
        (OneDatum("list", "symbol"), b"(me #${", b"})"),
        (OneDatum("list", literal="bokbok", literal_at="in the first packet"), b'(bokbok "me" #${', b"})"),
        (OneDatum("alist"), b'((user . "me") (key . #${', b"}))"),
        (
            OneDatum("alist", literal="1", literal_at="in the first packet"),
            b'((version . 1) (user . "me") (key . #${',
            b"}))",
        ),
        (OneDatum("two lists"), b'(user "me")(key #${', b"})"),
    ],
)
def test_hello_in_datums(hello: Hello, before: bytes, behind: bytes) -> None:
    data = hello_bytes(Format(framing=Unframed(False), encoding=Literal("blob"), hello=hello))
    assert (data[: len(before)], data[-len(behind) :]) == (before, behind)
    assert len(key_in(bytes.fromhex(data[len(before) : -len(behind)].decode()))) == 32


def test_hello_with_the_base_of_nonces_in_a_packet_of_its_own() -> None:
    data = hello_bytes(secure(TwoPackets()).with_layers(nonce=RandomBase(where=RandomBase.PACKET)))
    assert (data[:4], data[28:29], len(data)) == (b"\x02me\x18", b"\x30", 29 + 48)
    assert len(key_in(data[4:28] + data[29:])) == 32


def test_hello_of_an_insecure_connection() -> None:
    assert hello_bytes(Format(secure=False, hello=NoHello())) == b""
    assert hello_bytes(Format(secure=False, framing=Integer(1), hello=Announcement("#f"))) == b"\x02#f"


def test_the_first_message_under_the_session_key() -> None:
    client = Endpoint(Format(), "client", random=Random(1).randbytes, user="me", passphrase="secret")
    session_key = key_in(b"".join(client.take_writes())[-72:])
    client.request("hi")
    (packet,) = client.take_writes()
    assert packet[:4] == (len(packet) - 4).to_bytes(4, "big")
    assert open_box(packet[28:], packet[4:28], session_key) == b'(request 0 "hi")'
