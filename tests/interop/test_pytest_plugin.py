from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MINIMAL = f"{sys.executable} {ROOT / 'interop' / 'examples' / 'minimal' / 'puppet.py'}"
MUTANTS = ROOT / "tests" / "interop" / "mutants"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_there_is_one_test_for_each_case(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--bokbok-peer", MINIMAL, "--bokbok-case", "request.echo", "--bokbok-case", "errors.remote-*", "-v"
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert "request.echo PASSED" in done.stdout


def test_the_sessions_own_tests_run_too(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    done = run(tmp_path, "--bokbok-peer", MINIMAL, "--bokbok-case", "request.echo")
    assert "2 passed" in done.stdout


def test_a_failure_shows_the_requirement_and_the_bytes(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "--bokbok-peer",
        f"{sys.executable} {MUTANTS} loses-messages",
        "--bokbok-case",
        "errors.remote-message",
    )
    assert done.returncode == 1
    assert "Returns a string describing what went wrong" in done.stdout
    assert "an error occurred" in done.stdout
    assert "on the wire:" in done.stdout
    assert "Traceback" not in done.stdout


def test_what_a_peer_does_not_claim_is_skipped_with_the_reason(tmp_path: Path) -> None:
    done = run(tmp_path, "--bokbok-peer", MINIMAL, "--bokbok-case", "hostile.hello-replayed", "-rs")
    assert "1 skipped" in done.stdout
    assert "does not claim the hardening cases" in done.stdout


def test_a_puppet_that_is_not_there_fails_and_is_not_skipped(tmp_path: Path) -> None:
    done = run(tmp_path, "--bokbok-peer", "/no/such/puppet", "--bokbok-case", "request.echo")
    assert done.returncode == 1
    assert "the program /no/such/puppet was not found" in done.stdout


def test_a_chapter_that_there_is_not_is_a_wrong_command_line(tmp_path: Path) -> None:
    done = run(tmp_path, "--bokbok-peer", MINIMAL, "--bokbok-chapter", "nope")
    assert done.returncode == 4
    assert "unknown chapter 'nope' (known: preflight" in done.stdout + done.stderr


def test_without_the_option_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    assert "1 passed" in run(tmp_path).stdout


@pytest.mark.parametrize(
    ("keyword", "found"),
    [
        ("remote_message or remote-error", ["errors.remote-error"]),
        ("remote and not error-", ["errors.remote-error", "errors.remote-message"]),
        ("not errors", []),
        ("ERRORS.REMOTE-M", ["errors.remote-message"]),
        ("(message and remote) or non-condition", ["errors.non-condition", "errors.remote-message"]),
    ],
)
def test_keywords_choose_as_pytest_has_them(tmp_path: Path, keyword: str, found: list[str]) -> None:
    cases = [word for case in ("errors.remote-*", "errors.non-condition") for word in ("--bokbok-case", case)]
    done = run(tmp_path, "--bokbok-peer", MINIMAL, *cases, "--collect-only", "-q", "-k", keyword)
    assert sorted(re.findall(r"^bokbok-interop::(.*)$", done.stdout, re.M)) == found, done.stdout


def test_cases_that_are_not_chosen_are_not_played(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--bokbok-peer", MINIMAL, "--bokbok-chapter", "hostile", "-k", "empty-message", "--durations=1"
    )
    assert "1 passed" in done.stdout
    assert "deselected" in done.stdout


def test_a_limit_of_each_tests_time_is_none_for_all_of_them(tmp_path: Path) -> None:
    # The case alone takes more than its second, since its handlers sleep.
    done = run(tmp_path, "--bokbok-peer", MINIMAL, "--bokbok-case", "errors.while-others-wait", "--timeout", "0.4")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("puppet", ["/no/such/puppet", "true", f"{sys.executable} -c 'print(7)'"])
def test_a_peer_that_cannot_be_played_is_one_error(tmp_path: Path, puppet: str) -> None:
    done = run(tmp_path, "--bokbok-peer", puppet, "--bokbok-chapter", "request", "-rs")
    assert done.returncode == 1
    assert "1 error" in done.stdout
    assert "failed" not in done.stdout.splitlines()[-1]
    assert "the peer could not be played: see request." in done.stdout


def test_workers_play_once_for_all(tmp_path: Path) -> None:
    started = tmp_path / "started"
    puppet = tmp_path / "puppet.sh"
    puppet.write_text(f"#!/bin/sh\necho >> {started}\nexec {MINIMAL}\n")
    puppet.chmod(0o700)
    words = ["--bokbok-peer", str(puppet), "--bokbok-chapter", "errors", "-k", "remote or message"]
    alone = run(tmp_path, *words)
    count = len(started.read_text())
    started.unlink()
    beside = run(tmp_path, *words, "-n", "4")
    assert beside.returncode == alone.returncode == 0, beside.stdout
    passed = [re.findall(r"\d+ passed", done.stdout) for done in (alone, beside)]
    assert len(passed[0]) == 1
    assert passed[0] == passed[1]
    assert len(started.read_text()) <= count
