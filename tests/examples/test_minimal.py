"""The puppet of the example implementation: what the conformance suite does not play with it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.chicken.driving import Puppet

PUPPET = Path(__file__).resolve().parents[2] / "interop" / "examples" / "minimal" / "puppet.py"


def test_a_signal_releases_all_who_wait_for_its_name_now_and_later() -> None:
    puppet = Puppet(Path(sys.executable), str(PUPPET))
    assert " rendezvous " in puppet.command("hello")
    host, port = puppet.listen(1, '(tcp "127.0.0.1" 0)')
    assert puppet.command(f'connect 2 (tcp "{host}" {port}) #f #f') == "ok"
    held = [puppet.start(f'request 2 ("await" "{name}")') for name in ("a", "a", "b")]
    for _ in held:
        puppet.event("awaiting ")
    assert puppet.command('signal "a"') == "ok 2"
    assert [puppet.answer(number) for number in held[:2]] == ['response "a"'] * 2
    assert puppet.command('request 2 ("await" "a")') == 'response "a"'
    assert puppet.command('signal "b"') == "ok 1"
    assert puppet.answer(held[2]) == 'response "b"'
    assert puppet.end() == 0
