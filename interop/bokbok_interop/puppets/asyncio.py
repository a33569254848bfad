"""The puppet of `bokbok.asyncio`: a task for each command.

What this module knows: how the puppet protocol's commands are calls of the public API. What it refuses to know: how
they work.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import Any

from bokbok import service
from bokbok.asyncio import Connection, Server, open_connection, passphrase_to_key, start_server
from bokbok.sexpr import Symbol

from .common import address_datum, hello, parse, refusal, start_logging, users_table, write_line

__all__ = ["Puppet", "main"]

MAX_LINE = 128 * 1024 * 1024


class Puppet:
    """What is open here, by handle."""

    name = "bokbok.asyncio"

    def __init__(self) -> None:
        self.on_request = service.async_handler()
        self.connections: dict[int, Connection] = {}
        self.servers: dict[int, Server] = {}
        self.handles: dict[Connection, int] = {}
        self.accepted = itertools.count(-1, -1)

    def say(self, *datum: Any) -> None:
        """Print one line. Blocks the loop while the runner does not read, which it always does."""
        sys.stdout.buffer.write(write_line(list(datum)))
        sys.stdout.buffer.flush()

    async def obey(self, line: bytes) -> None:
        """Carry out one command and answer it."""
        number, verb, arguments = parse(line)
        command = getattr(self, f"do_{verb}", None)
        if command is None:
            self.say(number, Symbol("unsupported"), verb)
            return
        try:
            answer = await command(*arguments)
        except Exception as error:
            answer = refusal(error)
        self.say(number, *answer)

    async def do_hello(self) -> list[Any]:
        """Who this is, and what it has."""
        return hello(self.name)

    async def do_listen(self, handle: int, address: Any, backlog: int, users: Any) -> list[Any]:
        """`start-server`."""
        table = users_table(users)

        def on_open(connection: Connection) -> None:
            mine = next(self.accepted)
            self.connections[mine] = connection
            self.handles[connection] = mine
            self.say(
                Symbol("event"), Symbol("opened"), handle, mine, _user(connection), address_datum(connection.address)
            )

        server = await start_server(
            address,
            self.on_request,
            user_to_key=None if table is None else table.get,
            on_open=on_open,
            on_close=self.closed,
            backlog=backlog,
        )
        self.servers[handle] = server
        return [Symbol("ok"), address_datum(server.address)]

    async def do_connect(self, handle: int, address: Any, user: Any, passphrase: Any) -> list[Any]:
        """`open-connection!`."""
        named = asyncio.Event()

        async def on_close(connection: Connection) -> None:
            await named.wait()
            self.closed(connection)

        connection = await open_connection(
            address,
            None if user is False else user,
            None if passphrase is False else passphrase_to_key(passphrase),
            self.on_request,
            on_close,
        )
        self.connections[handle] = connection
        self.handles[connection] = handle
        named.set()
        return [Symbol("ok")]

    def closed(self, connection: Connection) -> None:
        """The close handler of every connection."""
        self.say(Symbol("event"), Symbol("closed"), self.handles[connection])

    async def do_request(self, handle: int, datum: Any) -> list[Any]:
        """`request!`."""
        return [Symbol("response"), await self.connections[handle].request(datum)]

    async def do_info(self, handle: int) -> list[Any]:
        """`connection-user` and `connection-addr`."""
        connection = self.connections[handle]
        return [Symbol("ok"), _user(connection), address_datum(connection.address)]

    async def do_close(self, handle: int) -> list[Any]:
        """`close-connection!`."""
        await self.connections[handle].close()
        return [Symbol("ok")]

    async def do_stop(self, handle: int) -> list[Any]:
        """`stop-server!`."""
        await self.servers[handle].stop()
        return [Symbol("ok")]

    async def do_wait(self, handle: int) -> list[Any]:
        """`wait-until-server-stopped`."""
        await self.servers[handle].wait()
        return [Symbol("ok")]

    async def do_key(self, passphrase: str) -> list[Any]:
        """`passphrase->key`."""
        return [Symbol("ok"), passphrase_to_key(passphrase).to_bytes()]

    async def close(self) -> None:
        """Close everything."""
        for connection in list(self.connections.values()):
            await connection.close()
        for server in list(self.servers.values()):
            await server.stop()


def _user(connection: Connection) -> str | bool:
    return False if connection.user is None else connection.user


async def _main() -> None:
    reader = asyncio.StreamReader(limit=MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    puppet = Puppet()
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.ensure_future(puppet.obey(line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await puppet.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Obey until the end of standard input."""
    start_logging()
    asyncio.run(_main())


if __name__ == "__main__":
    main()
