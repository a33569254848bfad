"""The format that a run is about, and how peers are told to speak it.

A puppet that claims `profiles` is told the profile, and answers with its digest. Any other puppet is believed: it
speaks the profile if it says so, or if it does not name any. Its bytes show whether that is true (`proof`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bokbok.errors import ProfileError
from bokbok.sexpr import Dotted
from bokbok.wire import INFERRED_1, Guards, Profile, check_cryptography, get_profile
from bokbok.wire.profile import dump_profile

from .peers.puppet import HELLO_SECONDS, Features, Puppet

__all__ = ["Spoken"]


def _built_in(name: str) -> Profile | None:
    """The library's own profile of this name, which a puppet states. It is never a file's."""
    try:
        return None if os.sep in name or name.endswith(".toml") else get_profile(name)
    except ProfileError:
        return None


@dataclass(frozen=True)
class Spoken:
    """The format that all peers of a run must speak.

    Attributes:
        profile: the wire format.
        strategies: Python files with the user's own strategies that the profile names: names and texts. They are sent
            to puppets, which execute them.
    """

    profile: Profile = INFERRED_1
    strategies: tuple[tuple[str, str], ...] = ()
    _names: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, profile: Profile, paths: Iterable[str | os.PathLike[str]] = ()) -> Spoken:
        """Make one with the texts of these files of strategies, which are loaded already."""
        texts = [Path(path).read_text(encoding="utf-8", errors="surrogateescape") for path in paths]
        return cls(profile, tuple(zip([Path(path).name for path in paths], texts, strict=True)))

    def refused_by(self, features: Features) -> str:
        """Why a puppet with these features does not speak it, by its own account; empty if it does."""
        stated = features.profile
        if stated is None or "profiles" in features or self._is_called(stated):
            return ""
        return f"speaks the profile {stated}, not {self.profile.name}, and cannot be told another (profiles)"

    def _is_called(self, name: str) -> bool:
        if name not in self._names:  # a digest takes as long as a small cell
            built_in = _built_in(name)
            # A name of one of the library's own profiles means that format, whatever the format under test is called.
            same = name == self.profile.name if built_in is None else built_in.digest() == self.profile.digest()
            self._names[name] = same
        return self._names[name]

    def check(self, securities: Iterable[str], guards: Guards) -> None:
        """Refuse broken cryptography, unless its guard is off or secure connections are not played.

        Raises:
            ProfileError: the cryptography is broken.
        """
        if "secure" in securities:
            check_cryptography(self.profile, guards)

    async def tell(self, puppet: Puppet) -> None:
        """Tell a puppet to speak it, if the puppet accepts that.

        Raises:
            PuppetFault: the puppet cannot, or says that it speaks something else or something unknown.
        """
        if "profiles" not in puppet.features:
            stated = puppet.features.profile
            if stated is not None and _built_in(stated) is None and not self._is_called(stated):
                raise puppet.breaks(f"the profile {stated} is unknown; expected {self.profile.name}, or see --profile")
            return
        files: list[Any] = [Dotted([name], text) for name, text in self.strategies]
        answer = await puppet.command("profile", dump_profile(self.profile), files, timeout=HELLO_SECONDS)
        digest = self.profile.digest()
        if answer.tag != "ok" or len(answer.values) != 2 or answer.values[1] != digest:
            raise puppet.breaks(
                f"answered `profile` with {answer}; expected ok NAME {digest!r}, the digest of {self.profile.name}"
            )
        await puppet.say_hello()  # its dialect may have changed
