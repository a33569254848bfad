"""Whatever programs do with connections, in any order: both front ends are compared with a model that only counts."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from bokbok.errors import ConnectionClosed, RemoteError, RequestTimeout
from tests.support.fronts import FRONTS
from tests.support.leaks import eventually
from tests.support.peers import KEY, SOON, USERS

VALUES = st.integers(-5, 5) | st.text("ab\n", max_size=3) | st.lists(st.integers(0, 3), max_size=3)
WHICH = st.integers(0, 20)


class Held:
    """A request whose handler waits."""

    def __init__(self, name: int, client: int, asking: Future[Any] | None) -> None:
        self.name, self.client, self.asking = name, client, asking
        self.gate = threading.Event()


class Program(RuleBasedStateMachine):
    """One server, some clients, and what each of them must have learnt by now."""

    front_name = "sync"

    @initialize()
    def begin(self) -> None:
        self.front = FRONTS[self.front_name]()
        self.pool = ThreadPoolExecutor(100)
        self.noting = threading.Lock()
        self.folder = tempfile.TemporaryDirectory()
        self.held: list[Held] = []
        self.by_name: dict[int, Held] = {}
        self.arrived: queue.Queue[int] = queue.Queue()
        self.clients: dict[int, Any] = {}
        self.numbers = 0
        self.theirs: dict[int, Any] = {}
        # What happened, and what should have happened.
        self.happened: Counter[str] = Counter()
        self.expected: Counter[str] = Counter()
        self.server = self.front.start_server(
            ("unix", str(Path(self.folder.name) / "s")),
            self.serve,
            user_to_key=USERS.get,
            on_open=lambda connection: self.note("server opened"),
            on_close=lambda connection: self.note("server closed"),
        )

    def note(self, what: str) -> None:
        with self.noting:
            self.happened[what] += 1

    def serve(self, connection: Any, message: Any) -> Any:
        kind, value = message
        if kind == "echo":
            return value
        if kind == "who":
            self.theirs[value] = connection
            return connection.user
        if kind == "fail":
            raise ValueError(f"no {value}")
        if kind == "callback":
            return connection.request(["back", value])
        if kind == "close":
            connection.close()
            return None
        assert kind == "hold"
        self.arrived.put(value)
        assert self.by_name[value].gate.wait(SOON)
        return ["held", value]

    def some(self, which: int) -> tuple[int, Any]:
        number = list(self.clients)[which % len(self.clients)]
        return number, self.clients[number]

    has_clients = precondition(lambda self: self.clients)
    has_held = precondition(lambda self: self.held)

    @precondition(lambda self: len(self.clients) < 4)
    @rule()
    def connect(self) -> None:
        number = self.numbers
        self.numbers += 1
        client = self.front.open_connection(
            self.server.address,
            user="myuser",
            key=KEY,
            on_request=lambda connection, message: ["answered", number, message],
            on_close=lambda connection: self.note("client closed"),
        )
        assert client.request(["who", number], timeout=SOON) == "myuser"
        self.clients[number] = client
        self.expected["server opened"] += 1

    @has_clients
    @rule(which=WHICH, values=st.lists(VALUES, min_size=1, max_size=5))
    def ask_at_once(self, which: int, values: list[Any]) -> None:
        _, client = self.some(which)
        asking = [self.pool.submit(client.request, ["echo", value], timeout=SOON) for value in values]
        assert [one.result(SOON) for one in asking] == values

    @has_clients
    @rule(which=WHICH, value=VALUES)
    def fail(self, which: int, value: Any) -> None:
        _, client = self.some(which)
        with pytest.raises(RemoteError) as caught:
            client.request(["fail", value], timeout=SOON)
        assert f"no {value}" in caught.value.message

    @has_clients
    @rule(which=WHICH, value=VALUES)
    def call_back(self, which: int, value: Any) -> None:
        number, client = self.some(which)
        assert client.request(["callback", value], timeout=SOON) == ["answered", number, ["back", value]]
        assert self.theirs[number].request(value, timeout=SOON) == ["answered", number, value]

    @has_clients
    @rule(which=WHICH, gives_up=st.booleans())
    def hold(self, which: int, gives_up: bool) -> None:
        number, client = self.some(which)
        name = self.numbers
        self.numbers += 1
        held = self.by_name[name] = Held(name, number, None)
        if gives_up:
            with pytest.raises(RequestTimeout):
                client.request(["hold", name], timeout=0.005)
        else:
            held.asking = self.pool.submit(client.request, ["hold", name], timeout=SOON)
        assert self.arrived.get(timeout=SOON) == name
        self.held.append(held)

    @has_held
    @rule(which=WHICH)
    def release(self, which: int) -> None:
        held = self.held.pop(which % len(self.held))
        held.gate.set()
        if held.asking is not None:
            assert held.asking.result(SOON) == ["held", held.name]

    def ended(self, number: int, client: Any) -> None:
        """Requests that wait on a connection that has ended fail, and so do new ones."""
        for held in self.held:
            if held.client == number and held.asking is not None:
                with pytest.raises(ConnectionClosed):
                    held.asking.result(SOON)
                held.asking = None
        with pytest.raises(ConnectionClosed):
            client.request("x", timeout=SOON)
        del self.clients[number]

    @has_clients
    @rule(which=WHICH)
    def close(self, which: int) -> None:
        number, client = self.some(which)
        client.close()
        self.expected["server closed"] += 1
        self.ended(number, client)

    @has_clients
    @rule(which=WHICH)
    def server_closes(self, which: int) -> None:
        number, client = self.some(which)
        with pytest.raises(ConnectionClosed):
            client.request(["close", 0], timeout=SOON)
        self.expected["client closed"] += 1
        self.ended(number, client)

    def teardown(self) -> None:
        if not hasattr(self, "front"):
            return
        for held in self.held:
            held.gate.set()
        eventually(lambda: self.happened == self.expected, f"{self.happened} is {self.expected}")
        self.server.stop()
        assert self.server.wait(SOON)
        for client in self.clients.values():
            client.close()  # the server may have been faster, and its end told
        self.pool.shutdown()
        self.front.close()
        self.folder.cleanup()


class AsyncioProgram(Program):
    front_name = "asyncio"


@pytest.mark.parametrize("machine", [Program, AsyncioProgram], ids=["sync", "asyncio"])
def test_everybody_is_told_what_happened_and_nothing_else(machine: type[Program]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=25, deadline=None))
