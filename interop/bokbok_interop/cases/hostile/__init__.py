"""Hostile peers: whatever comes, the peer survives and goes on serving others. There is one module for each kind of
attack.

The runner itself plays the bad side, with raw sockets and the pieces of the profile (`raw`): a bad client at the peer's
server, or a bad server that the peer's client connects to.
"""

from . import messages, answers, datums, lengths, boxes, hellos, replays, ends, floods, apart  # noqa: F401, I001 (in the order of the report)
