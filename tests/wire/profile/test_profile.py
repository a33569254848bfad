from __future__ import annotations

import dataclasses
import random
import warnings
from pathlib import Path
from typing import Any

import pytest

from bokbok.errors import ProfileError
from bokbok.wire import (
    INFERRED_1,
    BrokenCryptographyWarning,
    Closed,
    Connection,
    ErrorReceived,
    Guards,
    HelloReceived,
    Opened,
    RequestReceived,
    ResponseReceived,
    get_profile,
    passphrase_to_key,
)
from bokbok.wire.boxes import Counted, Sent
from bokbok.wire.derivation import Derivation
from bokbok.wire.framing import Datums, Lines
from bokbok.wire.messages import BinaryHeader
from bokbok.wire.profile import dump_profile, read_profile
from tests.support.profiles import random_profile

ANY = Guards(nonce_reuse=False)


def converse(profile: Any, *, secure: bool, step: int = 1 << 20) -> None:
    """A conversation in both directions, in pieces of any size."""
    key = passphrase_to_key("mypassphrase", profile=profile)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = Connection("client", profile=profile, guards=ANY, **({"user": "myuser", "key": key} if secure else {}))
        server = Connection("server", profile=profile, guards=ANY, secure=secure)

    def move(sender: Connection, receiver: Connection) -> list[Any]:
        events: list[Any] = []
        data = sender.data_to_send()
        for start in range(0, len(data), step):
            for event in receiver.receive(data[start : start + step]):
                if isinstance(event, HelloReceived):
                    assert event.user == "myuser"
                    events += server.authenticate(key)
                else:
                    events.append(event)
        assert not any(isinstance(event, Closed) for event in events), events
        return events

    for datum in (["ping", "12345"], ["echo", []], ["echo", 'a "b"\n\\\x01é'], "x" * 30):
        id = client.request(datum)
        events = [event for event in move(client, server) if not isinstance(event, Opened)]
        assert events == [RequestReceived(id, datum)]
        server.respond(id, datum)
        assert move(server, client) == [ResponseReceived(id, datum)]
        id = server.request(datum)
        assert move(server, client) == [RequestReceived(id, datum)]
        client.fail(id, "no")
        assert move(client, server) == [ErrorReceived(id, "no")]


@pytest.mark.parametrize("seed", range(150))
def test_any_combination_of_strategies_converses_secure_and_insecure_and_stands_in_a_file(seed: int) -> None:
    rng = random.Random(seed)
    profile = random_profile(rng)
    assert read_profile(dump_profile(profile)) == profile
    converse(profile, secure=True, step=rng.choice((1, 5, 1 << 20)))
    textual = isinstance(profile.framing, (Datums, Lines))
    if not (textual and isinstance(profile.messages, BinaryHeader)):  # nothing but a box makes text of a binary header
        converse(profile, secure=False)


def test_a_profile_whose_nonces_repeat_is_refused_unless_the_guard_is_off_and_then_warns_of_what_leaks() -> None:
    profile = dataclasses.replace(INFERRED_1, name="broken", nonces=Counted("zero"))
    key = passphrase_to_key("mypassphrase", profile=profile)
    with pytest.raises(ProfileError, match=r"'broken' is broken cryptography.*XOR of their session keys.*nonce_reuse"):
        Connection("client", user="myuser", key=key, profile=profile)
    with pytest.warns(BrokenCryptographyWarning, match="both directions use the same nonces"):
        Connection("client", user="myuser", key=key, profile=profile, guards=Guards(nonce_reuse=False))
    Connection("client", profile=profile)  # no boxes, no nonces


@pytest.mark.parametrize(
    ("nonces", "sound"),
    [
        (Sent(), True),
        (Sent("behind", "behind"), True),
        (Sent(key="zero"), False),
        (Counted("zero", key="front"), False),
        (Counted("zero", client=0, server=1, step=2, key="front"), True),
        (Counted("first", key="front"), True),
        (Counted("key", key="front", client=1, server=1), False),
        (Counted("key", key="front", client=1, server_base="first"), True),
    ],
)
def test_a_scheme_says_whether_its_nonces_repeat(nonces: Any, sound: bool) -> None:
    assert (nonces.leaks is None) == sound


def test_a_profile_is_found_by_name_by_its_files_path_and_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = random_profile(random.Random(1), "mine")
    path = tmp_path / "mine.toml"
    path.write_text(dump_profile(profile))
    monkeypatch.delenv("BOKBOK_PROFILE", raising=False)
    assert get_profile() is INFERRED_1
    assert get_profile("inferred-1") is INFERRED_1
    assert get_profile(str(path)) == get_profile(path) == profile
    monkeypatch.setenv("BOKBOK_PROFILE", str(path))
    assert get_profile() == profile
    assert Connection("client")._profile == profile


def test_the_default_profile_in_a_file_is_the_default_profile() -> None:
    assert read_profile(dump_profile(INFERRED_1)) == INFERRED_1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = ", "expected a TOML file"),
        ("name = 'x'", r"bokbok-profile: expected 1; got None \(is this"),
        ("bokbok-profile = 1\ndialect = 'x'", "dialect: expected one of chicken-4.*; got 'x'"),
        ("bokbok-profile = 1\nx = 1", "x: expected one of bokbok-profile, name, .*framing"),
        ("bokbok-profile = 1\nframing = 1", r"framing: expected a table, \[framing\]; got 1"),
        ("bokbok-profile = 1\n[framing]\nstrategy = 'x'", r"\[framing\] strategy: expected one of length, .*; got 'x'"),
        (
            "bokbok-profile = 1\n[framing]\nstrategy = 'length'\nx = 1",
            r"\[framing\] x: expected one of the keys of 'length': integer",
        ),
        (
            "bokbok-profile = 1\n[framing]\nstrategy = 'length'\ninteger = 'u7'",
            r"\[framing\] integer: expected one of u8, .*; got 'u7'",
        ),
        (
            "bokbok-profile = 1\n[framing]\nstrategy = 'length'\ncounts = 'x'",
            r"\[framing\] counts: expected an integer from -2147483648 to 2147483648; got 'x'",
        ),
        ("bokbok-profile = 1\n[framing]\nstrategy = 'length'\ntrailer = {hex = 'x'}", "expected a string, or"),
        (
            "bokbok-profile = 1\n[framing]\nstrategy = 'nowhere.py:X'",
            r"\[framing\] strategy: .*got 'nowhere.py:X' \(one of your own comes from a Python file",
        ),
        (
            "bokbok-profile = 1\n[hello]\npackets = [[{user = 'raw'}]]",
            r"\[hello\] packets: expected the fields user and key once each",
        ),
        (
            "bokbok-profile = 1\n[hello]\npackets = [[{user = 'x'}]]",
            r"\[hello\] packets: expected a list .*; got \[\[\{'user': 'x'",
        ),
        ("bokbok-profile = 1\n[packets]\nclient = ['a']", "one for all, or a list of three"),
        (
            "bokbok-profile = 1\n[nonces]\nstrategy = 'sent'\nplace = 'x'",
            r"\[nonces\] place: expected one of front, behind; got 'x'",
        ),
        (
            "bokbok-profile = 1\n[key-derivation]\nname = 'x'",
            r"\[key-derivation\] name: expected one of sha512-first-32, .*; got 'x'",
        ),
        (
            "bokbok-profile = 1\n[messages]\nstrategy = 'shapes'\nrequest = '(x ID)'",
            r"\[messages\] request: expected a shape with ID and DATUM once each",
        ),
        ("bokbok-profile = 1\n[messages]\nstrategy = 'shapes'\nrequest = '(x'", "does not read"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ProfileError, match=problem):
        read_profile(text, "p.toml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"nothing\.toml.*No such file"):
        get_profile(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    "nonces",
    [Counted(), Counted("key", key="front"), Sent(key="zero"), Sent(zeros=16), Sent("behind", "behind")],
    ids=repr,
)
def test_the_default_hello_goes_with_all_nonces(nonces: Any) -> None:
    converse(dataclasses.replace(INFERRED_1, nonces=nonces), secure=True)


@pytest.mark.parametrize("framed", [0, 1])
@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_the_hello_or_its_first_packets_may_be_framed_otherwise(framed: int, step: int) -> None:
    profile = dataclasses.replace(INFERRED_1, hello_framing=Lines(b"\r\n"), hello_framed=framed)
    client = Connection("client", profile=profile, user="myuser", key=passphrase_to_key("mypassphrase"))
    assert client.data_to_send().startswith(b"myuser\r\n" + (b"\0\0\0\x48" if framed else b""))
    converse(profile, secure=True, step=step)


def test_a_key_may_be_given_in_the_passphrases_place() -> None:
    profile = dataclasses.replace(INFERRED_1, key_derivation=Derivation("hex"))
    assert passphrase_to_key("0f" * 32, profile=profile).to_bytes() == b"\x0f" * 32
    for wrong in ("", "0f" * 31, "0f" * 33, "mypassphrase", "0g" * 32):
        with pytest.raises(ProfileError, match="64 hexadecimal digits") as caught:
            passphrase_to_key(wrong, profile=profile)
        assert not wrong or wrong not in str(caught.value)


# The digest.


def test_two_spellings_of_one_format_have_one_digest() -> None:
    spelt = read_profile(
        'bokbok-profile = 1\nname = "x"\nabout = "y"\ndialect = "chicken-5"\n'
        '[framing]\nstrategy = "length"\ninteger = "u32-be"\n[packets]\nclient = ["", "", ""]\n'
        '[hello]\npackets = [[{ user = "raw" }], [{ key = "raw" }]]\n'
        '[hello-framing]\nstrategy = "length"\npackets = 1\n'
        '[messages]\nstrategy = "shapes"\nrequest = "( request  ID DATUM )"\n'
    )
    assert spelt.digest() == INFERRED_1.digest()


def test_the_digest_of_the_default_profile_is_this_one() -> None:
    # Other programs compare their digests with it: it changes only if the format or its keys change.
    assert INFERRED_1.digest() == "c246890a1c758629b19aaaa51b85e3cb7bc84c83a2b3fe6335cb2609a889350d"


def test_random_profiles_have_different_digests() -> None:
    profiles = [random_profile(random.Random(seed)) for seed in range(100)]
    formats = {dump_profile(dataclasses.replace(p, name="x", about="", dialect=INFERRED_1.dialect)) for p in profiles}
    assert len({profile.digest() for profile in profiles}) == len(formats) > 90
    assert all(read_profile(dump_profile(profile)).digest() == profile.digest() for profile in profiles)


@pytest.mark.parametrize(
    "text",
    [
        "bokbok-profile = [1]",
        "dialect = []",
        "name = {}",
        "framing = [1]",
        "[framing]\nstrategy = ['length']",
        "[framing]\nstrategy = 'length'\ninteger = ['u8']",
        "[framing]\nstrategy = 'length'\ninteger = {}",
        "[framing]\nstrategy = 'length'\nheads = 'x'",
        "[framing]\nstrategy = 'length'\nheads = ['']",
        "[framing]\nstrategy = 'text-length'\nwidth = 1000000000",
        "[framing]\nstrategy = 'lines'\nending = ''",
        "[nonces]\nstrategy = 'sent'\nzeros = 10000000000",
        "[nonces]\nstrategy = 'counted'\nbase = 1.5",
        "[hello]\npackets = [[{ user = [] }], [{ key = 'raw' }]]",
        "[hello]\npackets = [[{ any = 100000000000 }], [{ user = 'raw' }, { key = 'raw' }]]",
        "[hello]\npackets = 1979-05-27",
        "[messages]\nid-step = 0",
        "[messages]\nstrategy = 'shapes'\nid-width = 99999999",
        "[key-derivation]\nname = 1",
        "a" * 100 + " = " + "[" * 100_000,
        "[framing]\nstrategy = 'length'\ncounts = " + "9" * 10_000,
    ],
)
def test_any_wrong_file_ends_in_one_line_and_costs_nothing(text: str) -> None:
    text = text if text.startswith("bokbok") else f"bokbok-profile = 1\n{text}"
    with pytest.raises(ProfileError, match=r"profile 'p\.toml': ") as caught:
        read_profile(text, "p.toml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000
