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
_POLL = 0.01  # seconds between two looks whether a process is gone, where nothing tells
MARK = "BOKBOK_INTEROP_RUN"
"""Environment variable by which what a puppet has started is found, even if it has left the puppet's group."""
_WAKE = 'read -r _; kill -s CONT -- "-$0"'
"""A shell's words that let a process group go on once standard input ends: with the runner, whatever ends it. A group
that stands still takes no other signal than SIGKILL, and sees no end of its own standard input."""
MAX_PARENT = 60
"""Length of a folder's name in which there is room for a socket's path of 107 bytes, ours and those of the cases."""


class LocalRunning(Running):
    """A process in a group of its own, so that what it starts goes with it."""

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
        """A descriptor that tells of the process's end, if the system has one."""
        loop = asyncio.get_running_loop()
        try:
            file = os.pidfd_open(self.process.pid)
        except (AttributeError, OSError):  # no Linux, an old one, or it is gone already
            self._exit.set()
            return

        def over() -> None:
            loop.remove_reader(file)
            os.close(file)
            self._exit.set()

        loop.add_reader(file, over)

    async def _gone(self) -> int:
        """Its status, once it is gone. (asyncio's `wait` goes on while something that it started holds its pipes.)"""
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
        status: int | None = None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            status = await asyncio.wait_for(self._gone(), grace)
        except asyncio.TimeoutError:
            status = None
        finally:
            await self.kill()
        return status

    async def kill(self) -> None:
        """See `Running.kill`."""
        self._signal(signal.SIGKILL)
        await self._gone()
        self._signal(signal.SIGKILL)  # what it started and left behind in its group
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
        """See `Running.pause`. Returns once every thread stands still: a signal takes its time."""
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
                # The state is the first word after the name, which stands in parentheses and may hold any.
                if (task / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
                    return False
        except OSError:  # a thread or the process ended, or there is no such file system: nothing to wait for
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
        """See `Running.listen_address`: a puppet of this machine listens wherever the runner itself would."""
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
        name: in the matrix.
        command: a shell-like command line or a list of words; no shell is involved.
        environment: variables to set beside those of the runner.
        given: the user named it (`--peer`), not the project.
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
            # Short, since a Unix socket's path has 107 bytes; ours alone (mode 700).
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
        """See `Peer.fingerprint`: of the words of its command, where one is a file, of the file's bytes."""
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
    """The processes whose environment has this mark, where the system tells."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or somebody else's
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago, for puppets that cannot tell which one they bound."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])
