"""Replays: the same bytes again, a used ID again, or bytes sent back to their sender."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from bokbok.sexpr import dumps
from bokbok.wire import DEFAULT_WINDOW

from ...play import PASSPHRASE, USER, Play, Served
from ...raw import Raw, attack
from .neighbours import (
    at_client,
    at_server,
    attacked,
    attacked_server,
    count_runs,
    is_served,
)

FLEET = 3
"""Servers that share a memory of hellos."""
HELLOS = 1_050
"""Hellos that a server must remember: more than a naive memory would hold."""


async def _recorded(t: Play, served: Served, name: str, times: int = 1) -> tuple[Raw, bytes]:
    """A connection over which one request was served, which counts itself under `name`; and what its client sent, as
    somebody may have recorded it."""
    first = await attack(t, served, hello=False)
    recorded = first.hello() + first.packet(b'(request 0 ("count" "%b"))' % name.encode())
    await first.send(recorded)
    t.equal(list(await first.answer_to(0)), ["response", times], "the first time")
    return first, recorded


async def _is_refused(t: Play, served: Served, recorded: bytes, problem: str) -> None:
    again = await attack(t, served, hello=False)
    await again.send(recorded)
    await again.must_end(problem)


@at_server("guards.hello", "guards.refusal", security="secure")
async def hello_replayed(t: Play) -> None:
    """A recorded conversation that is replayed is refused at its hello, and is not served twice."""
    async with attacked_server(t) as served:
        name = t.new_name()
        first, recorded = await _recorded(t, served, name)
        problem = "a hello that was seen before opened again"
        await _is_refused(t, served, recorded, f"{problem}, while the first connection is open")
        first.end()
        await first.must_end("a connection that has ended on one side stays open")
        for _ in range(AGAIN):
            await _is_refused(t, served, recorded, f"{problem}, after the first connection closed")
            await is_served(await attack(t, served), "in between")
        t.equal(await count_runs(t, served, name), 1, "how often the recorded request was served")


AGAIN = 3
"""A server that forgets a hello with its connection may do so a moment after that has ended."""


@at_server("guards.hello", security="secure", timeout=20, transport="unix")
async def hello_replayed_late(t: Play) -> None:
    """A hello that was seen before is still refused after more than a thousand others."""
    async with attacked_server(t) as served:
        name = t.new_name()
        first, recorded = await _recorded(t, served, name)
        await first.close()
        for _ in range(HELLOS):
            other = await attack(t, served)
            other.end()
            await other.must_end("a connection that has ended on one side stays open")
            await other.close()
        await _is_refused(t, served, recorded, f"a hello that was seen before opened again, after {HELLOS:,} others")
        t.equal(await count_runs(t, served, name), 1, "how often the recorded request was served")


@at_server("guards.hello-refused", "guards.hello", security="secure", only=("hello",))
async def refused_hello_is_not_remembered(t: Play) -> None:
    """A hello that was refused (under another name, or with a changed bit) still works for its owner."""
    async with attacked_server(t, {USER: PASSPHRASE, "bob": "his own"}) as served:
        good = await attack(t, served, hello=False)
        hello, name = good.hello(), len(good.frame(USER.encode()))
        for before, spoilt in ((b"bob", hello[name:]), (b"mallory", hello[name:]), (USER.encode(), b"")):
            bad = await attack(t, served, hello=False)
            changed = spoilt or hello[name:-1] + bytes([hello[-1] ^ 1])
            await bad.send(bad.frame(before) + changed)
            await bad.must_end("a hello that does not open was not refused")
        await good.send(hello)
        await is_served(good, "with a hello that others had said in vain")


@at_server("guards.hello", security="secure")
async def hello_replayed_at_once(t: Play) -> None:
    """Of one hello that arrives on eight connections at the same moment, one opens."""
    async with attacked_server(t) as served:
        name = t.new_name()
        bads = [await attack(t, served, hello=False) for _ in range(8)]
        recorded = bads[0].hello() + bads[0].packet(b'(request 0 ("count" "%b"))' % name.encode())
        # All but the last byte first, so that the last bytes race.
        await asyncio.gather(*(bad.send(recorded[:-1]) for bad in bads))
        await asyncio.gather(*(bad.send(recorded[-1:]) for bad in bads))
        got = await asyncio.gather(*(bad.hear_packet() for bad in bads))
        t.check(
            sum(packet is not None for packet in got) == 1,
            "one hello opened several connections",
            expected="1 answered",
            actual=f"{sum(packet is not None for packet in got)} answered",
        )
        t.equal(await count_runs(t, served, name), 1, "how often the request behind the hello was served")


@at_server("guards.hello", security="secure", only=("hello",))
async def hello_replayed_as_other(t: Play) -> None:
    """A hello's box that was seen before is refused under another username with the same key, too."""
    async with attacked_server(t, {USER: PASSPHRASE, "bob": PASSPHRASE}) as served:
        first = await attack(t, served, hello=False)
        hello = first.hello()
        await first.send(hello)
        await is_served(first, "the first time")
        again = await attack(t, served, hello=False)
        await again.send(again.frame(b"bob") + hello[len(again.frame(USER.encode())) :])
        again.session = first.session
        await again.ask(["whoami"])
        rest = await again.must_end("a hello's box opened again under another name")
        t.check(not rest, "a replayed hello was answered")


async def _replays_a_request(t: Play) -> None:
    async with attacked(t) as victim:
        name = t.new_name()
        conn, bad = await victim.meet()
        number = bad.ids
        packet = await bad.say(b'(request %d ("count" "%b"))' % (number, name.encode()))
        t.equal(list(await bad.answer_to(number)), ["response", 1], "the first time")
        await bad.send(packet)
        rest = await victim.ends(conn, bad, None, "a packet that came twice")
        t.check(not rest, "a packet that came twice was answered twice")
        t.equal(await victim.count_runs(name), 1, "how often the request was served")


async def _reflects_a_request(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        # Some answered requests first, so that the reflected request has an ID that the victim has not received yet.
        for _ in range(4):
            asked = t.spawn(conn.request(["echo", 1]))
            await bad.say(f"(response {await victim.asks(bad)} 1)")
            await asked
        name = t.new_name()
        asked = t.spawn(conn.request(["count", name]))
        packet = await bad.hear_packet()
        t.check(packet is not None, f"the {victim.side.role}'s request")
        await bad.send(bad.frame(packet or b""))
        rest = await victim.ends(conn, bad, asked, "a request that was sent back to its sender")
        t.check(not rest, f"the {victim.side.role} answered its own request")
        t.equal(await victim.count_runs(name), 0, "how often the reflected request was served")


async def _reflects_an_early_request(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        name = t.new_name()

        async def answered(datum: list[Any]) -> bytes | None:
            asked = t.spawn(conn.request(datum))
            packet = await bad.hear_packet()
            await bad.say(b"(response %d 1)" % next(ids))
            await asked
            return packet

        ids = itertools.count()
        # Some more requests before it, so that the victim has not received its ID yet.
        for _ in range(4):
            await answered(["echo", 1])
        early = await answered(["count", name])
        for _ in range(100):
            await answered(["echo", 1])
        await bad.send(bad.frame(early or b""))
        rest = await victim.ends(conn, bad, None, "a request that was sent back to its sender a hundred requests later")
        t.check(not rest, f"the {victim.side.role} answered its own request")
        t.equal(await victim.count_runs(name), 0, "how often the reflected request was served")


async def _reflects_a_response(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        await bad.ask(["echo", "x"])
        packet = await bad.hear_packet()
        t.check(packet is not None, f"the {victim.side.role}'s response")
        await bad.send(bad.frame(packet or b""))
        await victim.ends(conn, bad, None, "a response that was sent back to its sender")


@at_server("guards.hello", "profile.no-reset", security="secure")
async def hello_replayed_is_no_reset(t: Play) -> None:
    """The refusal of a hello that was seen before is an end of file, whatever follows the hello."""
    async with attacked_server(t) as served:
        first = await attack(t, served, hello=False)
        hello = first.hello()
        await first.send(hello)
        await is_served(first, "the first time")
        again = await attack(t, served, hello=False)
        await again.send(hello + b"x" * 600_000)
        await again.must_end("a hello that was seen before opened again")
        again.ended_in_order("the refusal of a replayed hello was a reset")


@at_server("guards.hello-memory", "guards.hello", security="secure")
async def hello_replayed_after_a_stop(t: Play) -> None:
    """A hello that was seen before is refused as well after another server of the same process has stopped."""
    other = await t.server.listen()
    async with attacked_server(t) as served:
        name = t.new_name()
        _, recorded = await _recorded(t, served, name)
        neighbour = await attack(t, other)
        await is_served(neighbour, "at the other server")
        await neighbour.close()
        await other.stop()
        await other.wait()
        problem = "a hello that was seen before opened again, after another server had stopped"
        await _is_refused(t, served, recorded, problem)
        t.equal(await count_runs(t, served, name), 1, "how often the recorded request was served")


@at_server("guards.hello-shared", "guards.hello", security="secure", needs=("shared-hellos",))
async def hello_replayed_to_fleet(t: Play) -> None:
    """A hello that one of several servers with a common memory has accepted is refused by every other one, even once
    that one has stopped."""
    memory, name = t.new_name(), t.new_name()
    fleet = [await t.server.listen(memory=memory) for _ in range(FLEET)]
    recorded = [(await _recorded(t, served, name, times))[1] for times, served in enumerate(fleet, 1)]
    problem = "a hello that another server of the fleet has accepted opened"
    for said, served in itertools.product(recorded, fleet):
        await _is_refused(t, served, said, f"{problem}, while that one still serves")
    await fleet[0].stop()
    await fleet[0].wait()
    for served in fleet[1:]:
        await _is_refused(t, served, recorded[0], f"{problem}, after that one had stopped")
        await is_served(await attack(t, served), "at a server of the fleet, after the replays")
    t.equal(await count_runs(t, fleet[-1], name), FLEET, "how often the recorded requests were served")


@at_server("guards.request-id")
async def replayed_packet(t: Play) -> None:
    """A packet that comes a second time is not served again: the connection ends."""
    await _replays_a_request(t)


@at_server("guards.request-id", "guards.refusal", once=True)
async def used_id(t: Play) -> None:
    """Another request under a used ID ends the connection, whether the first one was answered or still waits."""
    async with attacked_server(t) as served:
        name = t.new_name()
        here = t.rendezvous(milliseconds=3_000)
        for first in (["echo", 1], here.request):
            bad = await attack(t, served)
            await bad.say(b"(request 5 %b)" % dumps(first))
            await bad.say(b'(request 6 ("echo" 2))')
            await bad.hear()
            await bad.say(b'(request 5 ("count" "%b"))' % name.encode())
            await bad.must_end("a request under a used ID did not end the connection")
        t.equal(await count_runs(t, served, name), 0, "how often a request under a used ID was served")


@at_server("guards.request-id", "guards.refusal", transport="unix", timeout=30)
async def every_used_id(t: Play) -> None:
    """Whatever the order of IDs, and whether gaps are filled or not, each used ID is refused afterwards."""
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
    async with attacked_server(t) as served:
        for order in orders:
            for used in order:
                bad = await attack(t, served)
                for number in order:
                    await bad.say(b'(request %d ("echo" %d))' % (number, number))
                    t.equal(list(await bad.answer_to(number)), ["response", number], f"the answer to ID {number}")
                await bad.say(b'(request %d ("echo" "again"))' % used)
                rest = await bad.must_end(f"after the IDs {', '.join(map(str, order))} the ID {used} was used again")
                t.check(not rest, f"after the IDs {', '.join(map(str, order))} the ID {used} was served again")


async def _unreadable_id_is_used(t: Play) -> None:
    async with attacked(t) as victim:
        name = t.new_name()
        conn, bad = await victim.meet()
        await bad.say(b"(request 5 #<x>)")
        t.equal((await bad.answer_to(5))[0], "error", "the kind of answer to a request that does not read")
        await bad.say(b'(request 5 ("count" "%b"))' % name.encode())
        rest = await victim.ends(conn, bad, None, "a request under the ID of one that does not read")
        t.check(not rest, "a request was answered whose ID one that does not read had used")
        t.equal(await victim.count_runs(name), 0, "how often a request under a used ID was served")


@at_server("guards.request-id", "profile.unreadable-id", only=("counted",), once=True)
async def unreadable_id_is_used(t: Play) -> None:
    """A request that cannot be read has used its ID: another one under it ends the connection."""
    await _unreadable_id_is_used(t)


@at_client("guards.request-id", "profile.unreadable-id", only=("counted",), once=True)
async def server_uses_unreadable_id(t: Play) -> None:
    """A server's request that cannot be read has used its ID: another one under it ends the client's connection."""
    await _unreadable_id_is_used(t)


async def _are_new(t: Play, bad: Raw, numbers: Sequence[int]) -> None:
    for number in numbers:
        with t.trying(
            where=f"with the ID {number} after {', '.join(map(str, numbers[: numbers.index(number)])) or 'none'}"
        ):
            await bad.say(b'(request %d ("echo" %d))' % (number, number))
            t.equal(list(await bad.answer_to(number)), ["response", number], "the answer to an ID that is new")


async def _window_edge(t: Play) -> None:
    async with attacked(t) as victim:
        for base in (10, 5_000_000):
            behind = base + DEFAULT_WINDOW
            _, bad = await victim.meet()
            await _are_new(t, bad, (behind - 1, base, behind - 2, base + 1))
            conn, bad = await victim.meet()
            await _are_new(t, bad, (behind,))
            await bad.say(b'(request %d ("echo" 1))' % base)
            rest = await victim.ends(conn, bad, None, f"after ID {behind} the ID {base}")
            t.check(not rest, f"after ID {behind} the ID {base} was served")


@at_server("guards.window", "guards.request-id", only=("messages",), once=True)
async def window_edge(t: Play) -> None:
    """After the last ID of a window, the first one is still new; after the next ID it counts as used."""
    await _window_edge(t)
    async with attacked_server(t) as served:
        await _are_new(t, await attack(t, served), (DEFAULT_WINDOW - 1, 0, 1))  # the very first ID, too


@at_client("guards.window", "guards.request-id", only=("messages",), once=True)
async def servers_window_edge(t: Play) -> None:
    """After the last ID of a client's window, the first one is still new; after the next ID it counts as used."""
    await _window_edge(t)


AHEAD = (
    (5, 3, 4, 20, 10, 0, 19, 21),
    # If the window is a ring, this ID has the place of a used one. It is new all the same.
    (0, 1, 2, 3, DEFAULT_WINDOW + 20, DEFAULT_WINDOW + 3, DEFAULT_WINDOW + 1, DEFAULT_WINDOW),
    (0, 1, 2, 3, 70, 66, 65, 64, 67, 130, 128, 131),
    (7, 10 * DEFAULT_WINDOW + 20, 10 * DEFAULT_WINDOW + 7, 9 * DEFAULT_WINDOW + 30),
    (1, 2**32 + 2, 2**32 + 1, 2**32),
    (2**62 - 2, 2**62 - 1, 2**62 - 3),
)
"""Orders in which each ID is new."""


@at_server("guards.request-id", "profile.ids", "guards.window", only=("messages",), once=True)
async def ids_with_gaps(t: Play) -> None:
    """IDs with gaps and in another order, within a window, are served."""
    async with attacked_server(t) as served:
        for numbers in AHEAD:
            await _are_new(t, await attack(t, served), numbers)


@at_server("guards.request-id", "profile.unreadable-id", "profile.stop", only=("messages",), once=True)
async def turned_away_id_is_used(t: Play) -> None:
    """A request that a stopping server has refused has used its ID: another one under it is refused."""
    served = await t.server.listen()
    bad = await attack(t, served)
    here = t.rendezvous(milliseconds=5_000)
    await bad.ask(here.request)
    await here.arrived(1)
    await served.stop()
    late = await bad.ask(["echo", "too late"])
    t.equal((await bad.answer_to(late))[0], "error", "the kind of answer to a request at a server that stops")
    await bad.say(b'(request %d ("echo" 1))' % late)
    rest = await bad.must_end("a request under the ID of one that was turned away did not end the connection")
    t.check(not rest, "a request was answered whose ID one that was turned away had used")
    await here.release()


@at_server("guards.refusal", "guards.request-id", once=True)
async def id_below_window(t: Play) -> None:
    """An ID far below the highest counts as used."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        await bad.say(b'(request 4000000000 ("echo" 1))')
        t.equal(list(await bad.answer_to(4_000_000_000)), ["response", 1], "the answer to a high ID")
        await bad.say(b'(request 3 ("echo" 1))')
        await bad.must_end("an ID far below the window did not end the connection")


@at_server("guards.reflection", security="secure", only=("nonces",))
async def reflected_request(t: Play) -> None:
    """The peer's own request, sent back to it, is not served: the connection ends and the request fails."""
    await _reflects_a_request(t)


@at_server("guards.reflection", security="secure", only=("nonces",))
async def reflected_late(t: Play) -> None:
    """The peer's own request, sent back to it a hundred requests later, is not served either."""
    await _reflects_an_early_request(t)


@at_server("profile.protocol-error")
async def reflected_response(t: Play) -> None:
    """The peer's own response, sent back to it, does not answer its own question: the connection ends."""
    await _reflects_a_response(t)


@at_client("guards.reflection", security="secure", only=("nonces",))
async def server_reflects(t: Play) -> None:
    """The client's own request, sent back to it, is neither served nor an answer: the connection ends."""
    await _reflects_a_request(t)


@at_client("guards.reflection", security="secure", only=("nonces",))
async def server_reflects_late(t: Play) -> None:
    """The client's own request, sent back to it a hundred requests later, is neither served nor an answer."""
    await _reflects_an_early_request(t)


@at_client("guards.request-id")
async def server_replays_request(t: Play) -> None:
    """A client serves a server's request that comes twice only once."""
    await _replays_a_request(t)


@at_client("profile.protocol-error")
async def server_reflects_response(t: Play) -> None:
    """The client's own response, sent back to it, does not answer its own question: the connection ends."""
    await _reflects_a_response(t)
