"""Peers whose errors are lost, changed or misplaced."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import peer as P
import puppet as U
import sexpr as S

from ._changes import U_CONNECTIONS
from ._mutant import C, around, mutant


def _on_failure(act: Callable[[Any, Any, int, Any], None]) -> None:
    """Change what happens when a handler failed: `act(real answer, connection, number, text)`."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            if failed:
                act(real, self, number, value)
            else:
                real(self, number, value)

        return run

    around(C, "answer", answer)


@mutant("errors.remote-error", "errors.unknown-request", "errors.nested-error", "symmetry.errors-both-ways")
def errors_as_responses() -> None:
    """Answers a failed request with its message as if it were the value."""
    _on_failure(lambda real, self, number, text: real(self, number, text))


@mutant("errors.remote-message", "errors.message-text", "errors.each-its-own", "errors.error-answer-frees-nothing-else")
def loses_messages() -> None:
    """Says that something went wrong, but not what."""
    _on_failure(lambda real, self, number, text: real(self, number, "an error occurred", failed=True))


@mutant("errors.connection-survives", "errors.while-others-wait", "errors.remote-error")
def closes_on_errors() -> None:
    """Closes the connection when a handler fails."""
    _on_failure(lambda real, self, number, text: self.close())


@mutant("errors.remote-error", "errors.unwritable-answer")
def swallows_errors() -> None:
    """Does not answer a request whose handler failed."""
    _on_failure(lambda real, self, number, text: None)


@mutant("errors.while-others-wait", "errors.error-answer-frees-nothing-else", role="client")
def errors_fail_all_that_wait() -> None:
    """One remote error fails every request that waits."""
    real = P.Waiter.fail

    def came(real_came: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            before = dict(self.waiting)
            real_came(self, packet)
            if any(w.error for w in before.values()):
                for waiter in before.values():
                    real(waiter, P.RemoteError("another request failed"))

        return run

    around(C, "packet_came", came)


@mutant("errors.each-its-own", "errors.while-others-wait", role="client")
def errors_to_the_oldest() -> None:
    """Gives an error to the request that has waited longest."""

    def parse(real: Any) -> Any:
        def run(text: str) -> Any:
            tag, number, body = real(text)
            if tag == "error":
                waiting = [n for c in list(U_CONNECTIONS) for n in c.waiting]
                number = min([*waiting, number])
            return tag, number, body

        return run

    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), U_CONNECTIONS.append(self))[0])
    around(P, "parse_message", parse)


@mutant("errors.non-condition")
def hides_raised_objects() -> None:
    """Says "uncaught exception" for an object that is not a condition, but not which object."""
    _on_failure(
        lambda real, self, n, text: real(
            self, n, "uncaught exception" if text.startswith("uncaught:") else text, failed=True
        )
    )


@mutant("errors.message-text")
def messages_of_one_line() -> None:
    """Cuts messages at the first line feed."""
    _on_failure(lambda real, self, number, text: real(self, number, text.split("\n")[0], failed=True))


@mutant("errors.message-text")
def short_messages() -> None:
    """Cuts messages at 255 characters."""
    _on_failure(lambda real, self, number, text: real(self, number, text[:255], failed=True))


@mutant("errors.message-text")
def messages_in_ascii() -> None:
    """Replaces characters of messages that are not ASCII."""
    _on_failure(
        lambda real, self, n, text: real(
            self, n, text.encode("ascii", "replace").decode() if text else text, failed=True
        )
    )


@mutant("errors.empty-message")
def no_answer_without_message() -> None:
    """Answers a failure that has no message with a plain #f."""
    _on_failure(lambda real, self, n, text: real(self, n, text, failed=True) if text else real(self, n, False))


@mutant("errors.unknown-request", role="both")
def nothing_is_no_request() -> None:
    """Answers a request itself whose message is false, empty or nought, and sends nothing."""
    around(C, "request", lambda real: lambda self, message: real(self, message) if message else message)


@mutant("errors.unknown-request")
def unknown_requests_are_false() -> None:
    """Answers unknown requests with #f."""

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            try:
                return real(self, connection, message)
            except RuntimeError as error:
                if str(error).startswith("unknown"):
                    return False
                raise

        return run

    around(U.Service, "__call__", call)


@mutant("errors.unwritable-is-named")
def writes_procedures() -> None:
    """Writes a procedure as #<procedure>, which cannot be read."""

    def atom(real: Any) -> Any:
        return lambda value: "#<procedure>" if callable(value) and not isinstance(value, type) else real(value)

    around(S, "_write_atom", atom)


@mutant("errors.unwritable-answer")
def unwritable_closes() -> None:
    """Closes the connection when an answer cannot be written."""
    _on_failure(
        lambda real, self, n, text: self.close() if "cannot be written" in text else real(self, n, text, failed=True)
    )


@mutant("errors.unwritable-is-named", "errors.unwritable-answer")
def unwritable_is_false() -> None:
    """Answers #f if the value cannot be written."""
    _on_failure(
        lambda real, self, n, text: (
            real(self, n, False) if "cannot be written" in text else real(self, n, text, failed=True)
        )
    )


@mutant("errors.unspecified-is-empty-list")
def unspecified_is_false() -> None:
    """Answers #f if a handler returned nothing."""
    around(S, "_write_atom", lambda real: lambda value: "#f" if value is None else real(value))


@mutant("errors.unspecified-answer")
def unspecified_has_no_answer() -> None:
    """Does not answer if a handler returned nothing."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            if value is not None:
                real(self, number, value, failed=failed)

        return run

    around(C, "answer", answer)


@mutant(
    "errors.network-error-not-remote",
    "lifecycle.close-fails-others-requests",
    "hostile.server-refuses-the-hello",
    role="client",
)
def lost_connections_are_remote_errors() -> None:
    """Raises a remote error when the connection breaks."""
    P.NetworkError = type("N", (P.RemoteError,), {})  # type: ignore[misc]


@mutant("errors.request-after-close", role="client")
def waits_on_closed_connections() -> None:
    """A request on a closed connection waits for ever."""

    def request(real: Any) -> Any:
        def run(self: Any, message: Any) -> Any:
            if self.closed is not None:
                threading.Event().wait()
            return real(self, message)

        return run

    around(C, "request", request)


@mutant("errors.close-inside-handler")
def cannot_close_inside_a_handler() -> None:
    """Waits for its handlers to finish when it closes, even for the one that closes."""

    def close(real: Any) -> Any:
        def run(self: Any) -> None:
            with self.lock:
                while self.running:
                    self.idle.wait()
            real(self)

        return run

    around(C, "close", close)


@mutant("errors.many", "errors.many-of-a-client", role="both", security="insecure")
def failures_use_handlers_up() -> None:
    """Has room for a thousand handlers, and does not free the place of a handler that failed."""

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            room = connection.__dict__.setdefault("room", threading.Semaphore(1_000))
            room.acquire()
            value = real(self, connection, message)
            room.release()
            return value

        return run

    around(U.Service, "__call__", call)


@mutant("errors.message-over-limit", security="insecure")
def long_messages_are_not_sent() -> None:
    """Does not answer if the error's message is longer than a packet."""
    _on_failure(
        lambda real, self, n, text: (
            real(self, n, text, failed=True) if len(S.write(text)) < P.MAX_PACKET - 100 else None
        )
    )


@mutant("errors.message-text")
def trims_messages() -> None:
    """Trims blanks and line feeds around messages."""
    _on_failure(lambda real, self, n, text: real(self, n, text.strip(), failed=True))


@mutant("errors.message-text")
def messages_of_64_kib() -> None:
    """Cuts messages at 65,535 characters."""
    _on_failure(lambda real, self, n, text: real(self, n, text[:65_535], failed=True))


@mutant("errors.non-condition")
def raised_nothing_is_nothing() -> None:
    """Says only "error" if the empty list was raised."""
    _on_failure(lambda real, self, n, text: real(self, n, "error" if text == "uncaught: ()" else text, failed=True))


@mutant("errors.text-as-it-came", "errors.text-of-a-client-as-it-came", role="both")
def ends_messages_at_nul() -> None:
    """Ends an error's message at its first NUL."""
    around(P.RemoteError, "__init__", lambda real: lambda self, text: real(self, text.partition("\0")[0]))


@mutant("errors.text-as-it-came", "errors.text-of-a-client-as-it-came", role="both")
def fills_empty_messages() -> None:
    """Replaces an empty error message by its own words."""
    around(P.RemoteError, "__init__", lambda real: lambda self, text: real(self, text or "unknown error"))


def _formatted(text: str) -> str:
    """What `printf` makes of a text without arguments."""
    return re.sub(r"%(.)", lambda found: "%" if found[1] == "%" else "(null)", text)


@mutant("errors.message-text")
def errors_are_formats() -> None:
    """Uses the message of its own handler's error as a format."""
    _on_failure(lambda real, self, number, text: real(self, number, _formatted(text), failed=True))


@mutant("errors.message-text", role="client")
def errors_of_a_client_are_templates() -> None:
    """A client that uses the message of its own handler's error as a template with braces."""

    def act(real: Any, self: Any, number: int, text: Any) -> None:
        real(self, number, text.replace("{{", "{").replace("}}", "}"), failed=True)

    _on_failure(act)


@mutant("errors.text-as-it-came", "errors.text-of-a-client-as-it-came", role="both")
def errors_that_come_are_formats() -> None:
    """Uses the message of an error that comes as a format, as Scheme has it."""

    def came(real: Any) -> Any:
        def change(text: str) -> Any:
            tag, number, body = real(text)
            return (
                (tag, number, re.sub("~[~%]", "~", body))
                if tag == "error" and isinstance(body, str)
                else (tag, number, body)
            )

        return change

    around(P, "parse_message", came)
