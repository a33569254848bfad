"""The systemd units: the command accepts their command lines, and systemd accepts the units."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest

from bokbok import open_connection, passphrase_to_key

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def arguments(unit):
    """The command's name and its arguments, of a unit's command line."""
    lines = (EXAMPLES / unit).read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("ExecStart="))
    program, *args = shlex.split(line.removeprefix("ExecStart="))
    assert program == "/usr/local/bin/bokbok"
    return args


def test_its_command_line_starts_a_bridge(tmp_path):
    verb, *args = arguments("bokbok-bridge.service")
    assert verb == "bridge"
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


def test_its_command_line_starts_a_server(tmp_path):
    verb, *args = arguments("bokbok-serve.service")
    assert (verb, args[0]) == ("serve", ":8000")
    assert args[-2:] == ["--metrics", "/run/bokbok/metrics"]
    operating = (EXAMPLES.parent / "docs" / "operating.md").read_text()
    (tmp_path / "limits.toml").write_text(operating.split("```toml\n")[1].split("```")[0])  # those that it recommends
    (tmp_path / "users.toml").write_text('alice = "secret"\n')
    (tmp_path / "users.toml").chmod(0o600)
    (tmp_path / "handlers.py").write_text("def answer(connection, message):\n    return connection.user\n")
    with subprocess.Popen(
        [sys.executable, "-m", "bokbok", verb, "s", *args[1:-1], "metrics"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        assert server.stdout.readline() == b"s\n"
        assert (tmp_path / "metrics").is_socket()
        with open_connection(os.fspath(tmp_path / "s"), "alice", passphrase_to_key("secret")) as connection:
            assert connection.request("x") == "alice"
        server.terminate()
        assert server.wait() == 0


def test_the_activated_service_differs_in_where_it_listens_alone():
    verb, *args = arguments("bokbok-activated.service")
    assert (verb, args[:3]) == ("serve", ["--systemd", "--processes", "4"])
    assert args[3:] == arguments("bokbok-serve.service")[2:]


@pytest.mark.parametrize(
    "name",
    ["bokbok-bridge.service", "bokbok-serve.service", "bokbok-activated.service", "bokbok-activated.socket"],
)
def test_systemd_finds_no_fault(tmp_path, name):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / name
    text = (
        (EXAMPLES / name).read_text().replace("/usr/local/bin/bokbok", "/bin/true")
    )  # which need not be installed there
    for other in EXAMPLES.glob("bokbok-activated.*"):  # a socket and its service need each other
        shutil.copy(other, tmp_path)
    unit.write_text(text.replace("User=bokbok", "User=root"))
    paths = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, env=paths)
    assert name not in done.stderr
