"""A server with threads: what waits for it, and what happens if no more threads can be started."""

from __future__ import annotations

import dataclasses
import queue
import socket
import threading
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed
from tests.support.peers import KEY, SOON


@pytest.mark.parametrize("which", ["on_request", "on_open", "on_close", "user_to_key"])
def test_a_handler_that_waits_for_its_own_server_is_told_that_it_cannot(serve: Any, connect: Any, which: str) -> None:
    servers: list[Any] = []
    ready = threading.Event()
    said: queue.Queue[str] = queue.Queue()

    def handler(*args: Any) -> Any:
        assert ready.wait(SOON)
        with pytest.raises(RuntimeError) as raised:
            servers[0].wait()
        said.put(str(raised.value))
        return KEY if which == "user_to_key" else None

    servers.append(serve(**{"on_request": lambda connection, message: message, which: handler}))
    ready.set()
    connection = connect(servers[0], secure=which == "user_to_key")
    if which == "on_request":
        connection.request("x")
    connection.close()
    assert said.get(timeout=SOON) == "a handler cannot wait for its own server: the server waits for its handlers"


def test_a_thread_of_a_handler_may_stop_its_server_and_wait(serve: Any, connect: Any) -> None:
    servers: list[Any] = []
    over = threading.Event()

    def stop_and_wait() -> None:
        servers[0].stop()
        servers[0].wait()
        over.set()

    def on_request(connection: Any, message: Any) -> Any:
        threading.Thread(target=stop_and_wait).start()
        return "soon"

    servers.append(serve(on_request))
    assert connect(servers[0]).request("stop") == "soon"
    assert over.wait(SOON)


def test_a_connection_that_cannot_be_served_disturbs_nobody(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(at="127.0.0.1:0")
    failures = iter([ZeroDivisionError("on purpose")])

    class Accepted(socket.socket):
        def setblocking(self, flag: bool) -> None:
            for failure in failures:
                raise failure
            super().setblocking(flag)

    accept = socket.socket.accept

    def accepting(sock: socket.socket) -> Any:
        accepted, place = accept(sock)
        return Accepted(accepted.family, accepted.type, accepted.proto, accepted.detach()), place

    monkeypatch.setattr(socket.socket, "accept", accepting)
    with pytest.raises(ConnectionClosed):
        connect(server).request("x")
    assert "a connection could not be served" in caplog.text
    assert connect(server).request("x") == "x"


@pytest.mark.parametrize(("shared", "accepted"), [(False, 3), (True, 1)])
def test_connections_that_are_there_are_accepted_together_unless_other_processes_share_the_socket(
    serve: Any, monkeypatch: pytest.MonkeyPatch, shared: bool, accepted: int
) -> None:
    monkeypatch.setattr("bokbok.sync.server._AT_ONCE", 3)
    server = serve()
    monkeypatch.setattr(server, "_settings", dataclasses.replace(server._settings, link=object() if shared else None))
    arrived: list[Any] = []
    monkeypatch.setattr(server, "_arrived", lambda sock, address: arrived.append(sock))

    class Listening:
        def accept(self) -> tuple[Any, Any]:
            return object(), ("127.0.0.1", 1)

    server._accept_some(Listening())
    assert len(arrived) == accepted


def test_a_server_that_gets_no_thread_says_so_and_leaves_nothing_behind(
    front: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_threads(function: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("bokbok.sync.server.run_in_thread", no_more_threads)
    with pytest.raises(RuntimeError, match="thread"):
        front.start_server(str(tmp_path / "s"))
    assert not (tmp_path / "s").exists()
