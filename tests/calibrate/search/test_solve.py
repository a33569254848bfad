from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from bokbok.sexpr import loads
from bokbok.wire import INFERRED_1, get_profile
from bokbok_calibrate.conversation import record
from bokbok_calibrate.derivation import Secrets
from bokbok_calibrate.report import as_html, as_json, as_text, profile_text, verdict
from bokbok_calibrate.script import SCRIPT, known_datums
from bokbok_calibrate.search.solve import solve
from bokbok_interop.cli import main
from bokbok_traffic.capture import Capture
from bokbok_traffic.recording import Recorded
from tests.support.profiles import random_profile

SECRETS = Secrets(b"myuser", b"mypassphrase")


def written(recorded: list[Recorded], path: Path) -> Path:
    capture = Capture("tcp")
    for one in recorded:
        capture.add(0, one.conn, "client", one.client)
        capture.add(0, one.conn, "server", one.server)
    path.write_text("\n".join(capture.lines()) + "\n")
    return path


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "insecure"])
def test_the_default_profile_is_recognised_as_such(secure: bool) -> None:
    answer = solve(record(INFERRED_1, secure=secure), SECRETS if secure else Secrets(), known_datums())
    assert answer.status == 0
    assert verdict(answer, secure=secure).startswith("default profile, exact")
    assert dataclasses.replace(answer.profiles[0], name=INFERRED_1.name) == INFERRED_1


@pytest.mark.parametrize("seed", range(5))
def test_a_random_profile_is_found_and_speaks_with_the_peer(seed: int) -> None:
    profile = random_profile(random.Random(seed))
    answer = solve(record(profile), SECRETS, known_datums())
    assert answer.status == 0
    # Another conversation of the true profile is explained by what was found.
    again = solve(record(profile), SECRETS, known_datums())
    assert again.profiles == answer.profiles


def test_with_a_wrong_passphrase_nothing_is_claimed() -> None:
    recorded = record(INFERRED_1, lines=SCRIPT[:3])
    answer = solve(recorded, Secrets(b"myuser", b"another"), known_datums())
    assert answer.status == 4
    assert "no profile explains" in as_text(answer, recorded, secure=True)


def test_bytes_that_are_no_conversation_claim_nothing() -> None:
    noise = random.Random(1).randbytes
    answer = solve([Recorded(1, noise(300), noise(300))], Secrets(), known_datums())
    assert answer.status == 4


def test_the_demos_own_traffic_is_enough_for_the_default() -> None:
    answer = solve(record(INFERRED_1, lines=['("ping" "12345")', '("asynch")']), SECRETS, known_datums())
    assert answer.status == 0
    assert any("error is assumed" in note for note in answer.notes)


def test_a_recording_that_was_cut_off_is_explained_up_to_the_cut() -> None:
    recorded = record(INFERRED_1)
    for one in recorded:
        one.server = one.server[:-7]
        one.ended = set()
    answer = solve(recorded, SECRETS, known_datums())
    assert answer.status == 0
    assert sum(proof.cut for proof in answer.proofs) > 0


def test_no_report_holds_a_secret() -> None:
    recorded = record(INFERRED_1, lines=SCRIPT[:5])
    answer = solve(recorded, SECRETS, known_datums())
    key = INFERRED_1.key_derivation(b"mypassphrase").hex()
    for text in (
        as_text(answer, recorded, secure=True),
        as_html(answer, recorded, secure=True),
        json.dumps(as_json(answer, recorded, secure=True)),
        profile_text(answer.profiles[0], answer, secure=True),
        repr(SECRETS),
    ):
        assert "mypassphrase" not in text
        assert key not in text


def test_the_script_is_a_datum_a_line() -> None:
    result = CliRunner().invoke(main, ["calibrate", "script"])
    assert result.exit_code == 0
    assert [loads(line) for line in result.output.encode("utf-8").splitlines()] == [loads(line) for line in SCRIPT]


def test_read_writes_a_profile_that_can_be_loaded_and_exits_with_0(tmp_path: Path) -> None:
    profile = random_profile(random.Random(4))
    capture = written(record(profile), tmp_path / "capture.jsonl")
    secret = tmp_path / "pass"
    secret.write_text("mypassphrase\n")
    secret.chmod(0o600)
    out = tmp_path / "found.toml"
    arguments = ["calibrate", "read", str(capture), "--user", "myuser", "--passphrase-file", str(secret)]
    result = CliRunner().invoke(main, [*arguments, "--out", str(out), "--json", str(tmp_path / "report.json")])
    assert result.exit_code == 0, result.output
    found = get_profile(out)
    assert (found.framing, found.messages) == (profile.framing, profile.messages)
    assert json.loads((tmp_path / "report.json").read_text())["status"] == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Who is the client?"),
        (["--user", "x"], "Where is the passphrase? Give --passphrase-file or --key-file"),
        (["--insecure", "--user", "x"], "--insecure cannot be used with"),
        (["--insecure"], "No such file"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], problem: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["calibrate", "read", str(tmp_path / "nothing"), *arguments])
    assert result.exit_code == 2
    assert problem in result.output
