"""Memory that is held for other ends: for each connection, and for all connections of a server together.

What this module knows: sums of bytes, estimated as `Limits.message_memory` describes, and which connection holds too
many. Its callers find out how much is held, and report what is refused.

**Who is refused first.** The user, or the source, that holds most. All connections of one user may together hold up to
`_EAGERNESS` times what the server has left. So the more is held in all, the less a single user may hold, and a user
that holds little is refused last. This is the dynamic threshold of Choudhury and Hahne (1998), as in `slots`.

**What nobody can take away.** That threshold does not help against what is held already: packets that came in part are
counted when they are here, so a crowd can take a little more than there is. One part in `_KEPT` is therefore not given
out in this way. It belongs to all users in equal parts, and each may always hold as much as its part.

What is admitted here never exceeds the server's budget.

An `Account` belongs to one connection, and is used under that connection's lock. The lock of the `Budget` is always
taken last, for a few steps, once every few kilobytes: mostly steps without a call, between which CPython does not
change threads. Whoever waits for memory is looked for outside of it, by one thread at a time, for which no other waits.
(When each looked under the lock, and lost the interpreter there, thirty others stood before it, each with the lock of
its connection, and the poller behind them.)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from .heap import MUCH
from .reads import LITTLE, READ

__all__ = ["REQUEST", "Account", "Budget"]

REQUEST = 2048
"""Bytes that a request takes beside its message, while it waits or is handled: an event, a place in a line, a task."""
_GRAIN = 16 * 1024
"""An account tells the budget only when what it holds has changed by more than so many bytes."""
_ANYWAY = LITTLE // 2
"""Bytes that a connection may hold of packets whatever the others hold: less than is read at once, or each of a crowd
would read twice, the second time far more."""
_EAGERNESS = 8
_KEPT = 8
_LOOKS = 64
"""How many that wait are looked at when something changes."""


class _Group:
    """The connections of one user, or of one source: together they get what a single connection would get."""

    __slots__ = ("held", "members")

    def __init__(self) -> None:
        self.held = 0
        self.members = 0


class Budget:
    """The memory that a server may hold for all its connections.

    Args:
        most: bytes.

    Attributes:
        held: bytes that are held now, without changes that accounts have not told yet.
        peak: the most that was held since `fell` was called.
        fell: called, if it is set, when `heap.MUCH` bytes less are held than were; from any thread, with a connection's
            lock held.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self.peak = 0
        self.fell: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._groups: dict[Hashable, _Group] = {}
        self._waiting: dict[Account, Callable[[], None]] = {}
        self._line: deque[Account] = deque()  # those, and some that do not wait any more
        self._looks = threading.Lock()  # whoever looks for those that need not wait any more
        self._changed = False  # there is a reason to look

    def account(self, most: int) -> Account:
        """A new account, for one connection that may hold so many bytes."""
        return Account(self, most)

    @property
    def left(self) -> int:
        """Bytes that are free for whoever comes first."""
        return self.most - self.most // _KEPT - self.held

    @property
    def sure(self) -> int:
        """Bytes that each user, or source, may hold whatever the others hold."""
        return self.most // _KEPT // max(1, len(self._groups))

    def forked(self) -> None:
        """In a forked child: the threads that held the locks do not exist."""
        self._lock = threading.Lock()
        self._looks = threading.Lock()

    def _look(self) -> None:
        """Something has changed: wake some who may read again. If another thread is at it, that one looks once more."""
        self._changed = True
        while self._changed and self._looks.acquire(blocking=False):
            try:
                self._changed = False
                woken = self._take_some_that_wait()
            finally:
                self._looks.release()
            for wake in woken:
                wake()

    def _take_some_that_wait(self) -> list[Callable[[], None]]:
        """As the only one who looks: take out some who may read again, and look at others the next time.

        Not more than there is memory for: each of a crowd that is woken in vain costs a thread. What those who are
        woken read wakes others, as long as there is memory.
        """
        waiting, line = self._waiting, self._line
        woken = []
        most = 1 + max(0, self.left) // READ  # who is woken may read so much before it looks again
        over: _Group | None = None  # mostly they are all of the same one
        for _ in range(min(_LOOKS, len(line))):
            account = line.popleft()
            if account not in waiting:
                continue
            if account.held > _ANYWAY and (account._group is over or account.over):
                # With that much to spare, none of its group can have told so much more than it holds.
                if account._group is not over and not account._shares(-_GRAIN):
                    over = account._group
                line.append(account)
                continue
            wake = waiting.pop(account, None)
            if wake is not None:
                woken.append(wake)
                if len(woken) == most:
                    break
        return woken


class Account:
    """The memory that is held for the other end of one connection.

    Attributes:
        budget: what it belongs to.
        held: bytes, in all.
        partial: bytes of packets and messages that have come in part.
        unsent: bytes of answers and requests that the other end has not taken.
        kept: bytes of answers that are written and wait for room to be sent. They do not count in `held`, or there
            would never be room for the first of them. The server's budget counts them.
    """

    __slots__ = (
        "_closed",
        "_costs",
        "_group",
        "_key",
        "_most",
        "_told",
        "budget",
        "held",
        "kept",
        "partial",
        "unsent",
    )

    def __init__(self, budget: Budget, most: int) -> None:
        self.budget = budget
        self._most = most
        self._told = 0
        self._group = _Group()
        self._key: Hashable = None
        self._closed = False
        self._costs: dict[int, int] = {}
        self.held = self.partial = self.unsent = self.kept = 0

    def join(self, key: Hashable) -> None:
        """Share from now on with all connections that have the same key (a user, or a source).

        Called at most once. A connection that joins none is a group of its own.
        """
        budget = self.budget
        with budget._lock:
            group = budget._groups.setdefault(key, self._group)
            if group is not self._group:
                group.held += self._told
            self._key, self._group = key, group
            group.members += 1

    def admit(self, id: int, cost: int) -> bool:
        """A request came that takes so many bytes. Returns whether there is room for it; if so, they are held until
        `done`."""
        cost += REQUEST
        held = self.held + cost
        costs = self._costs
        if held <= _GRAIN:  # what is kept was told then
            costs[id] = costs.get(id, 0) + cost  # the same ID twice, only where that guard is off
            self.held = held
            return True
        if not self._may_hold(cost):
            return False
        costs[id] = costs.get(id, 0) + cost
        self.held = held
        if held + self.kept - self._told > _GRAIN:
            self._tell()
        return True

    def admit_all(self, requests: list[tuple[int, int, Any, int]]) -> bool:
        """`admit` several requests that were read at once, if there is room for all of them; otherwise none."""
        cost = REQUEST * len(requests)
        for request in requests:
            cost += request[3]
        held = self.held + cost
        if held > _GRAIN and not self._may_hold(cost):
            return False
        costs = self._costs
        for _, id, _, cost in requests:
            costs[id] = costs.get(id, 0) + cost + REQUEST
        self.held = held
        if held - self._told > _GRAIN:
            self._tell()
        return True

    def done(self, id: int) -> None:
        """That request was answered."""
        cost = self._costs.pop(id, 0)  # 0 for a request that was never admitted
        self.held -= cost
        if self._told and self._told - self.held - self.kept > _GRAIN:
            self._tell()
        if self._closed and not self._costs:
            self._leave()

    def may_send(self, size: int) -> bool:
        """Whether there is room for so many bytes more to be sent."""
        return self.held + size <= _GRAIN or self._may_hold(size)

    @property
    def may_keep(self) -> bool:
        """Whether an answer may be written although it has to wait for room."""
        return self.kept < self._most and self._shares(1)

    def keep(self, size: int) -> bool:
        """An answer of so many bytes waits for room, until `let_go`. False: too many bytes wait already, so it may
        not."""
        if self.kept + size > self._most or not self._shares(size):
            return False
        self.kept += size
        self._tell()
        return True

    def let_go(self, size: int) -> None:
        """An answer that was kept is sent, or dropped."""
        self.kept -= size
        self._tell()

    def note(self, *, partial: int | None = None, unsent: int | None = None) -> None:
        """Say how many bytes are held now of packets that have come in part, or of what was not sent."""
        if partial is not None:
            self.held += partial - self.partial
            self.partial = partial
        if unsent is not None:
            self.held += unsent - self.unsent
            self.unsent = unsent
        if abs(self.held + self.kept - self._told) > _GRAIN:
            self._tell()

    @property
    def over(self) -> bool:
        """Whether so much is held that nothing more should be read, unless this end waits for answers."""
        return self.held > _ANYWAY and not self._may_hold(0)

    def wait(self, wake: Callable[[], None]) -> None:
        """Have a function called once this connection is not `over` any more, since somebody has freed something.

        It may be called from any thread, with another connection's lock held. It must not take such a lock, and must
        not block.
        """
        budget = self.budget
        stands_in_line = self in budget._waiting
        budget._waiting[self] = wake  # first this: who looks drops those in the line that do not wait
        if not stands_in_line:
            budget._line.append(self)
        if not self.over:
            budget._look()  # it was freed in this moment

    def close(self) -> None:
        """The connection is over. Handlers that still run keep what they hold until they are `done`."""
        self.budget._waiting.pop(self, None)
        self.note(partial=0, unsent=0)
        self._closed = True
        if not self._costs:
            self._leave()

    def _leave(self) -> None:
        # Not earlier: memory that running handlers still hold must not look free to those who connect again.
        self._tell()
        budget = self.budget
        with budget._lock:
            if self._key is None:
                return
            key, self._key = self._key, None
            self._group.members -= 1
            if not self._group.members:
                del budget._groups[key]

    def _may_hold(self, more: int) -> bool:
        return self.held + more <= self._most and self._shares(more)

    def _shares(self, more: int) -> bool:
        """Whether the server has so many bytes more for this connection's group, and leaves enough to others."""
        budget = self.budget
        together = self._group.held - self._told + self.held + self.kept + more
        left = budget.left - more
        if left >= 0 and together <= _EAGERNESS * left:
            return True
        return self._key is not None and together <= budget.sure

    def _tell(self) -> None:
        budget = self.budget
        with budget._lock:
            change = self.held + self.kept - self._told
            budget.held += change
            self._group.held += change
            self._told += change
            held = budget.held
            fell = budget.peak - held
            if fell < 0 or fell > MUCH:
                budget.peak = held
        if budget._line:
            budget._look()
        if fell > MUCH and budget.fell is not None:
            budget.fell()
