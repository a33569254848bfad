from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
    assert "there is no program /no/such/puppet" in done.stdout


def test_a_chapter_that_there_is_not_is_a_wrong_command_line(tmp_path: Path) -> None:
    done = run(tmp_path, "--bokbok-peer", MINIMAL, "--bokbok-chapter", "nope")
    assert done.returncode == 4
    assert "'nope' is none of connect" in done.stdout + done.stderr


def test_without_the_option_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    assert "1 passed" in run(tmp_path).stdout
