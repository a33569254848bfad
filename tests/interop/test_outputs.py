"""Results are safe, and text from others is only text: through the command line."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MINIMAL = f"{sys.executable} {ROOT / 'interop' / 'examples' / 'minimal' / 'puppet.py'}"
RUN = ["run", "--peers", "", "--peer", f"mine={MINIMAL}"]
FEW = [*RUN, "--case", "errors.remote-*", "--transport", "unix"]
MANY = [*RUN, "--chapter", "errors", "--chapter", "lifecycle", "--jobs", "1", "--quiet"]


def command(*words: str | bytes) -> list[str | bytes]:
    return [sys.executable, "-m", "bokbok_interop", *words]


def suite(*words: str | bytes, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*words),
        capture_output=True,
        timeout=100,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    text = [stream.decode("utf-8", "backslashreplace") for stream in (done.stdout, done.stderr)]
    assert "Traceback" not in "".join(text), text
    return subprocess.CompletedProcess(done.args, done.returncode, *text)


@contextlib.contextmanager
def running(*words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_lines(file: Path, count: int) -> None:
    until = time.monotonic() + 60
    while not file.exists() or file.read_bytes().count(b"\n") < count:
        assert time.monotonic() < until, "the journal does not grow"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("results") / "r.json"
    assert suite(*FEW, "--json", str(file)).returncode == 0
    found: dict[str, Any] = json.loads(file.read_bytes())
    return found


def write(file: Path, document: Any) -> str:
    file.write_text(json.dumps(document))
    return str(file)


# ------------------------------------------------------------------------------------------------ files are safe


def test_a_run_that_is_killed_leaves_a_journal_that_reads_as_results(tmp_path: Path) -> None:
    journal = tmp_path / "r.json.journal"
    with running(*MANY, "--json", str(tmp_path / "r.json")) as process:
        wait_for_lines(journal, 4)
        process.kill()
        process.wait()
    assert not (tmp_path / "r.json").exists()
    done = suite("merge", str(journal), "--json", str(tmp_path / "merged.json"))
    assert done.returncode == 130, done.stderr
    merged = json.loads((tmp_path / "merged.json").read_bytes())
    assert len(merged["cells"]) >= 3
    assert merged["interrupted"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_interrupted_writes_what_it_has(tmp_path: Path, number: signal.Signals) -> None:
    with running(*MANY, "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")) as process:
        wait_for_lines(tmp_path / "r.json.journal", 4)
        process.send_signal(number)
        assert process.wait(timeout=20) == 130
    document = json.loads((tmp_path / "r.json").read_bytes())
    assert document["interrupted"]
    assert len(document["cells"]) >= 3
    assert sorted(os.listdir(tmp_path)) == ["r.html", "r.json"]  # and neither a journal nor a draft


def test_nothing_is_played_where_a_report_could_not_be_written(tmp_path: Path) -> None:
    good = tmp_path / "r.xml"
    done = suite(*FEW, "--junit", str(good), "--json", str(tmp_path / "no" / "r.json"), "--html", str(tmp_path))
    assert done.returncode == 2
    assert "no/r.json cannot be written: No such file or directory" in done.stderr
    assert f"{tmp_path} cannot be written: it is a folder" in done.stderr
    assert "playing" not in done.stdout
    assert os.listdir(tmp_path) == []


def test_a_report_that_fails_at_the_end_fails_alone_and_with_a_status_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    puppet = f"sh -c {shlex.quote(f'rm -rf {tmp_path}/gone; exec {MINIMAL}')}"
    words = ["run", "--peers", "", "--peer", f"mine={puppet}", "--case", "errors.remote-error", "--transport", "unix"]
    done = suite(
        *words,
        *("--html", str(tmp_path / "gone" / "r.html")),
        *("--junit", str(tmp_path / "r.xml"), "--json", str(tmp_path / "r.json")),
    )
    assert done.returncode == 4, done.stderr
    assert "gone/r.html cannot be written: No such file or directory" in done.stderr
    assert "2 passed" in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["r.json", "r.xml"]


def test_a_reader_that_goes_takes_no_results_along(tmp_path: Path) -> None:
    with running(*FEW, "--json", str(tmp_path / "r.json")) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stdout = None
    assert json.loads((tmp_path / "r.json").read_bytes())["summary"]["passed"] > 0


def test_ctrl_c_does_not_wait_for_a_container_engine(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as engine:  # which takes connections, and never answers
        engine.bind(str(tmp_path / "engine"))
        engine.listen(20)
        words = [*RUN, "--peer", "held=docker:some/image", "--json", str(tmp_path / "r.json")]
        with running(*words, DOCKER_HOST=f"unix://{tmp_path / 'engine'}") as process:
            engine.settimeout(60)
            engine.accept()[0].close()
            begin = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
            took = time.monotonic() - begin
    assert took < 6, took  # two seconds, on a machine that is not busy
    assert json.loads((tmp_path / "r.json").read_bytes())["interrupted"]


# --------------------------------------------------------------------------------------- odd words, odd terminals


def test_a_terminal_without_the_characters_gets_others() -> None:
    done = suite(*FEW, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout


@pytest.mark.parametrize("words", [["list"], ["list", "--coverage"], ["list", "--json"]])
def test_lists_end_in_no_traceback_on_such_a_terminal(words: list[str]) -> None:
    assert suite(*words, PYTHONIOENCODING="latin-1").returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        [b"run", b"--case", b"\xff*"],
        [b"run", b"--peers", b"\xff"],
        [b"run", b"--peers", b"", b"--peer", b"\xff=true", b"--case", b"request.echo"],
        [b"run", b"--peers", b"", b"--peer", b"a\x1b[31m=true", b"--case", b"request.echo"],
        [b"run", b"--profile", b"\xff"],
        [b"check", b"\xff"],
        [b"check", b"true", b"--name", b"\xff\x1b[0m", b"--case", b"request.echo"],
        [b"html", b"\xff", b"\xfe"],
        [b"diff", b"\xff", b"\xff"],
        [b"merge", b"\xff"],
        [b"decode", b"\xff"],
        [b"list", b"--case", b"\xff"],
        [b"list", b"--chapter", b"\x1b[31m"],
    ],
)
def test_no_argument_ends_in_a_traceback(words: list[bytes]) -> None:
    done = suite(*words, PYTHONIOENCODING="latin-1")
    assert done.returncode in (0, 1, 2, 3), done.stderr
    assert "fault of bokbok's own" not in done.stderr


def test_an_argument_that_is_not_utf8_is_kept_in_every_report(tmp_path: Path) -> None:
    reports = [word for kind in ("json", "junit", "html") for word in (f"--{kind}", str(tmp_path / f"r.{kind}"))]
    done = suite(*FEW, "--case", b"\xff", *reports)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["r.html", "r.json", "r.junit"]
    assert "\udcff" in json.loads((tmp_path / "r.json").read_bytes())["command"]


# ------------------------------------------------------------------------------------ what others wrote is text

ODD = "[/dev/net/tun] [bold]\x1b[31m\x1b]0;title\x07\x9b5m\u202e:smile:"


def is_text(output: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", output), ascii(output)


def test_a_puppets_words_are_text(tmp_path: Path) -> None:
    puppet = tmp_path / "puppet.py"
    puppet.write_text(
        "import sys\n"
        f"print({ODD!r}, file=sys.stderr)\n"
        "for line in sys.stdin:\n"
        "    number, verb = line.strip('()\\n').split()[:2]\n"
        f"    odd = {ODD!r}.replace('\\x1b', '\\\\x1b').replace('\\x07', '\\\\a')\n"
        '    says = f\'ok "{odd}" "{odd}" (puppet-1 tcp unix secure insecure reference)\'\n'
        "    print(f'({number} {says})' if verb == 'hello' else f'({number} network-error \"{odd}\")', flush=True)\n"
    )
    done = suite("check", f"{sys.executable} {puppet}", "--case", "errors.remote-error", "--case", "connect.tcp-*")
    assert done.returncode == 1, done.stderr
    assert "[/dev/net/tun] [bold]" in done.stdout
    assert ":smile:" in done.stdout
    is_text(done.stdout + done.stderr)


def test_results_of_others_are_text(tmp_path: Path, results: dict[str, Any]) -> None:
    bad = json.loads(json.dumps(results).replace("mine", "m[/x]\\u001b"))
    for cell in bad["cells"]:
        cell |= {"outcome": "failed", "reason": ODD, "expected": ODD, "actual": ODD}
        cell["evidence"] = {"datums": [], "packets": [], "client_log": ODD}
    good = json.loads(json.dumps(bad))
    for cell in good["cells"]:
        cell |= {"outcome": "passed"}
    paths = [write(tmp_path / "good.json", good), write(tmp_path / "bad.json", bad)]
    for words in (["diff", *paths], ["merge", *paths]):
        done = suite(*words)
        assert done.returncode == 1, done.stderr
        assert "[/dev/net/tun]" in done.stdout
        is_text(done.stdout + done.stderr)


@pytest.mark.parametrize("words", [["html", "FILE", "OUT"], ["merge", "FILE", "--html", "OUT"]])
@pytest.mark.parametrize("packed", ["</script><script>alert(1)</script>", "AAAA\n</script>", "=AAA"])
def test_what_is_put_into_the_page_is_what_it_says(
    tmp_path: Path, results: dict[str, Any], words: list[str], packed: str
) -> None:
    bad = json.loads(json.dumps(results))
    bad["cells"][0]["packed"] = packed
    names = {"FILE": write(tmp_path / "bad.json", bad), "OUT": str(tmp_path / "r.html")}
    done = suite(*(names.get(word, word) for word in words))
    assert done.returncode == 2
    assert re.search(r"bad\.json: cells\[0\]\.packed ", done.stderr), done.stderr
    assert len(done.stderr.splitlines()[-1]) < 700
    assert not (tmp_path / "r.html").exists()


def test_the_page_lets_its_own_script_run_and_nothing_else(tmp_path: Path, results: dict[str, Any]) -> None:
    suite("html", write(tmp_path / "r.json", results), str(tmp_path / "r.html"))
    page = (tmp_path / "r.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        (own,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{directive} &#39;sha256-{digest}&#39;" in policy[1].replace("&#43;", "+")
    assert "unsafe" not in policy[1]
    assert not re.search(r"<[a-z]+ [^>]*\b(style|on[a-z]+)=", page)


# ------------------------------------------------------------------------------------------- files that are wrong


def test_merge_has_the_status_of_what_it_merges(tmp_path: Path, results: dict[str, Any]) -> None:
    good = write(tmp_path / "good.json", results)
    interrupted = write(tmp_path / "interrupted.json", {**results, "interrupted": True})
    empty = write(tmp_path / "empty.json", {**results, "cells": []})
    gone = {"name": "theirs", "given": True, "absent": "there is no such program"}
    absent = write(tmp_path / "absent.json", {**results, "peers": [*results["peers"], gone]})
    assert suite("merge", good, good).returncode == 0
    assert suite("merge", good, interrupted).returncode == 130
    assert suite("merge", empty).returncode == 3
    assert suite("merge", good, absent).returncode == 3


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"", r"is not JSON"),
        (b"\xff", r"is not JSON: byte 0 of the file is not UTF-8"),
        (b"[" * 100_000, r"is not JSON"),
        (b"[]", r'holds no results: expected "bokbok-interop": 1'),
        (b'{"bokbok-interop": 2}', r'holds no results: expected "bokbok-interop": 1'),
        (b'{"bokbok-interop": 1}', r"must contain"),
        (b'{"bokbok-interop-journal": 1, "bokbok-interop": 1}\n7\n', r"expected an object in each line"),
        (b'{"bokbok-interop-journal": 1, "bokbok-interop": 1}\n{\n', r"line 2 is not JSON"),
    ],
)
@pytest.mark.parametrize("words", [["merge"], ["diff", "FILE"], ["html"]])
def test_a_file_that_holds_no_results_is_told_in_one_line(
    tmp_path: Path, words: list[str], text: bytes, where: str
) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(text)
    more = [str(tmp_path / "out.html")] if words == ["html"] else []
    done = suite(*(str(file) if word == "FILE" else word for word in words), str(file), *more)
    assert done.returncode == 2
    assert re.search(where, done.stderr.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"summary": 5}, "summary must be object"),
        ({"cells": [5]}, r"cells\[0\] must be object"),
        ({"seconds": None}, "seconds must be number"),
        ({"shard": "2/x"}, "shard must match pattern"),
        ({"peers": [{}]}, r"peers\[0\] must contain"),
        ({"cases": {"x": 1}}, "cases must be array"),
    ],
)
def test_results_of_a_wrong_form_say_where(
    tmp_path: Path, results: dict[str, Any], change: dict[str, Any], where: str
) -> None:
    done = suite("merge", write(tmp_path / "r.json", {**results, **change}))
    assert done.returncode == 2
    assert re.search(rf"r\.json: {where}", done.stderr.splitlines()[-1]), done.stderr
