"""`bokbok tap`: decodes conversations while they happen, without changing them.

It knows how chunks of many connections become packets that are shown one by one, and why a slow reader of the output
never slows down a conversation.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from bokbok.wire import Profile
from bokbok.wire.transcript import Packet, Secrets, Transcript
from bokbok_traffic.capture import Capture, Chunk

from .dump import plain, take

__all__ = ["Conversations", "Teller", "TellingCapture"]

Tell = Callable[["dict[str, Any]"], None]

MOST_CONNECTIONS = 4096
"""Connections that are explained at once. Further ones are passed on, and reported as left out."""


class Conversations:
    """The conversations of many connections, each explained by a transcript of its own.

    Args:
        profile: the wire format.
        secrets: passphrases or keys by user.
        tell: takes each packet as plain values (`dump.plain`), as soon as it is complete.
        cap: the most bytes of one range that are shown.

    Attributes:
        count: how many connections there were.
        problems: packets that did not match the profile.
        left_out: connections beyond `MOST_CONNECTIONS`.
    """

    def __init__(self, profile: Profile, secrets: Secrets, tell: Tell, *, cap: int) -> None:
        self.count = self.problems = self.left_out = 0
        self._profile, self._secrets, self._tell, self._cap = profile, secrets, tell, cap
        self._open: dict[int, Transcript | None] = {}
        self._ended: dict[int, set[str]] = {}
        self._t = 0.0

    def take(self, chunk: Chunk) -> None:
        """Take bytes that one side of a connection sent, or its end of file."""
        self._t = chunk.t
        if chunk.conn not in self._open:
            self.count += 1
            room = len(self._open) < MOST_CONNECTIONS
            self.left_out += not room
            self._open[chunk.conn] = Transcript(self._profile, self._secrets) if room else None
        transcript = self._open[chunk.conn]
        if transcript is None:
            return
        self._told(chunk.conn, take(transcript, chunk))
        if chunk.data is None:
            ended = self._ended.setdefault(chunk.conn, set())
            ended.add(chunk.source)
            if len(ended) == 2:
                self.over(chunk.conn)

    def over(self, conn: int) -> None:
        """Nothing more comes on a connection."""
        transcript = self._open.pop(conn, None)
        self._ended.pop(conn, None)
        if transcript is not None:
            self._told(conn, transcript.cut(self._t))

    def finish(self) -> None:
        """Nothing more comes on any connection."""
        for conn in list(self._open):
            self.over(conn)

    def _told(self, conn: int, packets: list[Packet]) -> None:
        for packet in packets:
            self.problems += bool(packet.problem)
            self._tell(plain(packet, conn, self._cap))


class TellingCapture(Capture):
    """Replaces a recording, for a relay: chunks are passed on and not kept."""

    def __init__(self, transport: str, take: Callable[[Chunk], None]) -> None:
        super().__init__(transport, limit=0)
        self._take = take

    def add(self, t: float, conn: int, source: str, data: bytes | None, lost: str = "") -> None:
        """See `Capture.add`."""
        self._take(Chunk(t, conn, source, data, lost))


class Teller:
    """Shows packets in a thread of its own, so that their reader cannot hold up the conversation.

    Args:
        show: writes one packet; may block.
        failed: called in that thread with what `show` raised; nothing is shown after that.

    Attributes:
        dropped: packets that were not shown, since too many waited.
    """

    MOST = 10_000
    """Packets that may wait to be shown."""

    def __init__(self, show: Callable[[dict[str, Any]], None], failed: Callable[[BaseException], None]) -> None:
        self.dropped = 0
        self._show, self._failed = show, failed
        self._packets: queue.Queue[dict[str, Any] | None] = queue.Queue(self.MOST)
        self._thread = threading.Thread(target=self._run, name="bokbok-tap", daemon=True)
        self._thread.start()

    def tell(self, packet: dict[str, Any]) -> None:
        """Queue a packet to be shown. Returns at once."""
        try:
            self._packets.put_nowait(packet)
        except queue.Full:
            self.dropped += 1

    def finish(self, timeout: float) -> bool:
        """Wait until everything is shown, but at most so many seconds. Returns whether everything is."""
        try:
            self._packets.put(None, timeout=timeout)
        except queue.Full:
            return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (packet := self._packets.get()) is not None:
            try:
                self._show(packet)
            except BaseException as error:
                self._failed(error)
                return
