"""Beginnings and ends: open and close handlers, closing, stopping, dying.

What this module knows: the sentences about when a handler runs, and what an end means for those who wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from bokbok.wire import DEFAULT_LIMITS
from bokbok_traffic.capture import CLIENT, SERVER

from ..model import Late
from ..play import USER, Conn, Invalid, NetworkFailed, Play, Served, Side
from ..raw import BadServer, Raw, attack
from ..rendezvous import Rendezvous
from .base import case

Asked = asyncio.Future[object]

SLOW = 20_000  # milliseconds, if handlers cannot wait: longer than any of these cases takes


async def _asking(t: Play, *conns: Conn) -> list[Asked]:
    """A request in flight on each connection, whose handler has certainly begun."""
    return [await t.rendezvous(conn, SLOW).hold(conn) for conn in conns]


async def _all_fail(t: Play, requests: list[Asked], why: str) -> None:
    for request in requests:
        await t.fails(t.within(10, request, "the failure of a waiting request"), NetworkFailed, why=why)


def _once(t: Play, conn: Conn) -> None:
    t.check(
        conn.closings == 1,
        f"the close handler of the {conn.side.role}'s connection ran {conn.closings} times",
        expected="once",
        actual=f"{conn.closings} times",
    )


def _never(t: Play, conn: Conn) -> None:
    t.check(
        conn.closings == 0,
        f"the close handler of the {conn.side.role}'s connection ran, though that side closed it itself",
        expected="never",
        actual=f"{conn.closings} times",
    )


@case(
    "start.open-handler", "readme.open-handler", "start.open-handler-argument", "profile.open-handler", subject="server"
)
async def open_once(t: Play) -> None:
    """The open handler runs once for every connection that is made, with that connection."""
    served = await t.serve()
    for index in range(5):
        mine = await t.connect(served)
        theirs = await served.opened()
        # The open handler was given the connection whose other end is this client.
        name = t.new_name()
        t.equal(await theirs.request(["count", name]), 1, "the counter at the other end")
        await mine.echo(index)
    await t.have_opened(served, 5, "how often the open handler ran")


@case("start.open-handler", "profile.open-handler", subject="server")
async def open_before_request(t: Play) -> None:
    """The open handler has returned before the first request handler starts."""
    served = await t.serve()
    for index in range(8):
        mine = await t.connect(served)
        await mine.echo(index)
        # The answer came, so the handler ran, so the open handler had printed its event before. After a round trip
        # through the puppet, everything that it had printed is here.
        await t.have_opened(served, index + 1, "a request was answered before the open handler had run")


@case("start.open-handler", "profile.open-handler", opponent="client")
async def open_before_early_request(t: Play) -> None:
    """A request that comes in one piece with the beginning of its connection is still handled after the open
    handler."""
    served = await t.server.listen()
    for index in range(20):
        raw = await attack(t, served, hello=False)
        hello = raw.beginning()
        await raw.send(hello + raw.packet(b'(request 0 ("echo" 1))'))
        await raw.answer_to(0)
        await t.have_opened(served, index + 1, "a request was answered before the open handler had run")


async def _closes(t: Play, closing: Conn, other: Conn) -> None:
    await closing.close()
    await other.closed()
    await other.side.settle()
    await closing.side.settle()
    _once(t, other)
    _never(t, closing)


@case("close-connection", "start.close-handler", "start.close-handler-argument")
async def client_closes(t: Play) -> None:
    """When the client closes, the server's close handler runs, once, and the client's does not."""
    mine, theirs = await t.pair()
    await mine.echo("before")
    await _closes(t, mine, theirs)


@case("close-connection", "open.close-handler", "open.close-handler-argument")
async def server_closes(t: Play) -> None:
    """When the server closes, the client's close handler runs, once, and the server's does not."""
    mine, theirs = await t.pair()
    await mine.echo("before")
    await _closes(t, theirs, mine)


@case("start.close-handler-argument", "open.close-handler-argument")
async def close_tells_which(t: Play) -> None:
    """The close handler is applied to the connection that closed, and not to another one."""
    served = await t.serve()
    pairs = [await t.pair(served) for _ in range(4)]
    await pairs[2][0].close()
    await pairs[2][1].closed()
    await pairs[0][1].close()
    await pairs[0][0].closed()
    await t.server.settle()
    await t.client.settle()
    t.check(
        [(mine.closings, theirs.closings) for mine, theirs in pairs] == [(1, 0), (0, 0), (0, 1), (0, 0)],
        "close handlers ran for other connections than those that closed",
        expected="[(1, 0), (0, 0), (0, 1), (0, 0)] (client's, server's)",
        actual=str([(mine.closings, theirs.closings) for mine, theirs in pairs]),
    )
    for index in (1, 3):
        await pairs[index][0].echo("still open")


@case("open.close-handler", "start.close-handler", "profile.close-handler")
async def connection_breaks(t: Play) -> None:
    """When the network breaks a connection, the close handlers of both sides run, once each."""
    mine, theirs = await t.pair()
    await mine.echo("before")
    t.relay.abort()
    await mine.closed()
    await theirs.closed()
    await t.client.settle()
    await t.server.settle()
    _once(t, mine)
    _once(t, theirs)


@case("open.close-handler", "request.errors", "profile.close", "profile.end-in-a-packet")
async def cut_in_a_packet(t: Play) -> None:
    """A connection that ends in the middle of a packet ends for both, and requests that wait fail."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    await mine.echo("before")
    t.relay.faults[SERVER].cut_after = len(t.capture.stream(1, SERVER)) + 100
    await t.fails(
        t.within(10, mine.request(["echo", "x" * 1_000]), "the failure"),
        NetworkFailed,
        why="a request whose answer was cut",
    )
    await mine.closed()
    await theirs.closed()
    await (await t.connect(served)).echo("a new connection")


@case("close-connection", "profile.close", "request.errors")
async def close_fails_own_requests(t: Play) -> None:
    """Requests that wait when their own side closes fail with a network error."""
    served = await t.serve()
    mine = await t.connect(served)
    await served.opened()
    waiting = await _asking(t, mine, mine)
    await mine.close()
    await _all_fail(t, waiting, "a waiting request when its own side closed")
    mine = await t.connect(served)
    theirs = await served.opened()
    waiting = await _asking(t, theirs)
    await theirs.close()
    await _all_fail(t, waiting, "the server's waiting request when the server closed")


@case("request.errors", "profile.close")
async def close_fails_others_requests(t: Play) -> None:
    """Requests that wait when the other side closes fail with a network error."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    waiting = await _asking(t, mine, mine)
    await theirs.close()
    await _all_fail(t, waiting, "the client's waiting request when the server closed")
    mine = await t.connect(served)
    theirs = await served.opened()
    waiting = await _asking(t, theirs, theirs)
    await mine.close()
    await _all_fail(t, waiting, "the server's waiting request when the client closed")


@case("profile.close", "request.errors", kind="reference")
async def nothing_resent(t: Play) -> None:
    """A request that failed with its connection is not sent again: its handler has run once."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    name = t.new_name()
    t.relay.hold(SERVER)
    async with t.beside(mine.request(["count", name])) as (request,):
        await t.relay.bytes_from(SERVER, 1)  # it was handled; only its answer is held back
        t.relay.abort()
        t.relay.release(SERVER)
        await _all_fail(t, [request], "a request when the connection broke")
    await theirs.closed()
    again = await t.connect(served)
    t.equal(await again.request(["count", name]), 2, "how often the handler ran, with this request")


@case("open.close-handler", "start.close-handler", "profile.half-close", "profile.close-after-open")
async def close_handler_beside_handlers(t: Play) -> None:
    """The close handler has a thread of its own: a request handler that waits does not hold it up."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    await _asking(t, mine)
    await mine.close()
    await theirs.closed()
    mine = await t.connect(served)
    theirs = await served.opened()
    await _asking(t, theirs)
    await theirs.close()
    await mine.closed()


@case("close-connection", "profile.close")
async def close_beside_own_handlers(t: Play) -> None:
    """Closing does not wait for this side's handlers: the other side learns of it at once, and its requests fail."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    waiting = await _asking(t, mine)
    await t.within(10, theirs.close(), "closing while a handler runs, on the server")
    await _all_fail(t, waiting, "the client's request when the server closed beside its handler")
    await mine.closed()
    mine = await t.connect(served)
    theirs = await served.opened()
    waiting = await _asking(t, theirs)
    await t.within(10, mine.close(), "closing while a handler runs, on the client")
    await _all_fail(t, waiting, "the server's request when the client closed beside its handler")
    await theirs.closed()


@case("profile.close", "close-connection", "profile.written", opponent="client")
async def close_is_no_reset(t: Play) -> None:
    """When a server closes, everything that it has sent arrives, and then an end of file."""
    served = await t.server.listen()
    for index in range(3):
        raw = await attack(t, served)
        t.equal(await raw.request(["echo", index]), index, "the answer before the close")
        await t.server.settle()
        await served.connections[-1].close()
        await _ends_in_order(raw, "server")


@case("profile.close", "close-connection", "profile.written", opponent="server")
async def client_close_is_no_reset(t: Play) -> None:
    """When a client closes, everything that it has sent arrives, and then an end of file."""
    server = await BadServer(t).start()
    for index in range(3):
        conn, raw = await server.connected()
        t.equal(await raw.request(["echo", index]), index, "the answer before the close")
        await conn.close()
        await _ends_in_order(raw, "client")


async def _ends_in_order(raw: Raw, whose: str) -> None:
    await raw.must_end(f"the {whose} closed, and the connection stays open")
    raw.ended_in_order(f"the {whose}'s close was a reset")


@case("connection-user", "connection-addr")
async def info_after_close(t: Play) -> None:
    """A connection that is over still has its user and its address."""
    mine, theirs = await t.pair()
    before = [await conn.info() for conn in (mine, theirs)]
    await mine.close()
    await theirs.closed()
    for conn, (user, address) in zip((mine, theirs), before, strict=True):
        with contextlib.suppress(Invalid, NetworkFailed):
            now = await conn.info()
            t.equal(now[0], user, f"connection-user of the {conn.side.role}'s connection after its end")
            t.equal(list(now[1]), list(address), f"connection-addr of the {conn.side.role}'s connection after its end")


@case("request.errors", "profile.close", timeout=20)
async def requests_race_the_end(t: Play) -> None:
    """Requests that are made while the connection ends fail like earlier ones: none waits for ever."""
    served = await t.serve()
    for round in range(4):
        mine = await t.connect(served)
        theirs = await served.opened()
        ends = (mine, theirs)
        places = [t.rendezvous(end, 50) for end in ends]
        requests = [t.spawn(ends[i % 2].request(places[i % 2].request)) for i in range(20)]
        (await t.relay.link(round + 1)).abort()
        requests += [t.spawn(ends[i % 2].request(["echo", i])) for i in range(40)]
        for request in requests:
            with contextlib.suppress(NetworkFailed, Invalid):
                await t.within(10, request, "the end of a request that was made while the connection ended")


@case("close-connection", "open.connection", "profile.close-after-open")
async def close_at_once(t: Play) -> None:
    """A connection that closes before anything was sent opens and closes like any other."""
    served = await t.serve()
    for _ in range(5):
        mine = await t.connect(served)
        await mine.close()
        theirs = await served.opened()
        await theirs.closed()
    await t.have_opened(served, 5, "how often the open handler ran")
    for conn in served.connections:
        _once(t, conn)


@case("close-connection")
async def close_twice(t: Play) -> None:
    """Closing a closed connection does no harm, and does not run a handler."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    await mine.close()
    await theirs.closed()
    for conn in (mine, theirs, mine):
        with contextlib.suppress(Invalid, NetworkFailed):
            await conn.close()
    await (await t.connect(served)).echo("and on")
    await t.server.settle()
    await t.client.settle()
    _once(t, theirs)
    _never(t, mine)


@case("start.open-handler", "start.close-handler", subject="server")
async def many_open_and_close(t: Play) -> None:
    """Twenty connections that open and close at the same time: each handler runs once for each."""
    served = await t.serve(backlog=50)
    conns = await asyncio.gather(*(t.connect(served) for _ in range(20)))
    await asyncio.gather(*(conn.echo(i) for i, conn in enumerate(conns)))
    opened = [await served.opened() for _ in conns]
    await asyncio.gather(*(conn.close() for conn in conns))
    for theirs in opened:
        await theirs.closed()
    await t.have_opened(served, 20, "how often the open handler ran")
    for theirs in opened:
        _once(t, theirs)


@case("profile.half-close", timeout=20)
async def half_close(t: Play) -> None:
    """At an end of file a running handler goes on, its answer is still sent, then the socket is closed."""
    served = await t.serve()
    numbers = itertools.count(1)
    for ending in (CLIENT, SERVER):  # whose direction is shut down, as the other side sees it
        await _half_closes(t, served, numbers, ending)


async def _half_closes(t: Play, served: Served, numbers: Iterator[int], ending: str) -> None:
    to = SERVER if ending == CLIENT else CLIENT
    sleeps = (2_000, 12_000)
    for attempt in range(len(sleeps)):
        mine, number = await t.connect(served), next(numbers)
        asking, receiving = (mine, await served.opened())[:: 1 if ending == CLIENT else -1]
        here = t.rendezvous(asking, sleeps[attempt])
        request = await here.hold(asking)
        (await t.relay.link(number)).end(to)  # an end of file for one side; the way back stays open
        await receiving.closed()
        closed = t.relay.now()
        await here.release()
        t.equal(await request, here.answer, f"the answer of a handler that ran when the {ending}'s direction ended")
        await t.within(5, asking.closed(5), "the closing of the socket after the last answer")
        answered = max(c.t for c in t.capture.chunks if c.conn == number and c.source == to and c.data)
        if here.made or answered - closed > here.seconds / 4:
            return
    raise Late(
        f"the {to}'s close handler did not start at the end of file",
        expected="the close handler at once, and seconds later the answer of the handler that sleeps",
        actual=f"the answer {answered - closed:.3f} s after the close handler",
    )


@case("profile.half-close")
async def half_close_fails_own(t: Play) -> None:
    """At an end of file the receiver's own waiting requests fail at once."""
    served = await t.serve()
    for number, to in enumerate((SERVER, CLIENT), 1):
        ends = {CLIENT: await t.connect(served), SERVER: await served.opened()}
        waiting = await _asking(t, ends.pop(to))
        await _asking(t, *ends.values())
        (await t.relay.link(number)).end(to)
        await _all_fail(t, waiting, f"the {to}'s waiting request at an end of file")


@case("stop-server", subject="server", direct=True)
async def stop_refuses_new(t: Play) -> None:
    """A server that was stopped does not accept further connections."""
    served = await t.serve()
    await (await t.client.connect(served.address)).echo("before")
    await served.stop()
    await t.fails(_connect_and_ask(t, served), NetworkFailed, why="a connection to a server that was stopped")


async def _connect_and_ask(t: Play, served: Served) -> object:
    conn = await t.client.connect(served.address)
    return await conn.request(["echo", "anybody there?"], timeout=10)


@case("stop-server", "start.server", subject="server", direct=True)
async def stop_and_start_again(t: Play) -> None:
    """When a server was stopped, another one can be started at once, on the same address."""
    served = await t.serve()
    conn = await t.client.connect(served.address)
    await conn.echo("the first server")
    # The server closes first, so that its port is the one that TCP keeps from being bound for a while.
    await (await served.opened()).close()
    await conn.closed()
    for index in range(3):
        await served.stop()
        await served.wait(timeout=10)
        served = await t.server.listen(served.bound)
        served.address = served.seen_from(t.client)
        conn = await t.client.connect(served.address)
        await conn.echo(["server", index])
        await (await served.opened()).close()
        await conn.closed()


@case("wait-stopped", subject="server")
async def wait_blocks(t: Play) -> None:
    """wait-until-server-stopped waits until the server has stopped, and no longer, however many call it."""
    served = await t.serve()
    async with t.beside(served.wait(), served.wait()) as waiting:
        mine = await t.connect(served)
        await mine.echo("the server works while it is waited for")
        await mine.close()
        await (await served.opened()).closed()
        await t.server.settle()
        t.check(not any(one.done() for one in waiting), "wait-until-server-stopped returned while the server ran")
        await served.stop()
        for one in waiting:
            await t.within(10, one, "wait-until-server-stopped after stop-server!")
    await served.wait(timeout=10)


@case("stop-server", "wait-stopped", subject="server")
async def stop_with_connections(t: Play) -> None:
    """A server that is stopped while clients are connected stops when they have gone, or earlier."""
    served = await t.serve()
    conns = [await t.connect(served) for _ in range(3)]
    for conn in conns:
        await conn.echo("before")
    await served.stop()
    for conn in conns:
        await conn.close()
    await served.wait(timeout=15)


@case("stop-server", "request.errors", subject="server")
async def stop_while_handling(t: Play) -> None:
    """A request that is being handled when the server is asked to stop gets an answer or an error, not silence."""
    served = await t.serve()
    mine = await t.connect(served)
    here = t.rendezvous(mine, 500)
    request = await here.hold(mine)
    # The reference does not say whether stop-server! waits for handlers: if it does, they must go on first.
    stopping = t.spawn(served.stop())
    await asyncio.wait({stopping}, timeout=2)
    await here.release()
    await stopping
    with contextlib.suppress(NetworkFailed):
        t.equal(await t.within(10, request, "the answer"), here.answer, "the answer of a handler that ran at the stop")


@case("profile.stop", "stop-server", "profile.stop-handlers", subject="server")
async def stop_lets_handlers_finish(t: Play) -> None:
    """A handler that runs when its server stops is not interrupted: its answer arrives, then the connection closes."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    here = t.rendezvous(mine, 800)
    request = await here.hold(mine)
    await served.stop()
    await here.release()
    t.equal(await t.within(10, request, "the answer"), here.answer, "the answer of a handler that ran at the stop")
    await mine.closed()
    await served.wait(timeout=10)
    _never(t, theirs)


@case("profile.stop", "stop-server", "profile.stop-handlers", subject="server")
async def stop_closes_idle(t: Play) -> None:
    """A server that stops closes connections on which nothing runs: their clients learn of it."""
    served = await t.serve()
    pairs = []
    for index in range(3):
        mine = await t.connect(served)
        await mine.echo(index)
        pairs.append((mine, await served.opened()))
    await served.stop()
    for mine, _ in pairs:
        await mine.closed()
    await served.wait(timeout=10)
    for _, theirs in pairs:
        _never(t, theirs)


@case("profile.stop", "stop-server", subject="server")
async def stop_closes_idle_beside_handlers(t: Play) -> None:
    """At a stop each connection closes once its own handlers have returned, whatever runs on others."""
    served = await t.serve()
    conns = [await t.connect(served) for _ in range(8)]
    here = t.rendezvous(conns[0], 2_000)
    # Every other one, so that an idle one is behind a busy one in whatever order the server goes through them.
    busy, idle = conns[::2], conns[1::2]
    held = [await here.hold(conn) for conn in busy]
    await served.stop()

    async def others() -> None:
        for conn in idle:
            await conn.closed()

    await here.beside(others(), "a stop closed an idle connection only when handlers of others had returned")
    await here.release()
    for request in held:
        t.equal(await t.within(10, request, "the answer"), here.answer, "the answer of a handler that ran at the stop")
    for conn in busy:
        await conn.closed()
    await served.wait(timeout=10)


async def _stopping(t: Play, served: Served) -> tuple[Raw, int, int]:
    """A connection of a server that was asked to stop, with a handler that waits for the runner's answer.

    Returns:
        The runner's end, the ID of its request, whose handler runs, and the ID of what that handler asked.
    """
    raw = await attack(t, served)
    asked = await raw.ask(["callback", 1, "x"])
    kind, number, _ = await raw.hear()
    t.check(kind == "request", "a handler that calls back", expected="its request", actual=kind)
    await served.stop()
    return raw, asked, number


@case("profile.wait", "profile.half-close", "profile.stop", opponent="client")
async def stop_and_half_close(t: Play) -> None:
    """A connection at whose server a stop, and an end of file, come while a handler runs ends once that returns."""
    for stop_first in (True, False):
        served = await t.server.listen()
        here = t.rendezvous(milliseconds=2_000)
        # Nothing tells when an end of file was read. Of several connections, some have read theirs by then.
        raws = [await attack(t, served) for _ in range(8)]
        asked = [await raw.ask(here.request) for raw in raws]
        await here.arrived(len(raws))
        if stop_first:
            await served.stop()
        for raw in raws:
            raw.end()
        await t.server.settle()
        if not stop_first:
            await served.stop()
        await here.release()
        for raw, number in zip(raws, asked, strict=True):
            answer = list(await raw.answer_to(number))
            t.equal(answer, ["response", here.answer], "the answer of a handler that ran then")
        for raw in raws:
            await raw.must_end("a connection of a stopped server is open though its handler has returned")
        await served.wait(timeout=10)


@case("profile.stop", "stop-server", opponent="client")
async def stop_takes_answers(t: Play) -> None:
    """A handler that still runs while its server stops gets the answers to its own requests."""
    raw, asked, number = await _stopping(t, await t.server.listen())
    await raw.say(b'(response %d "late, and taken")' % number)
    t.equal(
        list(await raw.answer_to(asked)),
        ["response", ["late, and taken"]],
        "the answer of a handler that called back while its server stopped",
    )
    await _ends_in_order(raw, "stopping server")


@case("profile.stop", "profile.close", "request.errors", opponent="client")
async def stop_fails_own_requests(t: Play) -> None:
    """A stop closes a connection on which no handler runs, even if a request of the server waits there, which fails."""
    served = await t.server.listen()
    raw = await attack(t, served)
    await raw.request(["echo", "so that it is open"])
    await t.server.settle()
    asked = t.spawn(served.connections[-1].request(["echo", "never answered"]))
    t.equal((await raw.hear())[0], "request", "the kind of the server's message")
    await served.stop()
    failing = t.within(10, asked, "the failure of a request that waits when its server stops")
    await t.fails(failing, NetworkFailed, why="a request that waits when its server stops")
    await _ends_in_order(raw, "stopping server")
    await raw.close()
    await served.wait(timeout=10)


@case("profile.stop", "stop-server", opponent="client", only=("framing",))
async def stop_in_a_packet(t: Play) -> None:
    """A stop closes connections on which a packet has begun, and does not wait for its rest."""
    served = await t.server.listen()
    raws = [await attack(t, served) for _ in range(6)]
    for cut, raw in zip((1, 3, 4, 5, 20, 40), raws, strict=True):
        await raw.request(["echo", "so that it is open"])
        await raw.send(raw.packet(b'(request 1 ("echo" "%b"))' % (b"x" * 100))[:cut])
    await t.server.settle()
    await served.stop()
    for raw in raws:
        await _ends_in_order(raw, "stopping server")
        await raw.close()
    await served.wait(timeout=10)


@case("profile.stop", "stop-server", "request.errors", opponent="client")
async def stop_lets_handlers_fail(t: Play) -> None:
    """The error of a handler that fails while its server stops arrives like an answer, then the connection closes."""
    raw, asked, number = await _stopping(t, await t.server.listen())
    await raw.say(b'(error %d "late, and failed")' % number)
    await raw.must_fail(asked, "the error of a handler that failed while its server stopped")
    await _ends_in_order(raw, "stopping server")


@case("profile.stop", "stop-server", opponent="client")
async def stop_refuses_requests(t: Play) -> None:
    """A request that comes while a server stops is answered with an error, and is not handled."""
    served = await t.server.listen()
    raw, asked, number = await _stopping(t, served)
    for _ in range(3):
        late = await raw.ask(["echo", "too late"])
        await raw.must_fail(late, "a request was served by a server that is stopping")
    await raw.say(b"(response %d 1)" % number)
    await raw.answer_to(asked)
    await _ends_in_order(raw, "stopping server")


@case("profile.stop-hello", security="secure", opponent="client", timeout=15)
async def stop_ends_hellos(t: Play) -> None:
    """A stop closes connections whose hello has not opened, at once: it does not wait for their time to run out."""

    async def once() -> None:
        other, served = await t.server.listen(), await t.server.listen()
        patient = await attack(t, other, hello=False)
        silent = await attack(t, served, hello=False)
        half = await attack(t, served, hello=False)
        await half.send(half.frame(USER.encode()))
        await (await attack(t, served)).request(["echo", "so that the others are accepted"])
        await served.stop()
        # A silent connection of another server ends when its time runs out: no other one waits so long.
        why, most = "a silent connection is kept", DEFAULT_LIMITS.hello_timeout + 8
        until = t.spawn(patient.must_end(why, most))
        for raw, what in ((silent, "nothing was sent"), (half, "only the username was sent")):
            ending = t.spawn(raw.must_end(f"a connection on which {what} is open after its server was stopped", 5))
            await asyncio.wait([ending, until], return_when=asyncio.FIRST_COMPLETED)
            t.check(
                ending.done(),
                f"a connection on which {what} is open after its server was stopped",
                expected="its end at once",
                actual="a silent connection of another server, which had to wait for its time, ended first",
            )
            await ending
        await served.wait(timeout=5)

    # On a slow machine the first of them may have ended by now.
    await t.in_time(DEFAULT_LIMITS.hello_timeout - 1, once)


@case("profile.wait", "wait-stopped", opponent="client")
async def wait_waits_for_handlers(t: Play) -> None:
    """wait-until-server-stopped does not return while a handler of the server runs, and returns when it is over."""
    served = await t.server.listen()
    raw, asked, number = await _stopping(t, served)
    async with t.beside(served.wait()) as (waiting,):
        await raw.stays_open("a connection whose handler runs ended at the stop", 0.5)
        await t.server.settle()
        t.check(not waiting.done(), "wait-until-server-stopped returned while a handler of the server ran")
        await raw.say(b"(response %d 1)" % number)
        await raw.answer_to(asked)
        await _ends_in_order(raw, "stopping server")
        await raw.close()
        await t.within(10, waiting, "wait-until-server-stopped once the last handler was over")


@case("profile.stop", "stop-server", "profile.stop-at-once", transport="unix", opponent="client")
async def stop_removes_the_file(t: Play) -> None:
    """When a server that listened on a Unix socket was stopped, the socket's file is gone."""
    served = await t.server.listen()
    path = Path(t.server.puppet.running.from_runner(served.bound)[1])
    t.check(path.exists(), "a server that listens at a Unix socket has no file", actual=str(path))
    await served.stop()
    t.check(not path.exists(), "stop-server! left the socket's file behind", expected="no file", actual=str(path))


@case("profile.stop-at-once", transport="unix", opponent="client")
async def stop_does_not_wait(t: Play) -> None:
    """When stop-server! returns, the socket's file is gone and nobody can connect, even while a handler runs."""
    served = await t.server.listen()
    raw, asked, number = await _stopping(t, served)
    path = Path(t.server.puppet.running.from_runner(served.bound)[1])
    t.check(not path.exists(), "the socket's file is there while a handler runs", expected="no file", actual=str(path))
    await raw.say(b"(response %d 1)" % number)
    t.equal((await raw.answer_to(asked))[0], "response", "the kind of answer of a handler that ran at the stop")
    await _ends_in_order(raw, "stopping server")


@case("profile.stop-at-once", "profile.stop", "start.server", transport="unix", opponent="client")
async def stop_leaves_the_next_server(t: Play) -> None:
    """Once a server was stopped its path is another one's, whatever still runs: the end of its last connection does not
    touch the new server's file."""
    served = await t.server.listen()
    raw, asked, number = await _stopping(t, served)
    following = await t.server.listen(served.bound)
    await raw.say(b"(response %d 1)" % number)
    await raw.answer_to(asked)
    await _ends_in_order(raw, "stopping server")
    await raw.close()
    await served.wait(timeout=10)
    other = await attack(t, following)
    t.equal(await other.request(["echo", "the next server"]), "the next server", "a request at the next server")
    await following.stop()
    await following.wait(timeout=10)


@case("open.close-handler", "request.errors", fresh=("server",), faults=("kill",), subject="client")
async def server_killed(t: Play) -> None:
    """When the server's process dies, the client's requests fail and its close handler runs."""
    mine, _ = await t.pair()
    waiting = await _asking(t, mine, mine)
    await t.server.puppet.kill()
    await _all_fail(t, waiting, "the client's waiting request when the server died")
    await mine.closed()
    await t.client.settle()
    _once(t, mine)


@case("start.close-handler", "request.errors", fresh=("client",), faults=("kill",), subject="server")
async def client_killed(t: Play) -> None:
    """When the client's process dies, the server's requests fail, its close handler runs, and it serves on."""
    served = await t.serve()
    await t.connect(served)
    theirs = await served.opened()
    waiting = await _asking(t, theirs)
    await t.client.puppet.kill()
    await _all_fail(t, waiting, "the server's waiting request when the client died")
    await theirs.closed()
    await t.server.settle()
    _once(t, theirs)


@case("request.message", "request.parallel", fresh=("server",), faults=("pause",), subject="client")
async def peer_paused(t: Play) -> None:
    """A peer that stands still for a while answers when it goes on; nothing is lost in the meantime."""
    mine, _ = await t.pair()
    await mine.echo("before")
    await t.server.puppet.running.pause()
    try:
        requests = [t.spawn(mine.request(["echo", i])) for i in range(5)]
        await t.relay.bytes_from(CLIENT, len(t.capture.stream(1, CLIENT)) + 1)
        await t.client.settle()
        await asyncio.sleep(1)  # time itself is the subject: nothing ends for being late
        t.check(not any(request.done() for request in requests), "a request ended while the peer stood still")
    finally:
        await t.server.puppet.running.resume()
    t.equal(await asyncio.gather(*requests), list(range(5)), "the answers after the pause")


@case("start.request-handler", "about.threads", fresh=("client",), faults=("pause",), subject="server")
async def client_paused(t: Play) -> None:
    """A client that stands still does not hold up anybody: others are served, and it answers later."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    await mine.echo("before")
    here = t.rendezvous(theirs, 1_500)
    handled = await here.hold(theirs)  # so the server waits for an answer already when it stands still
    await t.client.puppet.running.pause()
    try:
        asked = [t.spawn(theirs.request(["echo", i])) for i in range(5)]
        # The runner itself is the neighbour: the client's puppet can do nothing.
        neighbour = await attack(t, served)
        t.equal(await neighbour.request(["echo", "beside"]), "beside", "the answer to another client")
        await t.server.settle()
        t.check(not any(request.done() for request in asked), "a request was answered by a client that stands still")
    finally:
        await t.client.puppet.running.resume()
    t.equal(await asyncio.gather(*asked), list(range(5)), "the client's answers after the pause")
    await here.release()
    t.equal(await handled, here.answer, "the answer of a handler that began before the pause")


@case(
    "open.close-handler",
    "request.errors",
    "profile.close",
    transport="tcp",
    fresh=("server",),
    faults=("disconnect",),
    direct=True,
    timeout=60,
)
async def network_lost(t: Play) -> None:
    """When a server's network is lost and comes back, both sides go on where they were, or both learn of the end."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    names = [t.new_name() for _ in range(2)]
    # One request whose answer is written while there is no network, and one that is itself sent then.
    here = t.rendezvous(mine, 1_500)
    handled = await here.hold(mine)
    running = t.server.puppet.running
    await running.disconnect()
    try:
        sent = t.spawn(mine.request(["count", names[0]]))
        await t.client.settle()
        await _ends_meanwhile(t.server, here)
    finally:
        await running.reconnect()
    runs = await _goes_on_or_ends(t, (mine, theirs), (handled, here.answer), sent)
    again = await t.client.connect(served.seen_from(t.client))
    t.equal(await again.request(["count", names[0]]), runs + 1, "how often the handler ran, with this request")
    t.equal(await again.request(["count", names[1]]), 1, "a request over a new connection")


async def _ends_meanwhile(side: Side, here: Rendezvous) -> None:
    """Let a handler go on, and write its answer, while there is no network."""
    await here.release()
    await side.settle()
    await asyncio.sleep(0.5)  # it cannot be seen that an answer was written


async def _goes_on_or_ends(t: Play, ends: tuple[Conn, Conn], handled: tuple[Asked, str], sent: Asked) -> int:
    """Check what became of a connection whose network was away. Returns how often `sent` was handled."""
    mine, theirs = ends
    try:
        t.equal(await t.within(60, sent, "the answer"), 1, "the answer to a request that was sent without a network")
        answer = await t.within(60, handled[0], "the answer")
        t.equal(answer, handled[1], "an answer that was written without a network")
    except NetworkFailed:
        # A side that still sends something learns that the other is gone.
        await t.fails(
            t.within(60, theirs.request(["echo", "?"]), "the failure"), NetworkFailed, why="a lost connection"
        )
        await t.fails(mine.request(["echo", "?"]), NetworkFailed, Invalid, why="a request over a lost connection")
        await mine.closed()
        await theirs.closed()
        return 0
    await mine.echo("and on")
    await theirs.echo("and on, the other way")
    t.check(mine.closings == theirs.closings == 0, "a close handler ran for a connection that goes on")
    return 1


@case(
    "start.close-handler",
    "request.errors",
    "profile.close",
    transport="tcp",
    fresh=("client",),
    faults=("disconnect",),
    subject="server",
    direct=True,
    timeout=60,
)
async def network_lost_client(t: Play) -> None:
    """A client without a network does not hold up anybody; when it is back, both go on, or both learn of the end."""
    served = await t.serve()
    mine = await t.connect(served)
    theirs = await served.opened()
    here = t.rendezvous(theirs, 1_500)
    handled = await here.hold(theirs)
    name = t.new_name()
    running = t.client.puppet.running
    await running.disconnect()
    try:
        sent = t.spawn(theirs.request(["count", name]))
        neighbour = await attack(t, served)
        t.equal(await neighbour.request(["echo", "beside"]), "beside", "the answer to another client")
        await _ends_meanwhile(t.client, here)
    finally:
        await running.reconnect()
    runs = await _goes_on_or_ends(t, (theirs, mine), (handled, here.answer), sent)
    again = await t.client.connect(served.address)
    await again.echo("over a new connection")
    t.check(mine.closings <= 1 and theirs.closings <= 1 and runs <= 1, "a close handler ran more than once")


@case("open.connection", "close-connection", security="secure", timeout=30)
async def idle(t: Play) -> None:
    """A connection that is silent for a while stays open, and a slow request waits: only the hello has a time limit."""
    # Longer than the ten seconds that a hello may take, and than the twenty that programs often give `connect`, whose
    # time limit a socket keeps if nobody takes it away.
    await stays_silent(t, 21)


async def stays_silent(t: Play, seconds: int) -> None:
    """Check that a connection stays open on which nothing comes for so long, and that a request waits as long."""
    mine, theirs = await t.pair()
    here = t.rendezvous(mine, (seconds + 1) * 1_000)
    slow = await here.hold(mine)
    await asyncio.sleep(seconds)  # time itself is the subject
    await mine.echo("after a silence")
    await theirs.echo("after a silence")
    await here.release()
    t.equal(await slow, here.answer, f"the answer of a handler that took {seconds} s")
    t.check(mine.closings == theirs.closings == 0, "a silent connection was closed")
