"""Puppets in containers.

What this module knows: how a container is made, limited, paused, disconnected and ended, and how the addresses of a
server look from inside and outside. `puppet` has what the puppet says, `attached` how its streams travel, `engine`
where the engine is, `session` what else the run has there, `images` how an image is built.

An address is seen from three points. A Unix socket's path is the same for all of them: the shared folder is mounted at
the runner's own path. Over TCP, containers reach each other on the run's private network. The runner, and puppets that
are processes of its machine, reach a container at ports that are published on 127.0.0.1. Containers reach the runner at
the network's gateway, which is an address of its machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .attached import Attachment, close_stream
from .base import LOG_FLOOD, Address, HostKind, Log, Peer, PuppetFault, Running, Unavailable, bound_to_all
from .engine import Engine, explain
from .images import ImageSource, find_or_build, inspect_image
from .session import RUNNER_NAME, Addresses, Session, release, session

__all__ = ["CONTAINER_FAULTS", "DockerPeer", "DockerRunning"]

T = TypeVar("T")

CONTAINER_FAULTS = frozenset({"pause", "kill", "disconnect"})

FIRST_PORT = 20_000
"""Below the ports that a system chooses for port 0, so that the system does not choose one of these."""
PORTS = 16
"""Published ports of a server's container: as many as the cells that are played at once by default. Each port costs the
engine some 30 ms at the start and again at the end, for its proxy and its packet filter."""
PORTS_ALONE = 4
"""Published ports of a container that is started for a single case."""
MEMORY = "1g"
"""A packet of 16 MiB becomes some hundred MiB of small objects when it is read."""
PROCESSES = 4_096
"""Threads count: a peer may have a thread for each of 1,024 running handlers, and more than one connection."""

FREEZE_SECONDS = 10.0
"""Seconds that a busy machine may take to freeze all processes of a container."""
STOP_SECONDS = 15.0
"""Seconds that a busy engine may take to notice that a container has ended."""
_POLL = 0.02

# What not every engine can do: words of its refusal, and the setting that a puppet can do without.
_OPTIONAL: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    # It reaps processes that a puppet's children leave behind, and passes signals on.
    "init": (("docker-init", "init binary"), {"init": True}),
    # A published port is reused soon, so servers that do not set SO_REUSEADDR must not fail because of an earlier
    # server.
    "sysctl": (("sysctl", "/proc/sys/"), {"sysctls": {"net.ipv4.tcp_max_tw_buckets": "0"}}),
}


class DockerRunning(Running):
    """A container with a puppet in it.

    Attributes:
        session: the run that it belongs to.
        id: the container's.
        name: the container's, and its host name on the private network.
        ipv4, ipv6: its addresses there; the second may be `None`.
    """

    faults = CONTAINER_FAULTS

    def __init__(self, peer: str, where: Session, name: str, addresses: Addresses, container: str, stream: Any) -> None:
        self.peer = peer
        self.session = where
        self.name = name
        self.id = container
        self.ipv4, self.ipv6 = addresses
        self.log = Log()
        self._published: dict[int, int] = {}
        self._ports: asyncio.Queue[int] = asyncio.Queue()
        self._taken: set[int] = set()
        self._paused = False
        self._flooded = False
        self._state: dict[str, Any] | None = None
        self._removal: asyncio.Future[None] | None = None
        self.streams = Attachment(stream, self._logged)

    def started(self, about: dict[str, Any]) -> None:
        """Take what the engine says about the running container."""
        before = set(self._published)
        self._published = {
            int(port.split("/")[0]): int(bound[0]["HostPort"])
            for port, bound in (about["NetworkSettings"].get("Ports") or {}).items()
            if bound
        }
        for port in sorted(set(self._published) - before):
            self._ports.put_nowait(port)

    def _logged(self, data: bytes) -> None:
        self.log.add(data)
        if self.log.size > LOG_FLOOD and not self._flooded:
            self._flooded = True
            self._remove()

    async def send(self, data: bytes) -> None:
        """See `Running.send`."""
        await self.streams.send(data)

    async def receive(self) -> bytes:
        """See `Running.receive`."""
        data = await self.streams.receive()
        if not data:
            # The stream ends a moment before the engine has noticed the end. A puppet that closes both outputs may live
            # on.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopped(), STOP_SECONDS)
        return data

    # -- ends

    async def close(self, grace: float = 2.0) -> int | None:
        """See `Running.close`."""
        if self._removal is not None:
            await self.kill()
            return None
        with contextlib.suppress(PuppetFault):
            await self.resume()
        self.streams.end_input()
        try:
            await asyncio.wait_for(self.streams.over.wait(), grace)
            return int((await self._stopped())["ExitCode"])
        except asyncio.TimeoutError:
            return None
        finally:
            await self.kill()

    async def kill(self) -> None:
        """See `Running.kill`."""
        await asyncio.shield(self._remove())

    def _remove(self) -> asyncio.Future[None]:
        if self._removal is None:
            self._removal = asyncio.ensure_future(self._removing())
        return self._removal

    async def _removing(self) -> None:
        def work(client: Any) -> dict[str, Any]:
            import docker

            state: dict[str, Any] = {}
            if self._state is None:
                with contextlib.suppress(docker.errors.APIError):
                    client.kill(self.id)  # it need not run any more
                with contextlib.suppress(docker.errors.APIError):
                    state = client.inspect_container(self.id)["State"]
            # What cannot be removed now will be found by its label at the end of the run.
            with contextlib.suppress(docker.errors.APIError):
                client.remove_container(self.id, force=True, v=True)
            return state

        try:
            # If the engine does not answer, or the run is over, the label says what to remove.
            with contextlib.suppress(Unavailable, RuntimeError):
                state = await self.session.engine.call(work)
                self._state = self._state or state
                self.session.give_back((self.ipv4, self.ipv6))
        finally:
            self.streams.close()

    async def _stopped(self) -> dict[str, Any]:
        """Wait until the engine has noticed the end, which takes a moment. Returns its `State` of the container."""
        while self._state is None and self._removal is None:
            try:
                state = (await self._asked("inspected", lambda client: client.inspect_container(self.id)))["State"]
            except PuppetFault as fault:
                return {"ExitCode": -1, "Error": fault.problem}
            if not state["Running"]:
                self._state = state
            else:
                await asyncio.sleep(_POLL)
        if self._removal is not None:
            await asyncio.shield(self._removal)
        return self._state or {"ExitCode": -1, "Error": "the container is gone"}

    async def ended(self) -> str:
        """See `Running.ended`."""
        await self.streams.over.wait()
        state = await self._stopped()
        status = int(state.get("ExitCode", -1))
        if self._flooded:
            return f"was killed, for more than {LOG_FLOOD >> 20} MiB of standard error"
        if state.get("OOMKilled"):
            return f"was killed, for more than {MEMORY} of memory"
        if state.get("Error"):
            return f"ended: {state['Error']}"
        if status > 128:
            import signal

            with contextlib.suppress(ValueError):
                return f"was killed by {signal.Signals(status - 128).name}"
        return f"exited with status {status}"

    # -- faults

    async def _asked(self, what: str, work: Callable[[Any], T]) -> T:
        import docker

        try:
            return await self.session.engine.call(work)
        except (docker.errors.APIError, Unavailable) as error:
            raise PuppetFault(self.peer, "crashed", f"its container cannot be {what}: {explain(error)}") from None

    async def pause(self) -> None:
        """See `Running.pause`: the freezer of control groups stops all threads at once."""
        import tenacity

        # On a busy machine the freezer gives up waiting for processes that do not get their turn, and thaws all of them
        # again.
        patience = tenacity.Retrying(
            retry=tenacity.retry_if_exception_message(match=r"(?s).*unable to freeze"),
            stop=tenacity.stop_after_delay(FREEZE_SECONDS),
            wait=tenacity.wait_fixed(0.1),
            reraise=True,
        )
        await self._asked("paused", lambda client: patience(client.pause, self.id))
        self._paused = True

    async def resume(self) -> None:
        """See `Running.resume`."""
        if self._paused:
            self._paused = False
            await self._asked("resumed", lambda client: client.unpause(self.id))

    async def disconnect(self) -> None:
        """See `Running.disconnect`: what is sent is lost without an error."""
        await self._asked(
            "disconnected", lambda client: client.disconnect_container_from_network(self.id, self.session.network)
        )

    async def reconnect(self) -> None:
        """See `Running.reconnect`. It gets its old addresses back; its published ports may change."""

        def work(client: Any) -> dict[str, Any]:
            client.connect_container_to_network(
                self.id, self.session.network, ipv4_address=self.ipv4, ipv6_address=self.ipv6, aliases=[self.name]
            )
            about: dict[str, Any] = client.inspect_container(self.id)
            return about

        self.started(await self._asked("reconnected", work))

    # -- addresses

    async def listen_address(self, transport: str, name: str, client: Running | None = None) -> Address:
        """See `Running.listen_address`."""
        if transport == "unix":
            return ("unix", f"{self.session.shared}/{name}")
        if not self._published:
            return ("tcp", self.ipv4, 0)
        port = await self._ports.get()  # the one that has been free for the longest time
        self._taken.add(port)
        return ("tcp", self.ipv4, port)

    def release(self, address: Address) -> None:
        """See `Running.release`."""
        if address[0] == "tcp" and address[2] in self._taken:
            self._taken.discard(address[2])
            self._ports.put_nowait(address[2])

    def from_runner(self, address: Address) -> Address:
        """See `Running.from_runner`."""
        if address[0] == "unix":
            if os.path.dirname(address[1]) != self.session.shared:
                # A puppet must not lead the runner, or the other puppet, to other sockets of this machine.
                raise PuppetFault(self.peer, "nonsense", f"listens at {address[1]}, where it was not told to")
            return self.session.opened_up(address)
        published = self._published.get(address[2])
        # A port that a server chose by itself is not published. Most machines can reach it all the same.
        return ("tcp", self.ipv4, address[2]) if published is None else ("tcp", "127.0.0.1", published)

    def from_puppet(self, other: Running, address: Address) -> Address:
        """See `Running.from_puppet`."""
        if address[0] == "unix" or not self._beside(other):
            return self.from_runner(address)
        return ("tcp", self.ipv4, address[2]) if bound_to_all(address) else address

    def relay_address(self, transport: str, name: str) -> Address:
        """See `Running.relay_address`."""
        return ("unix", f"{self.session.shared}/{name}") if transport == "unix" else ("tcp", self.session.gateway, 0)

    def to_runner(self, address: Address) -> Address:
        """See `Running.to_runner`."""
        if address[0] == "unix":
            return self.session.opened_up(address)
        return ("tcp", self.session.gateway, address[2]) if bound_to_all(address) else address

    def seen_from(self, address: Address) -> Address:
        """See `Running.seen_from`: the engine's proxy stands between."""
        return address if address[0] == "unix" else ("tcp", self.session.gateway, 0)

    def runner_host(self, kind: HostKind) -> str | None:
        """See `Running.runner_host`."""
        return {"name": RUNNER_NAME, "ipv4": self.session.gateway, "ipv6": self.session.gateway6}[kind]

    def host(self, other: Running, kind: HostKind) -> str | None:
        """See `Running.host`."""
        if self._beside(other):
            return {"name": self.name, "ipv4": self.ipv4, "ipv6": self.ipv6}[kind]
        return {"name": "localhost", "ipv4": "127.0.0.1", "ipv6": None}[kind]

    def source(self, other: Running, kind: HostKind) -> str | None:
        """See `Running.source`."""
        return self.ipv6 if kind == "ipv6" else self.ipv4

    def _beside(self, other: Running) -> bool:
        return isinstance(other, DockerRunning) and other.session is self.session


class DockerPeer(Peer):
    """An implementation that is an image.

    Args:
        name: its name in the matrix.
        image: the image's name; after it, separated by blanks, a command that replaces the image's own.
        source: how an image of the project is built; any other image must be there.
        root: the checkout that it is built from.
        given: whether the user named it (`--peer`), and not the project.

    Raises:
        ValueError: `image` names none.
    """

    def __init__(
        self,
        name: str,
        image: str,
        *,
        source: ImageSource | None = None,
        root: Path | None = None,
        given: bool = False,
    ) -> None:
        self.name = name
        self.image, *self.command = shlex.split(image) or [""]
        if not self.image:
            raise ValueError("expected docker:IMAGE or docker:IMAGE COMMAND")
        self.source = source
        self.root = root
        self.given = given
        self._id = ""
        self._session: Session | None = None

    async def prepare(self) -> None:
        """See `Peer.prepare`."""
        if self._session is None:
            self._session = await session()
        where = self._session
        try:
            self._id = await where.image(self.image, self._find)
        except BaseException:
            await self.dispose()
            raise

    async def _find(self, engine: Engine) -> str:
        if self.source is not None:
            return await find_or_build(engine, self.source, self.root, self.note)
        if (image := await engine.call(lambda client: inspect_image(client, self.image))) is not None:
            return str(image["Id"])
        raise Unavailable(
            f"the image {self.image} is not at {engine.endpoint}, and nothing is pulled: `docker pull {self.image}`, "
            "or build it"
        )

    async def start(self, *, role: str = "", transport: str = "", alone: bool = False) -> Running:
        """See `Peer.start`."""
        import docker

        where = self._session
        assert where is not None, "not prepared"
        count = 0 if role == "client" or transport == "unix" else PORTS_ALONE if alone else PORTS
        ports = range(FIRST_PORT, FIRST_PORT + count)
        name, addresses = where.new_name(self.name), where.take_addresses()
        while True:
            try:
                begun = await where.engine.call(lambda client: self._run(client, where, name, addresses, ports))
                break
            except docker.errors.APIError as error:
                why = explain(error)
                refused = {what for what, (words, _) in _OPTIONAL.items() if any(word in why for word in words)}
                refused -= where.without
                if not refused:
                    where.give_back(addresses)
                    raise Unavailable(f"the engine does not start {self.image}: {why}") from None
                where.without |= refused
        container, stream, about = begun
        running = DockerRunning(self.name, where, name, addresses, container, stream)
        running.started(about)
        return running

    def _run(
        self, client: Any, where: Session, name: str, addresses: Addresses, ports: Sequence[int]
    ) -> tuple[str, Any, dict[str, Any]]:
        """Create, attach to, and start a container: its id, its stream, what the engine says of it. Blocks."""
        options = {
            key: value
            for what, (_, more) in _OPTIONAL.items()
            if what not in where.without
            for key, value in more.items()
        }
        created = client.create_container(
            self._id,
            self.command or None,
            name=name,
            hostname=name,
            stdin_open=True,
            # If the runner is not root, it could not connect to another user's socket, nor change its mode.
            user=None if os.getuid() == 0 else f"{os.getuid()}:{os.getgid()}",
            environment={"PYTHONUNBUFFERED": "1"},
            labels=where.labels,
            ports=list(ports),
            host_config=client.create_host_config(
                network_mode=where.network,
                extra_hosts={RUNNER_NAME: where.gateway},
                # Only names of the network are known, and other names are refused quickly.
                dns=["127.0.0.1"],
                dns_opt=["timeout:1", "attempts:2"],
                port_bindings=dict.fromkeys(ports, ("127.0.0.1",)),
                binds={where.volume: {"bind": where.shared, "mode": "rw"}},
                mem_limit=MEMORY,
                memswap_limit=MEMORY,
                pids_limit=PROCESSES,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                # Its output comes over the attached stream; nobody would read a second copy.
                log_config={"Type": "none"},
                **options,
            ),
            networking_config=client.create_networking_config(
                {
                    where.network: client.create_endpoint_config(
                        aliases=[name], ipv4_address=addresses[0], ipv6_address=addresses[1]
                    )
                }
            ),
        )
        container = created["Id"]
        stream = None
        try:
            stream = client.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            client.start(container)
            return container, stream, client.inspect_container(container)
        except Exception:
            if stream is not None:
                close_stream(stream)
            client.remove_container(container, force=True, v=True)
            raise

    async def dispose(self) -> None:
        """See `Peer.dispose`: the last peer of the run also removes everything else that the run has there."""
        if self._session is not None:
            mine, self._session = self._session, None
            for problem in await release(mine):
                self.note(f"could not be removed: {problem} (`bokbok-interop clean` tries again)")

    def describe(self) -> dict[str, Any]:
        """See `Peer.describe`."""
        about = {"name": self.name, "command": shlex.join(["docker:" + self.image, *self.command])}
        return about | ({"image": self._id} if self._id else {})

    def fingerprint(self) -> str:
        """See `Peer.fingerprint`: a digest of the image's id and the words of the command."""
        return hashlib.sha256("\0".join((self._id, *self.command)).encode()).hexdigest()
