"""`bokbok.service`: the conformance service, request by request, as both front ends serve it."""

import array
import asyncio
import inspect
from fractions import Fraction

import pytest

import bokbok.asyncio
import bokbok.sync
from bokbok import service
from bokbok.errors import BokbokError, RemoteError, WriteError
from bokbok.sexpr import CHICKEN_5, EOF, Char, Dotted, Keyword, Symbol, dumps


class _Connection:
    """What the service uses of a connection: it answers requests like a peer with the same service would."""

    def __init__(self, user=None):
        self.user = user
        self.requests = []
        self.closed = False

    def _answer(self, message):
        self.requests.append(message)
        name, *args = message
        return args[0] if name == "echo" else ["relayed", *args]


class _Blocking(_Connection):
    def request(self, message):
        return self._answer(message)

    def close(self):
        self.closed = True


class _Awaited(_Connection):
    async def request(self, message):
        await asyncio.sleep(0)
        return self._answer(message)

    async def close(self):
        self.closed = True


class _Service:
    def __init__(self, kind):
        self._kind = kind
        self.handler = service.handler() if kind is _Blocking else service.async_handler()
        self.connection = kind()

    async def __call__(self, *request, user=None):
        self.connection = self._kind(user)
        answer = self.handler(self.connection, list(request))
        return await answer if inspect.isawaitable(answer) else answer


@pytest.fixture(params=[_Blocking, _Awaited], ids=["sync", "asyncio"])
def ask(request):
    """A function that asks the service one request."""
    return _Service(request.param)


DATUMS = [
    0,
    -1.5,
    "text",
    "\udcff",
    [],
    [1, [2]],
    (1, 2),
    b"\0",
    True,
    False,
    None,
    EOF,
    Symbol("a"),
    Keyword("k"),
    Char("x"),
    Dotted([1], 2),
    array.array("d", [0.5]),
]


@pytest.mark.parametrize("datum", DATUMS, ids=repr)
async def test_echo_answers_its_argument(ask, datum):
    assert await ask("echo", datum) is datum


async def test_ping_is_answered_with_pong(ask):
    assert await ask("ping", "12345") == ["pong", "12345"]


async def test_sleep_answers_after_as_many_milliseconds(ask, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(service.time, "sleep", slept.append)
    monkeypatch.setattr(service.asyncio, "sleep", sleep)
    assert await ask("sleep", 1500, "x") == "x"
    assert await ask("sleep", 0.5, ["y"]) == ["y"]
    assert slept == [1.5, 0.0005]


async def test_count_counts_per_name_and_process(ask):
    before = await ask("count", "a name of this test's")
    assert await ask("count", "a name of this test's") == before + 1
    assert (await _Service(_Blocking)("count", "a name of this test's")) == before + 2
    assert await ask("count", f"another {before} {type(ask.connection).__name__}") == 1


async def test_fail_raises_an_error_with_that_message(ask):
    with pytest.raises(service.ServiceError, match=r"^on purpose$") as raised:
        await ask("fail", "on purpose")
    assert isinstance(raised.value, BokbokError)


@pytest.mark.parametrize(
    ("datum", "text"),
    [
        ("s", '"s"'),
        (Symbol("oops"), "oops"),
        ([1, Dotted(["a"], Symbol("b"))], '(1 ("a" . b))'),
        (2**70, "1180591620717411303424"),  # read, but with no form in CHICKEN 4
        (Fraction(1, 2), "1/2"),
        ("\udcff", '"\udcff"'),
    ],
)
async def test_raise_raises_the_object_and_its_text_is_the_object_as_written(ask, datum, text):
    with pytest.raises(service.Raised) as raised:
        await ask("raise", datum)
    assert str(raised.value) == text
    assert raised.value.value == datum


async def test_callback_asks_the_other_end_in_order_and_collects_the_answers(ask):
    assert await ask("callback", 3, "x") == [[0, "x"], [1, "x"], [2, "x"]]
    assert ask.connection.requests == [["echo", [i, "x"]] for i in range(3)]
    assert await ask("callback", 0, "x") == []


async def test_relay_hands_on_with_one_less_until_there_is_none_left(ask):
    assert await ask("relay", 0, "x") == "x"
    assert ask.connection.requests == []
    assert await ask("relay", 3, "x") == ["relayed", 2, "x"]
    assert ask.connection.requests == [["relay", 2, "x"]]


async def test_whoami_answers_the_user_or_false(ask):
    assert await ask("whoami", user="myuser") == "myuser"
    assert await ask("whoami", user="") == ""
    assert await ask("whoami") is False


@pytest.mark.parametrize(
    ("datum", "name"),
    [
        (True, "boolean"),
        (1, "integer"),
        (2**80, "integer"),
        (1.0, "flonum"),
        (Fraction(1, 2), "ratnum"),
        ("", "string"),
        (b"", "blob"),
        ([], "list"),
        ((), "vector"),
        (Symbol("a"), "symbol"),
        (Keyword("a"), "keyword"),
        (Char("a"), "char"),
        (Dotted([1], 2), "dotted"),
        (EOF, "eof"),
        (None, "unspecified"),
        (array.array("B", b"a"), "srfi-4 vector"),
        ({}, "dict"),
    ],
    ids=repr,
)
async def test_type_answers_the_name_of_the_datums_type(ask, datum, name):
    assert await ask("type", datum) == name


async def test_unspecified_answers_none(ask):
    assert await ask("unspecified") is None


async def test_unwritable_answers_what_cannot_travel(ask):
    with pytest.raises(WriteError):
        dumps(await ask("unwritable"))


async def test_close_closes_the_connection(ask):
    await ask("close")
    assert ask.connection.closed


@pytest.mark.parametrize(
    "request_",
    [
        ["no such request"],
        ["echo"],
        ["echo", 1, 2],
        ["ping"],
        ["sleep", "x", 1],
        ["sleep", -1, 1],
        ["sleep", True, 1],
        ["sleep", float("nan"), 1],
        ["sleep", 3_600_001, 1],
        ["count", 5],
        ["count", Symbol("x")],
        ["fail", Symbol("x")],
        ["fail", 5],
        ["raise"],
        ["callback", 1.0, "x"],
        ["callback", -1, "x"],
        ["callback", True, "x"],
        ["callback", 100_001, "x"],
        ["relay", "3", "x"],
        ["whoami", 1],
        ["type"],
        ["unspecified", 1],
        ["unwritable", 1],
        ["close", 1],
        [Symbol("ping"), "x"],
        [2**70],
        [[]],
    ],
    ids=repr,
)
async def test_any_other_request_is_an_error_that_names_it(ask, request_):
    with pytest.raises(service.ServiceError) as raised:
        await ask(*request_)
    assert str(raised.value) == f"unknown request: {dumps(request_, dialect=CHICKEN_5).decode()}"
    assert not ask.connection.requests


@pytest.mark.parametrize("request_", [[], "ping", None, ("ping", "x"), 5])
async def test_a_request_that_is_no_list_with_a_name_is_unknown_too(ask, request_):
    with pytest.raises(service.ServiceError, match="unknown request"):
        await ask_plainly(ask, request_)


async def ask_plainly(ask, request_):
    answer = ask.handler(ask.connection, request_)
    return await answer if inspect.isawaitable(answer) else answer


async def test_a_long_unknown_request_is_named_by_its_beginning(ask):
    with pytest.raises(service.ServiceError) as raised:
        await ask("x" * 100_000)
    assert str(raised.value).startswith('unknown request: ("xxx')
    assert str(raised.value).endswith(" …")
    assert len(str(raised.value)) < 300


# Over real connections.


def test_the_service_over_bokbok_sync(tmp_path):
    path = str(tmp_path / "s")
    key = bokbok.sync.passphrase_to_key("mypassphrase")
    with (
        bokbok.sync.start_server(path, service.handler(), user_to_key={"myuser": key}.get) as server,
        bokbok.sync.open_connection(server.address, "myuser", key, service.handler()) as connection,
    ):
        assert connection.request(["ping", "12345"]) == ["pong", "12345"]
        assert connection.request(["whoami"]) == "myuser"
        assert connection.request(["callback", 3, "x"]) == [[0, "x"], [1, "x"], [2, "x"]]
        assert connection.request(["relay", 5, "x"]) == "x"
        assert connection.request(["unspecified"]) == []
        with pytest.raises(RemoteError, match="on purpose"):
            connection.request(["fail", "on purpose"])
        with pytest.raises(RemoteError, match=r"\(oops 1\)"):
            connection.request(["raise", [Symbol("oops"), 1]])
        with pytest.raises(RemoteError, match="cannot travel"):
            connection.request(["unwritable"])


async def test_the_service_over_bokbok_asyncio(tmp_path):
    path = str(tmp_path / "s")
    key = bokbok.sync.passphrase_to_key("mypassphrase")
    async with (
        bokbok.asyncio.start_server(path, service.async_handler(), user_to_key={"myuser": key}.get) as server,
        bokbok.asyncio.open_connection(server.address, "myuser", key, service.async_handler()) as connection,
    ):
        assert await connection.request(["ping", "12345"]) == ["pong", "12345"]
        assert await connection.request(["whoami"]) == "myuser"
        assert await connection.request(["sleep", 1, "x"]) == "x"
        assert await connection.request(["callback", 3, "x"]) == [[0, "x"], [1, "x"], [2, "x"]]
        assert await connection.request(["relay", 5, "x"]) == "x"
        with pytest.raises(RemoteError, match="on purpose"):
            await connection.request(["fail", "on purpose"])
        with pytest.raises(RemoteError, match="cannot travel"):
            await connection.request(["unwritable"])
