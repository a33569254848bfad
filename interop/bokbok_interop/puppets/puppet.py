"""The puppet of a front end of this library: the puppet protocol's commands as calls of its public API.

This module knows the commands. A `Front` knows how a command waits, and what runs at the same time.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from bokbok import passphrase_to_key
from bokbok.sexpr import Symbol
from bokbok.wire import DEFAULT_LIMITS, INFERRED_1, Guards, Limits, Profile

from .forms import address_datum, hello, parse, refusal, told_profile, users_table, write_line
from .rendezvous import Rendezvous

__all__ = ["Front", "Puppet"]

_LIMITS = Limits(
    connections_per_address=DEFAULT_LIMITS.connections, hellos_per_address=DEFAULT_LIMITS.connections, penalty=0
)
"""Without limits per source: the runner is the only peer, at one address, and is refused on purpose all the time."""


@dataclass(frozen=True)
class Front:
    """One front end.

    Attributes:
        module: `bokbok.sync` or `bokbok.asyncio`.
        service: the conformance service as its request handler.
        call: calls a function of its public API, and waits for it.
        handler: a request handler of a coroutine function.
        event: `threading.Event` or `asyncio.Event`.
        memory: makes a memory of hellos that several servers share.
    """

    module: ModuleType
    service: Callable[..., Any]
    call: Callable[..., Awaitable[Any]]
    handler: Callable[[Callable[[Any, Any], Coroutine[Any, Any, Any]]], Callable[..., Any]]
    event: Callable[[], Any]
    memory: Callable[[], Any]


class Puppet:
    """What is open here, by handle, and the commands."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._call = front.call
        self._profile = INFERRED_1
        self._on_request = front.handler(self._serve)
        self._rendezvous = Rendezvous(
            front.event, front.call, lambda name: self.say(Symbol("event"), Symbol("awaiting"), name)
        )
        self._connections: dict[int, Any] = {}
        self._servers: dict[int, Any] = {}
        self._memories: dict[str, Any] = {}
        self._accepted: dict[Any, int] = {}
        self._handles = itertools.count(-1, -1)
        self._output = threading.Lock()

    def say(self, *datum: Any) -> None:
        """Print one line. This would block (even an event loop) if the runner did not read, but it always reads."""
        line = write_line(list(datum))
        with self._output:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    async def obey(self, line: bytes) -> None:
        """Carry out one command, and answer it."""
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

    async def close(self) -> None:
        """Close everything, and release handlers that wait."""
        self._rendezvous.release_all()
        for connection in list(self._connections.values()):
            await self._call(connection.close)
        for server in list(self._servers.values()):
            await self._call(server.stop)

    async def _serve(self, connection: Any, request: Any) -> Any:
        """The request handler: the rendezvous, which only the runner can release, and the service."""
        if isinstance(request, list) and [type(each) for each in request] == [str, str] and request[0] == "await":
            return await self._rendezvous.wait(request[1])
        return await self._call(self._front.service, connection, request)

    async def do_hello(self) -> list[Any]:
        """`hello`: its name and its features."""
        return hello(self._front.module.__name__, self._profile)

    async def do_profile(self, text: str, files: list[Any]) -> list[Any]:
        """Speak another format from now on."""
        self._profile = told_profile(text, files)
        return [Symbol("ok"), Symbol(self._profile.name), self._profile.digest()]

    def _format(self) -> dict[str, Profile | Guards]:
        """The arguments for the profile. The runner guards against broken cryptography: a puppet speaks what it is
        told."""
        return {"profile": self._profile, "guards": Guards(nonce_reuse=self._profile.leaks is None)}

    async def do_listen(
        self, handle: int, address: Any, backlog: int, users: Any, memory: str | None = None
    ) -> list[Any]:
        """`start-server`. Servers that are given a memory of the same name share it."""
        table = users_table(users, self._profile)
        if memory is not None and memory not in self._memories:
            self._memories[memory] = self._front.memory()

        def on_open(connection: Any) -> None:
            mine = next(self._handles)
            self._connections[mine] = connection
            self._accepted[connection] = mine
            self.say(Symbol("event"), Symbol("opened"), handle, mine, *_info(connection))

        server = await self._call(
            self._front.module.start_server,
            address,
            self._on_request,
            user_to_key=None if table is None else table.get,
            on_open=on_open,
            on_close=lambda connection: self._say_closed(self._accepted[connection]),
            backlog=backlog,
            limits=_LIMITS,
            shared_hellos=None if memory is None else self._memories[memory],
            **self._format(),
        )
        self._servers[handle] = server
        return [Symbol("ok"), address_datum(server.address)]

    async def do_connect(self, handle: int, address: Any, user: Any, passphrase: Any) -> list[Any]:
        """`open-connection!`."""
        self._connections[handle] = await self._call(
            self._front.module.open_connection,
            address,
            None if user is False else user,
            None if passphrase is False else passphrase_to_key(passphrase, profile=self._profile),
            self._on_request,
            lambda _: self._say_closed(handle),
            **self._format(),
        )
        return [Symbol("ok")]

    def _say_closed(self, handle: int) -> None:
        self.say(Symbol("event"), Symbol("closed"), handle)

    async def do_request(self, handle: int, datum: Any) -> list[Any]:
        """`request!`."""
        return [Symbol("response"), await self._call(self._connections[handle].request, datum)]

    async def do_info(self, handle: int) -> list[Any]:
        """`connection-user` and `connection-addr`."""
        return [Symbol("ok"), *_info(self._connections[handle])]

    async def do_close(self, handle: int) -> list[Any]:
        """`close-connection!`."""
        await self._call(self._connections[handle].close)
        return [Symbol("ok")]

    async def do_stop(self, handle: int) -> list[Any]:
        """`stop-server!`."""
        await self._call(self._servers[handle].stop)
        return [Symbol("ok")]

    async def do_wait(self, handle: int) -> list[Any]:
        """`wait-until-server-stopped`."""
        await self._call(self._servers[handle].wait)
        return [Symbol("ok")]

    async def do_signal(self, name: str) -> list[Any]:
        """Release the handlers that wait for a name."""
        return [Symbol("ok"), self._rendezvous.release(name)]

    async def do_key(self, passphrase: str) -> list[Any]:
        """`passphrase->key`."""
        return [Symbol("ok"), passphrase_to_key(passphrase, profile=self._profile).to_bytes()]


def _info(connection: Any) -> tuple[Any, Any]:
    return False if connection.user is None else connection.user, address_datum(connection.address)
