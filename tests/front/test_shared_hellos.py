"""A memory of hellos that several servers share: a replay is refused everywhere; and what happens without the
memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from bokbok import Guards
from bokbok.hellos import AsyncRedisHellos, RedisHellos
from tests.support.peers import KEY, SOON, USERS, RawPeer, hello
from tests.support.redis_server import RedisServer, needs_redis


def shared(front: Any, remember: Callable[[bytes], bool]) -> Any:
    """A memory in the shape of the front end, which may block."""

    class Memory:
        if front.name == "sync":

            def remember(self, digest: bytes) -> bool:
                return remember(digest)
        else:

            async def remember(self, digest: bytes) -> bool:
                return await asyncio.to_thread(remember, digest)

    return Memory()


def opened(peer: RawPeer, session_key: bytes, said: bytes) -> bool:
    """Say hello. Returns whether a request is answered afterwards."""
    peer.send(said)
    peer.begin(session_key)
    peer.send_message(b"(request 0 1)")
    try:
        return peer.receive() == b"(response 0 1)"
    except (EOFError, ConnectionResetError):
        return False


def test_a_hello_is_refused_that_another_server_has_seen(front: Any, serve: Any, raw: Any, caplog: Any) -> None:
    seen: set[bytes] = set()
    lock = threading.Lock()

    def remember(digest: bytes) -> bool:
        assert len(digest) == 32
        with lock:
            new = digest not in seen
            seen.add(digest)
            return new

    servers = [serve(user_to_key=USERS.get, shared_hellos=shared(front, remember)) for _ in range(2)]
    session_key = os.urandom(32)
    said = hello("myuser", KEY, session_key)
    assert opened(raw(servers[0]), session_key, said)
    assert not opened(raw(servers[1]), session_key, said)
    assert "the hello is a copy" in caplog.text
    assert len(seen) == 1


def test_a_hello_that_does_not_open_is_not_asked_for(front: Any, serve: Any, raw: Any) -> None:
    asked: list[bytes] = []
    server = serve(user_to_key=USERS.get, shared_hellos=shared(front, lambda digest: not asked.append(digest)))
    assert not opened(raw(server), bytes(32), hello("stranger", KEY, bytes(32)))
    assert not opened(raw(server), bytes(32), hello("another", KEY, bytes(32)))
    assert asked == []


def test_a_hello_waits_for_the_memory_and_nobody_else_does(front: Any, serve: Any, raw: Any, spawn: Any) -> None:
    first, gate, asked = threading.Event(), threading.Event(), threading.Event()

    def remember(digest: bytes) -> bool:
        if not first.is_set():
            first.set()
            asked.set()
            assert gate.wait(SOON)
        return True

    server = serve(user_to_key=USERS.get, shared_hellos=shared(front, remember))
    waiting = spawn(opened, raw(server), bytes(32), hello("myuser", KEY, bytes(32)))
    assert asked.wait(SOON)
    session_key = os.urandom(32)
    assert opened(raw(server), session_key, hello("myuser", KEY, session_key))
    assert not waiting.done()
    gate.set()
    assert waiting.result(SOON)


def test_a_memory_that_fails_refuses_and_is_logged(front: Any, serve: Any, raw: Any, caplog: Any) -> None:
    def fail(digest: bytes) -> bool:
        raise ConnectionError("nobody knows")

    server = serve(user_to_key=USERS.get, shared_hellos=shared(front, fail))
    assert not opened(raw(server), bytes(32), hello("myuser", KEY, bytes(32)))
    assert "the shared memory of hellos failed" in caplog.text
    assert "nobody knows" in caplog.text


def test_with_the_guard_off_nobody_is_asked(front: Any, serve: Any, raw: Any) -> None:
    server = serve(
        user_to_key=USERS.get, guards=Guards(hello_replay=False), shared_hellos=shared(front, lambda digest: False)
    )
    for _ in range(2):
        assert opened(raw(server), bytes(32), hello("myuser", KEY, bytes(32)))


# Redis.


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def memory(front: Any, redis_server: RedisServer) -> Iterator[Callable[..., Any]]:
    """The memory of the front end, in that Redis."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        if front.name == "sync":
            made.append(RedisHellos(redis_server.url, **options))
        else:

            async def on_the_loop() -> Any:
                return AsyncRedisHellos(redis_server.url, **options)

            made.append(front.run(on_the_loop()))
        return made[-1]

    yield make
    for each in made:
        if front.name == "sync":
            each.close()
        else:
            front.run(each.close())


@needs_redis
def test_a_hello_is_refused_by_every_server_with_the_same_redis(serve: Any, raw: Any, memory: Any) -> None:
    servers = [serve(user_to_key=USERS.get, shared_hellos=memory()) for _ in range(3)]
    session_key = os.urandom(32)
    said = hello("myuser", KEY, session_key)
    assert opened(raw(servers[0]), session_key, said)
    assert [opened(raw(server), session_key, said) for server in servers] == [False] * 3
    other = os.urandom(32)
    assert opened(raw(servers[1]), other, hello("myuser", KEY, other))


@needs_redis
def test_of_many_copies_at_once_one_passes(serve: Any, raw: Any, spawn: Any, memory: Any) -> None:
    servers = [serve(user_to_key=USERS.get, shared_hellos=memory()) for _ in range(4)]
    said = hello("myuser", KEY, bytes(32))
    trying = [spawn(opened, raw(server), bytes(32), said) for server in servers for _ in range(5)]
    assert sum(one.result(SOON) for one in trying) == 1


@needs_redis
def test_a_redis_that_starts_again_remembers(serve: Any, raw: Any, memory: Any, redis_server: RedisServer) -> None:
    servers = [serve(user_to_key=USERS.get, shared_hellos=memory()) for _ in range(2)]
    said = hello("myuser", KEY, bytes(32))
    assert opened(raw(servers[0]), bytes(32), said)
    redis_server.stop()
    redis_server.start()
    assert not opened(raw(servers[1]), bytes(32), said)
    other = os.urandom(32)
    assert opened(raw(servers[1]), other, hello("myuser", KEY, other))


@needs_redis
@pytest.mark.parametrize(("unreachable", "served"), [("refuse", False), ("serve", True)])
def test_without_redis_hellos_get_what_was_chosen(
    serve: Any, raw: Any, memory: Any, redis_server: RedisServer, caplog: Any, unreachable: str, served: bool
) -> None:
    server = serve(user_to_key=USERS.get, shared_hellos=memory(unreachable=unreachable))
    redis_server.stop()
    said = hello("myuser", KEY, bytes(32))
    assert opened(raw(server), bytes(32), said) is served
    assert ("cannot be reached" in caplog.text) is served
    assert ("the shared memory of hellos failed" in caplog.text) is not served
    # What this server has accepted itself it knows all the same.
    assert not opened(raw(server), bytes(32), said)


@needs_redis
def test_a_hello_is_forgotten_after_the_time_that_was_chosen(
    memory: Any, front: Any, redis_server: RedisServer
) -> None:
    def remember(each: Any, digest: bytes) -> Any:
        return each.remember(digest) if front.name == "sync" else front.run(each.remember(digest))

    kept, short = memory(prefix="kept:"), memory(prefix="short:", keep=1000.0)
    assert remember(kept, b"x" * 32)
    assert remember(short, b"x" * 32)  # another prefix is another memory
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        assert client.ttl(b"kept:" + b"x" * 32) == -1
        assert 0 < client.ttl(b"short:" + b"x" * 32) <= 1000


@pytest.mark.parametrize("kind", [RedisHellos, AsyncRedisHellos])
def test_what_cannot_be_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="unreachable: expected"):
        kind("redis://localhost", unreachable="perhaps")
    with pytest.raises(ValueError, match="keep: expected"):
        kind("redis://localhost", keep=0)


@pytest.mark.parametrize("kind", [RedisHellos, AsyncRedisHellos])
def test_a_password_is_not_shown(kind: Any) -> None:
    assert "hunter2" not in repr(kind("redis://user:hunter2@localhost"))
