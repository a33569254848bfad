"""`--record`, through the command line: whatever ends the command, the recording has every byte that went through.

One peer floods the other one through the command while the command ends, so that bytes are on their way at each step.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bokbok_traffic.recording import Recorded, load_recording

from .test_pcap import conversation, ipv4, pcap

TAP = ["-m", "bokbok", "tap"]
PROXY = ["-m", "bokbok_interop", "calibrate", "proxy"]
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
PIECE = b"said, and said again\n" * 500
ENOUGH = 4 << 20
"""Bytes that have come back before the command is ended: it is in the middle of its work."""


@contextlib.contextmanager
def command(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, *words], **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


class Echo:
    """A server that sends back what it receives, and keeps it."""

    def __init__(self, path: Path) -> None:
        self.heard = bytearray()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            conn, _ = self._listener.accept()
            with conn:
                while data := conn.recv(1 << 16):
                    self.heard += data
                    conn.sendall(data)


def flood(sock: socket.socket) -> None:
    """Send until nobody reads any more."""
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(PIECE)


def passed(words: list[str], tmp_path: Path, number: int) -> tuple[Recorded, bytes, bytes]:
    """Flood a command, and end it: its recording, what the server heard and what the client did."""
    file, here = tmp_path / "said.jsonl", tmp_path / "here"
    echo = Echo(tmp_path / "up")
    # The proxy then searches what it has recorded: there is nothing to find.
    more = ["--insecure", "--patience", "0.1"] if words is PROXY else ["--quiet", "--brief"]
    with command(*words, str(here), str(tmp_path / "up"), "--record", str(file), *more) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = process.stderr if words is PROXY else process.stdout
        assert str(here).encode() in told.readline()
        rest = threading.Thread(target=process.communicate)  # its output in the meantime is read, and ignored
        rest.start()
        came = bytearray()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(here))
            sender = threading.Thread(target=flood, args=(client,))
            sender.start()
            with contextlib.suppress(OSError):
                while data := client.recv(1 << 16):
                    came += data
                    if len(came) >= ENOUGH:
                        process.send_signal(number)
            sender.join()
        rest.join()
        assert process.returncode >= 0, "the command was ended by the signal, and did not end itself"
    echo.thread.join()
    (recorded,) = load_recording(file).connections
    return recorded, bytes(echo.heard), bytes(came)


@SIGNALS
@pytest.mark.parametrize("words", [TAP, PROXY], ids=["tap", "proxy"])
def test_what_had_passed_when_a_signal_came_is_in_the_recording(words: list[str], tmp_path: Path, number: int) -> None:
    recorded, heard, came = passed(words, tmp_path, number)
    assert len(came) >= ENOUGH
    for source, got in (("client", heard), ("server", came)):
        kept = b"".join(recorded.pieces(source))
        assert kept[: len(got)] == got
        assert kept == (PIECE * (len(kept) // len(PIECE) + 1))[: len(kept)]


@SIGNALS
def test_what_came_from_standard_input_is_in_the_recording(tmp_path: Path, number: int) -> None:
    file = tmp_path / "said.jsonl"
    request = b'\x00\x00\x00\x13(request 0 "hello")'
    capture = pcap([ipv4(segment) for segment in conversation(request, b"")[:4]])
    with command(*TAP, "-", "--brief", "--record", str(file)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(capture)
        process.stdin.flush()
        assert b"request 0" in process.stdout.readline()
        process.send_signal(number)
        process.communicate(timeout=60)
    (recorded,) = load_recording(file).connections
    assert recorded.client == request
    assert os.stat(file).st_mode & 0o077 == 0
