"""Calibrating between two peers: a real client and a real server talk, and what they say is recorded.

What this module knows: the recording relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bokbok.address import format_address
from bokbok_traffic.capture import Capture
from bokbok_traffic.relay import Relay

__all__ = ["run_proxy"]

_LOOK = 0.05
"""Seconds between looks at which connections are over."""


async def run_proxy(
    address: Any,
    upstream: Any,
    connections: int,
    say: Callable[[str], None],
    *,
    ready: Callable[[Any], None] | None = None,
    capture: Capture | None = None,
) -> Capture:
    """Record so many connections between a client and a server.

    Args:
        address: where to listen.
        upstream: where the server is.
        connections: how many to wait for.
        say: called with lines about progress.
        ready: called with the bound address.
        capture: takes the recording.

    Raises:
        OSError: the server cannot be reached, and nothing was recorded before.
    """
    relay = await Relay(address, upstream, capture).start()
    say(
        f"listening at {format_address(relay.address)}, passing on to {format_address(upstream)}; "
        f"{connections} connection{'s are' if connections > 1 else ' is'} recorded"
    )
    if ready is not None:
        ready(relay.address)
    try:
        while len([link for link in relay.links if link.over.is_set()]) < connections:
            await asyncio.sleep(_LOOK)
            refused = next((link.refused for link in relay.links if link.refused), None)
            if refused is not None:
                problem = f"the server at {format_address(upstream)} cannot be reached: {refused}"
                if not relay.capture.connections():
                    raise OSError(problem)
                say(problem)
                break
    except asyncio.CancelledError:
        say("ended early")
    finally:
        await relay.stop()
    return relay.capture
