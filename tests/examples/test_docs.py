"""The examples of `docs/`, page by page, from top to bottom: each prints what the comment behind its `print` says."""

import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


@pytest.mark.parametrize(("page", "least"), [("python.md", 11), ("bridge.md", 1)])
def test_every_example_prints_what_it_says(tmp_path, monkeypatch, capsys, page, least):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    namespace = {}
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= least
    for block in blocks:
        line = text[: block.start(1)].count("\n")  # so that an error names its line in the text
        exec(compile("\n" * line + block[1], f"docs/{page}", "exec"), namespace)
        assert capsys.readouterr().out.splitlines() == PRINTED.findall(block[1]), f"docs/{page}, line {line + 1}"
    assert not list(tmp_path.iterdir())  # every socket's file is gone
