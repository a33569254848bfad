"""Other wire formats than the default: both ends are told, and the rest stays as it is."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
import warnings
from typing import Any

import pytest

from bokbok.asyncio import Guards, Limits, open_connection, start_server
from bokbok.errors import ConnectionClosed, ProfileError
from bokbok.wire import INFERRED_1, BrokenCryptographyWarning, passphrase_to_key
from bokbok.wire.boxes import Sent
from bokbok.wire.framing import LengthPrefix
from bokbok.wire.hello import Field, Template, TemplateHello
from tests.support.leaks import soon
from tests.support.peers import KEY, USERS, framed
from tests.support.profiles import random_profile

ANNOUNCED = dataclasses.replace(
    INFERRED_1,
    name="announced",
    hello=TemplateHello(
        packets=(Template((Field("user"),)), Template((Field("key"),))), insecure=(b"hello,", b"insecure")
    ),
)
"""As the default, but that an insecure client announces itself with two packets."""


async def test_an_insecure_client_may_have_to_announce_itself(serve: Any, connect: Any, address: Any) -> None:
    opened: asyncio.Queue[Any] = asyncio.Queue()
    server = await serve(at=address, profile=ANNOUNCED, on_open=opened.put_nowait)
    connection = await connect(server, profile=ANNOUNCED)
    assert [await connection.request(i) for i in range(3)] == [0, 1, 2]
    assert (await soon(opened.get())).request  # an open one
    assert opened.empty()


@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_an_announcement_may_come_in_pieces_and_requests_behind_it(serve: Any, raw: Any, step: int) -> None:
    peer = await raw(await serve(profile=ANNOUNCED))
    data = (
        framed(b"hello,")
        + framed(b"insecure")
        + await peer.packet(b"(request 0 x)")
        + await peer.packet(b"(request 1 y)")
    )
    for start in range(0, len(data), step):
        await peer.send(data[start : start + step])
    assert {await peer.receive(), await peer.receive()} == {b"(response 0 x)", b"(response 1 y)"}


async def test_who_does_not_announce_itself_is_refused(serve: Any, connect: Any, raw: Any) -> None:
    opened: list[Any] = []
    server = await serve(profile=ANNOUNCED, on_open=opened.append)
    peer = await raw(server)
    await peer.send_message(b"(request 0 x)")
    assert await peer.read_to_end() == b""
    await peer.close()
    with pytest.raises(ConnectionClosed):
        await (await connect(server)).request("x")
    await server.stop()
    await soon(server.wait())
    assert opened == []


async def test_an_announcement_that_does_not_come_is_given_up(serve: Any, raw: Any) -> None:
    peer = await raw(await serve(profile=ANNOUNCED, limits=Limits(hello_timeout=0.05)))
    await peer.send(framed(b"hello,"))
    assert await peer.read_to_end() == b""


async def test_a_connection_that_announced_itself_has_no_time_limit_any_more(serve: Any, connect: Any) -> None:
    server = await serve(profile=ANNOUNCED, limits=Limits(hello_timeout=0.05))
    connection = await connect(server, profile=ANNOUNCED)
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        assert await connection.request("x") == "x"


@pytest.mark.parametrize("seed", range(10))
async def test_any_profile_is_spoken_by_both_ends(serve: Any, connect: Any, seed: int) -> None:
    profile = random_profile(random.Random(seed))
    key = passphrase_to_key("mypassphrase", profile=profile)

    async def on_request(connection: Any, message: Any) -> Any:
        return [connection.user, await connection.request(message)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = await serve(
            on_request,
            profile=profile,
            guards=Guards(nonce_reuse=False),
            user_to_key={"myuser": key}.get,
        )
        connection = await connect(
            server,
            "myuser",
            key,
            lambda connection, message: [message, "back"],
            profile=profile,
            guards=Guards(nonce_reuse=False),
        )
        assert [await connection.request(str(i)) for i in range(5)] == [["myuser", [str(i), "back"]] for i in range(5)]


async def test_a_profile_that_does_not_exist_is_named_before_anything_is_connected(tmp_path: Any) -> None:
    with pytest.raises(ProfileError, match=r"no profile is called 'egg-0\.2'"):
        await open_connection(str(tmp_path / "nowhere"), profile="egg-0.2")


async def test_ends_that_speak_different_profiles_part(serve: Any, connect: Any) -> None:
    server = await serve(profile=ANNOUNCED, user_to_key=USERS.get, limits=Limits(hello_timeout=0.05))
    with pytest.raises(ConnectionClosed):
        await (await connect(server, profile=ANNOUNCED)).request("x")  # announces what this server does not want
    assert await (await connect(server, "myuser", KEY, profile=ANNOUNCED)).request("x") == "x"


@dataclasses.dataclass(frozen=True)
class FailsToWrite(LengthPrefix):
    """A strategy of somebody's own, with a fault."""

    def write(self, out: list[bytes], packet: bytes) -> None:
        raise ZeroDivisionError("on purpose")


async def test_a_strategy_that_fails_ends_the_connection_and_leaves_nobody_waiting(serve: Any, raw: Any) -> None:
    server = await serve(profile=dataclasses.replace(INFERRED_1, framing=FailsToWrite()))
    peer = await raw(server)
    await peer.send_message(b"(request 0 x)")
    assert await peer.read_to_end() == b""
    await soon(server.stop())
    await soon(server.wait())


LEAKING = dataclasses.replace(INFERRED_1, name="leaking", nonces=Sent(key="zero"))
"""Broken cryptography: the session key's box has the same nonce in every connection."""


async def test_a_server_does_not_start_with_broken_cryptography(tmp_path: Any) -> None:
    with pytest.raises(ProfileError, match="'leaking' is broken cryptography and is not spoken"):
        await start_server(str(tmp_path / "s"), profile=LEAKING, user_to_key=USERS.get)
    assert not (tmp_path / "s").exists()


async def test_a_server_that_speaks_broken_cryptography_warns_when_it_starts(tmp_path: Any) -> None:
    with pytest.warns(BrokenCryptographyWarning, match="the XOR of their session keys"):
        async with await start_server(
            str(tmp_path / "s"), profile=LEAKING, user_to_key=USERS.get, guards=Guards(nonce_reuse=False)
        ):
            pass
