"""The examples of `docs/python.md`, run from top to bottom: each prints what the comment behind its `print` says."""

import pathlib
import re

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def test_every_example_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    blocks = list(BLOCK.finditer(TEXT))
    assert len(blocks) > 10
    for block in blocks:
        line = TEXT[: block.start(1)].count("\n")  # so that an error names its line in the text
        exec(compile("\n" * line + block[1], "docs/python.md", "exec"), namespace)
        assert capsys.readouterr().out.splitlines() == PRINTED.findall(block[1]), f"docs/python.md, line {line + 1}"
    assert not list(tmp_path.iterdir())  # every socket's file is gone
