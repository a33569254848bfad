from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bokbok_interop.cli import main
from bokbok_interop.cli._choices import choose_peers

MINIMAL = f"{sys.executable} {Path(__file__).parents[2] / 'interop' / 'examples' / 'minimal' / 'puppet.py'}"
FEW = ["--case", "request.echo", "--case", "errors.remote-message", "--transport", "unix"]


def only(peer: str) -> list[str]:
    """`run` with this peer, `NAME=COMMAND`, and no other."""
    return ["run", "--peers", "", "--peer", peer]


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--peers", "nobody"], "unknown peer 'nobody'"),
        (["--peer", "nonsense"], "expected NAME=COMMAND"),
        (["--peer", "a=x", "--peer", "a=y"], "given twice"),
        (["--peer", "a/b=x"], "cannot be a peer's name"),
        (["--peer", "a='unclosed"], "cannot be read"),
        (["--peers", ""], "no peer is left"),
        (["--chapter", "nope"], "unknown name 'nope' (known: preflight"),
        (["--case", "no.such.*"], "no cell matches"),
        (["--client", "nobody"], "unknown name '"),
        (["--shard", "6/5"], "expected K/N"),
        (["--shard", "x"], "expected K/N"),
        (["--profile", "nope"], "nope"),
        (["--timeout", "0"], "timeout"),
    ],
)
def test_a_wrong_command_line_is_refused_with_status_2(words: list[str], problem: str) -> None:
    result = invoke("run", *words)
    assert result.exit_code == 2
    assert problem in result.output


def test_a_small_matrix_of_real_peers_passes_and_writes_both_reports(tmp_path: Path) -> None:
    result = invoke(
        "run",
        "--peers",
        "python-sync,python-asyncio",
        *FEW,
        "--json",
        str(tmp_path / "r.json"),
        "--junit",
        str(tmp_path / "r.xml"),
        "-q",
    )
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["summary"] == {"passed": 16, "failed": 0, "unsupported": 0, "absent": 0}
    assert {(c["client"], c["server"]) for c in document["cells"]} == {
        (a, b) for a in ("python-sync", "python-asyncio") for b in ("python-sync", "python-asyncio")
    }
    assert all(
        set(cell) >= {"client", "server", "transport", "security", "case", "outcome", "reason"}
        for cell in document["cells"]
    )
    suites = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert suites.get("tests") == "16"
    assert suites.get("failures") == "0"


def test_an_absent_peer_is_shown_with_the_reason_and_costs_no_status_zero(tmp_path: Path) -> None:
    result = invoke(
        *only(f"minimal={MINIMAL}"),
        "--peer",
        "ghost=/no/such/program",
        *FEW,
        "--json",
        str(tmp_path / "r.json"),
    )
    document = json.loads((tmp_path / "r.json").read_text())
    outcomes = {(c["client"], c["server"]): c["outcome"] for c in document["cells"]}
    assert outcomes["minimal", "minimal"] == "passed"
    assert outcomes["minimal", "ghost"] == outcomes["ghost", "minimal"] == outcomes["ghost", "ghost"] == "absent"
    assert "/no/such/program" in result.output
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ("all", ["python-sync", "chicken5", "minimal", "chicken4", "chicken5@docker", "chicken4-egg@docker"]),
        ("*@docker", ["chicken5@docker", "chicken4-egg@docker"]),
        ("chicken5,python-*", ["chicken5", "python-sync", "python-asyncio"]),
    ],
)
def test_peers_are_chosen_by_globs_and_all_of_them_at_once(names: str, chosen: list[str]) -> None:
    peers = list(choose_peers(names, []))
    assert [peer for peer in peers if peer in chosen] == chosen
    assert ("python-sync" in peers) == ("python-sync" in chosen)


def test_a_failure_has_status_1_and_shows_the_requirement(tmp_path: Path) -> None:
    puppet = tmp_path / "liar.py"
    source = (Path(MINIMAL.split()[1]).read_text()).replace("return x\n", "return [x]\n", 1)
    puppet.write_text(source)
    for name in ("peer.py", "sexpr.py"):
        (tmp_path / name).symlink_to(Path(MINIMAL.split()[1]).parent / name)
    result = invoke(
        *only(f"liar={sys.executable} {puppet}"),
        "--case",
        "request.echo",
        "--security",
        "insecure",
        "--transport",
        "tcp",
        "--json",
        str(tmp_path / "r.json"),
        "--junit",
        str(tmp_path / "r.xml"),
    )
    assert result.exit_code == 1
    assert "blocks waiting" in result.output
    assert "expected" in result.output
    cell = json.loads((tmp_path / "r.json").read_text())["cells"][0]
    assert cell["expected"] == '"hello"'
    assert cell["actual"] == '("hello")'
    assert '(request 0 ("echo" "hello"))' in cell["evidence"]["dump"]
    assert "hello" in ElementTree.parse(tmp_path / "r.xml").getroot().find(".//failure").text


def test_json_to_standard_output_is_nothing_but_json() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bokbok_interop",
            *only(f"minimal={MINIMAL}"),
            "--case",
            "request.echo",
            "--json",
            "-",
        ],
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["summary"]["passed"] == 4


def test_a_report_that_cannot_be_written_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    result = invoke(
        *only(f"minimal={MINIMAL}"),
        "--case",
        "request.echo",
        "--json",
        str(tmp_path / "no" / "r.json"),
        "-q",
    )
    assert result.exit_code == 2
    assert "cannot be written" in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_reports_what_was_done_and_leaves_no_process(tmp_path: Path, number: int) -> None:
    report = tmp_path / "r.json"
    pids = tmp_path / "pids"
    puppet = tmp_path / "noting.py"
    puppet.write_text(
        f"import os, runpy, sys\nopen({str(pids)!r}, 'a').write('%d ' % os.getpid())\n"
        f"sys.path.insert(0, {str(Path(MINIMAL.split()[1]).parent)!r})\n"
        f"runpy.run_path({MINIMAL.split()[1]!r}, run_name='__main__')\n"
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bokbok_interop",
            *only(f"m={sys.executable} {puppet}"),
            "--case",
            "request.echo",
            "--case",
            "lifecycle.idle",
            "--json",
            str(report),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    until = time.monotonic() + 30
    while not (pids.exists() and len(pids.read_text().split()) >= 8) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    document = json.loads(report.read_text())
    assert document["interrupted"] is True
    assert document["planned"] == 6
    assert len(document["cells"]) < 6
    assert "interrupted" in output
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not list(tmp_path.glob("bokbok-*"))


def test_check_gives_a_verdict_for_each_chapter(tmp_path: Path) -> None:
    result = invoke(
        "check",
        MINIMAL,
        "--against",
        "python-sync",
        "--chapter",
        "errors",
        "--case",
        "errors.remote-*",
        "-q",
        "--html",
        str(tmp_path / "r.html"),
    )
    assert result.exit_code == 0, result.output
    assert "conforms" in result.output
    assert "it calls itself minimal 1" in result.output
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_check_of_a_program_that_is_not_there_says_so() -> None:
    result = invoke("check", "/no/such/puppet", "--chapter", "errors", "-q")
    assert result.exit_code == 3
    assert "the program /no/such/puppet was not found" in result.output


def test_shards_merge_to_the_whole(tmp_path: Path) -> None:
    whole = [*only(f"minimal={MINIMAL}"), *FEW, "-q", "--json"]
    for number in (1, 2):
        assert invoke(*whole, str(tmp_path / f"{number}.json"), "--shard", f"{number}/2").exit_code == 0
    merged = invoke("merge", str(tmp_path / "1.json"), str(tmp_path / "2.json"), "--json", str(tmp_path / "m.json"))
    assert merged.exit_code == 0
    assert json.loads((tmp_path / "m.json").read_text())["summary"]["passed"] == 4
