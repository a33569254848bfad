"""Messages: from plaintexts, one form of request, response and error that fits all of them.

What this module knows: that messages are datums (`fit_datums`) or have a binary header (`fit_binary`), and what makes a
form that fits unlikely.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bokbok.wire.messages import REQUEST

from ..clock import Clock
from .body import Body, Fit
from .datums import fit_datums
from .header import fit_binary

__all__ = ["fit_messages"]


def fit_messages(bodies: Sequence[Body], known: set[bytes], clock: Clock, *, whole: bool = True) -> list[Fit]:
    """Find the forms of request, response and error.

    Args:
        bodies: plaintexts, in order for each connection and direction.
        known: datums that may be expected, as written.
        clock: says when to give up.
        whole: whether the recording is complete; else some answers may belong to requests that were not recorded.

    Returns:
        The messages that fit all of them, best first; often one, none if nothing fits.
    """
    if not bodies:
        return []
    ending = _ending_of(bodies)
    inner = [replace(body, data=body.data.removesuffix(ending)) for body in bodies] if ending else bodies
    fits = fit_datums(bodies, inner, ending.decode("ascii"), known, clock, whole=whole)
    if not any(fit.hits for fit in fits):
        # The bytes of a header may read as a symbol.
        fits += fit_binary(bodies, known, clock, whole=whole)
        fits = [fit for fit in fits if fit.hits] or fits
    for fit in fits:
        fit.doubts = _doubts(bodies, fit)
        fit.said = {(body.source, kind) for body, kind in zip(bodies, fit.kinds, strict=True)}
    fits.sort(key=lambda fit: (len(fit.doubts), -fit.score))
    return fits


def _doubts(bodies: Sequence[Body], fit: Fit) -> list[str]:
    """What makes messages that fit unlikely."""
    out = []
    firsts: dict[int, int] = {}
    for body, kind in zip(bodies, fit.kinds, strict=True):
        if body.source == "client":
            firsts.setdefault(body.conn, kind)
    if any(kind != REQUEST for kind in firsts.values()):
        out.append("the client begins with an answer")
    return out


_WHITE_SPACE = re.compile(rb"[ \t\r\n\v\f]*\Z")


def _ending_of(bodies: Sequence[Body]) -> bytes:
    """The white space at the end of every plaintext."""
    endings = []
    for body in bodies:
        found = _WHITE_SPACE.search(body.data)
        endings.append(found[0] if found else b"")
    return min(endings, key=len) if len(set(endings)) == 1 else b""
