"""Profiles: which bytes are spoken, as data.

What this module knows: that a wire format has layers, and which strategy stands for each. What it refuses to know:
how any of them works. A `Connection` resolves its profile once, to bound functions; no packet pays for the choice.

`inferred-1` follows every documented fact about the egg and fills the gaps with choices of this project. It is not the
egg's own format, and nothing here says so: the name `egg-0.2` is kept free for the profile that a real egg confirms.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from ...errors import ProfileError
from ...keys import Key
from ...keys import passphrase_to_key as _passphrase_to_key
from ...sexpr import CHICKEN_4, Dialect
from ..boxes import KEY_BYTES, NonceScheme, Sent
from ..framing import Framing, LengthPrefix
from ..hello import Hello, UsernameThenKey
from ..messages import Messages, TaggedList
from ..packets import PacketForm, Packets

__all__ = [
    "DERIVATIONS",
    "ENVIRONMENT",
    "INFERRED_1",
    "Derivation",
    "KeyDerivation",
    "Profile",
    "ProfileLike",
    "Sha512First32",
    "get_profile",
    "passphrase_to_key",
]

ENVIRONMENT = "BOKBOK_PROFILE"
"""The environment variable that names the profile where none is given."""


class KeyDerivation(Protocol):
    """Strategy: passphrase bytes to the 32 bytes of a key."""

    def __call__(self, passphrase: bytes) -> bytes:
        """Passphrase bytes to key bytes."""


@dataclass(frozen=True)
class Sha512First32:
    """`inferred-1`: the first 32 bytes of SHA-512 over the passphrase's bytes."""

    name: str = "sha512-first-32"

    def __call__(self, passphrase: bytes) -> bytes:
        """Passphrase bytes to the 32 bytes of a key."""
        return hashlib.sha512(passphrase).digest()[:KEY_BYTES]


def _padded(passphrase: bytes) -> bytes:
    return passphrase[:KEY_BYTES].ljust(KEY_BYTES, b"\0")


def _sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def _from_hex(passphrase: bytes) -> bytes:
    try:
        key = bytes.fromhex(passphrase.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ProfileError(f"a key of this profile is given as {2 * KEY_BYTES} hexadecimal digits, for a passphrase")
    return key


DERIVATIONS: dict[str, Callable[[bytes], bytes]] = {
    "sha512-first-32": lambda p: _sha512(p)[:32],
    "sha512-last-32": lambda p: _sha512(p)[32:],
    "sha512-twice": lambda p: _sha512(_sha512(p))[:32],
    "sha512-twice-last-32": lambda p: _sha512(_sha512(p))[32:],
    "sha512-of-first-32": lambda p: _sha512(_sha512(p)[:32])[:32],
    "sha512-hex-twice": lambda p: _sha512(_sha512(p).hex().encode())[:32],
    "sha512-hex-first-32": lambda p: _sha512(p).hex().encode()[:32],
    "sha256": lambda p: hashlib.sha256(p).digest(),
    "sha256-twice": lambda p: hashlib.sha256(hashlib.sha256(p).digest()).digest(),
    "sha512-256": lambda p: hashlib.new("sha512_256", p).digest() if "sha512_256" in hashlib.algorithms_available
    else _sha512(p)[:32],
    "blake2b-256": lambda p: hashlib.blake2b(p, digest_size=32).digest(),
    "padded": _padded,
    "hex": _from_hex,
}  # fmt: skip
"""How a passphrase becomes a key, by name. `padded`: the passphrase itself, cut or filled with zeros to 32 bytes.
`hex`: there is no derivation, the passphrase is the key in 64 hexadecimal digits."""


@dataclass(frozen=True)
class Derivation:
    """A key derivation of the table `DERIVATIONS`.

    Attributes:
        name: which.
    """

    strategy: ClassVar[str] = "derivation"
    name: str = "sha512-first-32"

    def __post_init__(self) -> None:
        if self.name not in DERIVATIONS:
            raise ProfileError(f"no key derivation is called {self.name!r}; known: {', '.join(DERIVATIONS)}")

    def __call__(self, passphrase: bytes) -> bytes:
        """Passphrase bytes to the 32 bytes of a key."""
        return DERIVATIONS[self.name](passphrase)


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
    framing: Framing = field(default_factory=LengthPrefix)
    hello: Hello = field(default_factory=UsernameThenKey)
    nonces: NonceScheme = field(default_factory=Sent)
    messages: Messages = field(default_factory=TaggedList)
    dialect: Dialect = CHICKEN_4
    key_derivation: KeyDerivation = field(default_factory=Sha512First32)
    packets: Packets = field(default_factory=PacketForm)
    hello_framing: Framing | None = None
    hello_framed: int = 0
    about: str = ""

    @property
    def leaks(self) -> str | None:
        """What leaks because nonces repeat, in words; `None` for sound cryptography."""
        return self.nonces.leaks


INFERRED_1 = Profile("inferred-1")
"""The default profile: every documented fact, and this project's choices where nothing is documented."""

_BUILT_IN = {INFERRED_1.name: INFERRED_1}

ProfileLike = Profile | str | os.PathLike[str] | None
"""A profile, its name, the path of its file, or `None` for the default."""


def get_profile(profile: ProfileLike = None) -> Profile:
    """The profile that is meant.

    Args:
        profile: a profile; the name of one that is built in; the path of a profile file (it holds a `/`, ends in
            `.toml`, or is no `str`). `None`: what the environment variable `BOKBOK_PROFILE` says, else `inferred-1`.

    Raises:
        ProfileError: there is none of that name, or the file is none.
    """
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
    raise ProfileError(f"no profile is called {profile!r}; known: {known}; a file: its path, ending in .toml")


def passphrase_to_key(
    passphrase: str | bytes, *, profile: ProfileLike = None, derive: Callable[[bytes], bytes] | None = None
) -> Key:
    """Turn a passphrase into a key, as a wire profile has it (API reference: `passphrase->key`).

    Args:
        passphrase: any string. A `str` stands for its UTF-8 bytes; bytes that are no UTF-8 travel in it as
            `surrogateescape` has them.
        profile: whose key derivation; see `get_profile`. That of `inferred-1` (the first 32 bytes of SHA-512) is
            itself inferred.
        derive: passphrase bytes to 32 key bytes, instead of a profile's.

    Returns:
        The key, to be given to `open_connection`, or returned by a server's `user_to_key`.

    Raises:
        ProfileError: there is no such profile.

    Note:
        One hash is all there is between a passphrase and its key, on both sides, and no salt: whoever has
        recorded a hello can try passphrases at the speed of one hash each. Use long random ones, or key files.
    """
    return _passphrase_to_key(passphrase, derive=derive or get_profile(profile).key_derivation)
