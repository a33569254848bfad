"""Conversations of a meeting: the script between the peer's own client and server, and between the peer and our front
end.

What this module knows: the answers of the conformance service. It does not know what the bytes mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from bokbok import service
from bokbok.asyncio import open_connection, start_server
from bokbok.errors import BokbokError, RemoteError
from bokbok.sexpr import Symbol, dumps, loads
from bokbok.wire import Guards, Profile, passphrase_to_key
from bokbok_calibrate.script import SCRIPT
from bokbok_interop.peers.base import Peer, PuppetFault, Running
from bokbok_interop.peers.local import free_port
from bokbok_interop.peers.puppet import Answer, Puppet, Raw
from bokbok_traffic.capture import Capture
from bokbok_traffic.relay import Relay

__all__ = ["USER", "Played", "ask_ours", "ask_server", "record"]

USER = "myuser"
CONNECTIONS = 2
"""Two are needed to tell what changes from one connection to the next, and what does not."""
PATIENCE = 30.0
"""Seconds for one command of a puppet, one answer of a server, or the end of a connection."""


@dataclass
class Played:
    """The result of a script.

    Attributes:
        lines: how many requests were played.
        wrong: for each wrong answer: the line, and what is wrong.
    """

    lines: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def take(self, line: str, problem: str | None) -> None:
        """Count one request."""
        self.lines += 1
        if problem is not None:
            self.wrong.append((line, problem))

    def text(self) -> str:
        """The result in one line."""
        if not self.wrong:
            return f"{self.lines} requests, each answered as it should be"
        line, problem = self.wrong[0]
        count = f"{len(self.wrong)} of {self.lines} requests were not answered as they should be"
        return f"{count}; the first: {line[:60]}: {problem}"


def _expected(line: str) -> tuple[bool, Any]:
    """Whether the conformance service answers a request of the script; and its answer, or the text of its error."""
    name, *arguments = loads(line)
    if name == "echo":
        return True, arguments[0]
    if name == "ping":
        return True, ["pong", arguments[0]]
    if name == "callback":
        return True, [[i, arguments[1]] for i in range(arguments[0])]
    return False, arguments[0] if name == "fail" else ""


def _problem(line: str, answered: bool, value: Any) -> str | None:
    """What is wrong with an answer (or an error's message), or `None`."""
    answers, expected = _expected(line)
    if answers != answered:
        return f"expected {'an answer' if answers else 'an error'}, found {str(value)[:200]!r}"
    if answers:
        return None if dumps(value) == dumps(expected) else f"the answer is {dumps(value)[:200]!r}"
    return None if str(expected) in str(value) else f"the error says {str(value)[:200]!r}"


def _users(passphrase: str | None) -> Any:
    return False if passphrase is None else Raw(f'(("{USER}" . "{passphrase}"))'.encode("ascii"))


def _address(address: tuple[Any, ...]) -> list[Any]:
    return [Symbol(address[0]), *address[1:]]


@contextlib.asynccontextmanager
async def _puppet(peer: Peer, role: str) -> AsyncIterator[Puppet]:
    puppet = Puppet(await peer.start(role=role, transport="tcp", alone=True))
    try:
        yield await puppet.start()
    finally:
        await puppet.close()


def _handle(puppet: Puppet) -> int:
    """A handle whose events are expected, but not used here."""
    handle = puppet.new_handle()
    puppet.own(handle, lambda name, values, line: None)
    return handle


async def _told(puppet: Puppet, verb: str, *arguments: Any) -> Answer:
    """Give a command that must be answered with `ok`.

    Raises:
        PuppetFault: it is not.
    """
    answer = await puppet.command(verb, *arguments, timeout=PATIENCE)
    if answer.tag != "ok":
        raise PuppetFault(puppet.peer, "nonsense", f"answered {verb} with {answer.tag} {answer.values}")
    return answer


async def _listening(puppet: Puppet, client: Running | None, passphrase: str | None) -> tuple[Any, ...]:
    """Start a server. Returns the address at which the runner reaches it."""
    address = await puppet.running.listen_address("tcp", "meet", client)
    if address[2] == 0 and "port-0" not in puppet.features:
        address = (*address[:2], free_port(address[1]))
    answer = await _told(puppet, "listen", _handle(puppet), _address(address), 10, _users(passphrase))
    bound = answer.values[0]
    return puppet.running.from_runner((str(bound[0]), *bound[1:]) if isinstance(bound, list) else address)


async def _play(puppet: Puppet, address: tuple[Any, ...], passphrase: str | None) -> Played:
    """Play the script on each of two connections of a puppet's client."""
    played = Played()
    target = _address(puppet.running.to_runner(address))
    for _ in range(CONNECTIONS):
        handle = _handle(puppet)
        credentials = (False, False) if passphrase is None else (USER, passphrase)
        await _told(puppet, "connect", handle, target, *credentials)
        for line in SCRIPT:
            answer = await puppet.command(
                "request", handle, Raw(line.encode("utf-8", "surrogateescape")), timeout=PATIENCE
            )
            if answer.tag in ("response", "remote-error"):
                played.take(line, _problem(line, answer.tag == "response", answer.values[0]))
            else:
                played.take(line, f"{answer.tag}: {answer.values}")
        await _told(puppet, "close", handle)
    return played


async def record(peer: Peer, passphrase: str | None) -> tuple[Capture, Played]:
    """Have a peer's own client play the script to its own server, and keep every byte.

    Args:
        peer: prepared.
        passphrase: `None` for insecure connections.

    Raises:
        PuppetFault: a puppet broke, or refused what it was told.
    """
    async with _puppet(peer, "server") as server, _puppet(peer, "client") as client:
        upstream = await _listening(server, client.running, passphrase)
        relay = await Relay(client.running.relay_address("tcp", "meet"), upstream).start()
        try:
            played = await _play(client, relay.address, passphrase)
            for link in relay.links:
                await asyncio.wait_for(link.over.wait(), PATIENCE)
        finally:
            await relay.stop()
        return relay.capture, played


async def ask_server(where: Peer | tuple[Any, ...], user: str, passphrase: bytes | None, profile: Profile) -> Played:
    """Play the script to a peer's server with our client.

    Args:
        where: the peer, prepared, whose puppet listens; or the address of a server.
        user: who we are; unused without a passphrase.
        passphrase: `None` for an insecure connection.
        profile: to speak.

    Raises:
        PuppetFault: the puppet broke, or refused what it was told.
        OSError, BokbokError: the server cannot be reached.
    """
    if isinstance(where, tuple):
        return await _ask(where, user, passphrase, profile)
    async with _puppet(where, "server") as puppet:
        address = await _listening(puppet, None, None if passphrase is None else passphrase.decode("ascii"))
        return await _ask(address, user, passphrase, profile)


async def _ask(address: tuple[Any, ...], user: str, passphrase: bytes | None, profile: Profile) -> Played:
    played = Played()
    key = None if passphrase is None else passphrase_to_key(passphrase, profile=profile)
    connection = await open_connection(
        address,
        None if key is None else user,
        key,
        service.async_handler(),
        profile=profile,
        guards=_guards(profile),
    )
    try:
        for line in SCRIPT:
            try:
                played.take(
                    line, _problem(line, True, await asyncio.wait_for(connection.request(loads(line)), PATIENCE))
                )
            except RemoteError as error:
                played.take(line, _problem(line, False, error.message))
            except (BokbokError, asyncio.TimeoutError) as error:
                played.take(line, f"{type(error).__name__}: {error}")
                if connection.closed:
                    break
    finally:
        await connection.close()
    return played


async def ask_ours(peer: Peer, passphrase: str | None, profile: Profile) -> Played:
    """Have a peer's own client play the script to our server.

    Args:
        peer: prepared.
        passphrase: `None` for insecure connections.
        profile: that our server speaks.

    Raises:
        PuppetFault: the puppet broke, or refused what it was told.
    """
    key = None if passphrase is None else passphrase_to_key(passphrase, profile=profile)
    async with _puppet(peer, "client") as puppet:
        server = await start_server(
            puppet.running.relay_address("tcp", "meet"),
            service.async_handler(),
            user_to_key=None if key is None else (lambda user: key if user == USER else None),
            profile=profile,
            guards=_guards(profile),
        )
        try:
            return await _play(puppet, server.address, passphrase)
        finally:
            await server.stop()


def _guards(profile: Profile) -> Guards:
    """All guards, but that of a profile whose nonces repeat: it was found so, and the report says what leaks."""
    return Guards(nonce_reuse=profile.leaks is None)
