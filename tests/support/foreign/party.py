"""A party to a conversation: an endpoint, the service that answers for it, and a script of requests to make.

It is still free of sockets and clocks: it is told the time, says when it wants to be woken, and hands out what it
writes. `record` plays two of them against each other, `live` gives one a socket.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from .endpoint import CannotCarry, Endpoint, Nonsense, Opened
from .service import CLOSE, Ask, Failed, Handler, Later, Pause, Service
from .sexpr import Datum, Unwritable
from .state import ERROR, GOODBYE, KEEP_ALIVE, REQUEST, RESPONSE, Message

TOO_LONG = "too long"
"""The message of an error that stands for an answer that cannot be carried."""


@dataclass(frozen=True)
class Answer:
    """What became of a request: `answer`, `error` (the text is in `value`), `unsent` (why) or `lost` (why)."""

    outcome: str
    value: Datum


@dataclass
class Exchange:
    """A request that a party made, or would have made."""

    asker: str
    request: Datum
    answer: Answer | None = None


@dataclass(frozen=True)
class Behaviour:
    """What a program does that its format does not say.

    Args:
        window: how many requests of the script may wait for an answer at once.
        shuffle: how likely an answer is held back for a while, so that others overtake it.
        hold: the longest time, in seconds, that one is held back.
        patience: seconds between an answer and the script's next request, at most.
        remarks: how likely a keep-alive goes before a request, in formats that have one.
    """

    window: int = 1
    shuffle: float = 0.0
    hold: float = 0.02
    patience: float = 0.0
    remarks: float = 0.3


class Party:
    """One side of a conversation.

    Args:
        endpoint: its side of the connection.
        service: what answers requests.
        script: the requests that it makes by itself, once the connection is open.
        behaviour: how it makes and answers them.
        rng: decides what `behaviour` leaves open.
        hangs: it keeps silent, instead of closing, when nonsense comes.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        service: Service,
        *,
        script: Sequence[Datum] = (),
        behaviour: Behaviour | None = None,
        rng: Random | None = None,
        hangs: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.service = service
        self.behaviour = behaviour or Behaviour()
        self.exchanges: list[Exchange] = []
        self.closed: str | None = None
        """Why it wants the connection closed, or has seen it closed."""
        self.failure: Nonsense | None = None
        """What came that was not of this format."""
        self._rng = rng or Random(0)
        self._script: deque[Datum] = deque(script)
        self._window = 1 if endpoint.fmt.lockstep else self.behaviour.window
        self._in_flight = 0
        self._next_request = 0.0
        self._waiting: dict[int, tuple[Exchange, Callable[[Answer], None]]] = {}
        self._handlers = 0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0
        self._now = 0.0
        self._hangs = hangs
        self._deaf = False
        self._react(endpoint.take_events())

    # --- seen from outside ---

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do: no request waits, no handler runs, the script is played."""
        return not (self._script or self._waiting or self._handlers or self._timers)

    def start(self, now: float) -> None:
        """Begins with the script."""
        self._now = now
        self._play()

    def receive(self, data: bytes, now: float) -> None:
        """Takes what came."""
        self._now = now
        if self._deaf or self.closed:
            return
        try:
            events = self.endpoint.feed(data)
        except Nonsense as why:
            self._react(self.endpoint.take_events())
            self.failure = why
            if self._hangs:
                self._deaf = True
            else:
                self.close(f"nonsense: {why}")
            return
        self._react(events)
        self._play()

    def receive_eof(self, now: float) -> None:
        """The other side is gone."""
        self._now = now
        self.close("closed by the other side")

    def wake(self, now: float) -> None:
        """Does what was due by `now`."""
        self._now = now
        while self._timers and self._timers[0][0] <= now and not self.closed:
            heapq.heappop(self._timers)[2]()
        self._play()

    def next_time(self) -> float | None:
        """When it wants to be woken."""
        return self._timers[0][0] if self._timers and not self.closed else None

    def take_writes(self) -> list[bytes]:
        """What it writes, an item for each thing that a program would write at once."""
        return self.endpoint.take_writes()

    def goodbye(self) -> None:
        """Says the last word, in formats that have one."""
        if not self.closed:
            self.endpoint.say(GOODBYE)

    def close(self, why: str) -> None:
        """Ends the connection; requests that wait are lost."""
        if self.closed is None:
            self.closed = why
            waiting, self._waiting = self._waiting, {}
            for exchange, done in waiting.values():
                exchange.answer = Answer("lost", why)
                done(exchange.answer)

    def ask(self, datum: Datum, done: Callable[[Answer], None]) -> None:
        """Makes a request; `done` gets what became of it, perhaps before this returns."""
        exchange = Exchange(self.endpoint.role, datum)
        self.exchanges.append(exchange)
        if self.closed:
            exchange.answer = Answer("lost", self.closed)
        else:
            try:
                if self._rng.random() < self.behaviour.remarks:
                    self.endpoint.say(KEEP_ALIVE)
                number = self.endpoint.request(datum)
            except (CannotCarry, Unwritable) as why:
                exchange.answer = Answer("unsent", str(why))
        if exchange.answer is not None:
            done(exchange.answer)
        else:
            self._waiting[number] = (exchange, done)

    # --- inside ---

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (self._now + seconds, self._timer_count, action))

    def _play(self) -> None:
        """Makes the script's next requests, as many as may wait at once."""
        while self._script and self._in_flight < self._window and not self.closed:
            if self._now < self._next_request:
                return
            self._in_flight += 1
            self.ask(self._script.popleft(), self._played)

    def _played(self, answer: Answer) -> None:
        self._in_flight -= 1
        if self.behaviour.patience and self._script and answer.outcome != "unsent":
            pause = self._rng.random() * self.behaviour.patience
            self._next_request = self._now + pause
            self._at(pause, lambda: None)

    def _react(self, events: Sequence[Opened | Message]) -> None:
        for event in events:
            if self.closed:
                return
            if isinstance(event, Opened):
                continue
            if event.kind == REQUEST:
                self._handlers += 1
                state = self.endpoint.state
                user = state.user if self.endpoint.fmt.secure else None
                self._run(self.service.handle(event.payload, user, state.role), event.number, None)
            elif event.kind in (RESPONSE, ERROR):
                exchange, done = self._waiting.pop(event.number)
                exchange.answer = Answer("answer" if event.kind == RESPONSE else "error", event.payload)
                done(exchange.answer)
            elif event.kind == GOODBYE:
                self.close("the other side said goodbye")

    def _run(self, handler: Handler, number: int, value: Any) -> None:
        """Runs a handler until it waits or is over."""
        later: Later | None = None
        while not self.closed:
            try:
                wish = handler.throw(value) if isinstance(value, Failed) else handler.send(value)
            except StopIteration as end:
                self._handled(number, end.value, None, later)
                return
            except Failed as why:
                self._handled(number, None, str(why), later)
                return
            except Exception as why:  # a handler's own mistake, such as a count that is not a number
                self._handled(number, None, f"{type(why).__name__}: {why}", later)
                return
            value = None
            if isinstance(wish, Ask):
                self.ask(wish.datum, lambda answer: self._at(0, lambda: self._resume(handler, number, answer)))
                return
            if isinstance(wish, Pause):
                self._at(wish.seconds, lambda: self._run(handler, number, None))
                return
            if isinstance(wish, Later):
                if self.endpoint.fmt.lockstep:
                    self._chain(list(wish.datums), lambda: self._run(handler, number, None))
                    return
                later = wish
            if wish is CLOSE:
                self.close("closed by a handler")
        handler.close()

    def _chain(self, datums: list[Datum], then: Callable[[], None]) -> None:
        """Makes requests one after the other, and then goes on."""
        if not datums:
            self._at(0, then)
        else:
            self.ask(datums[0], lambda _: self._chain(datums[1:], then))

    def _resume(self, handler: Handler, number: int, answer: Answer) -> None:
        text = answer.value if isinstance(answer.value, str) else ""
        self._run(handler, number, answer.value if answer.outcome == "answer" else Failed(text))

    def _handled(self, number: int, value: Datum, failed: str | None, later: Later | None) -> None:
        def respond() -> None:
            self._handlers -= 1
            if self.closed:
                return
            self._answer(number, value, failed)
            for index, datum in enumerate(later.datums if later else ()):
                self._at(
                    (index + 1) * (later.seconds if later else 0), lambda datum=datum: self.ask(datum, lambda _: None)
                )

        shuffles = not self.endpoint.fmt.lockstep and self._rng.random() < self.behaviour.shuffle
        if shuffles:
            self._at(self._rng.random() * self.behaviour.hold, respond)
        else:
            respond()

    def _answer(self, number: int, value: Datum, failed: str | None) -> None:
        """Answers, with an error where the answer cannot travel."""
        if failed is None:
            try:
                return self.endpoint.respond(number, value)
            except CannotCarry:
                failed = TOO_LONG
            except Unwritable as why:
                failed = str(why)
        try:
            self.endpoint.fail(number, failed)
        except CannotCarry:
            self.endpoint.fail(number, TOO_LONG)
        return None
