"""Puppets in containers, with a real engine. If there is none, these tests are skipped and say why.

The image of most tests is a small C program, linked statically and imported directly, so that they do not need a base
image.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from bokbok_interop.cases import all_cases
from bokbok_interop.matrix import Selection, build
from bokbok_interop.model import Outcome
from bokbok_interop.peers import docker as containers
from bokbok_interop.peers import session as sessions
from bokbok_interop.peers.base import PuppetFault, Unavailable
from bokbok_interop.peers.docker import PORTS_ALONE, DockerPeer, DockerRunning
from bokbok_interop.peers.engine import find_endpoint
from bokbok_interop.peers.images import ImageSource, inspect_image
from bokbok_interop.peers.known import known_peers
from bokbok_interop.peers.puppet import Puppet
from bokbok_interop.peers.session import RUN_LABEL, leftovers
from bokbok_interop.runner import Runner, Settings
from tests.support.leaks import eventually_async

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def fake_image(client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with the fake puppet of `fake_puppet/` and nothing else."""
    if (compiler := shutil.which("gcc")) is None:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("image") / "puppet"
    subprocess.run([compiler, "-static", "-O1", "-o", program, HERE / "fake_puppet" / "puppet.c"], check=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(program, "puppet")
    name = f"bokbok-test-{secrets.token_hex(4)}"
    changes = ['CMD ["/puppet"]', "USER 1234:1234", f"LABEL org.bokbok.test={name}"]
    client.import_image_from_data(archive.getvalue(), repository=name, changes=changes)
    yield name
    for _ in range(2):  # with the images that were built upon it, which go first
        for image in client.images(all=True, filters={"label": f"org.bokbok.test={name}"}):
            with contextlib.suppress(docker.errors.APIError):
                client.remove_image(image["Id"], force=True)


@pytest.fixture
async def peer(fake_image: str, client: Any) -> AsyncIterator[DockerPeer]:
    one = DockerPeer("fake", fake_image)
    await one.prepare()
    assert sessions._session is not None
    run = sessions._session.id
    yield one
    await one.dispose()
    assert [found.run for found in leftovers(client) if found.run == run] == []


@contextlib.asynccontextmanager
async def started(peer: DockerPeer, **how: Any) -> AsyncIterator[tuple[Puppet, DockerRunning]]:
    running = await peer.start(**{"alone": True, **how})
    assert isinstance(running, DockerRunning)
    puppet = Puppet(running)
    try:
        yield await puppet.start(), running
    finally:
        await puppet.kill()


async def said(puppet: Puppet, what: str) -> Any:
    return (await puppet.command("key", what, timeout=30)).values[0]


async def broken(puppet: Puppet, what: str) -> str:
    """Make a puppet do something that ends it. Returns how it ended."""
    with pytest.raises(PuppetFault) as caught:
        await puppet.command("key", what, timeout=60)
    return caught.value.problem


# -- streams and ends


async def test_a_puppet_is_steered_over_its_attached_streams(peer: DockerPeer) -> None:
    async with started(peer) as (puppet, running):
        assert (puppet.name, puppet.version) == ("fake", "0")
        assert await said(puppet, "anything") == "anything"
        assert await said(puppet, "pieces") == "in pieces"
        await puppet.close()
        assert "...." in running.log.text()


async def test_a_large_answer_comes_whole(peer: DockerPeer) -> None:
    async with started(peer) as (puppet, _):
        assert await said(puppet, "big 20000000") == "x" * 20_000_000


async def test_the_log_is_collected_beside_the_answers(peer: DockerPeer) -> None:
    async with started(peer) as (puppet, running):
        await said(puppet, "log 100000")
        await puppet.command("hello")
        # The engine does not keep the order of the two streams.
        whole = 100_000 * len("a line of the log\n")
        await eventually_async(lambda: running.log.size >= whole, "the whole log")
        assert "[..." in running.log.text()


async def test_the_end_of_standard_input_ends_it_with_its_status(peer: DockerPeer) -> None:
    async with started(peer) as (puppet, running):
        assert await puppet.close() == 0
        assert running.streams.over.is_set()


async def test_a_puppet_that_ignores_the_end_is_killed(peer: DockerPeer) -> None:
    async with started(peer) as (puppet, running):
        await puppet.command("key", "deaf")
        assert await running.close(grace=0.3) is None


@pytest.mark.parametrize(
    ("what", "how"), [("exit", "exited with status 3"), ("crash", "was killed by SIGSEGV"), ("memory", "1g of memory")]
)
async def test_how_it_ended_is_said(peer: DockerPeer, what: str, how: str) -> None:
    async with started(peer) as (puppet, _):
        assert how in await broken(puppet, what)


async def test_a_puppet_that_dies_at_once_leaves_its_last_words(fake_image: str) -> None:
    peer = DockerPeer("fake", f"{fake_image} /puppet dies")
    await peer.prepare()
    try:
        running = await peer.start()
        with pytest.raises(PuppetFault, match="status 7; the last line of its log: no such library"):
            await Puppet(running).start()
        await running.kill()
    finally:
        await peer.dispose()


async def test_a_command_stands_behind_the_image(fake_image: str) -> None:
    peer = DockerPeer("fake", f"{fake_image} /puppet 'two words'")
    await peer.prepare()
    try:
        async with started(peer) as (puppet, _):
            assert puppet.version == "two words"
    finally:
        await peer.dispose()


# -- what a container may do


async def test_a_container_has_no_privileges_and_the_images_own_user(peer: DockerPeer, client: Any) -> None:
    async with started(peer) as (puppet, running):
        assert await said(puppet, "status NoNewPrivs") == "NoNewPrivs: 1"
        assert await said(puppet, "status CapBnd") == "CapBnd: 0000000000000000"
        user = 1234 if os.getuid() == 0 else os.getuid()
        assert await said(puppet, "status Uid") == f"Uid: {user} {user} {user} {user}"
        host = client.inspect_container(running.id)["HostConfig"]
        assert host["Memory"] == host["MemorySwap"] == 1 << 30
        assert host["PidsLimit"] > 0


async def test_everything_is_labelled_with_the_run(peer: DockerPeer, client: Any) -> None:
    async with started(peer) as (_, running):
        (mine,) = [one for one in leftovers(client) if one.run == running.session.id]
        assert mine.containers == [running.name]
        assert mine.networks == [running.session.network]
        assert mine.volumes == [running.session.volume]
        assert mine.state == "running"


async def test_ports_are_published_on_the_loopback_address_only(peer: DockerPeer, client: Any) -> None:
    async with started(peer, role="server", transport="tcp") as (_, running):
        ports = client.inspect_container(running.id)["NetworkSettings"]["Ports"]
        assert len(ports) == PORTS_ALONE
        assert {one["HostIp"] for bound in ports.values() for one in bound} == {"127.0.0.1"}


@pytest.mark.parametrize("how", [{"role": "client"}, {"transport": "unix"}])
async def test_nothing_is_published_without_need(peer: DockerPeer, client: Any, how: dict[str, str]) -> None:
    async with started(peer, **how) as (_, running):
        assert not client.inspect_container(running.id)["NetworkSettings"]["Ports"]


# -- addresses


async def listening(puppet: Puppet, running: DockerRunning, transport: str) -> tuple[Any, ...]:
    address = await running.listen_address(transport, f"s{secrets.token_hex(2)}")
    answer = await puppet.command("listen", 1, [*map(_symbol, address[:1]), *address[1:]], 10, False)
    assert answer.tag == "ok", answer
    return address


def _symbol(name: str) -> Any:
    from bokbok.sexpr import Symbol

    return Symbol(name)


@pytest.mark.parametrize("transport", ["tcp", "unix"])
async def test_the_runner_reaches_what_a_container_listens_at(peer: DockerPeer, transport: str) -> None:
    async with started(peer) as (puppet, running):
        address = running.from_runner(await listening(puppet, running, transport))
        if transport == "tcp":
            assert address[1] == "127.0.0.1"
        family = socket.AF_INET if transport == "tcp" else socket.AF_UNIX
        with socket.socket(family) as sock:
            await asyncio.to_thread(sock.connect, address[1] if transport == "unix" else address[1:])


@pytest.mark.parametrize("transport", ["tcp", "unix"])
async def test_a_container_reaches_another(peer: DockerPeer, transport: str) -> None:
    async with started(peer) as (puppet, running), started(peer) as (other, beside):
        bound = await listening(puppet, running, transport)
        kind, *rest = running.from_puppet(beside, bound)
        answer = await other.command("connect", 1, [_symbol(kind), *rest], False, False)
        assert answer.tag == "ok", answer


@pytest.mark.parametrize("transport", ["tcp", "unix"])
async def test_a_container_reaches_the_runner_where_nobody_else_does(peer: DockerPeer, transport: str) -> None:
    async with started(peer) as (puppet, running):
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.set_result(await reader.readexactly(5))
            writer.close()

        bind = running.relay_address(transport, "relay")
        if transport == "unix":
            server = await asyncio.start_unix_server(accepted, bind[1])
            # Other users of this machine cannot reach the file: they cannot enter the folder above.
            assert stat.S_IMODE(Path(bind[1]).parents[1].stat().st_mode) == 0o700
        else:
            assert bind[1] not in ("", "0.0.0.0", "127.0.0.1")
            server = await asyncio.start_server(accepted, bind[1], 0)
            bind = ("tcp", bind[1], server.sockets[0].getsockname()[1])
        async with server:
            kind, *rest = running.to_runner(bind)
            answer = await puppet.command("connect", 1, [_symbol(kind), *rest], False, False)
            assert answer.tag == "ok", answer
            assert await asyncio.wait_for(heard, 10) == b"hello"


async def test_only_sockets_of_the_shared_folder_are_opened_to_all(peer: DockerPeer, tmp_path: Path) -> None:
    async with started(peer) as (_, running):
        shared = Path(running.session.shared)
        secret = tmp_path / "secret"
        secret.touch(0o600)
        (shared / "link").symlink_to(secret)
        (shared / "file").touch(0o600)
        with socket.socket(socket.AF_UNIX) as outside, socket.socket(socket.AF_UNIX) as inside:
            outside.bind(str(tmp_path / "socket"))
            inside.bind(str(shared / "socket"))
            os.chmod(tmp_path / "socket", 0o600)
            for path in (secret, shared / "link", shared / "file", tmp_path / "socket", shared / "socket"):
                assert running.to_runner(("unix", str(path))) == ("unix", str(path))
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (secret, shared / "file", tmp_path / "socket")]
        assert modes == [0o600] * 3
        assert stat.S_IMODE((shared / "socket").stat().st_mode) == 0o666


@pytest.mark.parametrize("path", ["/var/run/docker.sock", "{shared}/../lock", "relative"])
async def test_a_container_cannot_lead_the_runner_to_other_sockets(peer: DockerPeer, path: str) -> None:
    async with started(peer) as (_, running):
        with pytest.raises(PuppetFault, match="where it was not told to"):
            running.from_runner(("unix", path.format(shared=running.session.shared)))


async def test_the_runners_machine_has_a_name_in_a_container(peer: DockerPeer) -> None:
    async with started(peer) as (puppet, running):
        with socket.create_server((running.session.gateway, 0)) as server:
            name, port = running.runner_host("name"), server.getsockname()[1]
            answer = await puppet.command("connect", 1, [_symbol("tcp"), name, port], False, False)
            assert answer.tag == "ok", answer


async def test_a_published_port_is_given_again_when_it_is_released(peer: DockerPeer) -> None:
    async with started(peer) as (_, running):
        taken = [await running.listen_address("tcp", "x") for _ in range(PORTS_ALONE)]
        waiting = asyncio.ensure_future(running.listen_address("tcp", "x"))
        await asyncio.sleep(0)
        assert not waiting.done()
        running.release(taken[2])
        running.release(taken[2])
        assert await asyncio.wait_for(waiting, 10) == taken[2]
        running.release(("unix", "/somewhere"))


async def test_containers_have_addresses_of_their_own_for_life(peer: DockerPeer) -> None:
    async with started(peer, role="client") as (_, one):
        await one.disconnect()
        async with started(peer, role="client") as (_, two):
            assert two.ipv4 != one.ipv4
            await one.reconnect()


# -- faults


async def test_a_paused_container_stands_still_and_goes_on(peer: DockerPeer) -> None:
    async with started(peer) as (puppet, running):
        await running.pause()
        waiting = asyncio.ensure_future(said(puppet, "later"))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.3)
        await running.resume()
        assert await asyncio.wait_for(waiting, 10) == "later"


async def test_a_container_that_does_not_freeze_at_once_is_asked_again(
    peer: DockerPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import docker

    asked = []
    pause = docker.APIClient.pause

    def refused_twice(client: Any, container: str) -> None:
        asked.append(container)
        if len(asked) <= 2:
            raise docker.errors.APIError(
                "500 Server Error",
                explanation=f"Cannot pause container {container}: OCI runtime pause failed: unable to freeze: unknown",
            )
        pause(client, container)

    monkeypatch.setattr(docker.APIClient, "pause", refused_twice)
    async with started(peer) as (_, running):
        await running.pause()
        await running.resume()
    assert len(asked) == 3


async def test_a_paused_container_can_be_ended(peer: DockerPeer) -> None:
    async with started(peer) as (_, running):
        await running.pause()
        await asyncio.wait_for(running.close(), 30)


async def test_a_container_without_network_is_still_steered(peer: DockerPeer) -> None:
    async with started(peer) as (puppet, running):
        bound = await listening(puppet, running, "tcp")
        before = running.ipv4
        await running.disconnect()
        assert await said(puppet, "still here") == "still here"
        with socket.socket() as sock:
            sock.settimeout(1)
            with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
                await asyncio.to_thread(sock.connect, running.from_runner(bound)[1:])
        await running.reconnect()
        assert running.ipv4 == before
        with socket.socket() as sock:
            await asyncio.to_thread(sock.connect, running.from_runner(bound)[1:])


async def test_what_an_engine_refuses_is_the_puppets_fault(peer: DockerPeer) -> None:
    async with started(peer) as (_, running):
        await running.kill()
        with pytest.raises(PuppetFault, match=r"its container cannot be paused: No such container"):
            await running.pause()
        assert await running.ended() == "was killed by SIGKILL"


# -- absent


async def test_an_image_that_is_not_here_is_not_pulled(client: Any) -> None:
    peer = DockerPeer("fake", "bokbok-no-such-image:1")
    with pytest.raises(Unavailable, match=r"the image bokbok-no-such-image:1 is not at .*, and nothing is pulled"):
        await peer.prepare()
    assert sessions._session is None


async def test_an_image_that_cannot_be_built_is_absent(client: Any, fake_image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {fake_image}\nRUN not-a-program\n")
    peer = DockerPeer("x", "bokbok-test-x", source=ImageSource("bokbok-test-x", "."), root=tmp_path)
    notes: list[str] = []
    peer.note = notes.append
    with pytest.raises(Unavailable, match=r"cannot be built: .*its log ends: .*RUN not-a-program") as caught:
        await peer.prepare()
    log = Path(str(caught.value).split("all of it: ")[1].split(" ")[0])
    assert "RUN not-a-program" in log.read_text()
    log.unlink()
    assert notes == ["building the image bokbok-test-x, which is not here"]


async def test_an_image_without_its_base_is_absent(client: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE=bokbok-no-such-base:1\nFROM $BASE\n")
    peer = DockerPeer("x", "bokbok-test-x", source=ImageSource("bokbok-test-x", "."), root=tmp_path)
    with pytest.raises(Unavailable, match=r"cannot be built without bokbok-no-such-base:1, which is not here"):
        await peer.prepare()


async def test_an_image_is_built_once_until_its_sources_change(client: Any, fake_image: str, tmp_path: Path) -> None:
    name = f"{fake_image}-built"
    (tmp_path / "Dockerfile").write_text(f'FROM {fake_image}\nCOPY version /version\nCMD ["/puppet"]\n')
    built: list[tuple[int, str]] = []
    try:
        for version in ("1", "1", "2"):
            (tmp_path / "version").write_text(version)
            peer = DockerPeer("x", name, source=ImageSource(name, "."), root=tmp_path)
            notes: list[str] = []
            peer.note = notes.append
            await peer.prepare()
            built.append((len(notes), peer.describe()["image"]))
            await peer.dispose()
    finally:
        client.remove_image(name, force=True)
    assert inspect_image(client, built[0][1]) is None  # what is replaced is removed
    assert [count for count, _ in built] == [1, 0, 1]
    assert built[0][1] == built[1][1] != built[2][1]


async def test_a_build_that_is_given_up_leaves_no_container(client: Any, fake_image: str, tmp_path: Path) -> None:
    def building() -> list[Any]:
        return [one for one in client.containers() if one["Command"].endswith("/puppet hangs")]

    (tmp_path / "Dockerfile").write_text(f'FROM {fake_image}\nRUN ["/puppet", "hangs"]\n')
    peer = DockerPeer("x", f"{fake_image}-x", source=ImageSource(f"{fake_image}-x", "."), root=tmp_path)
    preparing = asyncio.ensure_future(peer.prepare())
    while not (await asyncio.to_thread(building)):
        assert not preparing.done()
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    while await asyncio.to_thread(building):
        pass
    assert sessions._session is None


async def test_without_an_engine_every_cell_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    peers = {name: peer for name, peer in known_peers().items() if name.endswith("@docker")}
    assert sorted(peers) == [
        "chicken4-egg@docker",
        "chicken4@docker",
        "chicken5@docker",
        "python-asyncio@docker",
        "python-sync@docker",
    ]
    groups = build(list(peers), all_cases(), Selection(cases=("connect.rpc",)))
    results = await Runner(peers, Settings()).run(groups)
    assert len(results) == 100
    assert {result.outcome for result in results} == {Outcome.ABSENT}
    assert all("no container engine answers at unix://" in result.reason for result in results)


async def test_an_engine_whose_networks_are_elsewhere_is_told_so(
    client: Any, fake_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.socket, "if_nameindex", lambda: [(1, "lo")])
    before = {one.run for one in leftovers(client)}
    peers = [DockerPeer(name, fake_image) for name in ("one", "two")]
    problems = await asyncio.gather(*(peer.prepare() for peer in peers), return_exceptions=True)
    assert all(isinstance(problem, Unavailable) for problem in problems)
    assert "are not on this machine" in str(problems[0])
    assert {one.run for one in leftovers(client)} <= before


async def test_what_an_engine_cannot_do_a_container_does_without(
    peer: DockerPeer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "_OPTIONAL", {"odd": (("/proc/sys/",), {"sysctls": {"net.no": "1"}})})
    async with started(peer) as (puppet, running):
        assert await said(puppet, "all the same") == "all the same"
        assert running.session.without == {"odd"}
        (mine,) = [one for one in leftovers(client) if one.run == running.session.id]
        assert mine.containers == [running.name]


async def test_a_command_that_the_image_lacks_is_named(fake_image: str) -> None:
    peer = DockerPeer("fake", f"{fake_image} /no-such-program")
    await peer.prepare()
    try:
        running = await peer.start()
        with pytest.raises(PuppetFault, match=r"status 127; .*no-such-program"):
            await Puppet(running).start()
        await running.kill()
    finally:
        await peer.dispose()


# -- whole runs


def run_command(image: str, *more: str, **options: Any) -> subprocess.Popen[bytes]:
    """The command itself, playing the fake puppet against itself: most of it only waits."""
    words = [sys.executable, "-m", "bokbok_interop", "run", "--peers", "", "--peer", f"fake=docker:{image}", *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def until_containers(client: Any, process: subprocess.Popen[bytes], before: set[str]) -> str:
    """Wait until a new run has containers; its id."""
    while process.poll() is None:
        for one in leftovers(client):
            if one.run not in before and len(one.containers) >= 2:
                return one.run
    raise AssertionError(process.communicate()[0].decode())


def until_gone(client: Any, run: str) -> None:
    """Wait until nothing of a run is left."""
    end = time.monotonic() + 60
    while run in {one.run for one in leftovers(client)}:
        assert time.monotonic() < end, f"the run {run} is still there"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(client: Any, fake_image: str, number: signal.Signals) -> None:
    before = {one.run for one in leftovers(client)}
    process = run_command(fake_image)
    run = until_containers(client, process, before)
    process.send_signal(number)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 130, output.decode()
    # It does not wait for the engine: what is not removed by then is left to a program that it names.
    if run in {one.run for one in leftovers(client)}:
        assert f"clean --run {run}" in output.decode()
    until_gone(client, run)


class StallingEngine:
    """Passes on bytes to and from the engine, until it is told to stall: then it only accepts connections."""

    def __init__(self, path: Path, engine: str) -> None:
        self.address = f"unix://{path}"
        self._engine = engine
        self._flowing = threading.Event()
        self._flowing.set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(100)
        self._sockets = [self._listening]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def stall(self) -> None:
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def close(self) -> None:
        self.flow()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                engine = socket.socket(socket.AF_UNIX)
                self._sockets += [client, engine]
                engine.connect(self._engine)
                for pair in ((client, engine), (engine, client)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=pair, daemon=True))
                    self._threads[-1].start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                target.sendall(data)
            self._flowing.wait()
            target.shutdown(socket.SHUT_WR)


def test_ctrl_c_does_not_wait_for_an_engine_that_stalls_while_containers_run(
    client: Any, fake_image: str, tmp_path: Path
) -> None:
    endpoint = find_endpoint().url
    if not endpoint.startswith("unix://"):
        pytest.skip(f"the engine is at {endpoint}, and this test stands before a Unix socket")
    engine = StallingEngine(tmp_path / "engine", endpoint.removeprefix("unix://"))
    before = {one.run for one in leftovers(client)}
    try:
        process = run_command(fake_image, env={**os.environ, "DOCKER_HOST": engine.address})
        run = until_containers(client, process, before)
        engine.stall()
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        took = time.monotonic() - begin
        assert process.returncode == 130, output.decode()
        assert took < 6, took  # two seconds, on a machine that is not busy
        assert f"clean --run {run}" in output.decode()
        assert run in {one.run for one in leftovers(client)}
        # A separate program continues once the engine does.
        engine.flow()
        until_gone(client, run)
    finally:
        engine.close()


def test_a_killed_run_is_found_by_clean(client: Any, fake_image: str) -> None:
    before = {one.run for one in leftovers(client)}
    process = run_command(fake_image)
    run = until_containers(client, process, before)
    clean = [sys.executable, "-m", "bokbok_interop", "clean"]
    output = subprocess.run(clean, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert f"run {run} of {socket.gethostname()}: " in output
    assert "it goes on" in output
    process.kill()
    process.communicate()
    (left,) = [one for one in leftovers(client) if one.run == run]
    assert left.state == "over"
    assert len(left.containers) >= 2
    output = subprocess.run([*clean, "--dry-run"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "would be removed" in output
    output = subprocess.run(clean, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert f"run {run} of {socket.gethostname()}: {left}; removed\n" in output
    assert run not in {one.run for one in leftovers(client)}
    assert not Path(left.folder).exists()


def test_clean_leaves_what_belongs_to_other_machines(client: Any) -> None:
    name = f"bokbok-{secrets.token_hex(4)}"
    client.create_volume(name, labels={RUN_LABEL: name, "org.bokbok.host": "elsewhere"})
    try:
        clean = [sys.executable, "-m", "bokbok_interop", "clean"]
        output = subprocess.run(clean, stdout=subprocess.PIPE, text=True, check=True).stdout
        assert f"run {name} of elsewhere: 1 volume; left, since whether it is over cannot be told" in output
        assert client.inspect_volume(name)
    finally:
        client.remove_volume(name)


def test_clean_without_an_engine_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bokbok_interop", "clean"],
        env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/no.sock"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no container engine answers at unix://")


@pytest.mark.timeout(300)
def test_a_run_with_the_fake_puppet_ends_by_itself(client: Any, fake_image: str, tmp_path: Path) -> None:
    process = run_command(fake_image, "--case", "connect.bad-address", "--json", str(tmp_path / "j"), "--timeout", "5")
    output, _ = process.communicate(timeout=250)
    cells = json.loads((tmp_path / "j").read_text())["cells"]
    assert len(cells) == 4, output.decode()
    assert {cell["outcome"] for cell in cells} == {"failed"}
    assert {cell["client"] for cell in cells} == {"fake"}


REAL = {"chicken5@docker": "bokbok/chicken5", "python-sync@docker": "bokbok/python python-sync"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", REAL)
async def test_real_peers_in_containers_and_beside_them(client: Any, name: str) -> None:
    image = REAL[name].split(" ")[0]
    if inspect_image(client, image) is None:
        pytest.skip(f"there is no image {image} here (`bokbok-interop run --peers {name}` builds it)")
    peers = {"local": known_peers()["python-sync"], "container": DockerPeer("container", REAL[name])}
    wanted = Selection(
        cases=(
            "connect.rpc",
            "connect.bind-*",
            "connect.*-of-*",
            "secure.wrong-key",
            "symmetry.callback",
            "lifecycle.*-killed",
            "lifecycle.*-paused",
            "lifecycle.network-lost*",
            "hostile.tampered",
            "hostile.server-never-reads",
        ),
        securities=("secure",),
        about=("container",),
    )
    results = await Runner(peers, Settings()).run(build(list(peers), all_cases(), wanted))
    assert [f"{one.cell} {one.reason}" for one in results if one.outcome is Outcome.FAILED] == []
    passed = {result.cell.case for result in results if result.outcome is Outcome.PASSED}
    assert {"connect.bind-all", "lifecycle.network-lost", "lifecycle.client-paused", "hostile.tampered"} <= passed


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("case", "role"), [("network-lost", "client"), ("network-lost-client", "server")])
async def test_a_peer_that_cannot_wait_is_caught_when_its_network_is_lost(client: Any, case: str, role: str) -> None:
    """What `test_mutants.py` does for the cases that need no container."""
    if inspect_image(client, "bokbok/python") is None:
        pytest.skip("there is no image bokbok/python here (`make images` builds it)")
    root = HERE.parents[1]
    holder = DockerPeer("holder", "bokbok/python")
    await holder.prepare()
    try:
        assert holder._session is not None
        tree = Path(holder._session.shared) / "tree"
        for folder in ("interop/examples/minimal", "tests/interop/mutants"):
            shutil.copytree(root / folder, tree / folder)
        python = "bokbok/python /opt/bokbok/bin/python"
        good = DockerPeer("good", f"{python} {tree}/interop/examples/minimal/puppet.py")
        bad = DockerPeer("bad", f"{python} {tree}/tests/interop/mutants impatient")
        names = {"client": "good", "server": "good", role: "bad"}
        wanted = Selection(cases=(f"lifecycle.{case}",), securities=("secure",), clients=(names["client"],))
        groups = build(["good", "bad"], all_cases(), wanted)
        results = await Runner({"good": good, "bad": bad}, Settings()).run(groups)
    finally:
        await holder.dispose()
    outcomes = {(one.cell.client, one.cell.server): one for one in results}
    assert outcomes[names["client"], names["server"]].outcome is Outcome.FAILED
    if role == "server":
        assert outcomes["good", "good"].outcome is Outcome.PASSED, outcomes["good", "good"].reason
