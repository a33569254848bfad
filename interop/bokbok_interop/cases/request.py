"""Requests: any datum in both directions, many at once, answers in any order.

What this module knows: the sentences about `request!` and handlers that succeed. Errors, and the bytes of datums, have
chapters of their own.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
from typing import Any

from bokbok.sexpr import Char, Dotted, Keyword, Symbol, dumps
from bokbok.wire import DEFAULT_LIMITS
from bokbok_traffic.capture import CLIENT, SERVER

from ..model import Failure, Late
from ..play import Conn, Invalid, NetworkFailed, Play, RemoteFailed, show
from ..raw import BadServer, Raw, attack
from ..rendezvous import FEATURE as RENDEZVOUS
from .base import case, cases

UNUSED = 128
"""Bytes by which a sender may stay below a packet's limit."""


@case("request.message", "open.request-handler-value")
async def echo(t: Play) -> None:
    """A request's answer is what the handler returned."""
    mine, _ = await t.pair()
    t.equal(await mine.request(["echo", "hello"]), "hello", "the answer")
    t.equal(await mine.request(["ping", "hello"]), ["pong", "hello"], "the answer")


@case("request.message", once=True)
async def arbitrary_sexpr(t: Play) -> None:
    """A message is an arbitrary s-expression: a value of each type is echoed unchanged."""
    mine, _ = await t.pair()
    for datum in (
        True,
        False,
        0,
        -1,
        2**62 - 1,
        -(2**62),
        1.5,
        -0.0,
        1e21,
        1e-7,
        float("inf"),
        float("-inf"),
        float("nan"),
        "",
        "text",
        "日本語",
        'a\x00b\n\t"\\\x7f\x1b',
        Symbol("symbol"),
        Symbol("with blanks"),
        Symbol("1"),
        Symbol(""),
        Keyword("key"),
        Char("x"),
        Char("λ"),
        Char("\n"),
        [],
        [1, [2, [3, []]]],
        (),
        (1, "two", (3,)),
        Dotted([1], 2),
        Dotted([1, 2], Symbol("rest")),
        b"",
        bytes(range(256)),
        array.array("B", [0, 255]),
        array.array("h", [-32768, 32767]),
        array.array("d", [0.5, -1.5]),
        [Symbol("quote"), Symbol("x")],
    ):
        with t.trying(datum):
            await mine.echo(datum)


@case("request.message", once=True)
async def bytes_in_strings(t: Play) -> None:
    """A string of any bytes, even if they are not valid UTF-8, comes back the same."""
    mine, theirs = await t.pair()
    every = bytes(range(256)).decode("utf-8", "surrogateescape")
    for conn in (mine, theirs):
        await conn.echo(every)
        await conn.echo([chr(code) if code < 128 else chr(0xDC00 + code) for code in range(256)])


@case("request.message", once=True)
async def empty_things(t: Play) -> None:
    """The empty string, list, vector, blob, symbol are answers like any other."""
    mine, _ = await t.pair()
    datum: Any
    for datum in ("", [], (), b"", Symbol(""), [[]], [""], ([],), array.array("B")):
        with t.trying(datum):
            await mine.echo(datum)


@case("request.message", "start.request-handler", once=True)
async def in_sequence(t: Play) -> None:
    """A hundred requests one after another get a hundred answers, each its own."""
    mine, _ = await t.pair()
    for index in range(100):
        t.equal(await mine.request(["echo", index]), index, f"the answer to request {index}")


@case("start.request-handler", "profile.close", once=True)
async def handler_runs_once(t: Play) -> None:
    """The handler is applied to each request exactly once."""
    mine, theirs = await t.pair()
    for conn in (mine, theirs):
        name = t.new_name()
        answers = await asyncio.gather(*(conn.request(["count", name]) for _ in range(20)))
        t.equal(sorted(answers), list(range(1, 21)), "the counter's values over 20 requests at once")
        t.equal(await conn.request(["count", name]), 21, "the counter after 20 requests")


@case("request.parallel", "about.threads", once=True)
async def parallel(t: Play) -> None:
    """Many requests at once over one connection all get their own answers."""
    mine, _ = await t.pair()
    answers = await asyncio.gather(*(mine.request(["echo", ["number", i]]) for i in range(100)))
    t.equal(answers, [["number", i] for i in range(100)], "the answers to 100 requests at once")


@case("request.parallel", timeout=20)
async def out_of_order(t: Play) -> None:
    """A later request may be answered before an earlier one: a slow request does not hold up others."""
    for conn in await t.pair():

        async def others(conn: Conn = conn) -> None:
            for index in range(3):
                t.equal(await conn.request(["ping", str(index)]), ["pong", str(index)], "a request behind a slow one")

        await t.beside_a_handler(conn, others, f"requests of the {conn.side.role} behind a slow one wait for it")


@case("request.parallel", "about.threads", timeout=20, once=True)
async def reversed_order(t: Play) -> None:
    """Answers that come in reverse order reach the requests that they answer."""
    for conn in await t.pair():
        if RENDEZVOUS in t.other(conn).puppet.features:
            await _reversed_by_rendezvous(t, conn)
        else:
            await _reversed_by_sleeping(t, conn)


async def _reversed_by_rendezvous(t: Play, conn: Conn) -> None:
    places = [t.rendezvous(conn) for _ in range(5)]
    waiting = [await place.hold(conn) for place in places]
    while waiting:
        here = places[len(waiting) - 1]
        await here.release()
        first = waiting.index(await t.first(waiting))
        t.check(
            first == len(waiting) - 1,
            "an answer reached another request than its own",
            expected=f"request {len(waiting)} of 5 answered, whose handler alone has gone on",
            actual=f"request {first + 1} was",
        )
        t.equal(await waiting.pop(), here.answer, "the answer to one of five")


async def _reversed_by_sleeping(t: Play, conn: Conn) -> None:
    for step in (150, 1_500):  # milliseconds; the second if the machine is too slow for the first
        order: list[int] = []

        async def one(index: int, step: int, order: list[int]) -> None:
            t.equal(await conn.request(["sleep", step * (5 - index), index]), index, "the answer to one of five")
            order.append(index)

        await asyncio.gather(*(one(index, step, order) for index in range(5)))
        if order.index(4) < order.index(0):
            return
    raise Late(
        "answers came in the order of the requests, though the first handler took longest",
        expected="the last request, whose handler was done first, answered before the first",
        actual=f"answers to requests {order}",
    )


@case("about.threads", "open.request-handler", "start.request-handler", timeout=60, once=True)
async def handlers_at_once(t: Play) -> None:
    """Several handlers run at once, each in its own thread: on the server, and on the client."""
    for conn in await t.pair():
        await t.at_once(conn, 12, (500, 2_000, 8_000))


@case("profile.limits", "about.threads", "start.request-handler", opponent="client", once=True)
async def handlers_wait_for_one_another(t: Play) -> None:
    """Twelve handlers of a server run at once: each calls back, and none is answered before all have called."""
    served = await t.server.listen()
    await _twelve_at_once(t, await attack(t, served))


@case("profile.limits", "about.threads", "open.request-handler", opponent="server", once=True)
async def client_handlers_wait_for_one_another(t: Play) -> None:
    """Twelve handlers of a client run at once: each calls back, and none is answered before all have called."""
    server = await BadServer(t).start()
    _, raw = await server.connected()
    await _twelve_at_once(t, raw)


async def _twelve_at_once(t: Play, raw: Raw) -> None:
    for index in range(12):
        await raw.ask(["callback", 1, index])
    asked = []
    for index in range(12):
        kind, number, datum = await raw.hear()
        t.check(
            kind == "request",
            "a handler was over before the one that was to wait for it had begun",
            expected=f"a request of handler {index + 1} of 12",
            actual=f"({kind} {number} ...)",
        )
        asked.append((number, datum))
    for number, datum in reversed(asked):
        await raw.say(b"(response %d %b)" % (number, dumps(datum[1])))
    got = sorted([(await raw.hear())[1:] for _ in range(12)])
    t.check(got == [(i, [[0, i]]) for i in range(12)], "the answers of twelve handlers", actual=str(got[:3]))


@case("about.threads", "start.request-handler", "open.request-handler", timeout=20, once=True)
async def slow_handler_elsewhere(t: Play) -> None:
    """A slow handler of one connection does not hold up another connection, or the accepting of new ones."""
    served = await t.serve()
    one, two = await t.connect(served), await t.connect(served)
    ends = [await served.opened(), await served.opened()]

    async def others() -> None:
        t.equal(await two.request(["ping", "two"]), ["pong", "two"], "a request over another connection")
        three = await t.connect(served)
        t.equal(await three.request(["ping", "three"]), ["pong", "three"], "a request over a new connection")

    await t.beside_a_handler(one, others, "a slow handler of one connection holds up others")

    async def other_end() -> None:
        t.equal(await ends[1].request(["ping", "two"]), ["pong", "two"], "a server's request over another connection")

    await t.beside_a_handler(ends[0], other_end, "a client's slow handler of one connection holds up another")


@case("request.message", once=True)
async def blocks_its_own_caller(t: Play) -> None:
    """Request! waits for its response: it does not return before the handler has returned."""
    for conn in await t.pair():
        here = t.rendezvous(conn, 1_000)
        held = await here.hold(conn)
        await conn.side.settle()
        # If the handler sleeps, it may be over on a slow machine: then this shows nothing.
        t.check(not (here.made and held.done()), "request! returned before its handler did")
        await here.release()
        t.equal(await held, here.answer, "the answer of a handler that waited")


@case("request.message", timeout=30, once=True)
async def large_string(t: Play) -> None:
    """A message of two million bytes is echoed."""
    mine, theirs = await t.pair()
    text = "0123456789abcdef" * 131_072
    t.check(await mine.request(["echo", text]) == text, "a string of 2 MiB came back changed")
    t.check(await theirs.request(["echo", text[:300_000]]) == text[:300_000], "a long string came back changed")


@case("request.message", timeout=30, once=True)
async def large_list(t: Play) -> None:
    """A list of 66,000 elements is echoed."""
    mine, _ = await t.pair()
    await mine.echo(list(range(66_000)))


@case("request.message", timeout=30, once=True)
async def many_types_large(t: Play) -> None:
    """A large blob and large vectors, of anything and of numbers, are echoed."""
    mine, _ = await t.pair()
    await mine.echo(bytes(range(256)) * 400)
    await mine.echo(tuple(range(20_000)))
    await mine.echo([array.array("B", range(256)) * 8, array.array("d", [0.5] * 300)])


@case("request.message", timeout=30, once=True)
async def deep_datum(t: Play) -> None:
    """A datum nested 2,000 deep is echoed, in both directions."""
    mine, theirs = await t.pair()
    deep: list[object] = []
    for _ in range(2_000):
        deep = [deep]
    await mine.echo(deep)
    await theirs.echo(deep)


_at_the_limit = cases(transport="unix", timeout=60)


@_at_the_limit("profile.own-limit", security="insecure")
async def over_own_limit(t: Play) -> None:
    """A sender refuses a message over the packet limit, and the connection goes on."""
    mine, theirs = await t.pair()
    # Some bytes of this string are four when they are written: only then it is clear that the message is too long.
    escaped = "x" * (DEFAULT_LIMITS.packet - 2_000) + "\x01" * 1_000
    for conn in (mine, theirs):
        await t.fails(
            conn.request(["echo", escaped], timeout=60),
            Invalid,
            RemoteFailed,
            why="a message was sent that is over the limit of a packet once its bytes are written",
        )
    await mine.echo("still there")
    await theirs.echo("still there")
    sent = sum(len(t.capture.stream(1, source)) for source in (CLIENT, SERVER)) + t.capture.dropped
    t.check(sent < 1_000_000, "a message over the limit reached the wire", actual=f"{sent} bytes")


@_at_the_limit(
    "profile.own-limit", subject="client", security="secure", only=("nonces", "packets", "messages", "framing")
)
async def box_counts(t: Play) -> None:
    """A sender refuses a message that fits into the packet limit, but does not with its box."""
    mine, _ = await t.pair()
    around = len('(request 0 ("echo" ""))')
    fits = "x" * (DEFAULT_LIMITS.packet - 40 - UNUSED - around)
    try:
        await mine.request(["type", fits], timeout=60)
    except Invalid as refused:
        problem = f"a message whose packet has {UNUSED} bytes less than the limit was not sent"
        raise Failure(problem, expected="an answer", actual=refused.message) from None
    await t.fails(
        mine.request(["echo", "x" * (DEFAULT_LIMITS.packet - 40 + 1 - around)], timeout=60),
        Invalid,
        RemoteFailed,
        why="a message was sent that is a byte longer than the limit with its box and the list around its datum",
    )
    await mine.echo("still there")


async def _is_too_long_an_answer(raw: Raw, t: Play, number: int, problem: str) -> None:
    """Check that request `number` is answered with an error, and the next one as usual."""
    kind, value = await raw.answer_to(number, 60)
    t.check(kind == "error", problem, expected="an error", actual=f"({kind} {number} {show(value, 60)})")
    raw.ids = number + 1
    t.equal(await raw.request(["echo", "still there"]), "still there", "the answer to the next request")


@_at_the_limit(
    "profile.own-limit",
    opponent="client",
    fresh=("server",),
    security="secure",
    only=("nonces", "packets", "messages", "framing"),
)
async def answer_box_counts(t: Play) -> None:
    """An answer that fits into the packet limit, but does not with its box, becomes that request's error."""
    raw = await attack(t, await t.server.listen())
    fits = "x" * (DEFAULT_LIMITS.packet - 40 - UNUSED - len('(response 0 ""))'))
    kind, value = await raw.answer_to(await raw.ask(["echo", fits]), 60)
    t.check(
        kind == "response",
        f"an answer whose packet has {UNUSED} bytes less than the limit was not sent",
        expected="an answer",
        actual=f"({kind} 0 {show(value, 60)})",
    )
    # The request fits with its box. Each control byte is one byte when it comes, and four or five when it is written:
    # with three of them the answer, which has eight bytes less around its datum, is a byte too long, or a few.
    text = b"\x01" * 3 + b"x" * (DEFAULT_LIMITS.packet - 40 - len('(request 0 ("echo" ""))') - 3)
    await raw.say(b'(request 1 ("echo" "%b"))' % text)
    await _is_too_long_an_answer(
        raw, t, 1, "an answer was sent that is a byte longer than the limit with its box and the list around its datum"
    )


@_at_the_limit(
    "profile.own-limit", opponent="client", fresh=("server",), security="insecure", only=("messages", "packets")
)
async def answer_over_limit(t: Play) -> None:
    """An answer over the packet limit becomes that request's error, and the connection goes on."""
    raw = await attack(t, await t.server.listen())
    # A control byte is one byte when it comes, and several when it is written: an answer of 18 MiB or more.
    await raw.say(b'(request 0 ("echo" "%b"))' % (b"\x01" * 6_000_000))
    await _is_too_long_an_answer(raw, t, 0, "an answer over the limit was sent")


@case("request.message", "profile.framing")
async def byte_by_byte(t: Play) -> None:
    """A conversation whose bytes arrive one at a time is the same conversation."""
    served = await t.serve()
    for source in (CLIENT, SERVER):
        t.relay.faults[source].chop = 1
    conn = await t.connect(served)
    await conn.echo("one byte after another")
    t.equal(await conn.request(["callback", 2, "x"]), [[0, "x"], [1, "x"]], "callbacks, byte by byte")


@case("request.parallel")
async def slow_network(t: Play) -> None:
    """On a network that delays every byte, requests are still answered, many at once."""
    served = await t.serve()
    for source in (CLIENT, SERVER):
        t.relay.faults[source].delay = 0.08
    conn = await t.connect(served)
    answers = await asyncio.gather(*(conn.request(["echo", i]) for i in range(20)))
    t.equal(answers, list(range(20)), "the answers over a slow network")


@case("request.parallel", "close-connection")
async def stalled_network(t: Play) -> None:
    """Requests wait while the network is stalled, and are answered when it goes on."""
    mine, _ = await t.pair()
    await mine.echo("before")
    t.relay.hold(SERVER)
    before = t.relay.seen[SERVER]
    async with t.beside(*(mine.request(["echo", i]) for i in range(5))) as waiting:
        await t.relay.more_from(SERVER, before)
        t.check(not any(one.done() for one in waiting), "a request was answered while the network stood still")
        t.relay.release(SERVER)
        t.equal(await asyncio.gather(*waiting), list(range(5)), "the answers after the stall")


@case("about.symmetry", "request.parallel", once=True)
async def both_ways_at_once(t: Play) -> None:
    """Requests cross on the wire: fifty each way, and all are answered."""
    mine, theirs = await t.pair()
    answers = await asyncio.gather(
        *(mine.request(["echo", ["c", i]]) for i in range(50)), *(theirs.request(["echo", ["s", i]]) for i in range(50))
    )
    t.equal(answers, [["c", i] for i in range(50)] + [["s", i] for i in range(50)], "100 crossing requests")


@case("request.parallel", "about.symmetry", timeout=30, once=True)
async def large_both_ways(t: Play) -> None:
    """Large messages that cross do not cause a deadlock in which each side waits for the other to read."""
    mine, theirs = await t.pair()
    text = "x" * 600_000
    work = [mine.request(["echo", [i, text]]) for i in range(4)] + [
        theirs.request(["echo", [i, text]]) for i in range(4)
    ]
    # While the relay passes nothing on, each side has several packets to write, and none of them has arrived.
    before = dict(t.relay.seen)
    for source in before:
        t.relay.hold(source)
    asking = asyncio.gather(*work)
    async with t.beside(asking):
        for source, seen in before.items():
            await t.relay.more_from(source, seen)
        for side in t.sides:
            await side.settle()
        for source in before:
            t.relay.release(source)
        answers = await t.within(40, asking, "eight large requests that cross")
    t.check(
        all(answer == [i % 4, text] for i, answer in enumerate(answers)), "a large answer came back changed or mixed up"
    )


@case("open.request-handler-arguments", once=True)
async def handler_gets_the_connection(t: Play) -> None:
    """A request handler is applied to the connection itself: its own requests go to the side that asked."""
    served = await t.serve()
    one, two = await t.connect(served), await t.connect(served)
    first, second = await served.opened(), await served.opened()
    names = [t.new_name(), t.new_name()]
    for conn, name in ((one, names[0]), (two, names[1])):
        t.equal(
            await conn.request(["callback", 2, name]), [[0, name], [1, name]], "callbacks over the asking connection"
        )
    for conn in (first, second):
        t.equal(await conn.request(["callback", 1, "x"]), [[0, "x"]], "callbacks from the server's side")


@case(
    "profile.messages",
    "profile.insecure",
    "profile.framing",
    security="insecure",
    only=("messages", "hello", "dialect"),
)
async def message_bytes(t: Play) -> None:
    """On the wire a request is (request ID DATUM), its answer (response ID DATUM), a failure (error ID "...")."""
    mine, theirs = await t.pair()
    await mine.echo("x")
    await mine.echo([1, 2])
    with contextlib.suppress(RemoteFailed):
        await mine.request(["fail", "why"])
    await theirs.echo(Symbol("y"))
    client = [
        b'(request 0 ("echo" "x"))',
        b'(request 1 ("echo" (1 2)))',
        b'(request 2 ("fail" "why"))',
        b"(response 0 y)",
    ]
    server = [b'(response 0 "x")', b"(response 1 (1 2))", None, b'(request 0 ("echo" y))']
    for source, expected in ((CLIENT, client), (SERVER, server)):
        conversation = t.conversation()
        bodies = [packet.body for packet in conversation.packets if packet.source == source]
        t.check(len(bodies) == 4, f"the {source} sent {len(bodies)} packets", expected="4")
        for body, want in zip(bodies, expected, strict=True):
            if want is None:
                t.check(
                    body.startswith(b'(error 2 "') and b"why" in body and body.endswith(b'")'),
                    f"the {source}'s failure is out of form",
                    expected='(error 2 "...why...")',
                    actual=body.decode("utf-8", "backslashreplace"),
                )
                continue
            t.check(
                body == want,
                f"a packet of the {source} has other bytes than the profile says",
                expected=want.decode(),
                actual=body.decode("utf-8", "backslashreplace"),
            )


@case("profile.ids", only=("messages",), once=True)
async def ids_count_up(t: Play) -> None:
    """Each side numbers its requests from 0, one by one, in the order in which they are written."""
    mine, theirs = await t.pair()
    await asyncio.gather(
        *(mine.request(["echo", i]) for i in range(30)), *(theirs.request(["echo", i]) for i in range(30))
    )
    for conn in (mine, theirs):  # a failure is an answer like any other, and a pause does not restart the numbering
        for datum in (["fail", "why"], ["unwritable"], ["unspecified"], ["echo", 1]):
            with contextlib.suppress(RemoteFailed):
                await conn.request(datum)
    conversation = t.conversation()
    t.check(not conversation.problem, "the conversation does not open", actual=conversation.problem)
    for source in (CLIENT, SERVER):
        ids = [
            p.message[1] for p in conversation.packets if p.source == source and p.message and p.message[0] == "request"
        ]
        t.check(
            ids == list(range(34)),
            f"the {source} numbers its requests otherwise",
            expected="0, 1, 2, ... 33",
            actual=", ".join(map(str, ids)),
        )


@case(
    "profile.ids",
    "profile.own-limit",
    subject="client",
    security="insecure",
    transport="unix",
    timeout=60,
    only=("messages",),
)
async def unsent_requests_leave_no_gap(t: Play) -> None:
    """A request that was refused before sending does not use an ID: the next request on the wire has it."""
    mine, _ = await t.pair()
    await mine.echo("first")
    try:
        await mine.request(["echo", "x" * (DEFAULT_LIMITS.packet + 1_000_000)], timeout=60)
    except (Invalid, RemoteFailed):
        pass
    except NetworkFailed as error:
        raise Failure("a message over the limit ended the connection", actual=error.message) from None
    await mine.echo("second")
    conversation = t.conversation()
    ids = [p.message[1] for p in conversation.packets if p.source == CLIENT and p.message and p.message[0] == "request"]
    t.check(ids == [0, 1], "the IDs of the requests that were written", expected="0, 1", actual=str(ids))
