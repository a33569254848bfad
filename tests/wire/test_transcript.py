from __future__ import annotations

import dataclasses
import random
import warnings
from array import array
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest

from bokbok import passphrase_to_key
from bokbok.sexpr import Dotted, Symbol
from bokbok.wire import INFERRED_1, Connection, Guards, Profile
from bokbok.wire.framing import Framing, IntegerLength
from bokbok.wire.transcript import HELD, Packet, Transcript
from tests.support.profiles import random_profile

USER, PASSPHRASE = "alice", "her passphrase"
DATUMS: list[Any] = [
    ["ping", "12345"],
    "x" * 60,
    [],
    [1, [2, (3, 4)]],
    Dotted([Symbol("a")], 1.5),
    b"\0\xff",
]
Said = list[tuple[str, bytes]]


def conversation(profile: Profile, secure: bool, datums: Iterable[Any] = DATUMS, passphrase: str = PASSPHRASE) -> Said:
    """A conversation of a client and a server, in order: requests, answers, an error, and a request of the server."""
    guards = Guards(nonce_reuse=False)
    key = passphrase_to_key(passphrase, profile=profile) if secure else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = Connection("client", user=USER if secure else None, key=key, profile=profile, guards=guards)
        server = Connection("server", secure=secure, profile=profile, guards=guards)
    said: Said = []

    def pass_on() -> None:
        for source, one, other in (("client", client, server), ("server", server, client)):
            if data := one.data_to_send():
                said.append((source, data))
                other.receive(data)
                if other.state == "lookup":
                    other.authenticate(key)

    pass_on()
    for datum in datums:
        id = client.request(datum)
        pass_on()
        server.respond(id, datum)
        pass_on()
    id = client.request("fail")
    pass_on()
    server.fail(id, "it broke")
    pass_on()
    id = server.request("callback")
    pass_on()
    client.respond(id, "yes")
    pass_on()
    assert client.error is None
    assert server.error is None
    return said


def read(
    profile: Profile, said: Said, secrets: Any, size: int = 1 << 30, **options: Any
) -> tuple[Transcript, list[Packet]]:
    transcript = Transcript(profile, secrets, **options)
    packets = []
    for source, data in said:
        for at in range(0, len(data), size):
            packets += transcript.feed(source, data[at : at + size])  # type: ignore[arg-type]
    return transcript, packets + transcript.cut()


def stream(said: Said, source: str) -> bytes:
    return b"".join(data for side, data in said if side == source)


def check_ranges(packets: list[Packet], said: Said) -> None:
    """Every byte of both directions belongs to one range, in order."""
    for source in ("client", "server"):
        data, at = stream(said, source), 0
        for packet in packets:
            if packet.source != source:
                continue
            assert packet.start == at
            for one in packet.ranges:
                if one.offset >= 0:
                    assert one.offset == at, (packet, at)
                    assert data[at : at + len(one.data)] == one.data
                    at += len(one.data)
            assert packet.end == at
        assert at == len(data)


def messages(packets: list[Packet]) -> list[Any]:
    return [packet.message for packet in packets if packet.message]


def expected() -> list[Any]:
    return [
        *(one for datum in DATUMS for one in (("request", datum), ("response", datum))),
        ("request", "fail"), ("error", "it broke"), ("request", "callback"), ("response", "yes"),
    ]  # fmt: skip


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "insecure"])
@pytest.mark.parametrize("seed", range(40))
def test_a_conversation_in_any_profile_of_the_table_is_named_byte_by_byte(seed: int, secure: bool) -> None:
    rng = random.Random(seed)
    profile = random_profile(rng)
    said = conversation(profile, secure)
    size = rng.choice([1, 7, 1 << 20])
    transcript, packets = read(profile, said, {USER: PASSPHRASE} if secure or seed % 2 else {}, size)
    assert [p.problem for p in packets if p.problem] == []
    assert transcript.secure is secure
    assert transcript.user == (USER if secure else None)
    assert [(kind, datum) for kind, _, datum in messages(packets)] == expected()
    check_ranges(packets, said)
    assert not any(one.layer == "raw" for packet in packets for one in packet.ranges)
    assert all(transcript.respelt(packet) == packet.body for packet in packets if packet.message)


@pytest.mark.parametrize("seed", range(20))
def test_in_a_profile_read_wrongly_something_does_not_fit(seed: int) -> None:
    profile, other = random_profile(random.Random(seed)), random_profile(random.Random(seed + 1000))
    said = conversation(profile, True)
    _, packets = read(other, said, {USER: PASSPHRASE})
    assert any(packet.problem for packet in packets)
    check_ranges(packets, said)


def test_layers_of_the_default_profile() -> None:
    _, packets = read(INFERRED_1, conversation(INFERRED_1, True), {USER: PASSPHRASE})
    assert [one.layer for one in packets[0].ranges] == ["framing", "hello"]
    assert packets[0].ranges[1].note == 'username "alice"'
    assert [one.layer for one in packets[1].ranges] == ["framing", "nonce", "tag", "box", "opened"]
    assert "not shown" in packets[1].ranges[-1].note
    assert [one.layer for one in packets[2].ranges] == ["framing", "nonce", "tag", "box", "opened"]
    assert packets[2].ranges[-1].data == b'(request 0 ("ping" "12345"))'
    assert [packet.title for packet in packets[:4]] == [
        "hello: username",
        "hello: session key",
        "request 0",
        "response 0",
    ]


def test_the_session_key_is_in_no_packet_and_no_repr() -> None:
    transcript, packets = read(INFERRED_1, conversation(INFERRED_1, True), {USER: PASSPHRASE})
    assert transcript.session_key is not None
    assert transcript.session_key not in repr(packets).encode()
    assert transcript.session_key.hex() not in repr(packets) + repr(transcript)
    assert transcript.session != transcript.session_key


def test_without_a_secret_a_secure_connection_has_its_form() -> None:
    said = conversation(INFERRED_1, True)
    transcript, packets = read(INFERRED_1, said, {})
    assert transcript.secure is True
    assert packets[0].ranges[1].note == 'username "alice"'
    assert {packet.problem for packet in packets[2:]} == {"cannot be opened: the session key is not known"}
    assert [one.layer for one in packets[2].ranges] == ["framing", "nonce", "tag", "box"]
    check_ranges(packets, said)


def test_a_key_of_another_user_that_opens_is_named() -> None:
    _, packets = read(INFERRED_1, conversation(INFERRED_1, True), {"bob": PASSPHRASE})
    assert packets[1].problem == 'the session key\'s box opens under the key of "bob", who is not the user'


def test_a_wrong_passphrase_is_said_at_the_box() -> None:
    _, packets = read(INFERRED_1, conversation(INFERRED_1, True), {USER: "another"})
    assert packets[1].problem == "the session key's box does not open under any key that was given"


def test_an_insecure_client_of_a_secure_server_is_read_as_what_it_is() -> None:
    transcript, packets = read(INFERRED_1, conversation(INFERRED_1, False), {USER: PASSPHRASE})
    assert transcript.secure is False
    assert messages(packets)[0] == ("request", 0, ["ping", "12345"])


def test_a_server_that_speaks_first_is_insecure() -> None:
    server = Connection("server")
    server.request("hello")
    transcript, packets = read(INFERRED_1, [("server", server.data_to_send())], {USER: PASSPHRASE})
    assert transcript.secure is False
    assert messages(packets) == [("request", 0, "hello")]


def test_what_the_server_says_waits_for_the_hello_in_bounded_memory() -> None:
    said = conversation(INFERRED_1, True)
    transcript = Transcript(INFERRED_1, {USER: PASSPHRASE})
    assert transcript.feed("client", said[0][1][:3]) == []
    assert transcript.feed("server", b"\0" * HELD) == []
    assert transcript.feed("server", b"\0") != []


def test_a_cut_packet_is_said_with_what_is_missing() -> None:
    transcript = Transcript(INFERRED_1)
    transcript.feed("client", b'\0\0\0\x0f(request 0 "x")')
    transcript.feed("client", b"\0\0\0\x09(req")
    (packet, end) = transcript.end("client", 3.0)
    assert packet.problem == "cut off: 4 of a packet's 9 bytes"
    assert (packet.start, packet.end) == (19, 27)
    assert (end.title, end.t) == ("end of file", 3.0)


def test_bytes_behind_a_packet_that_does_not_fit_are_shown_as_they_come() -> None:
    transcript = Transcript(INFERRED_1)
    (first,) = transcript.feed("client", b"GET / HTTP/1.1\r\n")
    assert first.ranges[0].data == b"GET / HTTP/1.1\r\n"
    assert "announced" in first.problem
    (later,) = transcript.feed("client", b"Host: x\r\n")
    assert (later.start, later.ranges[0].data, later.problem) == (16, b"Host: x\r\n", first.problem)


def test_a_message_that_is_not_one_is_a_problem_of_its_packet_alone() -> None:
    transcript = Transcript(INFERRED_1, secure=False)
    (packet,) = transcript.feed("client", b"\0\0\0\x05hello")
    assert packet.title == "not a message"
    (packet,) = transcript.feed("client", b'\0\0\0\x0f(request 0 "x")')
    assert packet.problem == ""
    (packet,) = transcript.feed("client", b"\0\0\0\x10(request 1 #<x>)")
    assert packet.problem.startswith("its datum does not read")


def test_a_tampered_box_does_not_open_and_the_next_one_does() -> None:
    said = conversation(INFERRED_1, True)
    index = next(i for i, (source, _) in enumerate(said) if source == "server")
    said[index] = ("server", said[index][1][:-1] + bytes((said[index][1][-1] ^ 1,)))
    _, packets = read(INFERRED_1, said, {USER: PASSPHRASE})
    bad = [packet for packet in packets if packet.problem]
    assert [packet.title for packet in bad] == ["a packet that does not open"]


def test_another_dialect_shows_in_what_the_profile_would_write() -> None:
    four = dataclasses.replace(INFERRED_1, name="four")
    said = conversation(INFERRED_1, False, [array("f", [1.5])])
    transcript, packets = read(four, said, {})
    assert transcript.respelt(packets[0]) == packets[0].body
    other = Transcript(INFERRED_1, secure=False)
    body = b'(request 0 "\\x61")'
    (packet,) = other.feed("client", len(body).to_bytes(4, "big") + body)
    assert other.respelt(packet) == b'(request 0 "a")'


@dataclasses.dataclass(frozen=True)
class Backwards(Framing):
    """A user's own strategy that does not name its bytes: each packet has a length in front, and its bytes are
    reversed."""

    strategy: ClassVar[str] = "backwards"

    def writer(self):
        write = IntegerLength().writer()
        return lambda out, packet: write(out, packet[::-1])

    def splitter(self, limit):
        inner = IntegerLength().splitter(limit)
        inner_next = inner.next

        class Splitter:
            def __getattr__(self, name):
                return getattr(inner, name)

            def next(self):
                packet = inner_next()
                return None if packet is None else packet[::-1]

        return Splitter()


def test_a_strategy_of_a_users_own_is_read_though_it_names_no_bytes() -> None:
    profile = dataclasses.replace(INFERRED_1, name="mine", framing=Backwards())
    for secure in (True, False):
        said = conversation(profile, secure)
        _, packets = read(profile, said, {USER: PASSPHRASE}, secure=secure)
        assert [p.problem for p in packets if p.problem] == []
        assert [(kind, datum) for kind, _, datum in messages(packets)] == expected()
        check_ranges(packets, said)


def test_reading_is_linear_in_packets_of_one_chunk() -> None:
    body = b"(request 0 x)"
    packet = len(body).to_bytes(4, "big") + body
    transcript = Transcript(INFERRED_1, secure=False)
    assert len(transcript.feed("client", packet * 5_000)) == 5_000
