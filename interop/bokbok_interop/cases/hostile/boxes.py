"""Boxes that were changed, or are sealed with another key, or are not there."""

from __future__ import annotations

import random
from typing import Any

from ...play import PASSPHRASE, Play
from ...raw import Raw, attack
from .neighbours import at_client, at_server, attacked_server, client_closes, count_runs, is_served


@at_server("profile.boxes", "open.key", security="secure")
async def tampered(t: Play) -> None:
    """A packet with one bit changed, in nonce, tag or ciphertext, is not served: the connection ends."""
    async with attacked_server(t) as served:
        name = t.new_name()
        for where in (4, 27, 28, 43, 44, 60, -1):
            bad = await attack(t, served)
            await is_served(bad, "good so far")
            packet = bytearray(bad.packet(b'(request 7 ("count" "%b"))' % name.encode()))
            packet[where] ^= 0x01
            await bad.send(bytes(packet))
            await bad.must_end(f"a packet with a bit changed in byte {where} did not end the connection")
        t.equal(await count_runs(t, served, name), 0, "how often a handler ran for a tampered request")


@at_server("profile.boxes", security="secure")
async def tampered_length(t: Play) -> None:
    """A box with its last byte missing, or one more, is not served."""
    async with attacked_server(t) as served:
        name = t.new_name()
        for change in (-1, +1):
            bad = await attack(t, served)
            await is_served(bad, "good so far")
            assert bad.session is not None
            box = bad.seal(b'(request 7 ("count" "%b"))' % name.encode(), bad.session)
            await bad.send(bad.frame(box[:-1] if change < 0 else box + b"\x00"))
            await bad.must_end("a box of wrong length did not end the connection")
        t.equal(await count_runs(t, served, name), 0, "how often a handler ran for such a request")


@at_server("profile.boxes", "open.key", security="secure")
async def other_key(t: Play) -> None:
    """After the hello only the session key opens: a box under another key, or under the user's, ends the connection."""
    async with attacked_server(t) as served:
        name = t.new_name()
        body = b'(request 7 ("count" "%b"))' % name.encode()
        for key in ("another", "user", "zero"):
            bad = await attack(t, served)
            await is_served(bad, "good so far")
            chosen = {"another": b"\x07" * 32, "user": bad.key(PASSPHRASE), "zero": bytes(32)}[key]
            await bad.send(bad.frame(bad.seal(body, chosen)))
            await bad.must_end(f"a box under the {key} key did not end the connection")
        t.equal(await count_runs(t, served, name), 0, "how often a handler ran for such a request")


@at_server("profile.boxes", "open.key", security="secure")
async def plain_after_hello(t: Play) -> None:
    """After a hello a request in the clear is not served: the connection ends."""
    async with attacked_server(t) as served:
        name = t.new_name()
        body = b'(request 7 ("count" "%b"))' % name.encode()
        bad = await attack(t, served)
        await is_served(bad, "good so far")
        await bad.send(bad.frame(body))
        await bad.must_end("a request in the clear did not end a secure connection")
        bad = await attack(t, served)
        await bad.send(bad.frame(body))  # right after the hello
        await bad.must_end("a request in the clear did not end a secure connection")
        t.equal(await count_runs(t, served, name), 0, "how often a handler ran for a request in the clear")


@at_server("profile.any-nonce", security="secure")
async def any_nonce(t: Play) -> None:
    """A receiver takes any nonce: random ones, zero, in any order."""
    async with attacked_server(t) as served:
        bad = await attack(t, served)
        source = random.Random(t.seed)
        for number, nonce in enumerate((source.randbytes(24), bytes(24), b"\xff" * 24, source.randbytes(24))):
            assert bad.session is not None
            await bad.send(bad.frame(bad.seal(b'(request %d ("echo" %d))' % (number, number), bad.session, nonce)))
            t.equal(
                list(await bad.answer_to(number)), ["response", number], f"the answer to a box with nonce {nonce.hex()}"
            )


@at_client("profile.boxes", "open.key", security="secure")
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

    await client_closes(t, [flipped(4), flipped(30), flipped(-1), other_key, user_key, plain], "a forged answer")
