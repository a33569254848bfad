"""What this machine's network supports. Tests that need more are skipped, and say so."""

from __future__ import annotations

import pytest

from bokbok_interop.peers.base import has_ipv6

__all__ = ["needs_ipv6"]

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 (`::1` cannot be bound)")
