"""A server alone: it is asked in one format after another."""

from __future__ import annotations

import dataclasses
import itertools
import socket
from pathlib import Path

import pytest

from bokbok import service
from bokbok.sync import start_server
from bokbok.wire import INFERRED_1, passphrase_to_key
from bokbok.wire.framing import Datums
from bokbok_calibrate.live.probe import Probe, candidates
from bokbok_calibrate.report import verdict
from bokbok_traffic.recording import from_capture
from tests.support import foreign
from tests.support.calibrating import INSECURE, SECRETS, solved

KEY = passphrase_to_key("mypassphrase")
ADDRESS = ("tcp", "127.0.0.1")


async def test_the_default_server_answers_at_once(tmp_path: Path) -> None:
    place = str(tmp_path / "s")
    told: list[str] = []
    probe = Probe(SECRETS, told.append)
    with start_server(place, service.handler(), user_to_key=lambda user: KEY if user == "myuser" else None):
        capture = await probe.run(("unix", place), 0, 5)
    assert (probe.tried, told) == (1, ["after 1 connections: an answer"])
    answer = solved(from_capture(capture))
    assert verdict(answer, secure=True).startswith("default profile, exact")
    assert list(probe.notes()) == ["1 connection: 1 answered"]


async def test_a_server_of_other_tags_is_found_once_its_hello_is(tmp_path: Path) -> None:
    fmt = foreign.inferred_1()
    envelope = fmt.message.__class__(("req", "res", "err"))
    told: list[str] = []
    probe = Probe(SECRETS, told.append)
    with foreign.ForeignServer(fmt.with_layers(message=envelope), ("unix", str(tmp_path / "s"))) as server:
        capture = await probe.run(server.address, 0, 20)
    assert any("a hello was accepted, the request was not" in line for line in told)
    assert solved(from_capture(capture)).status == 0


async def test_a_server_that_answers_to_nothing_is_left_after_so_many_tries(tmp_path: Path) -> None:
    probe = Probe(INSECURE, [].append)
    with foreign.ForeignServer(foreign.inferred_1(), ("unix", str(tmp_path / "s"))) as server:
        capture = await probe.run(server.address, 0, 3)
    assert list(capture.chunks) == []
    assert probe.tried == 3
    assert any("a client that speaks to this server would show its format" in note for note in probe.notes())


async def test_a_server_that_cannot_be_reached_is_said_to_be(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match="the server cannot be reached"):
        await Probe(SECRETS, [].append).run((*ADDRESS, port), 0, 5)


def test_the_default_comes_first() -> None:
    _, first = next(candidates(SECRETS))
    assert dataclasses.replace(first, name=INFERRED_1.name) == INFERRED_1


def test_a_peer_of_nothing_but_write_and_read_is_among_the_first() -> None:
    framings = [profile.framing for _, profile in itertools.islice(candidates(SECRETS), 20)]
    assert Datums(b"\n") in framings


def test_an_insecure_server_is_asked_in_fewer_ways() -> None:
    secure, insecure = (sum(1 for _ in itertools.islice(candidates(s), 5000)) for s in (SECRETS, INSECURE))
    assert insecure < secure
