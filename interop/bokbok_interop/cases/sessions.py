"""The recorded sessions (`docs/vectors.md`), replayed to a peer: the runner is the other side, byte for byte.

A puppet's handler is the service and not the recorded program. So only the form and the ID of its answers count, while
its own requests must have the recorded bytes. Sessions are played on demand (`check --sessions`).
"""

from __future__ import annotations

import asyncio
from typing import Any

from bokbok.sexpr import loads
from bokbok.wire.boxes import box_opener

from ..play import PATIENCE, Conn, Play, RemoteFailed, Served, show
from ..raw import BadServer, Raw, attack, take_hello
from ..vectors import load_sessions
from .base import case

_OWN = {
    "client": ("request", "hello", "respond", "fail", "eof"),
    "server": ("request", "respond", "fail", "raw", "eof"),
}
"""What each side does in a session in which a puppet can play the client."""
_LAYERS = ("framing", "hello", "nonces", "messages", "key_derivation", "packets")
_GUARDS = {
    "replayed-request": "guards.request-id",
    "reflected-request": "guards.reflection",
    "request-used-twice": "guards.request-id",
}
"""Sessions that end with a guard's refusal, and the guard's sentence."""


def _text(hexed: str) -> str:
    return bytes.fromhex(hexed).decode("utf-8", "surrogateescape")


class _Replay:
    """One session, in which a puppet plays one side.

    Args:
        play: the case.
        session: its header, and its lines.
        role: the puppet's.
    """

    def __init__(self, play: Play, session: list[dict[str, Any]], role: str) -> None:
        self.play, self.role = play, role
        self.header, *self.lines = session
        self.asked: dict[int, asyncio.Future[Any]] = {}
        self.served: Served | None = None
        self.conn: Conn | None = None
        self.raw: Raw = None  # type: ignore[assignment]  # until the connection is made
        if self.header["secure"]:
            self.user, self.passphrase = _text(self.header["user"]), _text(self.header["passphrase"])
            self.session = bytes.fromhex(self.header["client-random"])[:32]
            play.offer(self.user, self.passphrase)
            play.secrets[self.user] = self.passphrase

    async def as_server(self) -> None:
        """The puppet is the server."""
        users = None
        if self.header["secure"]:
            known = self.header.get("server-key", self.header["key"])
            users = {} if known is None else {self.user: self.passphrase}
            if known not in (None, self.header["key"]):
                users = {self.user: "another passphrase"}
        self.served = await self.play.server.listen(users=users)
        self.raw = await attack(self.play, self.served, hello=False)
        await self._play()

    async def as_client(self) -> None:
        """The puppet is the client."""
        server = await BadServer(self.play).start()
        secure = self.header["secure"]
        user, passphrase = (self.user, self.passphrase) if secure else (None, None)
        self.conn = await self.play.client.connect(server.address, user, passphrase)
        self.raw = await self.play.within(PATIENCE, server.accepted.get(), "the client's connection")
        if secure:
            self.raw.knows(self.user, self.passphrase)
            await take_hello(self.raw)
        await self._play()

    async def _play(self) -> None:
        for number, line in enumerate(self.lines, 1):
            with self.play.trying(where=f"in line {number} of the session {self.header['name']}"):
                over = await (self._theirs(line) if line["from"] == self.role else self._ours(line))
            if over:
                return

    async def _theirs(self, line: dict[str, Any]) -> bool:
        """The puppet's part: its requests. It has answered already, and does nothing unusual by itself."""
        if line["do"] == "request":
            if self.conn is None:
                assert self.served is not None
                self.conn = await self.served.opened()
            datum = loads(bytes.fromhex(line["datum"]))
            self.asked[line["id"]] = self.play.spawn(self.conn.request(datum))
            kind, number, sent = await self.raw.hear()
            self.play.equal([kind, number, sent], ["request", line["id"], datum], "the request")
        return line["do"] in ("raw", "eof")

    async def _ours(self, line: dict[str, Any]) -> bool:
        """The runner's part, and how the puppet reacts. Returns whether the session is over."""
        if line["do"] == "eof":
            self.raw.end()
            return True
        data = bytes.fromhex(line["bytes"])
        if self.role == "client" and self.header["secure"]:
            # The puppet drew its own session key: the same message, in a box under that key.
            data = self.raw.packet(box_opener(self.session)(data[4:]))
        await self.raw.send(data)
        if line["do"] == "hello":
            self.raw.knows(self.user, self.passphrase, data)
        for event in line["events"]:
            match event["event"]:
                case "closed":
                    await self.raw.must_end("the connection stayed open where the session is over")
                    return True
                case "opened":
                    assert self.served is not None
                    self.conn = await self.served.opened()
                    self.play.equal(self.conn.user, _text(event["user"]), "the user in the open handler")
                case "request":
                    kind, number, _ = await self.raw.hear()
                    found = f"({kind} {number} ...)"
                    self.play.check(kind != "request" and number == event["id"], "a request was not answered",
                                    expected=f"an answer to request {event['id']}", actual=found)  # fmt: skip
                case "response":
                    self.play.equal(await self.asked[event["id"]], loads(bytes.fromhex(event["datum"])), "the answer")
                case "error" | "unreadable-answer":
                    asked = self.asked[event["id"]]
                    await self.play.fails(asked, RemoteFailed, why="a request that was answered with an error")
                case "unreadable-request":
                    kind, number, said = await self.raw.hear()
                    self.play.check((kind, number) == ("error", event["id"]), "a request that does not read",
                                    expected=f"(error {event['id']} ...)",
                                    actual=f"({kind} {number} {show(said)})")  # fmt: skip
        return False


def _register(session: list[dict[str, Any]]) -> None:
    header, *lines = session
    sentences: tuple[str, ...] = ("profile.messages", "profile.boxes" if header["secure"] else "profile.framing")
    if header["name"] in _GUARDS:
        sentences = (_GUARDS[header["name"]], *sentences)
    security = "secure" if header["secure"] else "insecure"
    playable = {
        "server": any(line["from"] == "client" for line in lines),
        "client": all(line["do"] in _OWN[line["from"]] for line in lines)
        and not any(
            event["event"] == "closed" for line in lines if line["from"] == "client" for event in line["events"]
        )
        and header["name"] not in _GUARDS,
    }
    for role in ("server", "client"):
        if not playable[role]:
            continue

        async def run(t: Play, role: str = role) -> None:
            replay = _Replay(t, session, role)
            await (replay.as_server() if role == "server" else replay.as_client())

        run.__name__ = f"{role}_{header['name'].replace('-', '_')}"
        run.__doc__ = f"A recorded session, the peer as its {role}: {header['about']}."
        other: Any = {"server": "client", "client": "server"}[role]
        case(*sentences, security=security, opponent=other, only=_LAYERS)(run)


for _session in load_sessions():
    _register(_session)
