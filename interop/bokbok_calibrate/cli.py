"""The commands `bokbok-interop calibrate …`.

What this module knows: options, exit statuses, which report goes where.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from bokbok.address import parse_address
from bokbok.cli._secrets import read_user_secret, user_options
from bokbok.errors import AddressError, BokbokError, ReadError
from bokbok_traffic.capture import Capture, CaptureError, RecordingWriter
from bokbok_traffic.recording import Recorded, from_capture, load_recording
from bokbok_workers.option import needing_dask, scheduler_option
from bokbok_workers.where import Where, WorkersError

from .clock import PATIENCE
from .derivation import Secrets
from .hands import PACKAGES, Away, Hands
from .live.listen import Listener
from .live.probe import Probe
from .live.proxy import run_proxy
from .report import as_html, as_json, as_text, profile_text
from .script import SCRIPT, known_datums, read_messages
from .search.answer import Answer
from .search.findings import Step
from .search.solve import solve

__all__ = ["calibrate"]

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")

STATUSES = """\b
Exit status:
  0  one profile explains every byte (or several that no conversation can tell apart)
  2  the command line is wrong, or a file or the scheduler cannot be used
  3  several profiles explain every byte: what would tell them apart is printed
  4  none does: how far the search got is printed
"""


@dataclasses.dataclass(frozen=True)
class Common:
    """The options that all commands share.

    Attributes:
        secrets: what is known about the client.
        known: datums that may be expected, as written.
        patience: seconds that the search may take.
        out: the file for the profile.
        json_file: the file for the report as JSON.
        html_file: the file for the report as a page.
        hands: who does the long parts.
    """

    secrets: Secrets
    known: set[bytes]
    patience: float
    out: str | None
    json_file: str | None
    html_file: str | None
    hands: Hands

    @property
    def workers(self) -> Any:
        """The workers of a scheduler, if there is one."""
        return self.hands.workers if isinstance(self.hands, Away) else None

    def solved(self, recorded: list[Recorded]) -> Answer:
        """Search a recording."""
        return solve(recorded, self.secrets, self.known, patience=self.patience, hands=self.hands)

    def finish(self, answer: Answer, recorded: list[Recorded]) -> None:
        """Write all reports, and exit with the status."""
        secure, aside = self.secrets.secure, self.json_file == "-"
        text = as_text(answer, recorded, secure=secure)
        click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"), nl=False, err=aside)
        if answer.profiles and self.out is not None:
            about = "found by bokbok-interop calibrate"
            profile = dataclasses.replace(answer.profiles[0], name=Path(self.out).stem, about=about)
            _write(self.out, profile_text(profile, answer, secure=secure))
            click.echo(f"profile: {self.out}", err=aside)
        elif self.out is not None:
            click.echo(f"no profile: {self.out} is not written", err=aside)
        if self.json_file is not None:
            document = json.dumps(as_json(answer, recorded, secure=secure), indent=1, ensure_ascii=True) + "\n"
            if aside:
                sys.stdout.write(document)
            else:
                _write(self.json_file, document)
        if self.html_file is not None:
            _write(self.html_file, as_html(answer, recorded, secure=secure))
        sys.exit(answer.status)


@click.group(short_help="Find a peer's wire format from its bytes.", epilog=STATUSES)
def calibrate() -> None:
    """Find a real peer's wire format from its bytes, and write it as a profile that every command takes.

    The passphrase proves where each box is. A profile is claimed only if it writes every recorded byte again.
    docs/calibrating.md says what to do, from start to end.
    """


def _common(command: _F) -> _F:
    """Give a command the common options, as one argument `common`."""

    @functools.wraps(command)
    def with_common(
        *args: Any,
        user: str | None,
        passphrase_file: str | None,
        key_file: str | None,
        insecure: bool,
        messages: str | None,
        patience: float,
        out: str | None,
        json_file: str | None,
        html_file: str | None,
        scheduler: Where | None,
        **kwargs: Any,
    ) -> Any:
        _check_outputs(out, json_file, html_file, kwargs.get("record"))
        secrets = _secrets(user, passphrase_file, key_file, insecure)
        known = _known(messages)
        try:
            # Before a conversation that cannot be repeated.
            with _hands(scheduler) as hands:
                common = Common(secrets, known, patience, out, json_file, html_file, hands)
                return command(*args, common=common, **kwargs)
        except WorkersError as error:
            raise click.UsageError(str(error)) from None

    wrapped: Any = with_common
    for option in reversed(
        [
            user_options("The client's username, of secure connections. With a key file the derivation is given."),
            click.option("--insecure", is_flag=True, help="The connections are insecure: only framing and messages."),
            click.option(
                "--messages", metavar="FILE", help="Datums that the client sends besides the script, one on each line."
            ),
            click.option(
                "--patience", type=click.FloatRange(0, min_open=True), default=PATIENCE, show_default=True,
                metavar="SECONDS", help="How long to search.",
            ),
            click.option("--out", metavar="PROFILE.toml", help="Write the profile to this file."),
            click.option("--json", "json_file", metavar="FILE", help="Write the report as JSON (- for stdout)."),
            click.option("--html", "html_file", metavar="FILE", help="Write the report as an HTML page."),
            scheduler_option(
                "do the long parts of the search, and make the connections of a probe",
                "The answer is the same. They learn the user's secrets.",
            ),
        ]
    ):  # fmt: skip
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


@contextlib.contextmanager
def _hands(where: Where | None) -> Iterator[Hands]:
    """Who does the long parts: this process, or the workers of a scheduler."""
    if where is None:
        yield Hands()
        return
    with needing_dask():
        from bokbok_workers.workers import Workers
    with contextlib.closing(Workers(where, PACKAGES)) as workers:
        yield Away(workers)


def _secrets(user: str | None, passphrase_file: str | None, key_file: str | None, insecure: bool) -> Secrets:
    if insecure:
        if user is not None or passphrase_file or key_file:
            raise click.UsageError("--insecure cannot be used with --user, --passphrase-file or --key-file.")
        return Secrets()
    if user is None:
        raise click.UsageError("Who is the client? Give --user and --passphrase-file or --key-file, or --insecure.")
    try:
        secret = read_user_secret(user, passphrase_file, key_file)
    except BokbokError as error:
        raise click.UsageError(str(error)) from None
    assert secret is not None
    name = secret.user.encode("utf-8", "surrogateescape")
    return Secrets(name, secret.passphrase) if secret.key is None else Secrets(name, key=secret.key.to_bytes())


def _known(messages: str | None) -> set[bytes]:
    if messages is None:
        return known_datums()
    try:
        return known_datums(read_messages(Path(messages).read_bytes().decode("utf-8", "surrogateescape")))
    except OSError as error:
        raise click.UsageError(f"--messages {messages!r}: {error.strerror}") from None
    except ReadError as error:
        raise click.UsageError(f"--messages {messages!r}: {error}") from None


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise click.UsageError(f"{path!r} cannot be written: {error.strerror}") from None


def _address(text: str) -> Any:
    try:
        return parse_address(text)
    except AddressError as error:
        raise click.BadParameter(str(error)) from None


def _say(text: str) -> None:
    click.echo(text, err=True)


def _run(work: Coroutine[Any, Any, _T], place: str) -> _T:
    """Run until it is over, or until Ctrl-C ends it early: then it returns what it has."""

    async def until_interrupted() -> _T:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_IGN:  # nohup(1) ignores it
                continue
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await task

    try:
        return asyncio.run(until_interrupted())
    except OSError as error:
        raise click.UsageError(f"{place}: {error.strerror or error}") from None


def _check_outputs(*paths: str | None) -> None:
    """Check that reports can be written, before a conversation that cannot be repeated."""
    for path in paths:
        if path is None or path == "-":
            continue
        folder = Path(path).parent
        if not folder.is_dir():
            raise click.UsageError(f"{path!r} cannot be written: the folder {str(folder)!r} does not exist")
        if Path(path).is_dir():
            raise click.UsageError(f"{path!r} cannot be written: it is a folder")


@contextlib.contextmanager
def _recording(path: str | None, address: Any) -> Iterator[RecordingWriter | None]:
    """The file of `--record`, opened before there is anything to record: a conversation cannot be repeated."""
    if path is None:
        yield None
        return
    try:
        writer = RecordingWriter(path, str(address[0]))
    except OSError as error:
        raise click.UsageError(f"{path!r} cannot be written: {error.strerror}") from None
    with contextlib.closing(writer):
        yield writer


def _tell_unwritten(capture: Capture, path: str | None) -> None:
    if capture.unwritten:
        _say(f"{path!r} is not complete: {capture.unwritten}")


_record_option = click.option("--record", metavar="FILE", help="Also write the recording to this file, as it comes.")
_connections_option = click.option(
    "--connections", type=click.IntRange(1), default=2, show_default=True, help="Stop after so many connections."
)


@calibrate.command(epilog=STATUSES)
@click.argument("capture")
@click.option("--server", metavar="HOST:PORT", help="For packet captures: which end is the server.")
@_common
def read(capture: str, server: str | None, common: Common) -> None:
    """Find the format from CAPTURE: a recording in JSON lines, or a pcap or pcapng file; - for standard input."""
    end: tuple[str, int] | None = None
    if server is not None:
        host, _, port = server.rpartition(":")
        if not port.isdigit():
            raise click.UsageError(f"--server: {server!r}; expected HOST:PORT or :PORT")
        end = (host.strip("[]"), int(port))
    try:
        recording = load_recording(capture, server=end)
    except CaptureError as error:
        raise click.UsageError(str(error)) from None
    answer = common.solved(recording.connections)
    answer.skipped = recording.skipped
    common.finish(answer, recording.connections)


@calibrate.command()
def script() -> None:
    """Print the default script: requests of a client, one datum on each line, for each of two connections."""
    sys.stdout.buffer.write("".join(f"{line}\n" for line in SCRIPT).encode("utf-8", "surrogateescape"))


@calibrate.command(epilog=STATUSES)
@click.argument("address")
@click.argument("upstream")
@_record_option
@_connections_option
@_common
def proxy(address: str, upstream: str, record: str | None, connections: int, common: Common) -> None:
    """Listen at ADDRESS between a client and the server at UPSTREAM, record, then find the format. Ctrl-C ends
    early."""
    here = _address(address)
    capture = Capture(str(here[0]))
    with _recording(record, here) as writer:
        if writer is not None:
            capture.keep(writer)
        _run(run_proxy(here, _address(upstream), connections, _say, capture=capture), address)
    _tell_unwritten(capture, record)
    recorded = from_capture(capture)
    common.finish(common.solved(recorded), recorded)


@calibrate.command(epilog=STATUSES)
@click.argument("address")
@_record_option
@_connections_option
@_common
def listen(address: str, record: str | None, connections: int, common: Common) -> None:
    """Listen at ADDRESS for a real client, and answer it in the format as understood so far. Ctrl-C ends early."""
    listener = Listener(common.secrets, common.known, _say, patience=common.patience, hands=common.hands)
    here = _address(address)
    with _recording(record, here) as writer:
        if writer is not None:
            listener.capture.keep(writer)
        answer = _run(listener.run(here, connections), address)
    _tell_unwritten(listener.capture, record)
    common.finish(answer, listener.recorded())


@calibrate.command(epilog=STATUSES)
@click.argument("address")
@_record_option
@click.option("--pause", type=click.FloatRange(0), default=0.2, show_default=True, help="Seconds between connections.")
@click.option("--most", type=click.IntRange(1), default=400, show_default=True, help="The most connections to make.")
@_common
def probe(address: str, record: str | None, pause: float, most: int, common: Common) -> None:
    """Calibrate with only a server: speak to it in one profile after another, the likely ones first, until it
    answers."""
    there = _address(address)
    prober = Probe(common.secrets, _say, workers=common.workers)
    with _recording(record, there) as writer:
        prober.record = None if writer is None else writer.anew
        capture = _run(prober.run(there, pause, most), address)
    _tell_unwritten(capture, record)
    recorded = from_capture(capture)
    answer = common.solved(recorded) if recorded else Answer()
    answer.steps[:0] = [Step("probe", note, "likely") for note in prober.notes()]
    common.finish(answer, recorded)
