"""The targets of fuzzing: functions that take any bytes, and fail only if the project does.

Each checks not only that no unexpected error is raised: whatever one reader of the project accepts, the others read in
the same way, and the result does not depend on how the bytes are divided into pieces. With `python -m tests.fuzz` a
fuzzer chooses the bytes, guided by coverage; `test_corpus.py` plays those that it has kept.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nacl.secret import SecretBox

from bokbok.errors import ProfileError, ReadError, RemoteProtocolError, WriteError
from bokbok.sexpr import CHICKEN_4_EXACT, DIALECTS, Parser, Reader, dumps, loads, parse, skip_atmosphere
from bokbok.sexpr.machine import Machine
from bokbok.wire import INFERRED_1, Connection, HelloReceived, Profile
from bokbok.wire.framing import Datums
from bokbok.wire.profile import dump_profile, read_profile
from bokbok.wire.transcript import Packet, Transcript
from bokbok_interop.report.document import DocumentError, load, merge
from bokbok_traffic.capture import CaptureError, RecordingReader
from bokbok_traffic.pcap import PcapReader
from tests.support.peers import KEY, framed
from tests.support.profiles import random_profile
from tests.support.tagged import same
from tests.support.wire_ends import ENDS, LIMITS, SESSION_KEY, feed, opened_server

__all__ = ["PROFILES", "TARGETS"]

DEPTH = 50
"""The limit of depth for datums here. A larger one would not show more."""
_DIALECTS = list(DIALECTS.values())
_SEPARATOR = b"\xfd"
"""Separates the packets of an input, so that the fuzzer need not find lengths and keys."""


def _cut(data: bytes, seed: int) -> Iterator[bytes]:
    """The same bytes in pieces: whole (0), one by one (1), or of any sizes."""
    if seed < 2:
        yield from [data] if seed == 0 else (data[at : at + 1] for at in range(len(data)))
        return
    rng = random.Random(seed)
    at = 0
    while at < len(data):
        size = rng.choice((1, 2, 3, 7, 20, 200))
        yield data[at : at + size]
        at += size


Outcome = tuple[list[Any], str]
"""The datums that were read, and the problem that ended reading; empty if there was none."""


def _streamed(data: bytes, seed: int, **how: Any) -> Outcome:
    reader, found = Reader(max_depth=DEPTH, **how), []
    try:
        for piece in _cut(data, seed):
            found += reader.feed(piece)
        found += reader.feed(b"")
        found += reader.close()
        found += reader.close()
    except ReadError as error:
        return found, str(error)
    return found, ""


def _at_once(data: bytes, read: Callable[[bytes, int], tuple[Any, int]], **how: Any) -> Outcome:
    """One datum after another, each by `read`."""
    found: list[Any] = []
    offset = 0
    try:
        while (offset := skip_atmosphere(data, offset, **how)) < len(data):
            value, offset = read(data, offset)
            found.append(value)
    except ReadError as error:
        return found, str(error)
    return found, ""


def _framed_by_datums(data: bytes, seed: int) -> list[bytes] | None:
    """The packets of the framing `datums`; `None` if it refuses the bytes."""
    splitter, found = Datums().splitter(1 << 20), []
    try:
        for piece in _cut(data, seed):
            splitter.feed(piece)
            while (packet := splitter.next()) is not None:
                found.append(packet)
    except RemoteProtocolError:
        return None
    return found


def reader(data: bytes) -> None:
    """Datums by every reader: at once, in pieces, by offsets, by the framing `datums`; then written, and read again."""
    if len(data) < 2:
        return
    dialect, seed, data = _DIALECTS[data[0] % len(_DIALECTS)], data[1], data[2:]
    whole, pieces = _streamed(data, 0, dialect=dialect), _streamed(data, seed, dialect=dialect)
    assert same(whole[0], pieces[0]), (whole, pieces)
    assert whole[1] == pieces[1], (whole, pieces)
    parser = Parser(dialect=dialect, max_depth=DEPTH)

    def in_python(data: bytes, at: int) -> tuple[Any, int]:
        """Without the accelerator, which the other targets use if it is installed."""
        machine = Machine(dialect, DEPTH)
        value = machine.run(data, at, True)
        return value, machine.position

    for read in (lambda data, at: parse(data, at, dialect=dialect, max_depth=DEPTH), parser.datum, in_python):
        values, problem = _at_once(data, read, dialect=dialect)
        assert same(values, whole[0]), (values, whole)
        assert bool(problem) == bool(whole[1]), (problem, whole)
    if len(whole[0]) == 1 and not whole[1]:
        value = loads(data, dialect=dialect, max_depth=DEPTH)
        assert same(value, whole[0][0]), (value, whole)
        if dialect is CHICKEN_4_EXACT:
            return  # not everything that 4.13.0 prints can be read back
        with contextlib.suppress(WriteError):
            text = dumps(value, dialect=dialect)
            again = loads(text, dialect=dialect, max_depth=DEPTH + 10)
            assert dumps(again, dialect=dialect) == text, (value, text, again)
    if dialect is _DIALECTS[0]:
        packets = _framed_by_datums(data, seed)
        if packets is not None and not whole[1]:
            read_back = [loads(packet, max_depth=DEPTH) for packet in packets]
            # The last one may be a symbol or number that only the end of the stream ends.
            assert same(read_back, whole[0][: len(read_back)]), (packets, whole)
            assert len(whole[0]) - len(read_back) <= 1, (packets, whole)


def _told(packets: list[Packet]) -> list[tuple[Any, ...]]:
    """The messages of a transcript, as `_heard` has them."""
    found: list[tuple[Any, ...]] = []
    for packet in packets:
        if packet.message is not None:
            found.append(packet.message)
        elif packet.unreadable:
            found.append(("unreadable",))
        elif packet.body or packet.problem:
            found.append(("problem",))
    return found


def _heard(events: list[Any]) -> list[tuple[Any, ...]]:
    """The messages among a connection's events."""
    kinds = {"RequestReceived": "request", "ResponseReceived": "response", "ErrorReceived": "error"}
    found: list[tuple[Any, ...]] = []
    for event in events:
        name = type(event).__name__
        if name in kinds:
            found.append((kinds[name], event.id, event.message))
        elif name.endswith("Unreadable"):
            found.append(("unreadable",))
    return found


def _in_slices(connection: Connection, pieces: Iterator[bytes]) -> list[Any]:
    """The events if reading stops as often as it can, as in front ends."""
    found: list[Any] = []
    for piece in pieces:
        come = connection.receive(piece, seconds=0.0)
        while True:
            if come and isinstance(come[-1], HelloReceived):
                come = [*come, *connection.authenticate(KEY, seconds=0.0)]
            found += come
            if not connection.more:
                break
            come = connection.receive(b"", seconds=0.0)
    return found + connection.receive_eof()


def wire(data: bytes) -> None:
    """Both roles of a connection, insecure and secure, from the first byte on and once open; and a transcript of
    each."""
    if len(data) < 2:
        return
    make = ENDS[data[0] % len(ENDS)]
    form, seed, data = data[0] // len(ENDS) % 3, data[1], data[2:]
    if form:
        packets = data.split(_SEPARATOR)
        if form == 2:
            box = SecretBox(SESSION_KEY)
            packets = [bytes(box.encrypt(packet)) for packet in packets]
        data = b"".join(map(framed, packets))
    cuts = [len(piece) for piece in _cut(data, seed)]
    connection = make()
    events = feed(connection, data, cuts)
    sliced = _in_slices(make(), _cut(data, seed))
    assert list(map(type, sliced)) == list(map(type, events)), (sliced, events)
    assert same([list(each) for each in _heard(sliced)], [list(each) for each in _heard(events)]), (sliced, events)
    if make is not opened_server and not connection.secure:
        transcript = Transcript(INFERRED_1, secure=False, limit=LIMITS.packet, depth=LIMITS.depth)
        packets_read: list[Packet] = []
        for piece in _cut(data, seed):
            packets_read += transcript.feed("client" if connection.role == "server" else "server", piece)
        heard, told = _heard(events), _told(packets_read)
        assert len(heard) <= len(told), (heard, told)
        assert same([list(each) for each in heard], [list(each) for each in told[: len(heard)]]), (heard, told)


PROFILES: list[Profile] = [INFERRED_1, *(random_profile(random.Random(seed)) for seed in range(40))]
"""The first byte of a conversation chooses one."""


def transcript(data: bytes) -> None:
    """A conversation in any profile, read passively: every byte is shown once, in order, whatever it is."""
    if len(data) < 3:
        return
    profile, seed = PROFILES[data[0] % len(PROFILES)], data[1]
    secure = (None, True, False)[data[2] % 3]
    secrets = {"myuser": "mypassphrase"} if data[2] & 4 else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reading = Transcript(profile, secrets, secure=secure, limit=5000, depth=DEPTH)
        found: list[Packet] = []
        sent = {"client": b"", "server": b""}
        for number, part in enumerate(data[3:].split(_SEPARATOR)):
            source: Any = ("client", "server")[number % 2]
            sent[source] += part
            for piece in _cut(part, seed):
                found += reading.feed(source, piece)
        for source in ("client", "server"):
            found += reading.end(source)
        found += reading.cut()
    for source, data in sent.items():
        mine = [packet for packet in found if packet.source == source]
        assert b"".join(packet.raw for packet in mine) == data, (source, mine)
        at = 0
        for packet in mine:
            assert packet.start == at, (source, packet)
            at = packet.end
            shown = b"".join(part.data for part in packet.ranges if part.offset >= 0)
            assert shown == packet.raw, packet


def profile(data: bytes) -> None:
    """A profile file: it is refused with the one error, or gives a profile that can be written and read again."""
    try:
        found = read_profile(data)
    except ProfileError:
        return
    try:
        text = dump_profile(found)
    except ProfileError:
        return
    assert read_profile(text) == found, text


def _captured(reader: Any, pieces: Iterator[bytes]) -> tuple[dict[Any, bytes], str]:
    streams: dict[Any, bytes] = {}
    try:
        for piece in pieces:
            for chunk in reader.feed(piece):
                streams[chunk.conn, chunk.source] = streams.get((chunk.conn, chunk.source), b"") + (chunk.data or b"")
        for chunk in reader.finish():
            streams[chunk.conn, chunk.source] = streams.get((chunk.conn, chunk.source), b"") + (chunk.data or b"")
    except CaptureError as error:
        return streams, str(error)
    return streams, ""


def pcap(data: bytes) -> None:
    """A packet capture of either format: the same streams in whatever pieces, or the one error."""
    if not data:
        return
    whole, pieces = (_captured(PcapReader(), _cut(data[1:], seed)) for seed in (0, data[0]))
    assert whole == pieces, (whole, pieces)


def recording(data: bytes) -> None:
    """A recording of JSON lines: the same streams in whatever pieces, or the one error."""
    if not data:
        return
    whole, pieces = (_captured(RecordingReader(), _cut(data[1:], seed)) for seed in (0, data[0]))
    assert whole == pieces, (whole, pieces)


def results(data: bytes) -> None:
    """A file of results, or a journal: the one error, or a document that merged with itself is unchanged."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        path = Path(folder) / "results.json"
        path.write_bytes(data)
        try:
            document = load(path)
            merged = merge([document, document])
        except DocumentError:
            return
    assert {str(cell["case"]) for cell in merged["cells"]} == {str(cell["case"]) for cell in document["cells"]}


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (reader, wire, transcript, profile, pcap, recording, results)
}
"""By name."""
