"""A crowd of hostile clients, of some forty kinds, with which `soak.py` attacks a server.

    python bench/crowd.py HOST PORT --connections 1000 --seconds 60

Each kind is a coroutine over one connection. A hostile client takes one kind after another, each on a connection of its
own, until the time is over. Half of the kinds know a key: that of the user `crowd`. Only the effect on the server is of
interest, and not what happens to a hostile client, so an error of a connection just ends that connection.

Messages are made and sealed once for each kind, and sent over all its connections, which have the same session key.
Only the hello's box is new each time. Otherwise this work would take most of the crowd's processor time, which is short
at nice 19.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import resource
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from nacl.secret import SecretBox

from bokbok.wire import passphrase_to_key
from tests.support.peers import framed, hello

USER, PASSPHRASE = "crowd", "the crowd's passphrase"
KEY = passphrase_to_key(PASSPHRASE)
SESSION = bytes(range(32))
PATIENCE = 20.0
"""Seconds after which a hostile client gives up a connection."""
GRACE = 30.0
"""Seconds after its time is over within which the crowd ends, whatever it is doing."""
STREAM_BUFFER = 1 << 16
OUTSIDE = "did not get in"
"""The name under which connections that were not accepted are counted."""


class Bad:
    """One hostile connection.

    Attributes:
        scale: how many bytes long things have.
        reader, writer: the connection's streams.
    """

    _said: ClassVar[dict[object, bytes]] = {}
    """What was sealed already, by its kind."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scale: int, rng: random.Random):
        self.reader, self.writer, self.scale, self.rng = reader, writer, scale, rng
        self.session = SESSION

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def packet(self, body: bytes) -> bytes:
        return framed(bytes(SecretBox(self.session).encrypt(body)))

    def opening(self, user: str = USER) -> bytes:
        return hello(user, KEY, self.session)

    async def say(self, make: Callable[[Bad], Iterable[bytes]]) -> None:
        """A hello, and the messages of `make`, which is called once for all connections."""
        said = self._said.get(make.__code__)
        if said is None:
            said = self._said[make.__code__] = b"".join(map(self.packet, make(self)))
        await self.send(self.opening() + said)

    async def until_the_end(self) -> None:
        while await self.reader.read(STREAM_BUFFER):
            pass

    async def linger(self, seconds: float = PATIENCE) -> None:
        """Say nothing, and read nothing."""
        await asyncio.sleep(seconds)

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER of zero seconds
        self.writer.transport.abort()


Kind = Callable[[Bad], Awaitable[None]]
KINDS: dict[str, Kind] = {}


def kind(function: Kind) -> Kind:
    KINDS[function.__name__.replace("_", " ")] = function
    return function


def _said(name: str, make: Callable[[Bad], list[bytes]]) -> None:
    """A kind that sends a hello and messages, and reads until the end."""

    async def run(bad: Bad) -> None:
        await bad.say(make)
        await bad.until_the_end()

    KINDS[name] = run


def _sent(name: str, make: Callable[[Bad], bytes]) -> None:
    """A kind that sends bytes as they are, and reads until the end."""

    async def run(bad: Bad) -> None:
        await bad.send(make(bad))
        await bad.until_the_end()

    KINDS[name] = run


# Strangers, who know no key.

_sent("a length over the limit", lambda bad: b"\xff\xff\xff\xff" + bytes(100))
_sent("a length of zero", lambda bad: bytes(4) + bytes(4))
_sent("random bytes", lambda bad: bad.rng.randbytes(1000))
_sent("a request of HTTP", lambda bad: b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
_sent("a hello of TLS", lambda bad: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bad.rng.randbytes(500))
_sent("an unknown user", lambda bad: hello("nobody", KEY, bad.session))
_sent("a name of escape codes", lambda bad: hello(b"\x1b[31m\n\r\0" * 30, KEY, bad.session))
_sent("a wrong key", lambda bad: hello(USER, passphrase_to_key("wrong"), bad.session))
_sent("a box that is too short", lambda bad: framed(USER.encode()) + framed(bytes(39)))
_sent("a name that is too long", lambda bad: framed(bytes(256)) + framed(bytes(72)))
_sent("an insecure request", lambda bad: framed(b'(request 0 ("ping" "x"))'))


@kind
async def says_nothing(bad: Bad) -> None:
    await bad.linger()


@kind
async def closes_at_once(bad: Bad) -> None:
    pass


@kind
async def resets_at_once(bad: Bad) -> None:
    bad.reset()


@kind
async def says_its_name_alone(bad: Bad) -> None:
    await bad.send(framed(USER.encode()))
    await bad.linger()


@kind
async def drips_its_hello(bad: Bad) -> None:
    for byte in bad.opening():
        await bad.send(bytes((byte,)))
        await asyncio.sleep(0.05)


@kind
async def half_closes_at_once(bad: Bad) -> None:
    bad.writer.write_eof()
    await bad.until_the_end()


@kind
async def half_closes_within_a_hello(bad: Bad) -> None:
    await bad.send(bad.opening()[:40])
    bad.writer.write_eof()
    await bad.until_the_end()


@kind
async def replays_a_hello(bad: Bad) -> None:
    bad.session = bytes(32)  # the same on every connection
    await bad.send(framed(USER.encode()) + framed(bytes(SecretBox(KEY.to_bytes()).encrypt(bytes(32), bytes(24)))))
    await bad.until_the_end()


# Those who know a key.

_said("nonsense", lambda bad: [b"nonsense"])
_said("an unknown tag", lambda bad: [b"(please 0 1)"])
_said("two datums", lambda bad: [b"(request 0 1) (request 1 1)"])
_said("an answer that nobody asked for", lambda bad: [b"(response 7 1)"])
_said("an ID twice", lambda bad: [b'(request 0 ("ping" "x"))'] * 2)
_said("lists in tails", lambda bad: [b"(request 0 " + b"(a . " * 9000 + b"(" + b"b " * bad.scale + b")" * 9002])
_said("quotes", lambda bad: [b"(request 0 (" + b"''''a" * (bad.scale // 5) + b"))"])
_said("empty lists cut short", lambda bad: [b"(request 0 (" + b"()" * (bad.scale // 2) + b")"])
_said("nesting without end", lambda bad: [b"(request 0 " + b"(" * bad.scale + b")"])
_said("a number of many digits", lambda bad: [b"(request 0 " + b"1" * bad.scale + b")"])
_said("a huge exponent", lambda bad: [b"(request 0 #e1e999999999)"])
_said("unreadable requests", lambda bad: [b"(request %d #<x>)" % n for n in range(2000)])
_said("handlers that fail", lambda bad: [b'(request %d ("fail" "x"))' % n for n in range(500)])
_said("unknown requests", lambda bad: [b"(request %d (what is this))" % n for n in range(500)])
_said("a close within a handler", lambda bad: [b'(request 0 ("close"))'])


@kind
async def symbols_without_end(bad: Bad) -> None:
    # Others each time: a table of them would grow.
    symbols = b" ".join(b"s%d" % bad.rng.getrandbits(60) for _ in range(bad.scale // 20))
    await bad.send(bad.opening() + bad.packet(b"(request 0 (" + symbols + b"))"))
    await bad.until_the_end()


@kind
async def handlers_that_sleep(bad: Bad) -> None:
    await bad.say(lambda bad: (b'(request %d ("sleep" 5000 0))' % n for n in range(2000)))
    await bad.linger()


@kind
async def requests_that_wait_beyond_the_limit(bad: Bad) -> None:
    await bad.say(lambda bad: (b'(request %d ("sleep" 3000 "%b"))' % (n, b"x" * 200) for n in range(6000)))
    await bad.until_the_end()


@kind
async def answers_that_are_not_read(bad: Bad) -> None:
    await bad.say(lambda bad: (b'(request %d ("echo" "%b"))' % (n, b"x" * (bad.scale // 4)) for n in range(8)))
    await bad.linger()


@kind
async def a_packet_without_its_end(bad: Bad) -> None:
    await bad.send(bad.opening() + struct.pack(">I", (1 << 24) - 1) + bytes(bad.scale))
    await bad.linger()


@kind
async def a_slow_packet(bad: Bad) -> None:
    await bad.send(bad.opening())
    for byte in bad.packet(b'(request 0 ("ping" "slow"))'):
        await bad.send(bytes((byte,)))
        await asyncio.sleep(0.1)
    await bad.until_the_end()


@kind
async def a_changed_bit(bad: Bad) -> None:
    packet = bytearray(bad.packet(b'(request 0 ("ping" "x"))'))
    packet[bad.rng.randrange(4, len(packet))] ^= 1 << bad.rng.randrange(8)
    await bad.send(bad.opening() + bytes(packet))
    await bad.until_the_end()


@kind
async def its_answer_sent_back(bad: Bad) -> None:
    await bad.say(lambda bad: [b'(request 0 ("ping" "x"))'])
    await bad.send(await bad.reader.read(1000))
    await bad.until_the_end()


@kind
async def callbacks_that_are_not_answered(bad: Bad) -> None:
    await bad.say(lambda bad: (b'(request %d ("callback" 1 1))' % n for n in range(200)))
    await bad.linger()


@kind
async def half_closes_behind_a_request(bad: Bad) -> None:
    await bad.say(lambda bad: [b'(request 0 ("sleep" 100 1))'])
    bad.writer.write_eof()
    await bad.until_the_end()


@kind
async def resets_behind_a_request(bad: Bad) -> None:
    await bad.say(lambda bad: (b'(request %d ("echo" "%b"))' % (n, b"x" * 5000) for n in range(20)))
    bad.reset()


@kind
async def reads_slowly(bad: Bad) -> None:
    await bad.say(lambda bad: (b'(request %d ("echo" "%b"))' % (n, b"x" * (bad.scale // 8)) for n in range(8)))
    while await bad.reader.read(500):
        await asyncio.sleep(0.05)


async def _client(
    host: str, port: int, until: float, scale: int, rng: random.Random, done: collections.Counter[str]
) -> None:
    names = list(KINDS)
    rng.shuffle(names)
    at = 0
    while time.monotonic() < until:
        name = names[at % len(names)]
        at += 1
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, limit=STREAM_BUFFER), PATIENCE)
        except (OSError, TimeoutError, asyncio.TimeoutError):
            done[OUTSIDE] += 1
            await asyncio.sleep(rng.random())
            continue
        bad = Bad(reader, writer, scale, rng)
        left = max(0.1, min(PATIENCE, until - time.monotonic()))
        with contextlib.suppress(OSError, TimeoutError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            await asyncio.wait_for(KINDS[name](bad), left)
        done[name] += 1
        writer.transport.abort()


async def crowd(
    host: str, port: int, connections: int, seconds: float, scale: int, seed: int, done: collections.Counter[str]
) -> None:
    """Run so many hostile clients for so long. `done` counts how often each kind was played."""
    print("ready", flush=True)
    until = time.monotonic() + seconds
    clients = [
        _client(host, port, until, scale, random.Random(seed * 1_000_003 + number), done)
        for number in range(connections)
    ]
    await asyncio.gather(*clients)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=1000, help="at once")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--scale", type=int, default=1 << 20, help="how many bytes long things have")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.nice(19 - os.nice(0))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    done: collections.Counter[str] = collections.Counter()

    def end() -> None:
        print(json.dumps({"done": dict(done), "kinds": len(KINDS), "processor": time.process_time()}), flush=True)
        os._exit(0)

    # By a thread, since the event loop may have seconds of work before it sees that the time is over.
    timer = threading.Timer(arguments.seconds + GRACE, end)
    timer.daemon = True
    timer.start()
    asyncio.run(
        crowd(
            arguments.host, arguments.port, arguments.connections, arguments.seconds, arguments.scale, arguments.seed,
            done,
        )
    )  # fmt: skip
    end()


if __name__ == "__main__":
    main()
