"""The commands: their options, their reports, their exit statuses."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bokbok import service
from bokbok.sync import open_connection, start_server
from bokbok.wire import INFERRED_1, get_profile, passphrase_to_key
from bokbok.wire.framing import IntegerLength
from bokbok.wire.packets import PacketForm
from bokbok_interop.cli import main
from bokbok_traffic.recording import load_recording
from tests.support.calibrating import recording, saved

OTHER = dataclasses.replace(INFERRED_1, framing=IntegerLength("u16-le"), packets=PacketForm("hex", b"!", b"?"))


@pytest.fixture
def calibrate(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command for a user whose passphrase is in a file."""
    secret = tmp_path / "pass"
    secret.write_text("mypassphrase\n")
    secret.chmod(0o600)

    def run(*arguments: str | Path) -> Result:
        words = ["calibrate", *map(str, arguments), "--user", "myuser", "--passphrase-file", str(secret)]
        result = CliRunner().invoke(main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def test_read_writes_every_report_that_is_asked_for(calibrate: Callable[..., Result], tmp_path: Path) -> None:
    capture = saved(recording(OTHER), tmp_path / "session.jsonl")
    toml, report, page = tmp_path / "egg.toml", tmp_path / "report.json", tmp_path / "report.html"
    result = calibrate("read", capture, "--out", toml, "--json", report, "--html", page)
    assert result.exit_code == 0, result.output
    assert "it differs in framing, packets" in result.output
    assert get_profile(toml).name == "egg"
    document = json.loads(report.read_text())
    assert (document["status"], document["default"]) == (0, False)
    assert page.read_text().startswith("<!doctype html>")


def test_a_profile_that_was_written_is_spoken(calibrate: Callable[..., Result], tmp_path: Path) -> None:
    toml, place = tmp_path / "egg.toml", str(tmp_path / "s")
    assert calibrate("read", saved(recording(OTHER), tmp_path / "session.jsonl"), "--out", toml).exit_code == 0
    key = passphrase_to_key("mypassphrase", profile=toml)
    with (
        start_server(place, service.handler(), user_to_key=lambda _: key, profile=OTHER),
        open_connection(place, user="myuser", key=key, profile=toml) as ours,
    ):
        assert ours.request(["ping", "1"], timeout=30) == ["pong", "1"]


def test_the_report_as_json_goes_to_standard_output_alone(calibrate: Callable[..., Result], tmp_path: Path) -> None:
    result = calibrate("read", saved(recording(INFERRED_1), tmp_path / "session.jsonl"), "--json", "-")
    assert json.loads(result.stdout)["verdict"].startswith("default profile, exact")
    assert "verdict: default profile, exact" in result.stderr


def test_where_several_fit_the_status_is_3_and_what_would_tell_is_printed(
    calibrate: Callable[..., Result], tmp_path: Path
) -> None:
    recorded = recording(INFERRED_1, lines=('("ping" "12345")',))
    for one in recorded:
        one.server = b""
    result = calibrate("read", saved(recorded, tmp_path / "session.jsonl"))
    assert result.exit_code == 3
    assert "the recording leaves open:" in result.output


def test_where_none_fits_the_status_is_4_and_no_profile_is_written(
    calibrate: Callable[..., Result], tmp_path: Path
) -> None:
    recorded = recording(INFERRED_1, passphrase="another", connections=1)
    result = calibrate("read", saved(recorded, tmp_path / "session.jsonl"), "--out", tmp_path / "egg.toml")
    assert result.exit_code == 4
    assert "no box opens under any key derived from this passphrase" in result.output
    assert not (tmp_path / "egg.toml").exists()


def test_with_a_key_file_the_derivation_is_given(tmp_path: Path) -> None:
    key = tmp_path / "my.key"
    key.write_text(passphrase_to_key("mypassphrase").to_bytes().hex() + "\n")
    key.chmod(0o600)
    capture = saved(recording(INFERRED_1), tmp_path / "session.jsonl")
    words = ["calibrate", "read", str(capture), "--user", "myuser", "--key-file", str(key)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0
    assert "the user's key is given" in result.output


def test_datums_of_ones_own_are_known_once_they_are_given(tmp_path: Path) -> None:
    lines = ('("whoami")',) * 3
    capture = saved(recording(INFERRED_1, secure=False, lines=lines), tmp_path / "session.jsonl")
    said = tmp_path / "said"
    said.write_text("; what it says\n" + "\n".join(lines))
    words = ["calibrate", "read", str(capture), "--insecure"]
    assert CliRunner().invoke(main, words).exit_code == 3
    assert CliRunner().invoke(main, [*words, "--messages", str(said)]).exit_code == 0


def test_a_passphrase_that_others_can_read_is_warned_of(calibrate: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "pass").chmod(0o644)
    result = calibrate("read", saved(recording(INFERRED_1), tmp_path / "session.jsonl"))
    assert "others than its owner have access" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["read", "{tmp}/nothing"], "No such file"),
        (["read", "{tmp}/pass"], "line 1, column 1: expected"),
        (["read", "{tmp}"], "Is a directory"),
        (["read", "{tmp}/pass", "--server", "nowhere"], "expected HOST:PORT or :PORT"),
        (["read", "{tmp}/pass", "--out", "{tmp}/no/egg.toml"], "does not exist"),
        (["read", "{tmp}/pass", "--html", "{tmp}"], "it is a folder"),
        (["read", "{tmp}/pass", "--messages", "{tmp}/nothing"], "--messages .*No such file"),
        (["read", "{tmp}/pass", "--messages", "{tmp}/open"], "--messages .*line 2"),
        (["probe", "{tmp}/socket"], "the server cannot be reached: No such file"),
        (["probe", "127.0.0.1:70000"], "a port from 0 to 65535"),
        (["listen", "{tmp}/no/socket"], "No such file"),
        (["proxy", "{tmp}/no/socket", "{tmp}/socket"], "No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_a_line(
    calibrate: Callable[..., Result], tmp_path: Path, arguments: list[str], problem: str
) -> None:
    (tmp_path / "open").write_text("(whole)\n(open")
    result = calibrate(*(word.replace("{tmp}", str(tmp_path)) for word in arguments))
    assert result.exit_code == 2
    lines = click.unstyle(result.stderr).splitlines()
    assert lines[-1].startswith("Error: ")
    assert re.search(problem, lines[-1])


def test_a_server_that_is_probed_from_the_command_line_is_recorded(
    calibrate: Callable[..., Result], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    key = passphrase_to_key("mypassphrase")
    with start_server(place, service.handler(), user_to_key=lambda _: key):
        result = calibrate("probe", place, "--record", tmp_path / "probed.jsonl")
    assert result.exit_code == 0, result.output
    assert "default profile, exact" in result.output
    assert calibrate("read", tmp_path / "probed.jsonl").exit_code == 0


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def test_what_passed_is_in_the_file_before_it_comes_back_whatever_ends_the_recording(tmp_path: Path) -> None:
    up, here, file = (str(tmp_path / name) for name in ("up", "here", "r.jsonl"))
    words = [sys.executable, "-m", "bokbok_interop", "calibrate", "proxy", here, up, "--record", file, "--insecure"]
    async with await asyncio.start_unix_server(_echo, up):
        proxy = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
        assert proxy.stderr is not None
        await proxy.stderr.readuntil(b"listening at")
        reader, writer = await asyncio.open_unix_connection(here)
        for piece in (b"said", b"and said"):
            writer.write(piece)
            await reader.readexactly(len(piece))
        proxy.kill()
        await proxy.wait()
        writer.close()
    (recorded,) = load_recording(file).connections
    assert (recorded.client, recorded.server) == (b"saidand said", b"saidand said")
    assert Path(file).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("command", [["listen", "{tmp}/s"], ["probe", "{tmp}/s"], ["proxy", "{tmp}/s", "{tmp}/up"]])
def test_a_recording_that_cannot_be_written_is_said_before_the_conversation(
    calibrate: Callable[..., Result], tmp_path: Path, command: list[str]
) -> None:
    words = [word.replace("{tmp}", str(tmp_path)) for word in command]
    result = calibrate(*words, "--record", tmp_path / "pass" / "r.jsonl")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert "listening" not in result.stderr
