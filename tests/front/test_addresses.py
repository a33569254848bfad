"""Where a server listens, where a connection is opened to, and what can go wrong."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import socket
import threading
from typing import Any

import pytest

from bokbok._sockets import BACKLOG_RETRY
from bokbok.errors import AddressError, ConnectFailed, ConnectTimeout, ProfileError
from tests.support.leaks import open_sockets
from tests.support.network import needs_ipv6
from tests.support.peers import KEY, SOON, USERS, RawListener

# Every form.


@pytest.mark.parametrize(
    "form",
    [
        lambda port: f"127.0.0.1:{port}",
        lambda port: f"localhost:{port}",
        lambda port: ("tcp", "127.0.0.1", port),
        lambda port: ["tcp", "127.0.0.1", port],
        lambda port: ("tcp", None, port),
        lambda port: f":{port}",
    ],
    ids=["string", "name", "tuple", "list", "no host", "port"],
)
def test_a_tcp_server_is_reached_by_every_form_of_its_address(serve: Any, connect: Any, form: Any) -> None:
    server = serve(at=("tcp", "127.0.0.1", 0))
    assert connect(form(server.address[2])).request("x") == "x"


@pytest.mark.parametrize("form", [str, pathlib.Path, lambda path: ("unix", str(path))], ids=["string", "path", "tuple"])
def test_a_unix_server_is_reached_by_every_form_of_its_address(
    serve: Any, connect: Any, tmp_path: Any, form: Any
) -> None:
    server = serve(at=form(tmp_path / "here"))
    assert server.address == ("unix", str(tmp_path / "here"))
    assert connect(form(tmp_path / "here")).request("x") == "x"


def test_a_unix_path_may_be_relative(serve: Any, connect: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = serve(at="here")
    assert server.address == ("unix", "here")
    assert connect("./here").request("x") == "x"


@needs_ipv6
def test_an_ipv6_address_stands_in_brackets(serve: Any, connect: Any) -> None:
    server = serve(at="[::1]:0")
    kind, host, port = server.address
    assert (kind, host) == ("tcp", "::1")
    connection = connect(f"[::1]:{port}")
    assert connection.request("x") == "x"
    assert connection.address == ("tcp", "::1", port)


def test_the_system_chooses_port_0_and_the_servers_address_shows_it(serve: Any, connect: Any) -> None:
    server = serve(at="127.0.0.1:0")
    assert server.address[2] > 0
    assert connect(server.address).request("x") == "x"


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("[::1]", marks=needs_ipv6)])
def test_no_host_listens_on_ipv4_and_ipv6(serve: Any, connect: Any, host: str) -> None:
    server = serve(at=("tcp", None, 0))
    assert server.address[:2] == ("tcp", None)
    assert connect(f"{host}:{server.address[2]}").request("x") == "x"


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_a_client_of_all_addresses_is_shown_by_its_own_ipv4_as_ipv4(serve: Any, connect: Any, host: str) -> None:
    server = serve(lambda connection, message: connection.address[1], at=("tcp", None, 0))
    assert connect(("tcp", host, server.address[2])).request("who am I?") == host


def test_the_address_of_a_tcp_connection_is_the_other_end(serve: Any, raw: Any, connect: Any) -> None:
    server = serve(lambda connection, message: connection.address[2], at="127.0.0.1:0")
    peer = raw(server)
    peer.send_message(b"(request 0 x)")
    assert peer.receive() == b"(response 0 %d)" % peer.sock.getsockname()[1]
    assert connect(f"localhost:{server.address[2]}").address == ("tcp", "127.0.0.1", server.address[2])


def test_the_address_of_a_unix_connection_is_the_socket_on_both_sides(serve: Any, connect: Any) -> None:
    server = serve(lambda connection, message: list(connection.address))
    connection = connect(server)
    assert connection.address == server.address
    assert connection.request("who am I?") == list(server.address)


def test_a_server_is_shown_with_its_address(front: Any, serve: Any, tmp_path: Any) -> None:
    server = serve(at=str(tmp_path / "here"))
    assert repr(server) == f"<bokbok.{front.name}.Server {tmp_path}/here, running>"
    server.stop()
    assert repr(server) == f"<bokbok.{front.name}.Server {tmp_path}/here, stopped>"


def test_a_connection_is_shown_with_its_address_and_user(front: Any, serve: Any, connect: Any) -> None:
    server = serve()
    connection = connect(server)
    path = server.address[1]
    assert repr(connection) == f"<bokbok.{front.name}.Connection {path}>"
    connection.close()
    assert repr(connection) == f"<bokbok.{front.name}.Connection {path}, closed>"
    server = serve(user_to_key=USERS.get)
    path = server.address[1]
    assert repr(connect(server, secure=True)) == f"<bokbok.{front.name}.Connection {path} as 'myuser'>"


def test_what_is_no_address_is_refused_at_once(front: Any) -> None:
    with pytest.raises(AddressError, match="expected a port from 0 to 65535"):
        front.open_connection("localhost:70000")
    with pytest.raises(AddressError, match="expected 'HOST:PORT'"):
        front.start_server(("udp", "localhost", 1))


# Listening.


def test_a_port_in_use_is_refused(front: Any, serve: Any) -> None:
    _, host, port = serve(at="127.0.0.1:0").address
    with pytest.raises(ConnectFailed, match=f"cannot listen on {host}:{port}: Address already in use"):
        front.start_server((("tcp"), host, port))


def test_a_socket_file_of_a_dead_server_is_replaced(serve: Any, connect: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "here")
    RawListener(("unix", path)).close()
    assert os.path.exists(path)
    assert connect(serve(at=path)).request("x") == "x"


def test_a_socket_file_of_a_live_server_is_refused_and_left_alone(front: Any, serve: Any, connect: Any) -> None:
    server = serve()
    with pytest.raises(ConnectFailed, match=r"cannot listen on .*: Address already in use"):
        front.start_server(server.address)
    assert connect(server).request("x") == "x"


def test_a_file_that_is_no_socket_is_refused_and_left_alone(front: Any, tmp_path: Any) -> None:
    (tmp_path / "here").write_text("precious")
    with pytest.raises(ConnectFailed, match=r"cannot listen on .*: Address already in use"):
        front.start_server(str(tmp_path / "here"))
    assert (tmp_path / "here").read_text() == "precious"


def test_a_folder_that_does_not_exist_is_refused(front: Any, tmp_path: Any) -> None:
    with pytest.raises(ConnectFailed, match="No such file or directory"):
        front.start_server(str(tmp_path / "nowhere" / "here"))


def test_the_socket_file_is_removed_when_the_server_stops(serve: Any, tmp_path: Any) -> None:
    server = serve(at=str(tmp_path / "here"))
    server.stop()
    assert not (tmp_path / "here").exists()


def test_the_socket_file_of_another_server_in_the_same_place_stays(serve: Any, connect: Any, tmp_path: Any) -> None:
    first = serve(at=str(tmp_path / "here"))
    os.unlink(tmp_path / "here")
    second = serve(at=str(tmp_path / "here"))
    first.stop()
    assert connect(second).request("x") == "x"


def test_a_place_is_free_again_once_its_server_has_stopped(serve: Any, connect: Any, address: Any) -> None:
    first = serve(at=address)
    connect(first).request("x")
    first.stop()
    assert first.wait(SOON)
    assert connect(serve(lambda connection, message: "second", at=first.address)).request("x") == "second"


def test_a_server_whose_profile_does_not_exist_listens_nowhere(front: Any, tmp_path: Any) -> None:
    before = open_sockets()
    with pytest.raises(ProfileError, match=r"unknown profile 'egg-0\.2'"):
        front.start_server(str(tmp_path / "here"), profile="egg-0.2")
    assert open_sockets() == before
    assert not (tmp_path / "here").exists()


# Connecting.


def test_a_port_where_nobody_listens_refuses(front: Any, listener: Any) -> None:
    free = RawListener(("tcp", "127.0.0.1", 0))
    free.close()
    with pytest.raises(ConnectFailed, match=f"cannot connect to 127.0.0.1:{free.address[2]}: Connection refused"):
        front.open_connection(free.address)


def test_a_socket_file_of_a_dead_server_refuses(front: Any, listener: Any) -> None:
    listener.close()
    with pytest.raises(ConnectFailed, match=r"cannot connect to .*/raw: Connection refused"):
        front.open_connection(listener.address)


def test_a_path_that_does_not_exist_is_named(front: Any, tmp_path: Any) -> None:
    with pytest.raises(ConnectFailed, match=f"cannot connect to {tmp_path}/nowhere: No such file or directory"):
        front.open_connection(str(tmp_path / "nowhere"))


def test_a_path_that_is_too_long_is_a_wrong_address(front: Any) -> None:
    with pytest.raises(AddressError, match="at most 107"):
        front.open_connection("/" + "x" * 107)


def test_an_unknown_host_is_named(front: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ConnectFailed, match=r"cannot connect to no\.example:80: Name or service not known"):
        front.open_connection("no.example:80")


def both_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every host name have two addresses, of which only the second can be reached."""

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (place, port))
            for place in ("127.0.0.2", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_the_next_address_of_a_name_is_tried_where_one_refuses(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(at="127.0.0.1:0")
    both_addresses(monkeypatch)
    assert connect(("tcp", "two.example", server.address[2])).request("x") == "x"


def test_the_next_address_of_a_name_is_tried_where_the_system_gave_up_on_one(
    serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unanswered(socket.socket):
        def connect(self, place: Any) -> None:
            if place[0] == "127.0.0.2":
                raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")
            super().connect(place)

    server = serve(at="127.0.0.1:0")
    both_addresses(monkeypatch)
    monkeypatch.setattr(socket, "socket", Unanswered)
    assert connect(("tcp", "two.example", server.address[2]), connect_timeout=None).request("x") == "x"


def test_a_host_that_does_not_answer_in_time_is_a_timeout(front: Any) -> None:
    full = RawListener(("tcp", "127.0.0.1", 0), backlog=0)
    try:
        full.fill()
        with pytest.raises(
            ConnectTimeout, match=r"cannot connect to 127\.0\.0\.1:\d+: no answer within 0\.05 s"
        ) as raised:
            front.open_connection(full.address, connect_timeout=0.05)
        assert isinstance(raised.value, TimeoutError)
        assert isinstance(raised.value, ConnectFailed)
    finally:
        full.close()


def test_a_unix_server_whose_backlog_is_full_is_waited_for(
    front: Any, connect: Any, tmp_path: Any, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()
    sleep = front.clock.sleep

    def observed(seconds: float) -> Any:
        if seconds == BACKLOG_RETRY:
            waiting.set()
        return sleep(seconds)

    monkeypatch.setattr(front.clock, "sleep", observed)
    full = RawListener(("unix", str(tmp_path / "full")), backlog=0)
    try:
        full.fill()
        opening = spawn(connect, full.address)
        assert waiting.wait(SOON)
        assert not opening.done()
        full.accept().close()  # which makes room
        assert opening.result(SOON).address == full.address
    finally:
        full.close()


def test_a_unix_server_whose_backlog_stays_full_is_a_timeout(front: Any, tmp_path: Any) -> None:
    full = RawListener(("unix", str(tmp_path / "full")), backlog=0)
    try:
        full.fill()
        with pytest.raises(ConnectTimeout, match=r"no answer within 0\.05 s"):
            front.open_connection(full.address, connect_timeout=0.05)
    finally:
        full.close()


@pytest.mark.parametrize("given", [{"user": "me"}, {"key": KEY}])
def test_user_and_key_go_together(front: Any, tmp_path: Any, given: Any) -> None:
    with pytest.raises(ValueError, match="a user or a key alone"):
        front.open_connection(str(tmp_path / "nowhere"), **given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"user": "me", "key": b"secret" * 6}, "key: expected a bokbok.Key, got bytes; passphrase_to_key()"),
        ({"user": "me", "key": "secret"}, "key: expected a bokbok.Key, got str"),
        ({"user": b"me", "key": KEY}, "user: expected a str, got bytes"),
        ({"limits": 100}, "limits: expected a bokbok.Limits, got int"),
        ({"guards": "off"}, "guards: expected a bokbok.Guards, got str"),
    ],
)
def test_an_argument_of_another_type_is_named_before_anything_is_tried(
    front: Any, tmp_path: Any, given: Any, problem: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(problem)) as raised:
        front.open_connection(str(tmp_path / "nowhere"), **given)
    assert "secret" not in str(raised.value)


def test_a_connect_timeout_may_be_endless(serve: Any, connect: Any, address: Any) -> None:
    server = serve(at=address)
    assert connect(server, connect_timeout=None).request("x") == "x"
    assert connect(server, connect_timeout=float("inf")).request("x") == "x"


def test_a_connect_timeout_that_is_no_number_is_refused_at_once(front: Any, tmp_path: Any) -> None:
    for timeout, raises in ((float("nan"), ValueError), ("1", TypeError)):
        with pytest.raises(raises, match="connect_timeout: expected seconds or None"):
            front.open_connection(str(tmp_path / "nowhere"), connect_timeout=timeout)  # type: ignore[arg-type]


# Names with an address that does not answer, and look-ups that do not end.


def test_an_address_that_does_not_answer_takes_no_time_from_one_that_does(
    front: Any, serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(at="127.0.0.1:0")
    dead = RawListener(("tcp", "127.0.0.2", server.address[2]), backlog=0)
    try:
        dead.fill()
        both_addresses(monkeypatch)
        connection = connect(("tcp", "two.example", server.address[2]), connect_timeout=SOON)
        assert connection.request("x") == "x"
        assert connection.address == server.address
    finally:
        dead.close()


def test_where_no_address_of_a_name_answers_in_time_nothing_is_left_open(
    front: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = [RawListener(("tcp", "127.0.0.1", 0), backlog=0)]
    port = dead[0].address[2]
    dead.append(RawListener(("tcp", "127.0.0.2", port), backlog=0))
    try:
        for each in dead:
            each.fill()
        both_addresses(monkeypatch)
        before = open_sockets()
        with pytest.raises(ConnectTimeout, match=r"no answer within 0\.4 s"):
            front.open_connection(("tcp", "two.example", port), connect_timeout=0.4)
        assert open_sockets() == before
    finally:
        for each in dead:
            each.close()


def test_where_every_address_of_a_name_refuses_that_is_told(
    front: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = RawListener(("tcp", "127.0.0.1", 0))
    gone.close()
    both_addresses(monkeypatch)
    with pytest.raises(ConnectFailed, match="Connection refused"):
        front.open_connection(("tcp", "two.example", gone.address[2]))


def test_a_look_up_that_does_not_end_is_a_timeout(front: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def getaddrinfo(*args: Any, **options: Any) -> Any:
        assert may_end.wait(SOON)
        ended.set()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        with pytest.raises(ConnectTimeout, match=r"cannot connect to slow\.example:80: no answer within 0\.05 s"):
            front.open_connection("slow.example:80", connect_timeout=0.05)
    finally:
        may_end.set()
    assert ended.wait(SOON)
