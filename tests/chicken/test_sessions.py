"""The recorded sessions of docs/vectors.md: the egg replays them byte for byte with fixed random bytes, as either side.

Some steps of a session are impossible with the egg's API (sending bytes that no correct program sends, ending only one
direction). The test does these, so the egg plays its side of a session up to such a step.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.secret import SecretBox

from bokbok_interop.vectors import load_sessions
from tests.chicken.driving import PATIENCE, Lines

Session = list[dict[str, Any]]


def playable(role: str) -> list[Any]:
    """The sessions in which the egg, as this side, sends or receives anything."""
    return [pytest.param(session, id=session[0]["name"]) for session in load_sessions() if exchanged(session, role)]


def exchanged(session: Session, role: str) -> list[dict[str, Any]]:
    """The steps up to the first one that the egg's API cannot do as this side."""
    steps = []
    for step in session[1:]:
        if step["from"] == role and step["do"] in ("raw", "eof"):
            break
        steps.append(step)
    return steps


class Replay:
    """The egg as one side, the test as the other."""

    def __init__(self, driver: Lines, role: str, header: dict[str, Any], folder: Path) -> None:
        self.driver = driver
        self.role = role
        self.asked: dict[int, int] = {}  # ID -> the egg's number of the request
        self.requests = 0
        path = folder / "s"
        secure = header["secure"]
        user = f'"{header["user"]}"' if secure else "#f"
        key = header.get("key") if role == "client" else header.get("server-key", header.get("key"))
        key = f'"{key}"' if secure and key else "#f"
        random = header.get(f"{role}-random") or ""
        if role == "client":
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.settimeout(PATIENCE)
            listening.bind(str(path))
            listening.listen()
            assert driver.ask(f'(connect "{path}" {user} {key} "{random}")').startswith("(ok")
            self.socket, _ = listening.accept()
            listening.close()
        else:
            assert driver.ask(f'(listen "{path}" {user} {key} "{random}")').startswith("(ok")
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(str(path))
        self.socket.settimeout(PATIENCE)
        self.user = header["user"] if secure else None
        self.session_key = bytes.fromhex(header["client-random"])[:32] if secure else None

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count and (more := self.socket.recv(count - len(data))):
            data += more
        return data

    def does(self, step: dict[str, Any]) -> None:
        """The egg's own step: its bytes must be the recorded ones."""
        expected = bytes.fromhex(step["bytes"])
        if step["do"] == "request":
            self.driver.send(f'(request "{step["datum"]}")')
        elif step["do"] == "respond":
            self.driver.send(f'(respond {self.asked[step["id"]]} "{step["datum"]}")')
        elif step["do"] == "fail":
            self.driver.send(f'(fail {self.asked[step["id"]]} "{step["message"]}")')
        else:
            assert step["do"] == "hello"
        assert self.exactly(len(expected)) == expected

    def hears(self, step: dict[str, Any]) -> None:
        """The other side's step: the egg must react as recorded."""
        if step["do"] == "eof":
            self.socket.shutdown(socket.SHUT_WR)
        else:
            self.socket.sendall(bytes.fromhex(step["bytes"]))
        if "replies" in step:
            body = self.exactly(int.from_bytes(self.exactly(4), "big"))
            if self.session_key is not None:
                body = SecretBox(self.session_key).decrypt(body)
            beginning = bytes.fromhex(step["replies"])
            assert body[: len(beginning)] == beginning
        for event in step["events"]:
            self.expect(event)

    def expect(self, event: dict[str, Any]) -> None:
        def taken(pattern: str) -> str:
            return self.driver.take(lambda line: re.match(pattern, line) is not None)

        kind = event["event"]
        if kind == "opened":
            taken(re.escape(f'(opened "{self.user}")'))
        elif kind == "request":
            if self.user is None and self.role == "server" and self.requests == 0:
                taken(r"\(opened #f\)")
            line = taken(re.escape(f"(asked {self.requests} "))
            assert line == f'(asked {self.requests} "{event["datum"]}")'
            self.asked[event["id"]] = self.requests
            self.requests += 1
        elif kind == "response":
            taken(re.escape(f'(result response "{event["datum"]}")'))
        elif kind == "error":
            taken(re.escape(f'(result remote "{event["message"]}")'))
        elif kind == "unreadable-answer":
            taken(r"\(result remote ")
        elif kind == "finished":
            taken(r"\(closed\)")
        elif kind == "closed":
            rest = self.socket.recv(65536)
            assert rest == b"", "the egg ends the connection, without a reset and without a word"
        else:
            assert kind == "unreadable-request"


@pytest.mark.parametrize("session", playable("client"))
def test_the_egg_as_client(program: Callable[[str], Path], tmp_path: Path, session: Session) -> None:
    play(program, tmp_path, session, "client")


@pytest.mark.parametrize("session", playable("server"))
def test_the_egg_as_server(program: Callable[[str], Path], tmp_path: Path, session: Session) -> None:
    play(program, tmp_path, session, "server")


def play(program: Callable[[str], Path], folder: Path, session: Session, role: str) -> None:
    driver = Lines(program("internals"))
    replay = None
    try:
        replay = Replay(driver, role, session[0], folder)
        for step in exchanged(session, role):
            if step["from"] == role:
                replay.does(step)
            else:
                replay.hears(step)
    finally:
        if replay:
            replay.socket.close()
        driver.end()
