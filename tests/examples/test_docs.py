"""The examples of `docs/`, page by page, from top to bottom. Each prints what the page says (`tests.support.pages`)."""

import os
from pathlib import Path

import pytest

from tests.support.needs import haproxy
from tests.support.pages import play

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = ("service", "secure", "callbacks", "tested")
PAGES = {"python.md": 11, "bridge.md": 1, "sexpr.md": 2}
"""Pages that print something, and how many examples each has at least."""
RECIPES = ("chicken4-service", "haproxy", "profile")


@pytest.mark.parametrize(("page", "least"), PAGES.items())
def test_every_example_prints_what_it_says(tmp_path, monkeypatch, page, least):
    monkeypatch.chdir(tmp_path)
    assert play(tmp_path, [DOCS / page]) >= least
    assert not list(tmp_path.iterdir())  # every socket's file is gone


def test_the_commands_print_what_the_page_says(tmp_path):
    assert play(tmp_path, [DOCS / "cli.md"], ports=[8000]) >= 2
    assert (tmp_path / "my.key").stat().st_mode & 0o077 == 0


def test_the_readme_prints_what_it_says(tmp_path):
    assert play(tmp_path, [DOCS.parent / "README.md"], ports=[8000]) == 1


@pytest.mark.parametrize("page", RECIPES)
def test_a_recipe_does_what_it_says(tmp_path, monkeypatch, page):
    if page == "haproxy":
        monkeypatch.setenv("PATH", f"{Path(haproxy()).parent}{os.pathsep}{os.environ['PATH']}")
    assert play(tmp_path, [DOCS / "howto" / f"{page}.md"], ports=[4444, 8000, 8001, 8002]) >= 3


@pytest.mark.timeout(300)  # some twenty processes, one after the other
def test_the_tutorial_does_what_it_says(tmp_path):
    assert play(tmp_path, [DOCS / "tutorial" / f"{name}.md" for name in TUTORIAL], ports=[8000, 8001]) >= 21
