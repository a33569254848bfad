"""How many bytes a connection reads at once, in both front ends: little at first, much where more has come."""

from __future__ import annotations

from typing import Final

__all__ = ["LITTLE", "READ"]

READ: Final = 256 * 1024
"""Bytes read at once where much comes: as asyncio's own transports and streams do."""
LITTLE: Final = 16 * 1024
"""Bytes read at once while no more come: thousands of connections may read before one of them is counted."""
