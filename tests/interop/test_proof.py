"""A cell counts for a profile only if the bytes of its peers are those of the profile."""

from __future__ import annotations

import dataclasses
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bokbok import passphrase_to_key
from bokbok.sexpr import CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5, Dialect, Keyword
from bokbok.wire import INFERRED_1, Connection, Guards, HelloReceived, Profile
from bokbok.wire.framing import IntegerLength
from bokbok.wire.messages import Shapes
from bokbok.wire.profile import dump_profile
from bokbok_interop.cli import main
from bokbok_interop.proof import Proof, prove
from bokbok_traffic.capture import CLIENT, SERVER, Capture
from tests.support.profiles import random_profile

LIAR = Path(__file__).parent / "liar.py"
LE = Profile("le", framing=IntegerLength("u32-le"))
BOTH = frozenset({CLIENT, SERVER})
OFF = Guards(nonce_reuse=False)
pytestmark = pytest.mark.filterwarnings("ignore::bokbok.wire.BrokenCryptographyWarning")


def talk(profile: Profile, *, secure: bool = True, datum: Any = "x", passphrase: str = "p") -> Capture:
    """A request and its answer, as both sides write them."""
    key = passphrase_to_key(passphrase, profile=profile)
    user = {"user": "alice", "key": key} if secure else {}
    client = Connection("client", profile=profile, guards=OFF, **user)  # type: ignore[arg-type]
    server = Connection("server", secure=secure, profile=profile, guards=OFF)
    capture = Capture("tcp")
    client.request(["echo", datum])
    asked = client.data_to_send()
    capture.add(0.0, 1, CLIENT, asked)
    events = server.receive(asked)
    if events and isinstance(events[0], HelloReceived):
        events = server.authenticate(key)
    server.respond(events[-1].id, datum)  # type: ignore[union-attr]
    capture.add(0.1, 1, SERVER, server.data_to_send())
    return capture


def read(
    capture: Capture,
    profile: Profile,
    roles: frozenset[str] = BOTH,
    passphrase: str = "p",
    dialect: Dialect | None = CHICKEN_4,
) -> Proof:
    return prove([(capture, roles)], profile, {"alice": passphrase}, dict.fromkeys(roles, dialect))


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_the_bytes_of_a_profile_show_it(seed: int, secure: bool) -> None:
    profile = random_profile(random.Random(seed))
    assert read(talk(profile, secure=secure), profile, dialect=profile.dialect) == Proof({CLIENT, SERVER})


@pytest.mark.parametrize("secure", [True, False])
def test_the_bytes_of_another_profile_are_named(secure: bool) -> None:
    length = 0x05000000 if secure else 0x18000000
    problem = read(talk(INFERRED_1, secure=secure), LE).problem
    assert problem.startswith(f"connection 1, packet 1 of the client, byte 0: a packet of {length} bytes is announced")


def test_another_shape_of_messages_is_named() -> None:
    other = dataclasses.replace(INFERRED_1, messages=Shapes(request="(ask ID DATUM)"))
    proof = read(talk(other), INFERRED_1)
    assert (proof.shown, "packet 3 of the client, byte 85" in proof.problem) == (set(), True)


def test_a_message_that_is_spelt_otherwise_is_named_with_its_byte() -> None:
    capture = Capture("tcp")
    body = b'(request  0 ("echo" 1))'
    capture.add(0.0, 1, CLIENT, len(body).to_bytes(4, "big") + body)
    problem = read(capture, INFERRED_1).problem
    assert problem == (
        'connection 1, packet 1 of the client, byte 0: byte 9 of the message (request 0) is  0 ("echo" 1)); '
        'the profile writes 0 ("echo" 1))'
    )


def test_without_a_dialect_the_spelling_is_not_compared() -> None:
    capture = Capture("tcp")
    body = b"(request  0 1)"
    capture.add(0.0, 1, CLIENT, len(body).to_bytes(4, "big") + body)
    assert read(capture, INFERRED_1, dialect=None) == Proof({CLIENT})


def test_digits_that_a_dialect_loses_are_not_asked_for() -> None:
    """CHICKEN 5 writes 999999999999999.9 as it would write 1e15 if that were not whole: a reader cannot tell."""
    capture = talk(
        dataclasses.replace(INFERRED_1, dialect=CHICKEN_5), datum=[999999999999999.9, -9.99999999999999999e22]
    )
    assert read(capture, INFERRED_1, dialect=CHICKEN_5) == Proof({CLIENT, SERVER})


@pytest.mark.parametrize(
    "wrong", [b"1000000000000000.", b"1e15", b"1E+15", b"1.0e+15", b"1000000000000000.00", b"+1e+15"]
)
def test_no_other_spelling_of_such_a_flonum_is_taken(wrong: bytes) -> None:
    capture = Capture("tcp")
    body = b'(request 0 (1e+15 %b "1e+15"))' % wrong
    capture.add(0.0, 1, CLIENT, len(body).to_bytes(4, "big") + body)
    proof = read(capture, INFERRED_1, (CLIENT,), dialect=CHICKEN_5)
    assert proof.sentence == "profile.dialect"
    assert "the profile writes" in proof.problem


@pytest.mark.parametrize("dialect", [CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5])
def test_a_message_is_spelt_as_its_peers_dialect_has_it(dialect: Dialect) -> None:
    # ... except for keywords, which the profile fixes
    written = dataclasses.replace(dialect, keyword_style="suffix")
    capture = talk(dataclasses.replace(INFERRED_1, dialect=written), datum=[1e21, 0.1 + 0.2, Keyword("k")])
    assert read(capture, INFERRED_1, dialect=dialect) == Proof({CLIENT, SERVER})


def test_a_hello_that_opens_under_nothing_that_was_given_is_named() -> None:
    assert "does not open" in read(talk(INFERRED_1), INFERRED_1, passphrase="q").problem


def test_what_follows_the_runners_own_fault_is_not_judged() -> None:
    capture = Capture("tcp")
    capture.add(0.0, 1, CLIENT, b"\xff" * 8)
    capture.add(0.1, 1, SERVER, b"GET / HTTP/1.1")
    assert read(capture, INFERRED_1, frozenset({SERVER})) == Proof()


def test_without_bytes_nothing_is_shown() -> None:
    assert read(Capture("tcp"), INFERRED_1) == Proof()


@pytest.fixture
def le(tmp_path: Path) -> Path:
    path = tmp_path / "le.toml"
    path.write_text(dump_profile(LE))
    return path


def run(tmp_path: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    out = tmp_path / "out.json"
    result = CliRunner().invoke(main, [*words, "--json", str(out), "-q"])
    return result.exit_code, json.loads(out.read_text()), result.output


@pytest.mark.timeout(120)
def test_a_puppet_that_speaks_the_default_profile_instead_is_caught(le: Path, tmp_path: Path) -> None:
    peer = f"liar={sys.executable} {LIAR}"
    status, document, output = run(
        tmp_path, "run", "--profile", str(le), "--peers", "liar", "--peer", peer, "--case", "request.echo",
        "--case", "secure.right-key",
    )  # fmt: skip
    assert status == 1
    assert {cell["outcome"] for cell in document["cells"]} == {"failed"}
    for cell in document["cells"]:
        # Whatever its requests answered: they were all answered well.
        assert cell["reason"] == "spoke another profile than it claims"
        assert cell["actual"].startswith("connection 1, packet 1 of the client")
    assert "spoke another profile" in output


@pytest.mark.timeout(120)
def test_a_cell_without_bytes_is_not_shown_and_gives_no_verdict(le: Path, tmp_path: Path) -> None:
    peer = f"mine={sys.executable} -m bokbok_interop.puppets.sync"
    words = [
        "run",
        "--profile",
        str(le),
        "--peers",
        "mine",
        "--peer",
        peer,
        "--transport",
        "tcp",
        "--security",
        "secure",
    ]
    status, document, output = run(tmp_path, *words, "--case", "connect.refused")
    [cell] = document["cells"]
    assert (cell["outcome"], cell["shown"], document["not_shown"]) == ("passed", [], 1)
    assert [(each["role"], each["cells"]) for each in document["no_verdict"]] == [("client", 1), ("server", 1)]
    assert status == 3
    assert "no verdict on mine as client, tcp, secure" in output
    status, document, output = run(tmp_path, *words, "--case", "connect.refused", "--case", "secure.right-key")
    assert (status, document["not_shown"], document["no_verdict"]) == (0, 1, [])
    assert "(1 not shown by bytes)" in output
