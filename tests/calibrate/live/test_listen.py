"""In a server's place: foreign clients are answered although their format is not known at first."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bokbok_calibrate.derivation import Secrets
from bokbok_calibrate.live.listen import Listener, Talk
from bokbok_calibrate.report import verdict
from bokbok_calibrate.search.answer import Answer
from tests.support import foreign
from tests.support.calibrating import KNOWN, SECRETS, SHORT
from tests.support.foreign.layers.dialect import Dialect
from tests.support.foreign.layers.message import BinaryEnvelope, DatumEnvelope
from tests.support.foreign.layers.nonce import Counter
from tests.support.foreign.layers.packet_type import TypeByte
from tests.support.foreign.sexpr import read
from tests.support.fresh import fresh_problems

SOON = 60.0


@dataclasses.dataclass
class Listening:
    """A listener in a thread of its own."""

    address: tuple[str, str]
    listener: Listener
    answers: list[Answer]
    thread: threading.Thread

    def answer(self) -> Answer:
        self.thread.join(SOON)
        return self.answers[0]


@contextlib.contextmanager
def listening(secrets: Secrets, place: Path, connections: int = 1) -> Iterator[Listening]:
    ready = threading.Event()
    heard: list[str] = []
    listener = Listener(secrets, KNOWN, heard.append, patience=30)
    address = ("unix", str(place))
    answers: list[Answer] = []

    def run() -> None:
        answers.append(asyncio.run(listener.run(address, connections, ready=lambda _: ready.set())))

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(SOON)
    yield Listening(address, listener, answers, thread)
    thread.join(SOON)
    assert not thread.is_alive()


def played(fmt: foreign.Format, place: Path, lines: tuple[str, ...] = SHORT) -> tuple[Answer, list[str]]:
    """The result of a client's script, and how each of its requests ended."""
    secrets = SECRETS if fmt.secure else Secrets()
    with (
        listening(secrets, place) as ours,
        foreign.ForeignClient(fmt, ours.address, random=random.Random(3).randbytes) as client,
    ):
        outcomes = [client.exchange(read(line), timeout=SOON).outcome for line in lines]
    return ours.answer(), outcomes


FORMATS = {
    "inferred-1": foreign.inferred_1(),
    "insecure vectors": foreign.inferred_1(secure=False).with_layers(
        message=DatumEnvelope(("req", "rsp", "exn"), container="vector")
    ),
    "a tail for a datum": foreign.inferred_1().with_layers(message=DatumEnvelope(("q", "a", "e"), container="dotted")),
    "a binary header": foreign.inferred_1().with_layers(message=BinaryEnvelope()),
    "counters": foreign.inferred_1().with_layers(nonce=Counter("big", 1, "counted", 1)),
}


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=FORMATS)
def test_a_client_is_answered_in_its_own_format_which_is_then_known(fmt: foreign.Format, tmp_path: Path) -> None:
    answer, outcomes = played(fmt, tmp_path / "s")
    assert answer.status == 0
    assert set(outcomes) == {"answer", "error"}
    assert fresh_problems(answer.profiles[0], fmt) == []


def test_a_client_of_the_default_profile_is_recognised(tmp_path: Path) -> None:
    answer, _ = played(foreign.inferred_1(), tmp_path / "s", ('("ping" "12345")',))
    assert verdict(answer, secure=True).startswith("default profile, exact")


def test_what_was_said_to_a_client_counts_only_once_it_went_on() -> None:
    listener = Listener(SECRETS, KNOWN, [].append)
    talk = Talk(1)
    listener._talks.append(talk)
    talk.hear(b"hello")
    talk.said = b"a question"
    talk.trusted = True
    assert listener.recorded()[0].server == b""
    talk.hear(b"an answer")
    talk.said += b"a wrong answer"
    assert listener.recorded()[0].server == b"a question"


def test_a_clients_dialect_is_known_although_the_listener_wrote_in_another(tmp_path: Path) -> None:
    fmt = dataclasses.replace(foreign.inferred_1(), dialect=Dialect("chicken-5"))
    answer, outcomes = played(fmt, tmp_path / "s", (*SHORT[:6], SHORT[0]))
    assert set(outcomes) == {"answer", "error"}
    assert answer.status == 0
    assert answer.profiles[0].dialect.name == "chicken-5"


def test_a_client_that_counts_by_two_is_known_to_although_the_listener_counted_otherwise(tmp_path: Path) -> None:
    message = DatumEnvelope(client_first=0, server_first=1, step=2)
    answer, _ = played(foreign.inferred_1(secure=False).with_layers(message=message), tmp_path / "s", SHORT[:4])
    assert answer.status == 0
    assert answer.profiles[0].messages.id_step == 2


def test_types_in_front_of_a_servers_packets_are_left_open_where_no_client_went_on_after_an_answer(
    tmp_path: Path,
) -> None:
    fmt = foreign.inferred_1().with_layers(packet_type=TypeByte(1, 2, 3, 4))
    with (
        listening(SECRETS, tmp_path / "s") as ours,
        foreign.ForeignClient(fmt, ours.address) as client,
    ):
        assert client.exchange(read('("ping" "1")'), timeout=SOON).outcome == "lost"
    assert ours.answer().status == 3
    assert ours.answer().open
