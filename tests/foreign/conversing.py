"""What the tests of foreign peers share: playing a conversation and saying whether anything was lost in it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.support.foreign import CONFORMANCE, Capture, Exchange, Format, record
from tests.support.foreign.scripts import random_datum
from tests.support.foreign.sexpr import Datum, same, write


def short_script(seed: int) -> list[Datum]:
    """One request of every sort, and some random ones."""
    rng = Random(seed)
    return [*CONFORMANCE, *(["echo", random_datum(rng)] for _ in range(4)), ["asynch"]]


def expected(request: Datum) -> tuple[str, Datum] | None:
    """What must become of a request, where that can be said without its history."""
    assert isinstance(request, list)
    name, *arguments = request
    if name == "echo":
        return "answer", arguments[0]
    if name == "ping":
        return "answer", ["pong", arguments[0]]
    if name == "relay":
        return "answer", arguments[1]
    if name == "callback" and len(arguments) == 2:
        count = arguments[0]
        assert isinstance(count, int)
        return "answer", [[index, arguments[1]] for index in range(count)]
    return None


def wrong(exchange: Exchange) -> str | None:
    """What is wrong about what became of a request."""
    answer, request = exchange.answer, exchange.request
    if answer is None or answer.outcome == "lost":
        return f"{exchange.asker}: no answer to {request!r}"
    if answer.outcome == "unsent":
        return None if len(write(request)) > 60 else f"{exchange.asker}: a short request was not sent: {request!r}"
    assert isinstance(request, list)
    if request[0] in ("fail", "raise", "no-such-request"):
        text = request[1] if request[0] == "fail" else from_words(request)
        is_there = answer.outcome == "error" and isinstance(answer.value, str) and str(text) in answer.value
        return None if is_there else f"{exchange.asker}: {answer} to {request!r}"
    wanted = expected(request)
    if answer.outcome == "error":
        # A long answer may not fit into a small packet: then an error stands for it.
        return None if answer.value is not None and "too long" in str(answer.value) else f"{answer} to {request!r}"
    if wanted is not None and not same(answer.value, wanted[1]):
        return f"{exchange.asker}: {answer.value!r} to {request!r}"
    return None


def from_words(request: Datum) -> str:
    """What an error that quotes a request contains at least."""
    assert isinstance(request, list)
    return write(request[1]).decode()


def faults(capture: Capture) -> list[str]:
    """Everything that is wrong about a conversation."""
    found = [wrong(exchange) for exchanges in capture.exchanges for exchange in exchanges]
    return capture.failures + [fault for fault in found if fault is not None]


def converse(fmt: Format, seed: int, script: Sequence[Datum] | None = None, connections: int = 1) -> Capture:
    """Records a conversation in which nothing may be lost."""
    datums = short_script(seed) if script is None else script
    capture = record(fmt, datums, Random(seed), connections=connections)
    assert faults(capture) == [], fmt.text()
    asked = [exchange.asker for exchange in capture.exchanges[0]]
    assert asked.count("client") >= len(datums), asked
    assert asked.count("server") >= 3, "no callbacks"
    return capture
