"""The systemd unit of the bridge: the command takes its command line, and systemd finds no fault with it."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest

from bokbok import open_connection, passphrase_to_key

UNIT = pathlib.Path(__file__).parents[2] / "examples" / "bokbok-bridge.service"


def test_its_command_line_starts_a_bridge(tmp_path):
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart="))
    program, verb, *args = shlex.split(line.removeprefix("ExecStart="))
    assert (program, verb) == ("/usr/local/bin/bokbok", "bridge")
    assert args[:2] == [":8000", "old.example:4444"]
    for name in ("users.toml", "target-users.toml"):
        (tmp_path / name).write_text('alice = "secret"\n')
        (tmp_path / name).chmod(0o600)
    (tmp_path / "old.toml").write_text('bokbok-profile = 1\nname = "old"\n')
    command = [sys.executable, "-m", "bokbok"]
    with subprocess.Popen(
        [*command, "serve", "s", "--users", "users.toml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        assert server.stdout.readline() == b"s\n"
        with subprocess.Popen(
            [*command, verb, "b", "s", *args[2:]], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as bridge:
            assert bridge.stdout.readline() == b"b\n"
            with open_connection(os.fspath(tmp_path / "b"), "alice", passphrase_to_key("secret")) as connection:
                assert connection.request(["whoami"]) == "alice"
            bridge.terminate()
            assert bridge.wait() == 0
        server.terminate()


def test_systemd_finds_no_fault(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / UNIT.name
    text = UNIT.read_text().replace("/usr/local/bin/bokbok", "/bin/true")  # which need not be installed there
    unit.write_text(text.replace("User=bokbok", "User=root"))
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True)
    assert UNIT.name not in done.stderr
