"""The command line: describing, recording, serving and connecting."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from random import Random

import pytest
from click.testing import CliRunner, Result

from tests.support.foreign import GROUPS, Capture, Format, all_kinds, interesting_formats, random_format
from tests.support.foreign.__main__ import main

ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments: str) -> Result:
    """Runs a command in this process."""
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_formats_describes_as_many_as_asked_for() -> None:
    lines = run("formats", "--seed", "5", "--count", "3", "--json").output.splitlines()
    described = [json.loads(line) for line in lines]
    assert [item["seed"] for item in described] == [5, 6, 7]
    for item in described:
        assert Format.from_description(item).name == item["name"]
    assert run("formats", "--seed", "5", "--count", "3").output.count("framing") == 3


def test_formats_can_be_asked_for_by_group_kind_name_and_file(tmp_path: pathlib.Path) -> None:
    def described(*arguments: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(run("formats", "--json", *arguments).output)
        return found

    for group in GROUPS:
        assert described("--group", group)["group"] == group
    assert described("--kind", "hello:banner")["group"] == "may occur"
    assert described("--name", "counters")["name"] == interesting_formats()["counters"].name
    assert described("--insecure")["secure"] is False
    path = tmp_path / "format.json"
    path.write_text(json.dumps(described("--seed", "9")))
    assert described("--format", str(path))["name"] == described("--seed", "9")["name"]


@pytest.mark.parametrize("arguments", [["--kind", "hello:nobody"], ["--kind", "cipher:no tag", "--insecure"]])
def test_what_cannot_be_is_refused(arguments: list[str]) -> None:
    result = run("formats", *arguments)
    assert result.exit_code == 2
    assert "Error" in result.output


def test_a_file_that_describes_no_format_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "format.json"
    path.write_text("{}")
    assert run("formats", "--format", str(path)).exit_code == 2


def test_kinds_lists_all() -> None:
    output = run("kinds").output
    assert len(output.splitlines()) == sum(len(all_kinds(group)) for group in GROUPS)
    assert "hello:banner" in output


def test_record_writes_a_recording_and_says_of_what(tmp_path: pathlib.Path) -> None:
    path, script, secret = (tmp_path / name for name in ("capture.jsonl", "script", "secret"))
    script.write_text('("ping" "1") ; and no more\n')
    secret.write_text("a secret\n")
    arguments = ["--seed", "3", "--script", str(script), "--user", "me", "--passphrase-file", str(secret)]
    result = run("record", "--out", str(path), "--secure", "--connections", "3", *arguments)
    assert result.exit_code == 0
    assert json.loads(result.output)["secure"] is True
    assert Capture.load(path).connections() == [0, 1, 2]


def test_record_of_the_demo(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "capture.jsonl"
    assert run("record", "--out", str(path), "--demo", "--name", "inferred-1-insecure").exit_code == 0
    assert b'(request 1 ("asynch"))' in Capture.load(path).stream("client")


def command(*arguments: str) -> list[str]:
    """The command, for a process of its own."""
    return [sys.executable, "-m", "tests.support.foreign", *arguments]


def test_serve_and_connect(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script"
    script.write_text('("ping" "1") ("fail" "oh no") ("callback" 1 x)')
    which = ["--seed", "11", "--secure"]
    serving = subprocess.Popen(command("serve", *which, "127.0.0.1:0"), stdout=subprocess.PIPE, cwd=ROOT, text=True)
    with serving:
        try:
            assert serving.stdout is not None
            address = serving.stdout.readline().strip()
            result = subprocess.run(
                command("connect", *which, address, "--script", str(script), "--connections", "2"),
                capture_output=True,
                text=True,
                cwd=ROOT,
                check=False,
            )
            wrong_format = run("connect", "--name", "inferred-1-insecure", address, "--script", str(script))
        finally:
            serving.terminate()
        assert serving.wait(20) == 0
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert lines[:3] == lines[3:]
    assert lines[0] == 'answer: ("pong" "1")'
    assert lines[1].startswith("error: ")
    assert "oh no" in lines[1]
    assert lines[2] == "answer: ((0 x))"
    assert random_format(Random(11), secure=True).name in result.stderr
    assert wrong_format.exit_code == 1


def test_connect_to_nobody_says_so(tmp_path: pathlib.Path) -> None:
    result = run("connect", str(tmp_path / "nobody"))
    assert result.exit_code == 1
    assert "Error: " in result.output
