"""The format under test reaches the puppets, and what they say about it is compared."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bokbok.sexpr import CHICKEN_5, Dotted, Symbol
from bokbok.wire import INFERRED_1, Profile
from bokbok.wire.framing import IntegerLength
from bokbok.wire.profile import ENVIRONMENT
from bokbok_interop.cases import REQUIREMENTS, Case
from bokbok_interop.matrix import Group
from bokbok_interop.model import Kind, Outcome, Result
from bokbok_interop.peers.local import LocalPeer
from bokbok_interop.peers.puppet import Features, Puppet
from bokbok_interop.play import Play
from bokbok_interop.runner import Runner, Settings
from bokbok_interop.spoken import Spoken

LE = Profile("le", framing=IntegerLength("u32-le"), dialect=CHICKEN_5)

OWN = """
from dataclasses import dataclass
from typing import ClassVar
from bokbok.wire.framing import IntegerLength
from bokbok.wire.profile import register

@register("framing")
@dataclass(frozen=True)
class Mine(IntegerLength):
    strategy: ClassVar[str] = "of-a-test-of-puppets"
"""


async def echo(t: Play) -> None:
    mine, _ = await t.pair()
    await mine.echo("x")


CASE = Case("connect.echo", "echo", Kind.REFERENCE, (REQUIREMENTS["open.tcp"],), echo)


async def play(peer: LocalPeer, spoken: Spoken) -> Result:
    runner = Runner({peer.name: peer}, Settings(timeout=5.0, spoken=spoken))
    [result] = await runner.run([Group(peer.name, peer.name, "unix", "insecure", [CASE])])
    return result


def ours(front: str, **environment: str) -> LocalPeer:
    return LocalPeer("ours", [sys.executable, "-m", f"bokbok_interop.puppets.{front}"], environment=environment)


@pytest.mark.parametrize("front", ["sync", "asyncio"])
async def test_a_puppet_speaks_the_profile_that_it_is_told_and_says_so(front: str) -> None:
    puppet = await Puppet(await ours(front).start()).start()
    assert puppet.features.profile == "inferred-1"
    await Spoken(LE).tell(puppet)
    assert (puppet.features.profile, puppet.features.dialect) == ("le", "chicken-5")
    await puppet.close()


@pytest.mark.parametrize("front", ["sync", "asyncio"])
async def test_the_profile_is_in_the_bytes(front: str) -> None:
    result = await play(ours(front), Spoken(LE))
    assert result.outcome is Outcome.PASSED, result.reason
    first = result.evidence["packets"][0]["ranges"][0]
    assert first["hex"] == len(b'(request 0 ("echo" "x"))').to_bytes(4, "little").hex()


@pytest.mark.parametrize("front", ["sync", "asyncio"])
async def test_puppets_ignore_the_environments_profile(front: str, tmp_path: Path) -> None:
    result = await play(ours(front, **{ENVIRONMENT: str(tmp_path / "no.toml")}), Spoken())
    assert result.outcome is Outcome.PASSED, result.reason


async def test_strategies_of_a_users_own_travel_with_the_profile(tmp_path: Path) -> None:
    puppet = await Puppet(await ours("sync").start()).start()
    text = 'bokbok-profile = 1\nname = "own"\n[framing]\nstrategy = "of-a-test-of-puppets"\n'
    refused = await puppet.command("profile", text, [])
    assert refused.tag == "invalid"
    assert "of-a-test-of-puppets" in str(refused.values)
    told = await puppet.command("profile", text, [_file("mine.py", OWN)])
    assert (told.tag, told.values[0]) == ("ok", Symbol("own"))
    for name in ("../mine.py", "", "/tmp/mine.py"):
        assert (await puppet.command("profile", text, [_file(name, OWN)])).tag == "invalid", name
    await puppet.close()


def _file(name: str, text: str) -> Any:
    return Dotted([name], text)


def test_the_texts_of_strategies_are_what_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    assert Spoken.of(LE, [path]).strategies == (("mine.py", OWN),)


TOLD = """
for number, verb, line in lines():
    if verb == "hello": say('(%s ok "fake" "0" (puppet-1 profiles unix insecure reference (profile le)))' % number)
    elif verb == "profile": say('(%s %ANSWER%)' % number)
    else: say('(%s ok)' % number)
"""


@pytest.mark.parametrize("answer", [f'ok le "{INFERRED_1.digest()}"', "unsupported", "ok le", 'invalid "what is that"'])
async def test_another_digest_fails_the_peer(fake_peer: Callable[..., LocalPeer], answer: str) -> None:
    result = await play(fake_peer(TOLD.replace("%ANSWER%", answer)), Spoken(LE))
    assert result.outcome is Outcome.FAILED
    assert "answered `profile` with" in result.reason
    assert LE.digest() in result.reason


async def test_a_puppet_of_another_profile_that_cannot_be_told_is_unsupported(
    fake_peer: Callable[..., LocalPeer],
) -> None:
    stated = TOLD.replace("profiles ", "").replace("(profile le)", "(profile inferred-1)")
    result = await play(fake_peer(stated), Spoken(LE))
    assert (result.outcome, "speaks the profile inferred-1, not le" in result.reason) == (Outcome.UNSUPPORTED, True)


def test_what_a_puppet_says_of_its_profile() -> None:
    def refused(spoken: Profile, *features: Any) -> bool:
        return bool(Spoken(spoken).refused_by(Features(list(features))))

    default, le, told = ([Symbol("profile"), Symbol(n)] for n in ("inferred-1", "le", "x"))
    assert not refused(LE)  # a puppet that does not say is judged by its bytes
    assert not refused(LE, le)
    assert refused(LE, default)
    assert not refused(LE, default, Symbol("profiles"))
    assert refused(LE, told)
    assert refused(INFERRED_1, le)
    # A name of the library's own profile means that format, whatever a file calls so; and the format counts, not the
    # name.
    assert refused(dataclasses.replace(LE, name="inferred-1"), default)
    assert not refused(dataclasses.replace(INFERRED_1, name="another-name"), default)
