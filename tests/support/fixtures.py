"""Servers, connections, raw peers and threads for the tests of the front ends. All are ended, which is checked.

A folder that imports these fixtures has a fixture `front`, which makes the connections and servers.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from .leaks import eventually, open_sockets
from .peers import KEY, SOON, RawListener, RawPeer

__all__ = [
    "address",
    "connect",
    "listener",
    "met",
    "nothing_left",
    "raw",
    "serve",
    "spawn",
    "what_is_there_already",
]

_ECHO = object()


@pytest.fixture(scope="session", autouse=True)
def what_is_there_already() -> Iterator[None]:
    """Exclude objects of other tests from the garbage collection after each test here, which makes it fast."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every socket is closed at the end, by its owner and not by the garbage collector."""
    before = open_sockets()
    yield
    eventually(lambda: open_sockets() <= before, "every socket is closed")
    gc.collect()  # objects that were not closed complain now


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An address to listen at, of each kind."""
    return ("tcp", "127.0.0.1", 0) if request.param == "tcp" else ("unix", str(tmp_path / "either"))


@pytest.fixture
def serve(front: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`start_server`; by default on a Unix socket, with an echo."""
    servers: list[Any] = []

    def start(on_request: Any = _ECHO, *, at: Any = None, **options: Any) -> Any:
        at = at if at is not None else ("unix", str(tmp_path / f"s{len(servers)}"))
        servers.append(front.start_server(at, front.echo if on_request is _ECHO else on_request, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
    for server in servers:
        assert server.wait(SOON), f"{server} does not end"


@pytest.fixture
def connect(front: Any, serve: Any) -> Iterator[Callable[..., Any]]:
    """`open_connection`, to a server or an address. `secure=True` means the user that servers here know."""
    connections: list[Any] = []

    def open_(to: Any, *args: Any, secure: bool = False, **options: Any) -> Any:
        if secure:
            options |= {"user": "myuser", "key": KEY}
        connections.append(front.open_connection(getattr(to, "address", to), *args, **options))
        return connections[-1]

    yield open_
    for connection in connections:
        connection.close()


@pytest.fixture
def raw(serve: Any) -> Iterator[Callable[[Any], RawPeer]]:
    """A client that sends any bytes."""
    peers: list[RawPeer] = []

    def open_(server: Any) -> RawPeer:
        peers.append(RawPeer.connect(server.address))
        return peers[-1]

    yield open_
    for peer in peers:
        peer.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[RawListener]:
    """A server that sends any bytes."""
    listening = RawListener(("unix", str(tmp_path / "raw")))
    yield listening
    listening.close()


@pytest.fixture
def met(listener: RawListener, connect: Any) -> Iterator[Callable[..., tuple[Any, RawPeer]]]:
    """A connection of ours, and a server that sends any bytes, at its other end."""
    peers: list[RawPeer] = []

    def meet(*args: Any, secure: bool = False, **options: Any) -> tuple[Any, RawPeer]:
        connection = connect(listener.address, *args, secure=secure, **options)
        peers.append(listener.accept())
        if secure:
            peers[-1].take_hello(KEY)
        return connection, peers[-1]

    yield meet
    for peer in peers:
        peer.close()


@pytest.fixture
def spawn() -> Iterator[Callable[..., Future[Any]]]:
    """Call a function in a new thread. The future has its result or error."""
    threads: list[threading.Thread] = []

    def start(function: Callable[..., Any], *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args, **options))
            except BaseException as error:
                future.set_exception(error)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return future

    yield start
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive(), "a thread of the test still waits"
