"""What would tell apart profiles that explain the same bytes."""

from __future__ import annotations

import dataclasses

import pytest

from bokbok.wire import INFERRED_1
from bokbok.wire.boxes import Counted, Sent
from bokbok.wire.encoding import ENCODINGS
from bokbok.wire.framing import IntegerLength
from bokbok.wire.packets import PacketForm
from bokbok_calibrate.report import as_text
from bokbok_calibrate.script import SCRIPT
from bokbok_calibrate.search.compare import telling
from tests.support.calibrating import SHORT, recording, solved


def test_lengths_below_128_do_not_tell_a_byte_from_leb128_and_a_longer_message_is_asked_for() -> None:
    profile = dataclasses.replace(INFERRED_1, framing=IntegerLength("leb128"))
    recorded = recording(profile, secure=False, lines=SHORT[:5])
    answer = solved(recorded, secure=False)
    assert answer.status == 3
    assert len(answer.profiles) == 2
    text = as_text(answer, recorded, secure=False)
    assert "several profiles explain every byte; what would tell them apart:" in text
    assert solved(recording(profile, secure=False), secure=False).status == 0


OVERHEADS = {"nonces that travel": Sent(), "nonces that are counted": Counted(key="zero")}


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("nonces", OVERHEADS.values(), ids=OVERHEADS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_script_holds_what_tells_a_byte_from_leb128_in_every_encoding(
    secure: bool, nonces: Sent | Counted, encoding: str
) -> None:
    one, other = (
        dataclasses.replace(
            INFERRED_1, framing=IntegerLength(integer), nonces=nonces, packets=PacketForm(encoding, plain=True)
        )
        for integer in ("u8", "leb128")
    )
    told = telling(one, other, secure=secure, user="myuser")
    assert told is not None
    assert any(told.removeprefix("the request ") == line or f" {len(line)} bytes" in told for line in SCRIPT)


@pytest.mark.parametrize("encoding", ["raw", "hex", "base64", "blob"])
@pytest.mark.parametrize("own", [False, True])
def test_a_recording_of_the_script_leaves_no_length_open(encoding: str, own: bool) -> None:
    for integer in ("u8", "leb128"):
        profile = dataclasses.replace(
            INFERRED_1,
            framing=IntegerLength(integer, own=own),
            packets=PacketForm(encoding),
            nonces=Counted(key="zero"),
        )
        answer = solved(recording(profile, lines=SCRIPT))
        assert (answer.status, answer.apart) == (0, [])
        assert answer.profiles[0].framing == profile.framing
