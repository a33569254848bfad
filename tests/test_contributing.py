"""Follows each way in of `CONTRIBUTING.md` in a copy of the project: it works, with the files that it names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.running import output_of

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COUNTS = {"two": 2, "three": 3, "four": 4}
FOLDERS = ("bokbok", "docs", "interop", "tests")
FILES = ("CONTRIBUTING.md", "README.md", "SECURITY.md", "Makefile", "pyproject.toml")

MIRRORED = '''"""Packets behind their length, which is sent once more behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...errors import RemoteProtocolError
from ..strategy import Integer, Span, key
from ._strategy import Buffered, Framing, Splitter, Write, too_long

__all__ = ["Mirrored"]


@dataclass(frozen=True)
class Mirrored(Framing):
    """Packets between two copies of their length.

    Attributes:
        size: bytes of each copy.
    """

    strategy: ClassVar[str] = "mirrored"
    size: int = key(4, Integer(1, 8))

    def writer(self) -> Write:
        """See `Framing.writer`."""

        def write(out: list[bytes], packet: bytes) -> None:
            length = len(packet).to_bytes(self.size, "big")
            out += (length, packet, length)

        return write

    def splitter(self, limit: int) -> Splitter:
        """See `Framing.splitter`."""
        return _MirroredSplitter(limit, self.size)

    def spans(self, data: bytes) -> list[Span]:
        """See `Framing.spans`."""
        end = len(data) - self.size
        return [Span("length", 0, self.size), Span("packet", self.size, end), Span("length", end, len(data))]


class _MirroredSplitter(Buffered):
    def __init__(self, limit: int, size: int) -> None:
        super().__init__(limit)
        self._size = size

    def _cut(self) -> bytes | None:
        start = self._at + self._size
        length = int.from_bytes(self._buffer[self._at : start], "big")
        self._need = self._size if len(self._buffer) < start else length + 2 * self._size
        if len(self._buffer) >= start and length > self.limit:
            raise too_long(length, self.limit, announced=True)
        if len(self._buffer) - self._at < self._need:
            return None
        if self._buffer[self._at : start] != self._buffer[start + length : start + length + self._size]:
            raise RemoteProtocolError("the two lengths of a packet differ; expected the same")
        self._at += self._need
        self._need = self._size
        return bytes(self._buffer[start : start + length])
'''

CONTRACT = """from tests.support.framing_contract import FramingContract
from bokbok.wire.framing import Mirrored


class TestContract(FramingContract):
    framings = [Mirrored(), Mirrored(8)]
"""

CASE = '''

@case("request.message")
async def twice_the_same(t: Play) -> None:
    """The same request, twice, has the same answer twice."""
    mine, _ = await t.pair()
    for _ in range(2):
        t.equal(await mine.request(["echo", "twice"]), "twice", "the answer")
'''

MUTANT = '''

@mutant("request.twice-the-same", role="server")
def answers_an_echo_once() -> None:
    """Answers the same echo once, and something else from then on."""
    seen: list[Any] = []

    def call(real: Any) -> Any:
        def run(self: Any, connection: Any, message: Any) -> Any:
            if message in seen:
                return "again"
            seen.append(message)
            return real(self, connection, message)

        return run

    around(U.Service, "__call__", call)
'''


def _after(text: str, new: str) -> Callable[[str], str]:
    """Insert something after a text, which must occur once."""

    def edit(page: str) -> str:
        assert page.count(text) == 1, text
        return page.replace(text, text + new)

    return edit


def _instead(*pairs: tuple[str, str]) -> Callable[[str], str]:
    def edit(page: str) -> str:
        for old, new in pairs:
            assert page.count(old) == 1, old
            page = page.replace(old, new)
        return page

    return edit


@dataclass(frozen=True)
class Way:
    """One way in: its heading, the changes to each file, and the command that is run afterwards."""

    heading: str
    edits: dict[str, Callable[[str], str]]
    run: list[str]
    shows: str = ""


WAYS = [
    Way(
        "Add a framing, or another strategy",
        {
            "bokbok/wire/framing/_mirrored.py": lambda _: MIRRORED,
            "bokbok/wire/framing/__init__.py": _instead(
                ("    from ._text_length", "    from ._mirrored import Mirrored\n    from ._text_length"),
                ('    "Lines",\n', '    "Lines",\n    "Mirrored",\n'),
                ('    "_lines": ["Lines"],\n', '    "_lines": ["Lines"],\n    "_mirrored": ["Mirrored"],\n'),
                ('"Lines", "Datums"]', '"Lines", "Datums", "Mirrored"]'),
            ),
            "docs/profiles.md": _after("| `lines` | `ending` |\n", "| `mirrored` | `size` |\n"),
            "tests/wire/framing/test_mirrored.py": lambda _: CONTRACT,
        },
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/wire/framing/test_mirrored.py"],
    ),
    Way(
        "Add a case",
        {
            "interop/bokbok_interop/cases/request.py": lambda page: page + CASE,
            "tests/interop/mutants/request.py": lambda page: page + MUTANT,
        },
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/interop/test_mutants.py", "-k", "answers-an-echo-once"],
    ),
    Way(
        "Add a peer",
        {
            "interop/bokbok_interop/peers/known.py": _after(
                '        "minimal": ExamplePeer("minimal", []),\n',
                '        "mine": LocalPeer("mine", [sys.executable, "interop/examples/minimal/puppet.py"]),\n',
            ),
            "interop/README.md": _after(
                "| `minimal` | the example implementation, a third one, which has none of this library in it |\n",
                "| `mine` | a peer of somebody's own |\n",
            ),
        },
        ["-m", "bokbok_interop", "run", "--peers", "mine", "--case", "request.echo", "--transport", "unix"],
        "mine",
    ),
    Way(
        "Change a limit",
        {
            "bokbok/wire/_limits.py": _instead(("DEFAULT_WAITING = 4096", "DEFAULT_WAITING = 8192")),
            "docs/python.md": _instead(("| `waiting` | 4,096 requests", "| `waiting` | 8,192 requests")),
            "docs/protocol.md": _instead(
                (
                    "On one connection 4,096 requests wait for a handler",
                    "On one connection 8,192 requests wait for a handler",
                )
            ),
        },
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/wire/test_limits.py"],
    ),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project, where it may be changed."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "build", "target"))
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def _python(folder: Path, *arguments: str) -> str:
    path = os.pathsep.join((str(folder), str(folder / "interop")))
    return output_of([sys.executable, *arguments], folder, {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"})


def _section(heading: str) -> str:
    return GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.heading)
def test_a_way_in_takes_the_files_that_it_says(way: Way, copy: Path) -> None:
    for name, edit in way.edits.items():
        file = copy / name
        file.write_text(edit(file.read_text(encoding="utf-8") if file.exists() else ""), encoding="utf-8")
    section = _section(way.heading)
    named = [
        re.sub(r"[A-Z]{4,}(?!\.md)", ".*", re.escape(item).replace(r"\_", "_"))
        for item in re.findall(r"^\d\. `([^`]+)`", section, re.MULTILINE)
    ]
    promised = re.search(r"needs (\w+) files", section.replace("\n", " "))
    assert promised is not None
    assert len(way.edits) == COUNTS[promised[1]]
    assert all(any(re.fullmatch(pattern, file) for pattern in named) for file in way.edits), (named, [*way.edits])
    assert way.shows in _python(copy, *way.run)


def test_the_copy_is_what_runs(copy: Path) -> None:
    assert _python(copy, "-c", "import bokbok, bokbok_interop; print(bokbok.__file__)").startswith(str(copy))


def test_the_rule_for_something_is_found_as_the_guide_says() -> None:
    section = _section("Find the rule for something")
    (words,) = re.findall(r'grep -i\s+"([^"]+)"', section)
    (rule,) = set(re.findall(r'grep -rn "([^"]+)"', section))
    listed = subprocess.run(
        [sys.executable, "-m", "bokbok_interop", "list", "--coverage", "--json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    entry = [line for line in listed.splitlines() if words in line]
    assert entry
    before = listed.partition(entry[0])[0]
    assert rule in before[-400:]
    assert f'<a id="{rule}"></a>' in (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert any(f'"{rule}"' in file.read_text(encoding="utf-8") for file in (ROOT / "interop").rglob("*.py"))
