from __future__ import annotations

import asyncio

import pytest

from bokbok.sexpr import Symbol
from bokbok_interop.peers import puppet as module
from bokbok_interop.peers.base import Log, PuppetFault
from bokbok_interop.peers.puppet import Answer, Puppet, Raw, Trace

from .conftest import MemoryRunning

HELLO = b'(1 ok "fake" "0" (puppet-1 tcp (dialect chicken-4) (profile inferred-1) (unknown 1 2)))\n'


async def started() -> tuple[Puppet, MemoryRunning]:
    running = MemoryRunning()
    running.say(HELLO)
    puppet = await Puppet(running).start(5)
    assert await running.heard.get() == b"(1 hello)\n"
    return puppet, running


async def test_hello_tells_name_version_and_features() -> None:
    puppet, _ = await started()
    assert (puppet.name, puppet.version) == ("fake", "0")
    assert "tcp" in puppet.features
    assert "unix" not in puppet.features
    assert (puppet.features.dialect, puppet.features.profile) == ("chicken-4", "inferred-1")
    await puppet.kill()


async def test_a_command_is_one_line_with_its_number() -> None:
    puppet, running = await started()
    asked = asyncio.ensure_future(puppet.command("request", 3, ["echo", "a\nb", Symbol("x y")]))
    assert await running.heard.get() == b'(2 request 3 ("echo" "a\\nb" |x y|))\n'
    running.say(b"(2 response (1 2))\n")
    assert await asked == Answer("response", [[1, 2]])
    await puppet.kill()


async def test_answers_may_come_in_any_order_and_in_pieces() -> None:
    puppet, running = await started()
    two = asyncio.ensure_future(puppet.command("a"))
    three = asyncio.ensure_future(puppet.command("b"))
    await running.heard.get(), await running.heard.get()
    running.say(b'(3 ok "th')
    running.say(b'ree")\n(2 ok "two")\n')
    assert (await two).values == ["two"]
    assert (await three).values == ["three"]
    await puppet.kill()


async def test_raw_datums_are_sent_as_they_are() -> None:
    puppet, running = await started()
    asked = asyncio.ensure_future(puppet.command("request", 1, Raw(b"#xFF")))
    assert await running.heard.get() == b"(2 request 1 #xFF)\n"
    running.say(b"(2 ok)\n")
    await asked
    await puppet.kill()


async def test_events_go_to_the_owner_of_the_handle() -> None:
    puppet, running = await started()
    seen: list[object] = []
    puppet.own(7, lambda name, values, line: seen.append((name, values)))
    running.say(b'(event opened 7 -1 "alice" (unix "/x"))\n(event closed -1)\n(1000 ok)\n')
    await puppet.broke.wait()
    assert seen == [("opened", [7, -1, "alice", [Symbol("unix"), "/x"]]), ("closed", [-1])]
    await puppet.kill()


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (b"Traceback (most recent call last):\n", "nonsense", "is not a datum"),
        (b"hello\n", "nonsense", "neither an answer nor an event"),
        (b"\n", "nonsense", "is not a datum"),
        (b"(99 ok)\n", "nonsense", "never given or is answered"),
        (b"(event closed 12)\n", "nonsense", "names nothing"),
        (b"(event closed)\n", "nonsense", "without a handle"),
        (b"(event opened 7 5 #f ())\n", "nonsense", "HANDLE < 0"),
        (b"(event opened 7 -1 #f ())\n(event opened 7 -1 #f ())\n", "nonsense", "to two connections"),
        (b"(2 ok)\n(2 ok)\n", "nonsense", "never given or is answered"),
        (b"\xff\xfe(((\n", "nonsense", "is not a datum"),
    ],
)
async def test_nonsense_breaks_the_puppet_and_is_quoted(line: bytes, kind: str, words: str) -> None:
    puppet, running = await started()
    puppet.own(7, lambda *_: None)
    asked = asyncio.ensure_future(puppet.command("listen"))
    other = asyncio.ensure_future(puppet.command("listen"))
    await running.heard.get(), await running.heard.get()
    running.say(line)
    with pytest.raises(PuppetFault) as caught:
        await other
    assert caught.value.kind == kind
    assert words in caught.value.problem
    await asyncio.gather(asked, return_exceptions=True)
    with pytest.raises(PuppetFault):  # for good
        await puppet.command("hello")
    await puppet.kill()


async def test_an_endless_line_is_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 1_000)
    puppet, running = await started()
    for _ in range(20):
        running.say(b"x" * 100)
    await puppet.broke.wait()
    assert puppet.fault is not None
    assert puppet.fault.kind == "flooded"


async def test_events_without_end_are_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STRAY", 10)
    puppet, running = await started()
    puppet.own(7, lambda *_: puppet.stray())
    running.say(b"(event closed 7)\n" * 50)
    await puppet.broke.wait()
    assert puppet.fault is not None
    assert puppet.fault.kind == "flooded"


async def test_a_puppet_that_dies_fails_what_waits_with_how_and_its_last_words() -> None:
    puppet, running = await started()
    asked = asyncio.ensure_future(puppet.command("listen"))
    await running.heard.get()
    running.log.add(b"starting\nSegmentation violation\n")
    running.leave("was killed by SIGSEGV")
    with pytest.raises(PuppetFault) as caught:
        await asked
    assert caught.value.kind == "crashed"
    assert "SIGSEGV" in caught.value.problem
    assert "Segmentation violation" in caught.value.problem


async def test_a_command_without_answer_is_a_hang() -> None:
    puppet, _ = await started()
    with pytest.raises(PuppetFault) as caught:
        await puppet.command("listen", 1, timeout=0.05)
    assert caught.value.kind == "hung"
    assert "(2 listen 1)" in caught.value.problem
    await puppet.kill()


async def test_a_hello_that_is_none_is_nonsense() -> None:
    running = MemoryRunning()
    running.say(b"(1 ok)\n")
    with pytest.raises(PuppetFault, match="answered `hello`"):
        await Puppet(running).start(5)


async def test_the_late_answer_to_a_command_that_was_given_up_is_no_fault() -> None:
    puppet, running = await started()
    asked = asyncio.ensure_future(puppet.command("request", 1, "slow"))
    await running.heard.get()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    running.say(b'(2 response "late")\n')
    again = asyncio.ensure_future(puppet.command("hello"))
    await running.heard.get()
    running.say(b"(3 ok)\n")
    assert (await again).tag == "ok"
    await puppet.kill()


async def test_the_trace_has_both_directions_and_cuts_long_lines() -> None:
    puppet, running = await started()
    trace = Trace()
    asked = asyncio.ensure_future(puppet.command("request", 1, "x" * 9_000, trace=trace, role="client"))
    await running.heard.get()
    running.say(b"(2 response 1)\n")
    await asked
    assert [(role, way) for _, role, way, _ in trace.lines] == [("client", ">"), ("client", "<")]
    assert len(trace.lines[0][3]) < 5_000
    await puppet.kill()


def test_a_log_keeps_its_head_and_its_tail() -> None:
    log = Log()
    log.add(b"first words\n")
    for _ in range(600):
        log.add(b"x" * 1_023 + b"\n")
    log.add(b"last words\n")
    text = log.text()
    assert text.startswith("first words")
    assert text.endswith("last words\n")
    assert "dropped" in text
    assert len(text) < 400_000


def test_a_log_can_be_read_from_a_place() -> None:
    log = Log()
    log.add(b"before\n")
    mark = log.size
    log.add(b"after\n")
    assert log.text(mark) == "after\n"


async def test_a_puppet_of_another_protocol_is_refused() -> None:
    running = MemoryRunning()
    running.say(b'(1 ok "fake" "0" (puppet-2 tcp))\n')
    with pytest.raises(PuppetFault, match="puppet-2 is a protocol that this runner does not speak; expected puppet-1"):
        await Puppet(running).start(5)


async def test_a_puppet_that_closes_its_output_and_lives_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.05)
    puppet, running = await started()
    running.end_output()
    await puppet.broke.wait()
    assert puppet.fault is not None
    assert "closed its standard output" in puppet.fault.problem


async def test_a_puppet_that_ends_and_leaves_its_output_open_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.05)
    puppet, running = await started()
    running.how = "exited with status 5"
    running._end.set()
    await puppet.broke.wait()
    assert puppet.fault is not None
    assert puppet.fault.problem.startswith("exited with status 5, and something that it started holds its output open")


@pytest.mark.parametrize("event", [b"(event closed 1)\n", b'(event opened 1 %d #f (tcp "h" 1))\n'])
async def test_events_about_one_thing_without_end_are_a_flood(event: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPENED", 30)
    puppet, running = await started()
    puppet.own(1, lambda *_: None)
    running.say(b"".join(event % -(i + 1) if b"%d" in event else event for i in range(100)))
    await puppet.broke.wait()
    assert puppet.fault is not None
    assert puppet.fault.kind == "flooded"


async def test_control_bytes_of_nonsense_are_shown_escaped() -> None:
    puppet, running = await started()
    running.say(b"\x00\x1b[2J\x07\n")
    await puppet.broke.wait()
    assert puppet.fault is not None
    assert "\\x00\\x1b[2J\\x07" in puppet.fault.problem


async def test_a_pulse_is_measured_once_for_all() -> None:
    puppet, running = await started()
    one, two = asyncio.ensure_future(puppet.pulse()), asyncio.ensure_future(puppet.pulse())
    line = await running.heard.get()
    running.say(line.split(b" ")[0] + b' ok "fake" "0" (puppet-1))\n')
    assert await one == await two
    assert running.heard.empty()


async def test_a_puppet_without_a_pulse_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HUNG_SECONDS", 0.05)
    puppet, _ = await started()
    assert await puppet.pulse() is None
    assert puppet.fault is not None
    assert puppet.fault.kind == "hung"
