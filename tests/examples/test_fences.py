"""Every example of the pages is played or checked. Those that are not played are on a list, with the reason.

`test_docs.py` plays `python`, `console` and files. Fences `sh` are played here, some with options that make them
shorter, or by `tests/meet/test_by_hand.py`. The others, and `yaml`, are for other places (a shell with network, a CI
system, Prometheus), so each of their commands and keys is compared with what it configures.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from bokbok import passphrase_to_key, service, start_server, write_key_file
from bokbok._front.statistics import REFUSALS
from bokbok.cli._metrics import _Statistics
from tests.support.command_lines import command_lines, problem, simple_commands
from tests.support.pages import blocks

ROOT = Path(__file__).parents[2]
_LISTED = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
).stdout.split()
PAGES = [name for name in _LISTED if "documents/" not in name and not name.startswith(("tests/", "changes/"))]

NOT_PLAYED = {
    ("README.md", "make interop"): "these two commands are what everything else is about",
    ("docs/calibrating.md", "make real-egg"): "needs the real egg",
    ("docs/calibrating.md", "docker build"): "needs the real egg",
    ("docs/howto/ci.md", "on: [push"): "for a CI system",
    ("docs/howto/ci.md", "steps:"): "for a CI system",
    ("docs/howto/ci.md", "tools/check-peer"): "installs packages from an index",
    ("docs/howto/your-implementation.md", "bokbok-interop check docker:"): "needs an image of yours",
    ("docs/native.md", "pip install"): "installs packages from an index",
    ("docs/operating.md", "- alert:"): "for Prometheus",
    ("docs/tutorial/service.md", "python3 -m venv"): "installs packages from an index; tools/check-release does that",
    ("docs/tutorial/tested.md", "pip install"): "installs packages from an index",
}
"""Page and the beginning of the fence."""

CELL = ("--case", "request.echo", "--transport", "unix", "--security", "insecure", "--peers", "python-sync")
ERRORS = ("--chapter", "errors")
PLAYED: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("CONTRIBUTING.md", "bokbok-interop run --case CHAPTER.CASE"): {"run": CELL[2:]},
    ("README.md", "bokbok call localhost:8000"): {"check": ERRORS},
    ("docs/howto/chicken4-service.md", "bokbok-interop calibrate probe"): {},
    ("docs/howto/ci.md", "pip install"): {"pytest": ("--bokbok-case", "request.echo")},
    ("docs/howto/ci.md", "bokbok-interop check"): {"check": ERRORS},
    ("docs/howto/ci.md", "bokbok-interop run"): {"run": CELL},
    ("docs/howto/your-implementation.md", "bokbok-interop check ./my-puppet --chapter connect"): {},
    ("docs/howto/your-implementation.md", "bokbok-interop run"): {"run": CELL},
    ("docs/topics/calibration.md", "python bench/calibrate.py"): {"python": ("--count", "1")},
}
"""Played by the test below, with more options for a command, so that less is played: a whole matrix takes minutes."""

BY_STAND_IN = {
    ("docs/calibrating.md", "(umask 077"),
    ("docs/calibrating.md", "$egg service-server"),
    ("docs/calibrating.md", "bokbok call"),
}
"""Played by `tests/meet/test_by_hand.py`, with a stand-in for the real egg."""


def _fences(*languages: str) -> list[tuple[str, str]]:
    return [
        (name, block.text)
        for name in PAGES
        for block in blocks((ROOT / name).read_text(encoding="utf-8"))
        if block.language in languages and not block.file
    ]


def test_what_is_not_played_is_on_the_list_and_nothing_else():
    seen = set()
    for name, text in _fences("sh", "yaml"):
        known = [key for key in (*NOT_PLAYED, *PLAYED, *BY_STAND_IN) if key[0] == name and text.startswith(key[1])]
        assert known, f"{name}: {text[:60]!r}"
        seen.add(known[-1])
    assert seen == {*NOT_PLAYED, *PLAYED, *BY_STAND_IN}


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
    makefile = (ROOT / "Makefile").read_text()
    plugin = (ROOT / "interop" / "bokbok_interop" / "pytest_plugin.py").read_text()
    for name, text in _fences("sh"):
        for words in simple_commands(text):
            what = f"{name}: {' '.join(words)}"
            match words:
                case ["make", target, *_]:
                    assert re.search(rf"^{target}:", makefile, re.MULTILINE), what
                case ["python", script, *_] if script.endswith(".py"):
                    assert (ROOT / script).is_file(), what
                case [program, *_] if "/" in program and not program.startswith(("~", ".", "$")):
                    assert (ROOT / program).is_file(), what
                case ["pytest", *arguments]:
                    for option in arguments:
                        assert not option.startswith("--bokbok") or f'"{option}"' in plugin, what


def _workflow(text: str) -> dict[str, object]:
    found: dict[str, object] = yaml.load(text, Loader=yaml.BaseLoader)  # its keys are texts: `on` is not a boolean
    return found


def test_a_ci_system_would_take_the_steps_for_it():
    inputs = {"action.yml": _workflow((ROOT / "action.yml").read_text())["inputs"]}
    path = ".github/workflows/check-peer.yml"
    inputs[path] = _workflow((ROOT / path).read_text())["on"]["workflow_call"]["inputs"]
    used = []
    for name, text in _fences("yaml"):
        if not name.endswith("ci.md"):
            continue
        page = _workflow(text)
        for step in (*page.get("jobs", {}).values(), *page.get("steps", ())):
            if step.get("uses", "").startswith("OWNER/bokbok"):
                file = step["uses"].removeprefix("OWNER/bokbok").rpartition("@")[0].strip("/") or "action.yml"
                used.append(file)
                assert set(step["with"]) <= set(inputs[file])
                assert {key for key, one in inputs[file].items() if one.get("required") == "true"} <= set(step["with"])
    assert sorted(used) == sorted(inputs)


def test_prometheus_would_find_what_the_alerts_ask_for(tmp_path):
    registry = CollectorRegistry()
    with start_server(str(tmp_path / "s")) as server:
        registry.register(_Statistics(server.statistics))
        exposed = {line.split("{")[0].split(" ")[0] for line in generate_latest(registry).decode().splitlines()}
    (rules,) = (text for name, text in _fences("yaml") if name.endswith("operating.md"))
    for rule in yaml.safe_load(rules):
        assert set(re.findall(r"bokbok_\w+", rule["expr"])) <= exposed
        assert set(re.findall(r'kind="(\w+)"', rule["expr"])) <= set(REFUSALS)


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
        if words[:2] == ["pip", "install"]:
            continue
        command = [reader.get(word, word) for word in words]
        for word, more in PLAYED[known].items():
            command += more * (word in words)
        here = any((ROOT / word).is_file() for word in words if "/" in word and word.endswith(".py"))
        done = subprocess.run(
            command,
            cwd=ROOT if here else tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
