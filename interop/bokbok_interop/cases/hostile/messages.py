"""Packets that do not hold a message, and messages that are written in an unusual way."""

from __future__ import annotations

import itertools
import random

from bokbok.wire import DEFAULT_LIMITS

from ...play import NetworkFailed, Play, readable, same, show
from ...raw import attack
from .neighbours import (
    at_client,
    at_server,
    attacked,
    attacked_client,
    attacked_server,
    each_ends,
    is_served,
    opened_by,
    says,
    sends,
)

NOT_A_LIST = says(
    b"hello",
    b'"request"',
    b"7",
    b"#(request 9 1)",
    b"(request . 9)",
    b"#t",
    b"#${00}",
)
TWO_DATUMS = says(
    b'(request 8 ("echo" 1)) (request 9 ("echo" 2))',
    b'(request 8 ("echo" 1))1',
    b'a (request 8 ("echo" 1))',
)
TRAILING_BYTES = says(
    b'(request 8 ("echo" 1)))',
    b'(request 8 ("echo" 1))\x00',
    b'(request 8 ("echo" 1)) "',
    b'(request 8 ("echo" 1)) #|',
)
EMPTY = says(
    b"",
    b" ",
    b"\n\n",
    b"; nothing",
    b"#| nothing |#",
)
UNKNOWN_TAG = says(
    b"(reqest 9 1)",
    b"(REQUEST 9 1)",
    b'("request" 9 1)',
    b"(request: 9 1)",
    b"(close 9 1)",
    b"(0 9 1)",
    b"((request) 9 1)",
)
WRONG_SHAPE = says(
    b"()",
    b"(request)",
    b"(request 9)",
    b"(request 9 1 2)",
    b"(request 9 1 . 2)",
    b"(response 0 1 2)",
    b"(9 request 1)",
    b"(error 0 oops)",
    b"(response 9)",
)
WRONG_ANSWERS = says(
    b"(answer %N 1)",
    b"(response %N)",
    b"(response %N 1 2)",
    b"(response %N 1 . 2)",
    b'(response "%N" 1)',
    b"(response -1 1)",
    b"(response %N. 1)",
    b"(error %N)",
    b"(error %N oops)",
    b"(error %N oops:)",
    b"(error %N #f)",
    b'(error %N ("oops"))',
    b'(error %N "oops" 1)',
    b'(error %N "oops" . 1)',
)
"""What looks like the answer to a request that waits."""
BAD_ID = says(
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
)
UNCLOSED_COMMENT = says(
    b'#| (request 8 ("echo" 1))',
    b'(request 8 ("echo" 1)) #| x',
    b'(request 8 ("echo" 1)) #;',
)
EOF_OBJECT = says(
    b"#!eof",
    b"#!eof #!eof",
)


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def not_a_list(t: Play) -> None:
    """A packet with a datum that is not a list ends the connection."""
    await each_ends(t, NOT_A_LIST, "a message that is not a list")


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def two_datums(t: Play) -> None:
    """Two datums in a packet end the connection."""
    await each_ends(t, TWO_DATUMS, "two datums")


async def _first_datum(t: Play) -> None:
    async with attacked(t) as victim:
        name = t.new_name()
        counts = b'"count" "%b"' % name.encode()
        for second in (b"", b"#<x> "):
            _, bad = await victim.meet()
            await bad.say(b"(request %d (%b)) (request %d (%b%b))" % (bad.ids, counts, bad.ids + 1, second, counts))
            rest = await bad.must_end("two messages in one packet, the first of which reads, left the connection open")
            t.check(
                not rest,
                "one of two messages in a packet was answered",
                expected="nothing",
                actual=readable(b"".join(rest[:1])),
            )
        _, bad = await victim.meet()
        number = bad.next_id(2)
        await bad.say(b"(request %d #<x>) (request %d (%b))" % (number, number + 1, counts))
        await bad.must_fail(number, "a request that does not read was not answered with an error")
        await is_served(bad, "the same connection, after a request that does not read and bytes behind it")
        t.equal(await victim.count_runs(name), 0, "how often a request beside another in one packet was served")


@at_server("profile.first-datum", only=("messages", "counted"), once=True)
async def first_datum(t: Play) -> None:
    """Two messages in a packet are a protocol error if the first one can be read; else that one fails alone."""
    await _first_datum(t)


@at_client("profile.first-datum", only=("messages", "counted"), once=True)
async def servers_first_datum(t: Play) -> None:
    """Two messages of a server in a packet are a protocol error if the first can be read; else that one fails alone."""
    await _first_datum(t)


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def trailing_bytes(t: Play) -> None:
    """Bytes after the list that are neither white space nor a whole comment end the connection."""
    await each_ends(t, TRAILING_BYTES, "trailing bytes")


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def empty_message(t: Play) -> None:
    """A packet without a datum (nothing, blanks, a comment) ends the connection."""
    await each_ends(t, EMPTY, "a message that is nothing")


async def _nothing_behind_an_error(t: Play) -> None:
    async with attacked(t) as victim:
        for wrong in (b"hello", b"(response 99 1)", b"(nonsense 1 2)"):
            conn, bad, asked, _ = await victim.waits()
            name = t.new_name()
            behind = [b'(request %d ("count" "%b"))' % (bad.next_id(), name.encode()) for _ in range(3)]
            await bad.send(b"".join(map(bad.packet, (wrong, *behind))))
            await victim.ends(conn, bad, asked, f"{readable(wrong)}, with requests behind it")
            t.equal(await victim.count_runs(name), 0, "how often a request ran that came behind a protocol error")


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def nothing_behind_an_error(t: Play) -> None:
    """Requests that come in one piece with a protocol error, behind it, are not handled by a server."""
    await _nothing_behind_an_error(t)


@at_client("profile.protocol-error", only=("messages", "counted"), once=True)
async def nothing_behind_a_servers_error(t: Play) -> None:
    """Requests of a server that come in one piece with its protocol error, behind it, are not handled by a client."""
    await _nothing_behind_an_error(t)


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def unknown_tag(t: Play) -> None:
    """A tag that is not one of the three ends the connection."""
    await each_ends(t, UNKNOWN_TAG, "an unknown tag")


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def wrong_shape(t: Play) -> None:
    """A message with too few or too many parts, or an error without a string, ends the connection."""
    await each_ends(t, [*WRONG_SHAPE, *WRONG_ANSWERS], "a message of wrong shape")


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def bad_id(t: Play) -> None:
    """An ID that is not a fixnum of 0 or more ends the connection."""
    await each_ends(t, BAD_ID, "a bad ID")


@at_server("profile.protocol-error", "request.errors")
async def waiting_requests_fail(t: Play) -> None:
    """When a bad packet ends a connection, every request that waits on it fails, and the close handler runs once."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        theirs = await opened_by(t, served, bad)
        asked = [t.spawn(theirs.request(["echo", i])) for i in range(3)]
        for _ in asked:
            await bad.hear()
        await bad.say(b"(nonsense)")
        for request in asked:
            await t.fails(t.within(10, request, "the failure"), NetworkFailed, why="a request when a bad packet came")
        await theirs.closed()
        await t.server.settle()
        t.check(theirs.closings == 1, "how often the close handler ran", expected="1", actual=str(theirs.closings))


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def unclosed_comment(t: Play) -> None:
    """A comment that is never closed ends the connection."""
    await each_ends(t, UNCLOSED_COMMENT, "an unclosed comment")


@at_server("profile.protocol-error", only=("messages", "counted"), once=True)
async def eof_object(t: Play) -> None:
    """#!eof as a packet ends the connection, and is not mistaken for the end of anything else."""
    await each_ends(t, EOF_OBJECT, "an end-of-file object")


OTHERWISE = (
    b" \t\r\n(%T %N %D)\n\n ",
    b"; first\n(%T %N %D) ; last",
    b"#| a #| nested |# b |# (%T %N #| x |# %D) #| end |#",
    b'(%T #;9 %N #;(skipped "x") %D) #;(one more)',
    b"[%T %N %D]",
    b"(%T\n%N\n%D)",
    b"(%T . (%N . (%D . ())))",
    b"(%T %N . (%D))",
    b"(|%T| %N %D)",
    b"(%T +%N %D)",
    b"(%T 00%N\x0c%D\x0b)",
)
"""Ways to write a message, with its tag, ID and datum."""
DATUMS = (b"(1 2)", b"[1 2]", b"(1 . (2 . ()))", b"(1 #;x 2 #| y |#)", b"(1 ; x\r y\n2)")
"""Ways to write `(1 2)`. A return does not end a comment: seen with CHICKEN 5.3."""


def _written(way: bytes, tag: bytes, number: int, datum: bytes) -> bytes:
    return way.replace(b"%T", tag).replace(b"%N", b"%d" % number).replace(b"%D", datum)


async def _is_understood(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        for way, datum in itertools.product(OTHERWISE, DATUMS):
            number = bad.next_id()
            await bad.say(request := _written(way, b"request", number, b'("echo" %b)' % datum))
            kind, value = await bad.answer_to(number)
            t.check(
                kind == "response" and same(value, [1, 2]),
                f"a request in another spelling was not understood: {readable(request)}",
                expected=f"(response {number} (1 2))",
                actual=f"({kind} {number} {show(value)})",
            )
            asked = t.spawn(conn.request(["echo", 1]))
            await bad.say(answer := _written(way, b"response", await victim.asks(bad), datum))
            t.equal(await asked, [1, 2], f"an answer in another spelling: {readable(answer)}")


@at_server("profile.reads-like-chicken", only=("messages", "counted"), once=True)
async def white_space_and_comments(t: Play) -> None:
    """White space and whole comments before, in and after a message are ignored; brackets are parentheses."""
    await _is_understood(t)


async def _reads_unspecified(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        number = bad.next_id()
        await bad.say(b'(request %d ("echo" (1 #<unspecified> 2)))' % number)
        t.equal(list(await bad.answer_to(number)), ["response", [1, [], 2]], "the echo of an unspecified value")
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.say(b"(response %d (1 #<unspecified> 2))" % await victim.asks(bad))
        t.equal(await asked, [1, [], 2], "an answer with an unspecified value")


@at_server("profile.reads-unspecified", once=True)
async def reads_unspecified(t: Play) -> None:
    """#<unspecified> is read as the unspecified value, which is sent back as ()."""
    await _reads_unspecified(t)


@at_client("profile.reads-unspecified", once=True)
async def client_reads_unspecified(t: Play) -> None:
    """A client reads #<unspecified> as the unspecified value, which is sent back as ()."""
    await _reads_unspecified(t)


@at_server("profile.protocol-error", "profile.framing")
async def garbage(t: Play) -> None:
    """Random bytes, HTTP, TLS and SSH end the connection and do not crash the peer."""
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
            await bad.must_end(f"garbage did not end the connection: {readable(data[:20])}")


@at_server("profile.protocol-error", only=("counted",))
async def garbage_after_hello(t: Play) -> None:
    """Random packets with a correct length, after a good beginning, end the connection."""
    source = random.Random(t.seed)
    async with attacked_server(t) as served:
        for size in (1, 17, 40, 41, 200, 5_000):
            bad = await attack(t, served)
            await is_served(bad, "good so far")
            await bad.send(bad.frame(b"\x80" + source.randbytes(size - 1)))
            await bad.must_end(f"a random packet of {size} bytes did not end the connection")


@at_client("profile.protocol-error", only=("messages", "counted"), once=True)
async def server_sends_no_list(t: Play) -> None:
    """A server's packet that is not a message ends the client's connection, and its requests fail."""
    answers = says(b'(response %N "a") (response %N "b")', b'(response %N "a"))', b"(response %N")
    bodies = [*NOT_A_LIST, *TWO_DATUMS, *TRAILING_BYTES, *EMPTY, *UNCLOSED_COMMENT, *EOF_OBJECT, *answers]
    await each_ends(t, bodies, "a packet that is not a message")


@at_client("profile.protocol-error", only=("messages", "counted"), once=True)
async def server_sends_wrong_shape(t: Play) -> None:
    """Unknown tags, wrong shapes and bad IDs from a server end the client's connection."""
    await each_ends(t, [*UNKNOWN_TAG, *WRONG_SHAPE, *BAD_ID, *WRONG_ANSWERS], "a message of wrong shape")


@at_client("profile.framing", "profile.boxes", only=("framing", "nonces"))
async def server_sends_garbage(t: Play) -> None:
    """Garbage, lengths over the limit and tiny packets from a server end the client's connection."""
    source = random.Random(t.seed)
    attacks = [
        sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        sends(b"\xff" + source.randbytes(1_000)),
        sends(b"\xff\xff\xff\xff"),
        sends((DEFAULT_LIMITS.packet + 1).to_bytes(4, "big")),
        sends(b"\x00\x00\x00\x00"),
        sends(b"\x00\x00\x00\x01\x80"),
        sends(b"\x00\x00\x00\x27" + bytes(39)),
        sends(b"\x00\x00\x00\x28" + bytes(40)),
    ]
    await each_ends(t, attacks, "garbage")


@at_client("profile.reads-like-chicken", only=("messages", "counted"), once=True)
async def server_writes_otherwise(t: Play) -> None:
    """A client reads white space, comments and brackets in a server's messages as CHICKEN reads them."""
    await _is_understood(t)


@at_client("profile.no-answer", "profile.protocol-error")
async def server_speaks_first(t: Play) -> None:
    """A server that greets with a banner is not a bokbok server: the client's connection ends."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected(hello=False)
        await bad.send(b"220 welcome\r\n" * 4)
        await conn.closed()
        await t.fails(conn.request(["echo", 1], timeout=10), NetworkFailed, why="a request after a banner")
