"""The conformance suite as pytest tests: `pytest --bokbok-peer ./my-puppet` has one test for each case.

Before the first test begins, all selected cases are played once, at the same time, as `bokbok-interop check` does. Then
each test shows its own cells. A case that is unsupported in all of its cells becomes a skipped test, with the reason.
With `pytest-xdist` one worker plays, and the others wait for its results.
"""

from __future__ import annotations

import fcntl
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .model import is_stuck

if TYPE_CHECKING:
    from .model import Result
    from .spoken import Spoken

__all__ = ["CaseItem"]

NAME = "mine"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("bokbok", "conformance of a bokbok peer")
    group.addoption(
        "--bokbok-peer", metavar="COMMAND", help="test this puppet: one test for each case of bokbok-interop"
    )
    group.addoption(
        "--bokbok-against", metavar="NAME", default="python-asyncio", help="the peer that it meets [python-asyncio]"
    )
    group.addoption("--bokbok-case", metavar="GLOB", action="append", default=[], help="only cases whose id matches")
    group.addoption("--bokbok-chapter", metavar="NAME", action="append", default=[], help="only this chapter")
    group.addoption(
        "--bokbok-timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="for one case, in addition to what it asks for [10]",
    )
    group.addoption(
        "--bokbok-thorough", action="store_true", help="every case over both transports in both security modes"
    )
    group.addoption(
        "--bokbok-profile",
        metavar="NAME|FILE",
        help="the wire format that both speak [BOKBOK_PROFILE, else inferred-1]",
    )
    group.addoption(
        "--bokbok-strategies",
        metavar="FILE",
        action="append",
        default=[],
        help="a Python file with strategies of your own, for the profile to name; it is run",
    )
    group.addoption(
        "--bokbok-no-guard",
        choices=["nonce-reuse"],
        action="append",
        default=[],
        help="accept a profile whose nonces repeat, which is broken cryptography",
    )
    group.addoption("--bokbok-strict", action="store_true", help="also kinds of case that the peer does not claim")


class _Failed(Exception):
    """A case that failed, with the text to show."""


class _Suite(pytest.Collector):
    """All cases that were selected."""

    def collect(self) -> Iterator[CaseItem]:
        """One item for each case."""
        from .cases import CHAPTERS, all_cases
        from .matrix import Selection, select_cases

        options = self.config.option
        for chapter in options.bokbok_chapter:
            if chapter not in CHAPTERS:
                raise pytest.UsageError(f"--bokbok-chapter: unknown chapter {chapter!r} (known: {', '.join(CHAPTERS)})")
        selection = Selection(cases=tuple(options.bokbok_case), chapters=tuple(options.bokbok_chapter))
        for case in select_cases(all_cases(), selection):
            yield CaseItem.from_parent(self, name=case.id)


class CaseItem(pytest.Item):
    """One case."""

    def setup(self) -> None:
        """Check that the peer could be played. If it could not, there is one error, and not one for each case."""
        played = _results(self.session)
        # A missing puppet must not make a case pass.
        stuck = {name: why for name, results in played.items() if (why := _stuck(results))}
        if self.name in stuck:
            first = next(item.name for item in self.session.items if getattr(item, "name", "") in stuck)
            if self.name != first:
                pytest.skip(f"the peer could not be played: see {first}")
            raise _Failed(stuck[self.name])

    def runtest(self) -> None:
        """Show what was played."""
        results = _results(self.session)[self.name]
        # A property of the test travels with its report, from the workers of pytest-xdist too.
        self.user_properties += [(_AGAIN, (each.again, each.outcome.value)) for each in results if each.again]
        failed = [result for result in results if result.outcome.value == "failed"]
        if failed:
            raise _Failed(_explain(self.name, failed))
        if not any(result.outcome.value == "passed" for result in results):
            pytest.skip("; ".join(sorted({result.reason for result in results})) or "no cell of this case was played")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The requirement, expected and actual, and the bytes, instead of our own traceback."""
        if isinstance(excinfo.value, _Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Where it is, for reports."""
        return "bokbok-interop", None, f"bokbok-interop: {self.name}"


def _stuck(results: list[Result]) -> str:
    """Why the peer, or its opponent, could not be played at all in these cells; empty if it could."""
    for result in results:
        if result.outcome.value == "absent" or (result.outcome.value == "failed" and is_stuck(result.reason)):
            logs = [text for role in ("client", "server") if (text := result.evidence.get(f"{role}_log"))]
            return "\n".join([result.reason, *logs])
    return ""


@pytest.hookimpl(tryfirst=True)  # before `-k` and `-m` choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the cases after the session's own tests."""
    if config.option.bokbok_peer:
        suite = _Suite.from_parent(session, name="bokbok-interop", nodeid="bokbok-interop")
        items.extend(suite.collect())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the workers of `pytest-xdist` a folder, in which one of them leaves the results for all."""
    config = node.config
    if config.option.bokbok_peer:
        if _FOLDER not in config.stash:
            config.stash[_FOLDER] = tempfile.mkdtemp(prefix="bokbok-pytest-")
        node.workerinput["bokbok_folder"] = config.stash[_FOLDER]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that folder."""
    if _FOLDER in config.stash:
        shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Play before the first test, since a time limit for one test is not meant for all cases."""
    chosen = any(isinstance(item, CaseItem) for item in session.items)
    if chosen and not session.config.option.collectonly and not session.testsfailed:
        _results(session)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what was played again, and why."""
    from .report.document import played_again

    reports = [report for found in terminalreporter.stats.values() for report in found]
    told = [v for r in reports if getattr(r, "when", "") == "call" for name, v in r.user_properties if name == _AGAIN]
    for line in played_again(tuple(each) for each in told):
        terminalreporter.write_line(f"bokbok-interop: {line}")


_AGAIN = "bokbok-played-again"
_FOLDER = pytest.StashKey[str]()
_KEY = pytest.StashKey[dict[str, list["Result"]]]()


def _results(session: pytest.Session) -> dict[str, list[Result]]:
    if _KEY not in session.stash:
        folder = getattr(session.config, "workerinput", {}).get("bokbok_folder")
        session.stash[_KEY] = _play(session) if folder is None else _play_once(session, Path(folder))
    return session.stash[_KEY]


def _play_once(session: pytest.Session, folder: Path) -> dict[str, list[Result]]:
    """The results, which one worker makes and the others wait for."""
    with (folder / "results").open("a+b") as file:  # in a folder that only we can write to
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if data := file.read():
            found: dict[str, list[Result]] = pickle.loads(data)
            return found
        played = _play(session)
        file.write(pickle.dumps(played))
        return played


def _play(session: pytest.Session) -> dict[str, list[Result]]:
    import asyncio

    from .cases import all_cases
    from .matrix import Selection, build, diagonal
    from .peers.known import known_peers, peer_from_option
    from .runner import Runner, Settings

    options = session.config.option
    wanted = {item.name for item in session.items if isinstance(item, CaseItem)}
    mine = peer_from_option(f"{NAME}={options.bokbok_peer}")
    known = known_peers()
    if options.bokbok_against not in known:
        raise pytest.UsageError(
            f"--bokbok-against: unknown peer {options.bokbok_against!r} (known: {', '.join(known)})"
        )
    peers = {options.bokbok_against: known[options.bokbok_against], NAME: mine}
    cases = [case for case in all_cases() if case.id in wanted]
    groups = [g for g in build(list(peers), cases, Selection(about=(NAME,))) if (g.client, g.server) != (NAME, NAME)]
    if not options.bokbok_thorough:
        groups = diagonal(groups)
    settings = Settings(
        timeout=options.bokbok_timeout,
        jobs=32,
        strict=options.bokbok_strict,
        spoken=_spoken(options, {group.security for group in groups}),
    )
    out: dict[str, list[Result]] = {name: [] for name in wanted}
    for result in asyncio.run(Runner(peers, settings).run(groups)):
        out[result.cell.case].append(result)
    return out


def _spoken(options: Any, securities: set[str]) -> Spoken:
    from bokbok.errors import ProfileError
    from bokbok.wire import Guards, get_profile

    from .spoken import Spoken

    try:
        profile = get_profile(options.bokbok_profile, strategies=options.bokbok_strategies)
        spoken = Spoken.of(profile, options.bokbok_strategies)
        spoken.check(securities, Guards(nonce_reuse="nonce-reuse" not in options.bokbok_no_guard))
    except ProfileError as error:
        raise pytest.UsageError(f"--bokbok-profile: {error}") from None
    return spoken


def _explain(name: str, failed: list[Result]) -> str:
    from .cases import REQUIREMENTS, all_cases
    from .report.document import sentence, source

    case = next(case for case in all_cases() if case.id == name)
    first = failed[0]
    requirement = REQUIREMENTS[first.sentence] if first.sentence else case.requirement
    lines = [
        f"{name}: {case.title}",
        f"requirement: “{requirement.text}” ({source(sentence(requirement))})",
    ]
    for result in failed:
        lines.append(f"failed: {result.cell}: {result.reason}")
    if first.expected:
        lines.append(f"expected: {first.expected}")
    if first.actual:
        lines.append(f"actual:   {first.actual}")
    if first.evidence.get("dump"):
        lines += ["", "on the wire:", *first.evidence["dump"].splitlines()[-60:]]
    for role in ("client", "server"):
        if log := first.evidence.get(f"{role}_log"):
            lines += ["", f"log of the {role}:", *log.splitlines()[-30:]]
    return "\n".join(lines)
