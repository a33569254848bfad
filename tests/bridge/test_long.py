"""Long messages on a bridge: written beside its event loop, and nothing overtakes them on their way."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bokbok import wire
from tests.bridge.conftest import Rig
from tests.bridge.test_forwarding import CHICKEN_5_PROFILE
from tests.support.leaks import eventually_async
from tests.support.peers import SOON

DATUM = b"(" + b" ".join(b"%d" % number for number in range(50_000)) + b")"


class Gate:
    """Holds what a bridge writes in a thread, by `Connection.encode`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        encode = wire.Connection.encode

        def held(connection: Any, message: Any, **options: Any) -> bytes:
            self.begun.set()
            assert self.may_go_on.wait(SOON)
            return encode(connection, message, **options)

        monkeypatch.setattr(wire.Connection, "encode", held)

    async def reached(self) -> None:
        await eventually_async(self.begun.is_set, "it is being written")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def pair(rig: Rig, bridge: Any, listener: Any) -> tuple[Any, Any]:
    peer = await rig.raw_client(bridge)
    return peer, await rig.accepted(listener)


async def test_other_pairs_go_on_while_a_long_request_is_written_and_nothing_overtakes_it(rig: Rig, gate: Gate) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener)
    peer, target = await pair(rig, bridge, listener)
    other, others_target = await pair(rig, bridge, listener)
    await peer.send_message(b"(request 0 " + DATUM + b")", b"(request 1 x)")
    await gate.reached()
    await other.send_message(b"(request 0 y)")
    assert await others_target.receive() == b"(request 0 y)"
    await others_target.send_message(b"(response 0 z)")
    assert await other.receive() == b"(response 0 z)"
    await target.send_message(b"(request 0 back)")  # the other way is open
    assert await peer.receive() == b"(request 0 back)"
    await peer.send_message(b"(response 0 there)")  # behind the long one
    gate.may_go_on.set()
    assert await target.receive() == b"(request 0 " + DATUM + b")"
    assert await target.receive() == b"(request 1 x)"
    assert await target.receive() == b"(response 0 there)"


async def test_other_pairs_go_on_while_a_long_answer_is_written_and_the_end_comes_behind_it(
    rig: Rig, gate: Gate
) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener)
    peer, target = await pair(rig, bridge, listener)
    other, others_target = await pair(rig, bridge, listener)
    await peer.send_message(b"(request 0 x)", b"(request 1 x)")
    assert [await target.receive() for _ in range(2)] == [b"(request 0 x)", b"(request 1 x)"]
    await target.send_message(b"(response 0 " + DATUM + b")", b"(response 1 short)")
    await target.finish()
    await gate.reached()
    await other.send_message(b"(request 0 y)")
    assert await others_target.receive() == b"(request 0 y)"
    gate.may_go_on.set()
    assert await peer.receive() == b"(response 0 " + DATUM + b")"
    assert await peer.receive() == b"(response 1 short)"
    assert await peer.read_to_end() == b""


async def test_a_peer_may_say_that_it_sends_no_more_while_its_long_request_is_written(rig: Rig, gate: Gate) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener)
    peer, target = await pair(rig, bridge, listener)
    await peer.send_message(b"(request 0 " + DATUM + b")", b"(request 1 x)")
    await peer.finish()
    await gate.reached()
    gate.may_go_on.set()
    assert await target.receive() == b"(request 0 " + DATUM + b")"
    assert await target.receive() == b"(request 1 x)"
    assert await target.read_to_end() == b""


async def test_a_long_request_that_the_target_cannot_hold_fails_alone(rig: Rig) -> None:
    listener = await rig.raw_target()
    bridge = await rig.bridge(listener, profile=CHICKEN_5_PROFILE)
    peer, target = await pair(rig, bridge, listener)
    await peer.send_message(b"(request 0 " + DATUM[:-1] + b" 9999999999999999999))", b"(request 1 x)")
    assert await target.receive() == b"(request 0 x)"
    text = await peer.receive()
    assert text.startswith(b'(error 0 "the bridge cannot write the request to the target in chicken-4: ')
