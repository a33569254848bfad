"""Keys: who may connect, who may not, and what an eavesdropper sees.

What this module knows: the sentences about users, keys and encryption. The hostile chapter has tampering and replays.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import statistics
import time

from bokbok.wire import DEFAULT_LIMITS
from bokbok.wire.hello import MAX_USERNAME

from ..dump import not_random
from ..model import Failure, Late
from ..play import (
    PASSPHRASE,
    PATIENCE,
    USER,
    Conn,
    Invalid,
    NetworkFailed,
    Play,
    Refused,
    Served,
    Unsupported,
    show,
    written,
)
from ..raw import attack
from .base import cases

case = cases(security="secure")

BOB, BOBS = "bob", "tr0ub4dor & 3"


async def _refused(t: Play, served: Served, user: str | None, passphrase: str | None, why: str) -> None:
    """Check that a client that connects like this, and asks, gets a network error, and that no handler runs for it.

    A client may also refuse what the profile cannot express, such as a NUL in a name that ends at a NUL.
    """
    await t.server.settle()  # the event of an earlier connection may be on its way
    before = len(served.connections)
    number = len(t.relay.links) + 1
    conn: Conn | None = None
    try:
        conn = await t.connect(served, user, passphrase)
        first = t.spawn(conn.request(["echo", "let me in"]))
        ended = t.spawn(_end_of(t, number))
        try:
            await asyncio.wait({first, ended}, return_when=asyncio.FIRST_COMPLETED)
            failing = t.within(PATIENCE, first, "the failure of a request whose connection has ended", "request.errors")
            await t.fails(failing, NetworkFailed, why=why)
        finally:
            first.cancel()
    except (NetworkFailed, Invalid):
        pass  # connecting has failed already, which is as good
    await t.server.settle()
    t.check(
        len(served.connections) == before,
        f"the open handler ran for a connection that must fail ({why})",
        expected="no open handler",
        actual="an `opened` event",
    )


async def _end_of(t: Play, number: int) -> None:
    """Wait until the connection of that number through the relay is over on both sides."""
    await (await t.relay.link(number)).over.wait()


async def _welcome(t: Play, served: Served, user: str, passphrase: str) -> Conn:
    conn = await t.connect(served, user, passphrase)
    t.equal(await conn.request(["whoami"]), user, "the user as the server's handler sees it")
    return conn


@case("open.key", "start.user-key", "about.encryption")
async def right_key(t: Play) -> None:
    """A client with the right key is served."""
    mine, theirs = await t.pair()
    await mine.echo("with the right key")
    await theirs.echo("and the other way round")


async def _user_is(t: Play, user: object) -> None:
    mine, theirs = await t.pair()
    t.equal((await mine.info())[0], user, "connection-user of the client's connection")
    t.equal((await theirs.info())[0], user, "connection-user of the server's connection")
    t.equal(theirs.user, user, "connection-user in the open handler")
    t.equal(await mine.request(["whoami"]), user, "connection-user in the server's request handler")
    t.equal(await theirs.request(["whoami"]), user, "connection-user in the client's request handler")


@case("connection-user")
async def user_on_both_sides(t: Play) -> None:
    """connection-user is the username, on the client and on the server."""
    await _user_is(t, USER)


@case("connection-user", "open.insecure", security="insecure")
async def insecure_has_no_user(t: Play) -> None:
    """connection-user is #f on an insecure connection, on both sides."""
    await _user_is(t, False)


@case("start.insecure", "open.insecure", security="insecure")
async def insecure_server(t: Play) -> None:
    """With #f for user->key a server accepts clients that have neither user nor key."""
    mine, _ = await t.pair()
    await mine.echo("in the clear")


@case("open.wrong-key", "open.key", "profile.wrong-key", subject="server")
async def wrong_key(t: Play) -> None:
    """With the wrong key the connection fails, and no handler of the server runs."""
    served = await t.serve()
    await _refused(t, served, USER, "not " + PASSPHRASE, "a client with the wrong key was served")


@case("open.key", "key.passphrase")
async def almost_right_key(t: Play) -> None:
    """A passphrase that differs in its last character, in upper or lower case, or by a blank is wrong."""
    served = await t.serve()
    for wrong in (PASSPHRASE[:-1] + "f", PASSPHRASE.title(), PASSPHRASE + " ", PASSPHRASE + "\n", ""):
        await _refused(t, served, USER, wrong, f"a client with the passphrase {written(wrong)} was served")


@case("start.user-key-refuses", "start.user-key", subject="server")
async def unknown_user(t: Play) -> None:
    """A user for whom user->key returns #f cannot connect, whatever the key."""
    served = await t.serve()
    await _refused(t, served, "mallory", PASSPHRASE, "an unknown user was served")


@case("start.user-key-refuses", "readme.user-key", subject="server")
async def denied_user(t: Play) -> None:
    """A user who is known but not allowed cannot connect."""
    served = await t.serve(users={USER: PASSPHRASE, "carol": None})
    for passphrase in (PASSPHRASE, "", "#f", "carol"):
        with t.trying(passphrase):
            await _refused(t, served, "carol", passphrase, "a user who may not connect was served")


@case("start.user-key", "start.user-key-refuses", subject="server", timeout=15)
async def nobody_may(t: Play) -> None:
    """A server whose user->key knows nobody is still secure: nobody gets in, with or without a key."""
    served = await t.serve(users={})
    await _refused(t, served, USER, PASSPHRASE, "a client was served by a server without users")
    conn = await _try(t.connect(served, None, None))
    if conn is not None:
        # The second one is certainly not a session key, so no time limit has to run out.
        requests = [t.spawn(conn.request(["echo", "let me in"], timeout=20)) for _ in range(2)]
        for request in requests:
            await t.fails(request, NetworkFailed, why="an insecure client was served by a server without users")
    await t.server.settle()
    t.check(not served.connections, "the open handler ran at a server without users")


@case("start.user-key-value", subject="server")
async def user_names_are_exact(t: Play) -> None:
    """user->key gets the username as the client gave it: case is kept, and nothing is trimmed."""
    served = await t.serve()
    behind = ("\0", " ", "\t", "\n", "\r\n", ":x", "@x", "/x", ",x", ";x", "%00", "\0x")
    for wrong in (USER.upper(), " " + USER, "\n" + USER, "/" + USER, USER[:-1], *(USER + more for more in behind)):
        await _refused(t, served, wrong, PASSPHRASE, f"the user {written(wrong)} was served")


@case("start.user-key-value", subject="server")
async def other_users_key(t: Play) -> None:
    """The key must be that of the user, not of another one that the server knows."""
    served = await t.serve(users={USER: PASSPHRASE, BOB: BOBS})
    await _refused(t, served, USER, BOBS, "a client with another user's key was served")
    await _refused(t, served, BOB, PASSPHRASE, "a client with another user's key was served")


@case("start.user-key-value", "connection-user", subject="server")
async def two_users(t: Play) -> None:
    """Two users with keys of their own are served side by side, each under its own name."""
    served = await t.serve(users={USER: PASSPHRASE, BOB: BOBS})
    alice = await _welcome(t, served, USER, PASSPHRASE)
    bob = await _welcome(t, served, BOB, BOBS)
    t.equal([(await served.opened()).user, (await served.opened()).user], [USER, BOB], "the users as they opened")
    t.equal(await alice.request(["whoami"]), USER, "the first user, once more")
    t.equal(await bob.request(["whoami"]), BOB, "the second user, once more")


@case("start.user-key-value", subject="server")
async def same_key_two_users(t: Play) -> None:
    """Two users with the same passphrase are still two users."""
    served = await t.serve(users={USER: PASSPHRASE, BOB: PASSPHRASE})
    await _welcome(t, served, USER, PASSPHRASE)
    await _welcome(t, served, BOB, PASSPHRASE)


@case("open.wrong-key", subject="server")
async def goes_on_after_refusals(t: Play) -> None:
    """A server that refused clients goes on serving the others, old and new."""
    served = await t.serve()
    old = await t.connect(served)
    for wrong in map(str, range(12)):
        with_wrong = await _try(t.connect(served, USER, wrong))
        if with_wrong is not None:
            await t.fails(with_wrong.request(["echo", 1]), NetworkFailed, why="a client with the wrong key was served")
    await old.echo("still here")
    await (await t.connect(served)).echo("and new")
    await t.have_opened(served, 2, "the open handler ran for refused connections")


async def _try(connecting: object) -> Conn | None:
    try:
        return await connecting  # type: ignore[misc, no-any-return]
    except NetworkFailed:
        return None


@case("open.close-handler", "profile.close-handler", "profile.client-open", subject="client")
async def refused_hello_closes_client(t: Play) -> None:
    """A client whose hello is refused learns that the connection was closed: its close handler runs, once."""
    served = await t.serve()
    try:
        conn = await t.connect(served, USER, "wrong")
    except NetworkFailed:
        return  # it learnt of it earlier, so there is no connection object
    await conn.closed()
    await t.client.settle()
    t.check(conn.closings == 1, "the close handler ran more than once", expected="1", actual=str(conn.closings))


@case("start.user-key", "profile.wrong-mode", subject="server", timeout=15)
async def insecure_client_at_secure_server(t: Play) -> None:
    """A client without user and key gets nothing from a server that requires them."""
    served = await t.serve()
    before = await _count(t, served)
    conn = await _try(t.connect(served, None, None))
    if conn is not None:
        # Two requests: the second one is certainly not a session key, so no time limit has to run out.
        requests = [t.spawn(conn.request(["count", "stolen"], timeout=20)) for _ in range(2)]
        try:
            for request in requests:
                await t.fails(request, NetworkFailed, why="an insecure client was served by a secure server")
        finally:
            for request in requests:
                request.cancel()
    t.equal(await _count(t, served), before + 1, "how often a handler ran for a client that had no key")


async def _count(t: Play, served: Served) -> int:
    conn = await t.connect(served)
    value = await conn.request(["count", "stolen"])
    if not isinstance(value, int):
        raise Failure("a counter that is not a number", expected="a fixnum", actual=show(value))
    return value


@case("start.insecure", "profile.wrong-mode", security="insecure", timeout=15)
async def secure_client_at_insecure_server(t: Play) -> None:
    """A client with user and key fails at an insecure server; nothing is answered in the clear."""
    served = await t.serve()
    conn = await _try(t.connect(served, USER, PASSPHRASE))
    if conn is None:
        return
    await t.fails(
        conn.request(["echo", "secret"], timeout=20),
        NetworkFailed,
        why="a secure client was served by an insecure server",
    )


@case("about.encryption", "open.key", "readme.session-key")
async def nothing_readable(t: Play) -> None:
    """Nothing of a request, an answer or an error can be read on the wire."""
    mine, theirs = await t.pair()
    marker = "MARKER-that-must-not-be-seen-" * 3
    await mine.echo(marker)
    await theirs.echo([marker])
    with contextlib.suppress(Refused):
        await mine.request(["fail", marker])
    for source in ("client", "server"):
        stream = t.capture.stream(1, source)
        t.check(len(stream) > 100, f"the relay saw no conversation from the {source}")
        for secret in (b"MARKER", PASSPHRASE.encode(), hashlib.sha512(PASSPHRASE.encode()).digest()[:32]):
            t.check(
                secret not in stream and secret.hex().encode() not in stream,
                f"the bytes that the {source} sent show what must be secret",
                expected="nothing readable",
                actual="a marker or a key, in the clear",
            )


@case("open.insecure", security="insecure", only=("packets",))
async def clear_when_insecure(t: Play) -> None:
    """An insecure connection is not encrypted: what is said can be read on the wire."""
    mine, _ = await t.pair()
    await mine.echo("MARKER-that-can-be-seen")
    for source in ("client", "server"):
        t.check(
            b"MARKER-that-can-be-seen" in t.capture.stream(1, source),
            f"the {source}'s bytes on an insecure connection do not show what was said",
        )


@case("readme.session-key", subject="client", only=("hello", "nonces", "packets"))
async def fresh_session_keys(t: Play) -> None:
    """Each connection has its own session key: the same conversation twice has no encrypted bytes in common."""
    served = await t.serve()
    for _ in range(2):
        conn = await t.connect(served)
        await conn.echo("the same words each time, long enough to compare")
        await conn.close()
    keys = [t.conversation(number).session for number in (1, 2)]
    t.check(keys[0] is None or keys[0] != keys[1], "two connections have the same session key")
    for source in ("client", "server"):
        one, two = (t.capture.stream(number, source) for number in (1, 2))
        windows = {one[i : i + 24] for i in range(len(one) - 24)}
        shared = [two[i : i + 24] for i in range(len(two) - 24) if two[i : i + 24] in windows]
        t.check(
            not shared,
            f"two connections share encrypted bytes, from the {source}",
            expected="no 24 bytes in common",
            actual=f"{len(shared)} windows in common, one is {shared[0].hex() if shared else ''}",
        )


@case("readme.session-key", subject="client", timeout=20, only=("hello", "nonces", "packets"))
async def random_after_restart(t: Play) -> None:
    """A program that is started again draws different random bytes: its random source is seeded."""
    served = await t.serve()
    for _ in range(2):
        # Only the first connection of a program would repeat itself, so a new program makes it.
        side = await t.another("client")
        conn = await side.connect(served.address)
        await conn.echo("the same words each time, long enough to compare")
    keys = [t.conversation(number).session for number in (1, 2)]
    t.check(keys[0] is None or keys[0] != keys[1], "two starts of the program chose the same session key")
    one, two = (t.capture.stream(number, "client") for number in (1, 2))
    windows = {one[i : i + 16] for i in range(len(one) - 16)}
    shared = [two[i : i + 16] for i in range(len(two) - 16) if two[i : i + 16] in windows]
    t.check(
        not shared,
        "two starts of the program sent the same encrypted bytes",
        expected="no 16 bytes in common",
        actual=f"{len(shared)} windows in common, one is {shared[0].hex() if shared else ''}",
    )


@case("key.passphrase", "profile.passphrase", only=("key_derivation",))
async def any_passphrase(t: Play) -> None:
    """Any string can be a passphrase: empty, long, with blanks, with control characters, with any bytes."""
    phrases = {
        "empty": "",
        "long": "x" * 1_000,
        "blanks": "  two  blanks  ",
        "controls": "a\tb\nc\x00d\x7f",
        "unicode": "Grüße, 日本語, \U0001f600",
        "bytes": "\udcff\udcfe\udc80",
        "quotes": 'say "\\"',
        "decomposed": "Zoe\u0308",
    }
    served = await t.serve(users=phrases)
    for user, phrase in phrases.items():
        with t.trying(phrase):
            await _welcome(t, served, user, phrase)
    await _refused(t, served, "long", "x" * 999, "a client with a passphrase one character shorter was served")


@case("profile.passphrase", "open.key", subject="server", only=("key_derivation",))
async def last_byte_of_a_long_passphrase(t: Play) -> None:
    """In a passphrase of thousands of bytes the last byte counts, and so does what follows a NUL."""
    phrases = {"long": "x" * 5_000 + "a", "nul": "before\0a"}
    served = await t.serve(users=phrases)
    for user, phrase in phrases.items():
        wrong = phrase[:-1] + "b"
        await _refused(
            t, served, user, wrong, f"a client whose passphrase differs in its last byte was served ({user})"
        )
        with t.trying(
            where="with a NUL in the passphrase" if user == "nul" else "with a passphrase of thousands of bytes"
        ):
            await _welcome(t, served, user, phrase)


@case("profile.hello-user", "start.user-key-value", only=("hello", "counted"))
async def any_user_name(t: Play) -> None:
    """Any string of up to 255 bytes can be a username; user->key and connection-user get it unchanged."""
    names = [
        "",
        "a",
        "two words",
        "line\nfeed",
        "nul\0inside",
        "\x1b[31mred\x1b[0m",
        "Zoë",
        "日本語",
        "\udcff\udcfe",
        'quo"te\\',
        "\r\n at both ends \t\n",
        "user:group@host/path?%41&amp;${HOME}",
        '(request 0 ("echo" 1))',
        "x" * MAX_USERNAME,
        # Each byte stands somewhere in one of these.
        *(bytes(half).decode(errors="surrogateescape") for half in (range(128), range(128, 256))),
    ]
    served = await t.serve(users={name: f"passphrase of {number}" for number, name in enumerate(names)})
    for number, name in enumerate(names):
        with t.trying(name):
            conn = await _welcome(t, served, name, f"passphrase of {number}")
            opened = await served.opened()
            t.equal(opened.user, name, "the user in the open handler")
            t.equal((await opened.info())[0], name, "connection-user on the server")
            t.equal((await conn.info())[0], name, "connection-user on the client")


@case("profile.hello-user", subject="client", only=("hello",))
async def user_name_too_long(t: Play) -> None:
    """A username that is a byte longer than the longest cannot be sent: the client refuses it."""
    too_long = "x" * (MAX_USERNAME + 1)
    served = await t.serve(users={USER: PASSPHRASE, too_long: "p"})
    await t.fails(
        t.connect(served, too_long, "p"), Invalid, NetworkFailed, why="a username that is too long was not refused"
    )
    await (await t.connect(served)).echo("and a good one goes on")


@case("profile.key", "key.passphrase")
async def key_derivation(t: Play) -> None:
    """A key is the first 32 bytes of SHA-512 of the passphrase's bytes."""
    tried = 0
    for side in (t.client, t.server):
        for phrase in ("mypassphrase", "", "Zoë", "\udcff", "x" * 300):
            try:
                answer = await side.command("key", phrase)
            except Unsupported:
                break
            tried += 1
            expected = t.profile.key_derivation(phrase.encode("utf-8", "surrogateescape"))
            t.equal(answer.values, [expected], f"the {side.role}'s key of the passphrase {written(phrase)}")
    if not tried:
        raise Unsupported("both peers keep their keys to themselves (`key` is unsupported)")


@case(
    "profile.hello-user", "profile.hello-key", "profile.framing", subject="client", only=("hello", "nonces", "framing")
)
async def hello_bytes(t: Play) -> None:
    """A hello is a packet with the username and a packet with the boxed session key, byte for byte."""
    mine, _ = await t.pair()
    await mine.echo("after the hello")
    stream = t.capture.stream(1, "client")
    head = len(USER).to_bytes(4, "big") + USER.encode() + (72).to_bytes(4, "big")
    t.check(
        stream.startswith(head),
        "the client's first bytes are not a hello",
        expected=head.hex(),
        actual=stream[: len(head)].hex(),
    )
    conversation = t.conversation()
    t.check(conversation.user == USER, "the hello does not open", expected="a session key", actual=conversation.problem)


@case("profile.nonce", only=("nonces",))
async def nonces(t: Play) -> None:
    """A side's nonces are 16 random bytes and a counter from 0, in order, including the hello's box."""
    served = await t.serve()
    for _ in range(2):
        mine = await t.connect(served)
        theirs = await served.opened()
        await mine.request(["callback", 3, "x"])
        await asyncio.gather(*(theirs.request(["echo", i]) for i in range(5)))
        await asyncio.gather(*(mine.request(["echo", i]) for i in range(5)))
    prefixes = []
    for number in (1, 2):
        conversation = t.conversation(number)
        t.check(not conversation.problem, "the conversation does not open", actual=conversation.problem)
        for source in ("client", "server"):
            found = [packet.nonce for packet in conversation.packets if packet.source == source and packet.nonce]
            t.check(len(found) > 5, f"too few boxes from the {source}")
            prefixes.append(found[0][:16])
            expected = [found[0][:16] + count.to_bytes(8, "big") for count in range(len(found))]
            t.check(
                found == expected,
                f"the {source}'s nonces are not one prefix and a counter from 0",
                expected=" ".join(nonce.hex() for nonce in expected[:4]),
                actual=" ".join(nonce.hex() for nonce in found[:4]),
            )
    t.check(len(set(prefixes)) == len(prefixes), "a nonce's random half was used twice", actual=str(len(set(prefixes))))


@case("profile.nonce", timeout=20, only=("nonces",))
async def nonces_of_many(t: Play) -> None:
    """Hundreds of boxes at once, both ways, use hundreds of nonces: none is skipped, none comes twice."""
    mine, theirs = await t.pair()
    await asyncio.gather(*(conn.request(["echo", i]) for i in range(300) for conn in (mine, theirs)))
    conversation = t.conversation()
    t.check(not conversation.problem, "the conversation does not open", actual=conversation.problem)
    for source in ("client", "server"):
        found = [packet.nonce for packet in conversation.packets if packet.source == source and packet.nonce]
        t.check(len(found) >= 600, f"too few boxes from the {source}", expected="600", actual=str(len(found)))
        wrong = [i for i, nonce in enumerate(found) if nonce != found[0][:16] + i.to_bytes(8, "big")]
        t.check(
            not wrong,
            f"the {source}'s nonces do not count up, from its box {wrong[0] if wrong else ''}",
            expected=(found[0][:16] + wrong[0].to_bytes(8, "big")).hex() if wrong else "",
            actual=found[wrong[0]].hex() if wrong else "",
        )


@case("profile.nonce", "profile.hello-key", only=("nonces", "hello"))
async def random_in_every_byte(t: Play) -> None:
    """Every byte of a session key, and of a nonce's random half, differs from connection to connection, and from the
    other bytes."""
    served = await t.serve()
    count = 10  # by chance, a byte is the same in all of them once in 256 ** 9 runs, or as another once in 256 ** 10
    for index in range(count):
        conn = await t.connect(served)
        await conn.echo(index)
        await conn.close()
    conversations = [t.conversation(number) for number in range(1, count + 1)]
    for one in conversations:
        t.check(not one.problem, "the conversation does not open", actual=one.problem)
    for source, what in ((None, "session key"), ("client", "client's nonces"), ("server", "server's nonces")):
        wrong = not_random(conversations, source)
        t.check(
            not wrong,
            f"bytes of the {what} are not random on {count} connections",
            expected="every byte random",
            actual="; ".join(wrong),
        )


@case("profile.no-answer", "profile.early", subject="server")
async def server_says_nothing(t: Play) -> None:
    """The server does not answer the hello: its first bytes are those of the first answer."""
    served = await t.serve()
    await t.connect(served)
    await served.opened()
    await t.server.settle()
    stream = t.capture.stream(1, "server")
    t.check(not stream, "the server answered the hello", expected="no byte", actual=stream[:40].hex())


@case("profile.refusal", subject="server")
async def unknown_user_looks_like_wrong_key(t: Play) -> None:
    """On the wire, an unknown user and a wrong key look alike: no bytes, then an end of file."""
    served = await t.serve()
    for user, phrase in ((USER, "wrong"), ("nobody", PASSPHRASE), ("nobody", "wrong")):
        conn = await _try(t.connect(served, user, phrase))
        if conn is not None:
            await t.fails(conn.request(["echo", 1]), NetworkFailed, why="a client with the wrong key was served")
    links = [await t.relay.link(number) for number in (1, 2, 3)]
    for link in links:
        await t.within(5, link.over.wait(), "the end of a refused connection")
    seen = [
        [chunk.data for chunk in t.capture.chunks if chunk.conn == number and chunk.source == "server"]
        for number in (1, 2, 3)
    ]
    t.check(
        all(chunks == [None] for chunks in seen),
        "refusals can be told apart on the wire",
        expected="three times nothing but an end of file",
        actual=str([["eof" if c is None else c.hex() for c in chunks] or "reset" for chunks in seen]),
    )


REFUSED = 8
"""How often each is refused: by chance, all of one kind take longer than all of another once in 6,435 times."""
TELLS = 0.02
"""Seconds by which their medians differ as well, where something waits."""


@case("profile.refusal", opponent="client", only=("hello",))
async def refusals_take_as_long(t: Play) -> None:
    """An unknown user, a denied one and a wrong key are refused after the same time."""
    served = await t.server.listen(users={USER: PASSPHRASE, "carol": None})
    took: dict[str, list[float]] = {"a wrong key": [], "an unknown user": [], "a denied user": []}
    for _ in range(REFUSED):
        for what, user in zip(took, (USER, "mallory", "carol"), strict=True):
            bad = await attack(t, served, hello=False)
            hello = bad.hello(user, "wrong")
            start = time.monotonic()
            await bad.send(hello)
            await bad.must_end(f"{what} was not refused")
            took[what].append(time.monotonic() - start)
            await bad.close()
    for slow, quick in itertools.permutations(took, 2):
        later = statistics.median(took[slow]) - statistics.median(took[quick])
        if later > TELLS and min(took[slow]) > max(took[quick]):
            raise Late(
                f"{slow} can be told from {quick} by the time that the refusal takes",
                expected="the same time",
                actual=f"{later * 1e3:.0f} ms more (medians of {REFUSED})",
            )


@case("profile.refusal", opponent="client", timeout=10, only=("hello",))
async def refused_at_the_second_packet(t: Play) -> None:
    """A username alone reveals nothing: whether unknown, denied or known, the server waits for the second packet."""
    served = await t.server.listen(users={USER: PASSPHRASE, "carol": None})

    async def names_alone() -> None:
        hellos = []
        for user in ("mallory", "carol", USER):
            bad = await attack(t, served, hello=False)
            hello = bad.hello(user)
            name = bad.frame(user.encode())
            await bad.send(name)
            hellos.append((user, bad, hello[len(name) :]))
        why = "a hello was refused after its username, {}, alone"
        await asyncio.gather(*(bad.stays_open(why.format(written(user))) for user, bad, _ in hellos))
        for user, bad, rest in hellos:
            await bad.send(rest)
            if user == USER:
                t.equal(await bad.request(["whoami"]), user, "the user, once the whole hello was there")
            else:
                await bad.must_end(f"the hello of {written(user)} was not refused")

    await t.in_time(DEFAULT_LIMITS.hello_timeout - 1, names_alone)


@case("profile.refusal", "profile.no-reset", opponent="client")
async def refusal_is_no_reset(t: Play) -> None:
    """What a client sends after a refused hello does not turn the close into a reset."""
    served = await t.server.listen(users={USER: PASSPHRASE, "carol": None})
    for user, passphrase in ((USER, "wrong"), ("mallory", PASSPHRASE), ("carol", PASSPHRASE)):
        bad = await attack(t, served, hello=False)
        await bad.send(bad.hello(user, passphrase) + bad.packet(b'(request 0 ("echo" "%b"))' % (b"x" * 600_000)))
        await bad.must_end("a refused client's connection stays open")
        bad.ended_in_order(f"the refusal of {written(user)} was a reset")


@case("profile.boxes")
async def encrypted_both_ways(t: Play) -> None:
    """Every packet after the hello is one box under the session key, in both directions."""
    mine, theirs = await t.pair()
    await mine.request(["callback", 2, "x"])
    await theirs.request(["relay", 3, "y"])
    conversation = t.conversation()
    t.check(not conversation.problem, "the conversation does not open", actual=conversation.problem)
    t.check(
        len([p for p in conversation.packets if p.message is not None]) == 14,
        "the conversation has other messages than it should",
        expected="14: two requests with their answers, and 2 + 3 nested ones with theirs",
        actual=str(len([p for p in conversation.packets if p.message is not None])),
    )
