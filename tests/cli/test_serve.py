"""`bokbok serve`: what is served, to whom, and how it ends."""

import contextlib
import gc
import os
import queue
import signal
import socket
import subprocess
import sys
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bokbok import (
    ConnectFailed,
    ConnectionClosed,
    RemoteError,
    RequestTimeout,
    open_connection,
    parse_address,
    passphrase_to_key,
    write_key_file,
)
from bokbok.cli import serve as serve_module
from bokbok.cli._exit import Status
from tests.cli.conftest import COMMAND, stop
from tests.support.network import needs_ipv6
from tests.support.peers import RawPeer, hello
from tests.support.redis_server import RedisServer, needs_redis


def ask(process, message, **options):
    with open_connection(process.address, **options) as connection:
        return connection.request(message)


# Where.


def test_the_address_is_the_first_line_and_can_be_called(served, bokbok):
    process = served("127.0.0.1:0")
    kind, host, port = parse_address(process.address)
    assert (kind, host) == ("tcp", "127.0.0.1")
    assert port > 0
    assert bokbok("call", process.address, '("ping" "1")').out == b'("pong" "1")\n'
    status, log = stop(process)
    assert status == 0
    assert f"INFO serving at {process.address}, insecure" in log


@pytest.mark.parametrize(
    ("asked", "begins"),
    [(":0", ":"), ("localhost:0", "localhost:"), pytest.param("[::1]:0", "[::1]:", marks=needs_ipv6)],
)
def test_the_address_is_as_asked_with_the_port_that_was_bound(served, bokbok, asked, begins):
    process = served(asked)
    assert process.address.startswith(begins)
    assert process.address != asked
    assert bokbok("call", process.address, '("ping" "1")').out == b'("pong" "1")\n'


@pytest.mark.parametrize("path", ["s", "./host:80", os.fsdecode(b"\xff\xc3\xa9")])
def test_a_unix_socket_is_there_until_it_ends(served, bokbok, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    process = served(path)
    assert process.address == path
    assert bokbok("call", process.address, '("ping" "1")').out == b'("pong" "1")\n'
    assert stop(process)[0] == 0
    assert os.listdir(tmp_path) == []


def test_an_address_in_use_is_a_connection_error(finished, served, tmp_path):
    process = served(tmp_path / "s")
    result = finished("serve", tmp_path / "s")
    assert result == (
        Status.CONNECTION,
        b"",
        f"connection error: cannot listen on {tmp_path}/s: Address already in use\n",
    )
    assert ask(process, ["ping", "1"]) == ["pong", "1"]


def test_an_output_that_cannot_be_written_to_ends_it(tmp_path):
    for redirection, status in (("> /dev/full", Status.FAILURE), (">&-", Status.FAILURE)):
        command = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, "serve", tmp_path / "s"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == status
        assert "Traceback" not in done.stderr
        assert "standard output" in done.stderr
        assert os.listdir(tmp_path) == []


def test_nobody_reading_the_address_ends_it_without_a_word(started, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    process = started("serve", tmp_path / "s", stdout=writing)
    os.close(writing)
    assert process.wait() == Status.BROKEN_PIPE
    assert process.stderr.read() == b""
    assert os.listdir(tmp_path) == []


# What.


def test_a_handler_of_ones_own_is_found_in_the_current_folder(served, bokbok, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def answer(connection, message):\n"
        "    if message == 'fail':\n"
        "        raise ValueError('on purpose')\n"
        "    return [connection.user or False, message]\n"
    )
    process = served("s", "--handler", "mine:answer", cwd=tmp_path)
    result = bokbok("call", tmp_path / "s", "1", '"fail"')
    assert result == (Status.REMOTE, b"(#f 1)\n", "request 2: remote error: ValueError: on purpose\n")
    status, log = stop(process)
    assert status == 0
    assert "the request handler failed: ValueError: on purpose" in log
    assert "Traceback" not in log


def test_what_a_handlers_module_prints_does_not_stand_before_the_address(served, tmp_path):
    (tmp_path / "mine.py").write_text("print('importing')\ndef answer(connection, message):\n    return message\n")
    process = served("s", "--handler", "mine:answer", cwd=tmp_path)
    assert process.address == "s"
    assert "importing" in stop(process)[1]


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["this process", "several"])
@pytest.mark.parametrize("how", ["often", "seldom"])
def test_the_collector_looks_at_everything_as_often_as_it_is_told(served, bokbok, tmp_path, processes, how):
    (tmp_path / "mine.py").write_text(
        "import gc\ndef answer(connection, message):\n    return [*gc.get_threshold(), gc.get_freeze_count() > 1000]\n"
    )
    served("s", "--handler", "mine:answer", "--collect", how, *processes, cwd=tmp_path)
    newest, middle, oldest = gc.get_threshold()  # this process has Python's own
    expected = (newest, middle, oldest, b"#f") if how == "often" else (newest, middle, 100 * oldest, b"#t")
    assert bokbok("call", tmp_path / "s", '"how"').out == b"(%d %d %d %s)\n" % expected


def test_a_handler_can_ask_back(served, tmp_path):
    (tmp_path / "mine.py").write_text("def answer(connection, message):\n    return connection.request(message + 1)\n")
    served("s", "--handler", "mine:answer", cwd=tmp_path)
    with open_connection(str(tmp_path / "s"), on_request=lambda connection, message: message * 2) as connection:
        assert connection.request(20) == 42


def test_a_handler_that_cannot_be_loaded_is_wrong_usage(finished, tmp_path):
    result = finished("serve", "s", "--handler", "no_such_module:f", cwd=tmp_path)
    assert result.status == Status.USAGE
    assert "Error: Invalid value for '--handler': module 'no_such_module' was not found" in result.err
    assert "Traceback" not in result.err
    assert os.listdir(tmp_path) == []


def test_why_a_handler_cannot_be_loaded_is_shown_in_full_where_asked_for(finished, tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0\n")
    result = finished("serve", "s", "--handler", "bad:f", "--verbose", cwd=tmp_path)
    assert result.status == Status.USAGE
    assert "Traceback" in result.err
    assert "importing 'bad' failed: ZeroDivisionError: division by zero" in result.err


# To whom.


@pytest.fixture
def users(tmp_path):
    write_key_file(tmp_path / "bob.key", passphrase_to_key("bob's"))
    path = tmp_path / "users.toml"
    path.write_text('alice = "alice\'s"\n"bob b." = { key-file = "bob.key" }\n')
    path.chmod(0o600)
    return path


def test_users_may_connect_with_their_keys_and_nobody_else(served, users, tmp_path):
    process = served(tmp_path / "s", "--users", users)
    alice = passphrase_to_key("alice's")
    assert ask(process, ["whoami"], user="alice", key=alice) == "alice"
    assert ask(process, ["whoami"], user="bob b.", key=passphrase_to_key("bob's")) == "bob b."
    for wrong in ({"user": "eve", "key": alice}, {"user": "alice", "key": passphrase_to_key("x")}):
        with pytest.raises(ConnectionClosed):
            ask(process, ["whoami"], **wrong)
    status, log = stop(process)
    assert status == 0
    assert "secure: 2 users" in log
    assert "WARNING" in log
    assert "alice's" not in log


def test_a_users_file_that_others_can_read_is_refused(finished, users, tmp_path):
    users.chmod(0o644)
    result = finished("serve", tmp_path / "s", "--users", users)
    assert result.status == Status.FILE
    assert result.err.startswith(f"file error: users file '{users}': others than its owner have access (mode 0644)")
    assert "alice" not in result.err


def test_a_users_file_that_names_nobody_is_warned_of(served, users, tmp_path):
    users.write_text("")
    process = served(tmp_path / "s", "--users", users)
    with pytest.raises(ConnectionClosed):
        ask(process, ["whoami"], user="alice", key=passphrase_to_key("alice's"))
    assert "WARNING the users file does not hold a user" in stop(process)[1]


@pytest.mark.parametrize("guard", ["hello-replay", "request-replay", "reflection"])
def test_a_guard_can_be_turned_off(bokbok, monkeypatch, guard, tmp_path):
    seen = {}

    def start_server(address, on_request, **options):
        seen.update(options)
        raise ConnectionClosed("enough")

    monkeypatch.setattr(serve_module, "start_server", start_server)
    result = bokbok("serve", tmp_path / "s", "--no-guard", guard, "--backlog", "7")
    assert result.status == Status.CONNECTION
    assert seen["guards"].hello_replay == (guard != "hello-replay")
    assert seen["guards"].request_replay == ("off" if guard == "request-replay" else "window")
    assert seen["guards"].reflection == (guard != "reflection")
    assert seen["backlog"] == 7


# The log.


def test_the_log_is_quiet_about_what_went_well_unless_asked(served, tmp_path):
    process = served(tmp_path / "s", "--quiet")
    ask(process, ["ping", "1"])
    assert stop(process) == (0, "")


def test_the_log_tells_of_every_connection_where_asked(served, tmp_path):
    process = served(tmp_path / "s", "--verbose")
    with pytest.raises(RemoteError):
        ask(process, ["fail", "x"])
    lines = []
    for line in process.stderr:
        lines.append(line)
        if b"closed: " in line:
            break
    stop(process)
    log = b"".join(lines).decode()
    assert "INFO opened: <bokbok.sync.Connection" in log
    assert ": the other end closed the connection" in log
    assert "Traceback" in log


def test_what_a_peer_says_does_not_reach_the_log_raw(served, tmp_path):
    process = served(tmp_path / "s")
    with pytest.raises(RemoteError):
        ask(process, ["fail", "\x1b[31m\nERROR forged\x9b"])
    log = stop(process)[1]
    assert r"\x1b[31m\nERROR forged\x9b" in log
    assert all(line.isprintable() for line in log.splitlines())


def test_a_fault_in_a_thread_is_logged_as_one_line(bokbok, monkeypatch, tmp_path):
    def start_server(*args, **options):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        raise ConnectionClosed("enough")

    monkeypatch.setattr(serve_module, "start_server", start_server)
    result = bokbok("serve", tmp_path / "s")
    assert "ERROR internal error in a thread: ZeroDivisionError: division by zero" in result.err
    assert "Traceback" not in result.err
    threading.excepthook(threading.ExceptHookArgs((SystemExit, None, None, None)))  # a thread's own way to end


# How it ends.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(served, tmp_path, number):
    process = served(tmp_path / "s")
    process.send_signal(number)
    assert process.wait() == 0
    assert os.listdir(tmp_path) == []
    log = process.stderr.read().decode()
    assert f"{number.name}: stopping" in log
    assert log.endswith("INFO stopped\n")


def test_ctrl_c_on_its_terminal_stops_it_cleanly(terminal, tmp_path):
    on = terminal("serve", tmp_path / "s")
    on.wait_for(b"serving at")
    on.type(b"\x03")
    assert on.end() == 0
    assert b"Traceback" not in on.shown


def test_a_hangup_of_its_terminal_stops_it_cleanly(terminal, tmp_path):
    on = terminal("serve", tmp_path / "s")
    on.wait_for(b"serving at")
    on.process.send_signal(signal.SIGHUP)
    assert on.end() == 0
    assert b"SIGHUP: stopping" in on.shown


def log_until(process, text):
    """The lines of the log up to one that holds a text."""
    lines = []
    for line in process.stderr:
        lines.append(line.decode())
        if text in lines[-1]:
            return "".join(lines)
    raise AssertionError("".join(lines))


def test_without_a_terminal_a_hangup_reads_users_and_limits_again(served, users, tmp_path):
    limits = tmp_path / "limits.toml"
    limits.write_text("packet = 100_000\n")
    process = served(tmp_path / "s", "--users", users, "--limits", limits, start_new_session=True)
    alice, carol = passphrase_to_key("alice's"), passphrase_to_key("carol's")
    with open_connection(process.address, "alice", alice) as before:
        assert before.request(["echo", "x" * 10_000]) == "x" * 10_000
        users.write_text('alice = "alice\'s"\ncarol = "carol\'s"\n')
        limits.write_text("packet = 1000\n")
        process.send_signal(signal.SIGHUP)
        assert "secure: 2 users" in log_until(process, "read again")
        assert ask(process, ["whoami"], user="carol", key=carol) == "carol"
        with pytest.raises(ConnectionClosed):
            ask(process, ["echo", "x" * 10_000], user="carol", key=carol)
        assert before.request(["echo", "x" * 10_000]) == "x" * 10_000  # who is there stays, with the limits it had
    assert stop(process)[0] == 0


def test_a_hangup_closes_the_connections_of_users_who_were_taken_out_or_have_another_key(served, users, tmp_path):
    users.write_text('alice = "alice\'s"\nbob = "bob\'s"\ncarol = "carol\'s"\n')
    process = served(tmp_path / "s", "--users", users, start_new_session=True)
    keys = {name: passphrase_to_key(f"{name}'s") for name in ("alice", "bob", "carol")}
    ended = {name: threading.Event() for name in keys}
    there = {
        name: open_connection(process.address, name, key, on_close=lambda _, name=name: ended[name].set())
        for name, key in keys.items()
    }
    for name, connection in there.items():
        assert connection.request(["whoami"]) == name
    users.write_text('bob = "another"\ncarol = "carol\'s"\n')
    process.send_signal(signal.SIGHUP)
    log = log_until(process, "has another key")
    assert ended["alice"].wait(30)
    assert ended["bob"].wait(30)
    assert "user 'alice' was taken out of the users file: 1 of its connections closed" in log
    assert "user 'bob' has another key: 1 of its connections closed" in log
    for name in ("alice", "bob"):
        with pytest.raises(ConnectionClosed):
            there[name].request(["whoami"], timeout=30)
        with pytest.raises(ConnectionClosed):
            ask(process, ["whoami"], user=name, key=keys[name])
    assert there["carol"].request(["whoami"], timeout=30) == "carol"
    assert ask(process, ["whoami"], user="bob", key=passphrase_to_key("another")) == "bob"
    there["carol"].close()
    assert stop(process)[0] == 0


def test_a_key_is_replaced_by_another_without_a_break(served, users, tmp_path):
    process = served(tmp_path / "s", "--users", users, start_new_session=True)
    old, new = passphrase_to_key("alice's"), passphrase_to_key("alice's new one")

    def again(text):
        users.write_text(text)
        process.send_signal(signal.SIGHUP)
        log_until(process, "read again")

    with open_connection(process.address, "alice", old) as before:
        assert before.request(["whoami"]) == "alice"
        again('alice = ["alice\'s new one", "alice\'s"]\n')
        assert before.request(["whoami"]) == "alice"  # a key more changes nothing for who is there
        assert [ask(process, ["whoami"], user="alice", key=key) for key in (old, new)] == ["alice", "alice"]
        again('alice = "alice\'s new one"\n')
        log_until(process, "user 'alice' has another key")
        # How many it closed depends on whether it has noticed that those who only asked are gone.
        with pytest.raises(ConnectionClosed):
            before.request(["whoami"])
        assert ask(process, ["whoami"], user="alice", key=new) == "alice"
        with pytest.raises(ConnectionClosed):
            ask(process, ["whoami"], user="alice", key=old)


@pytest.mark.parametrize("broken", ["users", "limits"])
def test_files_that_cannot_be_read_again_change_nothing(served, users, tmp_path, broken):
    limits = tmp_path / "limits.toml"
    limits.write_text("packet = 100_000\n")
    process = served(tmp_path / "s", "--users", users, "--limits", limits, start_new_session=True)
    (users if broken == "users" else limits).write_text("=\n")
    process.send_signal(signal.SIGHUP)
    assert "ERROR SIGHUP: nothing has changed: " in log_until(process, "SIGHUP")
    alice = passphrase_to_key("alice's")
    assert ask(process, ["echo", "x" * 10_000], user="alice", key=alice) == "x" * 10_000
    assert stop(process)[0] == 0


def test_a_hangup_is_ignored_where_it_is_ignored_already(tmp_path):
    command = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, "serve", tmp_path / "s"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    with open_connection(str(tmp_path / "s")) as connection:
        assert connection.request(["ping", "1"]) == ["pong", "1"]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 0
    assert b"SIGTERM: stopping" in err
    assert b"SIGHUP" not in err


@pytest.fixture
def busy(served, tmp_path):
    """A server with a request that is being handled: its handler waits for an answer of this end."""
    process = served(tmp_path / "s")
    asked, release, answers = threading.Event(), threading.Event(), queue.SimpleQueue()

    def on_request(connection, message):
        asked.set()
        release.wait()
        return "answer"

    connection = open_connection(process.address, on_request=on_request)

    def request():
        try:
            answers.put(connection.request(["callback", 1, "x"]))
        except ConnectionClosed as error:
            answers.put(error)

    thread = threading.Thread(target=request)
    thread.start()
    asked.wait()
    yield process, release, answers
    release.set()
    connection.close()
    thread.join()


def _wait_until_stopping(process):
    for line in process.stderr:
        if b"stopping" in line:
            return


def test_requests_that_are_being_handled_are_answered_before_it_ends(busy):
    process, release, answers = busy
    process.send_signal(signal.SIGTERM)
    _wait_until_stopping(process)
    with pytest.raises(ConnectFailed):  # nobody can connect any more, at once or a moment later
        _connect_for_ever(process.address)
    assert process.poll() is None
    release.set()
    assert answers.get() == ["answer"]
    assert process.wait() == 0


def _connect_for_ever(address):
    while True:
        open_connection(address).close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(busy, number, tmp_path):
    process, _, answers = busy
    process.send_signal(signal.SIGTERM)
    _wait_until_stopping(process)
    process.send_signal(number)
    assert process.wait() == 128 + number
    assert isinstance(answers.get(), ConnectionClosed)
    assert "Traceback" not in process.stderr.read().decode()


def test_the_signals_are_given_back(monkeypatch, tmp_path, bokbok):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def start_server(*args, **options):
        assert signal.getsignal(signal.SIGTERM) != before[0]
        raise ConnectionClosed("enough")

    monkeypatch.setattr(serve_module, "start_server", start_server)
    assert bokbok("serve", tmp_path / "s").status == Status.CONNECTION
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_handlers_that_go_on_after_the_time_for_it_end_it_with_a_status_of_its_own(served, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import threading\ndef answer(connection, message):\n    threading.Event().wait()\n"
    )
    process = served("s", "--handler", "mine:answer", "--limit", "drain-timeout=0.1", cwd=tmp_path)
    with open_connection(str(tmp_path / "s")) as connection:
        with pytest.raises(RequestTimeout):
            connection.request("x", timeout=0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == Status.UNFINISHED
    log = process.stderr.read().decode()
    assert "goes on all the same: <bokbok.sync.Connection s, closed>: 1 handler\n" in log
    assert log.endswith("unfinished: handlers of 1 connections went on after the drain-timeout\n")


# Limits.


def test_a_limit_is_given_in_a_file_or_by_itself_which_goes_before(served, tmp_path):
    limits = tmp_path / "limits.toml"
    limits.write_text("connections-per-address = 1\npacket = 1000\n")
    process = served("127.0.0.1:0", "--limits", limits, "--limit", "packet=2000")
    with open_connection(process.address) as connection:
        assert connection.request(["echo", "x" * 1500]) == "x" * 1500
        with pytest.raises(ConnectionClosed):  # while the first one is there
            ask(process, ["whoami"])
        with pytest.raises(ConnectionClosed):
            connection.request(["echo", "x" * 2000])
    log = stop(process)[1]
    assert "a connection from 127.0.0.1 is refused: 1 connections of this source are there already" in log


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("=", "unknown limit ''"),
        ("packets=1", "unknown limit 'packets' (known: packet, depth, "),
        ("packet=1.5", "limit packet: expected a whole number, got 1.5"),
        ("packet=many", "limit packet: expected a whole number, got 'many'"),
        ("hello-timeout=nan", "limit hello-timeout: expected a number of seconds, got nan"),
        ("packet=0", "limit packet: expected a number above 0, got 0"),
    ],
)
def test_a_limit_that_is_not_one_is_wrong_usage(bokbok, tmp_path, given, problem):
    result = bokbok("serve", tmp_path / "s", "--limit", given)
    assert result.status == Status.USAGE
    assert problem in result.err


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"\xff", "not TOML: "),
        (b"packet = ", "not TOML: "),
        (b"packet = true", "limit packet: expected a whole number, got True"),
        (b'packet = "1"', "limit packet: expected a whole number, got '1'"),
        (b"[limits]\npacket = 1", "unknown limit 'limits'"),
        (b"#\n" * (1 << 19) + b"packet = true", "expected 1048576 bytes at most; it is longer"),
    ],
)
def test_a_limits_file_that_cannot_be_used_is_wrong_usage(bokbok, tmp_path, content, problem):
    path = tmp_path / "limits.toml"
    if content is not None:
        path.write_bytes(content)
    result = bokbok("serve", tmp_path / "s", "--limits", path)
    assert result.status == Status.USAGE
    assert f"limits file '{path}': " in result.err
    assert problem in result.err


# A Unix socket's file.


def test_the_sockets_file_has_the_mode_and_the_owner_that_were_asked_for(served, tmp_path):
    group = os.getgid()
    served(tmp_path / "s", "--socket-mode", "660", "--socket-owner", f":{group}", umask=0o077)
    status = (tmp_path / "s").stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o660, group)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--socket-mode", "9"), ("--socket-mode", "1777"), ("--socket-mode", "rw"), ("--socket-owner", "no such user")],
)
def test_a_mode_or_an_owner_that_is_not_one_is_wrong_usage(bokbok, tmp_path, option, value):
    assert bokbok("serve", tmp_path / "s", option, value).status == Status.USAGE


def test_a_mode_needs_a_file(bokbok):
    result = bokbok("serve", "localhost:0", "--socket-mode", "660")
    assert result.status == Status.USAGE
    assert "need the path of a Unix socket" in result.err


# Metrics.


def scrape(address):
    """What Prometheus would get: the value of each metric."""
    family, place = (socket.AF_UNIX, address[1]) if address[0] == "unix" else (socket.AF_INET, address[1:])
    with socket.socket(family) as sock:
        sock.connect(place)
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"text/plain" in head
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("at", ["127.0.0.1:0", "m"])
def test_prometheus_is_told_what_the_server_does_and_what_it_refused(served, users, tmp_path, at):
    process = served("s", "--users", users, "--metrics", at, cwd=tmp_path)
    place = log_until(process, "metrics at ").splitlines()[-1].rpartition(" at ")[2]
    place = parse_address(str(tmp_path / place) if at == "m" else place)
    with open_connection(str(tmp_path / "s"), "alice", passphrase_to_key("alice's")) as connection:
        for _ in range(3):
            connection.request(["whoami"])
        with (
            open_connection(str(tmp_path / "s"), "alice", passphrase_to_key("x")) as refused,
            pytest.raises(ConnectionClosed),
        ):
            refused.request(["whoami"])
        found = scrape(place)
    assert found["bokbok_connections"] >= 1
    assert found["bokbok_held_bytes"] == found["bokbok_heaviest_bytes"] == 0
    assert found["bokbok_accepted_total"] == 2
    assert found["bokbok_handled_total"] == 3
    assert found["bokbok_refused_total[('kind', 'hello')]"] == 1
    assert found["bokbok_refused_total[('kind', 'penalty')]"] == 0
    assert found["process_open_fds"] > 0
    assert stop(process)[0] == 0
    assert sorted(os.listdir(tmp_path)) == ["bob.key", "users.toml"]


@pytest.mark.parametrize("address", [":9100", "0.0.0.0:9100", "example.org:9100", "192.0.2.1:0"])
def test_metrics_are_for_this_machine_alone(bokbok, tmp_path, address):
    result = bokbok("serve", tmp_path / "s", "--metrics", address)
    assert result.status == Status.USAGE
    assert "expected a loopback address" in result.err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("option", "value", "module", "package", "extra"),
    [
        ("--metrics", "localhost:0", "bokbok.cli._metrics", "prometheus_client", "metrics"),
        ("--shared-hellos", "redis://localhost", "bokbok.hellos", "redis", "redis"),
    ],
)
def test_an_option_without_its_package_is_wrong_usage(
    bokbok, tmp_path, monkeypatch, option, value, module, package, extra
):
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    result = bokbok("serve", tmp_path / "s", option, value)
    assert result.status == Status.USAGE
    assert f"pip install 'bokbok[{extra}]'" in result.err


# The memory of hellos.


@needs_redis
def test_servers_with_one_redis_refuse_what_another_has_seen(served, users, tmp_path):
    memory = RedisServer(tmp_path)
    memory.start()
    try:
        processes = [
            served(name, "--users", users, "--shared-hellos", memory.url, cwd=tmp_path) for name in ("one", "two")
        ]
        session_key = bytes(32)
        said = hello("alice", passphrase_to_key("alice's"), session_key)
        answers = []
        for name in ("one", "two"):
            peer = RawPeer.connect(("unix", str(tmp_path / name)))
            peer.send(said)
            peer.begin(session_key)
            peer.send_message(b'(request 0 ("ping" "x"))')
            with contextlib.closing(peer):
                answers.append(peer.receive() if name == "one" else peer.read_to_end())
        assert answers == [b'(response 0 ("pong" "x"))', b""]
        for process in processes:
            stop(process)
    finally:
        memory.stop()


def test_a_url_that_cannot_be_is_wrong_usage(bokbok, tmp_path):
    result = bokbok("serve", tmp_path / "s", "--shared-hellos", "gopher://localhost")
    assert result.status == Status.USAGE
    assert "--shared-hellos" in result.err
