"""Both front ends speak profiles of the table in every role, and their recordings can be read completely: a sample."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from bokbok.wire import INFERRED_1
from bokbok.wire.profile import dump_profile
from bokbok_interop.cases import all_cases
from bokbok_interop.cli import main
from bokbok_interop.matrix import Selection
from bokbok_interop.model import Outcome
from tests.interop import profiles
from tests.interop.test_proof import talk
from tests.support.profiles import random_profile

pytestmark = pytest.mark.filterwarnings("ignore::bokbok.wire.BrokenCryptographyWarning")
SAMPLE = {profile.name: profile for profile in profiles.profiles()[:3]}
FAST = Selection(chapters=("symmetry",), transports=("unix",))
HOSTILE = Selection(cases=("hostile.tampered", "hostile.used-id", "hostile.server-tampers"), transports=("unix",))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("selection", [FAST, HOSTILE], ids=["symmetry", "hostile"])
@pytest.mark.parametrize("name", SAMPLE)
def test_both_front_ends_speak_profiles_of_the_table(name: str, selection: Selection) -> None:
    results = profiles.play(SAMPLE[name], selection, jobs=8)
    assert profiles.problems(SAMPLE[name], results) == []
    assert any(result.outcome is Outcome.PASSED for result in results)
    assert all(result.shown for result in results if result.outcome is Outcome.PASSED)


def test_there_are_forty() -> None:
    assert len({profile.digest() for profile in profiles.profiles()}) == profiles.COUNT


def test_a_case_that_depends_on_layers_says_why_it_is_not_played() -> None:
    declared = [case for case in all_cases() if case.only]
    assert declared
    for case in declared:
        assert not case.foreign_to(INFERRED_1)
        reasons = {case.foreign_to(profile) for profile in profiles.profiles()} - {""}
        assert reasons, f"{case.id}: no profile of the forty lacks what it depends on"
        assert all("the case depends on" in reason for reason in reasons)


@pytest.mark.parametrize("seed", range(5))
def test_decode_names_every_byte_of_a_recording(seed: int, tmp_path: Path) -> None:
    profile = random_profile(random.Random(seed), f"random-{seed}")
    file, capture, secret = (tmp_path / name for name in ("p.toml", "c.jsonl", "secret"))
    file.write_text(dump_profile(profile))
    recorded = talk(profile)
    recorded.write(capture)
    secret.write_text("p\n")
    secret.chmod(0o600)
    words = ["decode", str(capture), "--profile", str(file), "--user", "alice", "--passphrase-file", str(secret)]
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.exit_code == 0, result.output
    for source in ("client", "server"):
        ranges = [
            one
            for packet in json.loads(result.stdout)
            if packet["from"] == source
            for one in packet["ranges"]
            if one["offset"] >= 0
        ]
        assert b"".join(bytes.fromhex(one["hex"]) for one in ranges) == recorded.stream(1, source)
        assert all(one["layer"] not in ("raw", "") for one in ranges)
