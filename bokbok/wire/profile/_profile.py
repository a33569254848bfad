"""What a profile is: one strategy for each layer of a wire format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...errors import ProfileError
from ...keys import Key
from ...keys import passphrase_to_key as _passphrase_to_key
from ...sexpr import CHICKEN_4, Dialect
from ..boxes import NonceScheme, Sent
from ..derivation import Derivation, KeyDerivation
from ..framing import Framing, IntegerLength
from ..hello import Hello, TemplateHello
from ..messages import Messages, Shapes
from ..packets import PacketForm, Packets
from ..strategy import described

__all__ = ["ENVIRONMENT", "INFERRED_1", "Profile", "ProfileLike", "get_profile", "passphrase_to_key"]

ENVIRONMENT = "BOKBOK_PROFILE"
"""The environment variable that names the profile where none is given."""


@dataclass(frozen=True)
class Profile:
    """A wire format: one strategy for each layer.

    Attributes:
        name: how it is asked for.
        framing: how packets are told apart.
        hello: how a secure connection begins.
        nonces: which nonces boxes have, and where those stand.
        messages: the form of requests and answers.
        dialect: how datums are written and read.
        key_derivation: how a passphrase becomes a key.
        packets: what a message's packet is besides the box: a type in front, the box's encoding.
        hello_framing: how the packets of the hello are told apart, where that differs from `framing`.
        hello_framed: how many packets of the hello that is; 0 for all.
        about: where it comes from, in words.
    """

    name: str
    framing: Framing = field(default_factory=IntegerLength)
    hello: Hello = field(default_factory=TemplateHello)
    nonces: NonceScheme = field(default_factory=Sent)
    messages: Messages = field(default_factory=Shapes)
    dialect: Dialect = CHICKEN_4
    key_derivation: KeyDerivation = field(default_factory=Derivation)
    packets: Packets = field(default_factory=PacketForm)
    hello_framing: Framing | None = None
    hello_framed: int = 0
    about: str = ""

    def __post_init__(self) -> None:
        if self.hello_framing is None or self.hello_framing == self.framing:  # one spelling for one format
            object.__setattr__(self, "hello_framing", None)
            object.__setattr__(self, "hello_framed", 0)

    @property
    def leaks(self) -> str | None:
        """What leaks because nonces repeat, in words; `None` for sound cryptography."""
        return self.nonces.leaks

    def layers(self) -> dict[str, dict[str, Any]]:
        """The tables of its file with every default written out; no table for a layer that it does not have."""
        from ._layers import LAYERS  # which imports every strategy there is

        tables = {}
        for table, layer in LAYERS.items():
            strategy = getattr(self, layer.attribute)
            if strategy is not None:
                tables[table] = described(strategy)
        if self.hello_framing is not None:
            tables["hello-framing"]["packets"] = self.hello_framed
        return tables

    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, over the format alone: two spellings of one format have the same.

        It is taken over the JSON (keys sorted, no white space, ASCII) of the tables of its file with every default
        written out, `strategy` among them, without `name`, `about` and `dialect`. A strategy of your own counts by its
        name and its keys.
        """
        import hashlib  # only here: OpenSSL comes with it
        import json

        text = json.dumps(self.layers(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


INFERRED_1 = Profile("inferred-1")
"""The default profile: every documented fact, and this project's choices where nothing is documented."""

_BUILT_IN = {INFERRED_1.name: INFERRED_1}

ProfileLike = Profile | str | os.PathLike[str] | None
"""A profile, its name, the path of its file, or `None` for the default."""


def get_profile(profile: ProfileLike = None, *, strategies: Iterable[str | os.PathLike[str]] = ()) -> Profile:
    """Find a profile.

    Args:
        profile: a profile; the name of one that is built in; the path of a profile file (it holds a `/`, ends in
            `.toml`, or is not a `str`). `None`: what the environment variable `BOKBOK_PROFILE` says, else `inferred-1`.
        strategies: Python files with strategies of your own, which are run; see `load_strategies`.

    Raises:
        ProfileError: no profile has that name, or the file does not hold one.
    """
    if strategies:
        from ._own import load_strategies  # needs every layer

        load_strategies(strategies)
    if isinstance(profile, Profile):
        return profile
    if profile is None:
        profile = os.environ.get(ENVIRONMENT) or INFERRED_1.name
    if isinstance(profile, str) and profile in _BUILT_IN:
        return _BUILT_IN[profile]
    path = os.fspath(profile)
    if not isinstance(profile, str) or os.sep in path or path.endswith(".toml"):
        from ._file import load_profile  # needs this module

        return load_profile(path)
    known = ", ".join(_BUILT_IN)
    raise ProfileError(
        f"unknown profile {profile!r}; expected one of {known}, or the path of a file, which ends in .toml"
    )


def passphrase_to_key(
    passphrase: str | bytes, *, profile: ProfileLike = None, derive: Callable[[bytes], bytes] | None = None
) -> Key:
    """Turn a passphrase into a key, as a wire profile has it (API reference: `passphrase->key`).

    Args:
        passphrase: any string. A `str` stands for its UTF-8 bytes; bytes that are not valid UTF-8 travel in it as
            `surrogateescape` has them.
        profile: whose key derivation; see `get_profile`. That of `inferred-1` (the first 32 bytes of SHA-512) is
            itself inferred.
        derive: passphrase bytes to 32 key bytes, instead of a profile's.

    Returns:
        The key, to be given to `open_connection`, or returned by a server's `user_to_key`.

    Raises:
        ProfileError: the profile is unknown.

    Note:
        A key is one hash of its passphrase, without a salt, on both sides. Anyone who has recorded a hello can try
        passphrases at the cost of one hash each. Use long random ones, or key files.
    """
    return _passphrase_to_key(passphrase, derive=derive or get_profile(profile).key_derivation)
