"""Wire formats other than the default: both ends are told, and everything else stays the same."""

from __future__ import annotations

import dataclasses
import queue
import random
import time
import warnings
from typing import Any

import pytest

from bokbok import Guards, Limits
from bokbok.errors import ConnectionClosed, ProfileError
from bokbok.wire import INFERRED_1, BrokenCryptographyWarning, passphrase_to_key
from bokbok.wire.boxes import Sent
from bokbok.wire.framing import IntegerLength
from bokbok.wire.hello import Field, Template, TemplateHello
from tests.support.peers import KEY, SOON, USERS, framed
from tests.support.profiles import random_profile

ANNOUNCED = dataclasses.replace(
    INFERRED_1,
    name="announced",
    hello=TemplateHello(
        packets=(Template((Field("user"),)), Template((Field("key"),))), insecure=(b"hello,", b"insecure")
    ),
)
"""As the default, except that an insecure client announces itself with two packets."""


def test_an_insecure_client_may_have_to_announce_itself(serve: Any, connect: Any, address: Any) -> None:
    opened: queue.Queue[Any] = queue.Queue()
    server = serve(at=address, profile=ANNOUNCED, on_open=opened.put)
    connection = connect(server, profile=ANNOUNCED)
    assert [connection.request(i) for i in range(3)] == [0, 1, 2]
    assert opened.get(timeout=SOON).request  # an open one
    assert opened.empty()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_announcement_may_come_in_pieces_and_requests_behind_it(serve: Any, raw: Any, step: int) -> None:
    peer = raw(serve(profile=ANNOUNCED))
    data = b"".join(map(framed, (b"hello,", b"insecure", b"(request 0 x)", b"(request 1 y)")))
    for start in range(0, len(data), step):
        peer.send(data[start : start + step])
    assert {peer.receive(), peer.receive()} == {b"(response 0 x)", b"(response 1 y)"}


def test_who_does_not_announce_itself_is_refused(serve: Any, connect: Any, raw: Any) -> None:
    opened: list[Any] = []
    server = serve(profile=ANNOUNCED, on_open=opened.append)
    peer = raw(server)
    peer.send_message(b"(request 0 x)")
    assert peer.read_to_end() == b""
    peer.close()
    with pytest.raises(ConnectionClosed):
        connect(server).request("x")
    server.stop()
    assert server.wait(SOON)
    assert opened == []


def test_an_announcement_that_does_not_come_is_given_up(serve: Any, raw: Any) -> None:
    peer = raw(serve(profile=ANNOUNCED, limits=Limits(hello_timeout=0.05)))
    peer.send(framed(b"hello,"))
    assert peer.read_to_end() == b""


def test_a_connection_that_announced_itself_has_no_time_limit_any_more(serve: Any, connect: Any) -> None:
    server = serve(profile=ANNOUNCED, limits=Limits(hello_timeout=0.05))
    connection = connect(server, profile=ANNOUNCED)
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        assert connection.request("x") == "x"


@pytest.mark.parametrize("seed", range(10))
def test_any_profile_is_spoken_by_both_ends(serve: Any, connect: Any, seed: int) -> None:
    profile = random_profile(random.Random(seed))
    key = passphrase_to_key("mypassphrase", profile=profile)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = serve(
            lambda connection, message: [connection.user, connection.request(message)],
            profile=profile,
            guards=Guards(nonce_reuse=False),
            user_to_key={"myuser": key}.get,
        )
        connection = connect(
            server,
            "myuser",
            key,
            lambda connection, message: [message, "back"],
            profile=profile,
            guards=Guards(nonce_reuse=False),
        )
        assert [connection.request(str(i)) for i in range(5)] == [["myuser", [str(i), "back"]] for i in range(5)]


def test_a_profile_that_does_not_exist_is_named_before_anything_is_connected(front: Any, tmp_path: Any) -> None:
    with pytest.raises(ProfileError, match=r"unknown profile 'egg-0\.2'"):
        front.open_connection(str(tmp_path / "nowhere"), profile="egg-0.2")


def test_ends_that_speak_different_profiles_part(serve: Any, connect: Any) -> None:
    server = serve(profile=ANNOUNCED, user_to_key=USERS.get, limits=Limits(hello_timeout=0.05))
    with pytest.raises(ConnectionClosed):
        connect(server, profile=ANNOUNCED).request("x")  # announces what this server does not want
    assert connect(server, "myuser", KEY, profile=ANNOUNCED).request("x") == "x"


@dataclasses.dataclass(frozen=True)
class FailsToWrite(IntegerLength):
    """A user's own strategy, with a fault."""

    def writer(self) -> Any:
        def write(out: list[bytes], packet: bytes) -> None:
            raise ZeroDivisionError("on purpose")

        return write


def test_a_strategy_that_fails_ends_the_connection_and_leaves_nobody_waiting(serve: Any, raw: Any) -> None:
    server = serve(profile=dataclasses.replace(INFERRED_1, framing=FailsToWrite()))
    peer = raw(server)
    peer.send_message(b"(request 0 x)")
    assert peer.read_to_end() == b""
    server.stop()
    assert server.wait(SOON)


LEAKING = dataclasses.replace(INFERRED_1, name="leaking", nonces=Sent(key="zero"))
"""Broken cryptography: the session key's box has the same nonce in every connection."""


def test_a_server_does_not_start_with_broken_cryptography(front: Any, tmp_path: Any) -> None:
    with pytest.raises(ProfileError, match="'leaking' is broken cryptography and is not spoken"):
        front.start_server(str(tmp_path / "s"), profile=LEAKING, user_to_key=USERS.get)
    assert not (tmp_path / "s").exists()


def test_a_server_that_speaks_broken_cryptography_warns_when_it_starts(front: Any, tmp_path: Any) -> None:
    with (
        pytest.warns(BrokenCryptographyWarning, match="the XOR of their session keys"),
        front.start_server(
            str(tmp_path / "s"), profile=LEAKING, user_to_key=USERS.get, guards=Guards(nonce_reuse=False)
        ),
    ):
        pass


def test_an_insecure_server_has_no_cryptography_to_break(serve: Any, connect: Any) -> None:
    assert connect(serve(profile=LEAKING), profile=LEAKING).request("x") == "x"
