"""Hostile peers: whatever comes, the peer survives and goes on serving others.

What this module knows: what a bad client can do to a server, and a bad server to a client. What it refuses to know:
two good peers. The runner itself plays the bad one, with raw sockets and the pieces of the profile (`raw`).

Every case is a siege: a good neighbour is connected before, and after the attack both it and a new one are served.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ..model import Failure
from ..play import PASSPHRASE, USER, Conn, NetworkFailed, Play, Refused, RemoteFailed, Served, same, show
from ..raw import BadServer, Raw, attack, good_server
from .base import case

BAD_CLIENT: Any = {"opponent": "client"}
BAD_SERVER: Any = {"opponent": "server"}
HELLO_SECONDS = 10.0  # what the design gives a hello; a few more are allowed before it counts as endless


@contextlib.asynccontextmanager
async def siege(t: Play, users: Any = None) -> AsyncIterator[Served]:
    """A server under attack: a neighbour that was there before, and a new one after, are served as ever."""
    table = users or {USER: PASSPHRASE}
    served = await t.server.listen(users=table if t.secure else None)
    neighbour = await attack(t, served)
    await _served(neighbour, "before")
    yield served
    await _served(neighbour, "the neighbour, after the attack")
    late = await attack(t, served)
    await _served(late, "a new neighbour, after the attack")


async def _served(neighbour: Raw, what: str) -> None:
    try:
        value = await neighbour.request(["echo", what])
    except Failure as failure:
        raise Failure(
            f"a good neighbour is not served ({what}): {failure.problem}",
            expected=f'(response N "{what}")',
            actual=failure.actual or "nothing",
        ) from None
    if not same(value, what):
        raise Failure("a good neighbour got a wrong answer", expected=what, actual=show(value))


async def _ran(t: Play, served: Served, name: str) -> int:
    """How often a handler counted under this name."""
    probe = await attack(t, served)
    value = await probe.request(["count", name])
    if not isinstance(value, int):
        raise Failure("a counter that is no number", actual=show(value))
    return value - 1


@contextlib.asynccontextmanager
async def lured(t: Play) -> AsyncIterator[BadServer]:
    """A client among bad servers: its connection to a good one, and a new one after, work as ever."""
    good = await good_server(t)
    before = await t.client.connect(good.address)
    await before.echo("before")
    yield await BadServer(t).start()
    await before.echo("the good server, after the attack")
    after = await t.client.connect(good.address)
    await after.echo("the good server, connected to after the attack")


# ------------------------------------------------------------------ packets that break the protocol, at the server


async def _bodies_close(t: Play, bodies: Sequence[bytes], what: str) -> None:
    """Each of these message bodies is a protocol error: the connection closes, what waits on it fails."""
    async with siege(t) as served:
        for body in bodies:
            bad = await attack(t, served)
            await _served(bad, "good so far")
            await bad.say(body)
            await bad.must_end(f"{what} did not end the connection: {body[:80]!r}")


@case("hostile.not-a-list", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def not_a_list(t: Play) -> None:
    """A packet that holds a datum which is no list ends the connection."""
    await _bodies_close(
        t,
        [b"hello", b'"request"', b"7", b"#(request 9 1)", b"(request . 9)", b"#t", b"#${00}"],
        "a message that is no list",
    )


@case("hostile.two-datums", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def two_datums(t: Play) -> None:
    """Two datums in a packet end the connection."""
    await _bodies_close(
        t,
        [b'(request 8 ("echo" 1)) (request 9 ("echo" 2))', b'(request 8 ("echo" 1))1', b'a (request 8 ("echo" 1))'],
        "two datums",
    )


@case("hostile.trailing-bytes", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def trailing_bytes(t: Play) -> None:
    """Bytes after the list that are neither white space nor a whole comment end the connection."""
    await _bodies_close(
        t,
        [
            b'(request 8 ("echo" 1)))',
            b'(request 8 ("echo" 1))\x00',
            b'(request 8 ("echo" 1)) "',
            b'(request 8 ("echo" 1)) #|',
        ],
        "trailing bytes",
    )


@case("hostile.empty-message", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def empty_message(t: Play) -> None:
    """A packet with no datum in it ends the connection: nothing, blanks, a comment."""
    await _bodies_close(t, [b"", b" ", b"\n\n", b"; nothing", b"#| nothing |#"], "a message that is nothing")


@case("hostile.unknown-tag", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def unknown_tag(t: Play) -> None:
    """A tag that is none of the three ends the connection."""
    await _bodies_close(
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


@case("hostile.wrong-shape", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def wrong_shape(t: Play) -> None:
    """A message with too few or too many parts, or an error without a string, ends the connection."""
    await _bodies_close(
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


@case("hostile.bad-id", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def bad_id(t: Play) -> None:
    """An ID that is no fixnum from 0 upwards ends the connection."""
    await _bodies_close(
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


@case("hostile.unasked-answer", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def unasked_answer(t: Play) -> None:
    """An answer to a question that was never asked ends the connection."""
    await _bodies_close(
        t, [b"(response 0 1)", b'(error 0 "x")', b"(response 4611686018427387903 ())"], "an unasked answer"
    )


@case("hostile.second-answer", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def second_answer(t: Play) -> None:
    """A second answer to the same question ends the connection; the first one counts."""
    async with siege(t) as served:
        bad = await attack(t, served)
        theirs = await _opened_by(t, served, bad)
        asked = t.spawn(theirs.request(["echo", 1]))
        kind, number, _ = await bad.hear()
        t.check(kind == "request", "the server's request", actual=kind)
        await bad.say(f'(response {number} "first")')
        t.equal(await asked, "first", "the answer that came first")
        await bad.say(f'(response {number} "second")')
        await bad.must_end("a second answer did not end the connection")
        await theirs.closed()


async def _opened_by(t: Play, served: Served, bad: Raw) -> Conn:
    """The server's end of the last connection."""
    await _served(bad, "so that the open handler has run")
    await t.server.settle()
    return served.connections[-1]


@case("hostile.answers-in-any-order", "profile.messages", "guards.survives", kind="profile", **BAD_CLIENT)
async def answers_in_any_order(t: Play) -> None:
    """Answers that come in reverse, errors among them, reach the requests that they name."""
    async with siege(t) as served:
        bad = await attack(t, served)
        theirs = await _opened_by(t, served, bad)
        asked = [t.spawn(theirs.request(["echo", i])) for i in range(6)]
        heard = [await bad.hear() for _ in asked]
        for _, number, datum in reversed(heard):
            if datum[1] % 2:
                await bad.say(f'(error {number} "no {datum[1]}")')
            else:
                await bad.say(f"(response {number} {datum[1]})")
        for index, request in enumerate(asked):
            if index % 2:
                error = await t.fails(request, RemoteFailed, why="an answered error")
                t.check(f"no {index}" in error.message, "an error reached another request", actual=error.message)
            else:
                t.equal(await request, index, "an answer out of order")


@case(
    "hostile.waiting-requests-fail",
    "profile.protocol-error",
    "request.errors",
    "guards.survives",
    kind="profile",
    **BAD_CLIENT,
)
async def waiting_requests_fail(t: Play) -> None:
    """When a bad packet ends a connection every request that waits on it fails, and the close handler runs once."""
    async with siege(t) as served:
        bad = await attack(t, served)
        theirs = await _opened_by(t, served, bad)
        asked = [t.spawn(theirs.request(["echo", i])) for i in range(3)]
        for _ in asked:
            await bad.hear()
        await bad.say(b"nonsense")
        for request in asked:
            await t.fails(t.within(10, request, "the failing"), NetworkFailed, why="a request when a bad packet came")
        await theirs.closed()
        await t.server.settle()
        t.check(theirs.closings == 1, "how often the close handler ran", expected="1", actual=str(theirs.closings))


@case("hostile.unreadable-request", "profile.unreadable", "guards.survives", kind="profile", **BAD_CLIENT)
async def unreadable_request(t: Play) -> None:
    """A request whose datum does not read fails alone, with an error; the connection goes on."""
    async with siege(t) as served:
        bad = await attack(t, served)
        for number, datum in enumerate(
            (
                b"#<procedure>",
                b"(a",
                b'("echo" #<port>)',
                b"#\\nosuchchar",
                b"(1 . )",
                b"#u8(300)",
                b"#nosuch",
                b'"\\xzz"',
            )
        ):
            await bad.say(b"(request %d %b)" % (number, datum))
            kind, value = await bad.answer_to(number)
            t.check(
                kind == "error" and isinstance(value, str),
                f"a request whose datum does not read was not answered with an error: {datum!r}",
                expected=f'(error {number} "message")',
                actual=f"({kind} {number} {show(value, 100)})",
            )
        bad.ids = 100
        await _served(bad, "the same connection, after requests that do not read")


@case(
    "hostile.unreadable-answer", "profile.unreadable", "remote-error", "guards.survives", kind="profile", **BAD_CLIENT
)
async def unreadable_answer(t: Play) -> None:
    """An answer whose datum does not read fails its request with a remote error; the connection goes on."""
    async with siege(t) as served:
        bad = await attack(t, served)
        theirs = await _opened_by(t, served, bad)
        for datum in (b"#<procedure>", b"(1 (2 3)", b"#\\nosuchchar"):
            asked = t.spawn(theirs.request(["echo", 1]))
            _, number, _ = await bad.hear()
            await bad.say(b"(response %d %b)" % (number, datum))
            await t.fails(asked, RemoteFailed, why=f"an answer that does not read: {datum!r}")
        await _served(bad, "the same connection, after answers that do not read")


@case("hostile.unclosed-comment", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def unclosed_comment(t: Play) -> None:
    """A comment that is never closed ends the connection."""
    await _bodies_close(
        t,
        [
            b'#| (request 8 ("echo" 1))',
            b'(request 8 ("echo" 1)) #| x',
            b'(request 8 ("echo" 1)) #;',
        ],
        "an unclosed comment",
    )


@case("hostile.eof-object", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def eof_object(t: Play) -> None:
    """#!eof as a packet ends the connection, and is not taken for the end of anything else."""
    await _bodies_close(t, [b"#!eof", b"#!eof #!eof"], "an end-of-file object")


@case("hostile.white-space-and-comments", "profile.reads-like-chicken", "guards.survives", kind="profile", **BAD_CLIENT)
async def white_space_and_comments(t: Play) -> None:
    """White space and whole comments before, in and after a message are as nothing; brackets are parentheses."""
    async with siege(t) as served:
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


@case("hostile.reads-unspecified", "profile.reads-unspecified", "guards.survives", kind="profile", **BAD_CLIENT)
async def reads_unspecified(t: Play) -> None:
    """#<unspecified> reads as the unspecified value, which goes back as ()."""
    async with siege(t) as served:
        bad = await attack(t, served)
        await bad.say(b'(request 0 ("echo" (1 #<unspecified> 2)))')
        t.equal(list(await bad.answer_to(0)), ["response", [1, [], 2]], "the echo of an unspecified value")


@case(
    "hostile.deep-nesting",
    "profile.unreadable",
    "guards.memory",
    "guards.survives",
    kind="profile",
    timeout=30,
    fresh=("server",),
    transport="unix",
    **BAD_CLIENT,
)
async def deep_nesting(t: Play) -> None:
    """A datum nested half a million deep is echoed, or fails alone: it overflows no stack."""
    async with siege(t) as served:
        bad = await attack(t, served)
        for number, (opening, closing) in enumerate(((b"(", b")"), (b"#(", b")"), (b"(a . ", b")"))):
            deep = opening * 500_000 + b"1" + closing * 500_000
            await bad.say(b'(request %d ("type" %b))' % (number, deep))
            await bad.answer_to(number, 40)
        await bad.say(b'(request 3 ("type" %b1))' % (b"'" * 500_000))
        await bad.answer_to(3, 40)
        bad.ids = 10
        await _served(bad, "the same connection, after deep datums")


@case(
    "hostile.endless-nesting",
    "profile.protocol-error",
    "guards.memory",
    "guards.survives",
    kind="profile",
    timeout=30,
    fresh=("server",),
    transport="unix",
    **BAD_CLIENT,
)
async def endless_nesting(t: Play) -> None:
    """Parentheses that open and never close end the connection, quickly."""
    async with siege(t) as served:
        for body in (b"(" * 3_000_000, b'(request 0 ("echo" ' + b"#(" * 1_000_000, b"'" * 1_000_000):
            bad = await attack(t, served)
            await bad.say(body)
            await bad.must_end("nesting without end did not end the connection", 40)


@case(
    "hostile.huge-numbers",
    "profile.unreadable",
    "guards.memory",
    "guards.survives",
    kind="profile",
    timeout=30,
    fresh=("server",),
    transport="unix",
    **BAD_CLIENT,
)
async def huge_numbers(t: Play) -> None:
    """Numbers of thousands of digits, and enormous exponents, are answered one way or the other, quickly."""
    async with siege(t) as served:
        bad = await attack(t, served)
        for number, text in enumerate(
            (
                b"9" * 5_000,
                b"-" + b"9" * 5_000,
                b"1e999999999",
                b"1e-999999999",
                b"0." + b"3" * 100_000,
                b"1" * 2_000 + b"/" + b"3" * 2_000,
                b"#x" + b"f" * 20_000,
                b"1e" + b"9" * 5_000,
                b"#e1e999999999",
            )
        ):
            await bad.say(b'(request %d ("type" %b))' % (number, text))
            await bad.answer_to(number, 15)
        bad.ids = 50
        await _served(bad, "the same connection, after huge numbers")


@case(
    "hostile.million-symbols",
    "guards.memory",
    "guards.survives",
    kind="hardening",
    timeout=60,
    fresh=("server",),
    transport="unix",
    **BAD_CLIENT,
)
async def million_symbols(t: Play) -> None:
    """A million different symbols, and half a million keywords, are read like any other list."""
    async with siege(t) as served:
        bad = await attack(t, served)
        await bad.say(b'(request 0 ("type" (%b)))' % b" ".join(b"s%x" % i for i in range(1_000_000)))
        await bad.answer_to(0, 60)
        await bad.say(b'(request 1 ("type" (%b)))' % b" ".join(b"k%x:" % i for i in range(500_000)))
        await bad.answer_to(1, 60)
        bad.ids = 2
        await _served(bad, "the same connection, after a million symbols")


# ------------------------------------------------------------------------------------------- lengths and boxes


@case("hostile.length-over-limit", "profile.framing", "guards.survives", kind="profile", **BAD_CLIENT)
async def length_over_limit(t: Play) -> None:
    """A length over the limit ends the connection at once, without waiting for the bytes."""
    async with siege(t) as served:
        for length in (16 * 1024 * 1024 + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            bad = await attack(t, served)
            await _served(bad, "good so far")
            await bad.send(length.to_bytes(4, "big") + b"(request")
            await bad.must_end(f"a packet of {length} bytes was awaited")


@case(
    "hostile.packet-at-the-limit",
    "profile.framing",
    "guards.survives",
    kind="profile",
    timeout=40,
    fresh=("server",),
    transport="unix",
    **BAD_CLIENT,
)
async def packet_at_the_limit(t: Play) -> None:
    """A packet of exactly 16 MiB is served."""
    async with siege(t) as served:
        bad = await attack(t, served)
        empty = len(bad.packet(b'(request 0 ("type" ""))')) - len(bad.frame(b""))
        await bad.say(b'(request 0 ("type" "%b"))' % (b"x" * (16 * 1024 * 1024 - empty)))
        kind, value = await bad.answer_to(0, 40)
        t.check(
            kind == "response", "a packet of exactly 16 MiB was not served", actual=f"({kind} 0 {show(value, 200)})"
        )
        bad.ids = 1
        await _served(bad, "the same connection, after a packet of 16 MiB")


@case("hostile.largest-id", "profile.messages", "profile.ids", "guards.survives", kind="profile", **BAD_CLIENT)
async def largest_id(t: Play) -> None:
    """The largest fixnum is an ID like any other."""
    async with siege(t) as served:
        for number in (2**31, 2**32, 2**53 + 1, 2**62 - 1):
            bad = await attack(t, served)
            await bad.say(b'(request %d ("echo" 1))' % number)
            t.equal(list(await bad.answer_to(number)), ["response", 1], f"the answer to request {number}")


@case(
    "hostile.length-over-limit-before-hello",
    "profile.framing",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_CLIENT,
)
async def length_over_limit_before_hello(t: Play) -> None:
    """Before a hello has opened the limit is what the hello needs: 256 bytes are too many."""
    async with siege(t) as served:
        for first in (256, 65_536, 16 * 1024 * 1024):
            bad = await attack(t, served, hello=False)
            await bad.send(first.to_bytes(4, "big") + b"x" * 40)
            await bad.must_end(f"a first packet of {first} bytes was awaited", 5)
        bad = await attack(t, served, hello=False)
        await bad.send(bad.frame(USER.encode()) + (16 * 1024 * 1024).to_bytes(4, "big"))
        await bad.must_end("a session key of 16 MiB was awaited", 5)


@case("hostile.tiny-packets", "profile.framing", "profile.boxes", "guards.survives", kind="profile", **BAD_CLIENT)
async def tiny_packets(t: Play) -> None:
    """Packets of 0 and 1 bytes, and boxes of 39 and 40, end the connection and crash nothing."""
    async with siege(t) as served:
        for body in (b"", b"(", b"x" * 39, b"x" * 40):
            bad = await attack(t, served)
            await _served(bad, "good so far")
            await bad.send(bad.frame(body))
            await bad.must_end(f"a packet of {len(body)} bytes did not end the connection")
        bad = await attack(t, served)
        await bad.say(b"")  # on a secure connection: a good box, of exactly 40 bytes, with nothing in it
        await bad.must_end("an empty message did not end the connection")


@case(
    "hostile.truncated-packet",
    "profile.framing",
    "start.close-handler",
    "guards.survives",
    kind="profile",
    **BAD_CLIENT,
)
async def truncated_packet(t: Play) -> None:
    """A connection that ends inside a packet is over, its close handler runs, and nothing of the packet is served."""
    async with siege(t) as served:
        name = t.new_name()
        for cut in (2, 4, 11):
            bad = await attack(t, served)
            theirs = await _opened_by(t, served, bad)
            whole = bad.packet(b'(request 7 ("count" "%b"))' % name.encode())
            await bad.send(whole[:cut])
            bad.end()
            await bad.must_end("a truncated packet left the connection open")
            await theirs.closed()
        t.equal(await _ran(t, served, name), 0, "how often a handler ran for a truncated request")


@case("hostile.garbage", "profile.protocol-error", "profile.framing", "guards.survives", kind="profile", **BAD_CLIENT)
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
    async with siege(t) as served:
        for data in junk:
            bad = await attack(t, served, hello=False)
            await bad.send(data)
            bad.end()
            await bad.must_end(f"garbage did not end the connection: {data[:20]!r}")


@case("hostile.garbage-after-hello", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def garbage_after_hello(t: Play) -> None:
    """Random packets, of good length, after a good beginning end the connection."""
    source = random.Random(t.seed)
    async with siege(t) as served:
        for size in (1, 17, 40, 41, 200, 5_000):
            bad = await attack(t, served)
            await _served(bad, "good so far")
            await bad.send(bad.frame(b"\x80" + source.randbytes(size - 1)))
            await bad.must_end(f"a random packet of {size} bytes did not end the connection")


@case(
    "hostile.tampered", "profile.boxes", "open.key", "guards.survives", kind="profile", security="secure", **BAD_CLIENT
)
async def tampered(t: Play) -> None:
    """A packet with one bit changed, in nonce, tag or ciphertext, is not served: the connection ends."""
    async with siege(t) as served:
        name = t.new_name()
        for where in (4, 27, 28, 43, 44, 60, -1):
            bad = await attack(t, served)
            await _served(bad, "good so far")
            packet = bytearray(bad.packet(b'(request 7 ("count" "%b"))' % name.encode()))
            packet[where] ^= 0x01
            await bad.send(bytes(packet))
            await bad.must_end(f"a packet with a bit changed in byte {where} did not end the connection")
        t.equal(await _ran(t, served, name), 0, "how often a handler ran for a tampered request")


@case("hostile.tampered-length", "profile.boxes", "guards.survives", kind="profile", security="secure", **BAD_CLIENT)
async def tampered_length(t: Play) -> None:
    """A box with its last byte missing, or one more, is not served."""
    async with siege(t) as served:
        name = t.new_name()
        for change in (-1, +1):
            bad = await attack(t, served)
            await _served(bad, "good so far")
            assert bad.session is not None
            box = bad.seal(b'(request 7 ("count" "%b"))' % name.encode(), bad.session)
            await bad.send(bad.frame(box[:-1] if change < 0 else box + b"\x00"))
            await bad.must_end("a box of wrong length did not end the connection")
        t.equal(await _ran(t, served, name), 0, "how often a handler ran for such a request")


@case(
    "hostile.other-key", "profile.boxes", "open.key", "guards.survives", kind="profile", security="secure", **BAD_CLIENT
)
async def other_key(t: Play) -> None:
    """After the hello only the session key opens: a box under another key, or under the user's, ends the connection."""
    async with siege(t) as served:
        name = t.new_name()
        body = b'(request 7 ("count" "%b"))' % name.encode()
        for key in ("another", "user", "zero"):
            bad = await attack(t, served)
            await _served(bad, "good so far")
            chosen = {"another": b"\x07" * 32, "user": bad.key(PASSPHRASE), "zero": bytes(32)}[key]
            await bad.send(bad.frame(bad.seal(body, chosen)))
            await bad.must_end(f"a box under the {key} key did not end the connection")
        t.equal(await _ran(t, served, name), 0, "how often a handler ran for such a request")


@case(
    "hostile.plain-after-hello",
    "profile.boxes",
    "open.key",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_CLIENT,
)
async def plain_after_hello(t: Play) -> None:
    """After a hello a request in the clear is not served: the connection ends."""
    async with siege(t) as served:
        name = t.new_name()
        body = b'(request 7 ("count" "%b"))' % name.encode()
        bad = await attack(t, served)
        await _served(bad, "good so far")
        await bad.send(bad.frame(body))
        await bad.must_end("a request in the clear did not end a secure connection")
        bad = await attack(t, served)
        await bad.send(bad.frame(body))  # right after the hello
        await bad.must_end("a request in the clear did not end a secure connection")
        t.equal(await _ran(t, served, name), 0, "how often a handler ran for a request in the clear")


@case("hostile.any-nonce", "profile.any-nonce", "guards.survives", kind="profile", security="secure", **BAD_CLIENT)
async def any_nonce(t: Play) -> None:
    """A receiver takes any nonce: random ones, zero, in any order."""
    async with siege(t) as served:
        bad = await attack(t, served)
        source = random.Random(t.seed)
        for number, nonce in enumerate((source.randbytes(24), bytes(24), b"\xff" * 24, source.randbytes(24))):
            assert bad.session is not None
            await bad.send(bad.frame(bad.seal(b'(request %d ("echo" %d))' % (number, number), bad.session, nonce)))
            t.equal(
                list(await bad.answer_to(number)), ["response", number], f"the answer to a box with nonce {nonce.hex()}"
            )


# ------------------------------------------------------------------------------------------------------ hellos


async def _refused(t: Play, served: Served, bad: Raw, data: bytes, what: str) -> None:
    """These bytes are no hello: the connection ends, and no handler runs."""
    name = t.new_name()
    await bad.send(data)
    if bad.session is not None:
        await bad.say(b'(request 0 ("count" "%b"))' % name.encode())
    rest = await bad.must_end(f"{what} was not refused")
    t.check(not rest, f"{what} was answered", expected="nothing", actual=repr(rest[:1]))
    await t.server.settle()
    t.check(len(served.connections) == bad.opened_before, f"the open handler ran for {what}")
    t.equal(await _ran(t, served, name), 0, f"how often a handler ran after {what}")


@case(
    "hostile.hello-cut-after-name",
    "profile.hello-key",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_CLIENT,
)
async def hello_cut_after_name(t: Play) -> None:
    """A hello that ends after the username opens nothing."""
    async with siege(t) as served:
        for data in (b"", b"\x00\x00", None):
            bad = await attack(t, served, hello=False)
            await bad.send(bad.frame(USER.encode()) if data is None else data)
            bad.end()
            await bad.must_end("a hello that was cut off left the connection open", 5)
            await t.server.settle()
            t.check(len(served.connections) == bad.opened_before, "the open handler ran for half a hello")


@case(
    "hostile.hello-bad-session-key",
    "profile.hello-key",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_CLIENT,
)
async def hello_bad_session_key(t: Play) -> None:
    """A boxed session key of 31 or 33 bytes, or of none, is no hello."""
    async with siege(t) as served:
        for size in (0, 16, 31, 33):
            bad = await attack(t, served, hello=False)
            hello = bad.hello(session=b"k" * size)
            bad.session = None
            await _refused(t, served, bad, hello, f"a session key of {size} bytes")
        for change in (-1, +1):
            bad = await attack(t, served, hello=False)
            name = bad.frame(USER.encode())
            box = bad.hello()[len(name) + len(bad.frame(b"")) :]
            box = box[:-1] if change < 0 else box + b"\0"
            await _refused(t, served, bad, name + bad.frame(box), f"a second packet of {len(box)} bytes")


@case(
    "hostile.hello-tampered",
    "profile.hello-key",
    "open.key",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_CLIENT,
)
async def hello_tampered(t: Play) -> None:
    """A hello with one bit of its box changed is refused."""
    async with siege(t) as served:
        for where in (-72, -49, -48, -33, -32, -1):
            bad = await attack(t, served, hello=False)
            hello = bytearray(bad.hello())
            hello[where] ^= 0x80
            await _refused(t, served, bad, bytes(hello), f"a hello with a bit changed in byte {where}")


@case(
    "hostile.hello-for-other-user",
    "profile.hello-user",
    "start.user-key-value",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_CLIENT,
)
async def hello_for_other_user(t: Play) -> None:
    """A hello whose name is another user's does not open under that user's key."""
    async with siege(t, {USER: PASSPHRASE, "bob": "his own"}) as served:
        bad = await attack(t, served, hello=False)
        hello = bad.hello()
        swapped = bad.frame(b"bob") + hello[len(bad.frame(USER.encode())) :]
        await _refused(t, served, bad, swapped, "a hello under another user's name")


@case(
    "hostile.hello-strange-names",
    "profile.hello-user",
    "start.user-key-refuses",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_CLIENT,
)
async def hello_strange_names(t: Play) -> None:
    """Unknown users named with line feeds, NUL, escape codes, bytes that are no UTF-8, are refused like any other."""
    async with siege(t) as served:
        for name in (
            b"a\nb",
            b"\x00",
            b"alice\x00",
            b"\x1b[31mred\x1b[0m",
            b"\xff\xfe\x80",
            b"../../etc/passwd",
            b"%s%n",
            b"x" * 255,
        ):
            bad = await attack(t, served, hello=False)
            await _refused(t, served, bad, bad.hello(name), f"an unknown user named {name[:20]!r}")


@case(
    "hostile.log-is-clean", "guards.survives", "profile.hello-user", kind="hardening", security="secure", **BAD_CLIENT
)
async def log_is_clean(t: Play) -> None:
    """What a stranger sends does not reach the log raw: no line of its making, no escape code, no passphrase."""
    mark = t.server.puppet.running.log.size
    async with siege(t) as served:
        for name in (b"eve\nFAKE LOG LINE", b"\x1b[2Jcleared"):
            bad = await attack(t, served, hello=False)
            await _refused(t, served, bad, bad.hello(name), f"an unknown user named {name!r}")
    await t.server.settle()
    log = t.server.puppet.running.log.text(mark)
    t.check("\nFAKE LOG LINE" not in log, "a username made a line of its own in the log", actual=log[-300:])
    t.check("\x1b[2J" not in log, "a username put an escape code into the log")
    t.check(PASSPHRASE not in log, "a passphrase stands in the log")


@case(
    "hostile.hello-withheld",
    "guards.hello-timeout",
    "guards.survives",
    kind="hardening",
    security="secure",
    timeout=20,
    **BAD_CLIENT,
)
async def hello_withheld(t: Play) -> None:
    """A client that never says hello is shown out, and holds nobody up meanwhile."""
    async with siege(t) as served:
        silent = await attack(t, served, hello=False)
        half = await attack(t, served, hello=False)
        await half.send(half.frame(USER.encode()))
        other = await attack(t, served)
        await _served(other, "beside silent clients")
        for bad in (silent, half):  # which came first is what counts: a clock would have to be patient
            await bad.stays_open("a client that withholds its hello was shown out before a neighbour was served", 0.01)
        for bad in (silent, half):
            await bad.must_end("a client that withholds its hello is kept", HELLO_SECONDS + 8)


@case(
    "hostile.hello-drip-fed",
    "guards.hello-timeout",
    "guards.survives",
    kind="hardening",
    security="secure",
    timeout=25,
    **BAD_CLIENT,
)
async def hello_drip_fed(t: Play) -> None:
    """A hello of a byte a second is shown out as a whole: each byte does not buy another ten seconds."""
    async with siege(t) as served:
        bad = await attack(t, served, hello=False)

        async def drip(data: bytes) -> None:
            for byte in data:
                await bad.send(bytes([byte]))
                await asyncio.sleep(1)

        async with t.beside(drip(bad.hello())):
            other = await attack(t, served)
            await _served(other, "beside a slow hello")
            await bad.stays_open("a slow hello was shown out before a neighbour was served", 0.01)
            await bad.must_end("a hello of a byte a second is awaited without end", HELLO_SECONDS + 10)


@case(
    "hostile.slow-but-good-hello",
    "profile.hello-key",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_CLIENT,
)
async def slow_but_good_hello(t: Play) -> None:
    """A hello that comes in small pieces, in time, opens like any other."""
    async with siege(t) as served:
        bad = await attack(t, served, hello=False)
        hello = bad.hello()
        for start in range(0, len(hello), 7):
            await bad.send(hello[start : start + 7])
            await asyncio.sleep(0.02)
        await _served(bad, "after a slow hello")


@case(
    "hostile.hello-replayed",
    "guards.hello",
    "guards.refusal",
    "guards.survives",
    kind="hardening",
    security="secure",
    **BAD_CLIENT,
)
async def hello_replayed(t: Play) -> None:
    """A conversation that was recorded and is played again is refused at its hello, and not served twice."""
    async with siege(t) as served:
        name = t.new_name()
        first = await attack(t, served, hello=False)
        recorded = first.hello() + first.packet(b'(request 0 ("count" "%b"))' % name.encode())
        await first.send(recorded)
        t.equal(list(await first.answer_to(0)), ["response", 1], "the first time")
        again = await attack(t, served, hello=False)
        await again.send(recorded)
        await again.must_end("a hello that was seen before opened again, while the first connection is open")
        await first.close()
        again = await attack(t, served, hello=False)
        await again.send(recorded)
        await again.must_end("a hello that was seen before opened again, after the first connection closed")
        t.equal(await _ran(t, served, name), 1, "how often the recorded request was served")


@case(
    "hostile.hello-replayed-late",
    "guards.hello",
    "guards.survives",
    kind="hardening",
    security="secure",
    timeout=20,
    transport="unix",
    **BAD_CLIENT,
)
async def hello_replayed_late(t: Play) -> None:
    """A hello that was seen before is refused as well after two hundred others."""
    async with siege(t) as served:
        name = t.new_name()
        first = await attack(t, served, hello=False)
        recorded = first.hello() + first.packet(b'(request 0 ("count" "%b"))' % name.encode())
        await first.send(recorded)
        t.equal(list(await first.answer_to(0)), ["response", 1], "the first time")
        await first.close()
        for _ in range(200):
            other = await attack(t, served)
            await other.request(["echo", 1])
            await other.close()
        again = await attack(t, served, hello=False)
        await again.send(recorded)
        await again.must_end("a hello that was seen before opened again, after two hundred others")
        t.equal(await _ran(t, served, name), 1, "how often the recorded request was served")


@case(
    "hostile.hello-replayed-at-once",
    "guards.hello",
    "guards.survives",
    kind="hardening",
    security="secure",
    **BAD_CLIENT,
)
async def hello_replayed_at_once(t: Play) -> None:
    """Of one hello that arrives on eight connections at the same moment, one opens."""
    async with siege(t) as served:
        name = t.new_name()
        bads = [await attack(t, served, hello=False) for _ in range(8)]
        recorded = bads[0].hello() + bads[0].packet(b'(request 0 ("count" "%b"))' % name.encode())
        # All but the last byte first, so that it is the last byte that races.
        await asyncio.gather(*(bad.send(recorded[:-1]) for bad in bads))
        await asyncio.gather(*(bad.send(recorded[-1:]) for bad in bads))
        got = await asyncio.gather(*(bad.hear_packet() for bad in bads))
        t.check(
            sum(packet is not None for packet in got) == 1,
            "one hello opened several connections",
            expected="1 answered",
            actual=f"{sum(packet is not None for packet in got)} answered",
        )
        t.equal(await _ran(t, served, name), 1, "how often the request behind the hello was served")


@case(
    "hostile.hello-replayed-as-other",
    "guards.hello",
    "guards.survives",
    kind="hardening",
    security="secure",
    **BAD_CLIENT,
)
async def hello_replayed_as_other(t: Play) -> None:
    """A hello's box that was seen before is refused under another username with the same key, too."""
    async with siege(t, {USER: PASSPHRASE, "bob": PASSPHRASE}) as served:
        first = await attack(t, served, hello=False)
        hello = first.hello()
        await first.send(hello)
        await _served(first, "the first time")
        again = await attack(t, served, hello=False)
        await again.send(again.frame(b"bob") + hello[len(again.frame(USER.encode())) :])
        again.session = first.session
        await again.ask(["whoami"])
        rest = await again.must_end("a hello's box opened again under another name")
        t.check(not rest, "a replayed hello was answered")


@case(
    "hostile.secure-hello-at-insecure-server",
    "profile.wrong-mode",
    "guards.survives",
    kind="profile",
    security="insecure",
    **BAD_CLIENT,
)
async def secure_hello_at_insecure_server(t: Play) -> None:
    """A secure client's hello makes no sense to an insecure server, which closes."""
    async with siege(t) as served:
        bad = await attack(t, served)
        await bad.send(bad.hello())
        await bad.must_end("an insecure server goes on after a secure client's hello")


@case(
    "hostile.insecure-request-at-secure-server",
    "profile.wrong-mode",
    "guards.survives",
    kind="profile",
    security="secure",
    timeout=15,
    **BAD_CLIENT,
)
async def insecure_request_at_secure_server(t: Play) -> None:
    """An insecure client's request is not served by a secure server, which closes, or lets the hello time out."""
    async with siege(t) as served:
        name = t.new_name()
        bad = await attack(t, served, hello=False)
        await bad.send(bad.frame(b'(request 0 ("count" "%b"))' % name.encode()))
        rest = await bad.must_end("a secure server keeps an insecure client", HELLO_SECONDS + 8)
        t.check(not rest, "a secure server answered an insecure client", actual=repr(rest[:1]))
        t.equal(await _ran(t, served, name), 0, "how often a handler ran for a client without a key")


# -------------------------------------------------------------------------------------- replays and reflections


@case("hostile.replayed-packet", "guards.request-id", "guards.survives", kind="hardening", **BAD_CLIENT)
async def replayed_packet(t: Play) -> None:
    """The same packet once more is not served once more: the connection ends."""
    async with siege(t) as served:
        name = t.new_name()
        bad = await attack(t, served)
        packet = await bad.say(b'(request 0 ("count" "%b"))' % name.encode())
        t.equal(list(await bad.answer_to(0)), ["response", 1], "the first time")
        await bad.send(packet)
        await bad.must_end("a packet that came twice did not end the connection")
        t.equal(await _ran(t, served, name), 1, "how often the request was served")


@case("hostile.used-id", "guards.request-id", "guards.refusal", "guards.survives", kind="hardening", **BAD_CLIENT)
async def used_id(t: Play) -> None:
    """Another request under an ID that was used ends the connection, answered or still waiting."""
    async with siege(t) as served:
        name = t.new_name()
        for first in (b'("echo" 1)', b'("sleep" 3000 1)'):
            bad = await attack(t, served)
            await bad.say(b"(request 5 %b)" % first)
            await bad.say(b'(request 6 ("echo" 2))')
            await bad.hear()
            await bad.say(b'(request 5 ("count" "%b"))' % name.encode())
            await bad.must_end("a request under a used ID did not end the connection")
        t.equal(await _ran(t, served, name), 0, "how often a request under a used ID was served")


@case(
    "hostile.every-used-id",
    "guards.request-id",
    "guards.refusal",
    "guards.survives",
    kind="hardening",
    transport="unix",
    timeout=30,
    **BAD_CLIENT,
)
async def every_used_id(t: Play) -> None:
    """Whatever the order of IDs, with gaps that are filled or not, each that was used is refused afterwards."""
    orders = (
        (0,),
        (0, 1, 2, 3),
        (1, 0),
        (5, 3, 4, 0),
        (0, 2, 1, 31, 30),
        (31, 0, 1),
        (32, 1, 2),
        (40, 20, 41, 21),
        (0, 1, 63, 62, 64),
        (7, 1_000_000, 1_000_001, 999_999),
    )
    async with siege(t) as served:
        for order in orders:
            for used in order:
                bad = await attack(t, served)
                for number in order:
                    await bad.say(b'(request %d ("echo" %d))' % (number, number))
                    t.equal(list(await bad.answer_to(number)), ["response", number], f"the answer to ID {number}")
                await bad.say(b'(request %d ("echo" "again"))' % used)
                rest = await bad.must_end(f"after the IDs {', '.join(map(str, order))} the ID {used} was used again")
                t.check(not rest, f"after the IDs {', '.join(map(str, order))} the ID {used} was served again")


@case("hostile.ids-with-gaps", "guards.request-id", "profile.ids", "guards.survives", kind="hardening", **BAD_CLIENT)
async def ids_with_gaps(t: Play) -> None:
    """IDs with gaps and in another order, within a window, are served."""
    async with siege(t) as served:
        bad = await attack(t, served)
        for number in (5, 3, 4, 20, 10, 0, 19, 21):
            await bad.say(b'(request %d ("echo" %d))' % (number, number))
            t.equal(list(await bad.answer_to(number)), ["response", number], f"the answer to ID {number}")


@case(
    "hostile.id-below-window", "guards.refusal", "guards.request-id", "guards.survives", kind="hardening", **BAD_CLIENT
)
async def id_below_window(t: Play) -> None:
    """An ID far below the highest counts as used."""
    async with siege(t) as served:
        bad = await attack(t, served)
        await bad.say(b'(request 4000000000 ("echo" 1))')
        t.equal(list(await bad.answer_to(4_000_000_000)), ["response", 1], "the answer to a high ID")
        await bad.say(b'(request 3 ("echo" 1))')
        await bad.must_end("an ID far below the window did not end the connection")


@case(
    "hostile.reflected-request",
    "guards.reflection",
    "guards.survives",
    kind="hardening",
    security="secure",
    **BAD_CLIENT,
)
async def reflected_request(t: Play) -> None:
    """The peer's own request, sent back to it, is not served: the connection ends and the request fails."""
    async with siege(t) as served:
        bad = await attack(t, served)
        theirs = await _opened_by(t, served, bad)
        name = t.new_name()
        asked = t.spawn(theirs.request(["count", name]))
        packet = await bad.hear_packet()
        t.check(packet is not None, "the server's request")
        await bad.send(bad.frame(packet or b""))
        await bad.must_end("a packet that was sent back to its sender did not end the connection")
        await t.fails(t.within(10, asked, "the failing"), NetworkFailed, why="a request that was reflected")
        t.equal(await _ran(t, served, name), 0, "how often the reflected request was served")


@case("hostile.reflected-response", "profile.protocol-error", "guards.survives", kind="profile", **BAD_CLIENT)
async def reflected_response(t: Play) -> None:
    """The peer's own response, sent back to it, answers no question of its: the connection ends."""
    async with siege(t) as served:
        bad = await attack(t, served)
        await bad.ask(["echo", "x"])
        packet = await bad.hear_packet()
        t.check(packet is not None, "the server's response")
        await bad.send(bad.frame(packet or b""))
        await bad.must_end("a response that was sent back to its sender did not end the connection")


# ------------------------------------------------------------------------------------------------ bad manners


@case("hostile.never-reads", "guards.survives", "profile.limits", kind="hardening", timeout=20, **BAD_CLIENT)
async def never_reads(t: Play) -> None:
    """A client that asks for megabytes and reads none of them holds up nobody but itself."""
    async with siege(t) as served:
        bad = await attack(t, served)
        body = b'("echo" "' + b"x" * 100_000 + b'")'

        async def pour() -> None:
            for number in range(120):
                await bad.say(b"(request %d %b)" % (number, body))

        async with t.beside(pour()):
            for index in range(4):
                other = await attack(t, served)
                await _served(other, f"beside a client that does not read, {index}")
                await asyncio.sleep(0.1)
            bad.reset()


@case(
    "hostile.lengths-cost-nothing",
    "guards.bounded",
    "guards.survives",
    kind="hardening",
    faults=("measure",),
    fresh=("server",),
    transport="unix",
    **BAD_CLIENT,
)
async def lengths_cost_nothing(t: Play) -> None:
    """Who announces long packets and sends nothing of them costs no memory of their length."""
    async with siege(t) as served:
        running = t.server.puppet.running
        before = running.usage().memory
        bads = [await attack(t, served) for _ in range(40)]
        for bad in bads:
            await _served(bad, "good so far")
            await bad.send((16 * 1024 * 1024).to_bytes(4, "big") + b"x" * 100)
        await asyncio.gather(*(bad.stays_open("a packet of the largest length was not awaited", 0.2) for bad in bads))
        await _served(await attack(t, served), "beside forty long packets")
        grown = running.usage().memory - before
        t.check(
            grown < 256 * 1024 * 1024,
            "forty lengths, and nothing behind them, took memory",
            expected="less than 256 MiB (40 packets would be 640)",
            actual=f"{grown >> 20} MiB",
        )
        for bad in bads:
            bad.reset()


@case(
    "hostile.leaves-nothing-open",
    "guards.bounded",
    "guards.survives",
    kind="hardening",
    faults=("measure",),
    fresh=("server",),
    transport="unix",
    **BAD_CLIENT,
)
async def leaves_nothing_open(t: Play) -> None:
    """Connections that are over, refused, broken or closed in order leave no descriptor open."""

    async def once(served: Served) -> None:
        if t.secure:
            refused = await attack(t, served, hello=False)
            await refused.send(refused.hello(USER, "wrong"))
            await refused.must_end("a wrong key was not refused")
            await refused.close()
        wrong = await attack(t, served)
        await wrong.say(b"nonsense")
        await wrong.must_end("nonsense did not end the connection")
        await wrong.close()
        good = await attack(t, served)
        await _served(good, "and closes")
        await good.close()
        gone = await attack(t, served)
        await _served(gone, "and breaks off")
        gone.reset()

    async with siege(t) as served:
        running = t.server.puppet.running
        await once(served)
        await t.server.settle()
        before = running.usage().files
        for _ in range(25):
            await once(served)
        await t.until(
            lambda: running.usage().files <= before + 10,
            "descriptors of connections that are over are still open",
            lambda: f"{running.usage().files} open descriptors, {before} before 25 rounds",
        )


@case("hostile.half-close", "profile.half-close", "guards.survives", kind="profile", **BAD_CLIENT)
async def half_close(t: Play) -> None:
    """A client that ends its direction while handlers run still gets their answers, then the end."""
    async with siege(t) as served:
        bad = await attack(t, served)
        theirs = await _opened_by(t, served, bad)
        base = bad.ids
        for number in range(3):
            await bad.ask(["sleep", 300, number])
        bad.end()
        await theirs.closed(5)
        got = sorted([(await bad.hear())[1:] for _ in range(3)])
        t.check(
            got == [(base + i, i) for i in range(3)],
            "answers of handlers that ran at the end of file",
            expected="three responses",
            actual=str(got),
        )
        await bad.must_end("the connection stays open after the last answer")


@case("hostile.vanishes", "guards.survives", "start.close-handler", kind="hardening", **BAD_CLIENT)
async def vanishes(t: Play) -> None:
    """Clients that break off, or fall silent in the middle of a packet, hold up nobody."""
    async with siege(t) as served:
        silent = await attack(t, served)
        await _served(silent, "good so far")
        await silent.send(silent.packet(b'(request 9 ("echo" 1))')[:9])
        for _ in range(5):
            bad = await attack(t, served)
            theirs = await _opened_by(t, served, bad)
            await bad.ask(["sleep", 15_000, 1])
            bad.reset()
            await theirs.closed()
        other = await attack(t, served)
        await _served(other, "beside those that vanished")


async def _flood(t: Play, bad: Raw, count: int) -> None:
    """So many requests at once, of handlers that each wait for us: every one is answered once, if not at once."""
    first = bad.ids
    bad.ids += count
    body = b"".join(bad.packet(b'(request %d ("callback" 1 %d))' % (i, i)) for i in range(first, first + count))
    pour = t.spawn(bad.send(body))
    asked: list[int] = []
    answered: dict[int, str] = {}

    async def take(seconds: float) -> None:
        kind, number, datum = await bad.hear(seconds)
        if kind == "request":
            asked.append(number)
            return
        t.check(number not in answered, f"request {number} was answered twice")
        t.check(
            kind == "error" or datum == ["held up"],
            f"request {number} got another's answer",
            actual=show(datum, 100),
        )
        answered[number] = kind

    # First those that are turned away, and the questions of those that run; the others wait, and that is quiet.
    while len(asked) + len(answered) < count:
        try:
            await take(1.0)
        except Failure:
            if bad.ended_how:
                raise
            break
    while len(answered) < count:
        for number in asked:
            await bad.say(b'(response %d "held up")' % number)
        asked.clear()
        await take(30)
    await pour
    wanted = set(range(first, first + count))
    t.check(set(answered) == wanted, "some requests were not answered", actual=f"{len(answered)} of {count}")


@case(
    "hostile.flood-of-requests",
    "profile.limits",
    "guards.survives",
    kind="profile",
    transport="unix",
    fresh=("server",),
    timeout=60,
    **BAD_CLIENT,
)
async def flood_of_requests(t: Play) -> None:
    """Six thousand requests at once, whose handlers all wait: each is answered once, by a response or an error."""
    async with siege(t) as served:
        bad = await attack(t, served)
        await _flood(t, bad, 6_000)
        await _served(bad, "the same connection, after the flood")


@case(
    "hostile.many-silent-connections",
    "guards.survives",
    "start.open-handler",
    kind="hardening",
    transport="unix",
    **BAD_CLIENT,
)
async def many_silent_connections(t: Play) -> None:
    """A hundred connections that say nothing leave room for those that do."""
    async with siege(t) as served:
        silent = [await attack(t, served, hello=False) for _ in range(100)]
        for index in range(3):
            other = await attack(t, served)
            await _served(other, f"beside a hundred silent connections, {index}")
        for bad in silent:
            bad.reset()


@case("hostile.packets-in-one-piece", "profile.framing", "guards.survives", kind="profile", **BAD_CLIENT)
async def packets_in_one_piece(t: Play) -> None:
    """A hello and a hundred requests in one piece are a hello and a hundred requests."""
    async with siege(t) as served:
        bad = await attack(t, served, hello=False)
        data = bad.hello() if t.secure else b""
        data += b"".join(bad.packet(b'(request %d ("echo" %d))' % (i, i)) for i in range(100))
        await bad.send(data)
        got = sorted([(await bad.hear())[1:] for _ in range(100)])
        t.check(got == [(i, i) for i in range(100)], "the answers to a hundred requests in one piece")


@case("hostile.packet-in-pieces", "profile.framing", "guards.survives", kind="profile", **BAD_CLIENT)
async def packet_in_pieces(t: Play) -> None:
    """A packet of which every byte comes alone, slowly, is served; others are meanwhile."""
    async with siege(t) as served:
        bad = await attack(t, served)
        packet = bad.packet(b'(request 0 ("echo" 1))')
        for byte in packet[: len(packet) // 2]:
            await bad.send(bytes([byte]))
            await asyncio.sleep(0.01)
        other = await attack(t, served)
        await _served(other, "beside a slow packet")
        for byte in packet[len(packet) // 2 :]:
            await bad.send(bytes([byte]))
        t.equal(list(await bad.answer_to(0)), ["response", 1], "the answer to a packet that came in pieces")


# ---------------------------------------------------------------------------------- a bad server, at the client


async def _client_closes(t: Play, attacks: Sequence[Any], what: str) -> None:
    """Whatever the server does here ends the client's connection: its request fails, its close handler runs once."""
    async with lured(t) as server:
        for index, act in enumerate(attacks):
            conn, bad = await server.lure()
            asked = t.spawn(conn.request(["echo", "waiting"]))
            kind, number, _ = await bad.hear()
            t.check(kind == "request", "the client's request", actual=kind)
            await act(bad, number)
            await t.fails(
                t.within(10, asked, f"the failing of the client's request ({what}, {index + 1}.)"),
                NetworkFailed,
                why=f"{what} ({index + 1}. of {len(attacks)})",
            )
            await conn.closed()
            await bad.must_end(f"the client keeps its connection open after {what}")
            await t.client.settle()
            t.check(
                conn.closings == 1, "how often the client's close handler ran", expected="1", actual=str(conn.closings)
            )


def _says(*bodies: bytes) -> Any:
    async def act(bad: Raw, number: int) -> None:
        for body in bodies:
            await bad.say(body.replace(b"%N", str(number).encode()))

    return act


def _sends(*pieces: bytes, end: bool = False) -> Any:
    async def act(bad: Raw, number: int) -> None:
        for piece in pieces:
            await bad.send(piece)
        if end:
            bad.end()

    return act


@case("hostile.server-sends-no-list", "profile.protocol-error", "guards.survives", kind="profile", **BAD_SERVER)
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
    await _client_closes(t, [_says(body) for body in bodies], "a server's packet that is no message")


@case("hostile.server-sends-wrong-shape", "profile.protocol-error", "guards.survives", kind="profile", **BAD_SERVER)
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
    await _client_closes(t, [_says(body) for body in bodies], "a server's message of wrong shape")


@case("hostile.server-answers-unasked", "profile.protocol-error", "guards.survives", kind="profile", **BAD_SERVER)
async def server_answers_unasked(t: Play) -> None:
    """An answer to a question that the client never asked ends its connection."""
    await _client_closes(
        t, [_says(b"(response 77 1)"), _says(b'(error 78 "x")')], "an answer to a question never asked"
    )


@case("hostile.server-answers-twice", "profile.protocol-error", "guards.survives", kind="profile", **BAD_SERVER)
async def server_answers_twice(t: Play) -> None:
    """A second answer to the same question ends the client's connection; the first one counted."""
    async with lured(t) as server:
        for again in (b'(response %d "again")', b'(error %d "again")'):
            conn, bad = await server.lure()
            asked = t.spawn(conn.request(["echo", 1]))
            _, number, _ = await bad.hear()
            await bad.say(f'(response {number} "first")')
            t.equal(await asked, "first", "the first answer")
            await bad.say(again % number)
            await conn.closed()
            await bad.must_end("the client keeps its connection open after a second answer")


@case("hostile.server-replays-answer", "profile.protocol-error", "guards.survives", kind="profile", **BAD_SERVER)
async def server_replays_answer(t: Play) -> None:
    """A recorded answer played again does not answer the next question."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        asked = t.spawn(conn.request(["echo", 1]))
        _, number, _ = await bad.hear()
        packet = await bad.say(f'(response {number} "old")')
        t.equal(await asked, "old", "the first answer")
        asked = t.spawn(conn.request(["echo", 2]))
        await bad.hear()
        await bad.send(packet)
        await t.fails(
            t.within(10, asked, "the failing"), NetworkFailed, why="a question that an old answer was played to"
        )
        await conn.closed()


@case(
    "hostile.server-sends-garbage", "profile.framing", "profile.boxes", "guards.survives", kind="profile", **BAD_SERVER
)
async def server_sends_garbage(t: Play) -> None:
    """Garbage, lengths over the limit, tiny packets from a server end the client's connection."""
    source = random.Random(t.seed)
    attacks = [
        _sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        _sends(b"\xff" + source.randbytes(1_000)),
        _sends(b"\xff\xff\xff\xff"),
        _sends((16 * 1024 * 1024 + 1).to_bytes(4, "big")),
        _sends(b"\x00\x00\x00\x00"),
        _sends(b"\x00\x00\x00\x01\x80"),
        _sends(b"\x00\x00\x00\x27" + bytes(39)),
        _sends(b"\x00\x00\x00\x28" + bytes(40)),
    ]
    await _client_closes(t, attacks, "garbage from a server")


@case("hostile.server-truncates", "profile.close", "request.errors", "guards.survives", kind="profile", **BAD_SERVER)
async def server_truncates(t: Play) -> None:
    """A server that ends the connection inside a packet, or before one, or breaks it, leaves no request waiting."""

    async def resets(bad: Raw, number: int) -> None:
        bad.reset()

    async def half_an_answer(bad: Raw, number: int) -> None:
        await bad.send(bad.packet(b'(response %d "never whole")' % number)[:-3])
        bad.end()

    attacks = [_sends(end=True), _sends(b"\x00\x00", end=True), half_an_answer]
    await _client_closes(t, attacks, "an end in the middle")
    async with lured(t) as server:
        conn, bad = await server.lure()
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.hear()
        await resets(bad, 0)
        await t.fails(t.within(10, asked, "the failing"), NetworkFailed, why="a connection that the server broke")
        await conn.closed()


@case(
    "hostile.server-tampers",
    "profile.boxes",
    "open.key",
    "guards.survives",
    kind="profile",
    security="secure",
    **BAD_SERVER,
)
async def server_tampers(t: Play) -> None:
    """An answer with a bit changed, under another key, or in the clear, is no answer."""

    def flipped(where: int) -> Any:
        async def act(bad: Raw, number: int) -> None:
            packet = bytearray(bad.packet(b'(response %d "forged")' % number))
            packet[where] ^= 0x01
            await bad.send(bytes(packet))

        return act

    async def other_key(bad: Raw, number: int) -> None:
        await bad.send(bad.frame(bad.seal(b'(response %d "forged")' % number, b"\x01" * 32)))

    async def user_key(bad: Raw, number: int) -> None:
        await bad.send(bad.frame(bad.seal(b'(response %d "forged")' % number, bad.key(PASSPHRASE))))

    async def plain(bad: Raw, number: int) -> None:
        await bad.send(bad.frame(b'(response %d "forged")' % number))

    await _client_closes(t, [flipped(4), flipped(30), flipped(-1), other_key, user_key, plain], "a forged answer")


@case(
    "hostile.server-reflects", "guards.reflection", "guards.survives", kind="hardening", security="secure", **BAD_SERVER
)
async def server_reflects(t: Play) -> None:
    """The client's own request, sent back to it, is neither served nor an answer: the connection ends."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        name = t.new_name()
        asked = t.spawn(conn.request(["count", name]))
        packet = await bad.hear_packet()
        await bad.send(bad.frame(packet or b""))
        await t.fails(t.within(10, asked, "the failing"), NetworkFailed, why="a request that was reflected")
        await conn.closed()
        rest = await bad.must_end("the client goes on after its own packet came back")
        t.check(not rest, "the client answered its own request")


@case("hostile.server-replays-request", "guards.request-id", "guards.survives", kind="hardening", **BAD_SERVER)
async def server_replays_request(t: Play) -> None:
    """A server's request that comes twice is served once by the client."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        name = t.new_name()
        packet = await bad.say(b'(request 0 ("count" "%b"))' % name.encode())
        t.equal(list(await bad.answer_to(0)), ["response", 1], "the first time")
        await bad.send(packet)
        await conn.closed()
        rest = await bad.must_end("the client goes on after a replayed request")
        t.check(not rest, "the client served a request twice")


@case("hostile.server-answers-in-any-order", "profile.messages", "guards.survives", kind="profile", **BAD_SERVER)
async def server_answers_in_any_order(t: Play) -> None:
    """Answers of a server that come in reverse, errors among them, reach the requests that they name."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        asked = [t.spawn(conn.request(["echo", i])) for i in range(6)]
        heard = [await bad.hear() for _ in asked]
        for _, number, datum in reversed(heard):
            kind = b'error %d "no %d"' if datum[1] % 2 else b"response %d %d"
            await bad.say(b"(" + kind % (number, datum[1]) + b")")
        for index, request in enumerate(asked):
            if index % 2:
                error = await t.fails(request, RemoteFailed, why="an answered error")
                t.check(f"no {index}" in error.message, "an error reached another request", actual=error.message)
            else:
                t.equal(await request, index, "an answer out of order")


@case("hostile.server-reflects-response", "profile.protocol-error", "guards.survives", kind="profile", **BAD_SERVER)
async def server_reflects_response(t: Play) -> None:
    """The client's own response, sent back to it, answers no question of its: the connection ends."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        await bad.ask(["echo", "x"])
        packet = await bad.hear_packet()
        t.check(packet is not None, "the client's response")
        await bad.send(bad.frame(packet or b""))
        await bad.must_end("a response that was sent back to its sender did not end the connection")
        await conn.closed()


@case(
    "hostile.server-half-closes",
    "profile.half-close",
    "open.close-handler",
    "guards.survives",
    kind="profile",
    **BAD_SERVER,
)
async def server_half_closes(t: Play) -> None:
    """A server that ends its direction while the client's handlers run still gets their answers, then the end."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.hear()
        for number in range(3):
            await bad.say(b'(request %d ("sleep" 300 %d))' % (number, number))
        bad.end()
        await t.fails(t.within(10, asked, "the failing"), NetworkFailed, why="a request at the end of file")
        await conn.closed()
        got = sorted([(await bad.hear())[1:] for _ in range(3)])
        t.check(
            got == [(i, i) for i in range(3)],
            "answers of the client's handlers that ran at the end of file",
            expected="three responses",
            actual=str(got),
        )
        await bad.must_end("the client's connection stays open after the last answer")


@case("hostile.server-writes-otherwise", "profile.reads-like-chicken", "guards.survives", kind="profile", **BAD_SERVER)
async def server_writes_otherwise(t: Play) -> None:
    """White space, comments and brackets in a server's messages are read by the client as CHICKEN reads them."""
    async with lured(t) as server:
        conn, bad = await server.lure()
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


@case(
    "hostile.server-sends-unreadable-answer",
    "profile.unreadable",
    "remote-error",
    "guards.survives",
    kind="profile",
    **BAD_SERVER,
)
async def server_sends_unreadable_answer(t: Play) -> None:
    """An answer that cannot be read is a remote error of its own request, and the connection goes on."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        for datum in (b"#<procedure>", b"(1 (2 3)", b"#\\nosuchchar", b"(" * 50_000 + b")" * 40_000):
            asked = t.spawn(conn.request(["echo", 1]))
            _, number, _ = await bad.hear()
            await bad.say(b"(response %d %b)" % (number, datum))
            await t.fails(asked, RemoteFailed, why=f"an answer that cannot be read: {datum[:30]!r}")
        asked = t.spawn(conn.request(["echo", 1]))
        _, number, _ = await bad.hear()
        await bad.say(f"(response {number} 5)")
        t.equal(await asked, 5, "a good answer after some that could not be read")


@case("hostile.server-sends-unreadable-request", "profile.unreadable", "guards.survives", kind="profile", **BAD_SERVER)
async def server_sends_unreadable_request(t: Play) -> None:
    """A server's request that cannot be read gets an error from the client, and the connection goes on."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        for number, datum in enumerate((b"#<port>", b"(a", b"#\\nosuchchar")):
            await bad.say(b"(request %d %b)" % (number, datum))
            kind, value = await bad.answer_to(number)
            t.check(
                kind == "error" and isinstance(value, str),
                "a request that cannot be read",
                expected="an error",
                actual=kind,
            )
        asked = t.spawn(conn.request(["echo", 1]))
        _, number, _ = await bad.hear()
        await bad.say(f"(response {number} 5)")
        t.equal(await asked, 5, "the client's own request after that")


@case(
    "hostile.server-sends-huge-things",
    "profile.unreadable",
    "guards.memory",
    "guards.survives",
    kind="profile",
    timeout=40,
    fresh=("client",),
    transport="unix",
    **BAD_SERVER,
)
async def server_sends_huge_things(t: Play) -> None:
    """Deep datums, huge numbers and endless nesting from a server overflow nothing in the client."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        for datum in (b"(" * 300_000 + b")" * 300_000, b"9" * 1_000, b"1e999999999", b"#(" * 200_000 + b")" * 200_000):
            asked = t.spawn(conn.request(["echo", 1]))
            _, number, _ = await bad.hear()
            await bad.say(b'(response %d ("big" %b))' % (number, datum))
            with contextlib.suppress(RemoteFailed, Refused):
                await t.within(30, asked, "the answer")
        conn, bad = await server.lure()
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.hear()
        await bad.say(b"(" * 2_000_000)
        await t.fails(t.within(30, asked, "the failing"), NetworkFailed, why="nesting without end")


@case(
    "hostile.server-answers-in-drips",
    "profile.framing",
    "request.parallel",
    "guards.survives",
    kind="profile",
    **BAD_SERVER,
)
async def server_answers_in_drips(t: Play) -> None:
    """An answer of which every byte comes alone is an answer, and other connections are not held up."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        asked = t.spawn(conn.request(["echo", 1]))
        _, number, _ = await bad.hear()
        for byte in bad.packet(b"(response %d (1 2 3))" % number):
            await bad.send(bytes([byte]))
            await asyncio.sleep(0.005)
        t.equal(await asked, [1, 2, 3], "an answer that came in drips")


@case(
    "hostile.server-never-answers",
    "request.errors",
    "close-connection",
    "profile.close",
    "guards.survives",
    kind="profile",
    **BAD_SERVER,
)
async def server_never_answers(t: Play) -> None:
    """A request that is never answered waits, holds up no other connection, and fails when the client closes."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.hear()
        good = await good_server(t)
        other = await t.client.connect(good.address)
        await other.echo("beside a server that never answers")
        t.check(not asked.done(), "a request that nobody answered was answered", actual=repr(asked))
        await conn.close()
        await t.fails(
            t.within(10, asked, "the failing"), NetworkFailed, why="a request that waits when its side closes"
        )


@case("hostile.server-never-reads", "guards.survives", "request.parallel", kind="hardening", timeout=20, **BAD_SERVER)
async def server_never_reads(t: Play) -> None:
    """A server that reads nothing blocks the requests to it, and no other connection of the client."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        requests = [t.spawn(conn.request(["echo", "x" * 400_000])) for _ in range(12)]
        good = await good_server(t)
        other = await t.client.connect(good.address)
        await other.echo("beside a server that does not read")
        bad.reset()
        for request in requests:
            await t.fails(
                t.within(15, request, "the failing"), NetworkFailed, why="a request to a server that broke off"
            )


@case(
    "hostile.server-floods",
    "profile.limits",
    "guards.survives",
    kind="profile",
    transport="unix",
    fresh=("client",),
    timeout=60,
    **BAD_SERVER,
)
async def server_floods(t: Play) -> None:
    """Six thousand requests of a server at once: the client answers each once, and its own request too is served."""
    async with lured(t) as server:
        conn, bad = await server.lure()
        asked = t.spawn(conn.request(["echo", 1]))
        _, mine, _ = await bad.hear()
        await _flood(t, bad, 6_000)
        await bad.say(b"(response %d 5)" % mine)
        t.equal(await asked, 5, "the answer to the client's own request, after the flood")


@case(
    "hostile.server-speaks-first",
    "profile.no-answer",
    "profile.protocol-error",
    "guards.survives",
    kind="profile",
    **BAD_SERVER,
)
async def server_speaks_first(t: Play) -> None:
    """A server that greets with a banner is no bokbok server: the client's connection ends."""
    async with lured(t) as server:
        conn, bad = await server.lure(hello=False)
        await bad.send(b"220 welcome\r\n" * 4)
        await conn.closed()
        await t.fails(conn.request(["echo", 1], timeout=10), NetworkFailed, why="a request after a banner")


@case(
    "hostile.server-closes-at-once",
    "open.close-handler",
    "request.errors",
    "guards.survives",
    kind="hardening",
    **BAD_SERVER,
)
async def server_closes_at_once(t: Play) -> None:
    """A server that closes what it accepts leaves the client with an error and its close handler run, not waiting."""
    async with lured(t) as server:
        for how in ("close", "reset"):
            try:
                conn, bad = await server.lure(hello=False)
            except NetworkFailed:
                continue
            if how == "close":
                await bad.close()
            else:
                bad.reset()
            await conn.closed()
            await t.fails(conn.request(["echo", 1], timeout=10), NetworkFailed, why="a request after the server closed")
