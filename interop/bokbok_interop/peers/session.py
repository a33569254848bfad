"""What one run of the suite has at a container engine, and what a killed run has left there.

What this module knows: the run's private network, the folder that it shares with its containers, and the labels by
which everything is found and removed.

Everything that a run makes has three labels: `org.bokbok.run` (its id), `org.bokbok.host` (the runner's machine) and
`org.bokbok.folder` (its folder there). The folder contains a file that the runner keeps locked. Whoever gets the lock
knows that the run is over, however it ended.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import ipaddress
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .base import Address, Unavailable
from .engine import Engine, explain, find_endpoint

__all__ = [
    "FOLDER_LABEL",
    "HOST_LABEL",
    "RUNNER_NAME",
    "RUN_LABEL",
    "Addresses",
    "Leftover",
    "Session",
    "clean",
    "hand_over",
    "leftovers",
    "release",
    "remove",
    "session",
    "unique_local_prefix",
]

RUN_LABEL = "org.bokbok.run"
HOST_LABEL = "org.bokbok.host"
FOLDER_LABEL = "org.bokbok.folder"

RUNNER_NAME = "bokbok-runner"
"""The name of the runner's machine for containers of the private network."""
REMOVAL_SECONDS = 20
"""Seconds that a busy engine may take to finish a removal."""
Addresses = tuple[str, "str | None"]
"""IPv4 and IPv6 of one container."""
_PREFIX = "bokbok-"
_LOCK = "lock"
_SHARED = "s"


def unique_local_prefix(chosen: bytes) -> str:
    """The prefix of a network of 64 bits (RFC 4193) from 5 random bytes, spelt as systems show it, without leading
    zeros."""
    return str(ipaddress.IPv6Address(b"\xfd" + chosen + bytes((0, 1)) + bytes(8)))


_live: set[Session] = set()
"""The sessions of this process that are not over."""


class Session:
    """One run at one engine: its id, its private network, and the folder that it shares with its containers.

    The network has no way out (no masquerading). For containers, the runner listens on the network's gateway address,
    which only this machine and those containers can reach. The shared folder, a volume, has the same path for the
    runner and in every container; its parent folder is closed to other users of this machine.

    Attributes:
        id: 8 hexadecimal digits.
        engine: the engine.
        labels: the labels of everything.
        gateway, gateway6: the runner's addresses on the private network; the second may be `None`.
        network: the network's name.
        volume: the volume's name.
        shared: the shared folder.
        without: optional settings of containers that this engine has refused.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.id = secrets.token_hex(4)
        self.network = self.volume = f"{_PREFIX}{self.id}"
        self.bridge = f"bk{self.id}"  # an interface's name has at most 15 characters
        self.gateway = ""
        self.gateway6: str | None = None
        # Short, since a Unix socket's path has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.shared = str(self.folder / _SHARED)
        self.labels = {RUN_LABEL: self.id, HOST_LABEL: socket.gethostname(), FOLDER_LABEL: str(self.folder)}
        self.without: set[str] = set()
        self.count = 0
        self.users = 0
        self._subnet = ipaddress.ip_network("0.0.0.0/32")
        self._prefix6 = ""
        self._last = 0
        self._taken: set[str] = set()
        self._images: dict[str, asyncio.Future[str]] = {}
        self.opened: asyncio.Future[None] | None = None
        self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._ending = threading.Lock()
        self._ended = False
        _live.add(self)
        atexit.register(self.end)

    def open(self) -> None:
        """Make the network and the volume. Blocks.

        Raises:
            Unavailable: the engine refuses, or its networks are not on this machine.
        """
        import docker

        os.mkdir(self.shared)
        # Containers may run as any user. Other users of the machine cannot enter the parent folder.
        os.chmod(self.shared, 0o1777)  # noqa: S103
        client = self.engine.client
        try:
            self._make_network(client)
            if self.bridge not in (name for _, name in socket.if_nameindex()):
                raise Unavailable(
                    f"the networks of the container engine at {self.engine.endpoint} are not on this machine (it is "
                    "remote, rootless or in a virtual machine), so its containers cannot reach the runner: run "
                    "bokbok-interop where the engine runs"
                )
            client.create_volume(
                self.volume,
                driver="local",
                driver_opts={"type": "none", "o": "bind", "device": self.shared},
                labels=self.labels,
            )
        except docker.errors.DockerException as error:
            raise Unavailable(f"the engine refuses a network or volume: {explain(error)}") from None

    def _make_network(self, client: Any) -> None:
        """A bridge whose addresses we choose: only then can a container come back with its old address."""
        import docker
        from docker.types import IPAMConfig, IPAMPool

        options = {
            "com.docker.network.bridge.name": self.bridge,
            "com.docker.network.bridge.enable_ip_masquerade": "false",
        }
        prefix6 = unique_local_prefix(secrets.token_bytes(5))
        problem: Exception | None = None
        for with6 in (True, True, True, False, False):
            # The engine knows which addresses are free on this machine. It chooses; then we ask for the same addresses.
            self._drop_network(client)
            client.create_network(self.network, driver="bridge", labels=self.labels, options=options)
            chosen = client.inspect_network(self.network)["IPAM"]["Config"][0]
            self._drop_network(client)
            pools = [IPAMPool(subnet=chosen["Subnet"], gateway=chosen["Gateway"])]
            if with6:
                pools.append(IPAMPool(subnet=f"{prefix6}/64", gateway=f"{prefix6}1"))
            try:
                client.create_network(
                    self.network,
                    driver="bridge",
                    labels=self.labels,
                    options=options,
                    ipam=IPAMConfig(pool_configs=pools),
                    enable_ipv6=with6,
                )
            except docker.errors.DockerException as error:  # another run was faster, or there is no IPv6
                problem = error
                continue
            self.gateway = chosen["Gateway"].split("/")[0]
            self.gateway6 = f"{prefix6}1" if with6 else None
            self._subnet = ipaddress.ip_network(chosen["Subnet"])
            self._prefix6 = prefix6
            return
        assert problem is not None
        raise problem

    def _drop_network(self, client: Any) -> None:
        import docker

        with contextlib.suppress(docker.errors.NotFound):
            client.remove_network(self.network)

    async def image(self, name: str, find: Callable[[Engine], Coroutine[Any, Any, str]]) -> str:
        """An image's id, found (or built) once for all peers that use it."""
        if name not in self._images:
            self._images[name] = asyncio.ensure_future(find(self.engine))
        return await asyncio.shield(self._images[name])

    async def give_up(self) -> None:
        """Cancel preparations."""
        if self.opened is not None:
            await asyncio.gather(self.opened, return_exceptions=True)
        for task in self._images.values():
            task.cancel()
        await asyncio.gather(*self._images.values(), return_exceptions=True)

    def take_addresses(self) -> Addresses:
        """Addresses for one container, which no other container gets while it is disconnected.

        Raises:
            Unavailable: all are taken.
        """
        size = self._subnet.num_addresses
        for _ in range(size):
            self._last = self._last % (size - 2) + 1  # neither the network's own address nor the broadcast address
            four = str(self._subnet[self._last])
            if four != self.gateway and four not in self._taken:
                self._taken.add(four)
                return four, f"{self._prefix6}{self._last + 1:x}" if self.gateway6 else None
        raise Unavailable(f"the network {self._subnet} of this run is full")

    def give_back(self, addresses: Addresses) -> None:
        """Take back addresses of `take_addresses`."""
        self._taken.discard(addresses[0])

    def opened_up(self, address: Address) -> Address:
        """Let every user connect to a socket in the shared folder: containers and the runner may be different users.

        Other users cannot enter the folder, so they cannot reach the socket either. The path may come from a puppet,
        and a puppet may put anything there: only a socket directly in that folder is touched, and links are not
        followed.
        """
        path = str(address[1])
        if os.path.dirname(path) == self.shared:
            with contextlib.suppress(OSError):  # it is not there, or its mode cannot be changed by us
                file = os.open(path, os.O_PATH | os.O_NOFOLLOW)
                try:
                    if stat.S_ISSOCK(os.fstat(file).st_mode):
                        os.chmod(f"/proc/self/fd/{file}", 0o666)  # noqa: S103
                finally:
                    os.close(file)
        return address

    def new_name(self, peer: str) -> str:
        """A name for a container of this peer, which is also its host name on the network."""
        self.count += 1
        word = "".join(c if c.isalnum() else "-" for c in peer.lower()).strip("-")
        return f"{_PREFIX}{self.id}-{word[:30] or 'peer'}-{self.count}"

    def end(self) -> list[str]:
        """Remove everything that has this run's label, and the folder. Blocks. A second call does nothing.

        Returns:
            What could not be removed, in words.
        """
        with self._ending:
            if self._ended:
                return []
            self._ended = True
            atexit.unregister(self.end)
            problems = []
            try:
                self.engine.close()
                with contextlib.closing(self.engine.new_client()) as client:
                    for one in leftovers(client):
                        if one.run == self.id:
                            problems += remove(client, one)
            except Unavailable as error:
                problems.append(str(error))
            finally:
                shutil.rmtree(self.folder, ignore_errors=True)
                os.close(self._lock)
                _live.discard(self)
            return problems


_session: Session | None = None


async def session() -> Session:
    """The session of this process: made for the first peer that asks, shared by all, ended by the last `release`.

    Raises:
        Unavailable: there is no engine, or it cannot be used.
    """
    global _session
    if _session is None:
        engine = Engine(find_endpoint())
        await asyncio.to_thread(engine.open)
    if _session is None:  # check again: another peer may have been faster
        _session = Session(engine)
        _session.opened = asyncio.ensure_future(asyncio.to_thread(_session.open))
    mine = _session
    mine.users += 1
    assert mine.opened is not None
    try:
        await asyncio.shield(mine.opened)
    except BaseException:
        await release(mine)
        raise
    return mine


async def release(mine: Session) -> list[str]:
    """Give the session back. The last call ends it.

    Returns:
        What could not be removed, in words.
    """
    global _session
    mine.users -= 1
    if mine.users > 0:
        return []
    if _session is mine:
        _session = None
    await asyncio.shield(mine.give_up())
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, mine.end))


def hand_over() -> list[str]:
    """Let other processes end what this one has at the engine, without waiting. Returns the ids of those runs."""
    runs = [one.id for one in _live]
    for run in runs:
        subprocess.Popen(
            [sys.executable, "-m", "bokbok_interop", "clean", "--run", run],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return runs


# -- what a run left


@dataclass
class Leftover:
    """What has one run's label at an engine.

    Attributes:
        run: the run's id.
        host: the machine of its runner.
        folder: its folder there.
        containers, networks, volumes: their names.
    """

    run: str
    host: str = ""
    folder: str = ""
    containers: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """`over`, `running`, or `unknown` for a run of another machine."""
        if self.host != socket.gethostname():
            return "unknown"
        try:
            lock = os.open(Path(self.folder) / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            return "over"
        except OSError:
            return "unknown"
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "running"
        finally:
            os.close(lock)
        return "over"

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {word if len(names) > 1 else word[:-1]}"
            for word, names in (("containers", self.containers), ("networks", self.networks), ("volumes", self.volumes))
            if names
        ]
        return ", ".join(parts) or "its folder"


def leftovers(client: Any) -> list[Leftover]:
    """Everything at an engine that has a run's label, by run. Blocks.

    Raises:
        Unavailable: the engine does not answer.
    """
    wanted = {"label": RUN_LABEL}
    found: dict[str, Leftover] = {}

    def add(labels: Mapping[str, str] | None, kind: str, name: str) -> None:
        labels = labels or {}
        run = labels.get(RUN_LABEL, "")
        one = found.setdefault(run, Leftover(run, labels.get(HOST_LABEL, ""), labels.get(FOLDER_LABEL, "")))
        getattr(one, kind).append(name)

    with _answering():
        for container in client.containers(all=True, filters=wanted):
            add(container.get("Labels"), "containers", (container.get("Names") or [container["Id"]])[0].lstrip("/"))
        for network in client.networks(filters=wanted):
            add(network.get("Labels"), "networks", network["Name"])
        for volume in client.volumes(filters=wanted).get("Volumes") or []:
            add(volume.get("Labels"), "volumes", volume["Name"])
    return sorted(found.values(), key=lambda one: one.run)


def remove(client: Any, leftover: Leftover) -> list[str]:
    """Remove what a run left at an engine, and its folder if it is on this machine. Blocks.

    Returns:
        What could not be removed, in words.
    """
    problems = [
        *_each(leftover.containers, "container", lambda name: client.remove_container(name, force=True, v=True)),
        *_each(leftover.networks, "network", client.remove_network),
        *_each(leftover.volumes, "volume", lambda name: client.remove_volume(name, force=True)),
    ]
    if leftover.host == socket.gethostname() and _is_ours(Path(leftover.folder)):
        shutil.rmtree(leftover.folder, ignore_errors=True)
    return problems


def _is_ours(folder: Path) -> bool:
    """Whether it really is the folder of a run of this user. A label proves nothing, so the folder itself is
    checked."""
    with contextlib.suppress(OSError):
        lock = (folder / _LOCK).lstat()
        return folder.name.startswith(_PREFIX) and stat.S_ISREG(lock.st_mode) and lock.st_uid == os.getuid()
    return False


def clean(
    say: Callable[[str], None], *, everything: bool = False, dry_run: bool = False, run: str | None = None
) -> list[str]:
    """Remove what finished runs left: at the engine, and their folders here. Blocks.

    Args:
        say: called with a line for each run.
        everything: also remove what active runs have, here or on other machines.
        dry_run: only say what would be removed.
        run: only remove what this run has, whether it is over or not.

    Returns:
        What could not be removed, in words.

    Raises:
        Unavailable: there is no engine.
    """
    engine = Engine(find_endpoint())
    problems: list[str] = []
    with contextlib.closing(engine.new_client()) as client:
        found = leftovers(client)
        known = {one.folder for one in found}
        for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
            if _is_ours(folder) and str(folder) not in known:
                found.append(Leftover("", socket.gethostname(), str(folder)))
        if run is not None:
            found = [one for one in found if one.run == run]
        for one in found:
            name = f"run {one.run} of {one.host or 'an unknown machine'}" if one.run else one.folder
            if (state := one.state) != "over" and not everything and run is None:
                why = {"running": "it goes on", "unknown": "whether it is over cannot be told from here"}[state]
                say(f"{name}: {one}; left, since {why} (--all removes it)")
            elif dry_run:
                say(f"{name}: {one}; would be removed")
            else:
                problems += remove(client, one)
                say(f"{name}: {one}; removed")
        if not found:
            say("nothing was left")
    return problems


def _each(names: Iterable[str], kind: str, work: Callable[[str], Any]) -> Iterator[str]:
    import docker
    import requests
    import tenacity

    # For a moment, a container that is already being removed keeps its network and its volume from being removed.
    patience = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, docker.errors.APIError) and _passes(error)),
        stop=tenacity.stop_after_delay(REMOVAL_SECONDS),
        wait=tenacity.wait_fixed(0.1),
        reraise=True,
    )
    for name in names:
        try:
            patience(work, name)
        except docker.errors.NotFound:
            continue
        except (docker.errors.DockerException, requests.RequestException) as error:
            yield f"the {kind} {name}: {explain(error)}"


def _passes(error: Any) -> bool:
    return any(words in str(error) for words in ("already in progress", "active endpoints", "in use"))


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    import docker
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise Unavailable(f"the container engine does not answer: {explain(error)}") from None
