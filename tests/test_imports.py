"""Imports only point down: each package imports what is below it, and nothing else of the project."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bokbok

ROOT = Path(__file__).parent.parent

PUBLIC = {"bokbok", "bokbok.__version__", *(f"bokbok.{name}" for name in bokbok.__all__)}

BASE = {"bokbok._later", "bokbok._native", "bokbok._toml", "bokbok.errors", "bokbok.sexpr"}
WIRE = BASE | {"bokbok.keys", "bokbok.wire"}
FRONT = WIRE | {"bokbok.address", "bokbok._fork", "bokbok._front", "bokbok._sockets"}
LIBRARY = FRONT | {"bokbok", "bokbok.sync", "bokbok.asyncio", "bokbok.bridge"}
LIBRARY |= {"bokbok.hellos", "bokbok.processes", "bokbok.service"}

PROJECT = ("bokbok", "bokbok_workers", "bokbok_traffic", "bokbok_calibrate", "bokbok_interop", "bokbok_meet")

BELOW: dict[str, set[str]] = {
    "bokbok/sexpr": {"bokbok._later", "bokbok._native", "bokbok.errors"},
    "bokbok/wire": WIRE,
    "bokbok/_front": FRONT,
    "bokbok/sync": FRONT,
    "bokbok/asyncio": FRONT,
    "bokbok/reconnecting": FRONT | {"bokbok.sync", "bokbok.asyncio"},
    "bokbok/processes": FRONT,
    "bokbok/cli": LIBRARY,
    "interop/bokbok_workers": {"bokbok"},
    "interop/bokbok_traffic": LIBRARY,
    "interop/bokbok_calibrate": LIBRARY | {"bokbok.cli", "bokbok_traffic", "bokbok_workers"},
    "interop/bokbok_interop": LIBRARY | {"bokbok.cli", "bokbok_traffic", "bokbok_workers"},
    "interop/bokbok_meet": LIBRARY | {"bokbok_traffic", "bokbok_calibrate", "bokbok_interop"},
}
"""For each package: what it may import from the project, besides itself."""


def imported(path: Path, root: Path) -> Iterator[str]:
    """What a file imports, by absolute names. For `from a import b`, both `a` and `a.b`."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}"


def allowed(name: str, packages: set[str]) -> bool:
    """Whether a name belongs to one of the packages; for `bokbok` itself, only public names."""
    if name in PUBLIC:
        return "bokbok" in packages
    return any(name == one or name.startswith(one + ".") for one in packages - {"bokbok"})


@pytest.mark.parametrize("package", BELOW)
def test_imports_point_down(package: str) -> None:
    root = ROOT / "interop" if package.startswith("interop/") else ROOT
    own = package.removeprefix("interop/").replace("/", ".")
    sources = sorted((ROOT / package).rglob("*.py"))
    assert sources
    assert not list(wrong(sources, root, BELOW[package] | {own}))


def wrong(sources: list[Path], root: Path, packages: set[str]) -> Iterator[str]:
    """What is imported from elsewhere in the project."""
    for path in sources:
        for name in imported(path, root):
            if name.split(".")[0] in PROJECT and not allowed(name, packages):
                yield f"{path.relative_to(root)} imports {name}"


CALIBRATION = (
    ("clock",), ("encoding", "derivation", "hands", "script"), ("framing", "session_key", "conversation"), ("nonce",),
    ("hello", "packet_type", "message", "wording", "verify"), ("search",), ("report", "live"), ("cli",),
)  # fmt: skip
"""The layers of calibration, from below: each imports what is below it, or beside it in the same package."""


@pytest.mark.parametrize("layer", range(len(CALIBRATION)))
def test_the_layers_of_calibration_import_what_lies_below_them(layer: int) -> None:
    root = ROOT / "interop"
    folder = root / "bokbok_calibrate"
    below = LIBRARY | {"bokbok.cli", "bokbok_traffic", "bokbok_workers"}
    below |= {f"bokbok_calibrate.{name}" for names in CALIBRATION[:layer] for name in names}
    for name in CALIBRATION[layer]:
        sources = sorted((folder / name).rglob("*.py")) or [folder / f"{name}.py"]
        assert not list(wrong(sources, root, below | {f"bokbok_calibrate.{name}"}))


def test_every_module_of_calibration_has_a_layer() -> None:
    found = {path.stem for path in (ROOT / "interop" / "bokbok_calibrate").iterdir() if not path.stem.startswith("_")}
    assert found == {name for names in CALIBRATION for name in names}


@pytest.mark.parametrize(
    "line",
    ["import bokbok_interop", "from ..report import text", "from .. import report", "from bokbok.cli import main"],
)
def test_an_import_that_points_up_is_found(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bokbok_calibrate" / "message" / "body.py"
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert list(wrong([path], tmp_path, LIBRARY | {"bokbok_calibrate.message"}))


def test_importing_the_library_imports_nothing_of_it_before_it_is_asked_for() -> None:
    code = "import sys, bokbok; sys.exit(any(name.startswith('bokbok.') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["address", "errors", "keys", "sexpr", "sync", "wire", *bokbok.__all__])
def test_each_public_name_and_module_is_there_when_it_is_asked_for(name: str) -> None:
    assert getattr(bokbok, name) is not None


def test_a_name_that_is_not_public_is_refused_with_the_name() -> None:
    with pytest.raises(AttributeError, match="module 'bokbok' has no attribute 'nothing'"):
        bokbok.nothing  # noqa: B018 - looking is what is tested


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("bokbok.sexpr", "to_sexpdata"),
        ("bokbok.sync", "start_server"),
        ("bokbok.wire", "register"),
        ("bokbok.wire.boxes", "NONCES"),
        ("bokbok.wire.framing", "FRAMINGS"),
        ("bokbok.wire.messages", "BinaryHeader"),
        ("bokbok.wire.profile", "LAYERS"),
    ],
)
def test_a_name_that_is_imported_later_is_listed_found_and_then_an_ordinary_one(package: str, name: str) -> None:
    code = (
        f"import importlib; module = importlib.import_module({package!r})\n"
        f"assert {name!r} not in vars(module) and {name!r} in dir(module)\n"
        f"assert getattr(module, {name!r}) is vars(module)[{name!r}]\n"
        "try:\n    module.nothing\nexcept AttributeError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"module {package!r} has no attribute 'nothing'\n"
