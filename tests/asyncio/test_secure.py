"""Look-ups of keys that are coroutines, or plain functions on the event loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed
from tests.support.leaks import eventually_async
from tests.support.peers import KEY, USERS


async def test_a_lookup_that_fails_refuses_the_user_and_is_logged(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def plain(user: str) -> Any:
        raise LookupError("the database is gone")

    async def coroutine(user: str) -> Any:
        raise LookupError("the database is gone")

    for user_to_key in (plain, coroutine):
        with pytest.raises(ConnectionClosed, match="the key is wrong"):
            await (await connect(await serve(user_to_key=user_to_key), secure=True)).request("x")
    await eventually_async(lambda: caplog.text.count("LookupError: the database is gone") == 2, "both are logged")
    assert {record.name for record in caplog.records} == {"bokbok.asyncio"}


async def test_a_lookup_may_be_a_coroutine(serve: Any, connect: Any) -> None:
    async def user_to_key(user: str) -> Any:
        await asyncio.sleep(0)
        return USERS.get(user)

    async def whoami(connection: Any, message: Any) -> Any:
        return connection.user

    server = await serve(whoami, user_to_key=user_to_key)
    assert await (await connect(server, secure=True)).request("who am I?") == "myuser"
    with pytest.raises(ConnectionClosed):
        await (await connect(server, "nobody", KEY)).request("x")


async def test_a_lookup_that_is_cancelled_ends_its_connection_alone(serve: Any, connect: Any, raw: Any) -> None:
    async def user_to_key(user: str) -> Any:
        if user == "another":
            raise asyncio.CancelledError
        return USERS.get(user)

    server = await serve(user_to_key=user_to_key)
    with pytest.raises(ConnectionClosed):
        await (await connect(server, "another", USERS["another"])).request("x")
    assert await (await connect(server, secure=True)).request("x") == "x"
