"""Calls that the workers of a real scheduler on this machine do."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bokbok_workers.where import Where, WorkersError
from tests.support.clusters import Cluster, hanging, patched
from tests.support.leaks import eventually

pytest.importorskip("distributed", reason="the extra `fleet` is not installed")

from bokbok_workers import workers as module
from bokbok_workers.workers import Workers

PACKAGES = ("bokbok", "bokbok_workers")


def add(a: int, b: int) -> int:
    return a + b


def fail(secret: str) -> None:
    raise ZeroDivisionError(f"no {len(secret)}")


def note(folder: str, number: int) -> int:
    Path(folder, str(number)).touch()
    return number


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with contextlib.closing(Workers(Where(workers=2), PACKAGES)) as made:
        yield made


def test_results_come_in_order(workers: Workers) -> None:
    assert list(workers.ahead(add, ((n, 1) for n in range(50)))) == list(range(1, 51))


def test_two_commands_have_processes_of_their_own_at_the_same_time(workers: Workers) -> None:
    # Dask warns, which is an error here, if both want the same port.
    with contextlib.closing(Workers(Where(workers=1), PACKAGES)) as others:
        assert others.submit(add, 1, 2).result(30) == workers.submit(add, 1, 2).result(30) == 3


def test_an_error_of_a_call_comes_with_its_result(workers: Workers) -> None:
    with pytest.raises(ZeroDivisionError, match="no 6"):
        next(workers.ahead(fail, [("secret",)]))


def test_only_so_many_calls_are_ahead_of_what_is_asked_for(workers: Workers, tmp_path: Path) -> None:
    results = workers.ahead(note, ((str(tmp_path), n) for n in range(1000)))
    assert next(results) == 0
    results.close()
    assert len(list(tmp_path.iterdir())) <= workers.room


def test_a_wait_ends_when_its_caller_says_so(workers: Workers) -> None:
    begin = time.monotonic()

    def check() -> None:
        raise TimeoutError("enough")

    with pytest.raises(TimeoutError, match="enough"):
        next(workers.ahead(time.sleep, [(3.0,)], check))
    assert time.monotonic() - begin < 3


def test_arguments_are_not_shown() -> None:
    call = module._Call(PACKAGES, "0" * 64, fail, ("secret",))
    done = module._Done(result="secret")
    assert "secret" not in f"{call!r} {done!r}"


def test_a_scheduler_that_does_not_answer_is_said(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bokbok_workers.connection.CONNECT_SECONDS", 1.0)
    with pytest.raises(WorkersError, match=rf"the scheduler tcp://127.0.0.1:{unused_tcp_port}: it cannot be reached"):
        Workers(Where(f"tcp://127.0.0.1:{unused_tcp_port}"), PACKAGES)


def test_a_scheduler_without_workers_is_said(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bokbok_workers.connection.CONNECT_SECONDS", 1.0)
    with pytest.raises(WorkersError, match="no worker is connected to it"):
        Workers(Where(cluster.address), PACKAGES)


def test_a_call_of_a_worker_that_is_killed_is_done_by_another(cluster: Cluster, tmp_path: Path) -> None:
    first = cluster.worker(PYTHONPATH=hanging(tmp_path / "hanging"))
    with contextlib.closing(Workers(Where(cluster.address), PACKAGES)) as workers:
        future = workers.submit(add, 1, 2)
        eventually((tmp_path / "hanging" / "begun").exists, "it is under way")
        cluster.worker(PYTHONPATH=os.pathsep.join(sys.path))
        first.kill()
        assert future.result(30) == 3


def test_where_no_worker_is_left_a_call_fails(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    monkeypatch.setattr(module, "RECOUNT", 0.3)
    only = cluster.worker(PYTHONPATH=hanging(tmp_path / "hanging"))
    with contextlib.closing(Workers(Where(cluster.address), PACKAGES)) as workers:
        future = workers.submit(add, 1, 2)
        eventually((tmp_path / "hanging" / "begun").exists, "it is under way")
        only.kill()
        with pytest.raises(WorkersError, match="no worker of the scheduler is left"):
            future.result(30)


def test_a_worker_with_another_version_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    code = "from bokbok_workers import workers\nworkers.source_digest = lambda *_: '0' * 64\n"
    cluster.worker(PYTHONPATH=patched(tmp_path / "other", code))
    with (
        contextlib.closing(Workers(Where(cluster.address), PACKAGES)) as workers,
        pytest.raises(WorkersError, match=r"the worker tcp://\S+ has another version of the code \(000000000000, here"),
    ):
        workers.submit(add, 1, 2).result(30)
