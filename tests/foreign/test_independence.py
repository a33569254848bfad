"""The foreign peers share nothing with what they are to try."""

from __future__ import annotations

import ast
import pathlib

HERE = pathlib.Path(__file__).parent
SOURCES = sorted([*(HERE.parent / "support" / "foreign").rglob("*.py"), *HERE.rglob("*.py")])


def imported(path: pathlib.Path) -> set[str]:
    """The absolute names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return names


def test_nothing_of_the_project_is_imported() -> None:
    assert len(SOURCES) > 30
    for path in SOURCES:
        for name in imported(path):
            if name == "bokbok_interop.vectors" and path.is_relative_to(HERE):
                continue  # what CHICKEN itself wrote, for the tests to compare with
            assert not name.startswith("bokbok"), path
            assert not name.startswith("tests.") or name.startswith(("tests.foreign", "tests.support.foreign")), path
