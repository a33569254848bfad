"""The public part of `bokbok.wire` is the list in its docstring. Nothing outside uses more."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import bokbok.wire

ROOT = Path(__file__).parents[2]
WIRE = ROOT / "bokbok/wire"
LISTED = {"bokbok.wire", *re.findall(r"`(bokbok\.wire\.\w+)` \|", bokbok.wire.__doc__ or "")}


def names_of_modules() -> set[str]:
    paths = (path.relative_to(ROOT).with_suffix("") for path in WIRE.rglob("*.py"))
    return {".".join(path.parts).removesuffix(".__init__") for path in paths}


def test_what_is_not_underscored_is_listed() -> None:
    public = {name for name in names_of_modules() if not any(part.startswith("_") for part in name.split("."))}
    assert public == LISTED


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_public_module_says_which_names_are_public(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for one in module.__all__:
        assert hasattr(module, one), one


def test_no_program_outside_imports_what_is_private() -> None:
    files = [path for top in ("bokbok", "interop", "bench", "examples") for path in (ROOT / top).rglob("*.py")]
    assert len(files) > 100
    seen = 0
    for path in files:
        if WIRE in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            parts = module.split(".")
            if "wire" not in parts or (parts[0] != "bokbok" and not (isinstance(node, ast.ImportFrom) and node.level)):
                continue
            seen += 1
            inside = [*parts[parts.index("wire") + 1 :], *(name.name for name in node.names)]  # type: ignore[union-attr, attr-defined]
            assert not any(part.startswith("_") for part in inside), f"{path}: from {module} import …"
    assert seen > 20
