"""Programs that are steered by lines, and a peer of bare bytes, for the tests of `chicken-reference/`.

The peer is written from `docs/protocol.md` with PyNaCl only, so that the egg is not tested by the library with which it
is compared.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import nacl.hash
import nacl.secret
from nacl.encoding import RawEncoder

PATIENCE = 30.0
"""Seconds that an answer may take before a test fails. On an idle machine none takes long."""


class Lines:
    """A program that takes one command on each line and answers in lines. A test can wait for a line."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(path), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self.lines: list[str] = []
        self.log: list[str] = []
        self.over = False
        self.changed = threading.Condition()
        self.readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines, True)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.log, False)),
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, stream: object, into: list[str], last: bool) -> None:
        for line in os.fdopen(stream.fileno(), "rb", closefd=False):  # type: ignore[attr-defined]
            with self.changed:
                into.append(line.decode("latin-1").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.over |= last
            self.changed.notify_all()

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode("latin-1") + b"\n")

    def take(self, matches: Callable[[str], bool], timeout: float = PATIENCE) -> str:
        """The first line that matches. It is removed."""
        with self.changed:
            found = self.changed.wait_for(
                lambda: next((line for line in self.lines if matches(line)), None) or self.over, timeout
            )
            line = next((line for line in self.lines if matches(line)), None)
            assert line is not None, f"{'the program ended' if found else 'nothing came'}: {self.lines} {self.log}"
            self.lines.remove(line)
            return line

    def logged(self, text: str) -> str:
        """The first line of the log that contains the text, as soon as it is there. The log keeps it."""
        with self.changed:
            self.changed.wait_for(lambda: any(text in line for line in self.log), PATIENCE)
            line = next((line for line in self.log if text in line), None)
        assert line is not None, f"nothing of {text!r} was logged: {self.log}"
        return line

    def ask(self, line: str, timeout: float = PATIENCE) -> str:
        """Sends a line and takes the next line, whatever it is."""
        self.send(line)
        return self.take(lambda _: True, timeout)

    def end(self) -> int:
        """Ends the program's input and waits for its end. Returns its exit status."""
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            for reader in self.readers:
                reader.join(PATIENCE)
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                stream.close()
        return status


class Puppet(Lines):
    """A puppet: commands by `command`, events by `event`."""

    def __init__(self, path: Path, *arguments: str) -> None:
        super().__init__(path, *arguments)
        self.number = 0

    def start(self, command: str) -> int:
        self.number += 1
        self.send(f"({self.number} {command})")
        return self.number

    def answer(self, number: int, timeout: float = PATIENCE) -> str:
        line = self.take(lambda line: line.startswith(f"({number} "), timeout)
        return line[len(f"({number} ") : -1]

    def command(self, command: str, timeout: float = PATIENCE) -> str:
        return self.answer(self.start(command), timeout)

    def event(self, beginning: str) -> str:
        return self.take(lambda line: line.startswith(f"(event {beginning}"))

    def listen(self, handle: int, address: str, users: str = "#f", backlog: int = 10) -> tuple[str, int] | str:
        """Starts a server. Returns where to connect: a host and port, or a path."""
        answer = self.command(f"listen {handle} {address} {backlog} {users}")
        tcp = re.fullmatch(r'ok \(tcp ("[^"]*"|#f) (\d+)\)', answer)
        if tcp:
            return ("127.0.0.1" if tcp[1] == "#f" else tcp[1].strip('"'), int(tcp[2]))
        unix = re.fullmatch(r'ok \(unix "([^"]*)"\)', answer)
        assert unix, answer
        return unix[1]


class Peer:
    """One connection of bare bytes: packets, boxes and messages as in `docs/protocol.md`, or anything else."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.settimeout(PATIENCE)
        self.box: nacl.secret.SecretBox | None = None
        self.prefix = os.urandom(16)
        self.counter = 0

    @classmethod
    def to(cls, where: tuple[str, int] | str) -> Peer:
        if isinstance(where, str):
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connected.connect(where)
            return cls(connected)
        return cls(socket.create_connection(where, PATIENCE))

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def packet(self, body: bytes) -> None:
        self.raw(struct.pack(">I", len(body)) + body)

    def sealed(self, box: nacl.secret.SecretBox, body: bytes) -> bytes:
        nonce = self.prefix + struct.pack(">Q", self.counter)
        self.counter += 1
        return bytes(box.encrypt(body, nonce))

    def hello(self, user: bytes, passphrase: bytes) -> bytes:
        """Sends the hello of a client. Returns its bytes, for a replay."""
        key = nacl.hash.sha512(passphrase, encoder=RawEncoder)[:32]
        session = os.urandom(32)
        box = self.sealed(nacl.secret.SecretBox(key), session)
        said = struct.pack(">I", len(user)) + user + struct.pack(">I", len(box)) + box
        self.raw(said)
        self.box = nacl.secret.SecretBox(session)
        return said

    def take_hello(self, passphrase: bytes) -> bytes:
        """Reads the hello of a client, as its server. Returns the user."""
        key = nacl.hash.sha512(passphrase, encoder=RawEncoder)[:32]
        user = self.take_packet()
        self.box = nacl.secret.SecretBox(nacl.secret.SecretBox(key).decrypt(self.take_packet()))
        return user

    def message(self, body: bytes) -> None:
        self.packet(self.sealed(self.box, body) if self.box else body)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError(data)
            data += more
        return data

    def take_packet(self) -> bytes:
        return self.exactly(struct.unpack(">I", self.exactly(4))[0])

    def take(self) -> bytes:
        body = self.take_packet()
        return self.box.decrypt(body) if self.box else body

    def ask(self, number: int, datum: bytes) -> bytes:
        """A request and its answer."""
        self.message(b"(request %d %s)" % (number, datum))
        return self.take()

    def at_end(self) -> bool:
        """Whether the other side ends the connection, without a reset and without sending anything."""
        return self.socket.recv(1) == b""

    def close(self) -> None:
        self.socket.close()
