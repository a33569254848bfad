"""Too much at once: endless requests, silent connections, readers that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bokbok.sexpr import dumps
from bokbok.wire import DEFAULT_LIMITS

from ...model import Failure
from ...play import Conn, NetworkFailed, Play, show
from ...raw import Raw, attack, good_server
from ...rendezvous import Rendezvous
from .neighbours import (
    Victim,
    at_client,
    at_server,
    at_the_server,
    attacked,
    attacked_client,
    attacked_server,
    count_runs,
    is_served,
)

FLOOD = DEFAULT_LIMITS.running + DEFAULT_LIMITS.waiting + 1_000
"""Requests: as many as may run and wait, and some more, which are refused."""


@at_server("guards.survives", "profile.limits", timeout=20)
async def never_reads(t: Play) -> None:
    """A client that asks for megabytes and reads none of them only holds up itself."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        body = b'("echo" "' + b"x" * 100_000 + b'")'

        async def pour() -> None:
            for number in range(120):
                await bad.say(b"(request %d %b)" % (number, body))

        async with t.beside(pour()):
            for index in range(4):
                other = await attack(t, served)
                await is_served(other, f"beside a client that does not read, {index}")
                await asyncio.sleep(0.1)
            bad.reset()


async def _flood(t: Play, bad: Raw, count: int) -> None:
    """Send so many requests at once: each of them is answered once.

    The handlers that may run all wait for the runner, so that other requests wait for them, and some are refused.
    """
    first = bad.next_id(count)
    asks = b'(request %d ("callback" 1 %d))', b'(request %d ("echo" ("held up" %d)))'
    body = b"".join(bad.packet(asks[i >= first + DEFAULT_LIMITS.running] % (i, i)) for i in range(first, first + count))
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
            kind == "error" or datum in (["held up"], ["held up", number]),
            f"request {number} got another's answer",
            actual=show(datum, 100),
        )
        answered[number] = kind

    # First come the refusals, and the questions of the running handlers. The others wait, which sends nothing.
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


async def _floods(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad, asked, mine = await victim.waits()
        await _flood(t, bad, FLOOD)
        await bad.say(b"(response %d 5)" % mine)
        t.equal(await asked, 5, "the answer to the victim's own request, after the flood")
        await is_served(bad, "the same connection, after the flood")


@at_server("profile.limits", transport="unix", fresh=("server",), timeout=60)
async def flood_of_requests(t: Play) -> None:
    """More requests at once than may run and wait, whose handlers all wait: each is answered once, in some way."""
    await _floods(t)


_SLEEP = 4_000
"""Milliseconds that handlers sleep if they cannot wait: time enough to start as many of them as may run."""

MANY_SILENT = 500
"""Connections: half of the descriptors that a process has by default."""


@at_server("profile.limit-connections", "guards.survives", transport="unix", fresh=("server",), timeout=20)
async def many_silent_connections(t: Play) -> None:
    """Five hundred silent connections leave room for those that ask something."""
    async with attacked_server(t) as served:
        silent = [await attack(t, served, hello=False) for _ in range(MANY_SILENT)]
        for index in range(3):
            other = await attack(t, served)
            await is_served(other, f"beside {MANY_SILENT} silent connections, {index}")
        for bad in silent:
            bad.reset()


@at_client("guards.survives", "request.parallel", timeout=20)
async def server_never_reads(t: Play) -> None:
    """A server that reads nothing blocks the requests to it, and does not block other connections of the client."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected()
        requests = [t.spawn(conn.request(["echo", "x" * 400_000])) for _ in range(12)]
        good = await good_server(t)
        other = await t.client.connect(good.address)
        await other.echo("beside a server that does not read")
        bad.reset()
        for request in requests:
            await t.fails(
                t.within(15, request, "the failure"), NetworkFailed, why="a request to a server that broke off"
            )


@at_client("profile.limits", transport="unix", fresh=("client",), timeout=60)
async def server_floods(t: Play) -> None:
    """As many requests of a server at once: the client answers each once, and its own request is served, too."""
    await _floods(t)


class Held:
    """The handlers of `fill`. They go on once they are released."""

    def __init__(self, one: Rendezvous, others: Rendezvous, count: int) -> None:
        self._both, self.count = (one, others), count

    async def release_one(self) -> None:
        """Let one of them go on."""
        await self._both[0].release()

    async def release(self) -> None:
        """Let all of them go on."""
        for here in self._both:
            await here.release()


async def fill(t: Play, victim: Victim) -> tuple[Conn, Raw, Held]:
    """As many handlers as may run at once on one connection, each of which waits until the runner releases it.

    None of them waits for an answer to a request of its own: such a handler need not count as one that runs.

    Returns:
        The victim's end, the runner's, and the handlers.
    """
    conn, bad = await victim.meet()
    return conn, bad, await _hold(t, bad)


async def _hold(t: Play, bad: Raw) -> Held:
    """`fill`, for a connection that is there already."""
    most = DEFAULT_LIMITS.running
    first = bad.next_id(most)
    one, others = t.rendezvous(milliseconds=_SLEEP), t.rendezvous(milliseconds=_SLEEP)
    requests = [dumps(one.request), *[dumps(others.request)] * (most - 1)]
    packets = (bad.packet(b"(request %d %b)" % (first + index, datum)) for index, datum in enumerate(requests))
    pour = t.spawn(bad.send(b"".join(packets)))
    problem = f"too few handlers of one connection run at once: {most:,} are allowed"
    await one.arrived(1, problem=problem)
    await others.arrived(most - 1, problem=problem)
    await pour
    return Held(one, others, most)


async def _queued(t: Play, bad: Raw, datum: object) -> int:
    """A request that certainly waits for a handler: the one after it, which cannot be read, was answered."""
    number = await bad.ask(datum)
    await bad.say(b"(request %d #<x>)" % bad.next_id())
    t.equal(list(await bad.hear())[:2], ["error", number + 1], "the answer to a request that does not read")
    return number


FAILING = (["fail", "on purpose"], ["raise", 7], ["unwritable"], ["no-such-request"])
"""Requests whose handlers fail, in each of the ways that there are."""


async def _running_limit(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad, held = await fill(t, victim)
        # One handler after another has room now, whether the one before it succeeds or fails.
        failing = [await bad.ask(datum) for datum in FAILING]
        number = await bad.ask(["echo", "next"])
        await bad.stays_open(f"more than {held.count:,} handlers run at once", 0.5)
        await held.release_one()
        with t.trying(where="of requests that waited for a handler, some of which fail, once one handler had finished"):
            heard = [await bad.hear() for _ in range(1 + len(failing) + 1)]
        answers = {answered: kind for kind, answered, _ in heard}
        kinds = [answers.pop(each, "none") for each in (*failing, number)] + list(answers.values())
        t.check(
            kinds == ["error"] * len(failing) + ["response"] * 2,
            "the requests that waited for a handler were not handled when one had finished",
            expected=f"{len(failing)} errors and a response, and the response of the one that had finished",
            actual=", ".join(kinds),
        )
        await held.release()
        for _ in range(held.count - 1):
            await bad.hear()
        await is_served(bad, "the same connection, after as many handlers as may run")


@at_server("profile.limit-running", transport="unix", fresh=("server",), timeout=30)
async def running_limit(t: Play) -> None:
    """A server's connection runs as many handlers at once as the limit allows; the next request waits for one."""
    await _running_limit(t)


@at_client("profile.limit-running", transport="unix", fresh=("client",), timeout=30)
async def server_fills_handlers(t: Play) -> None:
    """A client's connection runs as many handlers at once as the limit allows; the next request waits for one."""
    await _running_limit(t)


async def _waiting_limit(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad, held = await fill(t, victim)
        most = DEFAULT_LIMITS.waiting
        first = bad.next_id(most + 1)
        await bad.send(b"".join(bad.packet(b'(request %d ("echo" 0))' % n) for n in range(first, first + most + 1)))
        kind, number, _ = await bad.hear()
        t.check(
            (kind, number) == ("error", first + most),
            "the wrong request was turned away",
            expected=f"an error for the request beyond {most:,} that wait",
            actual=f"{kind} for the {number - first + 1:,}th that had to wait",
        )
        await held.release()
        answers = [await bad.hear(30) for _ in range(held.count + most)]
        failed = [number for kind, number, _ in answers if kind != "response"]
        t.check(not failed, "requests that could wait for a handler were turned away", actual=f"{len(failed):,}")
        held = await _hold(t, bad)  # those that had waited do not wait any more, so there is room again
        number = await _queued(t, bad, ["echo", "again"])
        await held.release()
        kinds = {answered: kind for kind, answered, _ in [await bad.hear(30) for _ in range(held.count + 1)]}
        t.equal(kinds.get(number), "response", "the kind of answer to a request that waits after others have waited")


@at_server("profile.limit-waiting", "profile.limits", transport="unix", fresh=("server",), timeout=40)
async def waiting_limit(t: Play) -> None:
    """As many requests wait for a server's handler as the limit allows; the next one is answered with an error."""
    await _waiting_limit(t)


@at_client("profile.limit-waiting", "profile.limits", transport="unix", fresh=("client",), timeout=40)
async def server_fills_the_queue(t: Play) -> None:
    """As many requests wait for a client's handler as the limit allows; the next one is answered with an error."""
    await _waiting_limit(t)


async def _end_of_queue(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad, held = await fill(t, victim)
        number = await _queued(t, bad, ["echo", "queued"])
        bad.end()
        await conn.closed()
        await held.release()
        heard = [await bad.hear() for _ in range(held.count + 1)]
        answers = {answered: (kind, datum) for kind, answered, datum in heard}
        t.check(
            answers.get(number) == ("response", "queued"),
            "a request that waited for a handler at the end of file was not handled",
            expected=f'(response {number} "queued")',
            actual=show(answers.get(number)),
        )
        await bad.must_end("the connection stays open after the last answer")


@at_server(
    "profile.end-of-queue", "profile.half-close", transport="unix", fresh=("server",), timeout=30, only=("counted",)
)
async def half_close_with_a_queue(t: Play) -> None:
    """A request that waits for a handler when its client shuts down its direction is still handled and answered."""
    await _end_of_queue(t)


@at_client(
    "profile.end-of-queue", "profile.half-close", transport="unix", fresh=("client",), timeout=30, only=("counted",)
)
async def server_half_closes_with_a_queue(t: Play) -> None:
    """A request that waits for a client's handler when the server shuts down its direction is still handled."""
    await _end_of_queue(t)


async def _end_drops(t: Play, *, own_close: bool = False) -> None:
    async with attacked(t) as victim:
        conn, bad, held = await fill(t, victim)
        name = t.new_name()
        await _queued(t, bad, ["count", name])
        if own_close:
            await conn.close()
            await bad.must_end(f"the {victim.side.role} closed while requests wait, and the connection stays open")
        else:
            await bad.say(b"(nonsense)")
            await victim.ends(conn, bad, None, "nonsense while requests wait for a handler")
        what = "its own side's close" if own_close else "a protocol error"
        await bad.say(b'(request %d ("count" "%b"))' % (bad.next_id(), name.encode()))
        await held.release()
        t.equal(await victim.count_runs(name), 0, f"how often a request ran that waited at {what}, or came behind it")


@at_server("profile.end-drops", transport="unix", fresh=("server",), timeout=30, only=("counted",))
async def protocol_error_drops_the_queue(t: Play) -> None:
    """A request that waits for a handler when a protocol error comes is not handled."""
    await _end_drops(t)


@at_client("profile.end-drops", transport="unix", fresh=("client",), timeout=30, only=("counted",))
async def servers_error_drops_the_queue(t: Play) -> None:
    """A server's request that waits for a handler of the client when a protocol error comes is not handled."""
    await _end_drops(t)


@at_server("profile.end-drops", transport="unix", fresh=("server",), timeout=30, only=("counted",))
async def close_drops_the_queue(t: Play) -> None:
    """A request that waits for a handler when the server closes the connection is not handled."""
    await _end_drops(t, own_close=True)


@at_client("profile.end-drops", transport="unix", fresh=("client",), timeout=30, only=("counted",))
async def client_close_drops_the_queue(t: Play) -> None:
    """A server's request that waits for a handler of the client when the client closes is not handled."""
    await _end_drops(t, own_close=True)


@at_server("profile.stop-queue", "profile.stop", transport="unix", fresh=("server",), timeout=30, only=("counted",))
async def stop_with_a_queue(t: Play) -> None:
    """Requests that wait for a handler when a server is asked to stop are answered with an error, and not handled."""
    other = await t.server.listen()
    served = await t.server.listen()
    victim = at_the_server(t, served)
    _, bad, held = await fill(t, victim)
    name = t.new_name()
    numbers = [await _queued(t, bad, ["count", name]) for _ in range(3)]
    await served.stop()
    with t.trying(where="of requests that waited for a handler when their server was asked to stop"):
        heard = [list(await bad.hear())[:2] for _ in numbers]
        t.equal(sorted(heard), [["error", number] for number in numbers], "the answers")
    await held.release()
    for _ in range(held.count):
        t.equal((await bad.hear())[0], "response", "the kind of answer of a handler that ran at the stop")
    await bad.must_end("a server that has stopped keeps a connection on which nothing runs")
    t.equal(await count_runs(t, other, name), 0, "how often a request ran that waited at a stop")


MANY_REFUSALS = 8_500
"""Requests: more than twice as many as may wait for a handler."""


async def _many_refusals(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad = await victim.meet()
        size = 500
        for start in range(0, MANY_REFUSALS, size):
            first = bad.next_id(size)
            await bad.send(b"".join(bad.packet(b"(request %d #<x>)" % n) for n in range(first, first + size)))
            with t.trying(where=f"of requests that do not read, behind {start:,} that were answered"):
                kinds = {(await bad.hear())[0] for _ in range(size)}
            t.equal(sorted(kinds), ["error"], "the kind of answers to requests that do not read")
        await is_served(bad, f"the same connection, after {MANY_REFUSALS:,} requests that do not read")


@at_server(
    "profile.unreadable", "profile.limits", transport="unix", once=True, timeout=20, only=("messages", "counted")
)
async def many_refusals(t: Play) -> None:
    """Thousands of requests that do not read are each answered, as long as the client reads the answers."""
    await _many_refusals(t)


@at_client(
    "profile.unreadable", "profile.limits", transport="unix", once=True, timeout=20, only=("messages", "counted")
)
async def servers_many_refusals(t: Play) -> None:
    """Thousands of a server's requests that do not read are each answered, as long as it reads the answers."""
    await _many_refusals(t)


REFUSALS = 1_100_000
"""Requests: their answers, of at least 40 bytes each, are more than may be unsent."""


async def _unread_refusals(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        first, size = bad.ids, 500

        for start in range(first, first + REFUSALS, size):
            pour = bad.send(b"".join(bad.packet(b"(request %d #<x>)" % n) for n in range(start, start + size)))
            try:
                await t.timed(pour, 20)
            except asyncio.TimeoutError:
                problem = f"a {victim.side.role} stopped reading requests whose refusals are not read"
                raise Failure(problem, expected="each answered, or the end", actual=f"{start:,} read") from None
            if bad.is_broken:
                break
        t.check(
            conn.closings > 0 or bad.is_broken,
            f"refusals that a {victim.side.role}'s peer does not read pile up without a limit",
            expected="the end of the connection, at the latest with 32 MiB and a packet unsent",
            actual=f"it is open after {REFUSALS:,} requests that do not read",
        )
        await conn.closed()


@at_server("profile.limit-refusals", transport="unix", security="secure", fresh=("server",), timeout=280, long=True)
async def unread_refusals(t: Play) -> None:
    """A client that sends unreadable requests, and reads no answers, is cut off before it costs too much."""
    await _unread_refusals(t)


@at_client("profile.limit-refusals", transport="unix", security="secure", fresh=("client",), timeout=280, long=True)
async def servers_unread_refusals(t: Play) -> None:
    """A server that sends unreadable requests, and reads no answers, is cut off before it costs too much."""
    await _unread_refusals(t)


async def _slow_reader(t: Play) -> None:
    count, text = 4, "x" * (DEFAULT_LIMITS.packet - 1024 * 1024)
    async with attacked(t) as victim:
        _, bad = await victim.meet()
        async with t.beside(_ask_all(bad, [["echo", text]] * count)) as (asking,):
            await t.within(60, asking, "the victim's reading on, while its answers are not read")
        await asyncio.sleep(1)  # the reader is late: time itself is the subject
        for _ in range(count):
            kind, _, value = await bad.hear(60)
            t.check(
                kind == "response" and value == text,
                "an answer to a peer that reads slowly was cut or lost",
                expected=f"{count} answers of {len(text):,} bytes",
                actual=f"{kind} {show(value, 60)}",
            )
        await is_served(bad, "the same connection, after it has read")


async def _ask_all(bad: Raw, datums: Sequence[object]) -> None:
    for datum in datums:
        await bad.ask(datum)


@at_server("profile.limit-unsent", transport="unix", fresh=("server",), timeout=120, long=True)
async def slow_reader(t: Play) -> None:
    """Four answers of 15 MiB wait for a client that reads them late, and do not end its connection."""
    await _slow_reader(t)


@at_client("profile.limit-unsent", transport="unix", fresh=("client",), timeout=120, long=True)
async def server_reads_slowly(t: Play) -> None:
    """Four answers of a client of 15 MiB wait for a server that reads them late, and do not end its connection."""
    await _slow_reader(t)
