"""What a forked child does not go on with: connections and servers belong to the process that made them.

Two processes that seal boxes of one connection would use its nonces twice, which gives the texts away; and the threads
that serve a connection are not there in the child. So the child's copies are over, with a reason that says so; the
parent's go on as if nothing had happened. The child may make its own.

What this module knows: who is to be told of a fork.
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
    """Tell it when this process was forked, as long as it is there."""
    _live.add(inherited)


def let_go(descriptor: int) -> None:
    """Give up a child's copy of a descriptor: what it stood for is the parent's alone again.

    The number is not closed, but stands for nothing from now on: whoever has it in an object would close somebody
    else's descriptor of that number later.
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
