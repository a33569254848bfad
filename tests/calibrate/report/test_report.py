"""What was found, for people and machines."""

from __future__ import annotations

import dataclasses

from bokbok.sexpr import CHICKEN_5
from bokbok.wire import INFERRED_1
from bokbok.wire.boxes import Counted
from bokbok.wire.profile import read_profile
from bokbok_calibrate.report import as_html, as_json, as_text, profile_text, verdict
from bokbok_calibrate.report.dump import hex_dump
from bokbok_calibrate.report.verdict import differences
from bokbok_calibrate.search.answer import Answer
from bokbok_traffic.recording import Recorded
from tests.support.calibrating import recording, solved

BROKEN = dataclasses.replace(INFERRED_1, name="calibrated", nonces=Counted(key="zero"))


def test_broken_cryptography_is_told_of_in_every_report() -> None:
    recorded = recording(BROKEN)
    answer = solved(recorded)
    assert answer.status == 0
    assert "WARNING: broken cryptography" in as_text(answer, recorded, secure=True)
    assert "WARNING, broken cryptography" in profile_text(answer.profiles[0], answer, secure=True)
    assert "Broken cryptography" in as_html(answer, recorded, secure=True)
    assert as_json(answer, recorded, secure=True)["profiles"][0]["broken-cryptography"] is not None


def test_what_several_profiles_leave_open_is_told_of_in_every_report() -> None:
    recorded = recording(INFERRED_1, lines=('("ping" "12345")',))
    for one in recorded:
        one.server = b""
    answer = solved(recorded)
    answer.apart.append("what would tell")
    answer.profiles.append(BROKEN)
    text, page = as_text(answer, recorded, secure=True), as_html(answer, recorded, secure=True)
    for shown in (text, page):
        assert "what would tell" in shown
        assert "what an answer looks like" in shown
    assert "LEFT OPEN: what an answer looks like" in profile_text(answer.profiles[0], answer, secure=True)
    assert verdict(answer, secure=True) == "default profile (inferred-1 explains every byte)"


def test_where_none_was_found_what_is_proven_is_shown() -> None:
    recorded = recording(INFERRED_1)
    for one in recorded:  # as if the messages had an unknown form
        one.server = one.server[:4] + bytes(1000)
    answer = solved(recorded, patience=3)
    assert answer.status == 4
    assert verdict(answer, secure=True) == "no profile explains the recording"
    assert "Bytes" in as_html(answer, recorded, secure=True)
    document = as_json(answer, recorded, secure=True)
    assert (document["profiles"], document["default"]) == ([], False)


def test_plaintexts_and_advice_are_shown_where_no_profile_is() -> None:
    recorded = [Recorded(1, b"hello", b"")]
    answer = Answer(opened=[(1, "client", b"x" * 200)], advice=["look elsewhere"], regions=[(1, "client", 0, 5, "it")])
    text, page = as_text(answer, recorded, secure=True), as_html(answer, recorded, secure=True)
    for shown in (text, page):
        assert "look elsewhere" in shown
        assert "and 40 bytes" in shown
        assert "it (0x0 to 0x5)" in shown
    assert as_json(answer, recorded, secure=True)["opened"][0]["text"] == "x" * 200


def test_a_dump_leaves_out_what_nothing_is_known_of() -> None:
    regions = [(1, "client", 400, 410, "a box")]
    rows = hex_dump(Answer(regions=regions), [Recorded(1, bytes(1000), b"")])
    assert rows[0] == "#1 client, 1000 bytes"
    assert "  ... 272 bytes" in rows
    assert any(row.endswith("a box (0x190 to 0x19a)") for row in rows)
    assert rows[-1].endswith("more bytes")


def test_a_profile_of_an_insecure_recording_says_what_it_does_not_show() -> None:
    recorded = recording(INFERRED_1, secure=False)
    answer = solved(recorded, secure=False)
    text = profile_text(answer.profiles[0], answer, secure=False)
    assert "not shown: an insecure recording; this is the default's" in text
    assert read_profile(text).framing == INFERRED_1.framing
    assert differences(answer.profiles[0], secure=False) == []


def test_an_announcement_and_a_dialect_are_differences() -> None:

    hello = dataclasses.replace(INFERRED_1.hello, insecure=(b"insecure",))  # type: ignore[type-var]
    profile = dataclasses.replace(INFERRED_1, hello=hello, dialect=CHICKEN_5)
    assert differences(profile, secure=False) == ["hello", "dialect"]
