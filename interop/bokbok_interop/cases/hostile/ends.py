"""Connections that end in every way except the orderly one, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

from ...model import Failure, Late
from ...play import PATIENCE, USER, Invalid, NetworkFailed, Play, Served, Side, same, show
from ...raw import BadServer, Raw, attack
from ...rendezvous import Rendezvous
from .neighbours import (
    at_client,
    at_server,
    attacked,
    attacked_client,
    attacked_server,
    is_served,
    opened_by,
)


@at_server("guards.bounded", faults=("measure",), fresh=("server",), transport="unix")
async def leaves_nothing_open(t: Play) -> None:
    """Connections that are over (refused, broken or closed in order) leave no descriptor and no thread behind."""

    async def once(served: Served) -> None:
        if t.secure:
            refused = await attack(t, served, hello=False)
            await refused.send(refused.hello(USER, "wrong"))
            await refused.must_end("a wrong key was not refused")
            await refused.close()
        wrong = await attack(t, served)
        await wrong.say(b"(nonsense)")
        await wrong.must_end("nonsense did not end the connection")
        await wrong.close()
        good = await attack(t, served)
        await is_served(good, "and closes")
        await good.close()
        gone = await attack(t, served)
        await is_served(gone, "and breaks off")
        gone.reset()

    async with attacked_server(t) as served:
        await _leaves_nothing(t, t.server, lambda: once(served))


ROUNDS = 25
FEW = 10
"""How many descriptors or threads more a program may have after so many rounds: some belong to the program itself."""


async def _leaves_nothing(t: Play, side: Side, once: Callable[[], Awaitable[None]]) -> None:
    """Check that what is done again and again leaves no descriptor and no thread behind."""
    await once()
    await side.settle()
    measure = side.puppet.running.usage
    before = measure()
    for _ in range(ROUNDS):
        await once()
    await t.until(
        lambda: measure().files <= before.files + FEW,
        "descriptors of connections that are over are still open",
        lambda: f"{measure().files} open descriptors, {before.files} before {ROUNDS} rounds",
    )
    await t.until(
        lambda: measure().threads <= before.threads + FEW,
        "threads of connections that are over are still there",
        lambda: f"{measure().threads} threads, {before.threads} before {ROUNDS} rounds",
    )


@at_client("guards.bounded", faults=("measure",), fresh=("client",), transport="unix")
async def client_leaves_nothing_open(t: Play) -> None:
    """Connections of a client that are over (refused, broken or closed in order) leave no descriptor open."""
    async with attacked_client(t) as server:
        gone = await BadServer(t).start()
        await gone.stop()

        async def once() -> None:
            with contextlib.suppress(NetworkFailed):
                await t.client.connect(gone.address)
            conn, bad = await server.connected()
            await bad.say(b"(nonsense)")
            await bad.must_end("nonsense did not end the connection")
            await bad.close()
            for how in ("closes", "breaks off", "is closed"):
                conn, bad = await server.connected()
                await is_served(bad, f"and {how}")
                if how == "is closed":
                    await conn.close()
                    await bad.must_end("a client closed, and the connection stays open")
                if how == "breaks off":
                    bad.reset()
                else:
                    await bad.close()
            if t.secure:
                with contextlib.suppress(NetworkFailed):
                    conn = await t.client.connect(server.address)
                    bad = await t.within(PATIENCE, server.accepted.get(), "the client's connection")
                    await bad.close()  # like a server that refuses a hello
                    await conn.closed()

        await _leaves_nothing(t, t.client, once)


async def _keeps_nothing(t: Play) -> None:
    """Messages that were answered are let go of: the memory does not grow with what has come over a connection."""
    async with attacked(t) as victim:
        _, bad = await victim.meet()
        measure = victim.side.puppet.running.usage
        grown: list[int] = []
        for _ in range(ROWS):
            before = measure().memory
            for _ in range(ROW):
                await bad.request(["echo", "x" * MIB])
            grown.append((measure().memory - before) // MIB)
            # A collector's heap grows, and then does not. What is kept may stand where something else stood before, but
            # not for long.
            if len(grown) > 1 and sum(grown[-2:]) < KEPT:
                return
        raise Failure(
            f"the {victim.side.role} keeps messages that were answered",
            expected=f"memory that stops growing: less than {KEPT} MiB for {2 * ROW} messages of 1 MiB",
            actual=f"{', '.join(map(str, grown))} MiB more for {ROW} each",
        )


MIB = 1024 * 1024
ROWS, ROW = 7, 12
"""How often the memory is looked at, and the messages of 1 MiB in between."""
KEPT = 12
"""MiB that the memory may grow by in two of these times."""


@at_server("guards.bounded", faults=("measure",), fresh=("server",), transport="unix", timeout=30)
async def keeps_no_messages(t: Play) -> None:
    """A server lets go of a client's messages: its memory does not grow with what has come over a connection."""
    await _keeps_nothing(t)


@at_client("guards.bounded", faults=("measure",), fresh=("client",), transport="unix", timeout=30)
async def client_keeps_no_messages(t: Play) -> None:
    """A client lets go of a server's messages: its memory does not grow with what has come over a connection."""
    await _keeps_nothing(t)


MUCH = 4 * 1024 * 1024
"""Bytes: far more than the buffers of any socket hold."""


async def _no_reset(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad, asked, _ = await victim.waits()
        await bad.send(bad.packet(b"(nonsense)") + b"x" * MUCH)
        await victim.ends(conn, bad, asked, "nonsense with much behind it")
        bad.ended_in_order(
            f"a protocol error ended the {victim.side.role}'s connection in a reset",
            f", where {MUCH} bytes stood behind the packet that was nonsense",
        )


@at_server("profile.no-reset")
async def protocol_error_is_no_reset(t: Play) -> None:
    """However much follows a packet that ends the connection, the end is an end of file."""
    await _no_reset(t)


@at_client("profile.no-reset")
async def servers_error_is_no_reset(t: Play) -> None:
    """However much a server sends after a packet that ends the connection, the client ends it by an end of file."""
    await _no_reset(t)


LINGER = 2.0
"""Seconds for which a peer that ends a connection goes on reading."""


async def _lingers(t: Play) -> None:
    async with attacked(t) as victim:

        async def once() -> None:
            conn, bad = await victim.meet()
            await bad.say(b"(nonsense)")
            await victim.ends(conn, bad, None, "nonsense")
            await asyncio.sleep(LINGER / 2)  # time itself is the subject
            for _ in range(3):
                await bad.send(b"x" * 20_000)
                await asyncio.sleep(0.1)
            if bad.is_broken:
                problem = f"a {victim.side.role} that ended a connection did not read on until its time was over"
                raise Late(
                    problem, expected=f"{LINGER:g} s in which what comes is dropped", actual="a broken connection"
                )

        await t.in_time(LINGER - 0.2, once)
        conn, bad = await victim.meet()
        await bad.say(b"(nonsense)")
        await victim.ends(conn, bad, None, "nonsense")

        async def until_broken() -> None:
            while not bad.is_broken:
                await bad.send(b"x")
                await asyncio.sleep(0.1)

        try:
            await t.timed(until_broken(), LINGER + 8)  # a peer that keeps it does so for ever; a machine may be busy
        except asyncio.TimeoutError:
            problem = f"a {victim.side.role} that ended a connection keeps it as long as the other end does"
            raise Late(problem, expected=f"its end after {LINGER:g} s", actual="it is read on") from None


@at_server("profile.no-reset", timeout=20)
async def lingers(t: Play) -> None:
    """A server that ends a connection reads and drops for two seconds what still comes, and no longer."""
    await _lingers(t)


@at_client("profile.no-reset", timeout=20)
async def client_lingers(t: Play) -> None:
    """A client that ends a connection reads and drops for two seconds what still comes, and no longer."""
    await _lingers(t)


async def _arrives_whole(t: Play, bad: Raw, number: int, cut: str, fault: type[Failure] = Failure) -> None:
    """See that the answer to a request to echo `MUCH` bytes, which is read late, arrives whole.

    Args:
        t: the case.
        bad: who has asked.
        number: the request's.
        cut: what is wrong where it does not.
        fault: what is raised where it does not come at all.
    """
    try:
        kind, value = await bad.answer_to(number)
    except Failure as failure:
        raise fault(cut, expected=f"{MUCH} bytes", actual=failure.actual or failure.problem) from failure
    t.check(
        kind == "response" and value == "x" * MUCH,
        cut,
        expected=f"(response {number} ...) of {MUCH} bytes",
        actual=f"({kind} {number} {show(value, 60)})",
    )


async def _written_before(t: Play) -> None:
    async with attacked(t) as victim:

        async def once() -> None:
            conn, bad = await victim.meet()
            number = await bad.ask(["echo", "x" * MUCH])
            await bad.hear_beginning()
            await bad.say(b"(nonsense)")
            # Time itself is the subject: the other side meets the nonsense during this time, and still waits.
            await asyncio.sleep(0.5)
            cut = f"an answer that the {victim.side.role} had begun to write before a protocol error was cut"
            await _arrives_whole(t, bad, number, cut, Late)
            await victim.ends(conn, bad, None, "nonsense while an answer is being written")

        await t.in_time(LINGER, once)


@at_server("profile.written", only=("packets",))
async def answer_before_a_protocol_error(t: Play) -> None:
    """An answer that was being written when a protocol error came still arrives whole."""
    await _written_before(t)


@at_client("profile.written", only=("packets",))
async def answer_before_a_servers_protocol_error(t: Play) -> None:
    """An answer that a client was writing when the server's protocol error came still arrives whole."""
    await _written_before(t)


async def _half_closes(t: Play, piece: bytes = b"") -> None:
    async with attacked(t) as victim:
        conn, bad, asked, _ = await victim.waits()
        here = t.rendezvous(milliseconds=300)
        ids = [await bad.ask(here.request) for _ in range(3)]
        await here.arrived(len(ids))
        await bad.send(piece)
        bad.end()
        failing = t.within(PATIENCE, asked, "the failure of the request that waits")
        await t.fails(failing, NetworkFailed, why="a request of the victim at the end of file")
        await conn.closed()
        await here.release()
        got = sorted([(await bad.hear())[1:] for _ in ids])
        t.check(
            got == [(number, here.answer) for number in ids],
            f"answers of the {victim.side.role}'s handlers that ran at the end of file",
            expected="three responses",
            actual=str(got),
        )
        await bad.must_end("the connection stays open after the last answer")


@at_server("profile.half-close")
async def half_close(t: Play) -> None:
    """A client that shuts down its direction while handlers run still gets their answers, then the end."""
    await _half_closes(t)


PIECE = b"\x00\x00\x00\x40(request 9"
"""The beginning of a packet."""


@at_server("profile.end-in-a-packet", "profile.half-close", only=("framing",))
async def half_close_in_a_packet(t: Play) -> None:
    """A client that shuts down its direction within a packet still gets the answers of the handlers that run."""
    await _half_closes(t, PIECE)


@at_client("profile.end-in-a-packet", "profile.half-close", only=("framing",))
async def server_half_closes_in_a_packet(t: Play) -> None:
    """A server that shuts down its direction within a packet still gets the answers of the client's running
    handlers."""
    await _half_closes(t, PIECE)


async def _fails_at_the_end(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        here = t.rendezvous(milliseconds=1_500)
        held = await bad.ask(here.request)
        await here.arrived(1)
        asking = await bad.ask(["callback", 1, "never answered"])
        await victim.asks(bad)
        unreadable = bad.next_id()
        await bad.say(b"(request %d #<x>)" % unreadable)
        bad.end()
        await conn.closed()
        late = conn.request(["echo", "too late"], timeout=PATIENCE)
        await t.fails(late, NetworkFailed, Invalid, why="a request after an end of file, while a handler runs")
        await here.release()
        with t.trying(where="of handlers of which one fails after an end of file, and of a request that did not read"):
            heard = sorted([answered, kind] for kind, answered, _ in [await bad.hear() for _ in range(3)])
            t.equal(heard, [[held, "response"], [asking, "error"], [unreadable, "error"]], "the answers")
        await bad.must_end("the connection stays open after the last answer")


@at_server("profile.half-close", "request.errors", "profile.unreadable", only=("messages", "counted"))
async def half_close_with_failures(t: Play) -> None:
    """After a client's end of file the errors of handlers that fail are sent like answers, and what the server itself
    asks fails at once."""
    await _fails_at_the_end(t)


@at_client("profile.half-close", "request.errors", "profile.unreadable", only=("messages", "counted"))
async def server_half_closes_with_failures(t: Play) -> None:
    """After a server's end of file the errors of handlers that fail are sent like answers, and what the client itself
    asks fails at once."""
    await _fails_at_the_end(t)


async def _close_after_an_end(t: Play) -> None:
    async with attacked(t) as victim:
        for behind in ("a close", "a reset"):
            conn, bad = await victim.meet()
            here = t.rendezvous(milliseconds=3_000)
            await bad.ask(here.request)
            await here.arrived(1)
            bad.end()
            await conn.closed()
            if behind == "a close":
                await t.within(PATIENCE, conn.close(), "closing after an end of file, while a handler runs")
                await bad.must_end(f"the {victim.side.role} closed after an end of file, and the connection stays open")
            else:
                bad.reset()
            await here.release()
            await victim.side.settle()
            await is_served((await victim.meet())[1], f"after an end of file and {behind}")
            t.check(
                conn.closings == 1,
                f"how often the close handler ran at an end of file with {behind} behind it",
                expected="1",
                actual=str(conn.closings),
                sentence="profile.close-handler",
            )


@at_server("close-connection", "profile.close", "profile.close-handler")
async def close_after_an_end(t: Play) -> None:
    """A server can close a connection after its client's end of file, while a handler runs; that, or a reset, does not
    run the close handler again."""
    await _close_after_an_end(t)


@at_client("close-connection", "profile.close", "profile.close-handler")
async def client_closes_after_an_end(t: Play) -> None:
    """A client can close a connection after its server's end of file, while a handler runs; that, or a reset, does not
    run the close handler again."""
    await _close_after_an_end(t)


UNREAD_FOR = 22.0
"""Seconds: less than the 60 after which a side may end a connection whose other end takes nothing, and more than the
twenty of a `connect`, or twice the ten of a hello. A socket keeps such a limit if nobody takes it away; the system
counts it anew for a write of which a part was taken."""


async def _unread_for_a_while(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        other_conn, other = await victim.meet()
        number = await bad.ask(["echo", "x" * MUCH])
        asked = t.spawn(other_conn.request(["type", "x" * MUCH]))
        await bad.hear_beginning()
        await other.hear_beginning()
        await asyncio.sleep(UNREAD_FOR)  # time itself is the subject
        cut = f"an answer of the {victim.side.role} that was not read for {UNREAD_FOR:g} s did not arrive"
        await _arrives_whole(t, bad, number, cut)
        await other.say(b'(response %d "read at last")' % await victim.asks(other))
        t.equal(await asked, "read at last", f"the answer to a request that was not read for {UNREAD_FOR:g} s")
        t.check(conn.closings == other_conn.closings == 0, "a connection that was not read from was closed")


@at_server("profile.limit-unsent", "request.message", security="secure", timeout=30, only=("packets",))
async def unread_for_a_while(t: Play) -> None:
    """What a server writes waits for a client that reads nothing for twenty seconds, and arrives whole."""
    await _unread_for_a_while(t)


@at_client("profile.limit-unsent", "request.message", security="secure", timeout=30, only=("packets",))
async def servers_unread_for_a_while(t: Play) -> None:
    """What a client writes waits for a server that reads nothing for twenty seconds, and arrives whole."""
    await _unread_for_a_while(t)


async def _unread_answers(t: Play) -> None:
    """Answers of eight megabytes are on their way when the direction is shut down, and are read late."""
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        ids = [await bad.ask(["echo", [number, "x" * MUCH]]) for number in range(2)]
        await bad.hear_beginning()
        bad.end()
        await conn.closed()
        # Only reading shows whether what was on its way was lost.
        for number in ids:
            kind, answered, datum = await bad.hear()
            t.check(
                (kind, answered) == ("response", number) and same(datum, [ids.index(number), "x" * MUCH]),
                f"an answer of the {victim.side.role} that was on its way at the end of file came changed",
                expected=f"(response {number} ...) of {MUCH} bytes",
                actual=f"({kind} {answered} {show(datum, 60)})",
            )
        await bad.must_end("the connection stays open after the last answer")


@at_server("profile.half-close", "profile.limit-unsent", timeout=20, only=("packets",))
async def half_close_with_answers_unread(t: Play) -> None:
    """A client that shuts down its direction, and reads late, still gets answers of megabytes that were on their
    way."""
    await _unread_answers(t)


@at_client("profile.half-close", "profile.limit-unsent", timeout=20, only=("packets",))
async def server_half_closes_with_answers_unread(t: Play) -> None:
    """A server that shuts down its direction, and reads late, still gets the client's answers of megabytes."""
    await _unread_answers(t)


async def _closes_while_nothing_is_read(t: Play) -> None:
    """The victim closes while an answer of megabytes is on its way to a peer that does not read."""
    async with attacked(t) as victim:
        conn, bad, asked, _ = await victim.waits()
        await bad.ask(["echo", "x" * MUCH])
        await bad.hear_beginning()
        await t.within(PATIENCE, conn.close(), f"closing at the {victim.side.role}, whose peer does not read")
        failing = t.within(PATIENCE, asked, f"the failure of the {victim.side.role}'s request")
        await t.fails(failing, NetworkFailed, why="a request that waits when its side closes")
        await bad.must_end(f"the {victim.side.role} closed, and the connection stays open")


@at_server("close-connection", "profile.close")
async def close_while_nothing_is_read(t: Play) -> None:
    """A server can close a connection whose client does not read, while an answer of megabytes is on its way."""
    await _closes_while_nothing_is_read(t)


@at_client("close-connection", "profile.close")
async def client_closes_while_nothing_is_read(t: Play) -> None:
    """A client can close a connection whose server does not read, while an answer of megabytes is on its way."""
    await _closes_while_nothing_is_read(t)


async def _answered_while_it_writes(t: Play) -> None:
    """The victim gets an answer while a request of megabytes is on its way to a peer that does not read."""
    async with attacked(t) as victim:
        conn, bad, asked, number = await victim.waits()
        t.spawn(conn.request(["echo", "x" * MUCH]))
        await bad.hear_beginning()
        await bad.say(b'(response %d "meanwhile")' % number)
        answer = await t.within(PATIENCE, asked, f"an answer, beside what the {victim.side.role} writes")
        t.equal(answer, "meanwhile", "an answer that came while a request was on its way")


@at_server("request.parallel", once=True)
async def answered_while_it_writes(t: Play) -> None:
    """A server's request is answered while another one, of megabytes, is on its way to a client that does not read."""
    await _answered_while_it_writes(t)


@at_client("request.parallel", once=True)
async def client_answered_while_it_writes(t: Play) -> None:
    """A client's request is answered while another one, of megabytes, is on its way to a server that does not read."""
    await _answered_while_it_writes(t)


async def _leaves_a_handler(t: Play, served: Served, here: Rendezvous) -> None:
    """A client breaks off while a handler of its waits."""
    bad = await attack(t, served)
    theirs = await opened_by(t, served, bad)
    await bad.ask(here.request)
    await here.arrived(1)
    bad.reset()
    await theirs.closed()


@at_server("guards.survives", "start.close-handler")
async def vanishes(t: Play) -> None:
    """Clients that break off, or fall silent in the middle of a packet, do not hold up anybody."""
    async with attacked_server(t) as served:
        silent = await attack(t, served)
        await is_served(silent, "good so far")
        await silent.send(silent.packet(b'(request 9 ("echo" 1))')[:9])
        for _ in range(5):
            await _leaves_a_handler(t, served, t.rendezvous(milliseconds=15_000))
        other = await attack(t, served)
        await is_served(other, "beside those that vanished")


@at_server("start.server", fresh=("server",), faults=("pause",), transport="tcp")
async def breaks_off_before_it_is_accepted(t: Play) -> None:
    """Clients that are gone again when the server accepts them do not keep it from accepting others."""
    async with attacked_server(t) as served:
        running = t.server.puppet.running
        _, host, port = running.from_runner(served.bound)
        await running.pause()
        try:
            for _ in range(3):
                with socket.create_connection((host, port), timeout=PATIENCE) as gone:
                    # It ends in a reset, at once.
                    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            await running.resume()


@at_server("profile.stop", "profile.written", "stop-server", only=("packets",))
async def stop_with_an_answer_unread(t: Play) -> None:
    """An answer of megabytes that is on its way when a server is asked to stop arrives whole, though read late."""
    served = await t.server.listen()
    bad = await attack(t, served)
    await is_served(bad, "good so far")
    number = await bad.ask(["echo", "x" * MUCH])
    await bad.hear_beginning()
    await served.stop()
    await asyncio.sleep(0.5)  # time itself is the subject: a faulty server cuts the answer during this time
    await _arrives_whole(t, bad, number, STOP_CUTS)
    await bad.must_end("a server that has stopped keeps a connection on which nothing runs")


STOP_CUTS = "an answer that was on its way when the server was asked to stop did not arrive"


@at_server("profile.wait", "wait-stopped", "guards.gone")
async def wait_for_handlers_of_the_gone(t: Play) -> None:
    """While a handler runs whose client has gone, all who wait for the stopped server go on waiting."""
    served = await t.server.listen()
    here = t.rendezvous(milliseconds=5_000)
    await _leaves_a_handler(t, served, here)
    async with t.beside(served.wait(), served.wait()) as waiting:
        await served.stop()
        await t.server.settle()
        await asyncio.sleep(0.3)  # no event tells that they go on waiting
        early = [one for one in waiting if one.done()]
        t.check(not (here.made and early), "wait-until-server-stopped returned while a handler of the server ran")
        await here.release()
        await t.within(
            10, asyncio.gather(*waiting), "wait-until-server-stopped, asked twice, once all handlers were over"
        )


@at_server("profile.wait", "wait-stopped", only=("framing", "messages"))
async def wait_after_every_end(t: Play) -> None:
    """However a server's connections and hellos have ended before, it does not wait for them once it was stopped."""
    served = await t.server.listen()
    here = t.rendezvous(milliseconds=500)
    gone = await attack(t, served)
    await gone.ask(here.request)
    await here.arrived(1)
    gone.reset()
    await here.release()
    for message in ("(nonsense)", "(response 99 1)", "(request 0 #<x>)"):
        bad = await attack(t, served)
        await bad.say(message)
        bad.end()
        await bad.must_end(f"{message} and an end of file did not end the connection")
        await bad.close()
    for data in (PIECE, b"\xff\xff\xff\xff", b""):
        bad = await attack(t, served)
        await is_served(bad, "good so far")
        await bad.send(data)
        bad.end()
        await bad.must_end("an end of file did not end the connection")
        await bad.close()
    closed = await attack(t, served)
    await (await opened_by(t, served, closed)).close()
    await closed.must_end("a server closed, and the connection stays open")
    await closed.close()
    if t.secure:
        for user, secret in ((USER, "wrong"), ("nobody", "wrong")):
            refused = await attack(t, served, user=user, passphrase=secret)
            await refused.must_end("a hello that must be refused was not")
            await refused.close()
        for data in (b"", b"\x00", b"\x00\x00\x00\x05alice", b"\xff\xff\xff\xff"):
            cut = await attack(t, served, hello=False)
            await cut.send(data)
            cut.end()
            await cut.must_end("an end of file within a hello did not end the connection")
            await cut.close()
    await served.stop()
    await served.wait(timeout=10)


@at_client("profile.half-close", "open.close-handler")
async def server_half_closes(t: Play) -> None:
    """A server that shuts down its direction while the client's handlers run still gets their answers, then the end."""
    await _half_closes(t)


@at_client("profile.wrong-key", "open.wrong-key", security="secure")
async def server_refuses_the_hello(t: Play) -> None:
    """If a server refuses the hello, the client's first request fails with a network error, and the client closes."""
    async with attacked_client(t) as server:
        conn, bad = await server.connected(hello=False)
        asked = t.spawn(conn.request(["echo", "let me in"]))
        bad.end()
        failing = t.within(PATIENCE, asked, "the failure of a request whose hello was refused")
        await t.fails(failing, NetworkFailed, why="a request whose hello was refused")
        await bad.must_end("the client goes on with a connection whose hello was refused")
        await conn.closed()


@at_client("open.close-handler", "request.errors", kind="hardening")
async def server_closes_at_once(t: Play) -> None:
    """If a server closes what it accepts, the client gets an error and its close handler runs: it does not wait."""
    async with attacked_client(t) as server:
        for how in ("close", "reset"):
            try:
                conn, bad = await server.connected(hello=False)
            except NetworkFailed:
                continue
            if how == "close":
                await bad.close()
            else:
                bad.reset()
            await conn.closed()
            await t.fails(conn.request(["echo", 1], timeout=10), NetworkFailed, why="a request after the server closed")
