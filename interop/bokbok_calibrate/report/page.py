"""A report as one self-contained page: `page.html.j2`, in which every text from a peer is escaped."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from bokbok_traffic.recording import Recorded

from ..search.answer import Answer
from .dump import hex_dump, opened
from .profile import profile_text
from .text import MARKS
from .verdict import NEVER_SHOWN, verdict

__all__ = ["as_html"]


def as_html(answer: Answer, recorded: list[Recorded], *, secure: bool) -> str:
    """The report as an HTML page."""
    environment = Environment(
        loader=PackageLoader(__package__, ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        answer=answer,
        steps=dict.fromkeys(answer.steps),
        marks=MARKS,
        verdict=verdict(answer, secure=secure),
        leaks=answer.profiles[0].leaks if answer.profiles and secure else None,
        profiles=[profile_text(profile, answer, secure=secure) for profile in answer.profiles],
        opened="\n".join(opened(answer)[2:]),
        never_shown=NEVER_SHOWN,
        dump="\n".join(hex_dump(answer, recorded)),
    )
