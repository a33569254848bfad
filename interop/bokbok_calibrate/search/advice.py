"""Advice: what to do next if nothing was found.

What this module knows: likely mistakes of a person with a recording, and what can be done by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bokbok_traffic.recording import Recorded

from ..derivation import Secrets
from .findings import Trail

__all__ = ["advice"]

_SAMPLE = 4096
_MOSTLY = 0.9
_NAME = re.compile(rb'"([^"\\]{1,64})"|([A-Za-z][A-Za-z0-9._@-]{1,63})')


def advice(recorded: list[Recorded], secrets: Secrets, known: set[bytes], trail: Trail) -> Iterator[str]:
    """What to do next.

    Args:
        recorded: the connections.
        secrets: what the user says about the client.
        known: datums that may be expected, as written.
        trail: how far the search got.
    """
    failed = {step.topic for step in trail.steps if step.sure == "failed"}
    proven = {step.topic for step in trail.steps if step.sure == "proven"}
    if "boxes" in proven:
        proven.add("keys")  # a box that opens proves its key, wherever the box is
    if not any(one.server for one in recorded):
        yield "nothing that the server sent was recorded: record both directions"
    if secrets.secure:
        yield from _secure(recorded, secrets, known, failed, proven)
    elif _looks_boxed(recorded):
        yield "what was sent is not text, and no message can be read in it: is the connection secure? Then give --user"
    if trail.opened:
        yield (
            "framing, keys and boxes are proven, and what the boxes hold is above: the rest can be written by hand "
            "(docs/profiles.md)"
        )
    elif "keys" in proven:
        yield "the session key's box is proven; what follows it needs a strategy of your own (docs/profiles.md)"


def _secure(
    recorded: list[Recorded], secrets: Secrets, known: set[bytes], failed: set[str], proven: set[str]
) -> Iterator[str]:
    requests = [text for text in known if text.startswith(b'("')]
    readable = any(text in one.client for one in recorded for text in requests)
    if readable and "keys" not in proven:
        yield "requests are readable in what the client sends: the connection is insecure; read it with --insecure"
        return
    user = secrets.user or b""
    named = all(user in one.client for one in recorded)
    if not named:
        name = _name_in(recorded)
        there = f"; in the place of a name there is {name!r}" if name is not None else ""
        said = user.decode("utf-8", "backslashreplace")
        yield f"check --user: {said!r} is not in what the client sends{there}"
    if "keys" not in proven:
        if secrets.key is not None:
            yield "no box opens under the key of --key-file: is it this user's?"
        else:
            yield (
                "no box opens under any key derived from this passphrase: most likely it is not this user's; or the "
                "derivation is not in the table: then give the key itself with --key-file"
            )


def _name_in(recorded: list[Recorded]) -> str | None:
    """What may be a name in the first bytes of every client."""
    found: list[str] | None = None
    for one in recorded:
        names = [
            (match[1] or match[2]).decode("utf-8", "backslashreplace") for match in _NAME.finditer(one.client[:200])
        ]
        found = names if found is None else [name for name in found if name in names]
    return max(found, key=len) if found else None


def _looks_boxed(recorded: list[Recorded]) -> bool:
    data = b"".join(one.client[:_SAMPLE] for one in recorded)
    text = sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data)
    boxes = re.search(rb"#\$\{[0-9a-f]{64}|#u8\([0-9 ]{120}|[0-9a-fA-F]{96}|[A-Za-z0-9+/_-]{64}", data)
    return text < _MOSTLY * len(data) or boxes is not None
