from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bokbok_traffic.relay import Relay


class Upstream:
    """A server that hands its connections to the test."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def start(self, address: tuple[Any, ...]) -> tuple[Any, ...]:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted.put_nowait((reader, writer))

        if address[0] == "unix":
            self.server: asyncio.Server = await asyncio.start_unix_server(take, address[1])
            return address
        self.server = await asyncio.start_server(take, "127.0.0.1", 0)
        return ("tcp", "127.0.0.1", self.server.sockets[0].getsockname()[1])


@pytest.fixture(params=["tcp", "unix"])
async def ends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """A relay and the two ends of one connection through it."""
    upstream = Upstream()
    if request.param == "unix":
        target = await upstream.start(("unix", str(tmp_path / "up")))
        relay = await Relay(("unix", str(tmp_path / "relay")), target).start()
        client = await asyncio.open_unix_connection(relay.address[1])
    else:
        relay = await Relay(("tcp", "127.0.0.1", 0), await upstream.start(("tcp",))).start()
        client = await asyncio.open_connection(*relay.address[1:])
    server = await upstream.accepted.get()
    yield relay, client, server
    for _, writer in (client, server):
        writer.close()
    await relay.stop()
    upstream.server.close()


async def test_bytes_pass_both_ways_and_are_recorded(ends: Any) -> None:
    relay, (reader, writer), (up_reader, up_writer) = ends
    writer.write(b"there")
    assert await up_reader.readexactly(5) == b"there"
    up_writer.write(b"and back")
    assert await reader.readexactly(8) == b"and back"
    assert relay.capture.stream(1, "client") == b"there"
    assert relay.capture.stream(1, "server") == b"and back"
    assert relay.seen == {"client": 5, "server": 8}


async def test_an_end_of_file_passes_and_leaves_the_other_direction_open(ends: Any) -> None:
    relay, (reader, writer), (up_reader, up_writer) = ends
    writer.write_eof()
    assert await up_reader.read() == b""
    up_writer.write(b"still open")
    assert await reader.readexactly(10) == b"still open"
    up_writer.close()
    assert await reader.read() == b""
    await (await relay.link()).over.wait()
    assert [chunk.source for chunk in relay.capture.chunks if chunk.data is None] == ["client", "server"]


async def test_abort_breaks_both_sides(ends: Any) -> None:
    relay, (reader, writer), (up_reader, _) = ends
    writer.write(b"x")
    await up_reader.readexactly(1)
    relay.abort()
    for end in (reader, up_reader):
        with contextlib.suppress(ConnectionResetError):
            assert await end.read() == b""


async def test_cut_passes_exactly_so_many_bytes(ends: Any) -> None:
    relay, (_, writer), (up_reader, _) = ends
    relay.faults["client"].cut_after = 7
    writer.write(b"0123456789")
    got = b""
    try:
        while data := await up_reader.read(100):
            got += data
    except ConnectionResetError:
        pass
    assert got == b"0123456"[: len(got)]
    assert len(got) in (0, 7)  # a reset may throw away what was not read yet


async def test_hold_keeps_one_direction_back_until_release(ends: Any) -> None:
    relay, (reader, writer), (up_reader, up_writer) = ends
    relay.hold("client")
    writer.write(b"held")
    await relay.more_from("client", 0)
    up_writer.write(b"free")
    assert await reader.readexactly(4) == b"free"
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(up_reader.read(1), 0.05)
    relay.release("client")
    assert await up_reader.readexactly(4) == b"held"


async def test_chopped_bytes_arrive_whole(ends: Any) -> None:
    relay, (_, writer), (up_reader, _) = ends
    relay.faults["client"].chop = 1
    writer.write(bytes(range(200)))
    assert await up_reader.readexactly(200) == bytes(range(200))


async def test_one_direction_can_be_ended_by_the_relay(ends: Any) -> None:
    relay, (reader, _), (up_reader, up_writer) = ends
    (await relay.link()).end("server")
    assert await up_reader.read() == b""
    up_writer.write(b"back")
    assert await reader.readexactly(4) == b"back"


async def test_what_comes_behind_an_end_that_the_relay_made_is_recorded_and_does_not_pass(ends: Any) -> None:
    relay, (reader, writer), (up_reader, up_writer) = ends
    (await relay.link()).end("client")
    assert await reader.read() == b""
    up_writer.write(b"too late")
    assert await relay.bytes_from("server", 8) == b"too late"
    writer.write(b"still open")
    assert await up_reader.readexactly(10) == b"still open"


async def test_a_server_that_is_not_there_ends_the_clients_connection(tmp_path: Path) -> None:
    relay = await Relay(("unix", str(tmp_path / "r")), ("unix", str(tmp_path / "nothing"))).start()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "r"))
    assert await reader.read() == b""
    writer.close()
    await relay.stop()
    assert not (tmp_path / "r").exists()


async def test_an_address_that_this_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # As where IPv6 is off and "localhost" still means ::1. 192.0.2.1 is for documentation, so nobody has it.
    async def both(*arguments: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    upstream = Upstream()
    relay = await Relay(("tcp", "localhost", 0), await upstream.start(("tcp",))).start()
    _, writer = await asyncio.open_connection("127.0.0.1", relay.address[2])
    writer.write(b"there")
    reader, up_writer = await upstream.accepted.get()
    assert await reader.readexactly(5) == b"there"
    for one in (writer, up_writer):
        one.close()
    await relay.stop()
    upstream.server.close()


async def test_a_name_without_an_address_of_this_machine_is_refused() -> None:
    with pytest.raises(OSError, match="assign requested address"):
        await Relay(("tcp", "192.0.2.1", 0), ("tcp", "127.0.0.1", 1)).start()
