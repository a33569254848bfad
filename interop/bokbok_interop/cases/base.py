"""What a case is, and the register of all of them.

What this module knows: a case's id, kind, requirement, and where in the matrix it is played. What it refuses to know:
what any case does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..model import Kind
from .requirements import REQUIREMENTS, Requirement

__all__ = ["CHAPTERS", "Case", "all_cases", "case"]

CHAPTERS = ("connect", "secure", "request", "sexpr", "symmetry", "errors", "lifecycle", "hostile", "load")
"""In the order in which they are shown."""

Subject = Literal["client", "server", "either"]
Play = Callable[[Any], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        id: `chapter.name`.
        title: what must be true, in one sentence.
        kind: what binds a peer to it.
        requirements: the sentences it checks; the first is the one that a failure points at.
        subject: whose behaviour it is about; that peer must claim the kind.
        transports, securities: where it makes sense.
        needs: features that both puppets must have, beside the transport's and the security's.
        fresh: roles that need a puppet of their own, since the case kills it, or keeps it too busy for others.
        opponent: the role that the runner itself plays, or `None` for two puppets.
        direct: without the relay between the two.
        faults: what the subject's backend must be able to do (`pause`, `kill`, `disconnect`).
        timeout: seconds beyond the run's time limit for a case that has to wait long.
        long: only played with `--long`.
        run: the coroutine.
    """

    id: str
    title: str
    kind: Kind
    requirements: tuple[Requirement, ...]
    run: Play
    subject: Subject = "either"
    transports: tuple[str, ...] = ("tcp", "unix")
    securities: tuple[str, ...] = ("secure", "insecure")
    needs: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    opponent: Literal["client", "server"] | None = None
    direct: bool = False
    faults: tuple[str, ...] = ()
    timeout: float = 0.0
    long: bool = False

    @property
    def chapter(self) -> str:
        """The part of the id before its first dot."""
        return self.id.split(".", 1)[0]

    @property
    def requirement(self) -> Requirement:
        """The sentence that a failure points at."""
        return self.requirements[0]


_CASES: dict[str, Case] = {}


def case(
    id: str,
    *requirements: str,
    kind: str = "reference",
    subject: Subject = "either",
    transport: str | None = None,
    security: str | None = None,
    needs: Iterable[str] = (),
    fresh: Iterable[str] = (),
    opponent: Literal["client", "server"] | None = None,
    direct: bool = False,
    faults: Iterable[str] = (),
    timeout: float = 0.0,
    long: bool = False,
) -> Callable[[Play], Play]:
    """Register the coroutine below as a case; its docstring's first line is the title. See `Case`."""

    def register(run: Play) -> Play:
        chapter = id.split(".", 1)[0]
        assert chapter in CHAPTERS, id
        assert id not in _CASES, id
        assert requirements, id
        if opponent is not None:
            about: Subject = "server" if opponent == "client" else "client"
        else:
            about = subject
        _CASES[id] = Case(
            id=id,
            title=(inspect.getdoc(run) or "").split("\n\n")[0].replace("\n", " "),
            kind=Kind(kind),
            requirements=tuple(REQUIREMENTS[name] for name in requirements),
            run=run,
            subject=about,
            transports=(transport,) if transport else ("tcp", "unix"),
            securities=(security,) if security else ("secure", "insecure"),
            needs=tuple(needs),
            fresh=tuple(fresh),
            opponent=opponent,
            direct=direct,
            faults=tuple(faults),
            timeout=timeout,
            long=long,
        )
        return run

    return register


def all_cases() -> list[Case]:
    """Every case, by chapter, within a chapter in the order of its module."""
    import importlib

    for chapter in CHAPTERS:
        importlib.import_module(f"{__package__}.{chapter}")
    return sorted(_CASES.values(), key=lambda case: CHAPTERS.index(case.chapter))
