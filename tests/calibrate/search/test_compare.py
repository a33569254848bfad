"""What would tell profiles apart that explain the same bytes."""

from __future__ import annotations

import dataclasses

from bokbok.wire import INFERRED_1
from bokbok.wire.framing import IntegerLength
from bokbok_calibrate.report import as_text
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
