"""The puppet of `bokbok.sync`: a thread for each command, since a request may take as long as it likes.

What this module knows: how the puppet protocol's commands are calls of the public API. What it refuses to know: how
they work.
"""

from __future__ import annotations

import itertools
import sys
import threading
from typing import Any

from bokbok import service
from bokbok.sexpr import Symbol
from bokbok.sync import Connection, Server, open_connection, passphrase_to_key, start_server

from .common import address_datum, hello, parse, refusal, start_logging, users_table, write_line

__all__ = ["Puppet", "main"]


class Puppet:
    """What is open here, by handle."""

    name = "bokbok.sync"

    def __init__(self) -> None:
        self.on_request = service.handler()
        self.connections: dict[int, Connection] = {}
        self.servers: dict[int, Server] = {}
        self.handles: dict[Connection, int] = {}
        self.accepted = itertools.count(-1, -1)
        self.output = threading.Lock()

    def say(self, *datum: Any) -> None:
        """Print one line."""
        line = write_line(list(datum))
        with self.output:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    def obey(self, line: bytes) -> None:
        """Carry out one command and answer it."""
        number, verb, arguments = parse(line)
        command = getattr(self, f"do_{verb}", None)
        if command is None:
            self.say(number, Symbol("unsupported"), verb)
            return
        try:
            answer = command(*arguments)
        except Exception as error:
            answer = refusal(error)
        self.say(number, *answer)

    def do_hello(self) -> list[Any]:
        """Who this is, and what it has."""
        return hello(self.name)

    def do_listen(self, handle: int, address: Any, backlog: int, users: Any) -> list[Any]:
        """`start-server`."""
        table = users_table(users)

        def on_open(connection: Connection) -> None:
            mine = next(self.accepted)
            self.connections[mine] = connection
            self.handles[connection] = mine
            self.say(
                Symbol("event"), Symbol("opened"), handle, mine, _user(connection), address_datum(connection.address)
            )

        server = start_server(
            address,
            self.on_request,
            user_to_key=None if table is None else table.get,
            on_open=on_open,
            on_close=self.closed,
            backlog=backlog,
        )
        self.servers[handle] = server
        return [Symbol("ok"), address_datum(server.address)]

    def do_connect(self, handle: int, address: Any, user: Any, passphrase: Any) -> list[Any]:
        """`open-connection!`."""
        named = threading.Event()

        def on_close(connection: Connection) -> None:
            named.wait()
            self.closed(connection)

        connection = open_connection(
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

    def do_request(self, handle: int, datum: Any) -> list[Any]:
        """`request!`."""
        return [Symbol("response"), self.connections[handle].request(datum)]

    def do_info(self, handle: int) -> list[Any]:
        """`connection-user` and `connection-addr`."""
        connection = self.connections[handle]
        return [Symbol("ok"), _user(connection), address_datum(connection.address)]

    def do_close(self, handle: int) -> list[Any]:
        """`close-connection!`."""
        self.connections[handle].close()
        return [Symbol("ok")]

    def do_stop(self, handle: int) -> list[Any]:
        """`stop-server!`."""
        self.servers[handle].stop()
        return [Symbol("ok")]

    def do_wait(self, handle: int) -> list[Any]:
        """`wait-until-server-stopped`."""
        self.servers[handle].wait()
        return [Symbol("ok")]

    def do_key(self, passphrase: str) -> list[Any]:
        """`passphrase->key`."""
        return [Symbol("ok"), passphrase_to_key(passphrase).to_bytes()]

    def close(self) -> None:
        """Close everything."""
        for connection in list(self.connections.values()):
            connection.close()
        for server in list(self.servers.values()):
            server.stop()


def _user(connection: Connection) -> str | bool:
    return False if connection.user is None else connection.user


def main() -> None:
    """Obey until the end of standard input."""
    start_logging()
    puppet = Puppet()
    for line in sys.stdin.buffer:
        threading.Thread(target=puppet.obey, args=(line,), daemon=True).start()
    puppet.close()


if __name__ == "__main__":
    main()
