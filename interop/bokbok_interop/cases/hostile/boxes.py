"""Boxes that were changed, that are sealed with another key, or that are missing."""

from __future__ import annotations

import random
from collections.abc import Callable

from ...model import Failure
from ...play import PASSPHRASE, Play
from ...raw import Raw, attack
from .neighbours import (
    at_client,
    at_server,
    attacked,
    attacked_server,
    count_runs,
)

Way = Callable[[Raw, bytes], bytes]
"""How to turn a message into a packet that must be refused."""


def _flipped(layer: str, index: int) -> Way:
    def make(bad: Raw, body: bytes) -> bytes:
        box = bytearray(bad.seal(bad.body(body), bad.session or b""))
        spans = {span.name: span for span in bad.profile.nonces.spans(bad.role, len(box), first=False)}
        span = spans.get(layer, spans["tag"])  # a nonce that does not travel cannot be changed
        box[(span.start, span.end - 1)[index]] ^= 0x01
        return bad.wrap(bytes(box))

    return make


def _boxed(change: Callable[[bytes], bytes]) -> Way:
    return lambda bad, body: bad.wrap(change(bad.seal(bad.body(body), bad.session or b"")))


def _sealed(key: Callable[[Raw], bytes]) -> Way:
    return lambda bad, body: bad.wrap(bad.seal(bad.body(body), key(bad)))


FLIPPED = {
    f"a bit changed in the {('first', 'last')[index]} byte of the {layer}": _flipped(layer, index)
    for layer in ("nonce", "tag", "ciphertext")
    for index in (0, 1)
}
CUT = {"a byte missing": _boxed(lambda box: box[:-1]), "a byte more": _boxed(lambda box: box + b"\0")}
OTHER_KEY = {
    "another key": _sealed(lambda _: b"\x07" * 32),
    "the user's key": _sealed(lambda bad: bad.key(PASSPHRASE)),
    "a key of zeros": _sealed(lambda _: bytes(32)),
}
PLAIN: dict[str, Way] = {"in the clear": lambda bad, body: bad.wrap(bad.body(body))}


async def _is_not_taken(t: Play, ways: dict[str, Way]) -> None:
    """Try each of these, both as a request, whose handler must not run, and as an answer to a request that waits."""
    async with attacked(t) as victim:
        name = t.new_name()
        for what, way in ways.items():
            for body in (b'(request 7 ("count" "%b"))' % name.encode(), b'(response %N "forged")'):
                conn, bad, asked, number = await victim.waits()
                await bad.send(way(bad, body.replace(b"%N", b"%d" % number)))
                await victim.ends(conn, bad, asked, f"a packet with {what}")
        t.equal(await victim.count_runs(name), 0, "how often a handler ran for such a request")


@at_server("profile.boxes", "open.key", security="secure")
async def tampered(t: Play) -> None:
    """A packet with one bit changed, in nonce, tag or ciphertext, is not served: the connection ends."""
    await _is_not_taken(t, FLIPPED)


@at_server("profile.boxes", security="secure")
async def tampered_length(t: Play) -> None:
    """A box with its last byte missing, or with one byte more, is not served."""
    await _is_not_taken(t, CUT)


@at_server("profile.boxes", "open.key", security="secure")
async def other_key(t: Play) -> None:
    """After the hello only the session key opens boxes: one under another key, or the user's, ends the connection."""
    await _is_not_taken(t, OTHER_KEY)


@at_server("profile.boxes", "open.key", security="secure")
async def plain_after_hello(t: Play) -> None:
    """After a hello a request in the clear is not served: the connection ends."""
    await _is_not_taken(t, PLAIN)
    async with attacked_server(t) as served:
        name = t.new_name()
        bad = await attack(t, served)
        await bad.send(bad.wrap(bad.body(b'(request 7 ("count" "%b"))' % name.encode())))  # right after the hello
        await bad.must_end("a request in the clear did not end a secure connection")
        t.equal(await count_runs(t, served, name), 0, "how often a handler ran for a request in the clear")


OF_EVERY_KIND = (
    b'("echo" 1)',
    b"#<x>",
    b'("fail" "on purpose")',
    b"#<x>",
    b'("unwritable")',
    b'("no-such-request")',
    b"(]",
    b'("echo" 2)',
)
"""Requests: some get an answer, some an error of their handler, and some do not read."""


async def _counts_every_box(t: Play) -> None:
    async with attacked(t) as victim:
        conn, bad = await victim.meet()
        nonces: list[bytes] = []
        for datum in OF_EVERY_KIND:
            await bad.say(b"(request %d %b)" % (bad.next_id(), datum))
            nonces.append((await bad.hear_packet() or b"")[:24])
            t.spawn(conn.request(["echo", "mine"]))
            nonces.append((await bad.hear_packet() or b"")[:24])
        first = int.from_bytes(nonces[0][16:], "big")
        wanted = [nonces[0][:16] + (first + index).to_bytes(8, "big") for index in range(len(nonces))]
        wrong = next((index for index, pair in enumerate(zip(nonces, wanted, strict=True)) if pair[0] != pair[1]), None)
        if wrong is not None:
            what = OF_EVERY_KIND[wrong // 2].decode() if wrong % 2 == 0 else "a request of its own"
            raise Failure(
                f"the nonces of a {victim.side.role}'s boxes are not one sequence: {what}",
                expected=wanted[wrong].hex(),
                actual=nonces[wrong].hex(),
            )


@at_server("profile.nonce", security="secure", only=("nonces", "packets", "messages"))
async def counts_every_box(t: Play) -> None:
    """A server's answers, errors and requests have nonces of one sequence, whoever makes them."""
    await _counts_every_box(t)


@at_client("profile.nonce", security="secure", only=("nonces", "packets", "messages"))
async def client_counts_every_box(t: Play) -> None:
    """A client's answers, errors and requests have nonces of one sequence, whoever makes them."""
    await _counts_every_box(t)


async def _any_nonce(t: Play) -> None:
    async with attacked(t) as victim:
        _, bad = await victim.meet()
        source = random.Random(t.seed)
        for nonce in (source.randbytes(24), bytes(24), b"\xff" * 24, source.randbytes(24), bytes(24)):
            assert bad.session is not None
            number = bad.next_id()
            body = bad.body(b'(request %d ("echo" %d))' % (number, number))
            await bad.send(bad.wrap(bad.seal(body, bad.session, nonce)))
            t.equal(
                list(await bad.answer_to(number)), ["response", number], f"the answer to a box with nonce {nonce.hex()}"
            )


@at_server("profile.any-nonce", security="secure", only=("nonces",))
async def any_nonce(t: Play) -> None:
    """A server accepts any nonce: random ones, zero, one that came before, in any order."""
    await _any_nonce(t)


@at_client("profile.any-nonce", security="secure", only=("nonces",))
async def server_uses_any_nonce(t: Play) -> None:
    """A client accepts any nonce: random ones, zero, one that came before, in any order."""
    await _any_nonce(t)


@at_client("profile.boxes", "open.key", security="secure")
async def server_tampers(t: Play) -> None:
    """An answer with a changed bit, cut, under another key, or in the clear, does not count as an answer."""
    await _is_not_taken(t, FLIPPED | CUT | OTHER_KEY | PLAIN)
