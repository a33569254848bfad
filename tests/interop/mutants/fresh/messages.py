"""Fresh faults in messages: tags, IDs, shapes, white space, the order of requests."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import peer as P
import puppet as U
import sexpr as S

from .._mutant import C, around, mutant


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
