"""Profiles: which bytes are spoken, as data.

What this module knows: that a wire format has layers, and which strategy stands for each. What it refuses to know:
how any of them works. A `Connection` resolves its profile once, to bound functions; no packet pays for the choice.

`inferred-1` follows every documented fact about the egg and fills the gaps with choices of this project. It is not the
egg's own format, and nothing here says so: the name `egg-0.2` is kept free for the profile that a real egg confirms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import ProfileError
from ..sexpr import CHICKEN_4, Dialect
from .boxes import KEY_BYTES, Nonces, PrefixCounter
from .framing import Framing, LengthPrefix
from .hello import Hello, UsernameThenKey
from .messages import Messages, TaggedList

__all__ = ["INFERRED_1", "KeyDerivation", "Profile", "ProfileLike", "Sha512First32", "get_profile"]


@dataclass(frozen=True)
class Sha512First32:
    """`inferred-1`: the first 32 bytes of SHA-512 over the passphrase's bytes."""

    name: str = "sha512-first-32"

    def __call__(self, passphrase: bytes) -> bytes:
        """Passphrase bytes to the 32 bytes of a key."""
        return hashlib.sha512(passphrase).digest()[:KEY_BYTES]


KeyDerivation = Callable[[bytes], bytes]
"""Strategy: passphrase bytes to the 32 bytes of a key."""


@dataclass(frozen=True)
class Profile:
    """A wire format: one strategy for each layer.

    Attributes:
        name: how it is asked for.
        framing: how packets are told apart.
        hello: how a secure connection begins.
        nonces: how a side picks the nonces of its boxes.
        messages: the form of requests and answers.
        dialect: how datums are written and read.
        key_derivation: how a passphrase becomes a key.
    """

    name: str
    framing: Framing = field(default_factory=LengthPrefix)
    hello: Hello = field(default_factory=UsernameThenKey)
    nonces: Nonces = field(default_factory=PrefixCounter)
    messages: Messages = field(default_factory=TaggedList)
    dialect: Dialect = CHICKEN_4
    key_derivation: KeyDerivation = field(default_factory=Sha512First32)


INFERRED_1 = Profile("inferred-1")
"""The default profile: every documented fact, and this project's choices where nothing is documented."""

_BUILT_IN = {INFERRED_1.name: INFERRED_1}

ProfileLike = Profile | str | None
"""A profile, its name, or `None` for the default."""


def get_profile(profile: ProfileLike = None) -> Profile:
    """The profile that is meant.

    Raises:
        ProfileError: there is none of that name.
    """
    if profile is None:
        return INFERRED_1
    if isinstance(profile, Profile):
        return profile
    try:
        return _BUILT_IN[profile]
    except KeyError:
        known = ", ".join(_BUILT_IN)
        raise ProfileError(f"no profile is called {profile!r}; known: {known}") from None
