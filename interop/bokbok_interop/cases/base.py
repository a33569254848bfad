"""What a case is: its id, kind and requirement, and where in the matrix it is played. The register of all cases."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from bokbok.wire import INFERRED_1, Profile
from bokbok.wire.framing import CountedFraming

from ..model import Kind
from .requirements import REQUIREMENTS, Requirement

__all__ = ["CHAPTERS", "PREFLIGHT", "SESSIONS", "Case", "all_cases", "case", "cases"]

PREFLIGHT = "preflight"
"""The chapter that `check` plays before the others."""
SESSIONS = "sessions"
"""The chapter of the recorded sessions, which is played only on demand."""
CHAPTERS = (
    PREFLIGHT,
    "connect",
    "secure",
    "request",
    "sexpr",
    "symmetry",
    "errors",
    "lifecycle",
    "hostile",
    "load",
    SESSIONS,
)
"""In the order in which reports show them."""

Subject = Literal["client", "server", "either"]
Play = Callable[[Any], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        id: `chapter.name`.
        title: what must be true, in one sentence.
        kind: which peers it binds.
        requirements: the sentences that it checks. A failure points at the first one.
        subject: the role whose behaviour it is about; that peer must claim the kind.
        transports, securities: the modes in which it makes sense.
        needs: features that both puppets must have, besides those of the transport and the security mode.
        fresh: roles that need a puppet of their own, since the case kills it, or keeps it too busy for others.
        opponent: the role that the runner itself plays, or `None` if there are two puppets.
        direct: whether there is no relay between the two.
        faults: what the subject's backend must be able to do (`pause`, `kill`, `disconnect`).
        timeout: seconds in addition to the run's time limit, for a case that has to wait long.
        long: whether it is only played with `--long`.
        once: whether its result does not depend on how messages are carried. Then one of the two modes of a short run
            is enough.
        only: layers of the profile on whose bytes it depends: these must be those of `inferred-1`. `counted`: a framing
            with a length, which carries any bytes.
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
    once: bool = False
    only: tuple[str, ...] = ()

    def foreign_to(self, profile: Profile) -> str:
        """Why it cannot be played with this profile; an empty string if it can."""
        for layer in self.only:
            if layer == "counted":
                fits = isinstance(profile.framing, CountedFraming)
            else:
                fits = getattr(profile, layer) == getattr(INFERRED_1, layer)
            if not fits:
                what = "a framing with a length" if layer == "counted" else f"the {layer} of {INFERRED_1.name}"
                return f"the case depends on {what}, and {profile.name} has another"
        return ""

    @property
    def chapter(self) -> str:
        """The part of the id before its first dot."""
        return self.id.split(".", 1)[0]

    @property
    def requirement(self) -> Requirement:
        """The sentence that failures point at."""
        return self.requirements[0]


_CASES: dict[str, Case] = {}
_OTHER: dict[str, Subject] = {"client": "server", "server": "client"}


_KINDS = {
    "reference": Kind.REFERENCE,
    "readme": Kind.REFERENCE,
    "profile": Kind.PROFILE,
    "guards": Kind.HARDENING,
}
"""The kind of a case whose first sentence is in this document."""


def case(
    *requirements: str,
    kind: str | None = None,
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
    once: bool = False,
    only: Iterable[str] = (),
) -> Callable[[Play], Play]:
    """Register the coroutine below as a case. See `Case` for the arguments.

    Its id consists of the chapter (its module or package beside this one) and the function's name. Its title is the
    first paragraph of the docstring. If no kind is given, the document of the first sentence decides.
    """

    def register(run: Play) -> Play:
        chapter = run.__module__.removeprefix(f"{__package__}.").partition(".")[0]
        assert chapter in CHAPTERS, run.__module__
        id = f"{chapter}.{run.__name__.replace('_', '-')}"
        assert id not in _CASES, id
        assert requirements, id
        sentences = tuple(REQUIREMENTS[name] for name in requirements)
        about: Subject = subject if opponent is None else _OTHER[opponent]
        _CASES[id] = Case(
            id=id,
            title=(inspect.getdoc(run) or "").split("\n\n")[0].replace("\n", " "),
            kind=_KINDS[sentences[0].document] if kind is None else Kind(kind),
            requirements=sentences,
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
            once=once,
            only=tuple(only),
        )
        return run

    return register


def cases(*also: str, **common: Any) -> Callable[..., Callable[[Play], Play]]:
    """A `case` for several coroutines that share arguments.

    Args:
        also: sentences that each of them checks as well, after its own.
        common: arguments of `case`; each of the cases may override them.
    """

    def decorate(*requirements: str, **own: Any) -> Callable[[Play], Play]:
        return case(*dict.fromkeys((*requirements, *also)), **(common | own))

    return decorate


def all_cases() -> list[Case]:
    """Every case, by chapter, within a chapter in the order of its module."""
    import importlib

    for chapter in CHAPTERS:
        importlib.import_module(f"{__package__}.{chapter}")
    return sorted(_CASES.values(), key=lambda case: CHAPTERS.index(case.chapter))
