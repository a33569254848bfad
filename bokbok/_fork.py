"""What a forked child must not use: connections and servers belong to the process that made them.

If two processes sealed boxes of one connection, they would use its nonces twice, which reveals the texts; and the
threads that serve a connection do not exist in the child. So the child's copies are closed, with a reason that says so,
and the parent's go on unchanged. The child may make its own.

What this module knows: which objects have to be told of a fork.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable
from typing import Protocol

__all__ = ["REASON", "Inherited", "let_go", "on_fork", "track"]

REASON = "this process was forked from the one that the connection belongs to"


class Inherited(Protocol):
    """What a child inherits and must not use."""

    def _forked(self) -> None:
        """In the child, whose only thread calls this: be over, and do nothing that the parent would notice.

        Locks that other threads held are held for ever: make new ones.
        """


_live: weakref.WeakSet[Inherited] = weakref.WeakSet()
_resets: list[Callable[[], None]] = []


def track(inherited: Inherited) -> None:
    """Tell this object when the process was forked, as long as the object exists."""
    _live.add(inherited)


def let_go(descriptor: int) -> None:
    """Release a child's copy of a descriptor: its file belongs to the parent alone again.

    The number is not closed but points to nothing from now on: an object that still holds the number would later close
    another descriptor with that number.
    """
    with contextlib.suppress(OSError):  # no descriptor is left: then it is kept
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.dup2(nothing, descriptor, inheritable=False)
        finally:
            os.close(nothing)


def on_fork(reset: Callable[[], None]) -> None:
    """Call a function in every forked child, before anything that is tracked is told."""
    _resets.append(reset)


def _after_in_child() -> None:
    for reset in _resets:
        reset()
    for inherited in list(_live):
        inherited._forked()
    _live.clear()


os.register_at_fork(after_in_child=_after_in_child)
