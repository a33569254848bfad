"""Use an installed wheel as somebody would on the first day; no test framework, no checkout.

    python -I tools/smoke_test.py [PUPPET]

Without PUPPET the library alone: a secure call over each front end, the command. With it also the conformance suite:
the list of cases, and a check of that peer (a Python program).
"""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import bokbok
import bokbok.asyncio

BIN = Path(sys.executable).parent


def command(*args: str, status: int = 0) -> str:
    """Run a program of the environment; what it prints."""
    done = subprocess.run([str(BIN / args[0]), *args[1:]], capture_output=True, text=True)
    assert done.returncode == status, f"{args}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def installed() -> None:
    """What is imported is the wheel, with its marker for type checkers."""
    folder = Path(bokbok.__file__).parent
    assert BIN.parent in folder.parents, folder
    assert (folder / "py.typed").is_file()


def secure_calls() -> None:
    """Both front ends, with a key, and a wrong one."""
    key = bokbok.passphrase_to_key("mypassphrase")

    def handle(connection: bokbok.Connection, message: object) -> object:
        return [connection.user, message]

    with bokbok.start_server("smoke.sock", handle, user_to_key={"myuser": key}.get):
        with bokbok.open_connection("smoke.sock", "myuser", key) as connection:
            assert connection.request(["ping", 1]) == ["myuser", ["ping", 1]]

        async def ask() -> object:
            async with bokbok.asyncio.open_connection("smoke.sock", "myuser", key) as connection:
                return await connection.request(["ping", 2])

        assert asyncio.run(ask()) == ["myuser", ["ping", 2]]
        wrong = bokbok.passphrase_to_key("wrong")
        with bokbok.open_connection("smoke.sock", "myuser", wrong) as connection:
            try:
                connection.request("anything")
            except bokbok.ConnectionClosed:
                return
    raise AssertionError("a wrong key was taken")


def commands() -> None:
    """The command line: its version, its help, a served call."""
    assert command("bokbok", "--version").startswith(f"bokbok, version {bokbok.__version__}")
    server = subprocess.Popen(
        [str(BIN / "bokbok"), "serve", "served.sock", "--quiet"], stdout=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "served.sock\n"
        assert command("bokbok", "call", "served.sock", '("ping" "12345")') == '("pong" "12345")\n'
        server.terminate()
    assert server.returncode == 0


def without_the_suite() -> None:
    """The suite's commands say what is missing, on one line."""
    done = subprocess.run([str(BIN / "bokbok"), "decode", "x"], capture_output=True, text=True)
    assert done.returncode == 2, done
    assert "pip install 'bokbok[interop]'" in done.stderr, done.stderr


def suite(puppet: str) -> None:
    """The cases, and one chapter of them against a peer."""
    assert len(command("bokbok-interop", "list").splitlines()) > 300
    peer = f"{shlex.quote(sys.executable)} {shlex.quote(puppet)}"
    print(command("bokbok-interop", "check", peer, "--chapter", "errors", "--quiet", "--html", "page.html"))
    assert "<html" in Path("page.html").read_text("utf-8")


def main() -> None:
    """All of it, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        installed()
        secure_calls()
        commands()
        if len(sys.argv) > 1:
            suite(sys.argv[1])
        else:
            without_the_suite()
        os.chdir("/")
    print("the smoke test passed")


main()
