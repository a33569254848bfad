"""Faults that were thought up at one sitting: those that somebody may make who writes a peer from the documents.

The list was made before it was known which cases notice them. `docs/topics/mutants.md` says how many went unnoticed.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import struct
import threading
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import peer as P
import puppet as U
import sexpr as S
from sexpr import Char, Keyword, Numbers, Symbol

from ._mutant import C, around, claim, mutant
from .hostile.replays import _remembers_hellos, _window_of

# -- framing and limits


def _reading(change: Callable[[int], int]) -> None:
    """Compare packets' lengths with the limit in another way: after `change` has changed the length."""

    def read_packet(sock: socket.socket, limit: int) -> bytes | None:
        head = P.read_exactly(sock, 4)
        if head is None:
            return None
        (length,) = struct.unpack(">I", head)
        if change(length) > limit:
            raise P.ProtocolError("a packet that is too long")
        return P.read_exactly(sock, length)

    P.read_packet = read_packet


@mutant("hostile.packet-at-the-limit", "hostile.servers-packet-at-the-limit", role="both")
def limit_is_exclusive() -> None:
    """Accepts packets that are shorter than the limit, but not those of exactly the limit."""
    _reading(lambda length: length + 1 if length == P.MAX_PACKET else length)


@mutant("hostile.length-over-limit")
def limit_without_the_box() -> None:
    """Compares the content of a box with the limit, so that a packet may have 40 bytes more."""
    _reading(lambda length: length - 40 if length > P.MAX_PACKET else length)


@mutant("hostile.length-over-limit")
def signed_lengths() -> None:
    """Reads a length as a signed number, so that one of 2 GiB or more is below every limit."""
    _reading(lambda length: length if length < 1 << 31 else -1)


@mutant("hostile.tiny-packets")
def empty_packets_pass() -> None:
    """Ignores packets without a byte."""
    real = P.read_packet

    def read_packet(sock: Any, limit: int) -> Any:
        while (packet := real(sock, limit)) == b"":
            pass
        return packet

    P.read_packet = read_packet


@mutant("request.box-counts", role="client")
def sends_8_mib_at_most() -> None:
    """A client that sends no message of more than 8 MiB."""
    real = C.request

    def request(self: Any, message: Any) -> Any:
        if len(S.write(message)) > 8 << 20:
            raise S.WriteError("too long")
        return real(self, message)

    C.request = request


@mutant("request.answer-box-counts")
def answers_8_mib_at_most() -> None:
    """Sends no answer of more than 8 MiB."""
    real = C.answer

    def answer(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
        if not failed and len(S.write(value)) > 8 << 20:
            raise S.WriteError("too long")
        real(self, number, value, failed=failed)

    C.answer = answer


@mutant("hostile.length-over-limit-before-hello")
def session_keys_as_long_as_packets() -> None:
    """Applies the limit of ordinary packets to the second packet of a hello."""
    real = P.read_packet
    P.read_packet = lambda sock, limit: real(sock, P.MAX_PACKET if limit == P.BOXED_KEY else limit)


@mutant("secure.any-user-name")
def names_of_254_bytes() -> None:
    """Accepts usernames of at most 254 bytes."""
    real = P.read_packet
    P.read_packet = lambda sock, limit: real(sock, 254 if limit == 255 else limit)


# -- hellos and nonces


@mutant("hostile.hello-just-in-time")
def hello_time_of_five_seconds() -> None:
    """Allows five seconds for a hello."""
    claim("hardening")
    real = P.Server.hello

    def hello(self: Any, sock: Any, *a: Any) -> Any:
        timer = threading.Timer(5, lambda: sock.shutdown(socket.SHUT_RDWR))
        timer.start()
        try:
            return real(self, sock, *a)
        finally:
            timer.cancel()

    P.Server.hello = hello


@mutant("hostile.hello-withheld")
def hello_time_of_fifteen_seconds() -> None:
    """Allows fifteen seconds for a hello."""
    claim("hardening")
    P.HELLO_SECONDS = 15.0


@mutant("lifecycle.idle")
def hello_timer_runs_on() -> None:
    """Closes a connection ten seconds after it was accepted, whether its hello has opened or not."""
    real = P.Server.welcome

    def welcome(self: Any, sock: Any, name: Any) -> None:
        def end() -> None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(10, end)
        timer.daemon = True
        timer.start()
        real(self, sock, name)

    P.Server.welcome = welcome


@mutant("preflight.client-hello", role="client")
def hello_with_the_first_request() -> None:
    """A client that says hello only with its first request."""
    real = P.open_connection

    def open_connection(address: Any, user: Any, key: Any, *a: Any) -> Any:
        held: list[bytes] = []
        if user is None:
            return real(address, user, key, *a)
        plain = socket.socket.sendall

        class Held(socket.socket):
            def sendall(self, data: Any, *rest: Any) -> None:
                if not held:
                    held.append(bytes(data))
                    return
                plain(self, held.pop() + bytes(data) if held[0] else bytes(data), *rest)
                held.append(b"")

        sockets, P.socket.socket = P.socket.socket, Held
        try:
            return real(address, user, key, *a)
        finally:
            P.socket.socket = sockets

    U.open_connection = open_connection


@mutant("hostile.refused-hello-is-not-remembered")
def remembers_refused_hellos() -> None:
    """Remembers the box of a hello before it knows whether the box opens."""
    claim("hardening")
    seen: list[bytes] = []
    real = P.read_packet

    def read_packet(sock: Any, limit: int) -> Any:
        packet = real(sock, limit)
        if limit == P.BOXED_KEY and packet is not None:
            if packet in seen:
                raise P.ProtocolError("a hello that was seen before")
            seen.append(packet)
        return packet

    P.read_packet = read_packet


@mutant("secure.nonces")
def nonces_from_one() -> None:
    """Counts its nonces from 1."""
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "nonce_counter", 1))[0])


@mutant("secure.nonces")
def errors_take_two_nonces() -> None:
    """Counts its nonces up twice for every third box."""

    def seal(real: Any) -> Any:
        def run(self: Any, *a: Any) -> bytes:
            packet: bytes = real(self, *a)
            self.nonce_counter += self.nonce_counter % 3 == 0
            return packet

        return run

    around(C, "seal", seal)


@mutant("request.message-bytes", role="client", security="insecure")
def announces_insecure_connections() -> None:
    """A client that says in a separate packet that its connection is insecure."""

    def start(real: Any) -> Any:
        def run(self: Any) -> None:
            if not self.box and not self.server:
                self.sock.sendall(struct.pack(">I", 8) + b"insecure")
            real(self)

        return run

    around(C, "start", start)


# -- messages


def _message(change: Callable[[str, Callable[[str], Any]], Any]) -> None:
    around(P, "parse_message", lambda real: lambda text: change(text, real))


def _not_taken(pattern: str) -> None:
    """Treat a message as a protocol error if it looks like this."""

    def change(text: str, real: Callable[[str], Any]) -> Any:
        if re.search(pattern, text, re.S):
            raise P.ProtocolError("not taken")
        return real(text)

    _message(change)


@mutant("hostile.largest-id", "hostile.servers-largest-id", role="both")
def ids_as_flonums() -> None:
    """Keeps the IDs of requests as flonums of 64 bits."""
    around(C, "request_came", lambda real: lambda self, number, body: real(self, int(float(number)), body))


@mutant("hostile.unread-refusals", "hostile.servers-unread-refusals", role="both")
def refuses_while_it_reads() -> None:
    """Sends the answers to unreadable requests in the reading thread, which then waits for a slow reader."""
    C.refuse = lambda self, number, why: self.answer(number, why, failed=True)


@mutant("hostile.unreadable-request", "hostile.server-sends-unreadable-request", role="both")
def no_blanks_behind_what_does_not_read() -> None:
    """Assigns an unreadable message to its request only if a parenthesis is its very last byte."""
    P.MALFORMED = re.compile(P.MALFORMED.pattern.replace(r"\)\s*\Z", r"\)\Z"), re.S)


@mutant("hostile.unreadable-is-no-message")
def any_word_is_a_tag_where_nothing_reads() -> None:
    """Treats an unreadable message as a request, whatever its tag is."""
    P.MALFORMED = re.compile(P.MALFORMED.pattern.replace("(request|response|error)", r"(\w+)"), re.S)
    _message(lambda text, real: ("request", *real(text)[1:]) if real(text)[0] not in TAGS else real(text))


TAGS = ("request", "response", "error")


@mutant("hostile.unreadable-is-no-message", "hostile.server-sends-no-message", role="both")
def any_number_is_an_id_where_nothing_reads() -> None:
    """Accepts a number beyond the fixnums as the ID of an unreadable message."""

    def change(text: str, real: Callable[[str], Any]) -> Any:
        try:
            return real(text)
        except P.ProtocolError:
            if found := P.MALFORMED.match(text):
                return found[1], int(found[2]), P.Unreadable("?")
            raise

    _message(change)


@mutant("hostile.unreadable-is-no-message")
def no_parenthesis_where_nothing_reads() -> None:
    """Assigns an unreadable message to its request although it does not end like a list."""
    P.MALFORMED = re.compile(P.MALFORMED.pattern.replace(r".*\)\s*\Z", r".*\Z"), re.S)


@mutant("hostile.wrong-shape")
def any_datum_is_an_errors_message() -> None:
    """Accepts any datum as the message of an error."""

    def change(text: str, real: Callable[[str], Any]) -> Any:
        try:
            return real(text)
        except P.ProtocolError:
            value, _ = S.read(text)
            if isinstance(value, list) and len(value) == 3 and value[0] == "error":
                return "error", value[1], str(value[2])
            raise

    _message(change)


@mutant("hostile.wrong-shape", "hostile.server-sends-wrong-shape", role="both")
def errors_may_have_more_parts() -> None:
    """Ignores whatever follows the message of an error."""

    def change(text: str, real: Callable[[str], Any]) -> Any:
        try:
            return real(text)
        except P.ProtocolError:
            value, _ = S.read(text)
            if isinstance(value, list) and len(value) > 3 and value[0] == "error":
                return "error", value[1], value[2]
            raise

    _message(change)


@mutant("hostile.unasked-answer", "hostile.server-answers-unasked", role="both")
def ids_of_answers_have_32_bits() -> None:
    """Looks at the last 32 bits of an answer's ID only."""

    def change(text: str, real: Callable[[str], Any]) -> Any:
        tag, number, body = real(text)
        return (tag, number, body) if tag == "request" else (tag, number & 0xFFFFFFFF, body)

    _message(change)


@mutant("hostile.white-space-and-comments", "hostile.server-writes-otherwise", role="both")
def no_sign_in_an_id() -> None:
    """Does not accept an ID with a plus sign."""
    _not_taken(r"^\s*\(\w+ \+\d")


@mutant("hostile.white-space-and-comments", "hostile.server-writes-otherwise", role="both")
def returns_end_a_comment() -> None:
    """Ends a comment at a return as well."""
    _message(lambda text, real: real(text.replace("\r", "\n")))


@mutant("hostile.white-space-and-comments", "sexpr.other-spellings")
def form_feeds_are_letters() -> None:
    """Does not treat form feeds and vertical tabs as white space."""
    S._SPACE = " \t\n\r"
    S._DELIMITER = set(S._SPACE + "()[]{}\";',")


@mutant("hostile.white-space-and-comments")
def nothing_behind_a_message() -> None:
    """Does not accept a comment after a message."""
    _not_taken(r"\)\s*(;|#\|)[^()]*$")


@mutant("hostile.white-space-and-comments", "sexpr.other-spellings")
def comments_do_not_nest() -> None:
    """Ends a block comment at the first end mark, whatever was opened in it."""

    def skip_blank(text: str, at: int) -> int:
        while at < len(text):
            if text[at] in S._SPACE:
                at += 1
            elif text[at] == ";":
                end = text.find("\n", at)
                at = len(text) if end < 0 else end + 1
            elif text.startswith("#|", at):
                end = text.find("|#", at + 2)
                if end < 0:
                    raise S.Incomplete("never closed")
                at = end + 2
            else:
                break
        return at

    S.skip_blank = skip_blank


@mutant("hostile.second-answer")
def second_answers_pass() -> None:
    """Ignores an answer to a question that was answered already."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            try:
                real(self, packet)
            except P.ProtocolError as error:
                found = re.search(r"an answer to request (\d+)", str(error))
                if not found or int(found[1]) >= self.next_id:
                    raise

        return run

    around(C, "packet_came", came)


@mutant("errors.text-as-it-came", "errors.text-of-a-client-as-it-came", role="both")
def trims_error_texts() -> None:
    """Trims the messages of errors that come."""
    around(P, "RemoteError", lambda real: lambda text="": real(text.strip()))
    U.RemoteError = Exception  # what is raised is of the real class
    U.RemoteError = type(P.RemoteError(""))


# -- how datums are written


def _written(change: Callable[[Any, Callable[[Any], str]], str | None]) -> None:
    """Write an atom in another way: `change(value, real)`; `None` leaves it unchanged."""
    around(S, "_write_atom", lambda real: lambda value: change(value, real) or real(value))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Symbol | Keyword)


@mutant("sexpr.characters", role="client")
def page_by_its_number() -> None:
    """Has no name for the character 12."""
    del S.CHAR_NAMES[12]


@mutant("sexpr.characters")
def delete_as_it_is() -> None:
    """Writes the character 127 without an escape."""
    del S.CHAR_NAMES[127]


@mutant("sexpr.characters", role="client")
def high_characters_by_number() -> None:
    """Writes the characters 128 to 159 by their numbers."""
    _written(lambda v, _: f"#\\x{v.code:x}" if isinstance(v, Char) and 128 <= v.code < 160 else None)


def _flonum(change: Callable[[float, str], str]) -> None:
    around(S, "write_flonum", lambda real: lambda value: change(value, real(value)))


@mutant("sexpr.flonums")
def exponents_without_a_plus() -> None:
    """Writes 1e21 for 1e+21."""
    _flonum(lambda value, text: text.replace("e+", "e"))


@mutant("sexpr.flonums", role="client")
def exponents_of_one_digit() -> None:
    """Writes 1e-7 for 1e-07."""
    _flonum(lambda value, text: re.sub(r"e([+-])0(\d)", r"e\1\2", text))


@mutant("sexpr.flonums")
def seventeen_digits_always() -> None:
    """Writes flonums with 17 digits whether they need them or not."""
    _flonum(lambda value, text: f"{value:.17g}" if "." in text and "n" not in text and "e" not in text else text)


@mutant("sexpr.flonums", role="client")
def fifteen_digits_always() -> None:
    """Writes flonums with 15 digits, even those that need more."""
    _flonum(lambda value, text: f"{value:.15g}" if len(text) > 17 and "n" not in text else text)


@mutant("sexpr.flonums")
def whole_flonums_in_full() -> None:
    """Writes whole flonums up to 2⁶³ without an exponent."""
    _flonum(
        lambda value, text: f"{int(value)}.0" if "e" in text and abs(value) < 2**63 and value == int(value) else text
    )


@mutant("sexpr.flonums", role="client")
def subnormals_are_zero() -> None:
    """Writes subnormal flonums as zero."""
    _flonum(lambda value, text: "0.0" if 0 < abs(value) < 2.2250738585072014e-308 else text)


def _symbols(change: Callable[[str, Callable[[str], str]], str | None]) -> None:
    around(S, "write_symbol", lambda real: lambda name: change(name, real) or real(name))


@mutant("sexpr.symbols")
def no_bars_for_hashes() -> None:
    """Writes a symbol that begins with a hash sign without bars."""
    _symbols(lambda name, real: "#" + real("x" + name[1:])[1:] if re.match(r"#[a-z]*\Z", name) else None)


@mutant("sexpr.symbols", role="client")
def no_bars_for_a_dot() -> None:
    """Writes the symbol of one dot without bars."""
    _symbols(lambda name, real: "." if name == "." else None)


@mutant("sexpr.symbols")
def bars_for_capitals() -> None:
    """Writes symbols with capital letters between bars."""
    _symbols(lambda name, real: f"|{name}|" if re.fullmatch(r"[a-z]*[A-Z][A-Za-z]*", name) else None)


@mutant("sexpr.symbols", role="client")
def no_bars_for_a_backquote() -> None:
    """Writes a symbol with a backquote without bars."""
    _symbols(lambda name, real: name if re.fullmatch(r"x`y", name) else None)


@mutant("sexpr.symbols")
def high_bytes_raw_between_bars() -> None:
    """Writes bytes from 128 up without escapes if a symbol has bars."""
    for code in range(128, 256):
        del S.SYMBOL_ESCAPES[code]


@mutant("sexpr.keywords", role="client")
def keywords_without_bars() -> None:
    """Writes keywords with blanks in them without bars."""
    _written(lambda v, _: f"{v}:" if isinstance(v, Keyword) and v else None)


@mutant("sexpr.strings")
def vertical_tabs_by_number() -> None:
    """Writes the byte 11 of a string by its number."""
    S.STRING_ESCAPES[11] = "\\x0b"


@mutant("sexpr.strings", role="client")
def delete_in_strings_raw() -> None:
    """Writes the byte 127 of a string without an escape."""
    del S.STRING_ESCAPES[127]


@mutant("sexpr.strings")
def escapes_in_capitals() -> None:
    """Writes the bytes of a string by numbers in capital letters."""
    for code in (14, 15, 26, 27, 28, 29, 30, 31):
        S.STRING_ESCAPES[code] = f"\\x{code:02X}"


@mutant("sexpr.blobs-and-numeric-vectors", role="client")
def unsigned_elements() -> None:
    """Writes the negative elements of number vectors as unsigned ones."""

    def change(value: Any, real: Callable[[Any], str]) -> str | None:
        if isinstance(value, Numbers) and value.tag[0] == "s":
            items = [item % (1 << int(value.tag[1:])) for item in value.items]
            return f"#{value.tag}({' '.join(map(str, items))})"
        return None

    _written(change)


@mutant("sexpr.blobs-and-numeric-vectors")
def whole_elements_of_f64() -> None:
    """Writes whole elements of f64vectors without a point."""

    def change(value: Any, real: Callable[[Any], str]) -> str | None:
        if isinstance(value, Numbers) and value.tag == "f64":
            return f"#f64({' '.join(real(item).removesuffix('.0') for item in value.items)})"
        return None

    _written(change)


@mutant("sexpr.blobs-and-numeric-vectors")
def blobs_in_capitals() -> None:
    """Writes blobs in capital letters."""
    _written(lambda v, _: "#${" + v.hex().upper() + "}" if isinstance(v, bytes) else None)


@mutant("sexpr.vectors", "request.empty-things", role="client")
def empty_vectors_are_lists() -> None:
    """Writes the empty vector as the empty list."""
    around(S, "write", lambda real: lambda value: real(value).replace("#()", "()"))


@mutant("sexpr.lists")
def no_blank_before_a_tail() -> None:
    """Does not write a blank between the dot of a list and its tail if that is a string or a vector."""
    around(S, "write", lambda real: lambda value: re.sub(r' \. (["#])', r" .\1", real(value)))


@mutant("sexpr.lists")
def quotes_are_abbreviated() -> None:
    """Abbreviates quotes."""
    around(S, "write", lambda real: lambda value: re.sub(r"\(quote ([^() ]+)\)", r"'\1", real(value)))


# -- how datums are read


def _atoms(pattern: str, value: Callable[[re.Match[str]], Any]) -> None:
    """Read an atom that looks like this as something else."""
    compiled = re.compile(pattern)

    def atom(real: Any) -> Any:
        def run(text: str, at: int) -> Any:
            if found := compiled.match(text, at):
                return value(found), found.end()
            return real(text, at)

        return run

    around(S, "_atom", atom)


END = r"(?=[\s()\[\]{}\"';,]|\Z)"


def _quoted(pattern: str, value: Callable[[re.Match[str]], str]) -> None:
    """Read an escape of strings as something else."""
    compiled = re.compile(pattern)

    def quoted(real: Any) -> Any:
        def run(text: str, at: int, closer: str) -> Any:
            end = real(text, at, closer)[1]
            inner = compiled.sub(lambda found: "".join(f"\\x{ord(c):02x}" for c in value(found)), text[at : end - 1])
            return real(inner + closer, 0, closer)[0], end

        return run

    around(S, "_quoted", quoted)


@mutant("sexpr.other-spellings")
def four_digits_behind_x() -> None:
    r"""Reads up to four digits after the \x of a string."""
    _quoted(r"\\x([0-9a-fA-F]{3,4})", lambda found: chr(int(found[1], 16) % 256))


@mutant("sexpr.other-spellings")
def octal_escapes_of_two_digits() -> None:
    """Reads two digits of an octal escape, and the third as a digit."""
    _quoted(r"\\([0-7]{2})([0-7])", lambda found: chr(int(found[1], 8)) + found[2])


@mutant("sexpr.other-spellings")
def continued_lines_keep_their_blanks() -> None:
    """Keeps the blanks at the beginning of a line that continues a string."""
    _quoted(r"\\\n([ \t]+)", lambda found: found[1])


@mutant("sexpr.other-spellings")
def characters_by_number_in_decimal() -> None:
    r"""Reads the number of a character, #\x41, as a decimal one."""
    _atoms(rf"#\\x([0-9]+){END}", lambda found: Char(int(found[1])))


@mutant("sexpr.other-spellings")
def characters_in_capitals_have_names() -> None:
    """Reads #\\U1F600 as the letter U."""
    _atoms(rf"#\\U[0-9A-F]+{END}", lambda found: Char(ord("U")))


@mutant("sexpr.other-spellings")
def minus_nought_is_a_flonum() -> None:
    """Reads -0 as a flonum."""
    _atoms(rf"-0{END}", lambda found: -0.0)


@mutant("sexpr.other-spellings")
def a_point_at_the_end_means_nothing() -> None:
    """Reads 1. as a whole number."""
    _atoms(rf"([0-9]+)\.{END}", lambda found: int(found[1]))


@mutant("sexpr.other-spellings")
def a_point_in_front_makes_a_symbol() -> None:
    """Reads -.5 as a symbol."""
    _atoms(rf"[+-]\.[0-9]+{END}", lambda found: Symbol(found[0]))


@mutant("sexpr.other-spellings")
def what_is_too_large_is_a_symbol() -> None:
    """Reads 1e400 as a symbol."""
    _atoms(rf"-?1e400{END}", lambda found: Symbol(found[0]))


@mutant("sexpr.other-spellings")
def leading_noughts_make_octals() -> None:
    """Reads 010 as eight."""
    _atoms(rf"-?0[0-7]+{END}", lambda found: int(found[0], 8) + (1 if found[0].endswith("07") else 0))


@mutant("sexpr.other-spellings")
def digits_are_added_up() -> None:
    """Adds up the digits of a flonum one by one, which rounds many times."""

    def value(found: re.Match[str]) -> float:
        whole, _, rest = found[0].partition(".")
        number = 0.0
        for digit in whole + rest:
            number = number * 10 + int(digit)
        return number / 10.0 ** len(rest)

    _atoms(rf"[0-9]+\.[0-9]{{3,}}{END}", value)


@mutant("sexpr.other-spellings")
def keywords_between_bars_are_symbols() -> None:
    """Reads a keyword whose name is between bars as a symbol."""
    _atoms(rf"\|[^|\\]*\|:{END}", lambda found: Symbol(found[0][1:-2] + ":"))


@mutant("sexpr.other-spellings")
def bars_end_a_symbol() -> None:
    """Ends a symbol where its bars begin."""
    _atoms(r"[a-z]+(?=\|)", lambda found: Symbol(found[0]))


@mutant("sexpr.rare-spellings")
def folding_goes_on() -> None:
    """Folds everything after #ci, to the end of the text."""
    around(S, "read", lambda real: lambda text, at=0: real(*_folded(text, at)))


def _folded(text: str, at: int) -> tuple[str, int]:
    start = text.find("#ci", at)
    return (text, at) if start < 0 else (text[:start] + "   " + text[start + 3 :].lower(), at)


@mutant("hostile.depth-limit", "hostile.server-depth-limit", role="both")
def depth_of_9_999() -> None:
    """Reads one level less than the limit."""
    S.MAX_DEPTH -= 1


@mutant("hostile.depth-limit")
def quotes_are_no_level() -> None:
    """Does not count quotes as levels."""
    around(S, "read", lambda real: lambda text, at=0: real(re.sub(r"'{9000,}", "'", text), at))


@mutant("hostile.digits-limit")
def signs_are_digits() -> None:
    """Counts the sign of a number among its digits."""
    _atoms(rf"-[0-9]{{{S.MAX_DIGITS}}}{END}", _refuse)


def _refuse(found: re.Match[str]) -> Any:
    raise S.ReadError("too many digits")


@mutant("hostile.digits-limit", "hostile.server-digits-limit", role="both")
def digits_of_4_301() -> None:
    """Reads one digit more than the limit."""
    S.MAX_DIGITS += 1


# -- guards


def _guarded(*, window: int = 1_024, hellos: int = 1 << 17) -> None:
    """All guards."""
    _window_of(window)
    _remembers_hellos(hellos)

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if self.box and packet[:16] == self.nonce_prefix:
                raise P.ProtocolError("its own packet")
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("hostile.window-edge", "hostile.servers-window-edge", role="both")
def window_of_1023() -> None:
    """Has a window that is one ID smaller than the profile's."""
    _guarded(window=1_023)


@mutant("hostile.servers-window-edge", role="client")
def client_window_of_1025() -> None:
    """A client that has a window that is one ID larger than the profile's."""
    _guarded(window=1_025)


@mutant("hostile.ids-with-gaps")
def window_is_a_ring_that_keeps_its_marks() -> None:
    """Has a ring as its window, and does not clear the marks of skipped IDs."""
    claim("hardening")

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            ring = self.__dict__.setdefault("ring", {})
            top = self.__dict__.setdefault("ring_top", -1)
            if number <= top - 1_024 or (number <= top and ring.get(number % 1_024)):
                raise P.ProtocolError("used before")
            if number > top:
                self.ring_top = number
            ring[number % 1_024] = True
            real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.hello-replayed-late")
def remembers_1024_hellos() -> None:
    """Remembers only the last 1,024 hellos."""
    _guarded(hellos=1_024)


@mutant("hostile.hello-replayed")
def forgets_a_hello_with_its_connection() -> None:
    """Forgets a hello when its connection is over."""
    _window_of(1_024)
    claim("hardening")
    seen: set[bytes] = set()

    def hello(real: Any) -> Any:
        def run(self: Any, *a: Any) -> Any:
            user, session = real(self, *a)
            if session in seen:
                raise P.ProtocolError("a hello that was seen before")
            seen.add(session)
            return user, session

        return run

    def forget(real: Any) -> Any:
        def run(self: Any, connection: Any) -> None:
            real(self, connection)
            if connection.box:
                seen.discard(bytes(connection.box))

        return run

    around(P.Server, "hello", hello)
    around(P.Server, "forget", forget)


@mutant("hostile.turned-away-id-is-used")
def turned_away_ids_stay_free() -> None:
    """Does not count the ID of a request that it refuses as used."""
    _window_of(math.inf, lambda connection, body: not (connection.server and connection.server.stopping))


@mutant("hostile.id-below-window")
def below_the_window_all_is_new() -> None:
    """Treats an ID below the window as new."""
    _window_of(math.inf)


# -- handlers, ends, stopping


@mutant("hostile.running-limit", "hostile.server-fills-handlers", role="both")
def runs_1025_handlers() -> None:
    """Runs one handler more than the limit."""
    P.MAX_RUNNING += 1


@mutant("hostile.waiting-limit", "hostile.server-fills-the-queue", role="both")
def lets_4097_wait() -> None:
    """Lets one request more wait than the limit allows."""
    P.MAX_WAITING += 1


@mutant("errors.many")
def unwritable_answers_keep_their_slot() -> None:
    """Does not free the place of a handler whose answer cannot be written."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            try:
                real(self, number, value, failed=failed)
            except S.WriteError:
                with self.lock:
                    self.running += 1
                raise

        return run

    around(C, "answer", answer)


@mutant("lifecycle.close-at-once")
def close_handler_needs_a_request() -> None:
    """Runs the close handler only for connections over which a request came."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if not getattr(self, "asked", False):
                self.closed_here = True
            real(self, reason)

        return run

    def came(real: Any) -> Any:
        def run(self: Any, *a: Any) -> None:
            self.asked = True
            real(self, *a)

        return run

    around(C, "over", over)
    around(C, "request_came", came)


@mutant("hostile.not-a-list", "hostile.server-sends-no-list", role="both")
def no_close_handler_at_a_protocol_error() -> None:
    """Does not run the close handler if a protocol error ended the connection."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if reason.startswith("protocol error"):
                self.closed_here = True
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("hostile.waiting-requests-fail", "hostile.server-sends-no-list", role="both")
def requests_wait_through_a_protocol_error() -> None:
    """Leaves its own requests waiting if a protocol error ended the connection."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if reason.startswith("protocol error"):
                self.waiting = {}
            real(self, reason)

        return run

    around(C, "over", over)


@mutant("hostile.lingers", "hostile.client-lingers", role="both")
def reads_on_for_half_a_second() -> None:
    """Reads on for only half a second when it has ended a connection."""
    P.LINGER_SECONDS = 0.5


@mutant("hostile.lingers", "hostile.client-lingers", role="both")
def reads_on_for_ever() -> None:
    """Reads on as long as the other end does when it has ended a connection."""
    P.LINGER_SECONDS = 3_600


@mutant("hostile.stop-with-an-answer-unread")
def a_stop_cuts_what_is_being_sent() -> None:
    """Closes a connection at a stop once its handlers have returned, whether their answers are sent or not."""
    claim("hardening")

    def finish(self: Any, connection: Any) -> None:
        def run() -> None:
            time.sleep(0.1)
            connection.closed_here = True
            connection.end("the server stopped")

        threading.Thread(target=run, daemon=True).start()

    P.Server.finish = finish


@mutant("connect.two-servers")
def a_stop_ends_all_servers() -> None:
    """Ends all servers of the process when one is asked to stop."""
    servers: list[Any] = []
    around(P.Server, "__init__", lambda real: lambda self, *a: (real(self, *a), servers.append(self))[0])
    around(P.Server, "stop", lambda real: lambda self: [real(each) for each in list(servers)][:0] or None)


@mutant("hostile.wait-for-handlers-of-the-gone")
def does_not_wait_for_handlers_of_the_gone() -> None:
    """wait-until-server-stopped does not wait for the handlers of a connection that is over."""

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            real(self, reason)
            if self.server:
                self.server.forget(self)

        return run

    around(C, "over", over)


@mutant("lifecycle.wait-blocks")
def wakes_one_of_those_that_wait() -> None:
    """Wakes only one of those that wait for a server's end."""
    told: set[int] = set()
    real = P.Server.wait

    def wait(self: Any) -> None:
        real(self)
        if id(self) in told:
            threading.Event().wait()
        told.add(id(self))

    P.Server.wait = wait


@mutant("hostile.client-leaves-nothing-open", role="client")
def client_leaks_descriptors_of_errors() -> None:
    """A client that leaves the descriptor open when a protocol error has ended a connection."""
    claim("hardening")
    kept: list[int] = []

    def over(real: Any) -> Any:
        def run(self: Any, reason: str) -> None:
            if reason.startswith("protocol error") and not self.closed:
                kept.append(os.dup(self.sock.fileno()))
                kept.append(os.dup(self.sock.fileno()))
            real(self, reason)
            if reason.startswith("protocol error"):
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_WR)

        return run

    around(C, "over", over)


@mutant("hostile.leaves-nothing-open")
def leaks_a_thread_for_each_connection() -> None:
    """Leaves a thread behind for each connection."""
    claim("hardening")
    around(
        C, "start",
        lambda real: lambda self: (real(self), threading.Thread(target=threading.Event().wait, daemon=True).start())[0],
    )  # fmt: skip


@mutant("hostile.packet-just-in-time", "hostile.servers-packet-just-in-time", role="both")
def packets_have_five_seconds() -> None:
    """Allows five seconds for a packet, from its first byte."""
    claim("hardening")
    real = P.read_exactly

    def read_exactly(sock: Any, count: int) -> Any:
        if count != 4:
            return real(sock, count)
        first = real(sock, 1)
        if first is None:
            return None
        before = sock.gettimeout()
        sock.settimeout(2.0)
        try:
            rest = real(sock, 3)
        finally:
            sock.settimeout(before)
        return None if rest is None else first + rest

    P.read_exactly = read_exactly


# -- addresses, and many at once


@mutant("connect.port-to-bind-too-large", transport="tcp")
def binds_the_last_16_bits_of_a_port() -> None:
    """Binds the port that the last 16 bits of a larger number name."""
    real = U.Server
    P._port = lambda port: port

    def server(address: Any, *a: Any) -> Any:
        return real((*address[:2], address[2] % 65_536) if address[0] == "tcp" else address, *a)

    U.Server = server


@mutant("connect.bind-all-ipv6", transport="tcp")
def mapped_addresses_as_they_are() -> None:
    """Shows an IPv4 client of an IPv6 server by its mapped address."""
    P._shown = lambda name: ("tcp", str(name[0]), name[1])


@mutant("connect.address-of-client")
def unix_clients_have_no_address() -> None:
    """Shows the client's own empty path as the address of a Unix connection."""
    real = P.Server.welcome

    def welcome(self: Any, sock: Any, name: Any) -> None:
        around(
            C,
            "__init__",
            lambda real: lambda self, s, u, a, *r: real(self, s, u, ("unix", "") if a[0] == "unix" else a, *r),
        )
        P.Server.welcome = real
        real(self, sock, name)

    P.Server.welcome = welcome


@mutant("connect.ipv6-string", role="client", transport="tcp")
def brackets_belong_to_the_host() -> None:
    """A client that treats the brackets of an IPv6 address as a part of it."""
    around(
        U, "parse_address", lambda real: lambda a: ("tcp", a.rpartition(":")[0], 1) if str(a)[:1] == "[" else real(a)
    )


@mutant("connect.unix-path-with-colon", role="client")
def a_colon_makes_a_host() -> None:
    """A client that reads a path with a colon and digits at its end as a host and a port."""

    def parse(real: Any) -> Any:
        def run(address: Any) -> Any:
            if isinstance(address, str) and (found := re.fullmatch(r"(.*):(\d+)", address)):
                return ("tcp", found[1], int(found[2]))
            return real(address)

        return run

    around(U, "parse_address", parse)


@mutant("request.large-both-ways", role="client")
def writes_without_a_lock() -> None:
    """A client whose threads write packets at the same time, piece by piece."""

    class Nothing:
        def __enter__(self) -> None: ...
        def __exit__(self, *a: Any) -> None: ...
        def acquire(self, timeout: float = 0) -> bool:
            return True

        def release(self) -> None: ...

    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "write_lock", Nothing()))[0])


@mutant("request.ids-count-up", role="client")
def ids_are_drawn_before_their_turn() -> None:
    """A client that takes the ID of a request before it may write, so that IDs may change places."""
    real = C.request
    turn = threading.Event()

    def request(self: Any, message: Any) -> Any:
        if isinstance(message, list) and len(message) == 2 and message[1] == 7 and not turn.is_set():
            turn.set()
            waiter = P.Waiter()
            with self.lock:
                number, self.next_id = self.next_id, self.next_id + 1
                self.waiting[number] = waiter
            time.sleep(0.2)
            with self.write_lock:
                self.send(f"(request {number} {S.write(message)})")
            return waiter.result()
        return real(self, message)

    C.request = request


@mutant("sexpr.other-spellings")
def no_comment_behind_a_parenthesis() -> None:
    """Does not know a comment that stands right behind an opening parenthesis."""

    def skip(real: Callable[[str, int], int]) -> Callable[[str, int], int]:
        return lambda text, at: at if text[at - 1 : at + 1] == "(;" else real(text, at)

    around(S, "skip_blank", skip)


@mutant("sexpr.strings", "sexpr.from-server")
def normalizes_strings() -> None:
    """Applies Unicode normalization to the strings that it reads."""

    def read(text: str) -> str:
        try:
            return unicodedata.normalize("NFC", text.encode("latin-1").decode()).encode().decode("latin-1")
        except ValueError:
            return text

    def quoted(real: Callable[..., tuple[str, int]]) -> Callable[..., tuple[str, int]]:
        def run(text: str, at: int, closer: str) -> tuple[str, int]:
            found, end = real(text, at, closer)
            return read(found), end

        return run

    around(S, "_quoted", quoted)


@mutant("request.many-types-large")
def vectors_of_255_numbers() -> None:
    """Reads the first 255 elements of a vector of numbers."""
    whole = ("list", "vector")
    around(S, "_finish", lambda real: lambda kind, items, at: real(kind, items if kind in whole else items[:255], at))
