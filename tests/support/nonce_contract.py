"""What holds for every nonce scheme: a scheme's test derives from `NonceContract`, and names examples of the scheme."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest

from bokbok.errors import RemoteProtocolError

KEY, SESSION = bytes(range(32)), bytes(range(32, 64))


def numbered() -> Any:
    """Random bytes that can be told apart."""
    count = itertools.count(1)
    return lambda size: bytes((next(count),)) * size


def two_sides(scheme: Any) -> tuple[Any, Any]:
    """What the two sides of a connection start with."""
    return scheme.start("client", numbered()), scheme.start("server", lambda size: b"s" * size)


def zeros_stand_in_front_of_every_tag(scheme: Any) -> None:
    """Boxes of a scheme with 16 zeros hold them, and do not open if one of them is another byte."""
    client, server = two_sides(scheme)
    server.base = client.base
    box = client.key_sealer(KEY)(SESSION)
    assert bytes(16) in box
    assert len(box) == len(SESSION) + client.key_overhead
    assert server.key_opener(KEY)(box) == SESSION
    for sender, receiver in ((client, server), (server, client)):
        seal, opened = sender.sealer(SESSION), receiver.opener(SESSION, refuse_own=False)
        for text in (b"one", b"", b"three"):
            box = seal(text)
            assert bytes(16) in box
            assert len(box) <= len(text) + sender.overhead
            assert opened(box) == text
        with pytest.raises(RemoteProtocolError):
            opened(seal(b"four").replace(bytes(16), b"\0" * 15 + b"\1", 1))


class NonceContract:
    """The tests of every nonce scheme, run for each of `schemes`."""

    schemes: ClassVar[list[Any]]
    """Examples."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run the tests that want a scheme for each example."""
        if "scheme" in metafunc.fixturenames:
            metafunc.parametrize("scheme", self.schemes, ids=repr)

    def test_the_session_key_and_messages_both_ways_open(self, scheme: Any) -> None:
        client, server = two_sides(scheme)
        box = client.key_sealer(KEY)(SESSION)
        assert len(box) == 32 + client.key_overhead
        assert server.key_opener(KEY)(box) == SESSION
        for sender, receiver in ((client, server), (server, client)):
            seal, open_box = sender.sealer(SESSION), receiver.opener(SESSION, refuse_own=True)
            for i in range(10):
                body = b"message %d" % i
                box = seal(body)
                assert len(box) <= len(body) + sender.overhead
                assert open_box(box) == body

    def test_a_changed_box_does_not_open(self, scheme: Any) -> None:
        client, server = two_sides(scheme)
        box = bytearray(client.key_sealer(KEY)(SESSION))
        box[len(box) // 2] ^= 1
        with pytest.raises(RemoteProtocolError, match="the hello does not open"):
            server.key_opener(KEY)(bytes(box))
        box = bytearray(client.sealer(SESSION)(b"message"))
        box[len(box) // 2] ^= 1
        with pytest.raises(RemoteProtocolError, match="the packet does not open"):
            server.opener(SESSION, refuse_own=True)(bytes(box))

    def test_a_box_that_is_too_short_is_none(self, scheme: Any) -> None:
        _, server = two_sides(scheme)
        for open_box in (server.key_opener(KEY), server.opener(SESSION, refuse_own=True)):
            with pytest.raises(RemoteProtocolError, match=r"expected a box, of (16|40) bytes or more|does not open"):
                open_box(bytes(15))

    def test_no_nonce_is_used_twice_under_one_key_where_nothing_is_said_to_leak(self, scheme: Any) -> None:
        if scheme.leaks is not None:
            return
        count = 5 if getattr(scheme, "width", 24) == 1 else 200  # a counter of one byte wraps
        client, server = two_sides(scheme)
        server.key_opener(KEY)(client.key_sealer(KEY)(SESSION))
        boxes = [side.sealer(SESSION) for side in (client, server)]
        # The same text under one key: two equal boxes would be two equal nonces.
        tails = {seal(b"the same text")[-16:] for seal in boxes for _ in range(count)}
        assert len(tails) == 2 * count

    def test_spans_cover_a_box_once_and_in_order(self, scheme: Any) -> None:
        client, server = two_sides(scheme)
        server.base = client.base
        key_box = client.key_sealer(KEY)(SESSION)
        server.key_opener(KEY)(key_box)
        covered(scheme.key_spans(len(key_box)), key_box, len(SESSION), scheme.zeros)
        for side, role in ((client, "client"), (server, "server")):
            seal = side.sealer(SESSION)
            for number, body in enumerate((b"one", b"", b"three")):
                box = seal(body)
                covered(scheme.spans(role, len(box), first=number == 0), box, len(body), scheme.zeros)


def covered(spans: list[Any], box: bytes, size: int, zeros: int) -> None:
    """Whether the spans are those of a box of so many bytes, with so many zeros in front of its tag."""
    assert [span.start for span in spans] == [0, *(span.end for span in spans[:-1])]
    assert spans[-1].end == len(box)
    sizes = {span.name: span.end - span.start for span in spans}
    assert len(sizes) == len(spans)
    assert sizes.pop("nonce", 24) == 24
    assert sizes.pop("zeros", 0) == zeros
    assert all(box[span.start : span.end] == bytes(zeros) for span in spans if span.name == "zeros")
    assert sizes.pop("tag") == 16
    assert sizes.pop("ciphertext", 0) == size
    assert not sizes
