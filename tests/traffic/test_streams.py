"""Connecting to the address at which a puppet listens, and to nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bokbok_traffic.streams import open_stream


async def test_a_socket_is_reached_without_following_links(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), tmp_path / "socket")
    async with server:
        reader, writer = await open_stream(("unix", str(tmp_path / "socket")), follow=False)
        assert await reader.read() == b""
        writer.close()


async def test_a_link_to_a_socket_is_not_followed_unless_it_is_allowed(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), tmp_path / "socket")
    (tmp_path / "link").symlink_to("socket")
    async with server:
        with pytest.raises(OSError, match="symbolic link"):
            await open_stream(("unix", str(tmp_path / "link")), follow=False)
        reader, writer = await open_stream(("unix", str(tmp_path / "link")))
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("follow", [True, False])
async def test_nothing_at_a_path(tmp_path: Path, follow: bool) -> None:
    with pytest.raises(FileNotFoundError):
        await open_stream(("unix", str(tmp_path / "nothing")), follow=follow)
