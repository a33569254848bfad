"""What a bridge forwards: requests, answers, errors, callbacks, every datum; between profiles and security modes."""

from __future__ import annotations

import array
import asyncio
import dataclasses
import math
import random
from fractions import Fraction
from typing import Any

import pytest

from bokbok.errors import ConnectionClosed, RemoteError
from bokbok.sexpr import CHICKEN_4_EXACT, CHICKEN_5, EOF, Char, Dotted, Keyword, Symbol
from bokbok.wire import INFERRED_1, Limits, Profile, passphrase_to_key
from tests.bridge.conftest import Rig
from tests.support.leaks import soon
from tests.support.peers import USERS
from tests.support.profiles import random_profile


def sound_profiles(count: int, seed: int) -> list[Profile]:
    """Random ones of the table whose nonces do not repeat, so that no guard has to be turned off for them."""
    drawn = (random_profile(random.Random(seed + number), f"random-{seed + number}") for number in range(1000))
    return [profile for profile in drawn if profile.leaks is None][:count]


PROFILES = sound_profiles(3, 100)
CHICKEN_5_PROFILE = dataclasses.replace(INFERRED_1, name="five", dialect=CHICKEN_5)

SERVICE = [
    (["echo", ["a", [Symbol("b"), 1.5], b"\0"]], ["a", [Symbol("b"), 1.5], b"\0"]),
    (["ping", "12345"], ["pong", "12345"]),
    (["sleep", 1, "x"], "x"),
    (["type", "x"], "string"),
    (["unspecified"], []),
    (["callback", 3, "x"], [[0, "x"], [1, "x"], [2, "x"]]),
    (["relay", 7, "x"], "x"),
]
FAILURES = [
    (["fail", "on purpose"], r"^ServiceError: on purpose$"),
    (["raise", [Symbol("not"), "a", 1]], r"\(not \"a\" 1\)"),
    (["nonsense"], "nonsense"),
    (["unwritable"], "cannot travel"),
]


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize(("outside", "inside"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("profile", [INFERRED_1, *PROFILES], ids=lambda profile: profile.name)
async def test_either_side_asks_the_other_in_every_way(
    rig: Rig, profile: Profile, outside: bool, inside: bool, transport: str
) -> None:
    def derived(which: Profile) -> Any:
        return passphrase_to_key("mypassphrase", profile=which)

    opened: asyncio.Queue[Any] = asyncio.Queue()
    server = await rig.server(
        at=transport,
        profile=profile,
        user_to_key={"theirs": derived(profile)}.get if inside else None,
        on_open=opened.put_nowait,
    )
    bridge = await rig.bridge(
        server,
        at=transport,
        target_profile=profile,
        user_to_key={"mine": derived(INFERRED_1)}.get if outside else None,
        user_to_login=(lambda user: ("theirs", derived(profile))) if inside else None,
    )
    client = await rig.client(bridge, *(("mine", derived(INFERRED_1)) if outside else ()))
    accepted = await soon(opened.get())
    assert accepted.user == ("theirs" if inside else None)
    for asking in (client, accepted):
        for request, answer in SERVICE:
            assert await soon(asking.request(request)) == answer
        for request, problem in FAILURES:
            with pytest.raises(RemoteError, match=problem):
                await soon(asking.request(request))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
async def test_a_bridge_stands_the_other_way_round_too(rig: Rig, profile: Profile) -> None:
    server = await rig.server()
    client = await rig.client(await rig.bridge(server, profile=profile), profile=profile)
    assert await soon(client.request(["relay", 4, "x"])) == "x"


async def test_a_thousand_requests_are_under_way_at_once_and_each_gets_its_answer(rig: Rig) -> None:
    waiting: dict[int, asyncio.Future[None]] = {}
    all_there = asyncio.Event()

    async def hold(connection: Any, message: int) -> int:
        waiting[message] = asyncio.get_running_loop().create_future()
        if len(waiting) == 1000:
            all_there.set()
        await waiting[message]
        return message * 2

    client = await rig.client(await rig.bridge(await rig.server(hold)))
    asked = [asyncio.ensure_future(client.request(number)) for number in range(1000)]
    await soon(all_there.wait())
    for number in random.Random(1).sample(range(1000), 1000):
        waiting[number].set_result(None)
    assert await soon(asyncio.gather(*asked)) == [number * 2 for number in range(1000)]


async def test_a_remote_error_of_a_callback_comes_back_as_the_same_text(rig: Rig) -> None:
    async def ask_back(connection: Any, message: Any) -> Any:
        return await connection.request(["fail", message])

    client = await rig.client(await rig.bridge(await rig.server(ask_back)))
    with pytest.raises(RemoteError, match=r"^ServiceError: zwölf\n\0$"):
        await soon(client.request("zwölf\n\0"))


async def test_many_clients_each_have_a_connection_of_their_own_to_the_target(rig: Rig) -> None:
    opened: list[Any] = []

    async def number(connection: Any, message: Any) -> int:
        return opened.index(connection)

    bridge = await rig.bridge(await rig.server(number, on_open=opened.append))
    clients = [await rig.client(bridge) for _ in range(20)]
    answers = [await soon(client.request("who am I")) for client in clients]
    assert sorted(answers) == list(range(20))
    assert [await soon(client.request("and now")) for client in clients] == answers


async def test_what_comes_before_the_target_is_there_waits_and_keeps_its_order(rig: Rig) -> None:
    may_log_in = asyncio.Event()
    came: list[Any] = []

    async def login(user: Any) -> Any:
        await may_log_in.wait()
        return "myuser", USERS["myuser"]

    async def note(connection: Any, message: Any) -> Any:
        came.append(message)
        return message

    bridge = await rig.bridge(await rig.server(note, user_to_key=USERS.get), user_to_login=login)
    client = await rig.client(bridge)
    asked = [asyncio.ensure_future(client.request(number)) for number in range(50)]
    done, _ = await asyncio.wait(asked, timeout=0.05)
    assert not done
    assert came == []
    may_log_in.set()
    assert await soon(asyncio.gather(*asked)) == list(range(50))
    assert came == list(range(50))


# Users.


async def test_each_user_is_another_one_at_the_target(rig: Rig) -> None:
    theirs = {"robert": passphrase_to_key("r"), "ann": passphrase_to_key("a")}
    logins = {"myuser": ("robert", theirs["robert"]), "another": ("ann", theirs["ann"])}
    server = await rig.server(user_to_key=theirs.get)
    bridge = await rig.bridge(server, user_to_key=USERS.get, user_to_login=lambda user: logins[str(user)])
    for user, (name, _) in logins.items():
        client = await rig.client(bridge, user, USERS[user])
        assert await soon(client.request(["whoami"])) == name


async def test_who_is_unknown_is_refused_and_the_target_hears_nothing(rig: Rig) -> None:
    opened: list[Any] = []
    server = await rig.server(user_to_key=USERS.get, on_open=opened.append)
    bridge = await rig.bridge(server, user_to_key=USERS.get, user_to_login=lambda user: (user, USERS[str(user)]))
    for user, key in (("nobody", USERS["myuser"]), ("myuser", USERS["another"])):
        client = await rig.client(bridge, user, key)
        with pytest.raises(ConnectionClosed, match="possible causes"):
            await soon(client.request(["whoami"]))
    assert opened == []


async def test_who_has_no_login_at_the_target_is_refused_and_the_log_says_who(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = await rig.bridge(await rig.server(), user_to_key=USERS.get, user_to_login={}.get)
    client = await rig.client(bridge, "myuser", USERS["myuser"])
    with pytest.raises(ConnectionClosed):
        await soon(client.request(["whoami"]))
    assert "not connected to the target: BokbokError: user 'myuser' does not have a login at the target" in caplog.text


async def test_a_wrong_key_at_the_target_ends_the_client_and_the_log_names_the_likely_cause(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    server = await rig.server(user_to_key=USERS.get)
    bridge = await rig.bridge(server, user_to_login=lambda user: ("myuser", USERS["another"]))
    client = await rig.client(bridge)
    with pytest.raises(ConnectionClosed):
        await soon(client.request(["whoami"]))
    assert "<bridge's target" in caplog.text
    assert "the key is wrong for this user" in caplog.text


# Datums.

BOTH_HOLD = [
    0,
    2**62 - 1,
    -(2**62),
    0.1 + 0.2,
    5e-324,
    math.inf,
    -0.0,
    "bytes \udcff and \0 and \n",
    Symbol("a b"),
    Symbol("|"),
    Keyword("key"),
    Char("x"),
    Char("\0"),
    True,
    False,
    EOF,
    b"\0\xff",
    (1, (2, [3])),
    Dotted([1, 2], 3),
    array.array("f", [0.1]),
    array.array("d", [0.1 + 0.2]),
    array.array("H", [1, 65535]),
]


@pytest.mark.parametrize("inside", [CHICKEN_4_EXACT, CHICKEN_5], ids=str)
async def test_what_both_dialects_hold_comes_back_as_it_was(rig: Rig, inside: Any) -> None:
    profile = dataclasses.replace(INFERRED_1, name="inside", dialect=dataclasses.replace(inside, exact=False))
    server = await rig.server(profile=profile)
    # The bridge itself is told the exact dialect, whose `write` loses digits; the bridge must not lose any.
    bridge = await rig.bridge(server, target_profile=dataclasses.replace(profile, dialect=inside))
    client = await rig.client(bridge)
    for value in BOTH_HOLD:
        answer = await soon(client.request(["echo", [value]]))
        assert repr(answer) == repr([value])


async def test_an_answer_that_one_side_cannot_hold_is_an_error_that_names_value_and_side(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    async def third(connection: Any, message: Any) -> Any:
        return ["a", [Fraction(1, 3)]] if message == "third" else message

    client = await rig.client(
        await rig.bridge(await rig.server(third, profile=CHICKEN_5_PROFILE), target_profile=CHICKEN_5_PROFILE)
    )
    text = (
        "the bridge cannot write the answer to the client in chicken-4: "
        "message[1][0]: exact fraction, and CHICKEN 4 has none"
    )
    with pytest.raises(RemoteError) as raised:
        await soon(client.request("third"))
    assert raised.value.message == text
    assert text in caplog.text
    assert await soon(client.request("goes on")) == "goes on"


async def test_a_request_that_one_side_cannot_hold_is_an_error_that_names_value_and_side(rig: Rig) -> None:
    asked: list[Any] = []

    async def note(connection: Any, message: Any) -> Any:
        asked.append(message)
        return message

    client = await rig.client(
        await rig.bridge(await rig.server(note), profile=CHICKEN_5_PROFILE), profile=CHICKEN_5_PROFILE
    )
    with pytest.raises(RemoteError) as raised:
        await soon(client.request([2**70]))
    assert raised.value.message == (
        "the bridge cannot write the request to the target in chicken-4: "
        "message[0]: integer that is not a fixnum (-2**62 to 2**62 - 1), and CHICKEN 4 has no larger ones"
    )
    assert await soon(client.request("goes on")) == "goes on"
    assert asked == ["goes on"]


async def test_what_is_too_long_for_the_other_side_alone_is_an_error(rig: Rig) -> None:
    limits = Limits(packet=10_000)
    hexadecimal = next(p for p in sound_profiles(300, 500) if p.packets.encoding == "hex" and p.messages.first_id == 0)  # type: ignore[attr-defined]
    server = await rig.server(profile=hexadecimal, user_to_key=USERS.get)
    bridge = await rig.bridge(
        server, target_profile=hexadecimal, limits=limits, user_to_login=lambda user: ("myuser", USERS["myuser"])
    )
    client = await rig.client(bridge)
    assert await soon(client.request(["echo", "x" * 3_000])) == "x" * 3_000
    with pytest.raises(RemoteError, match=r"cannot write the request to the target.*the limit is 10000"):
        await soon(client.request(["echo", "x" * 6_000]))
    assert await soon(client.request(["echo", "x"])) == "x"


async def test_a_request_that_does_not_read_fails_alone(rig: Rig) -> None:
    bridge = await rig.bridge(await rig.server())
    peer = await rig.raw_client(bridge)
    await peer.send_message(b"(request 0 #<procedure>)", b'(request 1 ("echo" 1))')
    answers = {await peer.receive(), await peer.receive()}
    assert b"(response 1 1)" in answers
    assert any(answer.startswith(b'(error 0 "the request cannot be read: ') for answer in answers)


async def test_an_answer_that_does_not_read_fails_alone_and_says_so(rig: Rig) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener)
    client = await rig.client(bridge)
    asked = [asyncio.ensure_future(client.request(number)) for number in range(2)]
    target = await rig.accepted(listener)
    assert [await target.receive(), await target.receive()] == [b"(request 0 0)", b"(request 1 1)"]
    await target.send_message(b"(response 0 #<procedure>)", b"(response 1 fine)")
    assert await soon(asked[1]) == Symbol("fine")
    with pytest.raises(RemoteError, match="the answer cannot be read: "):
        await soon(asked[0])


async def test_a_late_answer_to_a_request_that_timed_out_is_dropped_and_the_rest_goes_on(rig: Rig) -> None:
    may_answer = asyncio.Event()

    async def late(connection: Any, message: Any) -> Any:
        if message == "late":
            await may_answer.wait()
        return message

    client = await rig.client(await rig.bridge(await rig.server(late)))
    with pytest.raises(TimeoutError):
        await client.request("late", timeout=0.01)
    may_answer.set()
    assert await soon(client.request("next")) == "next"


async def test_a_client_without_a_handler_answers_for_itself(rig: Rig) -> None:
    client = await rig.client(await rig.bridge(await rig.server()), on_request=None)
    with pytest.raises(RemoteError, match="this end of the connection takes no requests"):
        await soon(client.request(["callback", 1, "x"]))


async def test_two_bridges_may_stand_in_a_row(rig: Rig) -> None:
    profile = PROFILES[0]
    inner = await rig.bridge(await rig.server(), profile=profile)
    client = await rig.client(await rig.bridge(inner, target_profile=profile))
    assert await soon(client.request(["relay", 9, "x"])) == "x"
    assert await soon(asyncio.gather(*(client.request(["echo", n]) for n in range(200)))) == list(range(200))
