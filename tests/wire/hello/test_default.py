"""`bokbok.wire.hello`: the two packets of `inferred-1`."""

from __future__ import annotations

import pytest

from bokbok.errors import RemoteProtocolError
from bokbok.wire import Connection, HelloReceived, Opened, Profile
from bokbok.wire.hello import MAX_USERNAME, TemplateHello
from tests.support.peers import KEY


def test_the_client_sends_the_username_and_the_boxed_session_key() -> None:
    assert TemplateHello().client(b"myuser", b"session key", lambda body: b"box of " + body) == [
        b"myuser",
        b"box of session key",
    ]


def test_the_server_takes_them_in_their_order() -> None:
    server = TemplateHello().server()
    assert server.limit == MAX_USERNAME == 255
    assert not server.receive(b"myuser")
    assert server.limit == 72
    assert server.receive(bytes(72))
    assert (server.user, server.box) == (b"myuser", bytes(72))
    assert server.session_key(lambda box: box[:32]) == bytes(32)


@pytest.mark.parametrize("user", [b"", b"\0", b"\xff" * 255])
def test_a_username_is_any_bytes(user: bytes) -> None:
    server = TemplateHello().server()
    server.receive(user)
    server.receive(bytes(72))
    assert server.user == user


@pytest.mark.parametrize("size", [0, 31, 40, 71, 73])
def test_the_second_packet_has_72_bytes(size: int) -> None:
    server = TemplateHello().server()
    server.receive(b"myuser")
    with pytest.raises(RemoteProtocolError, match=f"the hello's packet 2 has {size} bytes; expected 72"):
        server.receive(bytes(size))


def test_a_username_may_be_as_long_as_the_packet_behind_it() -> None:
    profile = Profile("long names", hello=TemplateHello(max_username=72))
    client = Connection("client", user="u" * 72, key=KEY, profile=profile)
    server = Connection("server", secure=True, profile=profile)
    assert server.receive(client.data_to_send()) == [HelloReceived("u" * 72)]
    assert server.authenticate(KEY) == [Opened("u" * 72)]


def test_a_hello_that_does_not_open_raises_what_the_box_raises() -> None:
    server = TemplateHello().server()
    server.receive(b"myuser")
    server.receive(bytes(72))

    def refuse(box: bytes) -> bytes:
        raise RemoteProtocolError("no")

    with pytest.raises(RemoteProtocolError, match="no"):
        server.session_key(refuse)
