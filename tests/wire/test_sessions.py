"""The recorded sessions of docs/vectors.md: both sides of `bokbok.wire` replay them byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from nacl.secret import SecretBox

from bokbok.errors import RemoteProtocolError
from bokbok.keys import Key
from bokbok.sexpr import dumps, loads
from bokbok.wire import (
    AnswerUnreadable,
    Closed,
    Connection,
    ErrorReceived,
    Event,
    HelloMemory,
    HelloReceived,
    Opened,
    PeerFinished,
    RequestReceived,
    RequestUnreadable,
    ResponseReceived,
    passphrase_to_key,
)
from bokbok_interop.vectors import load_sessions

SESSIONS = [pytest.param(session, id=session[0]["name"]) for session in load_sessions()]


def replaying(hex_bytes: str) -> Any:
    """A source of randomness that returns what was recorded, in order, and no byte more."""
    rest = bytes.fromhex(hex_bytes)

    def draw(count: int) -> bytes:
        nonlocal rest
        taken, rest = rest[:count], rest[count:]
        assert len(taken) == count, "more randomness is asked for than was recorded"
        return taken

    return draw


def described(event: Event) -> dict[str, Any]:
    """An event in the form of docs/vectors.md."""
    match event:
        case Opened(user):
            return {"event": "opened", "user": user.encode("utf-8", "surrogateescape").hex()}
        case RequestReceived(id, message):
            return {"event": "request", "id": id, "datum": dumps(message).hex()}
        case ResponseReceived(id, message):
            return {"event": "response", "id": id, "datum": dumps(message).hex()}
        case ErrorReceived(id, message):
            return {"event": "error", "id": id, "message": message.encode("utf-8", "surrogateescape").hex()}
        case RequestUnreadable(id):
            return {"event": "unreadable-request", "id": id}
        case AnswerUnreadable(id):
            return {"event": "unreadable-answer", "id": id}
        case PeerFinished():
            return {"event": "finished"}
        case Closed(error):
            assert isinstance(error, RemoteProtocolError)
            return {"event": "closed"}
    raise AssertionError(event)


@pytest.mark.parametrize("step", [1, 7, 1 << 20], ids=["byte by byte", "in sevens", "at once"])
@pytest.mark.parametrize("session", SESSIONS)
def test_a_recorded_session_comes_out_the_same(session: list[dict[str, Any]], step: int) -> None:
    header = session[0]
    secure = header["secure"]
    server_key: Key | None = None
    if secure:
        user = bytes.fromhex(header["user"]).decode("utf-8", "surrogateescape")
        key = passphrase_to_key(bytes.fromhex(header["passphrase"]))
        assert key.to_bytes().hex() == header["key"]
        found = header.get("server-key", header["key"])
        server_key = Key.from_hex(found) if found is not None else None
        client = Connection("client", user=user, key=key, draw=replaying(header["client-random"]))
        server = Connection("server", secure=True, hellos=HelloMemory(), draw=replaying(header["server-random"]))
        hello = client.data_to_send().hex()
    else:
        client, server, hello = Connection("client"), Connection("server"), ""

    def receive(side: Connection, data: bytes) -> list[Event]:
        events: list[Event] = []
        for start in range(0, len(data), step):
            for event in side.receive(data[start : start + step]):
                if isinstance(event, HelloReceived):
                    assert event.user == user
                    events += side.authenticate(server_key)
                else:
                    events.append(event)
        return events

    for line in session[1:]:
        sender, receiver = (client, server) if line["from"] == "client" else (server, client)
        match line["do"]:
            case "hello":
                assert hello == line["bytes"]
            case "request":
                assert sender.request(loads(bytes.fromhex(line["datum"]))) == line["id"]
                assert sender.data_to_send().hex() == line["bytes"]
            case "respond":
                assert sender.respond(line["id"], loads(bytes.fromhex(line["datum"]))) is None
                assert sender.data_to_send().hex() == line["bytes"]
            case "fail":
                sender.fail(line["id"], bytes.fromhex(line["message"]).decode("utf-8", "surrogateescape"))
                assert sender.data_to_send().hex() == line["bytes"]
            case "raw" if any(event["event"].endswith("request") for event in line["events"]):
                sender.request("spelt otherwise on the wire")  # so that it knows of it
                sender.data_to_send()
            case "eof":
                assert [described(event) for event in receiver.receive_eof()] == line["events"]
                continue
        assert [described(event) for event in receive(receiver, bytes.fromhex(line["bytes"]))] == line["events"]
        reply = receiver.data_to_send()
        if "replies" in line:
            body = reply[4:]
            if secure:
                body = SecretBox(bytes.fromhex(header["client-random"])[:32]).decrypt(body)
            assert body.startswith(bytes.fromhex(line["replies"]))
        else:
            assert reply == b""
        if line["events"] and line["events"][-1]["event"] == "closed":
            assert receiver.state == "closed"
            assert receiver.receive(b"whatever comes then") == []


@pytest.mark.parametrize("session", SESSIONS)
def test_a_session_ends_where_its_receiver_closes(session: list[dict[str, Any]]) -> None:
    closing = [i for i, line in enumerate(session) if {"event": "closed"} in line.get("events", ())]
    assert closing in ([], [len(session) - 1])
