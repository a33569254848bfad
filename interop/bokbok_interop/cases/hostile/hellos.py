"""Hellos that are cut off, damaged, withheld or late, that have strange names, or that meet the other security mode."""

from __future__ import annotations

import asyncio
import time

from bokbok.wire import DEFAULT_LIMITS
from bokbok.wire.hello import MAX_USERNAME

from ...model import Failure, Late
from ...play import PASSPHRASE, USER, Play, Served, readable
from ...raw import Raw, attack
from .neighbours import (
    at_server,
    attacked_server,
    count_runs,
    is_served,
)

IN_TIME = DEFAULT_LIMITS.hello_timeout - 1
"""Seconds after which an unfinished hello may be refused at any moment, by a clock that is a little ahead."""
LATE = 3.0
"""Seconds by which an end may be late."""


async def _refused(t: Play, served: Served, bad: Raw, data: bytes, what: str) -> None:
    """Check that these bytes are not taken for a hello: the connection ends, and no handler runs."""
    name = t.new_name()
    await bad.send(data)
    if bad.session is not None:
        await bad.say(b'(request 0 ("count" "%b"))' % name.encode())
    rest = await bad.must_end(f"{what} was not refused")
    t.check(not rest, f"{what} was answered", expected="nothing", actual=readable(b"".join(rest[:1])))
    await t.server.settle()
    t.check(len(served.connections) == bad.opened_before, f"the open handler ran for {what}")
    t.equal(await count_runs(t, served, name), 0, f"how often a handler ran after {what}")


@at_server("profile.hello-key", security="secure")
async def hello_cut_after_name(t: Play) -> None:
    """A hello that ends after the username opens nothing."""
    async with attacked_server(t) as served:
        for data in (b"", b"\x00\x00", None):
            bad = await attack(t, served, hello=False)
            await bad.send(bad.frame(USER.encode()) if data is None else data)
            bad.end()
            await bad.must_end("a hello that was cut off left the connection open", 5)
            await t.server.settle()
            t.check(len(served.connections) == bad.opened_before, "the open handler ran for half a hello")


@at_server("profile.boxes", "profile.protocol-error", security="secure")
async def second_hello(t: Play) -> None:
    """A second hello of the same user, with another session key, ends a connection that is open."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        await is_served(bad, "good so far")
        again = await attack(t, served, hello=False)
        await bad.send(again.hello())
        rest = await bad.must_end("a second hello did not end the connection")
        t.check(not rest, "a second hello was answered")


@at_server("profile.hello-key", security="secure", only=("hello", "nonces"))
async def hello_bad_session_key(t: Play) -> None:
    """A boxed session key of 31, 33 or 0 bytes is not a hello."""
    async with attacked_server(t) as served:
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


@at_server("profile.hello-key", "open.key", security="secure", only=("hello", "nonces"))
async def hello_tampered(t: Play) -> None:
    """A hello with one bit of its box changed is refused."""
    async with attacked_server(t) as served:
        for where in (-72, -49, -48, -33, -32, -1):
            bad = await attack(t, served, hello=False)
            hello = bytearray(bad.hello())
            hello[where] ^= 0x80
            await _refused(t, served, bad, bytes(hello), f"a hello with a bit changed in byte {where}")


@at_server("profile.hello-user", "start.user-key-value", security="secure", only=("hello",))
async def hello_for_other_user(t: Play) -> None:
    """A hello whose name is another user's does not open under that user's key."""
    async with attacked_server(t, {USER: PASSPHRASE, "bob": "his own"}) as served:
        bad = await attack(t, served, hello=False)
        hello = bad.hello()
        swapped = bad.frame(b"bob") + hello[len(bad.frame(USER.encode())) :]
        await _refused(t, served, bad, swapped, "a hello under another user's name")


@at_server("profile.hello-user", "start.user-key-refuses", security="secure", only=("hello",))
async def hello_strange_names(t: Play) -> None:
    """Unknown users named with line feeds, NUL, escape codes or invalid UTF-8 are refused like any other."""
    async with attacked_server(t) as served:
        for name in (
            b"a\nb",
            b"\x00",
            b"alice\x00",
            b"\x1b[31mred\x1b[0m",
            b"\xff\xfe\x80",
            b"../../etc/passwd",
            b"%s%n",
            b"x" * MAX_USERNAME,
        ):
            bad = await attack(t, served, hello=False)
            await _refused(t, served, bad, bad.hello(name), f"an unknown user named {readable(name[:20])}")


@at_server("guards.survives", "profile.hello-user", security="secure", only=("hello",))
async def log_is_clean(t: Play) -> None:
    """What a stranger sends is escaped in the log: it cannot add a line or an escape code, and no passphrase is
    there."""
    mark = t.server.puppet.running.log.size
    async with attacked_server(t) as served:
        for name in (b"eve\nFAKE LOG LINE", b"\x1b[2Jcleared"):
            bad = await attack(t, served, hello=False)
            await _refused(t, served, bad, bad.hello(name), f"an unknown user named {readable(name)}")
    await t.server.settle()
    log = t.server.puppet.running.log.text(mark)
    t.check("\nFAKE LOG LINE" not in log, "a username made a line of its own in the log", actual=log[-300:])
    t.check("\x1b[2J" not in log, "a username put an escape code into the log")
    t.check(PASSPHRASE not in log, "a passphrase stands in the log")


@at_server("guards.hello-timeout", security="secure", timeout=20, only=("hello",))
async def hello_withheld(t: Play) -> None:
    """A client that never says hello is disconnected, and does not hold up others in the meantime."""
    async with attacked_server(t) as served:
        silent: list[Raw] = []
        began = 0.0

        async def beside_others() -> None:
            nonlocal began
            began = time.monotonic()
            silent[:] = [await attack(t, served, hello=False) for _ in range(2)]
            await silent[1].send(silent[1].frame(USER.encode()))
            await is_served(await attack(t, served), "beside silent clients")
            for bad in silent:  # only the order counts: a clock would need a generous margin
                await bad.stays_open(
                    "a client that withholds its hello was cut off before its neighbour's answer", 0.01
                )

        await t.in_time(IN_TIME, beside_others)
        for bad in silent:
            why, most = "a client that withholds its hello is kept", DEFAULT_LIMITS.hello_timeout + LATE
            await bad.must_end(why, most)
            if (took := time.monotonic() - began) > most + 2 * await t.pulse():
                raise Late(why, expected=f"its end after {DEFAULT_LIMITS.hello_timeout:g} s", actual=f"{took:.1f} s")


@at_server("guards.hello-timeout", security="secure", timeout=25)
async def hello_drip_fed(t: Play) -> None:
    """A hello of a byte a second is refused: a byte does not start the time limit anew."""
    async with attacked_server(t) as served:
        bad = await attack(t, served, hello=False)

        async def drip(data: bytes) -> None:
            for byte in data:
                await bad.send(bytes([byte]))
                await asyncio.sleep(1)

        async with t.beside(drip(bad.hello())):
            await is_served(await attack(t, served), "beside a slow hello")
            most = DEFAULT_LIMITS.hello_timeout + LATE
            await bad.must_end("a hello of a byte a second is awaited without end", most)


@at_server("guards.hello-timeout", "profile.hello-key", security="secure", timeout=20, only=("hello",))
async def hello_just_in_time(t: Play) -> None:
    """A hello whose name comes late, and whose session key comes later, opens as long as its time is not over."""
    async with attacked_server(t) as served:

        async def late() -> None:
            bad = await attack(t, served, hello=False)
            hello, name = bad.hello(), len(bad.frame(USER.encode()))
            await asyncio.sleep(DEFAULT_LIMITS.hello_timeout * 0.45)  # time itself is the subject
            await bad.send(hello[:name])
            await asyncio.sleep(DEFAULT_LIMITS.hello_timeout * 0.4)
            await bad.send(hello[name:])
            try:
                await is_served(bad, "after a hello that came late")
            except Failure as failure:
                problem = f"a hello that took 85 % of its {DEFAULT_LIMITS.hello_timeout:g} s was not taken"
                raise Late(problem, expected="the connection open", actual=failure.actual) from failure

        await t.in_time(IN_TIME, late)


@at_server("guards.hello-timeout", security="secure", timeout=20, only=("hello",))
async def hello_late_name(t: Play) -> None:
    """A username that comes late does not give the session key more time."""
    third = DEFAULT_LIMITS.hello_timeout / 3
    async with attacked_server(t) as served:
        late = await attack(t, served, hello=False)
        await asyncio.sleep(third)
        silent = await attack(t, served, hello=False)
        await asyncio.sleep(third)
        await late.send(late.frame(USER.encode()))
        # Only the order of the ends counts: a clock would need a generous margin.
        why, most = "a client that withholds its hello is kept", DEFAULT_LIMITS.hello_timeout + 8
        ends = [t.spawn(bad.must_end(why, most)) for bad in (late, silent)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        t.check(
            ends[0].done(),
            "a client whose username came late was kept longer than its time",
            expected="its end before that of a silent one which came a third of that time later",
            actual="that one ended first",
        )
        await asyncio.gather(*ends)


@at_server("profile.hello-key", security="secure")
async def slow_but_good_hello(t: Play) -> None:
    """A hello that comes in small pieces, in time, opens like any other."""
    async with attacked_server(t) as served:
        bad = await attack(t, served, hello=False)
        hello = bad.hello()
        await bad.drip(hello, 0.02, size=7, within=DEFAULT_LIMITS.hello_timeout / 4)
        await is_served(bad, "after a slow hello")


@at_server("profile.wrong-mode", security="insecure")
async def secure_hello_at_insecure_server(t: Play) -> None:
    """An insecure server closes a connection on which a secure client's hello comes."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        await bad.send(bad.hello())
        await bad.must_end("an insecure server goes on after a secure client's hello")


@at_server("profile.wrong-mode", security="secure", timeout=15)
async def insecure_request_at_secure_server(t: Play) -> None:
    """A secure server does not serve an insecure client's request: it closes, or lets the hello time out."""
    async with attacked_server(t) as served:
        name = t.new_name()
        bad = await attack(t, served, hello=False)
        await bad.send(bad.frame(b'(request 0 ("count" "%b"))' % name.encode()))
        rest = await bad.must_end("a secure server keeps an insecure client", DEFAULT_LIMITS.hello_timeout + 8)
        t.check(not rest, "a secure server answered an insecure client", actual=readable(b"".join(rest[:1])))
        t.equal(await count_runs(t, served, name), 0, "how often a handler ran for a client without a key")
