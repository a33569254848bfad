"""What a run has at the container engine, as far as it can be tested without an engine."""

from __future__ import annotations

import sys

import pytest

from bokbok_interop.peers import session
from bokbok_interop.peers.engine import Endpoint, Engine
from bokbok_interop.peers.session import unique_local_prefix


@pytest.mark.parametrize(
    ("chosen", "prefix"),
    [
        ("71ba5b9bb9", "fd71:ba5b:9bb9:1::"),
        ("71ba5b0bb9", "fd71:ba5b:bb9:1::"),
        ("0000000000", "fd00:0:0:1::"),
    ],
)
def test_a_prefix_is_spelt_as_peers_show_it(chosen: str, prefix: str) -> None:
    assert unique_local_prefix(bytes.fromhex(chosen)) == prefix


def test_what_is_not_waited_for_is_handed_over_to_the_clean_command(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(session.subprocess, "Popen", lambda words, **how: started.append(words))
    mine = session.Session(Engine(Endpoint("unix:///no/such/engine", "a test")))
    try:
        assert session.hand_over() == [mine.id]
        assert started == [[sys.executable, "-m", "bokbok_interop", "clean", "--run", mine.id]]
    finally:
        mine.end()
    assert session.hand_over() == []
