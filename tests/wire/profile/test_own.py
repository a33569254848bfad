"""A user's own strategies: registered by a program, or from files that an option names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bokbok.errors import ProfileError
from bokbok.wire import Connection, get_profile, load_profile, register
from bokbok.wire.framing import Lines
from bokbok.wire.profile import LAYERS, _own, dump_profile, load_strategies, profile_schema, read_profile
from tests.support.strategies import PIECES, write_pieces


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: Any) -> Iterator[None]:
    """What a test registers is removed after it."""
    before = {table: dict(layer.strategies) for table, layer in LAYERS.items()}
    monkeypatch.setattr(_own, "_loaded", {})
    yield
    for table, layer in LAYERS.items():
        layer.strategies.clear()
        layer.strategies.update(before[table])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_pieces(tmp_path)
    return tmp_path


def test_the_one_of_the_documentation_is_spoken(files: Path) -> None:
    profile = load_profile(files / "pieces.toml", strategies=[files / "pieces.py"])
    assert profile.framing.words() == "pieces, size 200"
    client, server = Connection("client", profile=profile), Connection("server", profile=profile)
    client.request("x" * 1000)
    for byte in client.data_to_send():
        events = server.receive(bytes((byte,)))
    assert events[0].message == "x" * 1000  # type: ignore[union-attr]
    assert read_profile(dump_profile(profile)) == profile


@pytest.mark.parametrize("name", ["pieces", "pieces.py:Pieces", "subprocess:Popen"])
def test_a_profile_file_alone_runs_nothing(files: Path, name: str) -> None:
    path = files / "p.toml"
    path.write_text(f'bokbok-profile = 1\n[framing]\nstrategy = "{name}"\n')
    with pytest.raises(ProfileError, match=r"strategy: expected one of length, .*; got"):
        get_profile(path)


def test_a_file_that_was_run_is_not_run_again(files: Path) -> None:
    first = get_profile(files / "pieces.toml", strategies=[files / "pieces.py"])
    assert get_profile(files / "pieces.toml", strategies=[files / "pieces.py"]) == first


def test_the_schema_holds_it(files: Path) -> None:
    load_strategies([files / "pieces.py"])
    forms = profile_schema()["properties"]["framing"]["oneOf"]
    assert {"const": "pieces"} in [form["properties"]["strategy"] for form in forms]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("x = (", "SyntaxError"),
        ("x = 1", "registers no strategy"),
        (PIECES.replace('"framing"', '"framings"'), "unknown layer 'framings'; expected one of framing"),
        (PIECES.replace("(Framing)", ""), "Pieces: expected a class that derives from Framing"),
        (PIECES.replace("@dataclass(frozen=True)\n", ""), "Pieces: expected a dataclass"),
        (PIECES.replace('"pieces"', '"lines"'), "a strategy is called 'lines' already"),
        (
            PIECES.replace("def splitter", "def other"),
            "Pieces: expected the methods splitter, which Framing",
        ),
        (PIECES.replace('    strategy: ClassVar[str] = "pieces"\n', ""), "expected an attribute 'strategy'"),
        (PIECES.replace("size: int = key(255, Integer(1, 255))", "size: float = 2.5"), "nothing says how a .*float"),
    ],
)
def test_a_file_that_registers_nothing_sound_is_refused_and_leaves_nothing(
    files: Path, text: str, problem: str
) -> None:
    (files / "wrong.py").write_text(text)
    before = {table: dict(layer.strategies) for table, layer in LAYERS.items()}
    with pytest.raises(ProfileError, match=rf"strategies '.*wrong\.py': .*{problem}"):
        load_strategies([files / "wrong.py"])
    assert {table: layer.strategies for table, layer in LAYERS.items()} == before


def test_files_are_bounded_and_named_when_they_cannot_be_read(files: Path) -> None:
    (files / "long.py").write_bytes(b"#" * (_own.MOST_BYTES + 1))
    (files / "long.toml").write_bytes(b"#" * (_own.MOST_BYTES + 1))
    calls: list[tuple[str, Any]] = [
        ("strategies .*long.py': expected 1048576 bytes at most", lambda: load_strategies([files / "long.py"])),
        ("profile .*long.toml': expected 1048576 bytes at most", lambda: load_profile(files / "long.toml")),
        ("strategies .*none.py': No such file", lambda: load_strategies([files / "none.py"])),
        ("expected a list of paths", lambda: load_strategies("pieces.py")),
        ("expected a path", lambda: load_strategies(["a\0b"])),
    ]
    for problem, call in calls:
        with pytest.raises(ProfileError, match=problem):
            call()


def test_a_program_registers_its_own() -> None:
    @register("framing")
    @dataclasses.dataclass(frozen=True)
    class Semicolons(Lines):
        strategy: ClassVar[str] = "semicolons"
        ending: bytes = b";"

    profile = read_profile('bokbok-profile = 1\n[framing]\nstrategy = "semicolons"\n')
    client = Connection("client", profile=profile)
    client.request("x")
    assert client.data_to_send() == b'(request 0 "x");'


def test_a_strategy_whose_making_fails_is_told_in_one_line() -> None:
    @register("framing")
    @dataclasses.dataclass(frozen=True)
    class Wrong(Lines):
        strategy: ClassVar[str] = "wrong"

        def __post_init__(self) -> None:
            raise TypeError("on purpose")

    with pytest.raises(ProfileError, match=r"\[framing\] strategy 'wrong': TypeError: on purpose"):
        read_profile('bokbok-profile = 1\n[framing]\nstrategy = "wrong"\n')


def test_what_is_not_registered_stands_in_no_file() -> None:
    class Unknown(Lines):
        strategy: ClassVar[str] = "unknown"

    with pytest.raises(ProfileError, match=r"\[framing\] Unknown is not registered"):
        dump_profile(dataclasses.replace(get_profile("inferred-1"), framing=Unknown()))


def test_every_strategy_of_the_library_has_words_and_a_line_of_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs/profiles.md").read_text()
    for layer in LAYERS.values():
        for name, made in layer.strategies.items():
            assert made().words()
            if layer.only is None:
                assert f"\n| `{name}` |" in text, name
