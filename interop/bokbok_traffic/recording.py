"""What was heard: for each connection the bytes of either direction.

What this module knows: how to get there from a recording in JSON lines or from a packet capture. What it refuses to
know: what the bytes mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .capture import Capture, CaptureError, read_capture
from .pcap import is_pcap, read_pcap

__all__ = ["Recorded", "from_capture", "load_recording"]


@dataclass
class Recorded:
    """One connection.

    Attributes:
        conn: its number.
        client: all bytes that the client sent.
        server: all that the server sent.
        ended: the directions whose end of file was seen.
    """

    conn: int
    client: bytes = b""
    server: bytes = b""
    ended: set[str] = field(default_factory=set)

    def stream(self, source: str) -> bytes:
        """One direction."""
        return self.client if source == "client" else self.server


def from_capture(capture: Capture) -> list[Recorded]:
    """The connections of a recording in which anything was said, in order."""
    out = []
    for conn in capture.connections():
        found = Recorded(conn, capture.stream(conn, "client"), capture.stream(conn, "server"))
        found.ended = {chunk.source for chunk in capture.chunks if chunk.conn == conn and chunk.data is None}
        if found.client or found.server:
            out.append(found)
    return out


def load_recording(path: str | Path, *, server: tuple[str, int] | None = None) -> list[Recorded]:
    """Read a recording of either kind.

    Args:
        path: JSON lines, or a pcap or pcapng file.
        server: for a packet capture: address and port of the server, where its beginning is not in the capture.

    Raises:
        CaptureError: it cannot be read, or is none.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            if is_pcap(head):
                return from_capture(read_pcap(head + file.read(), server=server))
            text = (head + file.read()).decode("utf-8")
    except OSError as error:
        raise CaptureError(f"{str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CaptureError(f"{str(path)!r} is neither a recording (JSON lines) nor a packet capture") from None
    try:
        return from_capture(read_capture(text.split("\n")))
    except CaptureError as error:
        raise CaptureError(f"{str(path)!r}: {error}") from None
