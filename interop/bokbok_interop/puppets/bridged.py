"""A puppet behind bridges: everything that it sends and receives passes through one.

    python -m bokbok_interop.puppets.bridged [--outside PROFILE] [--inside PROFILE] FOLDER COMMAND...

COMMAND starts a puppet that speaks the inside profile; if it can speak several, it is told to. It never meets another
peer. When the runner tells it to listen, it listens on a Unix socket in FOLDER, and a bridge that speaks the outside
profile listens on the address that the runner chose. When the runner tells it to connect, it connects to a bridge in
FOLDER, which connects to that address. Users and passphrases are the same on both sides. For the runner, all of this is
one puppet of the outside profile.

This module knows which commands contain an address. All others, and all answers, pass unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import re
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from bokbok.address import parse_address
from bokbok.bridge import Bridge, start_bridge
from bokbok.keys import passphrase_to_key
from bokbok.sexpr import CHICKEN_4, CHICKEN_5, Symbol, loads
from bokbok.wire import Profile, get_profile
from bokbok.wire.profile import dump_profile

from .asyncio import MAX_LINE, obey_stdin
from .forms import address_datum, parse, refusal, start_logging, users_table, write_line

__all__ = ["main"]

GRACE = 2.0
"""Seconds that a puppet has to end after its standard input has ended."""
_HEAD = re.compile(rb"\((\d+) ([a-z]+)")
_NOT_CLAIMED = ("profile", "hardening", "profiles", "shared-hellos")
"""Features that are not passed on: kinds of case about the bytes of a profile or this library's guards, which are about
a peer and not a bridge, as a shared memory of hellos is; and the command that changes the profile, since options set
the bridges' own profiles."""


class _Bridged:
    """The puppet inside, and the bridges."""

    def __init__(self, inner: asyncio.subprocess.Process, folder: str, outside: Profile, inside: Profile) -> None:
        self._inner = inner
        self._folder = folder
        self._outside = outside
        self._inside = inside
        self._places = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._servers: dict[int, Bridge] = {}
        self._clients: dict[Any, asyncio.Future[Bridge]] = {}

    def _place(self) -> tuple[str, str]:
        return ("unix", os.path.join(self._folder, f"{os.getpid()}-{next(self._places)}"))

    # Lines.

    def say(self, line: bytes) -> None:
        """To the runner."""
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    def _tell(self, line: bytes) -> None:
        """To the puppet inside."""
        assert self._inner.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._inner.stdin.write(line)

    async def _ask(self, number: int, *command: Any) -> bytes:
        """Have the puppet inside carry out a command. Returns the line of its answer."""
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._tell(write_line([number, *command]))
        return await self._waiting[number]

    async def tell_profile(self) -> None:
        """Before anything else: tell the puppet inside to speak the inside profile, if it accepts that command."""
        hello = loads(await self._ask(0, Symbol("hello")), dialect=CHICKEN_5)
        if Symbol("profiles") in hello[-1]:
            answer = await self._ask(0, Symbol("profile"), dump_profile(self._inside), [])
            if _tag(answer) != "ok":
                raise RuntimeError(f"the puppet inside does not take its profile: {answer[:400]!r}")

    async def listen_to_inner(self) -> None:
        """Pass on what the puppet inside says, until its output ends."""
        assert self._inner.stdout is not None
        while line := await self._inner.stdout.readline():
            head = re.match(rb"\((\d+) ", line)
            waiting = self._waiting.pop(int(head[1]), None) if head else None
            if waiting is None:
                self.say(line)
            elif not waiting.done():
                waiting.set_result(line)

    async def obey(self, line: bytes) -> None:
        """Carry out one of the runner's commands, or have it carried out."""
        head = _HEAD.match(line)
        command: Callable[..., Coroutine[Any, Any, bytes]] | None = head and getattr(
            self, f"do_{head[2].decode()}", None
        )
        if command is None:
            self._tell(line)
            return
        number, _, arguments = parse(line)
        try:
            answer = await command(number, *arguments)
        except Exception as error:
            answer = write_line([number, *refusal(error)])
        self.say(answer)

    async def close(self) -> None:
        """End the puppet inside, then the bridges."""
        assert self._inner.stdin is not None
        self._inner.stdin.close()
        try:
            await asyncio.wait_for(self._inner.wait(), GRACE)
        except asyncio.TimeoutError:
            self._inner.kill()
        bridges = [*self._servers.values(), *(each.result() for each in self._clients.values() if each.done())]
        for bridge in bridges:
            await bridge.stop()

    # Commands that concern a bridge.

    async def do_hello(self, number: int) -> bytes:
        """The same features, except for the profile, the dialect, and kinds of case that are not claimed."""
        line = await self._ask(number, Symbol("hello"))
        _, tag, *rest = loads(line, dialect=CHICKEN_5)
        if tag != Symbol("ok"):
            return line
        name, version, features = rest
        kept = [f for f in features if isinstance(f, Symbol) and f.value() not in _NOT_CLAIMED]
        kept.append([Symbol("profile"), Symbol(self._outside.name)])
        # The bridge writes every digit that the puppet has written, in the outside's spelling. Only if the puppet
        # writes every digit as well, this is the dialect of some CHICKEN, and has a name.
        if self._inside.dialect == CHICKEN_4 and self._outside.dialect.version == CHICKEN_4.version:
            kept.append([Symbol("dialect"), Symbol(CHICKEN_4.name)])
        return write_line([number, tag, f"{name}, bridged", version, kept])

    async def do_listen(self, number: int, handle: int, address: Any, backlog: int, users: Any) -> bytes:
        """The puppet listens inside, a bridge outside."""
        place = self._place()
        outside, inside = users_table(users, self._outside), users_table(users, self._inside)

        def login(user: str | None) -> Any:
            assert inside is not None
            return user, inside[str(user)]

        bridge = await start_bridge(
            address,
            place,
            user_to_key=None if outside is None else outside.get,
            user_to_login=None if inside is None else login,
            profile=self._outside,
            target_profile=self._inside,
            backlog=backlog,
        )
        line = await self._ask(number, Symbol("listen"), handle, address_datum(place), backlog, users)
        if _tag(line) != "ok":
            await bridge.stop()
            return line
        self._servers[handle] = bridge
        return write_line([number, Symbol("ok"), address_datum(bridge.address)])

    async def do_connect(self, number: int, handle: int, address: Any, user: Any, passphrase: Any) -> bytes:
        """The puppet connects to a bridge, which connects to the address: one bridge for all connections of the same
        user."""
        key = (parse_address(address), user, passphrase)
        if key not in self._clients:
            self._clients[key] = asyncio.ensure_future(self._outward(*key))
        try:
            bridge = await asyncio.shield(self._clients[key])
        except Exception:
            self._clients.pop(key, None)
            raise
        place = address_datum(bridge.address)
        return await self._ask(number, Symbol("connect"), handle, place, user, passphrase)

    async def _outward(self, address: Any, user: Any, passphrase: Any) -> Bridge:
        if user is False or passphrase is False:
            return await start_bridge(self._place(), address, profile=self._inside, target_profile=self._outside)
        inside, outside = (
            passphrase_to_key(passphrase, derive=p.key_derivation) for p in (self._inside, self._outside)
        )
        return await start_bridge(
            self._place(),
            address,
            user_to_key={user: inside}.get,
            user_to_login=lambda _: (user, outside),
            profile=self._inside,
            target_profile=self._outside,
        )

    async def do_stop(self, number: int, handle: int) -> bytes:
        """Stop the puppet first: then it closes its connections itself, and does not think that its clients did."""
        line = await self._ask(number, Symbol("stop"), handle)
        if handle in self._servers:
            await self._servers[handle].stop()
        return line

    async def do_wait(self, number: int, handle: int) -> bytes:
        """Wait until both have stopped."""
        line = await self._ask(number, Symbol("wait"), handle)
        if handle in self._servers:
            await self._servers[handle].wait()
        return line


def _tag(line: bytes) -> str:
    head = re.match(rb"\(\d+ ([a-z-]+)", line)
    return head[1].decode() if head else ""


async def _main(folder: str, outside: Profile, inside: Profile, command: list[str]) -> None:
    inner = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE
    )
    bridged = _Bridged(inner, folder, outside, inside)
    listening = asyncio.ensure_future(bridged.listen_to_inner())
    await bridged.tell_profile()
    await obey_stdin(bridged.obey, bridged.close)
    listening.cancel()


def main() -> None:
    """Obey until the end of standard input."""
    parser = argparse.ArgumentParser(description="A puppet behind bridges.")
    parser.add_argument("--outside", default="inferred-1", help="the profile for the runner's peers")
    parser.add_argument("--inside", default="inferred-1", help="the profile that COMMAND speaks")
    parser.add_argument("folder", help="the folder for sockets between the puppet and its bridges")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command that starts the puppet")
    given = parser.parse_args()
    start_logging()
    asyncio.run(_main(given.folder, get_profile(given.outside), get_profile(given.inside), given.command))


if __name__ == "__main__":
    main()
