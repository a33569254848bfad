"""`bokbok call`: requests from arguments and standard input, answers on standard output."""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import threading

import pytest

from bokbok import Char, RemoteError, Symbol
from bokbok.cli import call as call_module
from bokbok.cli._exit import Status
from bokbok.sexpr import loads
from bokbok.sync import Connection
from tests.cli.conftest import COMMAND

# Arguments.

NO_ANSWER = "no answer within 0.05 s; the request may still be handled, and its answer is dropped"


def test_each_argument_is_a_request_and_its_answer_a_line_in_order(bokbok, address):
    result = bokbok("call", address, '("ping" "12345")', '("echo" (a . #(1 2.5 #\\x)))', '("type" #t)')
    assert result == (0, b'("pong" "12345")\n(a . #(1 2.5 #\\x))\n"boolean"\n', "")


def test_an_answer_is_one_line_whatever_is_in_it(bokbok, address):
    result = bokbok("call", address, r'("echo" "two\nlines\r")', r'("echo" |\x0a|)', '(\n"echo"\n\'a)')
    assert result == (0, b'"two\\nlines\\r"\n|\\x0a|\n(quote a)\n', "")


def test_every_byte_goes_there_and_back(bokbok, address):
    # An argument holds any bytes but NUL; what is not valid UTF-8 comes as surrogates from the system.
    text = bytes(set(range(1, 256)) - set(b'"\\'))
    argument = os.fsdecode(b'("echo" "' + text + b'")')
    result = bokbok("call", address, argument)
    assert result.status == 0
    assert loads(result.out) == text.decode("utf-8", "surrogateescape")
    assert bytes(range(128, 256)) in result.out


def test_bytes_that_are_no_utf_8_pass_through_a_real_process(finished, address):
    result = finished("call", address, b'("echo" "\xff\xfe\xc3\xa9")')
    assert result == (0, b'"\xff\xfe\xc3\xa9"\n', "")


def test_bytes_pass_in_a_locale_without_utf_8_too(finished, address):
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    result = finished("call", address, '("echo" "é")'.encode(), "--user", "é".encode(), "--key-file", "none", env=env)
    assert result.status == Status.FILE
    result = finished("call", address, '("echo" "é")'.encode(), env=env)
    assert result == (0, '"é"\n'.encode(), "")


def test_what_one_chicken_cannot_hold_is_printed_all_the_same(bokbok, serving):
    server = serving(lambda connection, message: Char("λ"))
    assert bokbok("call", server.address[1], "1").out == b"#\\x3bb\n"


def test_an_answer_that_reads_and_has_no_form_in_chicken_4_is_printed(tmp_path, bokbok):
    with _raw_server(tmp_path / "raw", [b"(response 0 (1/2 100000000000000000000 #<unspecified> k:))"]) as path:
        result = bokbok("call", path, "1")
    assert result == (0, b"(1/2 100000000000000000000 () k:)\n", "")


def test_all_arguments_are_read_before_the_first_is_sent(bokbok, serving):
    requests = []
    server = serving(lambda connection, message: requests.append(message))
    result = bokbok("call", server.address[1], "1", "(2", "3")
    assert result.status == Status.DATUM
    assert result.out == b""
    assert result.err == ("bad datum: argument 2, (2: unterminated list (opened at byte 0) at byte 2; expected ')'\n")
    assert requests == []


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("", "no datum"),
        ("  ; nothing", "no datum"),
        ("1 2", "more after the datum at byte 2"),
        (")", "at byte 0"),
        ('"\\q' + "x" * 200, "…: "),
        ("1/2", "exact fraction"),
        ("(1 99999999999999999999)", "message[1]"),
        ("#<procedure>", "at byte 0"),
        ("\x1b[31m(", r"\x1b[31m("),
        ("(" * 20_000, "nesting"),
    ],
)
def test_a_bad_datum_is_status_5_and_the_error_says_which_and_where(bokbok, address, argument, why):
    result = bokbok("call", address, "1", argument)
    assert result.status == Status.DATUM
    assert result.err.startswith("bad datum: argument 2, ")
    assert why in result.err
    assert result.err.count("\n") == 1
    assert len(result.err) < 300


def test_a_datum_that_begins_with_a_dash_comes_behind_two(bokbok, serving):
    server = serving(lambda connection, message: message)
    assert bokbok("call", server.address[1], "-5").status == Status.USAGE
    assert bokbok("call", server.address[1], "--", "-5", "|-|", "--x") == (0, b"-5\n-\n--x\n", "")


# Remote errors, time-outs, and the end of the connection.


def test_a_remote_error_is_told_and_the_others_are_sent_all_the_same(bokbok, address):
    result = bokbok("call", address, '("fail" "on purpose")', '("ping" "2")')
    assert result.status == Status.REMOTE
    assert result.out == b'("pong" "2")\n'
    assert result.err == "request 1: remote error: ServiceError: on purpose\n"


def test_a_single_request_needs_no_number(bokbok, address):
    result = bokbok("call", address, '("fail" "on\npurpose\x1b[31m")')
    assert result == (Status.REMOTE, b"", "remote error: ServiceError: on\\npurpose\\x1b[31m\n")


def test_failing_fast_stops_at_the_first(bokbok, serving):
    requests = []

    def on_request(connection, message):
        requests.append(message)
        raise ValueError(message)

    server = serving(on_request)
    result = bokbok("call", server.address[1], "--fail-fast", "1", "2")
    assert result.status == Status.REMOTE
    assert result.err == "request 1: remote error: ValueError: 1\n"
    assert requests == [1]


def test_an_answer_that_does_not_come_in_time_is_told_and_the_others_are_sent(bokbok, serving, event, monkeypatch):
    release = event()

    def on_request(connection, message):
        if message == "slow":
            release.wait()
        elif message == "fail":
            raise ValueError
        return message

    request = Connection.request

    def request_in_time(connection, message, *, timeout):
        # However busy the machine is, the quick ones are in time.
        assert timeout == 0.05
        return request(connection, message, timeout=timeout if message == "slow" else None)

    monkeypatch.setattr(Connection, "request", request_in_time)
    server = serving(on_request)
    result = bokbok("call", server.address[1], "--timeout", "0.05", '"slow"', '"quick"')
    assert result == (Status.TIMEOUT, b'"quick"\n', f"request 1: timeout: {NO_ANSWER}\n")
    result = bokbok("call", server.address[1], "--timeout", "0.05", "--fail-fast", '"slow"', '"quick"')
    assert result == (Status.TIMEOUT, b"", f"request 1: timeout: {NO_ANSWER}\n")
    # The status is that of what went wrong first.
    assert bokbok("call", server.address[1], "--timeout", "0.05", '"slow"', '"fail"').status == Status.TIMEOUT
    assert bokbok("call", server.address[1], "--timeout", "0.05", '"fail"', '"slow"').status == Status.REMOTE


def test_nobody_there_is_a_connection_error(bokbok, tmp_path):
    result = bokbok("call", tmp_path / "nobody", "1")
    expected = f"connection error: cannot connect to {tmp_path}/nobody: No such file or directory\n"
    assert result == (Status.CONNECTION, b"", expected)


def test_a_server_that_does_not_accept_is_a_connection_error_after_the_time_allowed(bokbok, tmp_path):
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as waiting:
        listening.bind(path)
        listening.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock = waiting.enter_context(socket.socket(socket.AF_UNIX))
                sock.setblocking(False)
                sock.connect(path)
        result = bokbok("call", path, "1", "--connect-timeout", "0.05")
    assert result.status == Status.CONNECTION
    assert result.err == f"connection error: cannot connect to {path}: no answer within 0.05 s\n"


def test_the_end_of_the_connection_ends_the_command(bokbok, serving):
    requests = []

    def on_request(connection, message):
        requests.append(message)
        if message == 2:
            connection.close()
        return message

    server = serving(on_request)
    result = bokbok("call", server.address[1], "1", "2", "3")
    assert result == (Status.CONNECTION, b"1\n", "connection error: the other end closed the connection\n")
    assert requests == [1, 2]


def test_the_end_of_the_connection_outweighs_a_remote_error_before_it(bokbok, address):
    result = bokbok("call", address, '("fail" "x")', '("close")')
    assert result.status == Status.CONNECTION


@contextlib.contextmanager
def _raw_server(path, answers):
    """Answers a connection's bytes with packets, then waits for its end."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve():
            sock, _ = listening.accept()
            with sock:
                for answer in answers:
                    sock.recv(65536)
                    sock.sendall(len(answer).to_bytes(4, "big") + answer)
                while sock.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join()


def test_an_answer_that_cannot_be_read_is_a_remote_error(tmp_path, bokbok):
    with _raw_server(tmp_path / "raw", [b"(response 0 #<procedure>)", b"(response 1 2)"]) as path:
        result = bokbok("call", path, "1", "2")
    assert result.status == Status.REMOTE
    assert result.out == b"2\n"
    assert result.err.startswith("request 1: remote error: the answer cannot be read: ")


def test_a_peer_that_breaks_the_rules_is_a_connection_error_told_once(tmp_path, bokbok):
    with _raw_server(tmp_path / "raw", [b"\x1b[31mgarbage"]) as path:
        result = bokbok("call", path, "1")
    assert result.status == Status.CONNECTION
    assert result.err.startswith("connection error: ")
    assert result.err.count("\n") == 1
    assert "\x1b" not in result.err


def test_a_message_beyond_the_limit_is_a_bad_datum(started, address):
    process = started("call", address)
    _, err = process.communicate(b'1 "' + b"x" * (17 * 1024 * 1024) + b'"')
    assert process.returncode == Status.DATUM
    assert b"request 2: bad datum: message: needs a packet of" in err


# Requests from the other end.


def test_a_request_from_the_other_end_is_answered_with_an_error_that_says_so(bokbok, address):
    result = bokbok("call", address, '("callback" 1 "x")')
    assert result.status == Status.REMOTE
    assert "has no request handler" in result.err


def test_a_handler_answers_requests_from_the_other_end(bokbok, address, tmp_path, monkeypatch):
    (tmp_path / "answers_of_call.py").write_text("def answer(connection, message):\n    return ['mine', message]\n")
    monkeypatch.chdir(tmp_path)
    result = bokbok("call", address, '("callback" 2 x)', "--handler", "answers_of_call:answer")
    assert result == (0, b'(("mine" ("echo" (0 x))) ("mine" ("echo" (1 x))))\n', "")


# Standard input.


def test_datums_come_from_standard_input_where_there_is_none_among_the_arguments(finished, address):
    result = finished("call", address, input=b'; a comment\n("ping"\n "1")("type"\t5)\n\n("echo" last)')
    assert result == (0, b'("pong" "1")\n"integer"\nlast\n', "")
    assert finished("call", address, input=b"") == (0, b"", "")


def test_each_datum_is_sent_as_soon_as_it_is_complete(started, serving):
    server = serving(lambda connection, message: message)
    process = started("call", server.address[1])
    for datum in (b"(1 (2", b'"x"', b")) ", b"word ", b'"s"'):
        process.stdin.write(datum)
        process.stdin.flush()
        if datum == b")) ":
            assert process.stdout.readline() == b'(1 (2 "x"))\n'
        elif datum == b"word ":
            assert process.stdout.readline() == b"word\n"
        elif datum == b'"s"':
            assert process.stdout.readline() == b'"s"\n'
    process.stdin.write(b"42")
    process.stdin.close()
    assert process.stdout.read() == b"42\n"
    assert process.wait() == 0


def test_a_bad_datum_in_the_stream_ends_the_command_at_once_and_those_before_it_are_answered(started, serving):
    requests = []
    server = serving(lambda connection, message: requests.append(message) or message)
    process = started("call", server.address[1])
    process.stdin.write(b"1 2 ) 3 ")
    process.stdin.flush()  # and not closed
    assert process.wait() == Status.DATUM
    assert process.stdout.read() == b"1\n2\n"
    assert process.stderr.read().startswith(b"bad datum: standard input: ")
    assert requests == [1, 2]


def test_an_unfinished_datum_at_the_end_is_a_bad_one(finished, address):
    result = finished("call", address, input=b'("ping" "1") ("ping"')
    assert result.status == Status.DATUM
    assert result.out == b'("pong" "1")\n'
    assert result.err.startswith(
        "bad datum: standard input: unterminated list (opened at byte 13) at byte 20; expected"
    )


def test_a_datum_of_the_stream_that_cannot_travel_is_a_bad_one(finished, address):
    result = finished("call", address, input=b'("type" 1)\n("type" 1/2)\n("type" 3)')
    assert result.status == Status.DATUM
    assert result.out == b'"integer"\n'
    assert result.err.startswith("request 2: bad datum: message[1]: exact fraction")


def test_a_remote_error_of_the_stream_names_its_request(finished, address):
    result = finished("call", address, input=b'("ping" "1") ("fail" "x") ("ping" "3")')
    assert result == (Status.REMOTE, b'("pong" "1")\n("pong" "3")\n', "request 2: remote error: ServiceError: x\n")


def test_a_dash_stands_for_the_datums_of_standard_input(finished, serving):
    server = serving(lambda connection, message: message)
    assert finished("call", server.address[1], "1", "-", "4", input=b"2 3") == (0, b"1\n2\n3\n4\n", "")
    result = finished("call", server.address[1], "-", "-", input=b"2 3")
    assert result.status == Status.USAGE
    assert "only once" in result.err


def test_the_end_of_the_connection_ends_the_command_while_it_waits_for_input(started, serving):
    connections = []
    server = serving(lambda connection, message: message, on_open=connections.append)
    process = started("call", server.address[1])
    process.stdin.write(b"1 ")
    process.stdin.flush()
    assert process.stdout.readline() == b"1\n"
    connections[0].close()
    assert process.wait() == Status.CONNECTION
    assert process.stderr.read() == b"connection error: the other end closed the connection\n"


@pytest.mark.parametrize(
    ("redirection", "status", "why"),
    [
        ("<&-", Status.FILE, "file error: standard input is closed\n"),
        ("0> /dev/null", Status.FILE, "file error: standard input: Bad file descriptor\n"),
        ("< /dev/null", 0, ""),
    ],
)
def test_a_standard_input_that_cannot_be_read_is_told(address, redirection, status, why):
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, "call", address], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", why)


def test_a_standard_input_that_does_not_block_is_waited_for(started, address):
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    process = started("call", address, stdin=reading)
    os.close(reading)
    os.write(writing, b'("ping" "1")')
    assert process.stdout.readline() == b'("pong" "1")\n'
    os.close(writing)
    assert process.wait() == 0


def test_input_that_somebody_else_has_taken_is_waited_for_again(monkeypatch):
    from bokbok.cli import _datums

    tries = [BlockingIOError(), b"data"]

    def read(descriptor, size):
        result = tries.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    class Poll:
        def register(self, descriptor, events):
            pass

        def poll(self):
            return [(5, 1)]

    monkeypatch.setattr(_datums.select, "poll", Poll)
    monkeypatch.setattr(_datums.os, "read", read)
    assert _datums._read(5, 6, lambda: None) == b"data"


# Several at once.


def test_in_parallel_requests_wait_together_and_are_printed_in_order(bokbok, serving):
    together = threading.Barrier(3)

    def on_request(connection, message):
        together.wait(30)
        return message

    server = serving(on_request)
    result = bokbok("call", server.address[1], "--parallel", "3", *map(str, range(6)))
    assert result == (0, b"0\n1\n2\n3\n4\n5\n", "")


def test_one_at_a_time_is_the_default(bokbok, serving):
    running, most = set(), []

    def on_request(connection, message):
        running.add(message)
        most.append(len(running))
        running.remove(message)

    server = serving(on_request)
    assert bokbok("call", server.address[1], *map(str, range(20))).status == 0
    assert max(most) == 1


def test_an_answer_is_printed_while_input_is_waited_for(started, serving, event):
    first = event()

    def on_request(connection, message):
        if message == 1:
            first.wait()
        return message

    server = serving(on_request)
    process = started("call", server.address[1], "--parallel", "5")
    process.stdin.write(b"1 2 ")
    process.stdin.flush()
    first.set()
    assert process.stdout.readline() == b"1\n"
    assert process.stdout.readline() == b"2\n"
    process.stdin.close()
    assert process.wait() == 0


def test_in_parallel_failures_are_told_in_order_and_answers_before_the_end_are_printed(bokbok, serving):
    answered = threading.Semaphore(0)

    def on_request(connection, message):
        if message == "close":
            for _ in range(2):
                answered.acquire()
            # On the same connection, so behind the answers that were sent before.
            connection.request("are the others answered?")
            connection.close()
        elif message == "fail":
            answered.release()
            raise ValueError
        else:
            answered.release()
        return message

    server = serving(on_request)
    arguments = ['"close"', '"fail"', '"ok"']
    result = bokbok("call", server.address[1], "--parallel", "3", *arguments)
    # The first request is the one that is answered with an error: this end has no handler.
    assert result.status == Status.REMOTE
    assert result.err.splitlines()[0].startswith(
        "request 1: remote error: this end of the connection takes no requests"
    )
    assert result.err.splitlines()[1] == "request 2: remote error: ValueError"
    assert result.out == b'"ok"\n'


def test_in_parallel_the_end_of_the_connection_fails_what_still_waits(bokbok, serving, event):
    never, together = event(), threading.Barrier(2)

    def on_request(connection, message):
        if message == 1:
            never.wait()
        together.wait()
        connection.close()

    server = serving(on_request)
    result = bokbok("call", server.address[1], "--parallel", "3", "1", "2", "3")
    never.set()
    together.abort()
    assert (result.status, result.out) == (Status.CONNECTION, b"")
    assert result.err.startswith("connection error: the ")
    assert result.err.count("\n") == 1


def test_in_parallel_the_end_of_the_connection_does_not_hide_answers_that_came_before_it(started, serving, event):
    never, answered = event(), threading.Semaphore(0)
    opened = queue.SimpleQueue()

    def on_request(connection, message):
        if message == "first":
            never.wait()
        answered.release()
        return message

    server = serving(on_request, on_open=opened.put)
    process = started("call", server.address[1], "--parallel", "9")
    process.stdin.write(b'"first" "second" "third" ')
    process.stdin.flush()
    for _ in range(2):
        answered.acquire()
    connection = opened.get()
    # The handlers' answers are on their way or written: behind them, the other end still answers this.
    for _ in range(2):
        with pytest.raises(RemoteError, match="has no request handler"):
            connection.request("are you there?")
    connection.close()
    never.set()
    assert process.wait() == Status.CONNECTION
    assert set(process.stdout.read().split()) <= {b'"second"', b'"third"'}
    assert process.stderr.read() == b"connection error: the other end closed the connection\n"


def test_in_parallel_a_bad_datum_waits_for_the_answers_before_it(finished, serving):
    server = serving(lambda connection, message: message)
    result = finished("call", server.address[1], "--parallel", "9", input=b"1 2 3 ) 4")
    assert result.status == Status.DATUM
    assert result.out == b"1\n2\n3\n"


# How it may be ended.


def test_ctrl_c_is_status_130_without_a_word(started, serving, event):
    asked, release = event(), event()

    def on_request(connection, message):
        asked.set()
        release.wait()

    server = serving(on_request)
    for options in ([], ["--parallel", "3"]):
        asked.clear()
        process = started("call", server.address[1], "1", *options)
        asked.wait()
        process.send_signal(signal.SIGINT)
        assert process.wait() == Status.INTERRUPTED
        assert process.stdout.read() == b""
        assert process.stderr.read().strip() == b""


def test_ctrl_c_while_waiting_for_input_is_the_same(started, address):
    process = started("call", address)
    process.stdin.write(b'("ping" "1")')
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait() == Status.INTERRUPTED
    assert process.stderr.read().strip() == b""


def test_an_output_that_nobody_reads_any_more_is_status_141_without_a_word(started, serving):
    server = serving(lambda connection, message: message)
    process = started("call", server.address[1])
    process.stdin.write(b"1 ")
    process.stdin.flush()
    assert process.stdout.readline() == b"1\n"
    process.stdout.close()
    process.stdin.write(b"2 ")
    process.stdin.flush()
    assert process.wait() == Status.BROKEN_PIPE
    assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("redirection", "why"), [("> /dev/full", "cannot write to standard output: No space left"), (">&-", "is closed")]
)
def test_an_output_that_cannot_be_written_to_is_told(address, redirection, why):
    command = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, "call", address, '("ping" "1")']
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == Status.FAILURE
    assert done.stderr.startswith("error: ")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


# Secure connections.


@pytest.fixture
def secure(serving, tmp_path):
    """The address of a secure server that knows "myuser" with "mypassphrase", and "ä"."""
    from bokbok import passphrase_to_key, service

    keys = {"myuser": passphrase_to_key("mypassphrase"), "ä": passphrase_to_key("ö")}
    return serving(service.handler(), user_to_key=keys.get).address[1]


@pytest.fixture
def key_file(tmp_path):
    from bokbok import passphrase_to_key, write_key_file

    write_key_file(tmp_path / "my.key", passphrase_to_key("mypassphrase"))
    return tmp_path / "my.key"


def test_a_passphrase_comes_from_a_file(bokbok, secure, passphrase_file):
    result = bokbok("call", secure, "--user", "myuser", "--passphrase-file", passphrase_file, '("whoami")')
    assert result == (0, b'"myuser"\n', "")


def test_a_key_comes_from_a_file(bokbok, secure, key_file):
    result = bokbok("call", secure, "--user", "myuser", "--key-file", key_file, '("whoami")')
    assert result == (0, b'"myuser"\n', "")


def test_a_username_is_its_bytes(finished, secure, tmp_path):
    (tmp_path / "p").write_text("ö\n")
    (tmp_path / "p").chmod(0o600)
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    result = finished(
        "call", secure, "--user", "ä".encode(), "--passphrase-file", tmp_path / "p", '("whoami")', env=env
    )
    assert result == (0, '"ä"\n'.encode(), "")


def test_a_passphrase_may_come_from_standard_input_or_a_descriptor(finished, secure):
    options = ["--user", "myuser", "--passphrase-file"]
    assert finished("call", secure, *options, "-", '("whoami")', input=b"mypassphrase\n").out == b'"myuser"\n'
    reading, writing = os.pipe()
    os.write(writing, b"mypassphrase")
    os.close(writing)
    result = finished("call", secure, *options, f"/dev/fd/{reading}", input=b'("whoami")', pass_fds=[reading])
    os.close(reading)
    assert result == (0, b'"myuser"\n', "")


@pytest.mark.parametrize("arguments", [["-"], []])
def test_standard_input_is_not_read_for_a_passphrase_and_for_datums(bokbok, secure, arguments):
    result = bokbok("call", secure, "--user", "myuser", "--passphrase-file", "-", *arguments)
    assert result.status == Status.USAGE
    assert "can be read only once" in result.err


def test_a_passphrase_file_that_others_can_read_is_warned_of(bokbok, secure, passphrase_file):
    passphrase_file.chmod(0o644)
    result = bokbok("call", secure, "--user", "myuser", "--passphrase-file", passphrase_file, '("whoami")')
    assert result.status == 0
    assert result.err == (
        f"warning: passphrase file '{passphrase_file}': others than its owner have access (mode 0644)\n"
    )


def test_a_key_file_that_others_can_read_is_refused(bokbok, secure, key_file):
    key_file.chmod(0o640)
    result = bokbok("call", secure, "--user", "myuser", "--key-file", key_file, '("whoami")')
    assert result.status == Status.FILE
    assert result.err.startswith(f"file error: key file '{key_file}': others than its owner have access (mode 0640)")


def test_an_empty_passphrase_is_warned_of(bokbok, secure, tmp_path):
    (tmp_path / "empty").touch(0o600)
    result = bokbok("call", secure, "--user", "myuser", "--passphrase-file", tmp_path / "empty", "1")
    assert result.status == Status.CONNECTION
    assert result.err.startswith("warning: the passphrase is empty\nconnection error: ")


def test_a_wrong_passphrase_is_a_connection_error_that_says_what_it_most_likely_means(bokbok, secure, tmp_path):
    (tmp_path / "wrong").write_text("wrong secret")
    (tmp_path / "wrong").chmod(0o600)
    result = bokbok("call", secure, "--user", "myuser", "--passphrase-file", tmp_path / "wrong", "1")
    assert result.status == Status.CONNECTION
    assert "the key is wrong" in result.err
    assert "wrong secret" not in result.err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--user", "myuser"], "Where is the passphrase? Give --passphrase-file or --key-file"),
        (["--passphrase-file", "p"], "needs a --user"),
        (["--key-file", "p"], "needs a --user"),
        (["--user", "myuser", "--key-file", "p", "--passphrase-file", "p"], "not both"),
    ],
)
def test_a_user_and_where_the_secret_is_go_together(finished, secure, options, why):
    result = finished("call", secure, *options, "1")
    assert result.status == Status.USAGE
    assert why in result.err


def test_a_username_that_cannot_be_sent_is_wrong_usage(bokbok, secure, key_file):
    result = bokbok("call", secure, "--user", "x" * 256, "--key-file", key_file, "1")
    assert result.status == Status.USAGE
    assert "the username has 256 bytes; expected 255 at most" in result.err


@pytest.mark.parametrize("guard", ["request-replay", "reflection"])
def test_a_guard_can_be_turned_off(bokbok, address, guard, monkeypatch):
    seen = []
    open_connection = call_module.open_connection

    def opened(*args, **options):
        seen.append(options["guards"])
        return open_connection(*args, **options)

    monkeypatch.setattr(call_module, "open_connection", opened)
    assert bokbok("call", address, '("ping" "1")', "--no-guard", guard).status == 0
    assert (seen[0].request_replay == "off") == (guard == "request-replay")
    assert seen[0].reflection == (guard != "reflection")
    assert seen[0].hello_replay


def test_verbose_tells_what_happens(tmp_path, bokbok):
    with _raw_server(tmp_path / "raw", [b"garbage"]) as path:
        result = bokbok("call", path, "1", "--verbose")
    assert "WARNING <bokbok.sync.Connection" in result.err
    assert "connection error: " in result.err


# On a terminal.


def test_answers_are_broken_into_lines_as_wide_as_the_terminal(terminal, serving):
    server = serving(lambda connection, message: message)
    on = terminal("call", server.address[1], '("one two" ("three" four) five)', columns=20)
    assert on.end() == 0
    assert on.shown == b'("one two"\r\n ("three" four)\r\n five)\r\n'
    on = terminal("call", server.address[1], '("one two" ("three" four) five)', columns=80)
    assert on.end() == 0
    assert on.shown == b'("one two" ("three" four) five)\r\n'


def test_what_a_peer_sends_does_not_reach_a_terminal_raw(terminal, serving):
    hostile = "\x1b]0;owned\x07\x9b31m\u202e\udc9b"
    server = serving(lambda connection, message: [hostile, Symbol(hostile)])
    on = terminal("call", server.address[1], "1", columns=200)
    assert on.end() == 0
    assert on.shown.replace(b"\r\n", b"").decode().isprintable()
    assert on.shown.isascii()

    def fail(connection, message):
        raise ValueError(hostile)

    on = terminal("call", serving(fail).address[1], "1", columns=200)
    assert on.end() == Status.REMOTE
    assert on.shown.replace(b"\r\n", b"").decode().isprintable()


def test_a_terminal_without_utf_8_gets_ascii(terminal, serving):
    server = serving(lambda connection, message: message)
    on = terminal("call", server.address[1], '"é"'.encode(), PYTHONUTF8="0", LC_ALL="C", PYTHONCOERCECLOCALE="0")
    assert on.end() == 0
    assert on.shown == rb'"\xc3\xa9"' + b"\r\n"


def test_lines_or_not_can_be_asked_for(terminal, bokbok, serving, monkeypatch):
    server = serving(lambda connection, message: message)
    on = terminal("call", server.address[1], "--plain", '("one two" "three four")', columns=20)
    assert on.end() == 0
    assert on.shown == b'("one two" "three four")\r\n'
    monkeypatch.setenv("COLUMNS", "20")
    assert bokbok("call", server.address[1], "--pretty", '("one two" "three four")').out == (
        b'("one two"\n "three four")\n'
    )


def test_datums_can_be_typed(terminal, address):
    on = terminal("call", address)
    on.type(b'("ping" "1")\n')
    on.wait_for(b'("pong" "1")\r\n')
    on.type(b"\x04")
    assert on.end() == 0


def test_a_passphrase_is_asked_for_on_the_terminal_and_not_shown(terminal, secure):
    on = terminal("call", secure, "--user", "myuser", '("whoami")')
    on.wait_for(b"Passphrase: ")
    on.type(b"mypassphrase\n")
    assert on.end() == 0
    assert on.shown.endswith(b'"myuser"\r\n')
    assert b"mypassphrase" not in on.shown


def test_ctrl_c_at_the_prompt_is_status_130(terminal, secure):
    on = terminal("call", secure, "--user", "myuser", '("whoami")')
    on.wait_for(b"Passphrase: ")
    on.type(b"\x03")
    assert on.end() == Status.INTERRUPTED
    assert b"Traceback" not in on.shown
