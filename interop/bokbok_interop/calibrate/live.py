"""Live calibration: between two peers, in the place of a server, or as a client that asks.

What this module knows: sockets, and how to go on with a conversation whose format is only half understood. What it
refuses to know: how a format is found (`solve`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from bokbok.errors import BokbokError, RemoteProtocolError
from bokbok.keys import Key
from bokbok.wire import INFERRED_1, Closed, HelloReceived, Profile, ResponseReceived
from bokbok.wire.framings import Datums, IntegerLength, Lines, TextLength
from bokbok.wire.hello import TemplateHello
from bokbok.wire.nonces import Sent
from bokbok.wire.packets import PacketForm
from bokbok.wire.profile import DERIVATIONS, Derivation
from bokbok.wire.profile_file import canonical, plain
from bokbok.wire.template import Field, Template

from ..capture import CLIENT, SERVER, Capture
from ..relay import Relay
from ..streams import open_stream
from .answer import Secrets
from .recording import Recorded, from_capture
from .session import connection, serve_one
from .solve import solve

__all__ = ["candidates", "run_listen", "run_probe", "run_proxy"]

Say = Callable[[str], None]
_QUIET = 0.25
"""Seconds without a byte after which what has come is looked at."""


async def run_proxy(address: Any, upstream: Any, connections: int, say: Say) -> Capture:
    """Record so many connections between a client and a server."""
    relay = await Relay(address, upstream).start()
    say(f"listening at {relay.address}, passing on to {upstream}; {connections} connections are recorded")
    try:
        while len([link for link in relay.links if link.over.is_set()]) < connections:
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        say("ended early")
    finally:
        await relay.stop()
    return relay.capture


def _key(profile: Profile, secrets: Secrets) -> Key | None:
    if secrets.key is not None:
        return Key.from_bytes(secrets.key)
    if secrets.passphrase is None:
        return None
    return Key.from_bytes(profile.key_derivation(secrets.passphrase))


def _replayed(profile: Profile, secrets: Secrets, pieces: list[bytes], seed: int) -> bytes:
    """All that a server of this profile answers to what a client has sent so far. The same stream, the same answer."""
    draw = random.Random(seed).randbytes
    side = connection("server", profile=profile, secure=secrets.secure, draw=draw)
    service = serve_one(side)
    for piece in pieces:  # as they came: an answer of the client's comes after the question
        events = side.receive(piece)
        while events:
            event = events.pop(0)
            if isinstance(event, HelloReceived):
                events += side.authenticate(_key(profile, secrets))
            elif not isinstance(event, Closed):
                service.take(event)
    if side.state != "open":
        raise RemoteProtocolError("what the client sent is not this format, or not whole")
    return side.data_to_send()


async def run_listen(
    address: Any,
    secrets: Secrets,
    known: set[bytes],
    connections: int,
    say: Say,
    *,
    ready: Callable[[Any], None] | None = None,
) -> Capture:
    """Serve a real client in whatever format has been understood so far.

    Args:
        address: where to listen.
        secrets: what is known of the client.
        known: datums that may be expected.
        connections: how many to wait for.
        say: takes progress.
        ready: is told the address as bound.
    """
    capture = Capture(address[0])
    begin = time.monotonic()
    over = 0
    numbers = iter(range(1, 1 << 30))
    done = asyncio.Event()
    refused: set[str] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal over
        number = next(numbers)
        heard = b""
        pieces: list[bytes] = []
        sent = b""
        spoken: Profile | None = None
        say(f"connection {number}: a client is there")
        try:
            while True:
                try:
                    data = await asyncio.wait_for(reader.read(1 << 18), _QUIET if heard else None)
                except asyncio.TimeoutError:
                    data = None
                if data:
                    heard += data
                    pieces.append(data)
                    capture.add(time.monotonic() - begin, number, CLIENT, data)
                    if spoken is None:
                        continue
                elif data == b"":
                    capture.add(time.monotonic() - begin, number, CLIENT, None)
                    break
                answer, fits = b"", False
                if spoken is not None:
                    with contextlib.suppress(BokbokError):
                        answer, fits = _replayed(spoken, secrets, pieces, number), True
                if not fits or not answer.startswith(sent):
                    if data is not None:
                        continue  # in the middle of something: wait for quiet
                    found = await asyncio.to_thread(_understand, capture, secrets, known, refused)
                    if found is not None and found != spoken:
                        spoken = found
                        say(f"connection {number}: understood so far: {found.framing!r}, {found.messages!r}")
                        with contextlib.suppress(BokbokError):
                            answer = _replayed(spoken, secrets, pieces, number)
                fresh = answer[len(sent) :] if answer.startswith(sent) else answer
                if fresh and (answer.startswith(sent) or not sent):
                    writer.write(fresh)
                    await writer.drain()
                    capture.add(time.monotonic() - begin, number, SERVER, fresh)
                    sent += fresh
                elif data is None:
                    # Nothing more to say: wait for the client.
                    data = await reader.read(1 << 18)
                    if not data:
                        capture.add(time.monotonic() - begin, number, CLIENT, None)
                        break
                    heard += data
                    pieces.append(data)
                    capture.add(time.monotonic() - begin, number, CLIENT, data)
        except (ConnectionError, OSError):
            pass
        finally:
            writer.close()
            over += 1
            say(f"connection {number}: over, {len(heard)} bytes heard, {len(sent)} sent")
            if over >= connections:
                done.set()

    if address[0] == "unix":
        server: Any = await asyncio.start_unix_server(serve, address[1])
        bound = address
    else:
        server = await asyncio.start_server(serve, address[1], address[2])
        bound = ("tcp", address[1], server.sockets[0].getsockname()[1])
    say(f"listening at {bound}")
    if ready is not None:
        ready(bound)
    try:
        await done.wait()
    except asyncio.CancelledError:
        say("ended early")
    finally:
        server.close()
    return capture


def _understand(capture: Capture, secrets: Secrets, known: set[bytes], refused: set[str]) -> Profile | None:
    """The likeliest profile of what the clients have said. What this side answered proves nothing, and is left out."""
    recorded = [Recorded(one.conn, one.client, b"", set()) for one in from_capture(capture) if one.client]
    answer = solve(recorded, secrets, known)
    return answer.profiles[0] if answer.profiles else None


def candidates(secrets: Secrets) -> Iterator[Profile]:
    """Profiles in order of likelihood: the default, then what differs from it in one layer, then in two."""
    base = plain(INFERRED_1)
    assert isinstance(base.hello, TemplateHello)
    framings: list[Any] = [
        base.framing, IntegerLength("u16-be"), IntegerLength("u32-le"), TextLength(10, ending=b"\n"), TextLength(10, ending=b":", trailer=b","),  # noqa: E501
        Datums(b"\n"), IntegerLength("u64-be"), IntegerLength("u16-le"), IntegerLength("leb128"), IntegerLength("u32-be", own=True),  # noqa: E501
        TextLength(10, ending=b" "), TextLength(10, ending=b":"), TextLength(16, ending=b"\n"), Datums(b""), Lines(),
        IntegerLength("u8"), IntegerLength("u64-le"), IntegerLength("u16-be", own=True),
    ]  # fmt: skip
    shapes = [
        base.messages,
        replace(base.messages, first_id=1, server_first_id=1),  # type: ignore[type-var]
    ]
    derivations = [base.key_derivation] if secrets.key is not None or not secrets.secure else [
        Derivation(name) for name in [*list(DERIVATIONS)[:4], "sha256", "padded"]
    ]  # fmt: skip
    encodings = ["raw"] if not secrets.secure else ["raw", "blob", "base64", "hex", "u8vector", "string"]
    nonces = [base.nonces] if not secrets.secure else [base.nonces, Sent("behind", "behind"), Sent("front", "zero")]
    one = Template((Field("user", "u8"), Field("key")))
    listed = Template((b"(", Field("user", "string"), b" ", Field("key", "blob"), b")"))
    hellos = [base.hello] if not secrets.secure else [
        base.hello, TemplateHello((one,)), TemplateHello((listed,)),
        TemplateHello((Template((Field("user", "string"),)), Template((Field("key"),)))),
    ]  # fmt: skip
    ranked = []
    for i, framing in enumerate(framings):
        for j, messages in enumerate(shapes):
            for k, derivation in enumerate(derivations):
                for m, encoding in enumerate(encodings):
                    for n, scheme in enumerate(nonces):
                        for o, hello in enumerate(hellos):
                            cost = sum(index and 2 + index for index in (i, j, k, m, n, o))
                            text = isinstance(framing, (Datums, Lines))
                            if text and secrets.secure and encoding == "raw":
                                continue
                            ranked.append(
                                (cost, i, j, k, m, n, o, framing, messages, derivation, encoding, scheme, hello)
                            )
    ranked.sort(key=lambda item: item[:7])
    for *_, framing, messages, derivation, encoding, scheme, hello in ranked:
        packets = hello.packets
        if encoding != "raw":
            packets = tuple(
                Template(tuple(
                    Field("key", encoding) if isinstance(part, Field) and part.name == "key" and part.encoding == "raw" else  # noqa: E501
                    Field("user", "string") if isinstance(part, Field) and part.name == "user" and isinstance(framing, Datums) else part  # noqa: E501
                    for part in template.parts))
                for template in packets
            )  # fmt: skip
        yield canonical(
            Profile(
                "probed", framing=framing, messages=messages, key_derivation=derivation, nonces=scheme,
                packets=PacketForm(encoding), hello=TemplateHello(packets, hello.content),
            )
        )  # fmt: skip


async def _try(address: Any, profile: Profile, secrets: Secrets, capture: Capture, begin: float, number: int) -> str:
    """One connection, one request. Returns how far it got: `answered`, `closed`, `silent`, `nonsense`, `unreachable`."""  # noqa: E501
    try:
        reader, writer = await asyncio.wait_for(open_stream(address), 5)
    except (OSError, asyncio.TimeoutError):
        return "unreachable"
    try:
        credentials: dict[str, Any] = {}
        if secrets.user is not None:
            credentials = {"user": secrets.user.decode("utf-8", "surrogateescape"), "key": _key(profile, secrets)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            side = connection("client", profile=profile, **credentials)
        side.request(["ping", "12345"])
        data = side.data_to_send()
        capture.add(time.monotonic() - begin, number, CLIENT, data)
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        service = serve_one(side)
        asked = False
        while True:
            try:
                data = await asyncio.wait_for(reader.read(1 << 16), 0.6)
            except asyncio.TimeoutError:
                return "silent"
            except ConnectionError:
                return "closed"
            if not data:
                return "closed"
            capture.add(time.monotonic() - begin, number, SERVER, data)
            for event in side.receive(data):
                if isinstance(event, Closed):
                    return "nonsense"
                if isinstance(event, ResponseReceived) and not asked:
                    # A second question, and one that fails: so that errors are seen too.
                    asked = True
                    side.request(["fail", "marker of a failure"])
                elif not service.take(event) and asked:
                    return "answered"
            more = side.data_to_send()
            if more:
                capture.add(time.monotonic() - begin, number, CLIENT, more)
                writer.write(more)
    except BokbokError:
        return "nonsense"
    finally:
        writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1)


async def run_probe(address: Any, secrets: Secrets, pause: float, most: int, say: Say) -> Capture:
    """Speak to a server in one profile after another.

    Returns:
        The recording of the connection that was answered; an empty one if none was.
    """
    tried = 0
    poor: dict[Any, int] = {}
    for profile in candidates(secrets):
        if tried >= most:
            break
        # A framing under which the server only ever waited for more, or closed at once, is left after a few attempts.
        if poor.get(profile.framing, 0) >= 12:
            continue
        tried += 1
        capture = Capture(str(address[0]))
        how = await _try(address, profile, secrets, capture, time.monotonic(), 1)
        if how == "answered":
            say(f"after {tried} connections: an answer")
            return capture
        if how == "unreachable":
            say("the server cannot be reached")
            break
        poor[profile.framing] = poor.get(profile.framing, 0) + (2 if how == "silent" else 1)
        await asyncio.sleep(pause)
    say(f"{tried} connections, no answer")
    return Capture(str(address[0]))
