"""The recorded sessions of inferred-1 come out byte for byte: two readings of the documents agree."""

from __future__ import annotations

from typing import Any

import pytest

from bokbok_interop.vectors import load_sessions
from tests.support.foreign import INFERRED_1, INFERRED_1_INSECURE, Endpoint, Nonsense
from tests.support.foreign.endpoint import Opened, deterministic
from tests.support.foreign.sexpr import from_bytes, read, to_bytes, write
from tests.support.foreign.state import ERROR, REQUEST, Message, other

NOT_OF_THE_FORMAT = {
    "reflected-request": "a guard of the receiver",
    "unreadable-request": "a foreign peer closes where a datum does not read",
    "unreadable-answer": "a foreign peer closes where a datum does not read",
    "secure-unreadable-request": "the same",
}
"""Sessions of which only the bytes are compared: what the receiver makes of them is not fixed."""


def sessions() -> list[Any]:
    """Every session: its header and its lines."""
    return [pytest.param(header, lines, id=header["name"]) for header, *lines in load_sessions()]


def text(data: str) -> str:
    """A string out of a session."""
    return from_bytes(bytes.fromhex(data))


def endpoints(header: dict[str, Any]) -> dict[str, Endpoint]:
    """The two sides of a session."""
    fmt = INFERRED_1 if header["secure"] else INFERRED_1_INSECURE
    random = {side: deterministic(bytes.fromhex(header.get(f"{side}-random", ""))) for side in ("client", "server")}
    if not header["secure"]:
        return {side: Endpoint(fmt, side, random=random[side]) for side in random}
    user, passphrase = text(header["user"]), text(header["passphrase"])
    users = {user: passphrase}
    if header.get("server-key", header["key"]) is None:
        users = {}
    elif header.get("server-key", header["key"]) != header["key"]:
        users = {user: passphrase + ", another one"}
    client = Endpoint(fmt, "client", random=random["client"], user=user, passphrase=passphrase)
    assert client.state.user_key.hex() == header["key"]
    return {"client": client, "server": Endpoint(fmt, "server", random=random["server"], users=users)}


def act(side: Endpoint, line: dict[str, Any]) -> bytes:
    """Does what a line says, and gives what was written for it."""
    if line["do"] == "request":
        assert side.request(read(bytes.fromhex(line["datum"]))) == line["id"]
    elif line["do"] == "respond":
        side.respond(line["id"], read(bytes.fromhex(line["datum"])))
    elif line["do"] == "fail":
        side.fail(line["id"], text(line["message"]))
    return b"".join(side.take_writes())


def as_event(event: Opened | Message) -> dict[str, Any]:
    """An event as sessions write it."""
    if isinstance(event, Opened):
        assert event.user is not None
        return {"event": "opened", "user": to_bytes(event.user).hex()}
    if event.kind == ERROR:
        return {"event": "error", "id": event.number, "message": to_bytes(str(event.payload)).hex()}
    return {"event": event.kind, "id": event.number, "datum": write(event.payload).hex()}


def heard(side: Endpoint, data: bytes) -> list[dict[str, Any]]:
    """What a side makes of bytes."""
    try:
        events, closed = side.feed(data), []
    except Nonsense:
        events, closed = side.take_events(), [{"event": "closed"}]
    insecure = not side.fmt.secure
    mine = [event for event in events if not isinstance(event, Opened) or (side.role == "server" and not insecure)]
    return [as_event(event) for event in mine] + closed


@pytest.mark.parametrize(("header", "lines"), sessions())
def test_a_recorded_session_comes_out_the_same(header: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    sides = endpoints(header)
    for line in lines:
        sender, receiver = sides[line["from"]], sides[other(line["from"])]
        if line["do"] == "eof":
            continue
        data = bytes.fromhex(line["bytes"])
        if line["do"] == "raw":
            if any(event["event"] == REQUEST for event in line["events"]):
                sender.request("stands for the raw bytes")
                sender.take_writes()
        else:
            assert act(sender, line) == data
        if header["name"] not in NOT_OF_THE_FORMAT:
            assert heard(receiver, data) == line["events"]
        elif line["do"] != "raw":
            receiver.feed(data)
        if line["events"] and line["events"][-1]["event"] == "closed":
            return
        for event in line["events"]:
            if header["name"] in NOT_OF_THE_FORMAT and event["event"].startswith("unreadable"):
                return


def test_there_are_sessions_of_every_sort() -> None:
    assert len(sessions()) > 50
    assert NOT_OF_THE_FORMAT.keys() < {parameter.id for parameter in sessions()}
