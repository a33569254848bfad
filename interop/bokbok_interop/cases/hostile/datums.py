"""Messages whose datum cannot be read, or is deep, long or enormous."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from bokbok.sexpr import MAX_DIGITS
from bokbok.wire import DEFAULT_LIMITS

from ...play import PATIENCE, NetworkFailed, Play, Refused, RemoteFailed, readable, show
from ...raw import attack
from .neighbours import (
    at_client,
    at_server,
    attacked,
    attacked_client,
    attacked_server,
    each_ends,
    is_served,
    says,
)

UNREADABLE = (
    b"#<procedure>",
    b"(a",
    b"(1 (2 3)",
    b"(a]",
    b'("echo" #(1])',
    b'("echo" #<port>)',
    b"#\\nosuchchar",
    b"(1 . )",
    b"#nosuch",
    b'"\\xzz"',
    b"(" * 50_000 + b")" * 40_000,
)
"""What is in the place of a datum."""


async def _unreadable_requests(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad = await victim.meet()
        for datum in (*UNREADABLE, b"#u8(300)"):  # some peers read this as #u8(44): a request that no handler knows
            number = bad.next_id()
            # Some messages have white space after the last parenthesis: it does not count.
            await bad.say(b"(request %d %b)%b" % (number, datum, b" \n" * (number % 2)))
            shown = readable(datum[:30])
            await bad.must_fail(number, f"a request whose datum does not read was not answered with an error: {shown}")
        await is_served(bad, "the same connection, after requests that do not read")


async def _unreadable_answers(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        for tag, datum in itertools.product((b"response", b"error"), UNREADABLE):
            asked = t.spawn(conn.request(["echo", 1]))
            await bad.say(b"(%b %d %b)" % (tag, await victim.asks(bad), datum))
            why = f"an answer that does not read: ({tag.decode()} N {readable(datum[:30])})"
            await t.fails(asked, RemoteFailed, why=why)
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.say(f"(response {await victim.asks(bad)} 5)")
        t.equal(await asked, 5, "a good answer after some that do not read")
        await is_served(bad, "the same connection, after answers that do not read")


@at_server("profile.unreadable", only=("messages", "counted"), once=True)
async def unreadable_request(t: Play) -> None:
    """A request whose datum cannot be read fails alone, with an error; the connection goes on."""
    await _unreadable_requests(t)


NO_MESSAGE = says(
    b"(request -1 #<x>)",
    b"(request 4611686018427387904 #<x>)",
    b"(request 1.5 #<x>)",
    b"(request nine #<x>)",
    b"(request #<x>)",
    b"(reqest 9 #<x>)",
    b"(REQUEST 9 #<x>)",
    b"(9 request #<x>)",
    b"(request 9 #<x>",
    b"request 9 #<x>)",
    b"(request 9 #<x>) 1",
    b"#<x>",
)
"""Packets that cannot be read, and are not messages whose datum cannot be read."""


@at_server("profile.unreadable", "profile.protocol-error", only=("messages", "counted"), once=True)
async def unreadable_is_no_message(t: Play) -> None:
    """A packet that cannot be read, and does not name a request or does not end as a list, ends the connection."""
    await each_ends(t, NO_MESSAGE, "a packet that is no message")


@at_client("profile.unreadable", "profile.protocol-error", only=("messages", "counted"), once=True)
async def server_sends_no_message(t: Play) -> None:
    """A server's packet that cannot be read, and is not a list with a tag and an ID, ends the client's connection."""
    await each_ends(t, NO_MESSAGE, "a packet that is no message")


@at_server("profile.unreadable", "remote-error", only=("messages", "counted"), once=True)
async def unreadable_answer(t: Play) -> None:
    """An answer whose datum cannot be read fails its request with a remote error; the connection goes on."""
    await _unreadable_answers(t)


ODD = (
    b"#u8(256)", b"#u8(-1)", b"#s8(128)", b"#u16(65536)", b"#s32(2147483648)", b"#u8(1.5)", b"#u8(a)", b"#f64(a)",
    b"#f32(1e300)", b"#f64(1e400)", rb"#\x110000", rb"#\xffffffff", rb"#\xd800", rb'"\ud800"', rb'"\U00110000"',
    rb'"\Uffffffff"', b"1/0", b"0/0", b"1.5/2", b"#e+inf.0", b"#e1.5", b"#i1/3", b"#x", b"#xg", b"#b2", b"1e99999",
    b"-1e99999", b"#${0}", b"#${zz}", b"#:", b"#!nosuch", b"+nan.0",
)  # fmt: skip
"""What the functions of a language may choke on: elements, characters and numbers that do not fit."""


async def _odd_values(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad = await victim.meet()
        for datum in ODD:
            number = bad.next_id()
            with t.trying(where=f"with {readable(datum)}"):
                await bad.say(b'(request %d ("type" %b))' % (number, datum))
                await bad.answer_to(number)
        await is_served(bad, "the same connection, after values that do not fit")


@at_server("profile.unreadable", only=("messages", "counted"), once=True)
async def odd_values(t: Play) -> None:
    """A character, a number or an element that does not fit is answered in some way, and the connection goes on."""
    await _odd_values(t)


@at_client("profile.unreadable", only=("messages", "counted"), once=True)
async def server_sends_odd_values(t: Play) -> None:
    """A server's datum that does not fit its type is answered in some way, and the connection goes on."""
    await _odd_values(t)


async def _edge(t: Play, fits: bytes, beyond: bytes, what: str, verb: bytes = b"type") -> None:
    """Check that a request at the limit is answered, and that one beyond the limit fails alone."""
    async with attacked(t) as victim:
        _, bad = await victim.meet()
        for datum, wanted in ((fits, "response"), (beyond, "error"), (fits, "response")):
            number = bad.next_id()
            await bad.say(b'(request %d ("%b" %b))' % (number, verb, datum))
            kind, value = await bad.answer_to(number)
            t.check(
                kind == wanted,
                f"a datum {'at' if datum is fits else 'beyond'} the limit of {what}",
                expected=f"({wanted} {number} ...)",
                actual=f"({kind} {number} {show(value, 100)})",
            )


async def _edge_of_answers(t: Play, fits: bytes, beyond: bytes, what: str) -> None:
    """Check that an answer at the limit is read, and that one beyond the limit fails its request alone."""
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        for datum in (fits, beyond, fits):
            asked = t.spawn(conn.request(["echo", 1]))
            await bad.say(b"(response %d %b)" % (await victim.asks(bad), datum))
            if datum is beyond:
                await t.fails(asked, RemoteFailed, why=f"an answer beyond the limit of {what}")
            else:
                await asked


async def _depth(t: Play) -> None:
    most = DEFAULT_LIMITS.depth - 1  # not counting the level of the request to the service, ("type" X)
    for opening, closing in ((b"(", b")"), (b"#(", b")"), (b"'", b"")):
        deep = [opening * levels + b"()" + closing * levels for levels in (most - 1, most)]
        # As an echo: what is read must be written, too.
        await _edge(t, deep[0], deep[1], f"{most + 1:,} levels of {opening.decode()}", b"echo")
    for item in (b"()", b"'x", b"#()", b"[]", b"(x . y)", b"#;()", b"#u8()"):  # what is closed is no level any more
        beyond = b"(" * (most + 1) + b")" * (most + 1)
        await _edge(t, b"(%b)" % ((item + b" ") * 2 * most), beyond, f"levels, of one with many {item.decode()}")
    # A puppet tells of an answer in a list, and the runner reads no more levels than anybody else.
    fits, beyond = (b"(" * levels + b")" * levels for levels in (DEFAULT_LIMITS.depth - 1, DEFAULT_LIMITS.depth + 1))
    await _edge_of_answers(t, fits, beyond, f"{DEFAULT_LIMITS.depth:,} levels")


async def _digits(t: Play) -> None:
    for sign in (b"", b"-"):
        await _edge(t, sign + b"7" * MAX_DIGITS, sign + b"7" * (MAX_DIGITS + 1), f"{MAX_DIGITS:,} digits")
    await _edge_of_answers(t, b"(1)", b"(1 %b)" % (b"7" * (MAX_DIGITS + 1)), f"{MAX_DIGITS:,} digits")


@at_server("profile.limit-depth", only=("messages",), once=True)
async def depth_limit(t: Play) -> None:
    """A datum as deep as the limit (not counting the message's own list) is read; one a level deeper fails alone."""
    await _depth(t)


@at_client("profile.limit-depth", only=("messages",), once=True)
async def server_depth_limit(t: Play) -> None:
    """A client reads a datum as deep as the limit from a server; one a level deeper fails alone."""
    await _depth(t)


@at_server("profile.limit-digits", only=("messages", "counted"), once=True)
async def digits_limit(t: Play) -> None:
    """A whole number with as many digits as the limit is read; one with a digit more fails alone."""
    await _digits(t)


@at_client("profile.limit-digits", only=("messages", "counted"), once=True)
async def server_digits_limit(t: Play) -> None:
    """A client reads a whole number with as many digits as the limit; one with a digit more fails alone."""
    await _digits(t)


@at_server(
    "profile.unreadable", "guards.memory", timeout=30, fresh=("server",), transport="unix", only=("messages", "counted")
)
async def deep_nesting(t: Play) -> None:
    """A datum nested half a million deep is echoed, or fails alone: it does not overflow a stack."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        for number, (opening, closing) in enumerate(((b"(", b")"), (b"#(", b")"), (b"(a . ", b")"))):
            deep = opening * 500_000 + b"1" + closing * 500_000
            await bad.say(b'(request %d ("type" %b))' % (number, deep))
            await bad.answer_to(number, 40)
        await bad.say(b'(request 3 ("type" %b1))' % (b"'" * 500_000))
        await bad.answer_to(3, 40)
        bad.ids = 10
        await is_served(bad, "the same connection, after deep datums")


@at_server(
    "profile.protocol-error",
    "guards.memory",
    timeout=30,
    fresh=("server",),
    transport="unix",
    only=("messages", "counted"),
)
async def endless_nesting(t: Play) -> None:
    """Parentheses that open and never close end the connection, quickly."""
    async with attacked_server(t) as served:
        for body in (b"(" * 3_000_000, b'(request 0 ("echo" ' + b"#(" * 1_000_000, b"'" * 1_000_000):
            bad = await attack(t, served)
            await bad.say(body)
            await bad.must_end("nesting without end did not end the connection", 40)


@at_server(
    "profile.unreadable", "guards.memory", timeout=30, fresh=("server",), transport="unix", only=("messages", "counted")
)
async def huge_numbers(t: Play) -> None:
    """Numbers of thousands of digits, and enormous exponents, are answered in some way, quickly."""
    async with attacked_server(t) as served:
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
        await is_served(bad, "the same connection, after huge numbers")


@at_server("guards.memory", timeout=60, fresh=("server",), transport="unix", only=("packets", "messages"))
async def million_symbols(t: Play) -> None:
    """A million different symbols, and half a million keywords, are read like any other list."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        await bad.say(b'(request 0 ("type" (%b)))' % b" ".join(b"s%x" % i for i in range(1_000_000)))
        await bad.answer_to(0, 60)
        await bad.say(b'(request 1 ("type" (%b)))' % b" ".join(b"k%x:" % i for i in range(500_000)))
        await bad.answer_to(1, 60)
        bad.ids = 2
        await is_served(bad, "the same connection, after a million symbols")


@at_client("profile.unreadable", "remote-error", only=("messages", "counted"), once=True)
async def server_sends_unreadable_answer(t: Play) -> None:
    """An answer that cannot be read is a remote error of its own request, and the connection goes on."""
    await _unreadable_answers(t)


@at_client("profile.unreadable", only=("messages", "counted"), once=True)
async def server_sends_unreadable_request(t: Play) -> None:
    """A server's request that cannot be read gets an error from the client, and the connection goes on."""
    await _unreadable_requests(t)


@at_client(
    "profile.unreadable", "guards.memory", timeout=40, fresh=("client",), transport="unix", only=("messages", "counted")
)
async def server_sends_huge_things(t: Play) -> None:
    """Deep datums, huge numbers and endless nesting from a server do not overflow the client's stack."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        for datum in (b"(" * 300_000 + b")" * 300_000, b"9" * 1_000, b"1e999999999", b"#(" * 200_000 + b")" * 200_000):
            asked = t.spawn(conn.request(["echo", 1]))
            _, number, _ = await bad.hear()
            await bad.say(b'(response %d ("big" %b))' % (number, datum))
            with contextlib.suppress(RemoteFailed, Refused):
                await t.within(30, asked, "the answer")
        conn, bad = await server.connected()
        asked = t.spawn(conn.request(["echo", 1]))
        await bad.hear()
        await bad.say(b"(" * 2_000_000)
        # To read all that may take long. Once the connection has ended, its requests fail as promptly as any.
        ended = t.spawn(bad.must_end("nesting without end did not end the connection", 30))
        await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
        failing = t.within(PATIENCE, asked, "the failure of a request whose connection has ended", "request.errors")
        await t.fails(failing, NetworkFailed, why="nesting without end")
