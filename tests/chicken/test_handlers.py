"""What handlers may do: fail, return unexpected values, stop their own server, close their own connection."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chicken.driving import Lines, Peer

Seen = list[str]


@pytest.fixture
def scene(program: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Seen]:
    """Plays a scene of the egg's `tests/handlers.scm`. Returns the lines that it printed, with its socket's path as
    PATH."""
    path = str(tmp_path / "s")

    def play(name: str) -> Seen:
        done = subprocess.run([program("handlers"), name, path], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.replace(path, "PATH").splitlines()

    return play


def test_a_connection_whose_open_handler_failed_is_served(scene: Callable[[str], Seen]) -> None:
    assert scene("open-fails") == [
        '(log "the open handler failed: no welcome: 1 (PATH)")',
        "(answer still-served)",
    ]


def test_a_close_handler_that_fails_harms_nobody(scene: Callable[[str], Seen]) -> None:
    assert scene("close-fails") == [
        '(log "the close handler failed: no-farewell (PATH)")',
        "(answer still-served)",
    ]


def test_handlers_that_end_their_own_thread_keep_nobody_waiting(scene: Callable[[str], Seen]) -> None:
    assert scene("threads-end") == [
        "(opened)",
        '(answer (remote "the request handler ended its own thread without an answer"))',
        "(answer still-served)",
        "(closed)",
        "(over)",
    ]


def test_a_user_is_refused_if_user_to_key_fails_or_returns_no_key(scene: Callable[[str], Seen]) -> None:
    assert scene("user->key-fails") == [
        '(log "user->key failed: no database")',
        '(log "hello refused: unknown user or wrong key (PATH, user \\"raises\\")")',
        "(answer (net))",
        '(log "user->key returned neither a key nor #f")',
        '(log "hello refused: unknown user or wrong key (PATH, user \\"text\\")")',
        "(answer (net))",
        '(log "hello refused: unknown user or wrong key (PATH, user \\"nobody\\")")',
        "(answer (net))",
        '(answer "good")',
    ]


def test_a_handler_that_stops_its_server_still_answers(scene: Callable[[str], Seen]) -> None:
    assert scene("stop-from-handler") == [
        "(stopped)",
        "(answer last-words)",
        "(over)",
        "(answer (net))",
        "(answer (net))",
    ]


def test_stop_does_not_wait_for_handlers_and_wait_does(scene: Callable[[str], Seen]) -> None:
    seen = scene("wait-waits")
    assert seen[:4] == ["(began)", "(stop-returned)", "(opening-the-gate)", "(ended)"]
    assert sorted(seen[4:]) == ["(answer slow)", "(wait-returned)"]


def test_what_a_handler_returns_travels_or_is_named_in_an_error(scene: Callable[[str], Seen]) -> None:
    expected = [
        r"\(answer \(\)\)",
        r"\(answer 1\)",
        r'\(answer \(remote "answer cannot be sent: #<([a-z-]+#)?point>"\)\)',
        r'\(answer \(remote "answer\[1\] cannot be sent: #<procedure .*car.*>"\)\)',
        r'\(answer \(remote "answer cannot be sent: a circular structure"\)\)',
        r"\(answer \(\)\)",
        r'\(answer \(remote "answer\[0\] cannot be sent: #<([a-z-]+#)?bokbok-key>"\)\)',
        r'\(answer \(remote "answer\[1\] cannot be sent: #<condition>"\)\)',
        r'\(answer \(remote "answer cannot be sent: #<output port .*>"\)\)',
        r"\(answer fine\)",
    ]
    seen = scene("odd-values")
    assert len(seen) == len(expected)
    assert [line for line, form in zip(seen, expected, strict=True) if not re.fullmatch(form, line)] == []


def test_whatever_a_handler_raises_travels_as_text(scene: Callable[[str], Seen]) -> None:
    seen = scene("odd-errors")
    assert re.fullmatch(r'\(answer \(remote "#<procedure .*car.*>"\)\)', seen.pop(3))
    # A condition without a message is shown as `condition->list` gives it: CHICKEN 5 has a property list there.
    assert re.fullmatch(r'\(answer \(remote "\(\(mine \(?what 1\)?\)\)"\)\)', seen.pop(7))
    assert seen == [
        '(answer (remote "oops"))',
        r'(answer (remote "(1 \"two\" #\\3)"))',
        '(answer (remote "#f"))',
        '(answer (remote "(a value that cannot be written: value cannot be sent: a circular structure)"))',
        r'(answer (remote "with arguments: 1 \"two\" three"))',
        '(answer (remote "(somewhere) with a place"))',
        '(answer (remote "just-a-symbol"))',
        '(answer (remote "(request!) the other end answered with an error: from the client: this-fails"))',
        "(native-fails #t)",
        "(long-is-cut 100003)",
        "(answer fine)",
    ]


def test_what_is_no_argument_is_refused_and_the_connection_goes_on(scene: Callable[[str], Seen]) -> None:
    seen = scene("refused-arguments")
    assert [re.sub("#<.*>", "#<...>", line) for line in seen[:4]] == [
        '(answer (type "message cannot be sent: #<...>"))',
        '(answer (type "message cannot be sent: #<...>"))',
        '(answer (type "message[1][1] cannot be sent: #<...>"))',
        '(answer (type "message cannot be sent: a circular structure"))',
    ]
    assert seen[4:] == ["(refused #t)"] * 9 + ["(predicates #t #f #f #f #f)", "(answer fine)"]


def test_open_and_close_handlers_may_use_their_connection(scene: Callable[[str], Seen]) -> None:
    assert scene("handlers-request") == ["(opened (who me))", "(answer first)", "(closed (net))"]


def test_without_a_handler_a_request_is_answered_with_an_error(scene: Callable[[str], Seen]) -> None:
    refused = '(remote "this end has no request handler")'
    assert scene("no-handlers") == [f"(opened {refused})", f"(answer {refused})", "(answer (net))"]


def test_a_handler_that_closes_its_connection_is_not_told_and_the_other_end_is(scene: Callable[[str], Seen]) -> None:
    seen = scene("close-from-handler")
    assert sorted(seen[:2]) == ["(answer (net))", "(told)"]
    assert seen[2:] == ["(over)"]


def test_a_log_that_fails_does_not_keep_a_connection_from_its_end(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    words = (program("handlers"), "log-fails", tmp_path / "s")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["(answer (net))", "(over)"])
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        "bokbok: user->key failed: no database",
        "bokbok: hello refused: unknown user or wrong key",
    ]
    assert done.stderr.count("(and the procedure of bokbok-log failed)") == 2


def test_a_time_without_end_is_no_limit_and_what_is_no_time_is_refused(scene: Callable[[str], Seen]) -> None:
    assert scene("endless-times") == ["(answer in-time)"] * 3 + ["(refused #t #t)"] * 5


def test_a_client_that_reads_nothing_does_not_keep_the_server_from_stopping(
    program: Callable[[str], Path], tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    server = Lines(program("handlers"), "deaf-client", path)
    try:
        server.take(lambda line: line == "(listening)")
        deaf = Peer.to(path)
        for number in range(3):
            deaf.message(b"(request %d x)" % number)
        server.take(lambda line: line == "(over)")
        deaf.close()
    finally:
        status = server.end()
    assert status == 0
    assert "(never)" not in server.lines
