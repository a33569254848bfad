"""What `check` concludes, and what it says when it cannot: through the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "interop" / "examples" / "minimal"
MINIMAL = f"{sys.executable} {FOLDER / 'puppet.py'}"
MUTANTS = Path(__file__).parent / "mutants"

Check = subprocess.CompletedProcess[str]


def check(command: str, *words: str, timeout: float = 200, **environment: str) -> Check:
    """`bokbok-interop check`, wide enough that no line of it is folded."""
    done = subprocess.run(
        [sys.executable, "-m", "bokbok_interop", "check", command, *words],
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
        env={**os.environ, "COLUMNS": "260", **environment},
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., str]:
    """The command of an example peer with something else in one of its files."""

    def make(old: str, new: str, file: str = "puppet.py") -> str:
        for path in FOLDER.glob("*.py"):
            text = path.read_text()
            if path.name == file:
                assert old in text
                text = text.replace(old, new)
            (tmp_path / path.name).write_text(text)
        return f"{sys.executable} {tmp_path / 'puppet.py'}"

    return make


@pytest.fixture
def refusing(tmp_path: Path) -> str:
    """The command of a puppet that says hello, and `unsupported` to everything else."""
    script = tmp_path / "refusing.py"
    features = "puppet-1 tcp unix secure insecure port-0 reference profile (dialect chicken-4) (profile inferred-1)"
    script.write_text(
        "import sys\n"
        "for line in sys.stdin:\n"
        "    number, verb = line.strip('()\\n').split()[:2]\n"
        f"""    says = 'ok "no" "0" ({features})' if verb == 'hello' else 'unsupported "everything"'\n"""
        "    print(f'({number} {says})', flush=True)\n"
    )
    return f"{sys.executable} {script}"


# ---------------------------------------------------------------------------------------- a verdict says something


def test_a_puppet_that_can_do_nothing_has_no_verdict_and_not_status_0(refusing: str) -> None:
    done = check(refusing, "--chapter", "connect", "--chapter", "errors")
    assert done.returncode == 3, done.stdout
    assert "conforms" not in done.stdout
    assert len(re.findall(r"nothing to say: mine says: .*everything", done.stdout)) >= 2


def test_an_opponent_that_is_absent_leaves_nothing_to_say(tmp_path: Path) -> None:
    words = ["--against", "chicken4", "--chapter", "errors", "--chapter", "connect", "--json", str(tmp_path / "r.json")]
    done = check(MINIMAL, *words, BOKBOK_CHICKEN4="")
    assert done.returncode == 3, done.stdout
    assert re.search("errors +│ – nothing to say: chicken4 is not available here", done.stdout)
    assert not re.search("(errors|connect) +│ ✓", done.stdout)
    # The results say it too, when they are merged.
    merged = subprocess.run([sys.executable, "-m", "bokbok_interop", "merge", str(tmp_path / "r.json")], check=False)
    assert merged.returncode == 3


def test_cells_about_the_other_side_count_for_no_verdict() -> None:
    done = check(MINIMAL, "--case", "connect.tcp-*", "--thorough")
    assert done.returncode == 0, done.stdout
    assert re.search(r"connect +│ ✓ conforms +│ ✓8 ", done.stdout), done.stdout
    assert "8 cells are about the other side and count for no verdict: ✓8" in done.stdout
    # They are not even played unless somebody asks for everything.
    short = check(MINIMAL, "--case", "connect.tcp-string")
    assert "about the other side and count" not in short.stdout
    assert "cases about the other side (--thorough)" in short.stdout


# ---------------------------------------------------------------------------------------------------- features


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "chicken-4",
            "chicken4",
            "the dialect chicken4 is unknown; expected chicken-4 or .* (did you mean chicken-4?)",
        ),
        (
            "puppet-1",
            "puppet-2",
            "the feature puppet-2 is a protocol that this runner does not speak; expected puppet-1",
        ),
        ("inferred-1", "infered-1", "the profile infered-1 is unknown; expected inferred-1, or see --profile"),
    ],
)
def test_an_unknown_value_of_a_known_feature_is_an_error(
    changed: Callable[..., str], old: str, new: str, problem: str
) -> None:
    done = check(changed(f'"{old}"', f'"{new}"'), "--case", "errors.remote-*")
    assert done.returncode == 1, done.stdout
    assert re.search(problem.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?"), done.stdout), done.stdout
    assert "conforms" not in done.stdout.replace("does not conform", "")


def test_an_unknown_feature_is_a_warning_with_the_nearest_name_also_at_the_end(changed: Callable[..., str]) -> None:
    done = check(changed('"profile"', '"profil"'), "--case", "errors.remote-*")
    warning = r"warning: mine: the feature profil is unknown, and ignored (did you mean profile?)"
    assert done.stdout.count(warning) == 2, done.stdout


def test_a_peer_without_a_dialect_is_told_that_its_bytes_were_not_compared(changed: Callable[..., str]) -> None:
    done = check(changed('"dialect"', '"dialekt"'), "--case", "errors.remote-*")
    assert "it states no dialect, so the bytes of its datums are not compared" in done.stdout
    assert done.stdout.count("the feature dialekt is unknown, and ignored (did you mean dialect?)") == 2, done.stdout


# --------------------------------------------------------------------------------------------------- the preflight


def mutant(name: str) -> str:
    return f"{sys.executable} {MUTANTS} {name}"


def panels(done: Check) -> list[str]:
    """The failures that were shown, each as text."""
    return re.findall(r"╭─ (.*?)╰─", done.stdout, re.S)


def test_where_the_preflight_fails_that_is_the_verdict(tmp_path: Path) -> None:
    done = check(mutant("other-key-derivation"), "--chapter", "request", "--json", str(tmp_path / "r.json"))
    assert done.returncode == 1
    first, *others = panels(done)
    assert "✗ preflight.key" in first
    assert "docs/protocol.md#profile.key" in first
    assert any("`bokbok-interop calibrate` finds out what a peer speaks" in panel for panel in others)
    assert "everything behind the preflight, which failed" in done.stdout
    cells = json.loads((tmp_path / "r.json").read_bytes())["cells"]
    assert {cell["case"].split(".")[0] for cell in cells} == {"preflight"}
    assert {(cell["transport"], cell["security"]) for cell in cells} == {
        (transport, security) for transport in ("tcp", "unix") for security in ("secure", "insecure")
    }


def test_the_chapters_are_played_after_a_failed_preflight_if_that_is_asked_for() -> None:
    done = check(mutant("errors-as-responses"), "--case", "errors.remote-*", "--keep-going")
    assert done.returncode == 1
    assert "did not answer a failed request with an error" in panels(done)[0]
    assert re.search(r"errors +│ ✗ does not conform", done.stdout)


def test_what_was_not_looked_at_is_said_at_the_end() -> None:
    done = check(MINIMAL, "--case", "load.*")
    assert done.returncode == 0, done.stdout
    end = done.stdout[done.stdout.index("not seen here") :]
    assert "cases that --chapter or --case leaves out" in end
    assert re.search(r"load\.long-soak.*\(--long\)", end)
    assert "(--thorough)" in end


# --------------------------------------------------------------------------------------------------------- panels


def test_one_failure_of_both_directions_is_one_panel_with_the_packets_of_each() -> None:
    done = check(mutant("flonums-of-python"), "--case", "sexpr.flonums")
    (panel,) = panels(done)
    assert "docs/protocol.md#profile.dialect" in panel
    assert "(dialect chicken-4), as mine states" in panel
    assert "mine → python-asyncio:" in panel
    assert "python-asyncio → mine:" in panel


CRASHES = """
    def __init__(self, *words: object) -> None:
        import signal, sys

        sys.stderr.write("row 7 of table 12\\nassertion failed: 42 connections\\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGSEGV)


class Unreadable:"""
"""A protocol error ends the whole program."""


def test_a_process_that_ends_is_the_first_panel_with_how_it_ended_and_which_cases_do_it(
    changed: Callable[..., str], tmp_path: Path
) -> None:
    peer = changed("\n\nclass Unreadable:", CRASHES, "peer.py")
    results = tmp_path / "r.json"
    words = ["hostile.garbage", "hostile.not-a-list", "hostile.server-sends-garbage", "symmetry.*"]
    done = check(peer, *(word for case in words for word in ("--case", case)), "--json", str(results))
    assert done.returncode == 1
    first, *others = panels(done)
    assert "the process of mine ended" in first.splitlines()[0]
    assert "the process of mine was killed by SIGSEGV; the last line of its log: assertion failed: 42 conn" in first
    assert "log of mine: row 7 of table 12" in first
    assert "✗ hostile." in first.splitlines()[0]
    assert "requirement" not in first, "which sentence such a case is about has nothing to do with it"
    # Each cell in which it ended is in this panel, whatever its case noticed. Those beside it are blamed for nothing.
    assert not [panel for panel in others if "SIGSEGV" in panel]
    cells = json.loads(results.read_bytes())["cells"]
    ended = [cell for cell in cells if cell.get("crash")]
    assert {cell["case"] for cell in ended} == {cell["case"] for cell in cells if cell["outcome"] == "failed"}
    assert {"hostile.garbage", "hostile.not-a-list", "hostile.server-sends-garbage"} <= {c["case"] for c in ended}
    assert {(cell["crash"]["peer"], cell["crash"]["how"][:21]) for cell in ended} == {("mine", "was killed by SIGSEGV")}


# ------------------------------------------------------------------------------------------- the recorded sessions


def test_the_recorded_sessions_are_replayed_where_they_are_asked_for(tmp_path: Path) -> None:
    words = ["--case", "*bracket", "--case", "*-demo", "--json", str(tmp_path / "r.json")]
    assert "no cell matches" in check(MINIMAL, *words).stderr
    done = check(MINIMAL, "--sessions", *words)
    assert done.returncode == 0, done.stdout
    cells = json.loads((tmp_path / "r.json").read_bytes())["cells"]
    assert {cell["case"] for cell in cells if cell["case"].startswith("sessions.")} == {
        *("sessions.server-secure-demo", "sessions.client-secure-demo"),
        *("sessions.server-insecure-demo", "sessions.client-insecure-demo"),
        "sessions.server-message-unreadable-bracket",
    }


def test_a_recorded_session_says_which_of_its_lines_failed() -> None:
    done = check(mutant("takes-any-id"), "--case", "sessions.*negative-id")
    assert done.returncode == 1
    (panel,) = panels(done)
    assert "in line 1 of the session message-negative-id" in panel


# ------------------------------------------------------------- one fault each, of every layer: the first panel names it


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('">I"', '"<I"', ["preflight.client-hello", "#profile.framing", "61 6c 69 63 65"]),
        ("hashlib.sha512", "hashlib.sha384", ["preflight.key", "#profile.key"]),
        ('f"(request {number} {text})"', 'f"(query {number} {text})"', ["#profile.messages", "(query 0"]),
        ('struct.pack(">Q", self.nonce_counter)', 'struct.pack("<Q", self.nonce_counter)', ["#profile.nonce"]),
    ],
    ids=["framing", "key", "message", "nonce"],
)
def test_the_first_panel_names_the_layer_and_the_sentence(
    changed: Callable[..., str], old: str, new: str, words: list[str]
) -> None:
    done = check(changed(old, new, "peer.py"), "--case", "secure.nonces")
    assert done.returncode == 1, done.stdout
    first = panels(done)[0]
    assert [word for word in words if word not in first] == [], done.stdout
