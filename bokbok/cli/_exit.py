"""How the command ends: exit statuses, and one line on standard error for everything that went wrong.

It knows how each error is told, and with which status. The statuses are part of the command's interface
(`docs/cli.md`); a script may rely on them.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sys
from collections.abc import Sequence
from typing import IO, Any

import click

from ..errors import (
    AddressError,
    BokbokError,
    KeyFileError,
    NetworkError,
    ProfileError,
    RemoteError,
    RequestTimeout,
    SexprError,
)
from ._text import printable

__all__ = [
    "CONTEXT",
    "EPILOG",
    "Failure",
    "Status",
    "failure",
    "run",
    "settle_stderr",
    "to_nowhere",
    "warn",
    "write_out",
]


class Status(enum.IntEnum):
    """Exit statuses."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    REMOTE = 3
    CONNECTION = 4
    DATUM = 5
    TIMEOUT = 6
    FILE = 7
    UNFINISHED = 8
    INTERRUPTED = 130  # as a shell shows the end by SIGINT
    BROKEN_PIPE = 141  # as a shell shows the end by SIGPIPE


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Settings of every command."""

EPILOG = """\b
Exit status:
    0  all went well
    1  anything without a status of its own
    2  wrong usage
    3  remote error: the handler at the other end failed
    4  connection error: no connection, or the end of it
    5  bad datum: it does not read, or cannot be sent
    6  time-out: no answer came within --timeout
    7  file error: a file cannot be used, or others can read its secret
    8  a server was stopped, and handlers went on all the same
  130  interrupted
  141  standard output was closed (`bokbok call ... | head -1`)
"""

_KINDS = {
    Status.FAILURE: "error",
    Status.USAGE: "error",
    Status.REMOTE: "remote error",
    Status.CONNECTION: "connection error",
    Status.DATUM: "bad datum",
    Status.TIMEOUT: "timeout",
    Status.FILE: "file error",
    Status.UNFINISHED: "unfinished",
}


class Failure(click.ClickException):
    """What ends the command, or is told while it goes on: one line, and a status.

    Args:
        status: the exit status; it also says what the line begins with.
        message: what went wrong. What a terminal would not show as it is, is escaped.
        place: what it is about, such as `"request 2"`; stands in front.
    """

    def __init__(self, status: Status, message: str, *, place: str | None = None) -> None:
        text = f"{_KINDS[status]}: {printable(message)}"
        super().__init__(f"{place}: {text}" if place else text)
        self.exit_code = status  # type: ignore[misc, unused-ignore]  # click's own classes do the same

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell it on standard error; where that is closed, only the exit status tells it."""
        with contextlib.suppress(OSError):
            click.echo(self.message, file=file, err=True)


def failure(error: BokbokError, *, place: str | None = None) -> Failure:
    """What an error of the library is on the command line."""
    status, message = Status.FAILURE, str(error)
    if isinstance(error, RemoteError):
        status, message = Status.REMOTE, error.message
    elif isinstance(error, RequestTimeout):
        status = Status.TIMEOUT
    elif isinstance(error, NetworkError):
        status = Status.CONNECTION
    elif isinstance(error, SexprError):
        status = Status.DATUM
    elif isinstance(error, KeyFileError):
        status = Status.FILE
    elif isinstance(error, (AddressError, ProfileError)):
        status = Status.USAGE
    return Failure(status, message, place=place)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    with contextlib.suppress(OSError):
        click.echo(f"warning: {printable(message)}", err=True)


def write_out(data: bytes) -> None:
    """Write to standard output, at once.

    Raises:
        Failure: it cannot be written to.
        click.exceptions.Exit: it was closed at its other end, which is not worth a message.
    """
    if sys.stdout is None:
        raise Failure(Status.FAILURE, "standard output is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _abandon_stdout()
        raise click.exceptions.Exit(Status.BROKEN_PIPE) from None
    except OSError as error:
        _abandon_stdout()
        raise Failure(Status.FAILURE, f"cannot write to standard output: {error.strerror}") from None


def _abandon_stdout() -> None:
    """Drop what is still in the buffer: the interpreter would try to write it, and complain, once more at its end."""
    to_nowhere(sys.stdout)


def settle_stderr() -> None:
    """Flush standard error. If that fails, drop what it holds: the interpreter would end with status 120 otherwise."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.flush()
    except OSError:
        to_nowhere(sys.stderr)


def to_nowhere(stream: IO[Any]) -> None:
    """Make a stream that can no longer be written to drop what is written, now and at the interpreter's end."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def run(command: click.Command, args: Sequence[str] | None, *, name: str = "bokbok") -> int:
    """Run a command.

    Args:
        command: the command.
        args: its arguments; `None` for those of the process.
        name: of the program, for its usage.

    Returns:
        Its exit status. Whatever went wrong has been told on standard error, in a line without a traceback.
    """
    try:
        status = command.main(args, prog_name=name, standalone_mode=False)
        return status if isinstance(status, int) else Status.OK
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Status.INTERRUPTED
    except SystemExit as end:  # how the conformance suite's command says its status
        return end.code if isinstance(end.code, int) else Status.FAILURE
    except BokbokError as error:
        failure(error).show()
        return failure(error).exit_code
    except BrokenPipeError:
        _abandon_stdout()
        return Status.BROKEN_PIPE
    except OSError as error:
        _show_traceback()
        Failure(Status.FAILURE, error.strerror or str(error)).show()
        return Status.FAILURE
    except Exception as error:
        _show_traceback()
        import traceback  # only here: most commands have nothing to tell

        text = "".join(traceback.format_exception_only(type(error), error)).strip()
        Failure(
            Status.FAILURE,
            f"this is a fault of bokbok's own: {text} (BOKBOK_TRACEBACK=1 in the environment shows where)",
        ).show()
        return Status.FAILURE


def _show_traceback() -> None:
    if os.environ.get("BOKBOK_TRACEBACK"):
        import traceback

        traceback.print_exc()
