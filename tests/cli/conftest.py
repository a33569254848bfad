"""Ways to run the `bokbok` command: in this process, in one of its own, on a terminal of its own."""

import fcntl
import functools
import logging
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from typing import NamedTuple

import pytest

from bokbok import service
from bokbok.cli import cli
from bokbok.cli._exit import run
from bokbok.sync import start_server

COMMAND = [sys.executable, "-m", "bokbok"]


class Result(NamedTuple):
    """How a command ended."""

    status: int
    out: bytes
    err: str


@pytest.fixture(autouse=True)
def _undone():
    """What the command sets for its process is undone after each test."""
    logger = logging.getLogger("bokbok")
    before = logger.handlers[:], logger.level, logger.propagate, logging.raiseExceptions, threading.excepthook
    path = sys.path[:]
    yield
    logger.handlers[:], level, logger.propagate, logging.raiseExceptions, threading.excepthook = before
    logger.setLevel(level)
    sys.path[:] = path


@pytest.fixture
def bokbok(capsysbinary):
    """A function that runs the command in this process."""

    def call(*args):
        capsysbinary.readouterr()
        status = run(cli, [str(arg) for arg in args])
        out, err = capsysbinary.readouterr()
        return Result(status, out, err.decode())

    return call


@pytest.fixture
def started():
    """A function that starts the command in a process of its own; what still runs at the end is killed."""
    processes = []

    def start(*args, **options):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [*COMMAND, *(os.fsencode(arg) for arg in args)]
        processes.append(subprocess.Popen(command, **{**pipes, **options}))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def finished(started):
    """A function that runs the command in a process of its own to its end."""

    def call(*args, input=b"", **options):
        process = started(*args, **options)
        out, err = process.communicate(input)
        return Result(process.returncode, out, (err or b"").decode())

    return call


class Terminal:
    """A process on its own terminal."""

    def __init__(self, args, columns, env):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def take_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*COMMAND, *(os.fsencode(arg) for arg in args)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=take_terminal,
            env={**os.environ, **env},
        )
        os.close(slave)
        self.shown = b""

    def wait_for(self, text):
        """Read until a text is shown."""
        while text not in self.shown:
            piece = self._read()
            assert piece, f"the command ended and had shown only {self.shown!r}"

    def type(self, text):
        os.write(self._master, text)

    def end(self):
        """Read to the end; the exit status."""
        while self._read():
            pass
        return self.process.wait()

    def _read(self):
        select.select([self._master], [], [])
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # EIO: the other side is closed
            return b""
        self.shown += piece
        return piece

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal():
    """A function that starts the command on a terminal."""
    terminals = []

    def start(*args, columns=80, **env):
        env.setdefault("PYTHONUTF8", "1")
        env = {name: value for name, value in env.items() if value is not None}
        terminals.append(Terminal(args, columns, env))
        return terminals[-1]

    yield start
    for each in terminals:
        each.close()


@pytest.fixture
def passphrase_file(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("mypassphrase\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def address(tmp_path):
    """The address of the conformance service, served by this process."""
    with start_server(str(tmp_path / "s"), service.handler()) as server:
        yield server.address[1]


@pytest.fixture
def serving(tmp_path):
    """A function that serves a handler in this process; returns the server."""
    servers = []

    def start(on_request, **options):
        path = tmp_path / f"s{len(servers)}"
        servers.append(start_server(str(path), on_request, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
        server.wait()


@pytest.fixture
def event(serving):
    """A function that makes events. They are set at the end: a handler that waits would keep its server from ending."""
    events = []

    def make():
        events.append(threading.Event())
        return events[-1]

    yield make
    for each in events:
        each.set()


@pytest.fixture
def listening(started):
    """A function that starts a command that listens; returns its process, whose `address` is what it printed."""

    def start(*args, **options):
        process = started(*args, **options)
        process.address = os.fsdecode(process.stdout.readline().removesuffix(b"\n"))
        assert process.address, process.stderr.read()
        return process

    return start


@pytest.fixture
def served(listening):
    """A function that starts `bokbok serve`; returns its process, whose `address` is what it printed."""
    return functools.partial(listening, "serve")


def stop(process):
    """Stop a server; its exit status and the rest of its log."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert out == b""
    return process.returncode, err.decode()
