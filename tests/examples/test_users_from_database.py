"""`examples/users_from_database.py`: users from SQLite, and from the test's own PostgreSQL; keys that replace
others."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bokbok import ConnectionClosed, Key, open_connection

EXAMPLE = Path(__file__).parents[2] / "examples" / "users_from_database.py"


def load():
    spec = importlib.util.spec_from_file_location("users_from_database", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load()


@pytest.fixture
def sqlite(tmp_path):
    """Where the database is."""
    return str(tmp_path / "users.db")


@pytest.fixture
def postgresql(tmp_path_factory):
    """The same for the test's own PostgreSQL, on a Unix socket."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs or not (programs[-1] / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    # PostgreSQL refuses to run as root.
    known = pwd.getpwnam("postgres") if not os.getuid() else None
    user = {"user": known.pw_uid, "group": known.pw_gid} if known is not None else {}
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/bokbok-postgresql-XXXXXX"], text=True, **user).strip())
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **user}
    server = None
    try:
        data = folder / "data"
        subprocess.run(
            [programs[-1] / "initdb", "-D", data, "-A", "trust", "-U", "test", "--no-sync"], check=True, **quiet
        )
        options = ["-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        server = subprocess.Popen([programs[-1] / "postgres", "-D", data, *options], **quiet)
        while subprocess.run([programs[-1] / "pg_isready", "-h", folder, "-q"], **quiet).returncode:
            assert server.poll() is None
            time.sleep(0.05)
        yield f"postgresql://test@/postgres?host={folder}"
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        shutil.rmtree(folder)


def command(where, *args):
    return subprocess.check_output([sys.executable, EXAMPLE, where, *args], text=True).strip()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_key_is_replaced_by_another(request, tmp_path, kind):
    where = request.getfixturevalue(kind)
    keys = [Key.from_hex(command(where, "add", name)) for name in ("alice", "alice", "bob")]
    assert len(set(keys)) == 3

    def who(key):
        with subprocess.Popen(
            [sys.executable, EXAMPLE, where, "serve", tmp_path / "s"], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stdout.readline()
                with open_connection(tmp_path / "s", "alice", key) as connection:
                    return connection.request("x")
            except ConnectionClosed:
                return None
            finally:
                server.terminate()

    assert [who(key) for key in keys] == [["alice", "x"], ["alice", "x"], None]
    command(where, "retire", "alice")
    assert [who(key) for key in keys] == [None, ["alice", "x"], None]
    if kind == "sqlite":
        assert os.stat(where).st_mode & 0o077 == 0


class Slow:
    """A database that counts queries, and answers once it is allowed to."""

    def __init__(self):
        self.asked = []
        self.gate = asyncio.Event()
        self.problem = None

    async def run(self, statement, *values):
        self.asked.append(values[0])
        await self.gate.wait()
        if self.problem:
            raise self.problem
        return [("00" * 32,)] if values[0] == "alice" else []


def made():
    now = [0.0]
    database = Slow()
    return example.Users(database, lambda: now[0]).user_to_key, database, now


async def test_look_ups_that_come_at_once_share_one_and_are_kept_for_a_while():
    look_up, database, now = made()
    both = [asyncio.ensure_future(look_up("alice")) for _ in range(2)]
    await asyncio.sleep(0)
    database.gate.set()
    assert await both[0] == await both[1] == [Key.from_hex("00" * 32)]
    now[0] = example.FRESH - 1
    await look_up("alice")
    assert database.asked == ["alice"]
    now[0] = example.FRESH
    await look_up("alice")
    assert database.asked == ["alice", "alice"]


async def test_who_gives_up_does_not_do_so_for_others():
    look_up, database, _ = made()
    first, second = (asyncio.ensure_future(look_up("alice")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    database.gate.set()
    assert len(await second) == 1


async def test_unknown_names_are_kept_like_others_and_there_is_a_bound(monkeypatch):
    monkeypatch.setattr(example, "MOST_KEPT", 2)
    look_up, database, _ = made()
    database.gate.set()
    for name in ("a", "b", "b", "c", "a"):
        assert await look_up(name) == []
    assert database.asked == ["a", "b", "c", "a"]


async def test_a_failure_is_not_kept():
    look_up, database, _ = made()
    database.gate.set()
    database.problem = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await look_up("alice")
    database.problem = None
    assert len(await look_up("alice")) == 1


@pytest.mark.parametrize("name", ["\udcff", "a\0b"])
async def test_a_name_that_no_database_holds_is_not_asked_for(name):
    look_up, database, _ = made()
    assert await look_up(name) == []
    assert database.asked == []
