"""`bokbok bridge`: who may connect, as which user the bridge connects, how the command ends."""

import gc
import os
import signal
import threading

import pytest

from bokbok import ConnectionClosed, RemoteError, open_connection, passphrase_to_key, write_key_file
from bokbok.cli import bridge as bridge_module
from bokbok.cli._exit import Status
from tests.cli.conftest import stop

ALICE, BOB = passphrase_to_key("alice's"), passphrase_to_key("bob's")

OTHER = """
bokbok-profile = 1
name = "other"

[framing]
strategy = "length"
integer = "u32-le"

[key-derivation]
name = "sha256"
"""
"""A format that `inferred-1` cannot read: other lengths, other keys."""


@pytest.fixture
def bridged(listening):
    """A function that starts `bokbok bridge`; returns its process, whose `address` is what it printed."""
    return lambda *args, **options: listening("bridge", *args, **options)


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(OTHER)
    return path


@pytest.fixture
def private(tmp_path):
    """A function that writes a file that only its owner can read."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def users(private):
    return private("users.toml", 'alice = "alice\'s"\nbob = "bob\'s"\n')


def ask(process, message, **options):
    with open_connection(process.address, **options) as connection:
        return connection.request(message, timeout=30)


# Between profiles and securities.


def test_the_address_is_the_first_line_and_the_target_answers(served, bridged, bokbok):
    server = served("127.0.0.1:0")
    process = bridged("127.0.0.1:0", server.address)
    assert bokbok("call", process.address, '("ping" "1")') == (0, b'("pong" "1")\n', "")
    status, log = stop(process)
    assert status == 0
    assert f"INFO listening at {process.address} (inferred-1), insecure: anyone may connect" in log
    assert f"INFO the target is {server.address} (inferred-1), insecure" in log


def test_each_side_has_a_profile_of_its_own(served, bridged, bokbok, other, tmp_path):
    server = served(tmp_path / "s", "--profile", other)
    process = bridged(tmp_path / "b", server.address, "--target-profile", other)
    assert ask(process, ["ping", "1"]) == ["pong", "1"]
    back = bridged(tmp_path / "c", process.address, "--listen-profile", other)
    result = bokbok("call", back.address, "--profile", other, '("ping" "1")')
    assert result == (0, b'("pong" "1")\n', "")


def test_the_environments_profile_is_the_default_of_both_sides(served, bridged, other, bokbok, tmp_path):
    server = served(tmp_path / "s", "--profile", other)
    process = bridged(tmp_path / "b", server.address, env={**os.environ, "BOKBOK_PROFILE": str(other)})
    assert bokbok("call", process.address, "--profile", other, '("ping" "1")').out == b'("pong" "1")\n'


def test_a_secure_side_outside_and_an_insecure_one_inside(served, bridged, users, tmp_path):
    process = bridged(tmp_path / "b", served(tmp_path / "s").address, "--users", users)
    assert ask(process, ["whoami"], user="alice", key=ALICE) is False
    for wrong in ({"user": "eve", "key": ALICE}, {"user": "alice", "key": BOB}):
        with pytest.raises(ConnectionClosed):
            ask(process, ["whoami"], **wrong)
    status, log = stop(process)
    assert (status, "secure: 2 users" in log, "alice's" in log) == (0, True, False)


def test_limits_hold_on_both_sides(served, bridged, private, tmp_path):
    server = served(tmp_path / "s")
    limits = private("limits.toml", "depth = 5\npacket = 10_000\n")
    process = bridged(tmp_path / "b", server.address, "--limits", limits, "--limit", "connections-per-address=1")
    with open_connection(process.address) as connection:
        assert connection.request(["echo", [[["x"]]]], timeout=30) == [[["x"]]]
        with pytest.raises(RemoteError, match="nesting deeper than 6 levels"):  # the message is one
            connection.request(["echo", [[[[["x"]]]]]], timeout=30)
        with pytest.raises(ConnectionClosed):  # the second of this address
            ask(process, ["ping", "1"])
        with pytest.raises(ConnectionClosed):
            connection.request(["echo", "x" * 10_000], timeout=30)
    status, log = stop(process)
    assert (status, "connections of this source are there already" in log) == (0, True)


def test_a_limit_that_is_not_one_is_wrong_usage(bokbok, tmp_path):
    result = bokbok("bridge", tmp_path / "b", tmp_path / "s", "--limit", "depht=5")
    assert result.status == Status.USAGE
    assert "unknown limit 'depht'" in result.err


@pytest.mark.parametrize("how", ["--target-key-file", "--target-passphrase-file"])
def test_an_insecure_side_inside_and_a_secure_one_outside(served, bridged, users, private, tmp_path, how):
    server = served(tmp_path / "s", "--users", users)
    if how == "--target-key-file":
        write_key_file(tmp_path / "secret", BOB)
    else:
        private("secret", "bob's\n")
    process = bridged(tmp_path / "b", server.address, "--target-user", "bob", how, tmp_path / "secret")
    assert ask(process, ["whoami"]) == "bob"
    assert "bob's" not in stop(process)[1]


def test_the_passphrase_may_come_from_standard_input(served, started, users, tmp_path):
    server = served(tmp_path / "s", "--users", users)
    process = started("bridge", tmp_path / "b", server.address, "--target-user", "bob", "--target-passphrase-file", "-")
    process.stdin.write(b"bob's\n")
    process.stdin.close()
    process.stdin = None
    process.address = os.fsdecode(process.stdout.readline().strip())
    assert ask(process, ["whoami"]) == "bob"


def test_the_same_users_on_both_sides_also_where_keys_are_derived_in_another_way(
    served, bridged, users, other, tmp_path
):
    server = served(tmp_path / "s", "--users", users, "--profile", other)
    process = bridged(
        tmp_path / "b", server.address, "--users", users, "--target-users", users, "--target-profile", other
    )
    assert ask(process, ["whoami"], user="alice", key=ALICE) == "alice"
    assert ask(process, ["whoami"], user="bob", key=BOB) == "bob"


def test_each_user_may_be_another_one_at_the_target(served, bridged, users, private, tmp_path):
    theirs = private("theirs.toml", 'robert = "r"\nann = "a"\nbob = "b"\n')
    write_key_file(tmp_path / "ann.key", passphrase_to_key("a"))
    mapped = private(
        "mapped.toml",
        'alice = { user = "ann", key-file = "ann.key" }\nbob = { user = "robert", passphrase = "r" }\n',
    )
    server = served(tmp_path / "s", "--users", theirs)
    process = bridged(tmp_path / "b", server.address, "--users", users, "--target-users", mapped)
    assert ask(process, ["whoami"], user="alice", key=ALICE) == "ann"
    assert ask(process, ["whoami"], user="bob", key=BOB) == "robert"


# Wrong usage: one clear line.


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--target-users", "USERS"], "--target-users says as whom each user speaks to TARGET: it needs --users."),
        (["--users", "USERS", "--target-users", "USERS", "--target-user", "x"], "Give --target-users or --target-user"),
        (["--target-key-file", "f"], "A passphrase or key needs a --target-user."),
        (["--target-user", "x"], "Give --target-passphrase-file or --target-key-file"),
        (["--target-user", "x", "--target-key-file", "f", "--target-passphrase-file", "f"], "not both."),
        (["--target-user", "x" * 256, "--target-passphrase-file", "/dev/null"], "--target-user: the username has 256"),
        (["--verbose", "--quiet"], "Give --verbose or --quiet, not both."),
        (["--target-profile", "unheard-of"], "unknown profile 'unheard-of'"),
        (["--listen-profile", "unheard-of"], "unknown profile 'unheard-of'"),
    ],
)
def test_wrong_usage_is_told_in_a_line(bokbok, users, tmp_path, args, problem):
    result = bokbok("bridge", tmp_path / "b", "s", *(users if arg == "USERS" else arg for arg in args))
    assert result.status == Status.USAGE
    assert problem in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('alice = "x"\n', "no entry for user 'bob', who may connect; expected one for each user of --users"),
        ("alice = 1\n", "user 'alice': expected NAME = \"passphrase\" or NAME = { key-file"),
        ('alice = { user = 1, passphrase = "x" }\n', "user 'alice': expected NAME = "),
        ('alice = { user = "x" }\n', "user 'alice': expected NAME = "),
        ('alice = { user = "x", passphrase = "y", key-file = "z" }\n', "user 'alice': expected NAME = "),
        ('alice = { user = "x", key-file = "none.key" }\n', "user 'alice': key file "),
        ("alice = \n", "not TOML: "),
    ],
)
def test_a_target_users_file_that_cannot_be_used_is_a_file_error(bokbok, users, private, tmp_path, text, problem):
    mapped = private("mapped.toml", text)
    result = bokbok("bridge", tmp_path / "b", "s", "--users", users, "--target-users", mapped)
    assert result.status == Status.FILE
    assert result.err.startswith(f"file error: target users file '{mapped}': ")
    assert problem in result.err
    assert len(result.err.splitlines()) == 1


def test_a_target_users_file_that_others_can_read_is_refused(bokbok, users, private, tmp_path):
    mapped = private("mapped.toml", 'alice = "x"\nbob = "y"\n')
    mapped.chmod(0o644)
    result = bokbok("bridge", tmp_path / "b", "s", "--users", users, "--target-users", mapped)
    assert result.status == Status.FILE
    assert "others than its owner have access (mode 0644)" in result.err


def test_who_is_named_for_the_target_alone_is_warned_of(bridged, users, private, tmp_path):
    mapped = private("mapped.toml", 'alice = "x"\nbob = "y"\neve = "z"\n')
    process = bridged(tmp_path / "b", "s", "--users", users, "--target-users", mapped)
    assert "WARNING the target users file names 1 who may not connect, the first 'eve'" in stop(process)[1]


def test_an_address_in_use_is_a_connection_error(finished, served, tmp_path):
    served(tmp_path / "b")
    result = finished("bridge", tmp_path / "b", "s")
    problem = f"connection error: cannot listen on {tmp_path}/b: Address already in use\n"
    assert result == (Status.CONNECTION, b"", problem)


@pytest.mark.parametrize("guard", ["hello-replay", "request-replay", "reflection", "nonce-reuse"])
@pytest.mark.parametrize("side", ["listen", "target"])
def test_a_guard_can_be_turned_off_on_a_side(bokbok, monkeypatch, tmp_path, guard, side):
    if (side, guard) == ("target", "hello-replay"):
        assert bokbok("bridge", "b", "s", "--target-no-guard", guard).status == Status.USAGE  # no hello comes there
        return
    seen = {}

    def start_bridge(listen, target, **options):
        seen.update(options)
        raise ConnectionClosed("enough")

    monkeypatch.setattr(bridge_module, "start_bridge", start_bridge)
    result = bokbok("bridge", tmp_path / "b", "s", f"--{side}-no-guard", guard, "--backlog", 7, "--connect-timeout", 8)
    assert result.status == Status.CONNECTION
    off, on = (seen["guards"], seen["target_guards"])[:: 1 if side == "listen" else -1]
    name = guard.replace("-", "_")
    assert getattr(off, name) in (False, "off")
    assert getattr(on, name) not in (False, "off")
    assert (seen["backlog"], seen["connect_timeout"]) == (7, 8)


def test_the_collector_looks_at_everything_as_seldom_as_it_is_told(bokbok, monkeypatch, tmp_path):
    before, seen = gc.get_threshold(), []

    def start_bridge(listen, target, **options):
        seen.append(gc.get_threshold())
        raise ConnectionClosed("enough")

    monkeypatch.setattr(bridge_module, "start_bridge", start_bridge)
    try:
        for options in ((), ("--collect", "seldom")):
            assert bokbok("bridge", tmp_path / "b", "s", *options).status == Status.CONNECTION
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
    assert seen == [before, (*before[:2], 100 * before[2])]


# The log.


def test_a_dead_target_is_logged_in_a_line_and_the_bridge_goes_on(bridged, served, tmp_path):
    process = bridged(tmp_path / "b", tmp_path / "s")
    with pytest.raises(ConnectionClosed):
        ask(process, ["ping", "1"])
    served(tmp_path / "s")
    assert ask(process, ["ping", "1"]) == ["pong", "1"]
    log = stop(process)[1]
    assert f"not connected to the target: ConnectFailed: cannot connect to {tmp_path}/s: " in log
    assert "Traceback" not in log


def test_the_log_is_quiet_about_what_went_well_unless_asked(bridged, served, tmp_path):
    process = bridged(tmp_path / "b", served(tmp_path / "s").address, "--quiet")
    with pytest.raises(RemoteError):
        ask(process, ["fail", "x"])
    assert stop(process) == (0, "")


def test_the_log_tells_of_every_connection_where_asked(bridged, served, tmp_path):
    process = bridged(tmp_path / "b", served(tmp_path / "s").address, "--verbose")
    ask(process, ["ping", "1"])
    lines = iter(process.stderr.readline, b"")
    assert any(b"<bridge's client" in line and b"joined to <bridge's target" in line for line in lines)
    assert any(b"<bridge's client" in line and b"the other end closed the connection" in line for line in lines)
    assert stop(process)[0] == 0


# How it ends.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_it_once_what_is_under_way_is_answered(bridged, serving, tmp_path, number):
    may_answer, came = threading.Event(), threading.Event()

    def hold(connection, message):
        came.set()
        may_answer.wait()
        return connection.request(message)  # a callback, while the bridge stops

    server = serving(hold)
    process = bridged(tmp_path / "b", server.address[1])
    answers = []
    with open_connection(process.address, on_request=lambda connection, message: message * 2) as connection:
        asking = threading.Thread(target=lambda: answers.append(connection.request(21)))
        asking.start()
        came.wait()
        process.send_signal(number)
        assert any(b": stopping; " in line for line in iter(process.stderr.readline, b""))
        with pytest.raises(RemoteError, match="stopping"):
            connection.request("new")
        may_answer.set()
        asking.join()
        assert answers == [42]
        assert process.wait() == 0
    assert not (tmp_path / "b").exists()
    assert process.stderr.read().endswith(b"INFO stopped\n")


def test_a_second_signal_ends_it_at_once(bridged, serving, event, tmp_path):
    may_answer, came = event(), event()

    def hold(connection, message):
        came.set()
        may_answer.wait()

    process = bridged(tmp_path / "b", serving(hold).address[1])
    with open_connection(process.address) as connection:

        def ask_in_vain():
            with pytest.raises(ConnectionClosed):
                connection.request("x")

        asking = threading.Thread(target=ask_in_vain)
        asking.start()
        came.wait()
        process.send_signal(signal.SIGTERM)
        assert any(b": stopping; " in line for line in iter(process.stderr.readline, b""))
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        asking.join()
