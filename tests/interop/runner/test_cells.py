"""How one cell is played, and its outcome in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bokbok_interop.cases import Case
from bokbok_interop.cases.requirements import REQUIREMENTS
from bokbok_interop.model import Kind, Outcome
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.play import Play, Unsupported
from tests.interop.playing import ANSWERS, SILENT, key, make_case, nothing, play


async def test_a_good_puppet_passes(fake_peer: Callable[..., LocalPeer]) -> None:
    results, runner = await play(fake_peer(ANSWERS), make_case("key", key))
    assert [result.outcome for result in results] == [Outcome.PASSED]
    assert runner.about["fake"]["name"] == "fake"


async def test_a_puppet_that_hangs_fails_by_the_time_limit_which_says_what_was_awaited(
    fake_peer: Callable[..., LocalPeer],
) -> None:
    async def asks(t: Play) -> None:
        await t.client.command("request", 1, "x")

    peer = fake_peer(SILENT)
    results, _ = await play(peer, make_case("asks", asks), timeout=0.3)
    assert results[0].outcome is Outcome.FAILED
    assert "timed out after 0.3 seconds" in results[0].reason
    assert '(request "x")' in results[0].reason


async def test_nonsense_fails_the_cell_and_is_quoted(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else: say("DEBUG: got a command"); say("(%s ok)" % number)
"""
    )
    results, _ = await play(peer, make_case("key", key))
    assert results[0].outcome is Outcome.FAILED
    assert "DEBUG: got a command" in results[0].reason


async def test_a_flood_of_output_fails_the_cell(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    elif verb == "key":
        while True: say("(%s ok)" % number)
"""
    )
    results, _ = await play(peer, make_case("key", key), make_case("other", nothing))
    outcomes = {result.cell.case: result.outcome for result in results}
    assert outcomes["connect.other"] is Outcome.PASSED


async def test_a_log_without_end_is_bounded(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else:
        for i in range(3000): sys.stderr.write("x" * 1000 + "\\n")
        say('(%s invalid "no")' % number)
"""
    )
    results, _ = await play(peer, make_case("key", key))
    assert results[0].outcome is Outcome.FAILED
    assert len(results[0].evidence["client_log"]) < 400_000


async def test_a_failure_says_which_sentence_was_broken(fake_peer: Callable[..., LocalPeer]) -> None:
    async def no_answer_to_stop(t: Play) -> None:
        await t.client.command("stop", 1, timeout=0.2)

    async def no_answer_at_all(t: Play) -> None:
        await t.client.command("wait", 1)

    peer = fake_peer(SILENT)
    cases = make_case("stop", no_answer_to_stop), make_case("wait", no_answer_at_all), make_case("key", key)
    results, _ = await play(peer, *cases, timeout=0.5)
    assert [result.sentence for result in results] == ["stop-server", "wait-stopped", ""]


async def test_a_missing_program_is_absent_with_the_reason() -> None:
    results, runner = await play(LocalPeer("ghost", "/no/such/program --flag"), make_case("one", nothing))
    assert results[0].outcome is Outcome.ABSENT
    assert "/no/such/program" in results[0].reason
    assert "/no/such/program" in runner.absent["ghost"]


async def test_a_missing_feature_makes_the_cell_unsupported(fake_peer: Callable[..., LocalPeer]) -> None:
    results, _ = await play(fake_peer(ANSWERS), make_case("six", nothing, needs=("ipv6",)))
    assert results[0].outcome is Outcome.UNSUPPORTED
    assert results[0].reason == "fake lacks the feature ipv6"


@pytest.mark.parametrize(("strict", "outcome"), [(False, Outcome.UNSUPPORTED), (True, Outcome.PASSED)])
async def test_a_kind_that_is_not_claimed_is_unsupported_unless_strict(
    fake_peer: Callable[..., LocalPeer], strict: bool, outcome: Outcome
) -> None:
    peer = fake_peer('FEATURES = "(puppet-1 tcp unix secure insecure reference)"\n' + ANSWERS)
    case = Case("connect.p", "p", Kind.PROFILE, (REQUIREMENTS["profile.key"],), nothing)
    results, _ = await play(peer, case, strict=strict)
    assert results[0].outcome is outcome


async def test_unsupported_by_the_puppets_own_word(fake_peer: Callable[..., LocalPeer]) -> None:
    peer = fake_peer(
        """
for number, verb, line in lines():
    if verb == "hello": hello(number)
    else: say('(%s unsupported "key")' % number)
"""
    )
    results, _ = await play(peer, make_case("key", key))
    assert results[0].outcome is Outcome.UNSUPPORTED


async def test_unsupported_raised_by_a_case_is_unsupported(fake_peer: Callable[..., LocalPeer]) -> None:
    async def lacks(t: Play) -> None:
        raise Unsupported("not here")

    results, _ = await play(fake_peer(ANSWERS), make_case("lacks", lacks))
    assert (results[0].outcome, results[0].reason) == (Outcome.UNSUPPORTED, "not here")


async def test_a_failure_keeps_expected_actual_and_evidence(fake_peer: Callable[..., LocalPeer]) -> None:
    async def wrong(t: Play) -> None:
        await t.client.command("key", "x")
        t.equal(1, 2, "one is not two")

    results, _ = await play(fake_peer('sys.stderr.write("a log\\n")\n' + ANSWERS), make_case("wrong", wrong))
    result = results[0]
    assert (result.outcome, result.expected, result.actual) == (Outcome.FAILED, "2", "1")
    assert any('(key "x")' in line or 'key "x"' in line for _, _, _, line in result.evidence["datums"])
    assert {"client_log", "server_log", "dump", "packets"} <= set(result.evidence)


async def test_a_case_that_breaks_says_so_and_does_not_end_the_run(fake_peer: Callable[..., LocalPeer]) -> None:
    async def broken(t: Play) -> None:
        raise KeyError("oops")

    results, _ = await play(fake_peer(ANSWERS), make_case("broken", broken), make_case("fine", nothing))
    outcomes = {result.cell.case: result for result in results}
    assert "the case itself broke" in outcomes["connect.broken"].reason
    assert outcomes["connect.fine"].outcome is Outcome.PASSED


async def test_the_seed_fixes_what_is_random(fake_peer: Callable[..., LocalPeer]) -> None:
    seeds: list[int] = []

    async def note(t: Play) -> None:
        seeds.append(t.seed)

    for seed in (1, 1, 2):
        await play(fake_peer(ANSWERS), make_case("note", note), seed=seed)
    assert seeds[0] == seeds[1] != seeds[2]
