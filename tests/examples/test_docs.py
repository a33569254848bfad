"""The examples of `docs/`, page by page, from top to bottom. Each prints what the page says (`tests.support.pages`)."""

import gc
import os
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis import Redis

from bokbok.cli._secrets import read_logins
from bokbok.wire import INFERRED_1
from tests.support.needs import haproxy
from tests.support.pages import play
from tests.support.redis_server import RedisServer, needs_redis

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = ("service", "secure", "callbacks", "tested")
PAGES = {"python.md": 11, "bridge.md": 1, "sexpr.md": 2}
"""Pages that print something, and how many examples each has at least."""
RECIPES = {"chicken4-service": 3, "haproxy": 4, "profile": 3}


@pytest.mark.parametrize(("page", "least"), PAGES.items())
def test_every_example_prints_what_it_says(tmp_path, monkeypatch, page, least):
    monkeypatch.chdir(tmp_path)
    assert play(tmp_path, [DOCS / page]) >= least
    assert not list(tmp_path.iterdir())  # every socket's file is gone


def test_the_commands_print_what_the_page_says(tmp_path):
    assert play(tmp_path, [DOCS / "cli.md"], ports=[4444, 4445, 8000, 8001, 8002, 8003, 8004]) >= 13
    assert (tmp_path / "my.key").stat().st_mode & 0o077 == 0
    (tmp_path / "my.key").rename(tmp_path / "guest.key")
    (tmp_path / "target-users.toml").chmod(0o600)
    logins = read_logins(str(tmp_path / "target-users.toml"), INFERRED_1)
    assert {user: there for user, (there, _) in logins.items()} == {
        "alice": "alice",
        "bob": "robert",
        "another user": "guest",
    }


@needs_redis
def test_a_server_runs_as_the_page_says(tmp_path):
    (tmp_path / "redis").mkdir()
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    thresholds = gc.get_threshold()
    try:
        page = DOCS / "operating.md"
        instead = {"/run/redis/redis.sock": str(redis.socket)}
        assert play(tmp_path, [page], ports=[8000, 8001, 8002], instead=instead) >= 10
        with closing(Redis.from_url(redis.url)) as client:
            assert client.dbsize() == 1  # the one hello
        newest, middle, oldest = thresholds
        assert gc.get_threshold() == (newest, middle, 100 * oldest)
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        redis.stop()


def test_the_readme_prints_what_it_says(tmp_path):
    assert play(tmp_path, [DOCS.parent / "README.md"], ports=[8000]) == 1


@pytest.mark.parametrize("page", RECIPES)
def test_a_recipe_does_what_it_says(tmp_path, monkeypatch, page):
    if page == "haproxy":
        monkeypatch.setenv("PATH", f"{Path(haproxy()).parent}{os.pathsep}{os.environ['PATH']}")
    assert play(tmp_path, [DOCS / "howto" / f"{page}.md"], ports=[4444, 8000, 8001, 8002]) >= RECIPES[page]


@pytest.mark.timeout(300)  # some twenty processes, one after the other
def test_the_tutorial_does_what_it_says(tmp_path, monkeypatch):
    with TemporaryDirectory() as own:
        # In the folder that all share, the page's pytest would also remove what others have left, which takes long.
        monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", own)
        assert play(tmp_path, [DOCS / "tutorial" / f"{name}.md" for name in TUTORIAL], ports=[8000, 8001]) >= 21
