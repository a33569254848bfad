"""Write the session vectors, `interop/bokbok_interop/vectors/sessions` (format: docs/vectors.md).

    python tests/support/generate_sessions.py

Run it only when the profile itself changes: other implementations have been tested with the files. It builds every byte
from PyNaCl and the tables of docs/protocol.md, without `bokbok.wire`, so that the library and the vectors check each
other.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_secretbox_easy

FOLDER = Path(__file__).parents[2] / "interop" / "bokbok_interop" / "vectors" / "sessions"
USER = b"myuser"
PASSPHRASE = b"mypassphrase"


def key_of(passphrase: bytes) -> bytes:
    return hashlib.sha512(passphrase).digest()[:32]


def frame(packet: bytes) -> bytes:
    return struct.pack(">I", len(packet)) + packet


class Side:
    """The bytes of one side: with a key, boxes under the prefix and counter; else the body itself."""

    def __init__(self, random: bytes, key: bytes | None) -> None:
        self.prefix = random
        self.counter = 0
        self.key = key

    def packet(self, body: bytes, key: bytes | None = None) -> bytes:
        key = key or self.key
        if key is None:
            return body
        nonce = self.prefix + struct.pack(">Q", self.counter)
        self.counter += 1
        return nonce + crypto_secretbox_easy(body, nonce, key)

    def write(self, body: bytes) -> bytes:
        return frame(self.packet(body))


class Session:
    def __init__(
        self,
        name: str,
        about: str,
        *,
        secure: bool = True,
        user: bytes = USER,
        passphrase: bytes = PASSPHRASE,
        server_key: bytes | str | None = "same",
    ) -> None:
        key = key_of(passphrase)
        seed = hashlib.sha256(name.encode()).digest()
        client_random = hashlib.sha512(seed + b"client").digest()[:48]
        server_random = hashlib.sha512(seed + b"server").digest()[:16]
        self.lines: list[dict[str, Any]] = [{
            "bokbok-session": 1,
            "name": name,
            "about": about,
            "profile": "inferred-1",
            "secure": secure,
        }]  # fmt: skip
        if secure:
            self.lines[0] |= {"user": user.hex(), "passphrase": passphrase.hex(), "key": key.hex()}
            if server_key != "same":
                self.lines[0]["server-key"] = server_key.hex() if isinstance(server_key, bytes) else None
            self.lines[0] |= {"client-random": client_random.hex(), "server-random": server_random.hex()}
        self.user_key, self.user = key, user
        self.session_key = client_random[:32]
        shared = self.session_key if secure else None
        self.client = Side(client_random[32:], shared)
        self.server = Side(server_random, shared)
        self.next_id = {"client": 0, "server": 0}

    def side(self, name: str) -> Side:
        return self.client if name == "client" else self.server

    def line(self, who: str, do: str, data: bytes | None, events: list[dict[str, Any]], **more: Any) -> None:
        line: dict[str, Any] = {"from": who, "do": do, **more}
        if data is not None:
            line["bytes"] = data.hex()
        line["events"] = events
        self.lines.append(line)

    def hello(self, *, events: list[dict[str, Any]] | None = None) -> bytes:
        data = frame(self.user) + frame(self.client.packet(self.session_key, self.user_key))
        opened = [{"event": "opened", "user": self.user.hex()}]
        self.line("client", "hello", data, opened if events is None else events)
        return data

    def request(self, who: str, datum: bytes) -> bytes:
        id = self.next_id[who]
        self.next_id[who] += 1
        data = self.side(who).write(b"(request %d %b)" % (id, datum))
        self.line(
            who, "request", data, [{"event": "request", "id": id, "datum": datum.hex()}], id=id, datum=datum.hex()
        )
        return data

    def respond(self, who: str, id: int, datum: bytes) -> bytes:
        data = self.side(who).write(b"(response %d %b)" % (id, datum))
        event = {"event": "response", "id": id, "datum": datum.hex()}
        self.line(who, "respond", data, [event], id=id, datum=datum.hex())
        return data

    def fail(self, who: str, id: int, message: bytes) -> None:
        escaped = message.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
        data = self.side(who).write(b'(error %d "%b")' % (id, escaped))
        event = {"event": "error", "id": id, "message": message.hex()}
        self.line(who, "fail", data, [event], id=id, message=message.hex())

    def raw(self, who: str, why: str, data: bytes, events: list[dict[str, Any]], **more: Any) -> None:
        self.line(who, "raw", data, events, why=why, **more)

    def raw_body(self, who: str, why: str, body: bytes, events: list[dict[str, Any]], **more: Any) -> None:
        """A body that no correct program sends, in a correct packet."""
        self.raw(who, why, self.side(who).write(body), events, **more)

    def eof(self, who: str, event: str = "finished") -> None:
        self.line(who, "eof", None, [{"event": event}])


CLOSED = [{"event": "closed"}]


def insecure() -> Iterator[Session]:
    s = Session("insecure-demo", "the egg's documented demo, without a key", secure=False)
    yield demo(s)

    s = Session("insecure-both-ways", "answers in another order than the requests, in both directions", secure=False)
    s.request("client", b"1")
    s.request("client", b"(2 two)")
    s.request("server", b'"from the server"')
    s.respond("server", 1, b"second")
    s.respond("client", 0, b'"from the client"')
    s.respond("server", 0, b"first")
    s.eof("client")
    yield s

    s = Session("insecure-datums", "every kind of datum, echoed", secure=False)
    for datum in DATUMS:
        s.request("client", datum)
        s.respond("server", s.next_id["client"] - 1, datum)
    s.eof("server")
    yield s

    s = Session("insecure-unspecified", "the unspecified value is read anywhere, and written ()", secure=False)
    s.raw_body(
        "client", "what a handler of the egg's demo returns", b"(request 0 (a #<unspecified> b))",
        [{"event": "request", "id": 0, "datum": b"(a () b)".hex()}],
    )  # fmt: skip
    s.respond("server", 0, b"()")
    yield s

    s = Session("insecure-spelling", "white space, comments and brackets, as CHICKEN's read takes them", secure=False)
    for body in (
        b" (request 0 x) ", b"(request\n1\tx)", b"[request 2 x]", b"(request 3 #;(no) x #|no|#)",
        b"; no\n(request 4 x)",
        b"(request 5 x) ; no", b"(request 6 x) #|no|#", b"(request 7 . (x))", b"(|request| #x8 x)", b"(request +9 x)",
    ):  # fmt: skip
        id = s.next_id["client"]
        s.next_id["client"] += 1
        s.raw_body("client", "spelt otherwise", body, [{"event": "request", "id": id, "datum": b"x".hex()}])
    yield s

    s = Session("insecure-gaps", "IDs that were skipped may come later, each once", secure=False)
    for id in (2, 0, 1):
        body = b"(request %d x)" % id
        s.raw_body("client", "not in succession", body, [{"event": "request", "id": id, "datum": b"x".hex()}])
    yield s


def demo(s: Session) -> Session:
    s.request("client", b'("ping" "12345")')
    s.respond("server", 0, b'("pong" "12345")')
    s.request("client", b'("asynch")')
    s.respond("server", 1, b"()")
    for id, n in enumerate((b"1", b"2", b"3")):
        s.request("server", b'("callback" "%b")' % n)
        s.respond("client", id, b"()")
    s.request("server", b'("something else")')
    s.fail("client", 3, b"Unrecognised callback")
    s.eof("client")
    return s


DATUMS = [
    b"()", b"#t", b"#f", b"0", b"-1", b"4611686018427387903", b"-4611686018427387904", b"0.5", b"-1.25", b"100.0",
    b"+inf.0", b"-inf.0", b"+nan.0", b'""', b'"a \\"quoted\\" \\\\ string"', b'"\\a\\b\\t\\n\\v\\f\\r\\x01\\x7f"',
    '"\u65e5\u672c\u8a9e"'.encode(), b'"\xff\xfe"', b"a", b"|a b|", b"||", b"foo:", b"#\\a", b"#\\space", b"#\\newline",
    b"(1 (2 (3)) ())", b"(1 . 2)", b"(a b . c)", b"#(1 #(2) ())", b"(quote a)", b"#${00ff10}", b"#u8(1 2 255)",
    b"#s16(-1 1)", b"#f64(0.5)",
]  # fmt: skip


def secure() -> Iterator[Session]:
    s = Session("secure-demo", "the egg's documented demo: user myuser, key from mypassphrase")
    s.hello()
    yield demo(s)

    s = Session("secure-name-bytes", "a username of any bytes, and an empty one", user=b"\xffn\xc3\xa4me\n\0")
    s.hello()
    s.request("client", b"hello")
    s.respond("server", 0, b"hello")
    yield s

    s = Session("secure-empty-name", "an empty username", user=b"")
    s.hello()
    s.request("client", b"1")
    s.respond("server", 0, b"2")
    yield s

    s = Session("secure-unreadable-request", "the error that answers it has a nonce like any other message")
    s.hello()
    s.raw_body(
        "client", "the datum does not read", b"(request 0 #<procedure>)",
        [{"event": "unreadable-request", "id": 0}], replies=b'(error 0 "'.hex()
    )  # fmt: skip
    s.server.counter += 1
    s.next_id["client"] = 1
    s.request("client", b"still-alive")
    s.respond("server", 1, b"yes")
    yield s


def failing() -> Iterator[Session]:
    s = Session("wrong-key", "the server knows another key: it closes", server_key=key_of(b"another"))
    s.hello(events=CLOSED)
    yield s
    s = Session("unknown-user", "the server does not know the user: it closes", server_key=None)
    s.hello(events=CLOSED)
    yield s

    s = Session("hello-too-long", "a second packet of 73 bytes", server_key=key_of(PASSPHRASE))
    s.raw("client", "73 bytes where 72 belong", frame(USER) + frame(bytes(73)), CLOSED)
    yield s
    s = Session("hello-too-short", "a boxed session key of 31 bytes")
    s.raw("client", "31 bytes boxed", frame(USER) + frame(s.client.packet(s.session_key[:31], s.user_key)), CLOSED)
    yield s
    s = Session("name-too-long", "a username of 256 bytes")
    s.raw("client", "256 bytes", frame(bytes(256)), CLOSED)
    yield s

    s = Session("tampered", "one bit of a box is changed")
    s.hello()
    data = bytearray(s.client.write(b"(request 0 x)"))
    data[-1] ^= 1
    s.raw("client", "the last bit is changed", bytes(data), CLOSED)
    yield s

    for size in (0, 1, 39):
        s = Session(f"box-of-{size}", f"a packet of {size} bytes is no box")
        s.hello()
        s.raw("client", "too short", frame(bytes(size)), CLOSED)
        yield s
    s = Session("box-of-40", "a box with nothing in it")
    s.hello()
    s.raw_body("client", "nothing at all", b"", CLOSED)
    yield s

    s = Session("replayed-request", "a packet comes twice")
    s.hello()
    data = s.request("client", b"1")
    s.raw("client", "the same bytes again", data, CLOSED)
    yield s
    s = Session("reflected-request", "a side's own packet comes back")
    s.hello()
    data = s.request("client", b"1")
    s.raw("server", "the client's own bytes", data, CLOSED)
    yield s

    refused = [
        ("no-list", b"42"), ("a-vector", b"#(request 0 x)"), ("two-datums", b"(request 0 x) (request 1 y)"),
        ("bytes-after", b"(request 0 x) y"), ("unfinished-comment", b"(request 0 x) #|"), ("nothing", b""),
        ("white-space", b"  "), ("only-comment", b"; nothing"), ("eof-object", b"#!eof"),
        ("unknown-tag", b"(reqest 0 x)"),
        ("string-tag", b'("request" 0 x)'), ("empty-list", b"()"), ("no-datum", b"(request 0)"),
        ("two-in-one", b"(request 0 x y)"), ("dotted", b"(request 0 . x)"), ("negative-id", b"(request -1 x)"),
        ("flonum-id", b"(request 0.0 x)"), ("huge-id", b"(request 4611686018427387904 x)"),
        ("string-id", b'(request "0" x)'), ("error-symbol", b"(error 0 oops)"), ("never-asked", b"(response 0 x)"),
        ("error-never-asked", b'(error 5 "x")'), ("unclosed", b"(request 0 x"), ("unreadable-tag", b"(#<x> 0 x)"),
        ("unreadable-id", b"(request #<x> x)"), ("unreadable-and-open", b"(request 0 #<x>"),
        ("unreadable-bracket", b"[request 0 #<x>]"), ("unreadable-then-comment", b"(request 0 #<x>) ; no"),
        ("unreadable-never-asked", b"(response 0 #<x>)"), ("of-a-secure-client", USER),
    ]  # fmt: skip
    for name, body in refused:
        s = Session(f"message-{name}", f"refused: {body.decode()!r}", secure=False)
        s.raw_body("client", "a message that is refused", body, CLOSED)
        yield s

    s = Session("packet-too-long", "a packet of 16 MiB and a byte is announced", secure=False)
    s.raw("client", "the length is enough", struct.pack(">I", 16 * 1024 * 1024 + 1), CLOSED)
    yield s
    s = Session("request-used-twice", "an ID that was used before, behind a higher one", secure=False)
    for id in (0, 1):
        s.request("client", b"%d" % id)
    s.raw_body("client", "the first once more", b"(request 0 0)", CLOSED)
    yield s

    s = Session("answered-twice", "an answer to a request that is answered already", secure=False)
    s.request("client", b"1")
    s.respond("server", 0, b"1")
    s.raw_body("server", "a second answer", b"(response 0 2)", CLOSED)
    yield s

    s = Session("unreadable-request", "a request whose datum does not read costs only that request", secure=False)
    for id, body in enumerate((b"(request 0 #<procedure>)", b"(request 1 (a)", b"(request 2 (a . )) ")):
        reply = b'(error %d "' % id  # without the text, which is free
        s.raw_body(
            "client", "the datum does not read", body,
            [{"event": "unreadable-request", "id": id}], replies=reply.hex()
        )  # fmt: skip
    s.next_id["client"] = 3
    s.request("client", b"still-alive")
    s.respond("server", 3, b"yes")
    yield s

    s = Session("unreadable-answer", "an answer whose datum does not read costs only that request", secure=False)
    for id, answer in enumerate((b"(response 0 #<procedure>)", b"(error 1 #<procedure>)", b"(response 2 (a)")):
        s.request("client", b"1")
        s.raw_body("server", "the datum does not read", answer, [{"event": "unreadable-answer", "id": id}])
    s.request("client", b"still-alive")
    s.respond("server", 3, b"yes")
    yield s


def main() -> None:
    for name, sessions in (("insecure", insecure()), ("secure", secure()), ("failing", failing())):
        with (FOLDER / f"{name}.jsonl").open("w", encoding="ascii", newline="\n") as file:
            for session in sessions:
                for line in session.lines:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
