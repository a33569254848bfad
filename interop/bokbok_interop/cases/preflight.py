"""The preflight: whether one can talk to a peer at all, layer by layer, with the runner at the other end.

`check` plays it before the chapters, over each transport and in each mode. A fault in here would fail most of the later
cases, each at its first request. Here it fails the case that is about it, and the report names the layer.

The last of them are about what the runner itself relies on: cells share a puppet, and must not hold one another up.
They have puppets of their own, so that they do not hold up the others.
"""

from __future__ import annotations

from typing import Any

from bokbok.errors import BokbokError
from bokbok.wire.boxes import box_opener

from ..model import Failure, Late, by_clock
from ..play import PASSPHRASE, USER, Conn, NetworkFailed, Play, RemoteFailed, written
from ..raw import DOES_NOT_OPEN, BadServer, Raw, attack
from ..rendezvous import FEATURE
from .base import case

QUICK = 3.0
"""Seconds in which the packets of a hello come, one after the other."""
HANDLER = {"client": "open.request-handler", "server": "start.request-handler"}
"""The sentence about each side's request handler."""


@case("profile.key", opponent="server", security="secure")
async def key(t: Play) -> None:
    """The key of a passphrase is the one that the profile says."""
    answer = await t.client.command("key", PASSPHRASE)
    expected = t.profile.key_derivation(PASSPHRASE.encode())
    t.check(
        answer.values == [expected],
        "the key of a passphrase is another one",
        expected=f"(key {written(PASSPHRASE)}) = {written(expected)}",
        actual=written(*answer.values),
    )


@case(
    "profile.hello-user",
    "profile.hello-key",
    "profile.framing",
    opponent="server",
    security="secure",
    only=("hello", "nonces"),
)
async def client_hello(t: Play) -> None:
    """A client's hello is the username's packet and the packet of the boxed session key."""
    _, raw = await (await BadServer(t).start()).connected(hello=False)
    hello = t.profile.hello.server()
    key = raw.key(PASSPHRASE)
    packets = t.profile.hello.client(USER.encode(), bytes(32), lambda body: raw.seal(body, key))
    for number, wanted in enumerate(packets, 1):
        what = f"packet {number} of the client's hello"
        try:
            packet = await raw.hear_packet(min(QUICK, t.patience))
        except Failure:
            packet = None
        if packet is None:
            expected = f"{len(wanted)} bytes, framed: {raw.frame(wanted)[:8].hex(' ')} ..."
            came = t.capture.stream(raw.number, "client")
            actual = f"{len(came)} bytes in all: {came[:24].hex(' ')}"
            raise Failure(f"{what} did not come whole", expected=expected, actual=actual, sentence="profile.framing")
        sentence = "profile.hello-user" if number == 1 else "profile.hello-key"
        if len(packet) != len(wanted) or (wanted == USER.encode() != packet):
            name = f": {written(USER)}" if wanted == USER.encode() else ""
            actual = f"{len(packet)} bytes: {packet[:24].hex(' ')}"
            raise Failure(
                f"{what} is another one", expected=f"{len(wanted)} bytes{name}", actual=actual, sentence=sentence
            )
        try:
            hello.receive(packet)
        except BokbokError as error:
            raise Failure(f"{what} is not one", actual=str(error), sentence=sentence) from None
    try:
        hello.session_key(box_opener(key))
    except BokbokError as error:
        raise Failure(f"the session key in the client's hello {DOES_NOT_OPEN}", expected="a box under the user's key",
                      actual=str(error), sentence="profile.hello-key") from None  # fmt: skip


@case("profile.hello-key", "profile.hello-user", "profile.no-answer", opponent="client", security="secure")
async def server_hello(t: Play) -> None:
    """A server accepts a good hello, and does not answer it."""
    raw = await attack(t, await t.server.listen())
    number = await raw.ask(["echo", "behind the hello"])
    try:
        await raw.answer_to(number)
    except Failure as failure:
        if raw.ended_how:
            raise Failure(
                "the server refused a good hello", expected="the connection open", actual=raw.ended_how
            ) from failure
        if await _answers(raw, number):
            raise Failure(
                "the server answered the hello with a packet of its own",
                expected="the answer to the first request as the server's first packet",
                actual=failure.actual,
                sentence="profile.no-answer",
            ) from None
        if by_clock(failure):
            raise


async def _answers(raw: Raw, number: int) -> bool:
    """Whether the next packet answers a request of the runner."""
    try:
        await raw.answer_to(number, QUICK)
    except Failure:
        return False
    return True


async def _as_client(t: Play) -> tuple[Conn, Raw]:
    return await (await BadServer(t).start()).connected()


async def _as_server(t: Play) -> tuple[Conn, Raw]:
    served = await t.server.listen()
    raw = await attack(t, served)
    return await served.opened(), raw


async def _requests(t: Play, conn: Conn, raw: Raw) -> None:
    role = conn.side.role
    asking = t.spawn(conn.request(["echo", "one"]))
    found = await raw.hear()
    t.check(
        found == ("request", 0, ["echo", "one"]),
        f"the {role}'s first request is another message",
        expected='(request 0 ("echo" "one"))',
        actual=f"({found[0]} {found[1]} {written(found[2])})",
        sentence="profile.ids" if (found[0], found[2]) == ("request", ["echo", "one"]) else "profile.messages",
    )
    await raw.say(b'(response 0 "one")')
    t.equal(await _answer(t, asking, role), "one", f"the answer that the {role} got")
    kind, value = await _served(raw, ["echo", "two"], "request", HANDLER[role])
    t.check(
        kind == "response",
        f"the {role} answered a good request with an error",
        expected='(response 0 "two")',
        actual=f"({kind} 0 {written(value)})",
        sentence=HANDLER[role],
    )
    t.equal(value, "two", f"the answer that the {role} gave")


async def _errors(t: Play, conn: Conn, raw: Raw) -> None:
    role = conn.side.role
    asking = t.spawn(conn.request(["fail", "one"]))
    await raw.hear()
    await raw.say(b'(error 0 "one")')
    await t.fails(
        _answer(t, asking, role), RemoteFailed, why=f"an error that answers the {role}'s request is not one to it"
    )
    kind, message = await _served(raw, ["fail", "two"], "failed request", "open.request-handler-errors")
    t.check(
        kind == "error",
        f"the {role} did not answer a failed request with an error",
        expected='(error 0 "message")',
        actual=f"({kind} 0 {written(message)})",
        sentence="profile.messages",
    )


async def _served(raw: Raw, datum: Any, what: str, sentence: str) -> tuple[str, Any]:
    """The peer's answer to a request of the runner. If there is none, the failure names the sentence that was
    broken."""
    number = await raw.ask(datum)
    try:
        return await raw.answer_to(number)
    except Failure as failure:
        if raw.ended_how:
            problem, actual = f"the {raw.other} ended the connection instead of answering a {what}", raw.ended_how
        elif by_clock(failure):
            problem, actual = f"the {raw.other} did not answer a {what}", failure.actual
        else:
            raise
        raise Late(problem, expected="an answer", actual=actual, sentence=sentence) from None


async def _answer(t: Play, asking: object, role: str) -> object:
    try:
        return await t.within(t.patience, asking, f"the {role}'s request that was answered")  # type: ignore[arg-type]
    except NetworkFailed as failed:
        problem = f"the {role} did not take a good answer, and ended the connection"
        raise Failure(problem, expected="an answer", actual=str(failed.actual), sentence="profile.messages") from None


@case("request.message", "profile.messages", "profile.framing", opponent="server")
async def client_request(t: Play) -> None:
    """One request each way over a client's connection."""
    await _requests(t, *await _as_client(t))


@case("request.message", "profile.messages", "profile.framing", opponent="client")
async def server_request(t: Play) -> None:
    """One request each way over a server's connection."""
    await _requests(t, *await _as_server(t))


@case("request.errors", "open.request-handler-errors", "profile.messages", opponent="server")
async def client_error(t: Play) -> None:
    """One error each way over a client's connection."""
    await _errors(t, *await _as_client(t))


@case("request.errors", "profile.messages", opponent="client")
async def server_error(t: Play) -> None:
    """One error each way over a server's connection."""
    await _errors(t, *await _as_server(t))


async def _beside_another(t: Play, one: Raw, two: Raw) -> None:
    here = t.rendezvous()
    number = await one.ask(here.request)
    try:
        await here.arrived(1)
        await two.answer_to(await two.ask(["echo", "beside a handler that waits"]))
        await here.release()
        await one.answer_to(number)
    except Failure as failure:
        if not by_clock(failure):
            raise
        problem = f"a handler of the {one.other} that waits holds up its other connections"
        expected, actual = "both connections served", failure.actual or "one is not"
        raise Late(problem, expected=expected, actual=actual, sentence="about.threads") from failure


@case("about.threads", opponent="server", needs=(FEATURE,), fresh=("client",), transport="tcp", security="insecure")
async def client_handlers(t: Play) -> None:
    """A handler of a client that waits does not hold up its other connections."""
    server = await BadServer(t).start()
    (_, one), (_, two) = await server.connected(), await server.connected()
    await _beside_another(t, one, two)


@case("about.threads", opponent="client", needs=(FEATURE,), fresh=("server",), transport="tcp", security="insecure")
async def server_handlers(t: Play) -> None:
    """A handler of a server that waits does not hold up its other connections."""
    served = await t.server.listen()
    await _beside_another(t, await attack(t, served), await attack(t, served))
