"""Every example of the pages is played, each by the test that is named here.

`test_docs.py` plays `python`, `console` and files of the pages that it follows. Fences `sh` are played here, some with
options that make them shorter. What installs something, or is for a CI system, is played by `test_installing.py`. The
commands and keys of all are compared with what they configure, too.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from prometheus_client import CollectorRegistry, generate_latest

from bokbok import passphrase_to_key, service, start_server, write_key_file
from bokbok._front.statistics import REFUSALS
from bokbok.cli._metrics import _Statistics
from tests.examples import test_docs
from tests.support.command_lines import command_lines, problem, simple_commands
from tests.support.pages import blocks

ROOT = Path(__file__).parents[2]
_LISTED = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
).stdout.split()
PAGES = [name for name in _LISTED if "documents/" not in name and not name.startswith(("tests/", "changes/"))]

BY_CI = ("README.md", "make interop")
"""The two commands that everything else is about: `.ci/run` plays them on a clean checkout."""

ELSEWHERE = {
    ("chicken-reference/README.md", "build/chicken5/bokbok-server"): "chicken/test_examples.py",
    ("docs/calibrating.md", "make real-egg"): "examples/test_installing.py",
    ("docs/calibrating.md", "docker build"): "meet/test_by_hand.py",
    ("docs/calibrating.md", "(umask 077"): "meet/test_by_hand.py",
    ("docs/calibrating.md", "$egg service-server"): "meet/test_by_hand.py",
    ("docs/calibrating.md", "bokbok call"): "meet/test_by_hand.py",
    ("docs/howto/ci.md", "on: [push"): "examples/test_installing.py",
    ("docs/howto/ci.md", "steps:"): "examples/test_installing.py",
    ("docs/howto/ci.md", "tools/check-peer"): "examples/test_installing.py",
    ("docs/howto/ci.md", "pip install"): "examples/test_installing.py",
    ("docs/howto/your-implementation.md", "bokbok-interop check docker:"): "examples/test_installing.py",
    ("docs/native.md", "pip install"): "examples/test_installing.py",
    ("docs/operating.md", "- alert:"): "examples/test_fences.py",
    ("docs/tutorial/service.md", "python3 -m venv"): "examples/test_installing.py",
    ("docs/tutorial/tested.md", "pip install"): "examples/test_installing.py",
    ("interop/README.md", "pip install"): "examples/test_installing.py",
    ("interop/README.md", "bokbok-interop check docker:"): "examples/test_installing.py",
}
"""Page and the beginning of the fence, and the test that plays it. The real egg is a stand-in there."""

NOT_PLAYED = {
    ("chicken-reference/README.md", "cd chicken-reference"): "it downloads eggs from CHICKEN's server",
    ("chicken-reference/README.md", "apt-get install"): (
        "it changes the system; chicken/test_build.py plays `make install` into a repository of its own"
    ),
    ("chicken-reference/README.md", "build/chicken4-real-egg"): (
        "there is no real egg; meet/test_by_hand.py plays the programs, built for a stand-in"
    ),
    ("chicken-reference/README.md", "docker build"): "each image takes minutes; `make images` builds the first one",
    ("docs/cli.md", "tcpdump"): "only root can capture; cli/test_tap.py has the second command read a capture",
    ("interop/README.md", "bokbok-interop run --peers python-sync,"): (
        "it builds the images of all peers, for minutes; interop/test_docker.py plays peers in containers"
    ),
}
"""Page and the beginning of the fence, and why no test plays it."""

CELL = ("--case", "request.echo", "--transport", "unix", "--security", "insecure", "--peers", "python-sync")
ERRORS = ("--chapter", "errors")
PLAYED: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("CONTRIBUTING.md", "bokbok-interop run --case CHAPTER.CASE"): {"run": CELL[2:]},
    ("README.md", "bokbok call localhost:8000"): {"check": ERRORS},
    ("docs/howto/chicken4-service.md", "bokbok-interop calibrate probe"): {},
    ("docs/howto/ci.md", "bokbok-interop check"): {"check": ERRORS},
    ("docs/howto/ci.md", "bokbok-interop run"): {"run": CELL},
    ("docs/howto/your-implementation.md", "bokbok-interop check ./my-puppet --chapter connect"): {},
    ("docs/howto/your-implementation.md", "bokbok-interop run"): {"run": CELL},
    ("docs/topics/calibration.md", "python bench/calibrate.py"): {"python": ("--count", "1")},
    ("interop/README.md", "pytest --bokbok-peer"): {"pytest": ("--bokbok-case", "request.echo")},
    ("interop/examples/minimal/README.md", "bokbok-interop check"): {"check": CELL[:2]},
}
"""Played by the test below, with more options for a command, so that less is played: a whole matrix takes minutes."""

FOLLOWED = {
    "README.md",
    "docs/cli.md",
    "docs/operating.md",
    *(f"docs/{name}" for name in test_docs.PAGES),
    *(f"docs/howto/{name}.md" for name in test_docs.RECIPES),
    *(f"docs/tutorial/{name}.md" for name in test_docs.TUTORIAL),
}
BY_OTHERS = {
    "chicken-reference/README.md": "chicken/test_build.py",
    "docs/profiles.md": "wire/profile/test_own.py",
    "examples/README.md": "examples/test_demo.py",
}
"""Pages whose examples in other languages are played by a test of what they are about."""


def _fences(*languages: str) -> list[tuple[str, str]]:
    return [
        (name, block.text)
        for name in PAGES
        for block in blocks((ROOT / name).read_text(encoding="utf-8"))
        if block.language in languages and not block.file
    ]


SINGLE = {"sh", "yaml"}
"""Each fence of these languages has its own entry in a table above."""
BY_PAGE = {"python", "console", "scheme", "toml", "ebnf"}


def test_every_fence_has_a_test_that_plays_it():
    seen = set()
    known = {BY_CI, *ELSEWHERE, *NOT_PLAYED, *PLAYED}
    for name, text in _fences(*SINGLE):
        (key,) = (key for key in known if key[0] == name and text.startswith(key[1]))
        seen.add(key)
    assert seen == known
    for page in sorted({name for name, _ in _fences(*BY_PAGE)}):
        assert page in FOLLOWED or Path(page).name in (ROOT / "tests" / BY_OTHERS[page]).read_text(), page


@pytest.mark.parametrize("name", PAGES)
def test_no_example_is_hidden_from_the_tests(name):
    """As the site reads the page: no block that is only indented, no fence that `blocks` does not find, none without
    a language, and in fences `text` no command except in synopses."""
    page = (ROOT / name).read_text(encoding="utf-8")
    tokens = MarkdownIt().parse(page)
    assert [token.content for token in tokens if token.type == "code_block"] == []
    shown = [token for token in tokens if token.type == "fence" and not token.info.startswith("{")]
    found = blocks(page)
    assert [(token.info, token.content) for token in shown] == [(block.language, block.text) for block in found]
    for block in found:
        assert block.language in SINGLE | BY_PAGE or block.language == "text"
        if block.language == "text" and not block.file:
            for line in block.text.splitlines():
                assert not re.match(r"\$ |pip |python |bokbok(-interop)? (?!.*\[)", line), line


def test_a_test_elsewhere_names_the_fence():
    for (page, begin), test in ELSEWHERE.items():
        text = (ROOT / "tests" / test).read_text()
        assert begin in text, f"{page}: {begin}"
        assert Path(page).name in text or "tutorial" in page


def test_ci_plays_the_two_commands():
    (fence,) = (text for name, text in _fences("sh") if (name, text[: len(BY_CI[1])]) == BY_CI)
    ci = (ROOT / ".ci" / "run").read_text()
    for words in simple_commands(fence):
        assert re.search(rf"(?m)^{' '.join(words)}\b", ci)


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_would_take_the_command_lines_of_a_page(name):
    for words in command_lines((ROOT / name).read_text(encoding="utf-8")):
        assert problem(words) is None, " ".join(words)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("bokbok call --frob localhost:1", "No such option"),
        ("bokbok call", "missing argument"),
        ("bokbok bridge a b c", "unexpected arguments"),
        ("bokbok brew", "no command"),
        ("bokbok serve --no-guard everything a", "is not one of"),
        ("bokbok tap --frob - ", "No such option"),
        ("bokbok-interop calibrate probe --most many a", "valid integer"),
    ],
)
def test_a_wrong_command_line_is_found(line, what):
    assert what in (problem(line.split()) or "")


def test_other_programs_and_targets_are_there():
    plugin = (ROOT / "interop" / "bokbok_interop" / "pytest_plugin.py").read_text()
    for name, text in _fences("sh"):
        for words in simple_commands(text):
            what = f"{name}: {' '.join(words)}"
            folder = (ROOT / name).parent
            makefile = (folder if (folder / "Makefile").is_file() else ROOT) / "Makefile"
            match words:
                case ["make", target, *_]:
                    assert re.search(rf"^{target}:", makefile.read_text(), re.MULTILINE), what
                case ["python", script, *_] if script.endswith(".py"):
                    assert (ROOT / script).is_file(), what
                case [program, *_] if "/" in program and not program.startswith(("~", ".", "$", "build/")):
                    assert (ROOT / program).is_file(), what
                case ["pytest", *arguments]:
                    for option in arguments:
                        assert not option.startswith("--bokbok") or f'"{option}"' in plugin, what


def test_prometheus_would_find_what_the_alerts_ask_for(tmp_path):
    registry = CollectorRegistry()
    with start_server(str(tmp_path / "s")) as server:
        registry.register(_Statistics(server.statistics))
        exposed = {line.split("{")[0].split(" ")[0] for line in generate_latest(registry).decode().splitlines()}
    (rules,) = (text for name, text in _fences("yaml") if text.startswith("- alert:"))
    for rule in yaml.safe_load(rules):
        assert set(re.findall(r"bokbok_\w+", rule["expr"])) <= exposed
        assert set(re.findall(r'kind="(\w+)"', rule["expr"])) <= set(REFUSALS)


SERIES = {
    "bokbok_waiting": ("0 0 0 0 0 0 0 0 0 2 0", "3 3 3 3 3 3 3 3 3 3 3"),
    'bokbok_refused_total{kind="connections"}': ("4x10", "0 0 0 0 0 0 0 1 1 1 1"),
    'bokbok_refused_total{kind="hello"}': ("0+50x10", "0+70x10"),
}
"""For each alert, in their order: values a minute apart with which it stays silent, and with which it fires."""


@pytest.mark.parametrize("fires", [False, True])
def test_prometheus_alerts_when_it_should(tmp_path, fires):
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("there is no promtool here (it comes with prometheus)")
    (text,) = (text for name, text in _fences("yaml") if text.startswith("- alert:"))
    rules = yaml.safe_load(text)
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "page", "rules": rules}]}))
    expected = [re.findall(r'kind="(\w+)"', series) for series in SERIES]
    test = {
        "rule_files": ["rules.yml"],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values[fires]} for name, values in SERIES.items()],
                "alert_rule_test": [
                    {
                        "eval_time": "10m",
                        "alertname": rule["alert"],
                        "exp_alerts": [{"exp_labels": {"kind": kind[0]} if kind else {}}] if fires else [],
                    }
                    for rule, kind in zip(rules, expected, strict=True)
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder with what the fences use: a puppet, keys, a service; returns what stands for the names in the pages."""
    puppet = tmp_path / "my-puppet"
    example = ROOT / "interop" / "examples" / "minimal" / "puppet.py"
    puppet.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{example}"\n')
    puppet.chmod(0o755)
    key = passphrase_to_key("mypassphrase")
    write_key_file(tmp_path / "my.key", key)
    (tmp_path / "pass").touch(0o600)
    (tmp_path / "pass").write_text("mypassphrase")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    with start_server("localhost:0", service.handler(), user_to_key={"myuser": key}.get) as server:
        address = f"localhost:{server.address[2]}"
        yield {
            "CHAPTER.CASE": "request.echo",
            "MUTANT": "counts-from-one",
            "localhost:8000": address,
            "old.example:4444": address,
        }


@pytest.mark.timeout(900)
@pytest.mark.parametrize("known", PLAYED, ids=lambda known: f"{known[0]}, {known[1]}")
def test_a_fence_is_played(known, reader, tmp_path):
    (fence,) = (text for name, text in _fences("sh") if name == known[0] and text.startswith(known[1]))
    for words in simple_commands(fence):
        command = [reader.get(word, word) for word in words]
        for word, more in PLAYED[known].items():
            command += more * (word in words)
        files = [file for word in words for file in word.split() if "/" in file and file.endswith(".py")]
        here = any((ROOT / file).is_file() for file in files)
        done = subprocess.run(
            command,
            cwd=ROOT if here else tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
