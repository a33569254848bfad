"""Bytes as a report shows them: the first of each direction, what is known about them, and what the first boxes
hold."""

from __future__ import annotations

from collections.abc import Iterator

from bokbok_traffic.recording import Recorded

from ..search.answer import Answer

__all__ = ["hex_dump", "opened"]

_MOST_SHOWN = 160
_ROW = 16
_FIRST_ROWS = 8
_LABELLED_ROWS = 48


def opened(answer: Answer) -> list[str]:
    """The content of the first boxes."""
    if not answer.opened:
        return []
    lines = ["", "what the boxes hold:"]
    for conn, source, body in answer.opened:
        more = f" and {len(body) - _MOST_SHOWN} bytes" if len(body) > _MOST_SHOWN else ""
        lines.append(f"  #{conn} {source}: {repr(body[:_MOST_SHOWN])[1:]}{more}")
    return lines


def hex_dump(answer: Answer, recorded: list[Recorded]) -> list[str]:
    """The first bytes of each direction, and all bytes about which something is known, with labels."""
    lines = []
    for one in recorded[:2]:
        for source in ("client", "server"):
            data = one.stream(source)
            if not data:
                continue
            lines.append(f"#{one.conn} {source}, {one.size(source)} bytes")
            regions = (region for region in answer.regions if region[:2] == (one.conn, source))
            mine = sorted(
                ((start, end, label) for _, _, start, end, label in regions),
                key=lambda region: (region[0], -region[1]),
            )
            lines += _rows(data, mine, one.size(source))
    return lines


def _rows(data: bytes, regions: list[tuple[int, int, str]], size: int) -> Iterator[str]:
    """Rows of bytes. The label of a region is on the row in which the region begins."""
    starts: dict[int, list[str]] = {}
    for start, end, label in regions:
        starts.setdefault(start // _ROW, []).append(f"{label} ({start:#x} to {end:#x})")
    rows = [row for row in range(_FIRST_ROWS) if row * _ROW < len(data)]
    rows += sorted(row for row in starts if row >= _FIRST_ROWS)[: _LABELLED_ROWS - len(rows)]
    shown = 0
    for row in rows:
        at = row * _ROW
        if at > shown:
            yield f"  ... {at - shown} bytes"
        part = data[at : at + _ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"  {at:06x}  {part.hex(' '):<47}  {text:<16}  {', '.join(starts.get(row, ()))}".rstrip()
        shown = at + len(part)
    if size > shown:
        yield f"  ... {size - shown} more bytes"
