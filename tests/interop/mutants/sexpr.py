"""Peers that read or write datums wrongly."""

from __future__ import annotations

import sexpr as S

from ._mutant import mutant


@mutant("sexpr.symbols", role="client")
def symbols_without_bars() -> None:
    """Writes symbols without bars."""
    S.write_symbol = str


@mutant("sexpr.flonums", role="client")
def flonums_of_python() -> None:
    """Writes flonums as Python does."""
    S.write_flonum = repr
