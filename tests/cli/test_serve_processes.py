"""`bokbok serve --processes`, and `--systemd`: several processes, seen from outside."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from bokbok import ConnectFailed, ConnectionClosed, open_connection, parse_address, passphrase_to_key
from bokbok.cli._exit import Status
from tests.cli.conftest import COMMAND, stop
from tests.cli.test_serve import log_until, scrape
from tests.support.leaks import eventually
from tests.support.peers import SOON, RawPeer, hello
from tests.support.processes import alive

ALICE = passphrase_to_key("alice's passphrase")
DIED = r"worker (\d) \(process (\d+)\) has died"


@pytest.fixture
def folder(tmp_path):
    """With a users file, and a handler that says which process it is."""
    (tmp_path / "users.toml").write_text('alice = "alice\'s passphrase"\n')
    (tmp_path / "users.toml").chmod(0o600)
    (tmp_path / "mine.py").write_text(
        "import os, signal, time\n"
        "def answer(connection, message):\n"
        "    if message == 'die':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    if message == 'slow':\n"
        "        connection.request('go on?')\n"
        "    if message == 'stay':\n"
        "        time.sleep(3600)\n"
        "    return os.getpid()\n"
    )
    return tmp_path


@pytest.fixture
def several(served, folder):
    """A function that starts `bokbok serve` with several processes. At the end, none of them may be left."""
    started = []

    def start(address="127.0.0.1:0", *args, processes=2, users=True, **options):
        secure = ("--users", "users.toml") if users else ()
        command = (address, "--handler", "mine:answer", "--processes", processes, *secure, *args)
        options.setdefault("cwd", folder)
        process = served(*map(str, command), start_new_session=True, **options)
        started.append(process)
        process.place = process.address if ":" in process.address else str(folder / process.address)
        process.metrics = None
        if "--metrics" in args:
            process.metrics = parse_address(log_until(process, "metrics at ").splitlines()[-1].rpartition(" at ")[2])
        return process

    yield start
    for process in started:
        left = children(process.pid)
        process.kill()
        process.wait()
        eventually(lambda left=left: not any(map(alive, left)), "workers without a supervisor end")


def children(pid):
    """The processes that a process has started, in any thread, and has not waited for."""
    found = set()
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found |= {int(child) for child in file.read().split()}
    return found


def connect(process, **options):
    return open_connection(process.place, "alice", ALICE, **options)


def ask(process, message="who"):
    with connect(process) as connection:
        return connection.request(message)


def spread(process, pids, stack):
    """A connection to each of these processes."""
    found = {}

    def there():
        connection = stack.enter_context(connect(process))
        found.setdefault(connection.request("who"), connection)
        return set(found) >= set(pids)

    eventually(there, "each process gets a connection")
    return found


def replaced(process):
    """Have new processes take over. Returns the numbers of the old ones."""
    old = children(process.pid)
    process.send_signal(signal.SIGHUP)
    log_until(process, "have taken over")
    return old


# What is shared.


@pytest.mark.parametrize("address", ["127.0.0.1:0", "s"])
def test_each_process_serves_and_the_socket_is_one(several, folder, address):
    process = several(address)
    pids = children(process.pid)
    assert len(pids) == 2
    with contextlib.ExitStack() as stack:
        assert set(spread(process, pids, stack)) == pids
    assert stop(process)[0] == 0
    assert not any(map(alive, pids))
    assert "s" not in os.listdir(folder)


def test_a_hello_that_one_process_has_seen_is_refused_by_the_others(several):
    process = several(processes=3)
    address = parse_address(process.place)
    session_key = bytes(32)
    said = hello("alice", ALICE, session_key)
    answers = []
    with contextlib.ExitStack() as stack:
        spread(process, children(process.pid), stack)
        for _ in range(9):  # more than there are processes, so that others get some of them
            peer = RawPeer.connect(address)
            stack.callback(peer.close)
            peer.send(said)
            peer.begin(session_key)
            peer.send_message(b'(request 0 "who")')
            try:
                answers.append(peer.receive())
            except (EOFError, ConnectionResetError):
                answers.append(b"")
    assert answers[0].startswith(b"(response 0 ")
    assert answers[1:] == [b""] * 8
    told = set(re.findall(r"worker (\d): .*hello_replay", stop(process)[1]))
    assert len(told) > 1, "only one process has seen any of the nine"


def test_connections_of_an_address_are_counted_over_all_processes(several):
    process = several("127.0.0.1:0", "--limit", "connections-per-address=4", "--metrics", "127.0.0.1:0", processes=2)
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(connect(process)) for _ in range(4)]
        assert len({connection.request("who") for connection in first}) == 2
        for _ in range(4):
            with pytest.raises(ConnectionClosed):
                ask(process)
        assert scrape(process.metrics)["bokbok_refused_total[('kind', 'connections_per_address')]"] == 4
        first[0].close()
        eventually(lambda: answers(process), "there is room again")


def answers(process):
    with contextlib.suppress(ConnectionClosed):
        return ask(process)
    return None


def test_connections_of_a_user_are_counted_over_all_processes(several):
    process = several("s", "--limit", "connections-per-user=2", processes=2)
    with connect(process) as one, connect(process) as other:
        assert one.request("who") != other.request("who")
        for _ in range(4):
            with pytest.raises(ConnectionClosed):
                ask(process)
    log = stop(process)[1]
    assert "refused: 2 connections of this user are there already" in log


def test_a_source_that_one_process_has_refused_too_often_is_refused_by_all(several):
    process = several("127.0.0.1:0", "--limit", "penalty=100", "--limit", "penalty-from=100", processes=2)
    with (
        pytest.raises(ConnectionClosed),
        open_connection(process.place, "alice", passphrase_to_key("wrong")) as connection,
    ):
        connection.request("who")
    eventually(lambda: answers(process) is None, "the penalty is in force")
    assert [answers(process) for _ in range(6)] == [None] * 6
    log = stop(process)[1]
    assert "a connection from 127.0.0.1 is refused: this source was refused too often" in log


def test_a_full_server_has_further_ones_wait_whichever_process_has_room(several):
    process = several("s", "--limit", "connections=2", processes=2)
    with connect(process) as one, connect(process) as other:
        pids = {one.request("who"), other.request("who")}
        with connect(process) as waiting:
            done = threading.Event()
            found = []

            def request():
                found.append(waiting.request("who"))
                done.set()

            thread = threading.Thread(target=request)
            thread.start()
            log_until(process, "2 connections are there; further ones wait")
            assert not done.is_set()
            one.close()
            thread.join(SOON)
            assert found[0] in pids


def test_prometheus_is_told_sums_and_they_outlive_a_process(several):
    process = several("127.0.0.1:0", "--metrics", "127.0.0.1:0", processes=2)
    pids = children(process.pid)
    with contextlib.ExitStack() as stack:
        found = spread(process, pids, stack)
        before = scrape(process.metrics)
        assert before["bokbok_processes"] == 2
        assert before["bokbok_connections"] >= 2
        assert before["bokbok_handled_total"] == before["bokbok_accepted_total"] >= 2
        with pytest.raises(ConnectionClosed):
            found[min(pids)].request("die")
        log_until(process, "has died")
        after = scrape(process.metrics)
        assert after["bokbok_died_total"] == 1
        assert after["bokbok_handled_total"] >= before["bokbok_handled_total"]
        assert after["bokbok_accepted_total"] == before["bokbok_accepted_total"]


def test_limits_that_cannot_be_divided_are_wrong_usage(finished, folder):
    result = finished("serve", "s", "--processes", "4", "--limit", "server-running=7", cwd=folder)
    assert result.status == Status.USAGE
    assert "limit server-running: expected at least 8, two for each of 4 processes, got 7" in result.err
    assert "s" not in os.listdir(folder)


def test_slots_are_divided(several):
    process = several("s", "--limit", "server-running=4", "--limit", "drain-timeout=0.1", processes=2)
    pids = children(process.pid)
    asked = threading.Semaphore(0)
    release = threading.Event()

    def on_request(connection, message):
        asked.release()
        release.wait()

    with contextlib.ExitStack() as stack:
        found = spread(process, pids, stack)
        stack.callback(release.set)
        stay = [threading.Thread(target=_ended, args=(found[pid], "stay"), daemon=True) for pid in pids for _ in "123"]
        for thread in stay:
            thread.start()
        place = found[min(pids)]
        with pytest.raises(TimeoutError):  # both slots of this process are taken, and the third request waits
            place.request("who", timeout=0.5)


def _ended(connection, message):
    with contextlib.suppress(ConnectionClosed):
        connection.request(message)


# A process that dies.


def test_a_process_that_is_killed_takes_only_its_connections_and_is_replaced(several):
    process = several(processes=2)
    pids = children(process.pid)
    with contextlib.ExitStack() as stack:
        found = spread(process, pids, stack)
        victim, other = sorted(pids)
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            found[victim].request("who")
        assert found[other].request("who") == other
        line = log_until(process, "has died").splitlines()[-1]
        assert re.search(DIED, line)[2] == str(victim)
        assert "SIGKILL" in line
        eventually(lambda: len(children(process.pid)) == 2, "another one is started")
        (new,) = children(process.pid) - pids
        eventually(lambda: ask(process) == new, "it serves")


def test_nothing_of_a_process_that_was_killed_goes_on_to_count(several):
    process = several("127.0.0.1:0", "--limit", "connections-per-address=2", processes=1)
    with connect(process) as one, connect(process) as other:
        pid = one.request("who")
        assert other.request("who") == pid
        os.kill(pid, signal.SIGKILL)
        log_until(process, "has died")
    with connect(process) as one, connect(process) as other:
        assert one.request("who") == other.request("who") != pid


def test_one_that_dies_again_and_again_is_started_later_and_later(several, folder):
    process = several(processes=1)
    (folder / "mine.py").write_text("1 / 0\n")
    os.kill(*children(process.pid), signal.SIGKILL)
    log = log_until(process, "another one is started in 0.4 s")
    assert re.findall(r"has died: (.*); another one is started in (.*) s", log) == [
        ("it has ended with SIGKILL", "0.1"),
        *((problem, pause) for pause in ("0.2", "0.4") for problem in [_problem(log)]),
    ]
    assert stop(process)[0] == 0


def _problem(log):
    return re.search(r"has died: (Invalid value.*ZeroDivisionError.*?); another", log)[1]


def test_workers_without_a_supervisor_end(several):
    process = several()
    pids = children(process.pid)
    process.kill()
    process.wait()
    eventually(lambda: not any(map(alive, pids)), "they end")
    with pytest.raises(ConnectFailed):
        ask(process)


# Restarts.


@pytest.mark.parametrize("address", ["127.0.0.1:0", "s"])
def test_a_restart_under_traffic_loses_no_request(several, address):
    process = several(address, processes=2)
    over = threading.Event()
    problems, seen = [], set()
    counts = [0, 0, 0, 0]

    def new_ones(place):
        try:
            while not over.is_set():
                seen.add(ask(process))
                counts[place] += 1
        except Exception as error:
            problems.append(error)

    def one_that_stays(place):
        try:
            with connect(process) as connection:
                while not over.is_set():
                    seen.add(connection.request("who"))
                    counts[place] += 1
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=(new_ones, one_that_stays)[n % 2], args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: all(counts) or problems, "all of them ask")
        old = replaced(process)
        new = children(process.pid) - old
        assert len(new) == 2
        eventually(lambda: seen & new or problems, "new processes answer")
        before = counts[:]
        eventually(lambda: all(b > a for a, b in zip(before, counts, strict=True)) or problems, "all of them go on")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert problems == []
    eventually(lambda: children(process.pid) == new, "the old ones end once nobody is connected to them")
    assert stop(process)[0] == 0


def test_after_the_time_for_it_old_processes_answer_what_runs_and_end(several):
    process = several("s", "--retire-timeout", "0.1", processes=1)
    asked, release = threading.Event(), threading.Event()

    def on_request(connection, message):
        asked.set()
        release.wait()

    with connect(process, on_request=on_request) as connection:
        (old,) = children(process.pid)
        found = []
        thread = threading.Thread(target=lambda: found.append(connection.request("slow")))
        thread.start()
        asked.wait()
        assert replaced(process) == {old}
        assert ask(process) != old
        eventually(lambda: _refused(connection), "the old process stops")
        release.set()
        thread.join()
        assert found == [old]
    eventually(lambda: not alive(old), "it ends")


def _refused(connection):
    """Whether a connection's server says that it stops: then its answer is an error."""
    try:
        connection.request("who")
    except Exception as error:
        return "stopping" in str(error)
    return False


def test_users_and_limits_are_read_again(several, folder):
    process = several("s", processes=2)
    with connect(process) as connection:
        connection.request("who")
        (folder / "users.toml").write_text('bob = "bob\'s passphrase"\n')
        replaced(process)
        log_until(process, "user 'alice' was taken out of the users file: 1 of its connections closed")
        with pytest.raises(ConnectionClosed):
            connection.request("who")
    with open_connection(process.place, "bob", passphrase_to_key("bob's passphrase")) as connection:
        assert connection.request("who") in children(process.pid)
    with pytest.raises(ConnectionClosed):
        ask(process)


@pytest.mark.parametrize("broken", ["users.toml", "mine.py"])
def test_what_cannot_be_used_again_changes_nothing(several, folder, broken):
    process = several("s", processes=2)
    pids = children(process.pid)
    (folder / broken).write_text("=")
    process.send_signal(signal.SIGHUP)
    log_until(process, "nothing has changed: " if broken == "users.toml" else "the processes go on as before: ")
    eventually(lambda: children(process.pid) == pids, "the old ones are there, and no others")
    assert ask(process) in pids


# The end.


def test_sigterm_drains_all_and_what_runs_is_answered(several):
    process = several("s", processes=2)
    pids = children(process.pid)
    started, release, found = threading.Semaphore(0), threading.Event(), []

    def on_request(connection, message):
        started.release()
        release.wait()

    with contextlib.ExitStack() as stack:
        both = []
        eventually(
            lambda: (
                both.append(stack.enter_context(connect(process, on_request=on_request)))
                or {connection.request("who") for connection in both} == pids
            ),
            "each process has one",
        )
        threads = [threading.Thread(target=lambda one=one: found.append(one.request("slow"))) for one in both]
        for thread in threads:
            thread.start()
            started.acquire()
        process.send_signal(signal.SIGTERM)
        log_until(process, "stopping")
        eventually(lambda: _cannot_connect(process), "nobody can connect any more")
        assert process.poll() is None
        release.set()
        for thread in threads:
            thread.join()
        assert len(found) == len(both)
        assert process.wait() == 0


def _cannot_connect(process):
    try:
        connect(process).close()
    except ConnectFailed:
        return True
    return False


def test_handlers_that_go_on_end_it_with_a_status_of_its_own(several):
    process = several("s", "--limit", "drain-timeout=0.1", processes=2)
    with connect(process) as connection:
        with pytest.raises(TimeoutError):
            connection.request("stay", timeout=0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == Status.UNFINISHED
    log = process.stderr.read().decode()
    assert "goes on all the same: <bokbok.sync.Connection" in log
    assert log.endswith("unfinished: handlers of 1 connections went on after the drain-timeout\n")


def test_a_second_signal_ends_all_at_once(several):
    process = several("s", processes=2)
    pids = children(process.pid)
    with connect(process) as connection:
        with pytest.raises(TimeoutError):
            connection.request("stay", timeout=0.3)
        process.send_signal(signal.SIGTERM)
        log_until(process, "stopping")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        eventually(lambda: not any(map(alive, pids)), "no worker is left")


def test_a_handler_that_cannot_be_loaded_is_wrong_usage(finished, folder):
    result = finished("serve", "s", "--handler", "no_such_module:f", "--processes", "2", cwd=folder)
    assert result.status == Status.USAGE
    assert "module 'no_such_module' was not found" in result.err
    assert "Traceback" not in result.err
    assert "s" not in os.listdir(folder)


# Secrets.


def test_secrets_stand_in_no_list_of_processes_and_no_log(several):
    process = several("s", "--verbose", processes=2)
    ask(process)
    secrets = {b"alice's passphrase", ALICE.to_bytes(), ALICE.to_bytes().hex().encode()}
    shown = b""
    for pid in (process.pid, *children(process.pid)):
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                shown += file.read()
    assert b"bokbok.processes" in shown
    shown += stop(process)[1].encode()
    assert b"opened: " in shown
    assert not any(secret in shown for secret in secrets)


# Sockets of systemd.

_ACTIVATE = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='x')\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


def activated(listener, *args, folder):
    """`bokbok serve --systemd` with a descriptor of ours, passed as systemd would pass it."""
    return subprocess.Popen(
        [sys.executable, "-c", _ACTIVATE, str(listener.fileno()), *COMMAND, "serve", "--systemd", *map(str, args)],
        pass_fds=(listener.fileno(),),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    )


@pytest.fixture
def bound(folder):
    """Listening sockets, TCP and Unix, that are not bokbok's."""
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(str(folder / "s"))
        for sock in (tcp, unix):
            sock.listen()
        yield {"tcp": tcp, "unix": unix}


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_socket_is_systemds_and_outlives_the_server(folder, bound, kind, options):
    listener = bound[kind]
    options = ("--handler", "mine:answer", "--users", "users.toml", *options)
    # Clients that connect while there is no server wait in the socket that systemd keeps.
    place = str(folder / "s") if kind == "unix" else f"127.0.0.1:{listener.getsockname()[1]}"
    for _ in range(2):
        with open_connection(place, "alice", ALICE) as connection:
            process = activated(listener, *options, folder=folder)
            try:
                assert os.fsdecode(process.stdout.readline()) == f"{place}\n", process.stderr.read()
                expected = children(process.pid) or {process.pid}
                assert connection.request("who") in expected
                process.send_signal(signal.SIGTERM)
                assert process.wait() == 0
            finally:
                process.kill()
                process.communicate()
    assert os.path.exists(folder / "s")


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd is not installed")
def test_systemds_own_tool_hands_over_a_socket(folder):
    place = folder / "activated"
    command = [*COMMAND, "serve", "--systemd", "--handler", "mine:answer", "--users", "users.toml", "--processes", "2"]
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", place, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    )
    try:
        eventually(place.exists, "the socket is there, and the server is not")
        with open_connection(str(place), "alice", ALICE) as connection:
            assert connection.request("who") in children(process.pid)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        assert out == b"%b\n" % os.fsencode(place)
        assert (process.returncode, err.endswith(b"INFO stopped\n")) == (0, True)
    finally:
        process.kill()
        process.communicate()


def test_what_systemd_has_not_handed_over_is_wrong_usage(finished, folder, bound):
    result = finished("serve", "--systemd", env={**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert result.status == Status.USAGE
    assert "--systemd: systemd has not handed over a socket" in result.err
    with socket.socket() as deaf:
        process = activated(deaf, folder=folder)
        _, err = process.communicate()
    assert process.returncode == Status.USAGE
    assert b"descriptor 3: expected a listening stream socket" in err


def test_an_address_and_systemd_are_one_too_many(bokbok):
    for args in (("s", "--systemd"), ()):
        result = bokbok("serve", *args)
        assert result.status == Status.USAGE
        assert "Give ADDRESS, or --systemd and no ADDRESS." in result.err
