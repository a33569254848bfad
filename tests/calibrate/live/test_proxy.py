"""Between a client and a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bokbok_calibrate.live.proxy import run_proxy
from bokbok_traffic.recording import from_capture
from bokbok_traffic.streams import open_stream


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(4))
    writer.close()


@contextlib.asynccontextmanager
async def passing_on(folder: Path, told: list[Any]) -> AsyncIterator[tuple[Any, asyncio.Task[Any]]]:
    """Where the proxy listens before a server that sends back what it hears, and its task."""
    up, here = ("unix", str(folder / "up")), ("unix", str(folder / "here"))
    ready = asyncio.Event()
    async with await asyncio.start_unix_server(_echo, up[1]):
        proxy = asyncio.create_task(run_proxy(here, up, 2, told.append, ready=lambda _: ready.set()))
        await ready.wait()
        yield here, proxy


async def echoed(here: Any, data: bytes) -> None:
    reader, writer = await open_stream(here)
    writer.write(data)
    assert await reader.read() == data
    writer.close()


async def test_what_passes_is_recorded_until_so_many_connections_are_over(tmp_path: Path) -> None:
    told: list[str] = []
    async with passing_on(tmp_path, told) as (here, proxy):
        for data in (b"ping", b"pong"):
            await echoed(here, data)
        recorded = from_capture(await proxy)
    assert [(one.client, one.server) for one in recorded] == [(b"ping", b"ping"), (b"pong", b"pong")]
    assert told == [f"listening at {here[1]}, passing on to {tmp_path / 'up'}; 2 connections are recorded"]


async def test_a_server_that_cannot_be_reached_is_an_error(tmp_path: Path) -> None:
    here = ("unix", str(tmp_path / "here"))
    ready = asyncio.Event()
    upstream = ("unix", str(tmp_path / "nothing"))
    proxy = asyncio.create_task(run_proxy(here, upstream, 1, [].append, ready=lambda _: ready.set()))
    await ready.wait()
    _, writer = await open_stream(here)
    with pytest.raises(OSError, match=r"the server at .*/nothing cannot be reached: No such file"):
        await proxy
    writer.close()


async def test_ended_early_it_gives_what_it_has(tmp_path: Path) -> None:
    told: list[str] = []
    async with passing_on(tmp_path, told) as (here, proxy):
        await echoed(here, b"ping")
        proxy.cancel()
        recorded = from_capture(await proxy)
    assert recorded[0].client == b"ping"
    assert told[-1] == "ended early"
