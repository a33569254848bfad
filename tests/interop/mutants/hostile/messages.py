"""Peers that accept as a message what is not one, or the reverse."""

from __future__ import annotations

import contextlib
import os
import re
import select
from typing import Any

import peer as P
import sexpr as S

from .._changes import _ignore_protocol_errors
from .._mutant import C, around, mutant


@mutant(
    "hostile.not-a-list",
    "hostile.two-datums",
    "hostile.first-datum",
    "hostile.trailing-bytes",
    "hostile.empty-message",
    "hostile.unknown-tag",
    "hostile.wrong-shape",
    "hostile.bad-id",
    "hostile.unasked-answer",
    "hostile.second-answer",
    "hostile.eof-object",
    "hostile.unclosed-comment",
    "hostile.waiting-requests-fail",
    "hostile.endless-nesting",
    "hostile.garbage-after-hello",
    "hostile.reflected-response",
    "hostile.tampered",
    "hostile.tampered-length",
    "hostile.other-key",
    "hostile.tiny-packets",
)
def ignores_bad_packets() -> None:
    """Ignores packets that it does not understand instead of closing."""
    _ignore_protocol_errors()


@mutant(
    "hostile.server-sends-no-list",
    "hostile.server-sends-wrong-shape",
    "hostile.server-answers-unasked",
    "hostile.server-answers-twice",
    "hostile.server-replays-answer",
    "hostile.server-tampers",
    "hostile.server-sends-garbage",
    role="client",
)
def client_ignores_bad_packets() -> None:
    """A client that ignores packets that it does not understand instead of closing."""
    _ignore_protocol_errors()


@mutant("hostile.not-a-list", "hostile.garbage", "hostile.length-over-limit", "hostile.hello-tampered")
def dies_of_bad_packets() -> None:
    """A protocol error ends the whole program."""
    around(P.ProtocolError, "__init__", lambda real: lambda self, *a: os._exit(70))
    around(P, "refuse", lambda real: lambda sock: os._exit(70))


@mutant("hostile.server-sends-garbage", "hostile.server-speaks-first", role="client")
def client_dies_of_bad_packets() -> None:
    """A protocol error ends the client's whole program."""
    around(P.ProtocolError, "__init__", lambda real: lambda self, *a: os._exit(70))


@mutant("hostile.two-datums", "hostile.trailing-bytes")
def takes_the_first_datum() -> None:
    """Reads one datum of a packet and ignores the rest."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            try:
                _, end = S.read(text)
                return real(text[:end])
            except S.ReadError:
                return real(text)

        return run

    around(P, "parse_message", parse)


@mutant("hostile.bad-id")
def takes_any_id() -> None:
    """Accepts any ID."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            try:
                return real(text)
            except P.ProtocolError:
                value, _ = S.read(text)
                if isinstance(value, list) and len(value) == 3 and value[0] == "request":
                    return "request", 12345, value[2]
                raise

        return run

    around(P, "parse_message", parse)


@mutant("hostile.white-space-and-comments")
def no_comments() -> None:
    """Does not know comments."""

    def blank(text: str, at: int) -> int:
        while at < len(text) and text[at] in " \t\n\v\f\r":
            at += 1
        return at

    S.skip_blank = blank


@mutant("hostile.white-space-and-comments")
def no_brackets() -> None:
    """Does not know brackets."""
    S._CLOSER = {"(": ")"}


@mutant("hostile.reads-unspecified", "hostile.client-reads-unspecified", role="both")
def cannot_read_unspecified() -> None:
    """Cannot read #<unspecified>."""

    def atom(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            if text.startswith("#<", at):
                raise S.ReadError("#<...>")
            return real(text, at)

        return run

    around(S, "_atom", atom)


@mutant("hostile.server-writes-otherwise", role="client")
def client_knows_no_comments() -> None:
    """A client that does not know comments."""
    no_comments()


@mutant("hostile.bad-id", security="insecure")
def ids_may_be_flonums() -> None:
    """Accepts a flonum that is a whole number as an ID."""
    around(P, "parse_message", lambda real: lambda text: real(re.sub(r"^(\(\w+ \d+)\.0*(?= )", r"\1", text)))


@mutant("hostile.first-datum", "hostile.servers-first-datum", role="both")
def looks_for_an_id_behind_whole_messages() -> None:
    """Answers any packet that begins like a request and cannot be read as a whole, even if its first datum can."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            try:
                return real(text)
            except P.ProtocolError:
                if found := P.MALFORMED.match(text):
                    return found[1], int(found[2]), P.Unreadable("a packet that does not read")
                raise

        return run

    around(P, "parse_message", parse)


@mutant("hostile.nothing-behind-an-error", "hostile.nothing-behind-a-servers-error", role="both")
def serves_what_came_behind_an_error() -> None:
    """Serves what came together with a bad packet before it closes."""
    real = C.packet_came

    def packet_came(self: Any, packet: bytes) -> None:
        try:
            real(self, packet)
        except P.ProtocolError:
            while select.select([self.sock], [], [], 0)[0] and (more := P.read_packet(self.sock, P.MAX_PACKET)):
                with contextlib.suppress(P.ProtocolError):
                    real(self, more)
            raise

    C.packet_came = packet_came


def _not_in_this_spelling(pattern: str) -> None:
    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            if re.match(pattern, text):
                raise P.ProtocolError("a packet is not a message")
            return real(text)

        return run

    around(P, "parse_message", parse)


@mutant("hostile.white-space-and-comments", "hostile.server-writes-otherwise", role="both")
def knows_tags_by_their_bytes() -> None:
    """Compares the bytes of a tag, so that it does not know one between bars."""
    _not_in_this_spelling(r"\(\|")


@mutant("hostile.white-space-and-comments", "hostile.server-writes-otherwise", role="both")
def no_dot_behind_an_id() -> None:
    """Does not take a message that has a dot before the list of its datum."""
    _not_in_this_spelling(r"\(\w+ \d+ \. \(")
