"""Puppets as processes of this machine.

What this module knows: subprocesses, process groups and signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .base import LOCAL_FAULTS, LOG_FLOOD, Address, Log, Peer, Running, Unavailable, Usage, bound_to_all

__all__ = ["LocalPeer", "LocalRunning"]

_READ = 256 * 1024
_POLL = 0.01  # seconds between two looks for a process's end, if the system does not report it
MARK = "BOKBOK_INTEROP_RUN"
"""Environment variable by which processes of a puppet are found, even if they have left the puppet's group."""
_WAKE = 'read -r _; kill -s CONT -- "-$0"'
"""A shell command that lets a process group go on once standard input ends, which it does when the runner ends, for
whatever reason. A stopped group does not react to any signal except SIGKILL, and does not see its own input's end."""
MAX_PARENT = 60
"""The longest folder name that leaves room for sockets (ours and those of the cases) in a path of 107 bytes."""


class LocalRunning(Running):
    """A process in a group of its own, so that what it starts ends with it."""

    faults = LOCAL_FAULTS | ({"measure"} if Path("/proc/self/statm").exists() else frozenset())

    def __init__(self, peer: str, process: asyncio.subprocess.Process, folder: str) -> None:
        self.peer = peer
        self.log = Log()
        self.process = process
        self.folder = folder
        self.flooded = False
        self._exit = asyncio.Event()
        self._errors = asyncio.ensure_future(self._read_log())
        self._waker: asyncio.subprocess.Process | None = None
        self._watch()

    def _watch(self) -> None:
        """A descriptor that reports the process's end, if the system has such a thing."""
        loop = asyncio.get_running_loop()
        try:
            file = os.pidfd_open(self.process.pid)
        except (AttributeError, OSError):  # not Linux, or an old one, or the process has ended already
            self._exit.set()
            return

        def over() -> None:
            loop.remove_reader(file)
            os.close(file)
            self._exit.set()

        loop.add_reader(file, over)

    async def _gone(self) -> int:
        """Its status, once it has ended. (asyncio's `wait` also waits for whatever it started and holds its pipes.)"""
        await self._exit.wait()
        while (status := self.process.returncode) is None:
            await asyncio.sleep(_POLL)
        return status

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(_READ):
            self.log.add(data)
            if self.log.size > LOG_FLOOD:
                self.flooded = True
                self._signal(signal.SIGKILL)
                return

    async def send(self, data: bytes) -> None:
        """See `Running.send`."""
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(data)
            await self.process.stdin.drain()

    async def receive(self) -> bytes:
        """See `Running.receive`."""
        assert self.process.stdout is not None
        return await self.process.stdout.read(_READ)

    async def close(self, grace: float = 2.0) -> int | None:
        """See `Running.close`."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            return await asyncio.wait_for(self._gone(), grace)
        except asyncio.TimeoutError:
            return None
        finally:
            await self.kill()

    async def kill(self) -> None:
        """See `Running.kill`."""
        self._signal(signal.SIGKILL)
        await self._gone()
        self._signal(signal.SIGKILL)  # what it has started and left behind in its group
        await self._dismiss_waker()
        self._errors.cancel()
        await asyncio.gather(self._errors, return_exceptions=True)
        # asyncio keeps a pipe's transport as long as a grandchild holds its other end.
        self.process._transport.close()  # type: ignore[attr-defined]

    async def ended(self) -> str:
        """See `Running.ended`."""
        status = await self._gone()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._errors), 0.5)  # its last words
        if self.flooded:
            return f"was killed, for more than {LOG_FLOOD >> 20} MiB of standard error"
        if status >= 0:
            return f"exited with status {status}"
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def usage(self) -> Usage:
        """See `Running.usage`."""
        own = Path(f"/proc/{self.process.pid}")
        pages = int((own / "statm").read_text().split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE")
        return Usage(memory, files=len(os.listdir(own / "fd")), threads=len(os.listdir(own / "task")))

    async def pause(self) -> None:
        """See `Running.pause`. Returns once every thread has stopped, since a signal takes some time."""
        if self._waker is None:
            words = ("/bin/sh", "-c", _WAKE, str(self.process.pid))
            pipe = asyncio.subprocess.PIPE
            self._waker = await asyncio.create_subprocess_exec(*words, stdin=pipe, start_new_session=True)
        self._signal(signal.SIGSTOP)
        while self.process.returncode is None and not self._stands_still():
            await asyncio.sleep(0.005)

    def _stands_still(self) -> bool:
        try:
            for task in Path(f"/proc/{self.process.pid}/task").iterdir():
                # The state is the first word after the name, which is in parentheses and may contain some itself.
                if (task / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
                    return False
        except OSError:  # a thread or the process has ended, or there is no such file system: do not wait
            pass
        return True

    async def resume(self) -> None:
        """See `Running.resume`."""
        self._signal(signal.SIGCONT)
        await self._dismiss_waker()

    async def _dismiss_waker(self) -> None:
        if self._waker is not None:
            waker, self._waker = self._waker, None
            assert waker.stdin is not None
            waker.stdin.close()
            await waker.wait()

    async def listen_address(self, transport: str, name: str, client: Running | None = None) -> Address:
        """See `Running.listen_address`: a puppet of this machine listens where the runner itself would."""
        return (client or self).relay_address(transport, name)

    def from_runner(self, address: Address) -> Address:
        """See `Running.from_runner`."""
        return address

    def from_puppet(self, other: Running, address: Address) -> Address:
        """See `Running.from_puppet`."""
        if bound_to_all(address):
            return ("tcp", other.runner_host("ipv4"), address[2])
        return other.to_runner(address)

    def relay_address(self, transport: str, name: str) -> Address:
        """See `Running.relay_address`."""
        return ("unix", f"{self.folder}/{name}") if transport == "unix" else ("tcp", "127.0.0.1", 0)

    def to_runner(self, address: Address) -> Address:
        """See `Running.to_runner`."""
        return address


class LocalPeer(Peer):
    """An implementation that is a command of this machine.

    Args:
        name: its name in the matrix.
        command: a command line in a shell's syntax, or a list of words. No shell is started.
        environment: variables to set in addition to those of the runner.
        given: whether the user named it (`--peer`), and not the project.
    """

    def __init__(
        self,
        name: str,
        command: str | Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        given: bool = False,
    ) -> None:
        self.name = name
        self.command = shlex.split(command) if isinstance(command, str) else list(command)
        self.environment = dict(environment or {})
        self.given = given
        self._folder: str | None = None
        self._mark = ""

    async def prepare(self) -> None:
        """See `Peer.prepare`."""
        if not self.command:
            raise Unavailable("its command is empty")
        program = self.command[0]
        if shutil.which(program) is None:
            if os.path.exists(program):
                raise Unavailable(f"{program} is not executable")
            raise Unavailable(f"the program {program} was not found")

    async def start(self, *, role: str = "", transport: str = "", alone: bool = False) -> Running:
        """See `Peer.start`."""
        if self._folder is None:
            # Short, since a Unix socket's path has at most 107 bytes; only for this user (mode 700).
            parent = tempfile.gettempdir()
            self._folder = tempfile.mkdtemp(prefix="bokbok-", dir=parent if len(parent) <= MAX_PARENT else "/tmp")  # noqa: S108
            self._mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": "1", MARK: self._mark, **self.environment},
                start_new_session=True,
                limit=_READ * 4,
            )
        except OSError as error:
            hint = " (a script without a #! line?)" if error.errno == errno.ENOEXEC else ""
            raise Unavailable(f"{self.command[0]} cannot be started: {error.strerror or error}{hint}") from None
        return LocalRunning(self.name, process, self._folder)

    async def dispose(self) -> None:
        """See `Peer.dispose`."""
        if self._folder is not None:
            for pid in _marked(self._mark):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def describe(self) -> dict[str, Any]:
        """See `Peer.describe`."""
        return {"name": self.name, "command": shlex.join(self.command)}

    def fingerprint(self) -> str:
        """See `Peer.fingerprint`: a digest of the words of its command, and of the bytes of files among them."""
        whole = hashlib.sha256()
        for place, word in enumerate(self.command):
            path = shutil.which(word) if place == 0 else word
            try:
                content = Path(path or word).read_bytes()
            except OSError:
                content = word.encode(errors="surrogateescape")
            whole.update(hashlib.sha256(content).digest())
        return whole.hexdigest()


def _marked(mark: str) -> Iterator[int]:
    """The processes whose environment has this mark, if the system shows environments."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to somebody else
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


_PORTS = range(20_000, 32_768)
"""Below those that systems give out by themselves (Linux: from 32768 on), so that no connection that somebody begins
gets one of them between its choice and its use."""


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago, for puppets that cannot say which port they have bound.

    It is drawn, so that runners which choose at the same moment hardly ever choose the same. A host that is not of this
    machine is a container's, whose ports are its own: they are not tried.
    """
    for _ in _PORTS:
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        with socket.socket() as sock:
            try:
                sock.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
        return port
    raise OSError(errno.EADDRINUSE, f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free at {host}")
