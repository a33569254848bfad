"""Comparing profiles: what would tell two of them apart, if anything does.

What this module knows: how to let two profiles say the same things, and compare the bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bokbok.errors import BokbokError
from bokbok.wire import Profile, passphrase_to_key
from bokbok.wire.hello import Field, Template, TemplateHello

from ..conversation import Dialogue
from ..script import SCRIPT

__all__ = ["telling"]

_LONG = 70_000
_TALK: tuple[tuple[str, str], ...] = (
    *((f"the request {line}" if len(line) < 60 else f"a request of {len(line)} bytes", line) for line in SCRIPT),
    (f"a request of some {_LONG} bytes", f'("echo" "{"x" * _LONG}")'),
    ("a datum with symbols and keywords of all kinds", '("echo" (|a b| || #:c d: |E| |1| |.|))'),
)
"""What to say: a description, and the datum."""


def telling(one: Profile, other: Profile, *, secure: bool, user: str) -> str | None:
    """What would tell two profiles apart, in words; `None` if nothing would.

    Args:
        one: a profile.
        other: another.
        secure: whether connections are secure.
        user: the username.
    """
    for mine, theirs in zip(_spoken(one, secure, user), _spoken(other, secure, user), strict=False):
        if mine != theirs:
            return mine[0]
    return None


def _same(count: int) -> bytes:
    """Replaces randomness: the same bytes, in whatever order they are requested."""
    return b"\x5a" * count


def _spoken(profile: Profile, secure: bool, user: str) -> Iterator[tuple[str, bytes, bytes]]:
    """What is said, in words, and what each side sends for it."""
    profile = _fixed(profile)
    key = passphrase_to_key("any", derive=lambda _: bytes(32))
    dialogue = Dialogue(profile, user if secure else None, key, draw=_same)
    for words, line in _TALK:
        said = {"client": b"", "server": b""}
        try:
            dialogue.ask(line)
        except BokbokError as error:
            yield words, type(error).__name__.encode(), b""
            continue
        for role, data in dialogue.exchange():
            said[role] += data
        yield words, said["client"], said["server"]
        if not dialogue.is_open:
            return


def _fixed(profile: Profile) -> Profile:
    """The same, with zeros in place of bytes of unknown meaning."""
    hello = profile.hello
    if not isinstance(hello, TemplateHello):
        return profile

    def fixed(template: Template) -> Template:
        return Template(
            tuple(bytes(p.size) if isinstance(p, Field) and p.name == "any" else p for p in template.parts)
        )  # fmt: skip

    same = dataclasses.replace(
        hello, packets=tuple(map(fixed, hello.packets)), content=fixed(hello.content), key_field=fixed(hello.key_field)
    )  # fmt: skip
    return dataclasses.replace(profile, hello=same)
