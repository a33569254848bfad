"""The proof: a profile that is wrong in one byte does not explain a recording."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bokbok.wire import INFERRED_1, Profile
from bokbok.wire.boxes import Counted, Sent
from bokbok.wire.framing import IntegerLength, TextLength
from bokbok.wire.messages import RESPONSE, Shapes
from bokbok.wire.packets import PacketForm
from bokbok_calibrate.verify import Mismatch, Proof, prove
from bokbok_traffic.recording import Recorded
from tests.support.calibrating import recording

KEY = INFERRED_1.key_derivation(b"mypassphrase")
LINES = ('("ping" "12345")', '("echo" "marker")', '("fail" "no")')


def with_(**layers: Any) -> Profile:
    return dataclasses.replace(INFERRED_1, name="tried", **layers)


def hello(**fields: Any) -> Any:
    return dataclasses.replace(INFERRED_1.hello, **fields)  # type: ignore[type-var]


def proof(profile: Profile, recorded: Recorded, *, secure: bool = True) -> Proof:
    return prove(profile, recorded, b"myuser" if secure else None, KEY if secure else None)


@pytest.mark.parametrize(
    "profile",
    [
        INFERRED_1,
        with_(nonces=Sent("behind", "behind")),
        with_(nonces=Counted(client=1, key="counter")),
        with_(nonces=Counted("key", client=1, server=1, key="front")),
        with_(nonces=Counted("first", key="front")),
        with_(hello=hello(preamble=b"bokbok 0.2\r\n")),
        with_(packets=PacketForm("hex", b"!", b"?")),
        with_(messages=Shapes("(DATUM ID ask)", "(DATUM ID tell)", "(MESSAGE ID fail)")),
    ],
    ids=range(8),
)
def test_every_byte_is_written_again(profile: Profile) -> None:
    (one, *_) = recording(profile, lines=LINES)
    found = proof(profile, one)
    assert (found.explained, found.cut, found.spelt) == (len(one.client) + len(one.server), 0, 0)
    assert [said.kind for said in found.said if said.source == "server"] == [RESPONSE, RESPONSE, 2]


SECURE = recording(INFERRED_1, lines=LINES)[0]
INSECURE = recording(INFERRED_1, lines=LINES, secure=False)[0]


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        (with_(framing=IntegerLength("u64-be")), "bytes that are not a packet: .* is announced"),
        (with_(framing=TextLength(10, ending=b":")), "bytes that are not a packet: .*expected 'DIGITS:'"),
        (with_(hello=hello(preamble=b"hello")), "the connection does not begin with b'hello'"),
        (with_(hello_framing=IntegerLength("u16-be"), hello_framed=2), "the hello"),
        (with_(nonces=Sent("behind", "behind")), "the hello: .* does not open"),
        (with_(nonces=Sent("behind", "front")), "a packet that does not open"),
        (with_(packets=PacketForm("hex")), "a packet that is not one of a message: .* expected hexadecimal"),
        (with_(messages=Shapes("(ask ID DATUM)")), "the client's message 1"),
    ],
)
def test_a_profile_that_differs_in_a_layer_explains_nothing(profile: Profile, problem: str) -> None:
    with pytest.raises(Mismatch, match=problem):
        proof(profile, SECURE)


def test_another_user_and_another_key_are_no_explanation() -> None:
    with pytest.raises(Mismatch, match=r"the hello: .* who is not the user"):
        prove(INFERRED_1, SECURE, b"another", KEY)
    with pytest.raises(Mismatch, match="the hello: "):
        prove(INFERRED_1, SECURE, b"myuser", bytes(32))


def test_an_announcement_has_to_be_the_same() -> None:
    with pytest.raises(Mismatch, match="the announcement of an insecure connection"):
        proof(with_(hello=hello(insecure=(b"insecure",))), INSECURE, secure=False)


def packets(*bodies: bytes) -> bytes:
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def test_a_datum_may_be_spelt_otherwise_but_nothing_around_it() -> None:
    found = proof(INFERRED_1, Recorded(1, packets(b"(request 0 (a  b))"), b""), secure=False)
    assert found.spelt == 1
    for body in (b"(request 0 (a b)) ", b"( request 0 x)"):
        with pytest.raises(Mismatch, match="would be written differently around its datum"):
            proof(INFERRED_1, Recorded(1, packets(body), b""), secure=False)


def test_a_last_packet_that_was_cut_off_is_counted() -> None:
    found = proof(INFERRED_1, Recorded(1, packets(b"(request 0 x)") + b"\0\0\0\x09(req", b""), secure=False)
    assert (found.cut, len(found.said)) == (8, 1)


def test_a_nonce_that_comes_twice_is_noticed() -> None:
    one = dataclasses.replace(SECURE)
    assert not proof(INFERRED_1, one).repeated
    head = SECURE.client[: 4 + 6 + 4 + 72]
    first = packets(SECURE.client[len(head) + 4 :][: int.from_bytes(SECURE.client[len(head) :][:4], "big")])
    assert proof(INFERRED_1, Recorded(1, head + first + first, b"")).repeated
