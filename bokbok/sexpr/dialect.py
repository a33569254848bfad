"""The dialects: the external representation of CHICKEN 4 or of CHICKEN 5, byte for byte or safe to read back.

What this module knows: what tells the dialects apart, each choice under a name. The reader and the writer ask a dialect
for its attributes.
"""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

__all__ = ["CHICKEN_4", "CHICKEN_4_EXACT", "CHICKEN_5", "DIALECTS", "Dialect"]


@dataclasses.dataclass(frozen=True)
class Dialect:
    """A way to read and write datums. Compared by value; make variants with `dataclasses.replace`.

    Attributes:
        name: as the conformance suite's puppets announce it: `chicken-4`, `chicken-4-exact`, `chicken-5`.
        version: which CHICKEN's reader and set of values: 4 for CHICKEN 4.13.0 without the `numbers` egg (fixnums of
            63 bits, no exact numbers beyond), 5 for CHICKEN 5.3.0 (integers of any size, exact fractions, `#u64(…)`).
        exact: whether the writer prints what `write` of that CHICKEN prints, byte for byte, although some of it does
            not read back (flonums lose digits). If false, it prints as many digits as a flonum needs, and puts bars
            round every symbol that either CHICKEN would read as something else.
        keyword_style: how keywords are written, `suffix` for `foo:` and `hash` for `#:foo`. Both are always read.
        code: a number that follows from the others, for the accelerator.
    """

    name: str
    version: Literal[4, 5]
    exact: bool
    keyword_style: Literal["suffix", "hash"]
    code: int = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # The choices of spelling as one number, for the compiled writer, which is called for every message.
        code = (1 if self.exact else 0) | (2 if self.keyword_style == "hash" else 0) | (4 if self.version == 5 else 0)
        object.__setattr__(self, "code", code)

    def __str__(self) -> str:
        return self.name


CHICKEN_4: Final = Dialect("chicken-4", 4, False, "suffix")
"""What CHICKEN 4 reads, written so that every value reads back the same, in CHICKEN 5 too."""

CHICKEN_4_EXACT: Final = Dialect("chicken-4-exact", 4, True, "suffix")
"""Byte for byte what CHICKEN 4.13.0's `write` prints."""

CHICKEN_5: Final = Dialect("chicken-5", 5, True, "hash")
"""Byte for byte what CHICKEN 5.3.0's `write` prints."""

DIALECTS: Final = {dialect.name: dialect for dialect in (CHICKEN_4, CHICKEN_4_EXACT, CHICKEN_5)}
"""The dialects by name."""
