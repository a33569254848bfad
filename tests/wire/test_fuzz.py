"""Whatever comes, no error is raised, and no request or answer is lost."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.secret import SecretBox

from bokbok.wire import (
    Connection,
    Guards,
    HelloReceived,
    RequestReceived,
    passphrase_to_key,
)
from tests.support.peers import framed
from tests.support.profiles import random_profile
from tests.support.wire_ends import (
    ENDS,
    EVENTS,
    LIMITS,
    SESSION_KEY,
    feed,
    insecure_server,
    opened_server,
    secure_client,
    secure_server,
)

# The parts of messages, correct and broken.
PIECES = st.sampled_from(
    [
        b"(request ", b"(response ", b"(error ", b"[request ", b"(", b")", b"]", b"#(", b"0 ", b"1 ", b"2", b"-1 ",
        b"4611686018427387904 ", b"99999999999999999999 ", b"0.0 ", b'"text"', b'"', b"\\", b"|", b"#|", b"|#", b";",
        b"#;", b"\n", b" ", b"'", b"foo:", b"#!eof", b"#<unspecified>", b"#<procedure>", b"#${61}", b"#u8(1)",
        b"#\\x", b"1e999999999", b". ", b"x", b"\xff", b"\0", b"request", b"#t ", b"()", b"(" * 40, b")" * 40,
    ]
)  # fmt: skip
BODIES = st.lists(PIECES, max_size=8).map(b"".join) | st.binary(max_size=40)
CUTS = st.lists(st.integers(1, 90), max_size=30)


ends = pytest.mark.parametrize("make", ENDS, ids=lambda make: make.__name__.replace("_", " "))


@ends
@given(data=st.binary(max_size=300), cuts=CUTS)
def test_any_bytes_end_in_a_defined_state(make: Any, data: bytes, cuts: list[int]) -> None:
    feed(make(), data, cuts)


@ends
@given(bodies=st.lists(BODIES, max_size=6), cuts=CUTS)
def test_any_packets_end_in_a_defined_state(make: Any, bodies: list[bytes], cuts: list[int]) -> None:
    feed(make(), b"".join(map(framed, bodies)), cuts)


@pytest.mark.parametrize("make", [secure_client, opened_server], ids=["client", "server"])
@given(bodies=st.lists(BODIES, max_size=6), cuts=CUTS)
def test_anything_in_a_box_ends_in_a_defined_state(make: Any, bodies: list[bytes], cuts: list[int]) -> None:
    box = SecretBox(SESSION_KEY)
    feed(make(), b"".join(framed(bytes(box.encrypt(body))) for body in bodies), cuts)


@given(body=BODIES)
def test_a_message_means_the_same_in_a_box_and_without(body: bytes) -> None:
    plain = feed(insecure_server(), framed(body), [])
    boxed = feed(opened_server(), framed(bytes(SecretBox(SESSION_KEY).encrypt(body))), [])
    assert list(map(type, plain)) == list(map(type, boxed))


@given(change=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_bit_that_changes_on_the_way_never_becomes_a_message(change: int, bit: int) -> None:
    client = secure_client()
    data = bytearray(client.data_to_send())
    hello_ends = 4 + 6 + 4 + 72
    place = hello_ends + change % (len(data) - hello_ends)
    data[place] ^= 1 << bit
    events = feed(secure_server(), bytes(data), [])
    messages = [event.message for event in events if isinstance(event, RequestReceived)]
    assert messages == [0, 1, 2][: len(messages)]
    assert len(messages) < 3


@pytest.mark.parametrize("seed", range(60))
def test_any_bytes_end_in_a_defined_state_in_any_profile(seed: int) -> None:
    rng = random.Random(seed)
    profile = random_profile(rng)
    key = passphrase_to_key("mypassphrase")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        common: dict[str, Any] = {"profile": profile, "limits": LIMITS, "guards": Guards(nonce_reuse=False)}
        for secure in (False, True):
            for _ in range(20):
                client = Connection("client", **common, **({"user": "myuser", "key": key} if secure else {}))
                server = Connection("server", **common, secure=secure)
                client.request("x")
                data = bytearray(client.data_to_send())
                for _ in range(rng.randrange(4)):
                    place = rng.randrange(len(data) + 1)
                    data[place : place + rng.randrange(5)] = rng.randbytes(rng.randrange(6))
                for end in (client, server):
                    for start in range(0, len(data), 13):
                        for event in end.receive(bytes(data[start : start + 13])):
                            assert isinstance(event, EVENTS)
                            if isinstance(event, HelloReceived):
                                end.authenticate(key)
                    end.receive_eof()
                    assert end.state in ("peer-finished", "closed")
