"""Packets that hold no message, and messages that are written otherwise and hold one all the same."""

from __future__ import annotations

import random

from ...play import NetworkFailed, Play, same, show
from ...raw import attack
from .neighbours import (
    at_client,
    at_server,
    attacked_client,
    attacked_server,
    bodies_close,
    client_closes,
    is_served,
    opened_by,
    says,
    sends,
)


@at_server("profile.protocol-error")
async def not_a_list(t: Play) -> None:
    """A packet that holds a datum which is no list ends the connection."""
    await bodies_close(
        t,
        [b"hello", b'"request"', b"7", b"#(request 9 1)", b"(request . 9)", b"#t", b"#${00}"],
        "a message that is no list",
    )


@at_server("profile.protocol-error")
async def two_datums(t: Play) -> None:
    """Two datums in a packet end the connection."""
    await bodies_close(
        t,
        [b'(request 8 ("echo" 1)) (request 9 ("echo" 2))', b'(request 8 ("echo" 1))1', b'a (request 8 ("echo" 1))'],
        "two datums",
    )


@at_server("profile.protocol-error")
async def trailing_bytes(t: Play) -> None:
    """Bytes after the list that are neither white space nor a whole comment end the connection."""
    await bodies_close(
        t,
        [
            b'(request 8 ("echo" 1)))',
            b'(request 8 ("echo" 1))\x00',
            b'(request 8 ("echo" 1)) "',
            b'(request 8 ("echo" 1)) #|',
        ],
        "trailing bytes",
    )


@at_server("profile.protocol-error")
async def empty_message(t: Play) -> None:
    """A packet with no datum in it ends the connection: nothing, blanks, a comment."""
    await bodies_close(t, [b"", b" ", b"\n\n", b"; nothing", b"#| nothing |#"], "a message that is nothing")


@at_server("profile.protocol-error")
async def unknown_tag(t: Play) -> None:
    """A tag that is none of the three ends the connection."""
    await bodies_close(
        t,
        [
            b"(reqest 9 1)",
            b"(REQUEST 9 1)",
            b'("request" 9 1)',
            b"(request: 9 1)",
            b"(close 9 1)",
            b"(0 9 1)",
            b"((request) 9 1)",
        ],
        "an unknown tag",
    )


@at_server("profile.protocol-error")
async def wrong_shape(t: Play) -> None:
    """A message with too few or too many parts, or an error without a string, ends the connection."""
    await bodies_close(
        t,
        [
            b"()",
            b"(request)",
            b"(request 9)",
            b"(request 9 1 2)",
            b"(request 9 1 . 2)",
            b"(response 0 1 2)",
            b"(9 request 1)",
            b"(error 0 oops)",
            b"(response 9)",
        ],
        "a message of wrong shape",
    )


@at_server("profile.protocol-error")
async def bad_id(t: Play) -> None:
    """An ID that is no fixnum from 0 upwards ends the connection."""
    await bodies_close(
        t,
        [
            b'(request -1 ("echo" 1))',
            b'(request 1.5 ("echo" 1))',
            b'(request 9. ("echo" 1))',
            b'(request 1e1 ("echo" 1))',
            b'(request (9) ("echo" 1))',
            b'(request "9" ("echo" 1))',
            b'(request #t ("echo" 1))',
            b'(request nine ("echo" 1))',
            b'(request 4611686018427387904 ("echo" 1))',
            b'(request () ("echo" 1))',
        ],
        "a bad ID",
    )


@at_server("profile.protocol-error", "request.errors")
async def waiting_requests_fail(t: Play) -> None:
    """When a bad packet ends a connection every request that waits on it fails, and the close handler runs once."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        theirs = await opened_by(t, served, bad)
        asked = [t.spawn(theirs.request(["echo", i])) for i in range(3)]
        for _ in asked:
            await bad.hear()
        await bad.say(b"nonsense")
        for request in asked:
            await t.fails(t.within(10, request, "the failing"), NetworkFailed, why="a request when a bad packet came")
        await theirs.closed()
        await t.server.settle()
        t.check(theirs.closings == 1, "how often the close handler ran", expected="1", actual=str(theirs.closings))


@at_server("profile.protocol-error")
async def unclosed_comment(t: Play) -> None:
    """A comment that is never closed ends the connection."""
    await bodies_close(
        t,
        [
            b'#| (request 8 ("echo" 1))',
            b'(request 8 ("echo" 1)) #| x',
            b'(request 8 ("echo" 1)) #;',
        ],
        "an unclosed comment",
    )


@at_server("profile.protocol-error")
async def eof_object(t: Play) -> None:
    """#!eof as a packet ends the connection, and is not taken for the end of anything else."""
    await bodies_close(t, [b"#!eof", b"#!eof #!eof"], "an end-of-file object")


@at_server("profile.reads-like-chicken")
async def white_space_and_comments(t: Play) -> None:
    """White space and whole comments before, in and after a message are as nothing; brackets are parentheses."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        for number, body in enumerate(
            (
                b' \t\r\n(request 0 ("echo" (1 2)))\n\n ',
                b'; first\n(request 1 ("echo" (1 2))) ; last',
                b'#| a #| nested |# b |# (request 2 ("echo" (1 #| x |# 2))) #| end |#',
                b'(request #;9 3 ("echo" #;(skipped "x") (1 2))) #;(one more)',
                b'(request 4 ["echo" [1 2]])',
                b'(request\n5\n("echo"\n(1 . (2 . ()))))',
                b'(request . (6 ("echo" . ((1 2)))))',
            )
        ):
            await bad.say(body)
            kind, value = await bad.answer_to(number)
            t.check(
                kind == "response" and same(value, [1, 2]),
                f"a message with white space and comments was not understood: {body!r}",
                expected=f"(response {number} (1 2))",
                actual=f"({kind} {number} {show(value)})",
            )


@at_server("profile.reads-unspecified")
async def reads_unspecified(t: Play) -> None:
    """#<unspecified> reads as the unspecified value, which goes back as ()."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        await bad.say(b'(request 0 ("echo" (1 #<unspecified> 2)))')
        t.equal(list(await bad.answer_to(0)), ["response", [1, [], 2]], "the echo of an unspecified value")


@at_server("profile.protocol-error", "profile.framing")
async def garbage(t: Play) -> None:
    """Random bytes, HTTP, TLS, SSH end the connection and crash nothing."""
    source = random.Random(t.seed)
    junk = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\xff" * 4_096,
        *(bytes([source.randrange(1, 256)]) + source.randbytes(2_000) for _ in range(12)),
    ]
    async with attacked_server(t) as served:
        for data in junk:
            bad = await attack(t, served, hello=False)
            await bad.send(data)
            bad.end()
            await bad.must_end(f"garbage did not end the connection: {data[:20]!r}")


@at_server("profile.protocol-error")
async def garbage_after_hello(t: Play) -> None:
    """Random packets, of good length, after a good beginning end the connection."""
    source = random.Random(t.seed)
    async with attacked_server(t) as served:
        for size in (1, 17, 40, 41, 200, 5_000):
            bad = await attack(t, served)
            await is_served(bad, "good so far")
            await bad.send(bad.frame(b"\x80" + source.randbytes(size - 1)))
            await bad.must_end(f"a random packet of {size} bytes did not end the connection")


@at_client("profile.protocol-error")
async def server_sends_no_list(t: Play) -> None:
    """A server's packet that is no message ends the client's connection, and its requests fail."""
    bodies = [
        b"hello",
        b"",
        b"7",
        b'(response %N "a") (response %N "b")',
        b'(response %N "a"))',
        b"#!eof",
        b"(response %N",
    ]
    await client_closes(t, [says(body) for body in bodies], "a server's packet that is no message")


@at_client("profile.protocol-error")
async def server_sends_wrong_shape(t: Play) -> None:
    """Unknown tags, wrong shapes, bad IDs from a server end the client's connection."""
    bodies = [
        b"(answer %N 1)",
        b"(response %N)",
        b"(response %N 1 2)",
        b"(error %N oops)",
        b'(response "%N" 1)',
        b"(response -1 1)",
        b"(response %N. 1)",
    ]
    await client_closes(t, [says(body) for body in bodies], "a server's message of wrong shape")


@at_client("profile.framing", "profile.boxes")
async def server_sends_garbage(t: Play) -> None:
    """Garbage, lengths over the limit, tiny packets from a server end the client's connection."""
    source = random.Random(t.seed)
    attacks = [
        sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        sends(b"\xff" + source.randbytes(1_000)),
        sends(b"\xff\xff\xff\xff"),
        sends((16 * 1024 * 1024 + 1).to_bytes(4, "big")),
        sends(b"\x00\x00\x00\x00"),
        sends(b"\x00\x00\x00\x01\x80"),
        sends(b"\x00\x00\x00\x27" + bytes(39)),
        sends(b"\x00\x00\x00\x28" + bytes(40)),
    ]
    await client_closes(t, attacks, "garbage from a server")


@at_client("profile.reads-like-chicken")
async def server_writes_otherwise(t: Play) -> None:
    """White space, comments and brackets in a server's messages are read by the client as CHICKEN reads them."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        for body in (
            b" \t\n(response %d (1 2))\r\n ",
            b"; first\n(response %d (1 2)) ; last",
            b"#| a #| b |# |# (response #;7 %d (1 #| x |# 2)) #;(one more)",
            b"(response %d [1 2])",
            b"(response . (%d (1 . (2 . ()))))",
        ):
            asked = t.spawn(conn.request(["echo", 1]))
            _, number, _ = await bad.hear()
            await bad.say(body % number)
            t.equal(await asked, [1, 2], f"an answer that is written otherwise: {body!r}")


@at_client("profile.no-answer", "profile.protocol-error")
async def server_speaks_first(t: Play) -> None:
    """A server that greets with a banner is no bokbok server: the client's connection ends."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected(hello=False)
        await bad.send(b"220 welcome\r\n" * 4)
        await conn.closed()
        await t.fails(conn.request(["echo", 1], timeout=10), NetworkFailed, why="a request after a banner")
