"""`bokbok._sockets`: listening, connecting, and the address of the other end."""

import errno
import fcntl
import gc
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bokbok import _sockets
from bokbok._sockets import (
    ENDLESS,
    connect_candidates,
    connect_failed,
    listen,
    peer_address,
    seconds,
    tcp_address,
    tune,
)
from bokbok.errors import AddressError, ConnectFailed
from tests.support.network import needs_ipv6


@pytest.fixture
def listening():
    """`listen`, whose listeners are closed at the end."""
    listeners = []

    def start(address, backlog=5):
        listeners.append(listen(address, backlog))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def _connects(family, place):
    with socket.socket(family) as sock:
        sock.settimeout(10)
        sock.connect(place)
        return True


# Listening: TCP.


def test_port_0_lets_the_system_choose_and_the_address_tells(listening):
    listener = listening(("tcp", "127.0.0.1", 0))
    kind, host, port = listener.address
    assert (kind, host) == ("tcp", "127.0.0.1")
    assert port > 0
    assert _connects(socket.AF_INET, ("127.0.0.1", port))


def test_listening_sockets_do_not_block(listening):
    (sock,) = listening(("tcp", "127.0.0.1", 0)).sockets
    with pytest.raises(BlockingIOError):
        sock.accept()


def test_a_name_with_several_addresses_gets_one_port_on_all_of_them(listening, monkeypatch):
    both = [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("127.0.0.2", 0))]
    monkeypatch.setattr(_sockets, "_resolve", lambda host, port, passive: both)
    listener = listening(("tcp", "two.example", 0))
    assert listener.address == ("tcp", "two.example", listener.sockets[0].getsockname()[1])
    assert [sock.getsockname() for sock in listener.sockets] == [
        ("127.0.0.1", listener.address[2]),
        ("127.0.0.2", listener.address[2]),
    ]


@needs_ipv6
def test_localhost_is_both_loopback_addresses(listening, monkeypatch):
    both = [(socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    monkeypatch.setattr(_sockets, "_resolve", lambda host, port, passive: both)
    _, _, port = listening(("tcp", "localhost", 0)).address
    assert _connects(socket.AF_INET6, ("::1", port))
    assert _connects(socket.AF_INET, ("127.0.0.1", port))


def test_an_address_that_this_machine_has_not_is_left_out_where_another_will_do(listening, monkeypatch):
    # As on machines where IPv6 is off and "localhost" still means ::1. 192.0.2.1 is for documentation, so nobody has
    # it.
    both = [(socket.AF_INET, ("192.0.2.1", 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    monkeypatch.setattr(_sockets, "_resolve", lambda host, port, passive: both)
    listener = listening(("tcp", "localhost", 0))
    assert [sock.getsockname()[0] for sock in listener.sockets] == ["127.0.0.1"]


def test_an_address_that_this_machine_has_not_is_refused_where_it_is_the_only_one():
    with pytest.raises(ConnectFailed, match=r"^cannot listen on 192\.0\.2\.1:0: Cannot assign requested address$"):
        listen(("tcp", "192.0.2.1", 0), 5)


def test_another_port_is_tried_where_the_systems_choice_is_taken_on_the_second_address(listening, monkeypatch):
    both = [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("127.0.0.2", 0))]
    monkeypatch.setattr(_sockets, "_resolve", lambda host, port, passive: both)
    bind, refused, bound = _sockets._bind_tcp, [], []

    def bind_tcp(family, place):
        if place[0] == "127.0.0.2" and not refused:
            refused.append(place)
            raise OSError(errno.EADDRINUSE, "Address already in use")
        bound.append(bind(family, place))
        return bound[-1]

    monkeypatch.setattr(_sockets, "_bind_tcp", bind_tcp)
    listener = listening(("tcp", "localhost", 0))
    assert listener.sockets == bound[1:]
    assert bound[0].fileno() == -1  # the first try is closed


def test_a_port_that_is_taken_on_every_try_is_refused_in_the_end(monkeypatch):
    def bind_tcp(family, place):
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(_sockets, "_bind_tcp", bind_tcp)
    with pytest.raises(ConnectFailed, match="Address already in use"):
        listen(("tcp", "127.0.0.1", 0), 5)


def test_a_port_in_use_is_refused_by_name_and_leaves_no_socket(listening, monkeypatch):
    _, _, port = listening(("tcp", "127.0.0.1", 0)).address
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectFailed, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use$"):
        listen(("tcp", "127.0.0.1", port), 5)
    # The second of two addresses being in use takes the first one with it.
    both = [(socket.AF_INET, ("127.0.0.2", port)), (socket.AF_INET, ("127.0.0.1", port))]
    monkeypatch.setattr(_sockets, "_resolve", lambda host, port, passive: both)
    with pytest.raises(ConnectFailed, match="Address already in use"):
        listen(("tcp", "localhost", port), 5)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_socket_that_cannot_listen_is_closed(monkeypatch):
    class Deaf(socket.socket):
        def listen(self, backlog=0):
            raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(_sockets.socket, "socket", Deaf)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectFailed, match="Address already in use"):
        listen(("tcp", "127.0.0.1", 0), 5)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_port_is_free_again_at_once(listening):
    first = listening(("tcp", "127.0.0.1", 0))
    with socket.create_connection(("127.0.0.1", first.address[2])) as client:
        first.sockets[0].setblocking(True)
        accepted, _ = first.sockets[0].accept()
        accepted.close()  # the server's side closes first: its port is left in TIME_WAIT
        assert client.recv(1) == b""
    first.close()
    assert listening(first.address).address == first.address


@pytest.mark.parametrize("host", ["a" * 300, "a..b", "\udcff.example"])
def test_what_cannot_be_a_host_name_is_a_wrong_address(host):
    with pytest.raises(AddressError, match="is not a host name"):
        listen(("tcp", host, 0), 5)
    with pytest.raises(AddressError, match="is not a host name"):
        connect_candidates(("tcp", host, 80))


def test_an_unknown_host_is_a_failure_to_listen_or_connect(monkeypatch):
    def getaddrinfo(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ConnectFailed, match=r"^cannot listen on no\.example:80: Name or service not known$"):
        listen(("tcp", "no.example", 80), 5)
    with pytest.raises(ConnectFailed, match=r"^cannot connect to no\.example:80: Name or service not known$"):
        connect_candidates(("tcp", "no.example", 80))


# Listening: all addresses.


def test_no_host_means_all_addresses(listening):
    listener = listening(("tcp", None, 0))
    kind, host, port = listener.address
    assert (kind, host) == ("tcp", None)
    assert _connects(socket.AF_INET, ("127.0.0.1", port))
    assert _connects(socket.AF_INET, ("127.0.0.2", port))


@needs_ipv6
def test_no_host_means_ipv6_addresses_too(listening):
    _, _, port = listening(("tcp", None, 0)).address
    assert _connects(socket.AF_INET6, ("::1", port))


def test_all_addresses_are_those_of_ipv4_where_python_has_no_ipv6(listening, monkeypatch):
    monkeypatch.setattr(socket, "has_ipv6", False)
    (sock,) = listening(("tcp", None, 0)).sockets
    assert sock.family == socket.AF_INET


@pytest.mark.parametrize("step", ["socket", "bind"])
def test_all_addresses_are_those_of_ipv4_where_the_system_has_no_ipv6(listening, monkeypatch, step):
    class NoIpv6(socket.socket):
        def __init__(self, family=-1, *args, **kwargs):
            if family == socket.AF_INET6 and step == "socket":
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(socket.AF_INET if family == socket.AF_INET6 else family, *args, **kwargs)
            self.is_ipv6 = family == socket.AF_INET6

        def setsockopt(self, level, *args):
            if level != socket.IPPROTO_IPV6:
                super().setsockopt(level, *args)

        def bind(self, place):
            if self.is_ipv6:
                raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            super().bind(place)

    monkeypatch.setattr(_sockets.socket, "socket", NoIpv6)
    (sock,) = listening(("tcp", None, 0)).sockets
    assert sock.getsockname()[0] == "0.0.0.0"


@needs_ipv6
def test_a_port_in_use_on_all_addresses_is_refused(listening):
    _, _, port = listening(("tcp", None, 0)).address
    with pytest.raises(ConnectFailed, match=f"^cannot listen on :{port}: Address already in use$"):
        listen(("tcp", None, port), 5)


# Listening: Unix.


def test_a_unix_sockets_file_is_there_while_it_listens(listening, tmp_path):
    path = str(tmp_path / "s")
    listener = listening(("unix", path))
    assert listener.address == ("unix", path)
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert _connects(socket.AF_UNIX, path)
    listener.close()
    assert not os.path.exists(path)
    assert listener.sockets[0].fileno() == -1
    listener.close()


def test_a_unix_path_may_hold_any_bytes(listening, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xc3\xa9")
    listening(("unix", path))
    assert _connects(socket.AF_UNIX, path)


def test_the_file_of_another_server_is_left_alone(listening, tmp_path):
    path = str(tmp_path / "s")
    listener = listening(("unix", path))
    os.unlink(path)
    second = listening(("unix", path))
    listener.close()
    assert _connects(socket.AF_UNIX, path)
    os.unlink(path)
    second.close()  # nothing is there any more, which is as well


def test_the_file_that_a_dead_server_left_behind_is_replaced(listening, tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    listening(("unix", path))
    assert _connects(socket.AF_UNIX, path)


def test_the_file_of_a_living_server_is_not(listening, tmp_path):
    path = str(tmp_path / "s")
    listening(("unix", path))
    with pytest.raises(ConnectFailed, match=f"^cannot listen on {path}: Address already in use$"):
        listen(("unix", path), 5)
    assert _connects(socket.AF_UNIX, path)


def test_nor_is_that_of_one_whose_backlog_is_full(listening, tmp_path):
    path = str(tmp_path / "s")
    listening(("unix", path), backlog=0)
    waiting = []
    try:
        while True:
            sock = socket.socket(socket.AF_UNIX)
            waiting.append(sock)
            sock.setblocking(False)
            sock.connect(path)
    except BlockingIOError:
        pass
    with pytest.raises(ConnectFailed, match="Address already in use"):
        listen(("unix", path), 5)
    for sock in waiting:
        sock.close()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_backlog_that_is_no_number_leaves_nothing_behind(tmp_path, kind):
    path = tmp_path / "s"
    with pytest.raises(TypeError):
        listen(("tcp", "127.0.0.1", 0) if kind == "tcp" else ("unix", str(path)), "many")
    assert not path.exists()
    gc.collect()  # a socket that nobody closed would complain


def test_a_file_that_is_no_socket_is_never_replaced(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConnectFailed, match="Address already in use"):
        listen(("unix", str(path)), 5)
    assert path.read_text() == "data"


def test_a_path_in_no_folder_is_refused(tmp_path):
    with pytest.raises(ConnectFailed, match="No such file or directory"):
        listen(("unix", str(tmp_path / "no" / "s")), 5)


@pytest.mark.parametrize(
    ("path", "why"),
    [("x" * 108, "108 bytes; a Unix socket's path has at most 107"), ("é" * 54, "108 bytes"), ("\ud800", "not a path")],
)
def test_a_path_that_no_socket_can_have_is_a_wrong_address(path, why):
    with pytest.raises(AddressError, match=why):
        listen(("unix", path), 5)
    with pytest.raises(AddressError, match=why):
        connect_candidates(("unix", path))


def test_the_longest_path_will_do(listening, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = "x" * 107
    listening(("unix", path))
    assert _connects(socket.AF_UNIX, path)


# Connecting.


def test_a_numeric_host_has_one_candidate():
    assert connect_candidates(("tcp", "127.0.0.1", 80)) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert connect_candidates(("unix", "/tmp/s")) == [(socket.AF_UNIX, "/tmp/s")]


def test_no_host_means_this_machine():
    found = connect_candidates(("tcp", None, 80))
    assert found
    assert {place[0] for _, place in found} <= {"127.0.0.1", "::1"}


def test_candidates_come_in_the_systems_order_and_once(monkeypatch):
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.2", 80)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.2", 80)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    assert [place[0] for _, place in connect_candidates(("tcp", "two.example", 80))] == ["10.0.0.2", "10.0.0.1"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (OSError("something else"), "something else"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_a_failure_to_connect_names_the_address_and_the_reason(error, reason):
    assert str(connect_failed(("tcp", "::1", 80), error)) == f"cannot connect to [::1]:80: {reason}"


# Connected sockets.


@pytest.fixture
def pair():
    """Two ends of a TCP connection over IPv4."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def test_a_tcp_socket_is_tuned_for_small_packets_and_dead_peers(pair):
    client, _ = pair
    tune(client)
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 6


def test_an_option_that_the_system_has_not_is_left_out(pair, monkeypatch):
    monkeypatch.setattr(_sockets, "_KEEPALIVE", {"TCP_NO_SUCH_OPTION": 1, "TCP_KEEPIDLE": 61})
    tune(pair[0])
    assert pair[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 61


def test_tuning_a_unix_socket_or_a_closed_one_does_nothing(pair):
    one, other = socket.socketpair()
    with one, other:
        tune(one)
        assert not one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    pair[0].close()
    tune(pair[0])


def test_the_other_ends_address_is_numeric(pair):
    client, server = pair
    assert peer_address(client, ("tcp", "localhost", 1)) == ("tcp", *server.getsockname())
    assert peer_address(server, ("tcp", None, 1)) == ("tcp", *client.getsockname())


def test_the_other_ends_address_on_a_unix_socket_is_the_sockets_own():
    one, other = socket.socketpair()
    with one, other:
        assert peer_address(one, ("unix", "/tmp/s")) == ("unix", "/tmp/s")


def test_an_end_that_is_gone_already_is_shown_as_asked(pair):
    pair[0].close()
    assert peer_address(pair[0], ("tcp", "localhost", 1)) == ("tcp", "localhost", 1)


@needs_ipv6
def test_an_ipv4_client_of_a_server_on_all_addresses_is_shown_as_ipv4(listening):
    listener = listening(("tcp", None, 0))
    with socket.create_connection(("127.0.0.1", listener.address[2])) as client:
        listener.sockets[0].setblocking(True)
        server, _ = listener.sockets[0].accept()
        with server:
            assert server.getpeername()[0] == "::ffff:127.0.0.1"
            assert peer_address(server, listener.address) == ("tcp", "127.0.0.1", client.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%lo", "fe80::1%lo"),
        ("not an address", "not an address"),
    ],
)
def test_an_ipv4_mapped_address_is_shown_as_ipv4(host, shown):
    assert tcp_address(host, 80) == ("tcp", shown, 80)


# Time-outs.


@pytest.mark.parametrize("given", [0, -1, 0.5, 60, -float("inf")])
def test_a_timeout_is_a_number_of_seconds(given):
    assert seconds(given) == given


@pytest.mark.parametrize("given", [None, ENDLESS, 10**400, float("inf")])
def test_a_timeout_that_no_call_of_the_system_takes_never_runs_out(given):
    assert seconds(given) is None


@pytest.mark.parametrize(
    ("given", "raises", "kind"), [("5", TypeError, "str"), (True, TypeError, "bool"), (float("nan"), ValueError, "NaN")]
)
def test_what_is_no_number_of_seconds_is_refused_by_name(given, raises, kind):
    with pytest.raises(raises, match=f"^connect_timeout: expected seconds or None, got {kind}$"):
        seconds(given, "connect_timeout")


# Of a Unix socket's file.


RACE = """
import sys
from bokbok._sockets import listen
print("ready", flush=True)
while sys.stdin.readline():
    listener = None
    try:
        listener = listen(("unix", sys.argv[1]), 5)
        print("yes", flush=True)
    except Exception as error:
        print("no", error, flush=True)
    sys.stdin.readline()
    if listener is not None:
        listener.close()
    print("closed", flush=True)
"""


def test_of_servers_that_start_at_once_on_one_path_exactly_one_succeeds(tmp_path: Path) -> None:
    rounds = 40
    path = str(tmp_path / "s")
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    def ask_all() -> list[str]:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        return [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]

    try:
        assert [racer.stdout.readline() for racer in racers if racer.stdout is not None] == ["ready\n"] * 3
        for number in range(rounds):
            if number % 2:  # over what a dead server has left behind
                with socket.socket(socket.AF_UNIX) as dead:
                    dead.bind(path)
            answers = ask_all()
            assert sorted(answer[:3] for answer in answers) == ["no ", "no ", "yes"], answers
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)  # somebody is there
            assert ask_all() == ["closed"] * 3
            assert not os.path.exists(path)
    finally:
        for racer in racers:
            racer.communicate()


def test_a_folder_that_somebody_keeps_locked_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: Any
) -> None:
    monkeypatch.setattr(_sockets, "_LOCK_SECONDS", 0.05)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(ConnectFailed, match="another process holds a lock on its folder"):
            listen(("unix", str(tmp_path / "s")), 5)
    finally:
        os.close(folder)
    assert os.listdir(tmp_path) == []
    listening(("unix", str(tmp_path / "s")))


def test_the_file_is_removed_though_the_current_folder_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    listener = listen(("unix", "s"), 5)
    monkeypatch.chdir(tmp_path / "other")
    Path("s").touch()
    listener.close()
    assert os.listdir(tmp_path) == ["other"]
    assert os.listdir(tmp_path / "other") == ["s"]


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_file_has_the_mode_that_was_asked_for_whatever_the_umask_is(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "s"
    before = os.umask(0o177)
    try:
        listener = listen(("unix", str(path)), 5, mode=mode)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == mode
    listener.close()


def test_the_file_has_the_owner_that_was_asked_for_or_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "s"
    if os.geteuid() == 0:
        listener = listen(("unix", str(path)), 5, owner=(-1, 65534))
        assert (path.stat().st_uid, path.stat().st_gid) == (0, 65534)
        listener.close()
    else:
        with pytest.raises(ConnectFailed, match="Operation not permitted"):
            listen(("unix", str(path)), 5, owner=(0, -1))
    assert os.listdir(tmp_path) == []
