"""Profiles: which bytes are spoken, as data, and their files.

A wire format has layers; a profile names a strategy for each. What this package knows: the layers, the strategies that
each may name, and how all of it stands in a file.

`inferred-1` follows every documented fact about the egg and fills the gaps with choices of this project. It is not the
egg's own format, and nothing here says so: the name `egg-0.2` is kept free for the profile that a real egg confirms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._later import lazily
from ._profile import ENVIRONMENT, INFERRED_1, Profile, ProfileLike, get_profile, passphrase_to_key

if TYPE_CHECKING:
    from ._file import dump_profile, load_profile, profile_schema, read_profile
    from ._layers import LAYERS, Layer, register
    from ._own import load_strategies

__all__ = [
    "ENVIRONMENT",
    "INFERRED_1",
    "LAYERS",
    "Layer",
    "Profile",
    "ProfileLike",
    "dump_profile",
    "get_profile",
    "load_profile",
    "load_strategies",
    "passphrase_to_key",
    "profile_schema",
    "read_profile",
    "register",
]

_WHERE = {
    "_file": ["dump_profile", "load_profile", "profile_schema", "read_profile"],
    "_layers": ["LAYERS", "Layer", "register"],
    "_own": ["load_strategies"],
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, __all__, _WHERE)
