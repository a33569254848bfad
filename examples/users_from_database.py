"""Users and their keys in a database: SQLite from the standard library, or PostgreSQL by psycopg.

    python users_from_database.py users.db add alice        add a key, and print it in hexadecimal; both hold
    python users_from_database.py users.db retire alice     keep only the newest key
    python users_from_database.py users.db serve :8000

`postgresql://…` in place of a file's name is a PostgreSQL database (`pip install 'psycopg[binary]'`).

A user has two keys while one replaces another: `add`, give the new one to the client, `retire`. The server tries two
keys for each hello, whichever user it names (`Limits.keys_per_user`). The server caches what it has read for half a
minute: so long a retired key may still be valid, and a new one may be unknown. If the database is slow or down, new
connections are refused; open ones go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import bokbok.asyncio
from bokbok import Key, Limits

KEYS_PER_USER = 2
FRESH = 30.0
"""Seconds for which an answer of the database is cached."""
MOST_KEPT = 10_000
"""Names that are cached. Strangers choose them, so there is a bound. Unknown names are cached like others."""

SCHEMA = "CREATE TABLE IF NOT EXISTS user_keys (name TEXT, number INTEGER, key TEXT, PRIMARY KEY (name, number))"
NEWEST = "SELECT key FROM user_keys WHERE name = {0} ORDER BY number DESC LIMIT {1}"
ADD = (
    "INSERT INTO user_keys SELECT {0}, coalesce(max(number), 0) + 1, {1} FROM user_keys WHERE name = {0}"  # in one step
)
RETIRE = "DELETE FROM user_keys WHERE name = {0} AND number < (SELECT max(number) FROM user_keys WHERE name = {0})"


class Database(Protocol):
    """What `Users` needs of a database."""

    async def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows."""


class SQLite:
    """A file. SQLite blocks, so each statement runs in a thread, with a connection of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds keys: nobody else may read it

    async def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows."""
        return await asyncio.to_thread(self._run, statement.format("?1", "?2"), values)

    def _run(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self._path, timeout=5)) as connection, connection:
            return connection.execute(statement, values).fetchall()


class PostgreSQL:
    """A PostgreSQL server. There is one connection, which is opened again when it has broken."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._connection: Any = None
        self._lock = asyncio.Lock()

    async def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement; its rows."""
        import psycopg

        named = {f"v{number}": value for number, value in enumerate(values)}
        async with self._lock:
            if self._connection is None or self._connection.closed:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._where, autocommit=True, connect_timeout=5
                )
            cursor = await self._connection.execute(statement.format("%(v0)s", "%(v1)s"), named)
            return await cursor.fetchall() if cursor.description else []


class Users:
    """Look-ups by name, for `user_to_key`. Look-ups of one name at the same time share one query."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, asyncio.Future[list[Key]]]] = OrderedDict()

    async def user_to_key(self, name: str) -> list[Key]:
        """The keys of a user, the newest first; an empty list for an unknown user."""
        now = self._clock()
        since, found = self._kept.get(name, (now, None))
        if found is None or now - since >= FRESH or (found.done() and (found.cancelled() or found.exception())):
            found = asyncio.ensure_future(self._read(name))
            self._kept[name] = now, found
            self._kept.move_to_end(name)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return await asyncio.shield(found)  # if one caller gives up, the others go on

    async def _read(self, name: str) -> list[Key]:
        # A name is whatever bytes a stranger has sent. The database only has names that are UTF-8 text.
        try:
            name.encode()
        except UnicodeEncodeError:
            return []
        if "\0" in name:
            return []
        rows = await self._database.run(NEWEST, name, KEYS_PER_USER)
        return [Key.from_hex(key) for (key,) in rows]


async def main(where: str, what: str, whom: str) -> None:
    """One of the three commands."""
    database: Database = PostgreSQL(where) if where.startswith("postgresql:") else SQLite(where)
    await database.run(SCHEMA)
    if what == "add":
        key = os.urandom(32).hex()
        await database.run(ADD, whom, key)
        print(key)
    elif what == "retire":
        await database.run(RETIRE, whom)
    else:

        async def answer(connection: Any, message: Any) -> Any:
            return [connection.user, message]

        async with bokbok.asyncio.start_server(
            whom, answer, user_to_key=Users(database).user_to_key, limits=Limits(keys_per_user=KEYS_PER_USER)
        ) as server:
            print(bokbok.format_address(server.address), flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[2] not in ("add", "retire", "serve"):
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
