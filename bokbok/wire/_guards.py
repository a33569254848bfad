"""What a receiver refuses although its bytes are well formed: replays and reflections.

What this module knows: which hellos and request IDs have been seen. None of it changes a byte on the wire. The guards
are choices of this project (`docs/protocol.md`, *Guards*), not facts about the egg, and `SECURITY.md` says what they do
and do not give.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["DEFAULT_GUARDS", "DEFAULT_WINDOW", "BrokenCryptographyWarning", "Guards", "HelloMemory", "RequestWindow"]


class BrokenCryptographyWarning(UserWarning):
    """A connection speaks a profile whose nonces repeat; the text says what leaks."""


DEFAULT_WINDOW = 1024
"""IDs behind the highest that are still told apart. TCP keeps order, so a conforming peer needs none at all; IPsec's
smallest window is 32, and its implementations use up to a few thousand."""
DEFAULT_HELLOS = 65_536
"""Hellos that a server remembers: about 10 MB at most."""


@dataclass(frozen=True)
class Guards:
    """Which guards are on. All are by default; turn one off by name for a peer that needs it.

    Attributes:
        hello_replay: a server refuses a hello whose box it has seen before. A real egg whose random source was
            left unseeded repeats its hello after a restart, and needs this off.
        request_replay: `"window"`: a request whose ID was used before is refused, gaps and a changed order
            pass; `"strict"`: each ID must be the last one plus one, which also shows a request that was dropped
            or held back; `"off"`: every request is served.
        reflection: this side's own packet, sent back to it, is refused, where the profile's nonces show it.
        nonce_reuse: a profile whose nonces repeat is not spoken: it leaks what boxes should hide. Off, it is spoken
            with a warning.
    """

    hello_replay: bool = True
    request_replay: Literal["window", "strict", "off"] = "window"
    reflection: bool = True
    nonce_reuse: bool = True

    def __post_init__(self) -> None:
        if self.request_replay not in ("window", "strict", "off"):
            raise ValueError(f"guard request_replay: expected 'window', 'strict' or 'off', got {self.request_replay!r}")


DEFAULT_GUARDS = Guards()


class HelloMemory:
    """The session-key boxes that a server has accepted, for all its connections, in bounded memory.

    Thread-safe. When it is full the oldest is forgotten, and could be replayed from then on.

    Args:
        capacity: boxes remembered at most.
    """

    def __init__(self, capacity: int = DEFAULT_HELLOS) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: expected a number above 0, got {capacity!r}")
        self._capacity = capacity
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, box: bytes) -> bool:
        """Remember a box that has opened. False if it was remembered before.

        Looked up and remembered in one step, so that of two copies which arrive at once only one passes.
        """
        import hashlib  # only here: OpenSSL comes with it

        digest = hashlib.blake2b(box, digest_size=16).digest()
        with self._lock:
            if digest in self._seen:
                # A box that is being replayed is the last one that should be forgotten.
                self._seen.move_to_end(digest)
                return False
            self._seen[digest] = None
            if len(self._seen) > self._capacity:
                self._seen.popitem(last=False)
            return True


_NONE: Final[frozenset[int]] = frozenset()


class RequestWindow:
    """The request IDs that a peer has used, as a sliding window (as IPsec's anti-replay has it, RFC 4303, 3.4.3).

    Every ID above the highest seen is new. Within the window below it, IDs that were skipped are new. Below
    the window every ID counts as used. The window bounds the memory.

    Args:
        size: how many IDs behind the highest are told apart; 0 asks for each ID in exact succession.
        start: the first ID; only `size=0` depends on it.
        step: the distance of an ID to the next in exact succession.

    Attributes:
        next: the ID behind the highest that was used.
        step: as it was given.
    """

    __slots__ = ("_size", "_skipped", "next", "step")

    def __init__(self, size: int = DEFAULT_WINDOW, *, start: int = 0, step: int = 1) -> None:
        self._size = size
        self.next = start
        self.step = step
        self._skipped: frozenset[int] | set[int] = _NONE  # a set once there are any

    def use(self, id: int) -> str | None:
        """Use an ID. Returns `None`, or why it is refused."""
        if id == self.next:
            self.next = id + self.step
            return None
        if self._size == 0:
            return f"request {id} out of succession, expected {self.next}"
        if id > self.next:
            floor = id - self._size
            skipped = {skipped for skipped in self._skipped if skipped > floor}
            skipped.update(range(max(self.next, floor + 1), id))
            self._skipped = skipped
            self.next = id + self.step
            return None
        if id in self._skipped and id >= self.next - self._size:
            self._skipped -= {id}
            return None
        return f"request {id} was used before"
