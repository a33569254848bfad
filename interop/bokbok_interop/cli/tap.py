"""`bokbok tap`: shows what peers say to each other, live, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from typing import Any

import click

from bokbok.address import Address, format_address, parse_address
from bokbok.cli._exit import CONTEXT, Failure, Status, write_out
from bokbok.cli._options import ADDRESS, profile_option
from bokbok.cli._secrets import read_user_secret, read_users, user_options
from bokbok.cli._serving import Signals, announce, check_announceable, log_options, start_logging
from bokbok.errors import AddressError
from bokbok.keys import Key
from bokbok.wire import Profile
from bokbok_traffic.capture import CaptureError, Chunk, RecordingReader, RecordingWriter
from bokbok_traffic.pcap import PcapReader, is_pcap
from bokbok_traffic.relay import Link, Relay

from ..dump import render
from ..report import terminal
from ..report.screen import Screen
from ..tap import Conversations, Teller, TellingCapture

__all__ = ["tap"]

_log = logging.getLogger("bokbok.tap")
_CAP = 4096
_PIECE = 1 << 16
_PATIENCE = 2.0
"""Seconds that the last packets may take to be written when the tap ends."""


@click.command(
    context_settings=CONTEXT,
    epilog="Exit status: as for bokbok's other commands; 1 if something in a packet capture could not be explained.",
)
@click.argument("listen", metavar="LISTEN")
@click.argument("target", metavar="[TARGET]", required=False, type=ADDRESS)
@user_options("Who says hello, if you know one user's secret.")
@click.option("--users", metavar="FILE", help="Several users and their secrets: a TOML file, as for bokbok serve.")
@profile_option
@click.option("--record", metavar="FILE", help="Also write a recording, for bokbok decode and calibrate.")
@click.option("--brief", is_flag=True, help="One line for each packet, without its bytes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each packet, on a line of its own.")
@click.option(
    "--server",
    metavar="HOST:PORT",
    help="In a packet capture: only the connections of this server. It also tells which side is which if the beginning "
    "of a connection was not captured.",
)
@log_options
def tap(
    listen: str,
    target: Address | None,
    user: str | None,
    passphrase_file: str | None,
    key_file: str | None,
    users: str | None,
    profile: Profile,
    record: str | None,
    brief: bool,
    as_json: bool,
    server: str | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Show what peers say to each other, live: each byte with its layer, boxes opened where the secret is known.

    The tap listens at LISTEN in place of the server and passes every byte on to TARGET, unchanged. The first line on
    standard output is the address; the packets follow. Peers never wait for its output: packets that cannot be shown in
    time are left out, and counted.

    With - for LISTEN, and no TARGET, it reads a packet capture (or a recording) from standard input.

    SIGTERM, SIGHUP or Ctrl-C ends it, together with the connections through it.

    \b
    Examples:
      bokbok tap :4445 server:4444 --user myuser --passphrase-file pass
      bokbok tap ./tap.socket ./server.socket --brief
      tcpdump -i lo -U -s 0 -w - port 4444 | bokbok tap - --user myuser --passphrase-file pass
    """
    start_logging(verbose, quiet)
    secrets = _secrets(user, passphrase_file, key_file, users, profile)
    if listen == "-":
        if target is not None:
            raise click.UsageError("Give no TARGET with -: a packet capture is read from standard input.")
        if passphrase_file == "-":  # noqa: S105 (a file's name)
            raise click.UsageError("Standard input is the packet capture: give --passphrase-file a file.")
        _read_standard_input(profile, secrets, record, _shower(brief, as_json), server)
        return
    if target is None:
        raise click.UsageError("Give a TARGET: where the server is.")
    if server is not None:
        raise click.UsageError("--server is for packet captures.")
    try:
        address = parse_address(listen)
    except AddressError as error:
        raise click.BadParameter(str(error), param_hint="'LISTEN'") from None
    check_announceable(address, "LISTEN")
    writer = _writer(record, str(address[0]))
    with Signals() as signals:
        asyncio.run(_relay(address, target, profile, secrets, writer, _shower(brief, as_json), signals))


def _secrets(
    user: str | None, passphrase_file: str | None, key_file: str | None, users: str | None, profile: Profile
) -> dict[str, str | bytes | Key]:
    secrets: dict[str, str | bytes | Key] = {}
    if users is not None:
        secrets |= {user: keys[0] for user, keys in read_users(users, profile).items()}
    secret = read_user_secret(user, passphrase_file, key_file)
    if secret is not None:
        secrets[secret.user] = secret.to_key(profile)
    return secrets


def _shower(brief: bool, as_json: bool) -> Any:
    """A function that writes one packet."""
    if as_json:
        return lambda packet: write_out(json.dumps(packet, ensure_ascii=True).encode("ascii") + b"\n")
    if brief:
        return lambda packet: write_out(_line(packet))
    screen = Screen()
    if not screen.is_terminal:
        return lambda packet: write_out(_safe(render([packet])))

    def show(packet: dict[str, Any]) -> None:
        terminal.print_dump(screen, [packet])

    return show


def _line(packet: dict[str, Any]) -> bytes:
    text = "\n".join(render([{**packet, "ranges": []}]).splitlines())
    return _safe(" ".join(part.strip() for part in text.splitlines()) + "\n")


def _safe(text: str) -> bytes:
    """Text without control sequences for a terminal, in an encoding that has every character."""
    shown = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown.encode("utf-8", "backslashreplace")


def _writer(record: str | None, transport: str) -> RecordingWriter | None:
    if record is None:
        return None
    try:
        return RecordingWriter(record, transport)
    except OSError as error:
        raise Failure(Status.FILE, f"recording {record!r} cannot be written: {error.strerror}") from None


class _Recorder:
    """Takes chunks: records them first, then passes them on to be explained."""

    def __init__(self, writer: RecordingWriter | None, conversations: Conversations) -> None:
        self._writer, self._conversations = writer, conversations

    def take(self, chunk: Chunk) -> None:
        if self._writer is not None:
            try:
                self._writer.add(chunk)
            except OSError as error:
                _log.error("the recording ends here, it cannot be written: %s", error.strerror)
                self.close()
        self._conversations.take(chunk)

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None


async def _relay(
    listen: Address,
    target: Address,
    profile: Profile,
    secrets: Any,
    writer: RecordingWriter | None,
    show: Any,
    signals: Signals,
) -> None:
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[BaseException] = loop.create_future()

    def fail(error: BaseException) -> None:
        if not failed.done():
            failed.set_result(error)

    def told_no_more(error: BaseException) -> None:
        loop.call_soon_threadsafe(fail, error)

    teller: Teller | None = None

    def tell(packet: dict[str, Any]) -> None:
        assert teller is not None
        teller.tell(packet)

    conversations = Conversations(profile, secrets, tell, cap=_CAP)
    recorder = _Recorder(writer, conversations)

    def over(link: Link) -> None:
        conversations.over(link.number)
        if link.refused:
            _log.warning("the server at %s cannot be reached: %s", format_address(target), link.refused)

    relay = Relay(listen, target, TellingCapture(str(listen[0]), recorder.take), over=over)
    try:
        await relay.start()
    except OSError as error:
        raise Failure(Status.CONNECTION, f"cannot listen at {format_address(listen)}: {error.strerror}") from None
    try:
        announce(relay.address)  # the first line, before any packet
        teller = Teller(show, told_no_more)
        waiting = asyncio.ensure_future(signals.wait_async())
        waits: list[asyncio.Future[Any]] = [waiting, failed]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    finally:
        await relay.stop()
        conversations.finish()
        recorder.close()
        if teller is not None and not await loop.run_in_executor(None, teller.finish, _PATIENCE):
            _log.warning("the last packets could not be shown: standard output is not read")
    if teller is not None and teller.dropped:
        _log.warning("%d packets are not shown: standard output was read too slowly", teller.dropped)
    if conversations.left_out:
        _log.warning("%d connections are not shown: too many at once", conversations.left_out)
    if failed.done():
        raise failed.result()


def _read_standard_input(profile: Profile, secrets: Any, record: str | None, show: Any, server: str | None) -> None:
    conversations = Conversations(profile, secrets, show, cap=_CAP)
    wanted = _server(server)
    reader: PcapReader | RecordingReader
    source = sys.stdin.buffer
    data = os.read(source.fileno(), _PIECE)
    while 0 < len(data) < 4 and (more := os.read(source.fileno(), _PIECE)):
        data += more
    reader = PcapReader(wanted) if is_pcap(data) else RecordingReader()
    recorder = _Recorder(_writer(record, "tcp"), conversations)
    try:
        while data:
            for chunk in reader.feed(data):
                recorder.take(chunk)
            data = os.read(source.fileno(), _PIECE)
        for chunk in reader.finish():
            recorder.take(chunk)
    except CaptureError as error:
        conversations.finish()
        raise Failure(Status.FILE, f"standard input: {error}") from None
    finally:
        recorder.close()
    conversations.finish()
    if isinstance(reader, PcapReader):
        for what, count in sorted(reader.skipped.items()):
            _log.warning("not used: %s (%d)", what, count)
    if not conversations.count:
        raise Failure(Status.FILE, "standard input: no TCP connection in it")
    if conversations.problems:
        sys.exit(1)


def _server(server: str | None) -> tuple[str, int] | None:
    if server is None:
        return None
    try:
        address = parse_address(server)
    except AddressError as error:
        raise click.BadParameter(str(error), param_hint="'--server'") from None
    if address[0] != "tcp":
        raise click.BadParameter("expected HOST:PORT", param_hint="'--server'")
    return address[1] or "", address[2]
