"""Bytes to values: CHICKEN's `read`, for whole inputs, for streams, and for the wire's messages.

It knows how reading begins and ends: one datum of an input and nothing after it, one datum from the middle of a
message, the datums of a stream as they arrive. The syntax is `machine`'s and `lexer`'s.

Nothing is evaluated, nothing recurses, and all that input can make grow has a limit.
"""

from __future__ import annotations

from typing import IO, Any, Final

from bokbok.errors import ReadError
from bokbok.sexpr import problems
from bokbok.sexpr.dialect import CHICKEN_4, Dialect
from bokbok.sexpr.frames import SKIP, WAITING_FOR
from bokbok.sexpr.lexer import found_in_pieces
from bokbok.sexpr.machine import NEED_MORE, NO_DATUM, PAUSED, SPACE, Machine
from bokbok.sexpr.memory import DEFAULT_MAX_MEMORY, cost_of_plain
from bokbok.sexpr.native import READER, Compiled
from bokbok.sexpr.pieces import LONG, PIECE, Steps, at_once
from bokbok.sexpr.plain import read_plain_list
from bokbok.sexpr.scan import BlockCommentEnd

__all__ = [
    "DEFAULT_MAX_DEPTH", "DEFAULT_MAX_MEMORY", "DEFAULT_MAX_SIZE", "PIECE", "Parser", "Reader", "at_once", "load",
    "loads", "parse", "read_list_head", "skip_atmosphere", "skip_atmosphere_in_pieces",
]  # fmt: skip

DEFAULT_MAX_DEPTH: Final = 10_000
"""How deep data may nest. Deeper than people and programs nest lists; shallow enough for CHICKEN's own `read`, whose
recursion costs it stack, and for programs that walk the result recursively."""

DEFAULT_MAX_SIZE: Final = 64 * 1024 * 1024
"""How many bytes of a stream one datum may take: four times the wire's packet limit, so that every datum that came in a
packet passes, and a stream that never ends a datum does not take all memory."""

BytesLike = bytes | bytearray | memoryview


def parse(
    data: BytesLike,
    offset: int = 0,
    *,
    dialect: Dialect = CHICKEN_4,
    max_depth: int = DEFAULT_MAX_DEPTH,
    max_memory: int = DEFAULT_MAX_MEMORY,
) -> tuple[Any, int]:
    """Reads one datum from the middle of some bytes, without copying them. Part of the low level.

    Args:
        data: the bytes; their end ends a last symbol or number.
        offset: where to begin; white space and comments there are skipped.
        dialect: whose syntax.
        max_depth: how deep the datum may nest.
        max_memory: how many bytes of memory it may take, by an estimate.

    Returns:
        The datum, and the offset just after it.

    Raises:
        ReadError: if there is no datum, or if it does not read; its offset counts from the start of `data`.
    """
    if type(data) is not bytes:
        data = _as_bytes(data)
    if (
        READER is not None
        and (found := READER.read(data, offset, dialect.version, max_depth, max_memory, True)) is not None
    ):
        return found[0], found[1]
    machine = Machine(dialect, max_depth, max_memory)
    value = machine.run(data, offset, True)
    if value is NO_DATUM:
        raise problems.NO_DATUM.at(len(data))
    return value, machine.position


class Parser:
    """Reads datums from the middle of bytes, one after another, each once. Part of the low level.

    It is `parse` bound to a dialect and limits, for many small datums: what that needs is made once. One thread at a
    time may use it.

    Args:
        dialect: whose syntax.
        max_depth: how deep a datum may nest, 1 or more.
        max_memory: how many bytes of memory a datum may take, by an estimate.

    Attributes:
        compiled: the accelerator with the same limits.
        begun: after an error, the first elements of the list that was being read, as far as they stand before a dot,
            and the offset where it was opened; so a receiver finds out whom a message is for that does not read, and
            need not read it again. The list is empty if the datum was not a list.
        spent: what the last datum takes in memory, in bytes, by the same estimate as `max_memory`.
    """

    def __init__(
        self,
        *,
        dialect: Dialect = CHICKEN_4,
        max_depth: int = DEFAULT_MAX_DEPTH,
        max_memory: int = DEFAULT_MAX_MEMORY,
    ) -> None:
        self._limits = (dialect, max_depth, max_memory, True)
        self._machine = Machine(*self._limits)
        self.compiled = Compiled(dialect, max_depth, max_memory)
        self.begun: tuple[list[Any], int] = ([], 0)
        self.spent = 0

    def datum(self, data: bytes, offset: int) -> tuple[Any, int]:
        """Reads a datum.

        Args:
            data: the bytes; their end ends a last symbol or number.
            offset: where to begin; white space and comments there are skipped.

        Returns:
            The datum, and the offset just after it.

        Raises:
            ReadError: as `parse`.
        """
        if (found := self.compiled.read(data, offset)) is not None:
            value, end, self.spent = found
            return value, end
        if (plain := read_plain_list(data, offset)) is not None:  # one level deep and small: every limit allows it
            self.spent = cost_of_plain(plain[0], plain[1] - offset)
            return plain
        return self._run(data, offset)

    def datum_in_pieces(self, data: bytes, offset: int) -> Steps[tuple[Any, int]]:
        """`datum` as a generator, which stops every `PIECE` bytes and goes on when it is asked to."""
        found = yield from self.compiled.read_in_pieces(data, offset, PIECE)
        if not isinstance(found, int):
            value, end, self.spent = found
            return value, end
        return (yield from self._run_in_pieces(data, offset))

    def rest_of_list(self, data: bytes, offset: int, items: list[Any], opened: int) -> tuple[list[Any], int]:
        """Reads on in a list whose first elements the caller has read, and are small.

        Args:
            data: the bytes.
            offset: where to go on.
            items: those elements; the others are added to this very list.
            opened: the offset of its parenthesis.

        Returns:
            The list, or the `Dotted` that it is; and the offset just after it.

        Raises:
            ReadError: as `parse`.
        """
        self._machine.enter(items, opened)
        return self._run(data, offset)

    def rest_of_list_in_pieces(
        self, data: bytes, offset: int, items: list[Any], opened: int, *, doubtful: bool = False
    ) -> Steps[tuple[list[Any], int]]:
        """`rest_of_list` as a generator, which stops every `PIECE` bytes and goes on when it is asked to.

        `doubtful`: whether to look first whether it reads at all, since it probably does not. That takes the same time
        again, but next to no memory.
        """
        if doubtful:
            yield from self._look_in_pieces(data, offset, items[:], opened)
        self._machine.enter(items, opened)
        return (yield from self._run_in_pieces(data, offset))

    def atmosphere_in_pieces(self, data: bytes, offset: int) -> Steps[int]:
        """`skip_atmosphere` as a generator, which stops now and then and goes on when it is asked to."""
        dialect, _, max_memory, _ = self._limits
        return skip_atmosphere_in_pieces(data, offset, dialect=dialect, max_memory=max_memory)

    def _run(self, data: bytes, offset: int) -> tuple[Any, int]:
        machine = self._machine
        try:
            value = machine.run(data, offset, True)
        except BaseException:
            self._fail()
            raise
        return self._found(value, data)

    def _run_in_pieces(self, data: bytes, offset: int) -> Steps[tuple[Any, int]]:
        machine = self._machine
        try:
            while (value := machine.run(data, offset, True, offset + PIECE)) is PAUSED:
                offset = machine.position
                yield machine.held
        except BaseException:  # GeneratorExit too: the generator will not go on
            self._fail()
            raise
        return self._found(value, data)

    def _look_in_pieces(self, data: bytes, offset: int, items: list[Any], opened: int) -> Steps[None]:
        """Raises the error of a list that does not read. Next to nothing is kept of what is read."""
        machine = self._machine
        machine.enter(items, opened)
        known: list[tuple[list[Any], int]] = []
        try:
            while machine.run(data, offset, True, offset + PIECE) is PAUSED:
                offset = machine.position
                known = machine.forget(known)
                yield machine.held
        except BaseException:
            self._fail()
            raise

    def _fail(self) -> None:
        self.begun = self._machine.begun
        self.spent = 0
        self._machine = Machine(*self._limits)  # the other one is in the middle of something

    def _found(self, value: Any, data: bytes) -> tuple[Any, int]:
        if value is NO_DATUM:
            self.begun = ([], 0)
            raise problems.NO_DATUM.at(len(data))
        self.spent = self._machine.took
        return value, self._machine.position


def skip_atmosphere(
    data: BytesLike, offset: int = 0, *, dialect: Dialect = CHICKEN_4, max_memory: int = DEFAULT_MAX_MEMORY
) -> int:
    """Skips white space and whole comments: `;…`, `#|…|#`, `#;datum`, `#!/…` and `#! …`. Part of the low level.

    Args:
        data: the bytes.
        offset: where to begin.
        dialect: whose syntax (that of the datum behind `#;`).
        max_memory: how many bytes of memory such a datum may take, by an estimate.

    Returns:
        The offset of the first byte that is neither, or the length of `data`.

    Raises:
        ReadError: if a comment from `#|` is not closed, or what follows `#;` does not read.
    """
    if type(data) is not bytes:
        data = _as_bytes(data)
    return at_once(skip_atmosphere_in_pieces(data, offset, dialect=dialect, max_memory=max_memory))


def skip_atmosphere_in_pieces(
    data: bytes, offset: int, *, dialect: Dialect = CHICKEN_4, max_memory: int = DEFAULT_MAX_MEMORY
) -> Steps[int]:
    """`skip_atmosphere` as a generator, which stops now and then and goes on when it is asked to."""
    size = len(data)
    since = offset
    while True:
        match = SPACE.match(data, offset)
        assert match is not None
        offset = match.end()
        if offset == size:
            return size
        if offset - since > PIECE:
            since = offset
            yield None
        byte = data[offset]
        if byte == 0x3B:
            offset = data.find(b"\n", offset) + 1 or size
        elif byte == 0x23 and offset + 1 < size:
            following = data[offset + 1]
            if following == 0x7C:
                ending = BlockCommentEnd(offset + 2)
                end = ending.find(data, offset + LONG)
                if end < 0:
                    end = yield from found_in_pieces(ending, data, offset + LONG)
                if end < 0:
                    raise problems.UNTERMINATED_COMMENT.at(size, start=offset)
                offset = end
            elif following == 0x3B:
                machine = Machine(dialect, DEFAULT_MAX_DEPTH, max_memory)
                position = offset + 2
                while (value := machine.run(data, position, True, position + PIECE)) is PAUSED:
                    position = machine.position
                    yield machine.held
                if value is NO_DATUM:
                    raise problems.NOTHING_FOLLOWS.at(size, what=WAITING_FOR[SKIP], start=offset)
                offset = machine.position
            elif following == 0x21 and offset + 2 < size and data[offset + 2] in b" \t\n\v\f\r/":
                offset = data.find(b"\n", offset) + 1 or size
            else:
                return offset
        else:
            return offset


def read_list_head(
    data: BytesLike,
    count: int,
    offset: int = 0,
    *,
    dialect: Dialect = CHICKEN_4,
    max_depth: int = DEFAULT_MAX_DEPTH,
) -> tuple[list[Any], int]:
    """Reads the opening of a list and its first elements, whatever stands behind them. Part of the low level.

    It serves a receiver that has a message whose rest does not read, and must find out whom it is for.

    Args:
        data: the bytes.
        count: how many elements.
        offset: where to begin; white space and comments there are skipped, and between the elements too.
        dialect: whose syntax.
        max_depth: how deep the elements may nest, the list itself counted.

    Returns:
        The elements, and the offset just behind the last of them.

    Raises:
        ReadError: if there is no list, it has too few elements, or one of them does not read.
    """
    if type(data) is not bytes:
        data = _as_bytes(data)
    position = skip_atmosphere(data, offset, dialect=dialect)
    if data[position : position + 1] not in (b"(", b"[", b"{"):
        raise problems.NOT_A_LIST.at(position)
    position += 1
    machine = Machine(dialect, max_depth - 1)
    elements: list[Any] = []
    while len(elements) < count:
        value = machine.run(data, position, True)
        if value is NO_DATUM:
            raise problems.LIST_TOO_SHORT.at(len(data), count=len(elements), wanted=count)
        elements.append(value)
        position = machine.position
    return elements, position


def loads(
    data: BytesLike | str,
    *,
    dialect: Dialect = CHICKEN_4,
    max_depth: int = DEFAULT_MAX_DEPTH,
    max_memory: int = DEFAULT_MAX_MEMORY,
) -> Any:
    """Reads exactly one datum.

    Args:
        data: the datum's external representation, with any white space and comments around it. A `str` is taken as the
            bytes that it is in UTF-8 (`surrogateescape`).
        dialect: whose syntax.
        max_depth: how deep it may nest.
        max_memory: how many bytes of memory it may take, by an estimate.

    Returns:
        The value, as the table in the package's documentation has it.

    Raises:
        ReadError: if there is no datum, if it does not read, or if something stands behind it. The offset counts bytes.
        TypeError: if `data` is neither bytes nor `str`.
    """
    if type(data) is not bytes:
        data = _encoded(data) if isinstance(data, str) else _as_bytes(data)
    if READER is not None and (found := READER.read(data, 0, dialect.version, max_depth, max_memory, True)) is not None:
        value, position, _ = found
    else:
        machine = Machine(dialect, max_depth, max_memory)
        value = machine.run(data, 0, True)
        if value is NO_DATUM:
            raise problems.NO_DATUM.at(len(data))
        position = machine.position
    if position < len(data):
        position = skip_atmosphere(data, position, dialect=dialect, max_memory=max_memory)
        if position < len(data):
            raise problems.MORE_AFTER_DATUM.at(position)
    return value


def load(
    file: IO[Any],
    *,
    dialect: Dialect = CHICKEN_4,
    max_depth: int = DEFAULT_MAX_DEPTH,
    max_memory: int = DEFAULT_MAX_MEMORY,
) -> Any:
    """Reads exactly one datum from a file, to its end. The same as `loads` of its content.

    Args:
        file: a file open for reading, binary or text.
        dialect: whose syntax.
        max_depth: how deep the datum may nest.
        max_memory: how many bytes of memory it may take, by an estimate.

    Raises:
        ReadError: as `loads`.
    """
    return loads(file.read(), dialect=dialect, max_depth=max_depth, max_memory=max_memory)


class Reader:
    """Reads the datums of a stream as their bytes arrive, in pieces of any size.

    A datum is returned by the call that completes it: a list with its closing parenthesis, a symbol or a number with
    the delimiter behind it, or by `close`. Of the input, only a token that is not complete is kept.

    Args:
        dialect: whose syntax.
        max_depth: how deep a datum may nest.
        max_size: how many bytes of the stream a datum that is not complete may take.
        max_memory: how many bytes of memory a datum may take, by an estimate.

    After an error the reader cannot go on: every further call raises the same error. If one piece of input holds
    complete datums and then an error, `feed` returns the datums first, and the next call raises the error, so that what
    is read does not depend on how the input is cut.
    """

    def __init__(
        self,
        *,
        dialect: Dialect = CHICKEN_4,
        max_depth: int = DEFAULT_MAX_DEPTH,
        max_size: int = DEFAULT_MAX_SIZE,
        max_memory: int = DEFAULT_MAX_MEMORY,
    ) -> None:
        self._machine = Machine(dialect, max_depth, max_memory)
        self._compiled = Compiled(dialect, max_depth, max_memory)
        self._max_size = max_size
        self._tail = bytearray()
        self._failure: ReadError | None = None
        self._closed = False

    def feed(self, data: BytesLike) -> list[Any]:
        """Takes the next bytes of the stream.

        Args:
            data: any number of bytes.

        Returns:
            The datums that are complete now, in order; often none.

        Raises:
            ReadError: if the stream does not read; the offset counts from its first byte.
            ValueError: if the reader has been closed.
        """
        if self._failure:
            raise self._failure
        if self._closed:
            raise ValueError("this Reader is closed")
        return self._read(data if type(data) is bytes else _as_bytes(data), False)

    def close(self) -> list[Any]:
        """Takes note that the stream has ended. Closing twice is allowed.

        Returns:
            The last datum, if the end of the stream is what completes it; else nothing.

        Raises:
            IncompleteError: if the stream ended within a datum.
            ReadError: as `feed`.
        """
        if self._failure:
            raise self._failure
        if self._closed:
            return []
        self._closed = True
        return self._read(b"", True)

    def _read(self, data: bytes, final: bool) -> list[Any]:
        machine, tail = self._machine, self._tail
        datums: list[Any] = []
        if tail:
            tail += data
            if not final and machine.ending.find(tail) < 0:
                self._check_size()
                return datums
            data = bytes(tail)
            tail.clear()
        position = 0
        try:
            while True:
                # The machine keeps what is begun; so the compiled reader is for datums that lie whole in the data.
                if self._compiled.available and not machine.stack and not machine.spent:
                    position = self._read_whole(data, position, final, datums)
                value = machine.run(data, position, final)
                position = machine.position
                if value is NEED_MORE or value is NO_DATUM:
                    break
                datums.append(value)
            machine.base += position
            if value is NEED_MORE:
                machine.ending.shift(position)
                tail += data[position:]
                self._check_size()
        except ReadError as error:
            self._failure = error
            if not datums:
                raise
        return datums

    def _read_whole(self, data: bytes, position: int, final: bool, datums: list[Any]) -> int:
        """Reads datums as long as the compiled reader takes them; where it stopped."""
        while (found := self._compiled.read(data, position, final)) is not None:
            datums.append(found[0])
            position = found[1]
        return position

    def _check_size(self) -> None:
        since = self._machine.open_since
        base = self._machine.base
        if base + len(self._tail) - (base if since is None else since) > self._max_size:
            self._failure = problems.TOO_LONG.at(base if since is None else since, limit=self._max_size)
            raise self._failure


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        where = len(text[: error.start].encode("utf-8", "surrogateescape"))
        raise problems.LONE_SURROGATE.at(where, code=ord(text[error.start])) from None


def _as_bytes(data: object) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"bytes are read, not {type(data).__name__}")
