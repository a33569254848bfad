"""Files that are written completely or not at all, and the journal of a run in progress.

A file is checked before there is anything to write, and takes its place by an atomic rename: a reader sees the old one
or the new one. A journal contains the results so far, so that they survive if the run is killed. It is a header line,
then a line for each cell, in JSON. If a cell is in it twice, the later line counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["JOURNAL", "Journal", "Target", "TargetError", "as_json"]

JOURNAL = "bokbok-interop-journal"
"""The member of a journal's header that marks it as a journal."""


class TargetError(Exception):
    """A file cannot be written; the message says which and why."""


def as_json(value: Any, **how: Any) -> bytes:
    """A value as JSON, in UTF-8. A lone surrogate, which stands for a byte that is not UTF-8, becomes `\\udcXX`."""
    return json.dumps(value, ensure_ascii=False, default=str, **how).encode("utf-8", "backslashreplace") + b"\n"


class Target:
    """A file that will be written.

    Args:
        path: where. Something there that is not a file (`/dev/stdout`, a pipe) is written to directly.

    Raises:
        TargetError: it could not be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = Path(os.path.realpath(path))
        self._draft: Path | None = None
        try:
            mode = self._file.stat().st_mode if self._file.exists() else stat.S_IFREG
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(0, "it is a folder")
            if not stat.S_ISREG(mode):
                if not os.access(self._file, os.W_OK):
                    raise PermissionError(0, "it cannot be written to")
                return
            descriptor, name = tempfile.mkstemp(prefix=f".{self._file.name[:100]}.", dir=self._file.parent)
            self._draft = Path(name)
            umask = os.umask(0)
            os.umask(umask)
            with open(descriptor, "wb"):
                os.chmod(name, stat.S_IMODE(mode) or 0o666 & ~umask)
        except OSError as error:
            self.drop()
            raise TargetError(f"{path} cannot be written: {error.strerror or error}") from None

    def write(self, data: bytes) -> None:
        """Write it, completely or not at all.

        Raises:
            TargetError: it cannot be written after all.
        """
        try:
            with open(self._draft or self._file, "wb") as file:
                file.write(data)
                file.flush()
                if self._draft is not None:
                    os.fsync(file.fileno())
            if self._draft is not None:
                os.replace(self._draft, self._file)
                self._draft = None
        except OSError as error:
            raise TargetError(f"{self.path} cannot be written: {error.strerror or error}") from None
        finally:
            self.drop()

    def drop(self) -> None:
        """Give it up."""
        if self._draft is not None:
            with contextlib.suppress(OSError):
                self._draft.unlink()
            self._draft = None


class Journal:
    """The results of a run in progress, beside the file that they become.

    Args:
        results: that file. The journal is beside it, with `.journal` after its name.

    Attributes:
        path: the journal's.
        problem: why it ended early, or empty.

    Raises:
        TargetError: it cannot be written.
    """

    def __init__(self, results: str) -> None:
        self.path = f"{results}.journal"
        self.problem = ""
        try:
            self._file: IO[bytes] | None = open(self.path, "wb")  # noqa: SIM115 (until the run ends)
        except OSError as error:
            raise TargetError(f"{self.path} cannot be written: {error.strerror or error}") from None

    def begin(self, header: Mapping[str, Any]) -> None:
        """Write the header: a document without cells."""
        self._add({JOURNAL: 1, **header})

    def add(self, cell: Mapping[str, Any]) -> None:
        """Write a cell's line."""
        self._add(cell)

    def _add(self, value: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(as_json(value))
            self._file.flush()
        except OSError as error:  # the disk is full: the run goes on, and its results can still be shown
            self.problem = f"{self.path} cannot be written any more: {error.strerror or error}"
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def end(self, *, keep: bool = False) -> None:
        """Close it. Without `keep` it is removed, since the results are where they belong."""
        self._close()
        if not keep:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
