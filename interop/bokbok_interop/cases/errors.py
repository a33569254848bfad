"""Errors: what goes wrong in a handler reaches the side that asked, and nobody else.

What this module knows: the sentences about remote errors and network errors. The hostile chapter has bytes that break
the protocol.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bokbok.sexpr import Symbol, dumps

from ..play import Conn, Invalid, NetworkFailed, Play, RemoteFailed, written
from ..raw import BadServer, Raw, attack
from .base import case


async def _fails_with(t: Play, conn: Conn, datum: object, *texts: str) -> RemoteFailed:
    error = await t.fails(conn.request(datum), RemoteFailed, why="a request whose handler fails")
    assert isinstance(error, RemoteFailed)
    for text in texts:
        t.check(
            text in error.message,
            "the remote error's message does not say what went wrong",
            expected=f"a message with {written(text)} in it",
            actual=written(error.message[:500]),
        )
    return error


@case("request.errors", "open.request-handler-errors", "remote-error")
async def remote_error(t: Play) -> None:
    """A handler that raises makes its request fail with a remote error."""
    mine, _ = await t.pair()
    await _fails_with(t, mine, ["fail", "boom"])


@case("remote-error-message")
async def remote_message(t: Play) -> None:
    """The remote error's message says what went wrong at the other end."""
    mine, theirs = await t.pair()
    for conn in (mine, theirs):
        await _fails_with(t, conn, ["fail", "the frobnicator is empty"], "the frobnicator is empty")


@case("remote-error-message", once=True)
async def message_text(t: Play) -> None:
    """An error's message may contain anything that a string may: line feeds, quotes, other scripts, any bytes."""
    for conn in await t.pair():
        await _texts(t, conn)


_LIKE_FORMATS = "100%% %s %d%n %% ~a ~s~% ~~ {} {0} {{}} ${x} $1 &amp; \\n \\x41;"
"""What languages replace in the text of a format: `printf`, Scheme's `format`, templates, shells, markup."""


async def _texts(t: Play, conn: Conn) -> None:
    for text in (
        _LIKE_FORMATS,
        "two\nlines",
        'quo"tes and \\',
        "Zoë 日本語",
        "tab\tand bell\a",
        "\udcff\udc80",
        "(error 1 2)",
        "  blanks around it \n ",
        "a" * 70_000,
    ):
        with t.trying(text[:80]):
            await _fails_with(t, conn, ["fail", text], text)


@case("remote-error-message", "request.errors", once=True)
async def empty_message(t: Play) -> None:
    """An error without a text is still a remote error."""
    mine, _ = await t.pair()
    await _fails_with(t, mine, ["fail", ""])
    await mine.echo("and on")


@case("profile.error-text", "remote-error-message", opponent="server", once=True)
async def text_as_it_came(t: Play) -> None:
    """The message of an error reaches a client's program byte for byte, even if it is empty or contains a NUL."""
    await _comes_as_it_was(t, *await (await BadServer(t).start()).connected())


@case("profile.error-text", "remote-error-message", opponent="client", once=True)
async def text_of_a_client_as_it_came(t: Play) -> None:
    """The message of a client's error reaches the server's program byte for byte."""
    served = await t.server.listen()
    bad = await attack(t, served)
    await bad.request(["echo", "the open handler has run"])
    await t.server.settle()
    await _comes_as_it_was(t, served.connections[-1], bad)


async def _comes_as_it_was(t: Play, conn: Conn, bad: Raw) -> None:
    for text in ("", "a\0b", "\0", "two\nlines \x1b[0m", "\udcff", " ", _LIKE_FORMATS):
        asked = t.spawn(conn.request(["echo", 1]))
        _, number, _ = await bad.hear()
        await bad.say(b"(error %d %b)" % (number, dumps(text)))
        with t.trying(text):
            failed = await t.fails(asked, RemoteFailed, why="a request that was answered with an error")
            t.equal(failed.message, text, "the message of a remote error")


@case("open.request-handler-errors", "remote-error-message", once=True)
async def non_condition(t: Play) -> None:
    """Anything that is raised is sent back, even an object that is not a condition: the message shows it."""
    mine, theirs = await t.pair()
    for conn in (mine, theirs):
        await _fails_with(t, conn, ["raise", 42], "42")
        await _fails_with(t, conn, ["raise", Symbol("out-of-cheese")], "out-of-cheese")
        await _fails_with(t, conn, ["raise", "just a string"], "just a string")
        await _fails_with(t, conn, ["raise", [1, [2, "three"]]], '(1 (2 "three"))')
        await _fails_with(t, conn, ["raise", False], "#f")
        await _fails_with(t, conn, ["raise", []], "()")
        await _fails_with(t, conn, ["raise", -1.5], "-1.5")
        await _fails_with(t, conn, ["raise", (1, "two")], '#(1 "two")')


@case("request.errors", once=True)
async def connection_survives(t: Play) -> None:
    """After a remote error the connection goes on, in both directions."""
    mine, theirs = await t.pair()
    for index in range(10):
        await _fails_with(t, mine, ["fail", f"number {index}"], f"number {index}")
        await mine.echo(index)
        await theirs.echo(index)
    await t.server.settle()
    t.check(mine.closings == theirs.closings == 0, "a remote error closed the connection")


@case("request.errors", "request.parallel", once=True)
async def while_others_wait(t: Play) -> None:
    """An error concerns only its own request: other requests that wait get their answers."""
    for conn in await t.pair():
        here = t.rendezvous(conn, 700)
        waiting = [await here.hold(conn) for _ in range(3)]
        for _ in range(3):
            await _fails_with(t, conn, ["fail", "mine alone"], "mine alone")
        await here.release()
        t.equal(await asyncio.gather(*waiting), [here.answer] * 3, "the answers to those that waited")


@case("remote-error-message", "request.parallel", once=True)
async def each_its_own(t: Play) -> None:
    """Of many errors at once, each reaches the request that it is about."""
    for conn in await t.pair():
        here = t.rendezvous(conn, 700)
        oldest = await here.hold(conn)

        async def one(index: int, conn: Conn = conn) -> None:
            if index % 3:
                await _fails_with(t, conn, ["fail", f"<error number {index}>"], f"<error number {index}>")
            else:
                t.equal(await conn.request(["echo", index]), index, "an answer among errors")

        await asyncio.gather(*(one(index) for index in range(60)))
        await here.release()
        t.equal(await oldest, here.answer, "the answer to a request that waited through all of this")


FAILURES = (
    b'("fail" "again")',
    b'("raise" 7)',
    b'("unwritable")',
    b'("no-such-request")',
)
MANY = 1_100
"""Failures of each kind: more than the number of handlers that may run at once."""


async def _many(t: Play, raw: Raw) -> None:
    for datum in FAILURES:
        first = raw.next_id(MANY)
        await raw.send(b"".join(raw.packet(b"(request %d %b)" % (n, datum)) for n in range(first, first + MANY)))
        with t.trying(where=f"with {datum.decode()}, {MANY:,} times"):
            kinds = {(await raw.hear())[0] for _ in range(MANY)}
            t.check(
                kinds == {"error"}, "requests whose handlers fail", expected="errors", actual=", ".join(sorted(kinds))
            )
            t.equal(await raw.request(["echo", "and on"]), "and on", "the answer to a good request afterwards")


@case("request.errors", "start.request-handler", opponent="client", transport="unix", security="insecure", timeout=40)
async def many(t: Play) -> None:
    """After more than a thousand failures of each kind on one connection, a server's handlers still run."""
    await _many(t, await attack(t, await t.server.listen()))


@case(
    "request.errors",
    "open.request-handler-errors",
    opponent="server",
    transport="unix",
    security="insecure",
    timeout=40,
)
async def many_of_a_client(t: Play) -> None:
    """After more than a thousand failures of each kind on one connection, a client's handlers still run."""
    await _many(t, (await (await BadServer(t).start()).connected())[1])


@case(
    "profile.own-limit",
    "request.errors",
    fresh=("server",),
    opponent="client",
    transport="unix",
    security="insecure",
    timeout=60,
    only=("messages", "packets"),
)
async def message_over_limit(t: Play) -> None:
    """A failure whose message is longer than a packet fails that one request only."""
    raw = await attack(t, await t.server.listen())
    # A control byte is one byte when it comes, and several when it is written as a datum.
    await raw.say(b'(request 0 ("fail" "%b"))' % (b"x" * 11_000_000 + b"\x01" * 2_000_000))
    kind, _ = await raw.answer_to(0, 60)
    t.check(kind == "error", "a handler that fails with a message over the limit", expected="an error", actual=kind)
    t.equal(list(await _then(raw)), ["response", "still there"], "the answer to the next request")


async def _then(raw: Raw) -> tuple[str, object]:
    await raw.say(b'(request 1 ("echo" "still there"))')
    return await raw.answer_to(1)


@case("open.request-handler-errors", once=True)
async def unknown_request(t: Play) -> None:
    """A request that the handler does not know is answered with an error that names it, whatever it is."""
    nothing: tuple[Any, ...] = (False, 0, 0.0, "", [], ())  # which some languages take for no message at all
    for conn in await t.pair():
        await _fails_with(t, conn, ["no-such-request", 1], "no-such-request")
        for datum in (*nothing, Symbol("symbol"), 7, "text", ["echo"], ["echo", 1, 2], True, [["echo", 1]]):
            with t.trying(datum):
                await _fails_with(t, conn, datum)
        await conn.echo("and on")


@case("open.request-handler-value", "profile.unwritable")
async def unwritable_answer(t: Play) -> None:
    """An answer that cannot be written as a datum (a procedure) makes that one request fail on both sides."""
    mine, theirs = await t.pair()
    for conn in (mine, theirs):
        await _fails_with(t, conn, ["unwritable"])
        await conn.echo("and on")


@case("profile.unwritable")
async def unwritable_is_named(t: Play) -> None:
    """A value that cannot travel never reaches the wire: the answer is (error ID "message")."""
    mine, _ = await t.pair()
    error = await _fails_with(t, mine, ["unwritable"])
    t.check(
        len(error.message) > 5, "the message names nothing", expected="the value, named", actual=written(error.message)
    )
    conversation = t.conversation()
    kinds = [p.message[0] for p in conversation.packets if p.source == "server" and p.message]
    t.check(kinds == ["error"], "what the server sent", expected="one error", actual=str(kinds))


@case("open.request-handler-value")
async def unspecified_answer(t: Play) -> None:
    """A request is answered even if its handler returns nothing."""
    mine, theirs = await t.pair()
    for conn in (mine, theirs):
        await conn.request(["unspecified"])
        await conn.echo("and on")


@case("profile.unspecified", only=("messages", "hello"))
async def unspecified_is_empty_list(t: Play) -> None:
    """The answer of a handler that returns nothing is () on the wire."""
    mine, _ = await t.pair()
    t.equal(await mine.request(["unspecified"]), [], "the answer of a handler that returns nothing")
    conversation = t.conversation()
    bodies = [p.body for p in conversation.packets if p.source == "server"]
    t.check(bodies == [b"(response 0 ())"], "the bytes of the answer", expected="(response 0 ())", actual=str(bodies))


@case("request.errors", "remote-error")
async def network_error_not_remote(t: Play) -> None:
    """A request that fails because the connection broke raises a network error, not a remote error."""
    waiting = [await t.rendezvous(conn, 20_000).hold(conn) for conn in await t.pair()]
    t.relay.abort()
    for conn, request in zip(("client", "server"), waiting, strict=True):
        await t.fails(
            t.within(10, request, f"the failure of the {conn}'s request"),
            NetworkFailed,
            why=f"the {conn}'s request when the connection broke",
        )


@case("request.errors", "close-connection")
async def request_after_close(t: Play) -> None:
    """A request on a closed connection fails at once, whoever closed it."""
    mine, theirs = await t.pair()
    await mine.close()
    await theirs.closed()
    await t.fails(
        mine.request(["echo", 1], timeout=10), NetworkFailed, Invalid, why="a request after close-connection!"
    )
    await t.fails(
        theirs.request(["echo", 1], timeout=10), NetworkFailed, Invalid, why="a request after the other end closed"
    )


@case("request.errors", "close-connection")
async def close_inside_handler(t: Play) -> None:
    """If a handler closes the connection, its own request fails with a network error, and nothing else is harmed."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    await t.fails(
        t.within(10, mine.request(["close"]), "the failure"), NetworkFailed, why="a request whose handler closed"
    )
    await mine.closed()
    other = await t.connect(served)
    await other.echo("a new connection")
    back = await served.opened()
    await t.fails(
        t.within(10, back.request(["close"]), "the failure"),
        NetworkFailed,
        why="the server's request whose handler closed",
    )
    await t.server.settle()
    t.check(theirs.closings == 0, "the close handler ran for the closing of the handler's own side")


@case("request.errors", "about.symmetry", once=True)
async def nested_error(t: Play) -> None:
    """A handler that fails before or during its call back fails only its own request; calls can still nest."""
    mine, theirs = await t.pair()
    for conn in (mine, theirs):
        await _fails_with(t, conn, ["relay", "not a number", "x"])
        await _fails_with(t, conn, ["callback", "many", "x"])
        t.equal(await conn.request(["relay", 6, "x"]), "x", "a nested call after failures")


@case("request.errors", "request.parallel", once=True)
async def error_answer_frees_nothing_else(t: Play) -> None:
    """A slow handler's error comes late, to its own request, while others are answered."""
    for conn in await t.pair():
        here = t.rendezvous(conn, 700)
        slow = await here.hold(conn)
        for index in range(5):
            await _fails_with(t, conn, ["fail", str(index)], str(index))
        await here.release()
        t.equal(await slow, here.answer, "the slow answer after five errors")
