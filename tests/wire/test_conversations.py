"""Two ends and a wire that delays, splits, joins and cuts, compared with a model of what was asked and answered."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bokbok.errors import ConnectionClosed, LocalProtocolError
from bokbok.sexpr import Symbol
from bokbok.wire import (
    Connection,
    ErrorReceived,
    HelloMemory,
    HelloReceived,
    Opened,
    PeerFinished,
    RequestReceived,
    ResponseReceived,
)
from tests.support.peers import KEY

DATUMS = st.recursive(
    st.integers(-(2**62), 2**62 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=10)
    | st.booleans()
    | st.binary(max_size=10)
    | st.sampled_from([Symbol("a"), Symbol("request"), Symbol("|")]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=2).map(tuple),
    max_leaves=6,
) | st.just(["fail"])
SIDES = st.sampled_from(["client", "server"])
OTHER = {"client": "server", "server": "client"}


class Side:
    """One end of a conversation, and what it has asked, was asked and was answered.

    Attributes:
        asked: what this side asked, by ID.
        told: the answers that came, by ID.
        open: the other side's requests that it has not answered, by ID.
        received: what the other side asked, in order.
        wire: bytes that are on the way to the other side.
        ended: whether this side's direction ends after them.
        heard_the_end: whether the other side has learnt of that.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.asked: dict[int, Any] = {}
        self.told: dict[int, Any] = {}
        self.open: dict[int, Any] = {}
        self.received: list[Any] = []
        self.wire = b""
        self.ended = False
        self.heard_the_end = False

    def take(self, data: bytes) -> None:
        events = self.connection.receive(data)
        if events and isinstance(events[-1], HelloReceived):
            events = self.connection.authenticate(KEY)
        for event in events:
            match event:
                case RequestReceived(id, message):
                    assert id not in self.open
                    self.open[id] = message
                    self.received.append(message)
                case ResponseReceived(id, message):
                    assert id not in self.told
                    self.told[id] = message
                case ErrorReceived(id, message):
                    assert id not in self.told
                    self.told[id] = ["fail", message]
                case Opened():
                    pass
                case _:
                    raise AssertionError(event)


class Conversation(RuleBasedStateMachine):
    """Whatever happens between two ends, nothing is lost, invented or doubled, and both learn of the end."""

    secure = False

    @initialize(peace=st.integers(5, 30), ending=st.sampled_from(["none", "close", "close", "cut"]))
    def connect(self, peace: int, ending: str) -> None:
        self.peace = peace  # requests and answers before anything ends
        self.ending = ending
        if self.secure:
            client = Connection("client", user="myuser", key=KEY)
            server = Connection("server", secure=True, hellos=HelloMemory())
        else:
            client, server = Connection("client"), Connection("server")
        self.sides = {"client": Side(client), "server": Side(server)}
        self.broken = False  # the wire was cut: what was on it is lost

    def side(self, name: str) -> tuple[Side, Side]:
        return self.sides[name], self.sides[OTHER[name]]

    @rule(name=SIDES, messages=st.lists(DATUMS, min_size=1, max_size=4))
    def ask(self, name: str, messages: list[Any]) -> None:
        for message in messages:
            self.ask_one(self.sides[name], message)

    def ask_one(self, side: Side, message: Any) -> None:
        if side.connection.state == "open":
            id = side.connection.request(message)
            assert id == len(side.asked)
            side.asked[id] = message
            self.peace -= 1
        else:
            with pytest.raises((ConnectionClosed, LocalProtocolError)):
                side.connection.request(message)

    @rule(name=SIDES, which=st.integers(0, 50))
    def answer(self, name: str, which: int) -> None:
        """One of the waiting requests is answered with its own message or, for some, an error."""
        side, _ = self.side(name)
        if not side.open:
            return
        id = list(side.open)[which % len(side.open)]
        message = side.open.pop(id)
        self.peace -= 1
        try:
            if isinstance(message, list) and message[:1] == ["fail"]:
                side.connection.fail(id, f"failed {id}")
            else:
                side.connection.respond(id, message)
        except ConnectionClosed:
            assert side.connection.state == "closed"

    def send(self, name: str) -> None:
        side, _ = self.side(name)
        data = side.connection.data_to_send()
        if not self.broken and not side.ended:
            side.wire += data

    @rule(name=SIDES, count=st.integers(1, 60) | st.just(10_000))
    def deliver(self, name: str, count: int) -> None:
        """Some bytes arrive, or, after the last of them, the end of file."""
        self.send(name)
        side, other = self.side(name)
        if side.wire:
            data, side.wire = side.wire[:count], side.wire[count:]
            if other.connection.state != "closed":
                other.take(data)
        elif side.ended and not side.heard_the_end:
            side.heard_the_end = True
            was = other.connection.state
            events = other.connection.receive_eof()
            assert other.connection.state == ("peer-finished" if was == "open" else "closed")
            assert [isinstance(event, PeerFinished) for event in events] == [True] * (was == "open") + [False] * (
                was == "hello"
            )
            assert other.connection.error is not None

    @precondition(lambda self: self.ending == "close" and self.peace <= 0)
    @rule(name=SIDES)
    def close(self, name: str) -> None:
        """One side closes: what it has written still arrives, and then the end."""
        side, _ = self.side(name)
        side.connection.close()
        self.send(name)
        side.ended = True
        side.open.clear()

    @precondition(lambda self: self.ending == "cut" and self.peace <= 0)
    @rule()
    def cut(self) -> None:
        """The transport breaks, for both."""
        self.broken = True
        for side in self.sides.values():
            side.wire = b""
            was_over = side.connection.error is not None
            error = side.connection.lost("connection reset by peer")
            assert was_over or "connection reset by peer" in str(error)
            side.open.clear()

    @invariant()
    def nothing_is_invented(self) -> None:
        for name in self.sides:
            side, other = self.side(name)
            asked = list(side.asked.values())
            assert other.received == asked[: len(other.received)]  # in order, each once
            for id, answer in side.told.items():
                message = side.asked[id]
                assert answer == (["fail", f"failed {id}"] if message == ["fail"] else message)
            assert side.connection.unanswered == len(side.open)
            assert side.connection.unsent >= 0

    def teardown(self) -> None:
        if not hasattr(self, "sides"):
            return
        for _ in range(1000):
            if not any(side.open or side.wire or side.connection.unsent for side in self.sides.values()):
                break
            for name in self.sides:
                self.answer(name, 0)
                self.deliver(name, 1 << 20)
        self.nothing_is_invented()
        if not self.broken and not any(side.ended for side in self.sides.values()):
            for name in self.sides:
                side, other = self.side(name)
                assert len(other.received) == len(side.asked) == len(side.told)
                assert side.connection.state == "open"


class SecureConversation(Conversation):
    secure = True


@pytest.mark.parametrize("machine", [Conversation, SecureConversation], ids=["insecure", "secure"])
def test_two_ends_lose_nothing_however_the_wire_between_them_behaves(machine: type[Conversation]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=50, stateful_step_count=30, deadline=None))
