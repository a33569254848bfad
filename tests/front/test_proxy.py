"""Behind a proxy that gives the client's address by the PROXY protocol."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bokbok import ConnectFailed, Limits
from bokbok._front.proxy import SIGNATURE
from bokbok.errors import ConnectionClosed
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS, RawPeer
from tests.support.proxies import in_front

AT = ("tcp", "127.0.0.1", 0)


def whose(host: str, port: int = 4711) -> bytes:
    """The header that a proxy writes in front of a client's bytes."""
    return SIGNATURE + b"\x21\x11\0\x0c" + socket.inet_aton(host) + bytes(4) + struct.pack(">HH", port, 0)


def told(connection: Any, message: Any) -> Any:
    """A handler that answers with the client's address."""
    return list(connection.address[1:])


@pytest.fixture
def come(serve: Any) -> Iterator[Callable[..., RawPeer]]:
    peers: list[RawPeer] = []

    def connect(server: Any, source: str, data: bytes) -> RawPeer:
        peers.append(RawPeer(socket.create_connection(server.address[1:], SOON, (source, 0))))
        peers[-1].send(data)
        return peers[-1]

    yield connect
    for peer in peers:
        peer.close()


def ask(peer: RawPeer) -> bytes:
    peer.send_message(b"(request 0 x)")
    return peer.receive()


def test_a_connection_is_the_clients_that_a_trusted_proxy_names(serve: Any, come: Any) -> None:
    server = serve(told, at=AT, proxies=["127.0.0.2"])
    assert ask(come(server, "127.0.0.2", whose("192.0.2.7"))) == b'(response 0 ("192.0.2.7" 4711))'


def test_the_header_may_come_in_pieces_and_with_what_follows_it(serve: Any, come: Any) -> None:
    server = serve(told, at=AT, proxies=["127.0.0.0/8"])
    data = whose("192.0.2.7")
    peer = come(server, "127.0.0.2", data[:5])
    peer.send(data[5:20])
    peer.send(data[20:] + peer.packet(b"(request 7 x)"))
    assert peer.receive() == b'(response 7 ("192.0.2.7" 4711))'


def test_nobody_else_can_say_to_be_another(serve: Any, come: Any) -> None:
    server = serve(told, at=AT, proxies=["127.0.0.2"])
    assert b'"127.0.0.3"' in ask(come(server, "127.0.0.3", b""))
    assert come(server, "127.0.0.3", whose("192.0.2.7")).read_to_end() == b""


def test_the_limits_are_about_the_client(serve: Any, come: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(told, at=AT, proxies=["127.0.0.2"], limits=Limits(connections_per_address=1))
    first = come(server, "127.0.0.2", whose("192.0.2.7"))
    assert ask(first)
    assert ask(come(server, "127.0.0.2", whose("192.0.2.8")))
    with pytest.raises((EOFError, ConnectionError)):
        ask(come(server, "127.0.0.2", whose("192.0.2.7")))
    assert "a connection from 192.0.2.7 is refused" in caplog.text


def test_a_proxy_that_says_nothing_of_the_kind_is_refused(
    serve: Any, come: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(told, at=AT, proxies=["127.0.0.2"])
    for data in (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8000\r\n", whose("192.0.2.7")[:20]):
        peer = come(server, "127.0.0.2", data)
        with contextlib.suppress(OSError):  # it is closed with what came behind the first bytes unread: a reset
            peer.finish()
            assert peer.read_to_end() == b""
    eventually(lambda: server.statistics().refused.get("proxy") == 2, "both were refused")
    assert "a connection of the proxy at 127.0.0.2:" in caplog.text
    assert "the proxy may speak version 1" in caplog.text
    assert server.statistics().connections == 0


def test_a_proxy_that_says_nothing_is_not_waited_for(serve: Any, come: Any) -> None:
    server = serve(told, at=AT, proxies=["127.0.0.2"], limits=Limits(hello_timeout=0.05))
    silent = come(server, "127.0.0.2", b"")
    assert ask(come(server, "127.0.0.3", b""))  # and nobody waits for it
    assert silent.read_to_end() == b""


def test_a_stop_does_not_wait_for_it_either(serve: Any, come: Any) -> None:
    server = serve(told, at=AT, proxies=["127.0.0.2"])
    silent = come(server, "127.0.0.2", whose("192.0.2.7")[:5])
    assert ask(come(server, "127.0.0.3", b""))  # it was accepted behind that one
    server.stop()
    assert server.wait(SOON)
    assert silent.read_to_end() == b""


def test_over_a_unix_socket_too(serve: Any, raw: Any) -> None:
    peer = raw(serve(told, proxies=["unix"]))
    peer.send(whose("192.0.2.7"))
    assert ask(peer) == b'(response 0 ("192.0.2.7" 4711))'


def test_behind_a_real_haproxy_the_server_sees_the_client(
    serve: Any, connect: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(
        lambda connection, message: [*told(connection, message), connection.user],
        at=AT,
        user_to_key=USERS.get,
        proxies=["127.0.0.2"],
        limits=Limits(connections_per_address=1),
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    behind = f"one 127.0.0.1:{server.address[2]} source 127.0.0.2 send-proxy-v2 check check-send-proxy inter 100ms"
    with in_front(tmp_path, [behind], frontend=[f"bind 127.0.0.1:{port}"]) as proxy:
        clients: list[Any] = []

        def is_there() -> bool:
            assert proxy.poll() is None, "it has ended"
            try:
                clients.append(connect(("tcp", "127.0.0.1", port), "myuser", KEY))
            except ConnectFailed:
                return False
            return True

        eventually(is_there, "it listens")
        host, seen_port, user = clients[0].request("x", timeout=SOON)
        assert (host, user) == ("127.0.0.1", "myuser")
        assert seen_port not in (port, server.address[2])
        # As far as the server knows, the second one is of the same source, and it may have one.
        with pytest.raises(ConnectionClosed):
            connect(("tcp", "127.0.0.1", port), "myuser", KEY).request("x", timeout=SOON)
        assert "a connection from 127.0.0.1 is refused" in caplog.text
        assert server.statistics().refused.get("proxy") is None  # nor were its checks
