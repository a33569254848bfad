"""Which connection may run a handler next: the slots of a whole server, shared fairly.

What this module knows: numbers of running and parked handlers, and who waits in line. `admission` asks it when a
connection's own limits would let a request start.

**How a front end uses it.** A server has one `Slots`; a client's connection has one of its own. Each connection has a
`Share` of it, which is made with a function `wake`, and is given to its `Admission`. `Admission` does the rest:

* `Admission.start()` also returns `None` if no slot is free. Then the connection is in line. When a slot is kept for
  it, `wake()` is called once, from whichever thread has given a slot back: then call `Admission.start()` again. `wake`
  may be called while another connection's lock is held. So it must not take a connection's lock, and must not block; it
  has another thread do that. It may raise `RuntimeError` if that is impossible; then the next free slot tries again.
* Call `Admission.park()` before a handler waits for an answer to a request of its own, on whatever connection, and
  `Admission.unpark()` when it goes on. A parked handler does not hold a slot, so that what it waits for can run. After
  `park` more requests may be ready to start. One that goes on takes a slot if its group may have one. Otherwise it goes
  on without, and counts against `parked` until one of its connection's handlers has finished: what has waited cannot
  wait for others once more, and a thousand that go on at one moment must not take everybody's slots.
* Call `Admission.close()` when the connection is over.

With threads, each of these is called under the lock of the connection that the `Admission` belongs to. The lock in here
is always taken last, and held for a few steps only.

**The spare slot.** A connection with one request at a time would give its slot back and take it again for each of them,
under that lock. So a handler that has finished leaves its slot as the connection's *spare* one, and the next handler
finds it there, with neither lock nor count. A spare slot counts as one that runs. As soon as somebody is refused a
slot, all spare slots are taken back, and whoever may have one gets it. While anybody waits in line, none is left spare.
So nobody waits for a slot that nobody uses.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

__all__ = ["Share", "Slots"]

_EAGERNESS = 8
"""A group may take a slot while it has fewer handlers running than this many times the number of free slots. So one
group alone gets eight ninths of them, two get eight seventeenths each, and the next one finds a free slot. This is the
dynamic threshold by which switches share their buffers (Choudhury and Hahne, 1998)."""


class _Countable(Protocol):
    running: int


_M = TypeVar("_M", bound=_Countable)


class _Line(Generic[_M]):
    """Those that wait. The one with the fewest running handlers comes first; among equals, the one that has waited
    longest."""

    __slots__ = ("_entries", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, _M]] = []  # some of them old: the one in `_entries` counts
        self._entries: dict[_M, tuple[int, int, _M]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, member: _M) -> bool:
        return member in self._entries

    def add(self, member: _M) -> None:
        """Add one behind the others that have as many handlers running."""
        self._push(member, next(_arrivals))

    def recount(self, member: _M) -> None:
        """The number of running handlers of one of them has changed."""
        entry = self._entries.get(member)
        if entry is not None and entry[0] != member.running:
            self._push(member, entry[1])

    def remove(self, member: _M) -> None:
        """One of them does not wait any more."""
        self._entries.pop(member, None)

    def first(self) -> _M | None:
        """Whose turn it is."""
        while self._heap:
            entry = self._heap[0]
            if self._entries.get(entry[2]) is entry:
                return entry[2]
            heapq.heappop(self._heap)
        return None

    def _push(self, member: _M, arrival: int) -> None:
        entry = (member.running, arrival, member)
        self._entries[member] = entry
        if len(self._heap) > 2 * len(self._entries) + 16:  # mostly old ones
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, entry)


_arrivals = itertools.count()


class _Group:
    """The connections of one user, or of one source: together they get what a single connection would get."""

    __slots__ = ("_line", "members", "parked", "running")

    def __init__(self) -> None:
        self.running = 0
        self.parked = 0  # and those that went on without a slot
        self.members = 0
        self._line: _Line[Share] | None = None

    @property
    def line(self) -> _Line[Share]:
        """Those of its connections that wait; made when the first one does."""
        if self._line is None:
            self._line = _Line()
        return self._line


class Slots:
    """The slots in which the handlers of one server run.

    Args:
        running: handlers that run at once with a slot.
        parked: handlers that wait at once for answers to requests of their own, or went on without a slot after that.

    Attributes:
        resumed: how many went on without a slot.
        parked: how many wait now for answers.
        waiting: how many connections are in line for a slot.
    """

    def __init__(self, running: int, parked: int) -> None:
        self._most_running = running
        self._most_parked = parked
        self._running = 0  # with those that are spare
        self.resumed = 0
        self.parked = 0
        self.waiting = 0
        self._started = 0  # without those that have used a spare slot, and are not counted yet
        self._sparing: set[Share] = set()  # those that may have a spare slot
        self._line: _Line[_Group] = _Line()
        self._groups: dict[Hashable, _Group] = {}
        self._lock = threading.Lock()

    @property
    def running(self) -> int:
        """How many run now, including slots that are kept for connections which are about to start one."""
        with self._lock:
            return self._running - sum(len(share._spare) for share in self._sparing)

    @property
    def started(self) -> int:
        """How many handlers were started, ever."""
        with self._lock:
            return self._started + sum(share._reused - share._counted for share in self._sparing)

    def share(self, wake: Callable[[], None]) -> Share:
        """The share of one connection.

        Args:
            wake: called when a slot is kept for it; see this module's text.
        """
        return Share(self, wake)

    def limit(self, running: int, parked: int) -> None:
        """Apply other limits from now on. What runs already goes on."""
        with self._lock:
            self._most_running, self._most_parked = running, parked
            self._take_back()
            woken = self._hand_out()
        _wake(woken)

    def forked(self) -> None:
        """In a forked child: the thread that held the lock does not exist."""
        self._lock = threading.Lock()

    def _may_take(self, group: _Group) -> bool:
        free = self._most_running - self._running
        return free > 0 and group.running < _EAGERNESS * free

    def _may_park(self, group: _Group) -> bool:
        free = self._most_parked - self.parked - self.resumed
        return free > 0 and group.parked < _EAGERNESS * free

    def _take_back(self) -> bool:
        """Take all spare slots back. Whether there were any."""
        found = False
        for share in list(self._sparing):
            # First this, then the slot: who leaves one there does it the other way round, so one of the two sees it.
            self._spare_no_more(share)
            if share._pop_spare():
                self._count(share, -1)
                found = True
        return found

    def _spare_no_more(self, share: Share) -> None:
        share._is_sparing = False
        self._sparing.discard(share)
        reused = share._reused
        self._started += reused - share._counted
        share._counted = reused

    def _refuse(self, share: Share) -> tuple[bool, list[Share]]:
        """There is no slot for this connection. It is in line from now on, unless one that was spare is found for it.

        Returns:
            Whether one is kept for it now; others that one is kept for.
        """
        self._line_up(share)
        if not (self._sparing and self._take_back()):
            return False, []
        woken = self._hand_out()
        if share in woken:
            woken.remove(share)
            return True, woken
        return False, woken

    def _count(self, share: Share, change: int) -> None:
        self._running += change
        share.running += change
        group = share.group
        group.running += change
        if self.waiting:  # otherwise nobody is in a line
            self._recount(share)

    def _recount(self, share: Share) -> None:
        share.group.line.recount(share)
        self._line.recount(share.group)

    def _hand_out(self) -> list[Share]:
        """Keep the free slots for those whose turn it is. Returns them."""
        woken = []
        # The first in line has the fewest handlers running: if it may not take a slot, nobody may.
        while (group := self._line.first()) is not None and self._may_take(group):
            share = group.line.first()
            assert share is not None
            group.line.remove(share)
            self._line.remove(group)
            self._count(share, 1)
            share.kept += 1
            share.waiting = False
            self.waiting -= 1
            if group.line:
                self._line.add(group)  # behind the others: connections take turns, and so do groups
            woken.append(share)
        return woken

    def _line_up(self, share: Share) -> None:
        share.waiting = True
        self.waiting += 1
        share.group.line.add(share)
        if share.group not in self._line:
            self._line.add(share.group)

    def _leave_line(self, share: Share) -> None:
        if share.waiting:
            share.waiting = False
            self.waiting -= 1
            share.group.line.remove(share)
            if not share.group.line:
                self._line.remove(share.group)


class Share:
    """One connection's share of a server's slots.

    Attributes:
        running: its handlers that run with a slot, and slots that are kept for it, or spare.
        resumed: its handlers that went on without one.
        parked: its handlers that wait for answers.
        kept: slots that are kept for it: `take` will find them.
        waiting: whether it is in line: its `wake` will be called.
        group: whose connection it is.
    """

    __slots__ = (
        "_closed", "_counted", "_is_sparing", "_key", "_reused", "_slots", "_spare", "group", "kept", "parked",
        "resumed", "running", "waiting", "wake",
    )  # fmt: skip

    def __init__(self, slots: Slots, wake: Callable[[], None]) -> None:
        self._slots = slots
        self.wake = wake
        self.running = 0
        self.resumed = 0
        self.parked = 0
        self.kept = 0
        self.waiting = False
        self._closed = False
        self._key: Hashable = None
        self.group = _Group()
        # One item, or none: the spare slot. A list, whose `pop` and `append` are one step each for any thread.
        self._spare: list[None] = []
        self._is_sparing = False  # whether the slots know that it may have one
        self._reused = 0  # how often the spare slot was used
        self._counted = 0  # how many of these are counted in the slots' number

    def join(self, key: Hashable) -> None:
        """Share from now on with all connections that have the same key (a user, or a source).

        Called at most once, before the first `take`. A connection that joins none is a group of its own.
        """
        slots = self._slots
        with slots._lock:
            self._key = key
            self.group = slots._groups.setdefault(key, self.group)
            self.group.members += 1

    def take(self) -> bool:
        """Take a slot for a handler. False: there is none, and this connection is in line now."""
        if self._spare:  # `_pop_spare`, without the call
            try:
                self._spare.pop()
                self._reused += 1
                return True
            except IndexError:  # taken back at this very moment
                pass
        slots = self._slots
        with slots._lock:
            if self.kept:
                self.kept -= 1
                slots._started += 1
                return True
            if self.waiting:
                return False
            if slots._may_take(self.group):
                slots._count(self, 1)
                slots._started += 1
                return True
            found, woken = slots._refuse(self)
            if found:
                self.kept -= 1
                slots._started += 1
        _wake(woken)
        return found

    def take_some(self, most: int) -> int:
        """`take` several at once. Returns how many; if fewer than `most`, this connection is in line now."""
        if most == 1:
            return int(self.take())
        slots, group = self._slots, self.group
        with slots._lock:
            free = slots._most_running - slots._running
            # The last of them is taken with so many fewer free, and so many more running.
            if not (self.kept or self.waiting) and group.running + most - 1 < _EAGERNESS * (free - most + 1):
                slots._count(self, most)
                slots._started += most
                return most
        taken = 0
        while taken < most and self.take():
            taken += 1
        return taken

    def reserve(self) -> bool:
        """Keep a slot for a `take` that is about to come. False: there is none, and this connection is in line now."""
        slots = self._slots
        with slots._lock:
            if self.kept:
                return True
            if self._pop_spare():
                self.kept += 1
                return True
            if self.waiting:
                return False
            if slots._may_take(self.group):
                slots._count(self, 1)
                self.kept += 1
                return True
            found, woken = slots._refuse(self)
        _wake(woken)
        return found

    def give(self) -> None:
        """A handler has finished."""
        spare, slots = self._spare, self._slots
        leaves = not (spare or self.resumed)
        if leaves:
            spare.append(None)
            # In this order (`Slots._take_back`).
            if self._is_sparing and not slots.waiting:
                return
        woken: list[Share] | None = None
        with slots._lock:
            if leaves:
                if not (self._closed or slots.waiting):
                    self._is_sparing = True
                    slots._sparing.add(self)
                    return
                if not self._pop_spare():  # taken back at this very moment
                    return
            if self.resumed:
                self._resume(-1)
            else:
                slots._count(self, -1)
                if slots.waiting:
                    slots._recount(self)
                    woken = slots._hand_out()
            if self._closed:
                self._forget()
        if woken:
            _wake(woken)

    def _pop_spare(self) -> bool:
        try:
            self._spare.pop()
        except IndexError:
            return False
        return True

    def give_some(self, ended: int, unused: int) -> None:
        """`give` several at once: those that have finished, and those that were taken and not used."""
        if ended == 1 and not unused:
            self.give()
            return
        slots = self._slots
        with slots._lock:
            if self.resumed:
                without = min(ended, self.resumed)
                self._resume(-without)
                ended -= without
            slots._count(self, -(ended + unused))
            slots._started -= unused
            woken = slots._hand_out() if slots.waiting else None
            if self._closed:
                self._forget()
        if woken:
            _wake(woken)

    def park(self) -> bool:
        """A handler is about to wait for an answer, so it gives back its slot. False: too many wait already, so it may
        not."""
        slots = self._slots
        woken: list[Share] | None = None
        with slots._lock:
            if self.resumed:
                self._resume(-1)
                self._park(1)
            elif slots._may_park(self.group):
                self._park(1)
                slots._count(self, -1)
                woken = slots._hand_out() if slots.waiting else None
            else:
                return False
        if woken:
            _wake(woken)
        return True

    def unpark(self) -> None:
        """A handler goes on. It does not wait for a slot: others might wait for it."""
        slots = self._slots
        with slots._lock:
            self._park(-1)
            may = slots._may_take(self.group) or (slots._take_back() and slots._may_take(self.group))
            if may:
                slots._count(self, 1)
            else:
                self._resume(1)

    def _park(self, change: int) -> None:
        self._slots.parked += change
        self.parked += change
        self.group.parked += change

    def _resume(self, change: int) -> None:
        self._slots.resumed += change
        self.resumed += change
        self.group.parked += change

    def leave(self) -> None:
        """Nothing of this connection waits any more: slots that were kept for it go to others."""
        slots = self._slots
        with slots._lock:
            slots._leave_line(self)
            if not self.kept:
                return
            slots._count(self, -self.kept)
            self.kept = 0
            woken = slots._hand_out()
        _wake(woken)

    def close(self) -> None:
        """The connection is over: `leave`, and once its last handler has finished, it leaves its group."""
        slots = self._slots
        with slots._lock:
            self._closed = True
            self.wake = _nobody  # which is not a part of a cycle
            slots._spare_no_more(self)
            if self._pop_spare():
                self.kept += 1
        self.leave()
        with slots._lock:
            self._forget()

    def _forget(self) -> None:
        # Not before: a peer that connects again must not be given the slots of its handlers that still run.
        if self._key is None or self.running or self.resumed or self.parked:
            return
        key, self._key = self._key, None
        self.group.members -= 1
        if not self.group.members:
            del self._slots._groups[key]


def _nobody() -> None:
    """Nothing of a connection that is over waits."""


def _wake(shares: Iterable[Share]) -> None:
    for share in shares:
        try:
            share.wake()
        except RuntimeError:  # no more threads: a handler that runs now gives its slot back later, which tries again
            slots = share._slots
            with slots._lock:
                if share.kept:
                    share.kept -= 1
                    slots._count(share, -1)
                    slots._line_up(share)
