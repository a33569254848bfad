"""Profiles: which bytes are spoken, as data, and their files.

What this package knows: that a wire format has layers, which strategy stands for each, and how each stands in a file.

`inferred-1` follows every documented fact about the egg and fills the gaps with choices of this project. It is not the
egg's own format, and nothing here says so: the name `egg-0.2` is kept free for the profile that a real egg confirms.
"""

from __future__ import annotations

from ._file import LAYERS, canonical, dump_profile, load_profile, plain, read_profile
from ._profile import (
    DERIVATIONS,
    ENVIRONMENT,
    INFERRED_1,
    Derivation,
    KeyDerivation,
    Profile,
    ProfileLike,
    Sha512First32,
    get_profile,
    passphrase_to_key,
)

__all__ = [
    "DERIVATIONS",
    "ENVIRONMENT",
    "INFERRED_1",
    "LAYERS",
    "Derivation",
    "KeyDerivation",
    "Profile",
    "ProfileLike",
    "Sha512First32",
    "canonical",
    "dump_profile",
    "get_profile",
    "load_profile",
    "passphrase_to_key",
    "plain",
    "read_profile",
]
