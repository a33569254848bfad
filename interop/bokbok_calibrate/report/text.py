"""A report for a terminal."""

from __future__ import annotations

from bokbok_traffic.recording import Recorded

from ..search.answer import Answer
from .dump import hex_dump, opened
from .verdict import NEVER_SHOWN, verdict

__all__ = ["MARKS", "as_text"]

MARKS = {"proven": "✓", "likely": "~", "assumed": "?", "failed": "✗"}
"""How sure each step is."""
_MOST_LISTED = 20


def as_text(answer: Answer, recorded: list[Recorded], *, secure: bool) -> str:
    """The report as text."""
    lines = [f"heard: {len(recorded)} connections"]
    for one in recorded[:_MOST_LISTED]:
        lines.append(f"  #{one.conn}: {one.size('client')} bytes from the client, {one.size('server')} from the server")
    if len(recorded) > _MOST_LISTED:
        lines.append(f"  and {len(recorded) - _MOST_LISTED} more")
    lines += [f"  ENDS EARLY: {text}" for text in answer.lost[:_MOST_LISTED]]
    lines += [f"  not used: {count} × {what}" for what, count in answer.skipped.items()]
    lines.append("")
    lines += [f"{MARKS[step.sure]} {step.topic}: {step.text}" for step in dict.fromkeys(answer.steps)]
    lines += ["", f"verdict: {verdict(answer, secure=secure)}"]
    if answer.profiles and secure and answer.profiles[0].leaks:
        lines.append(f"WARNING: broken cryptography: {answer.profiles[0].leaks}")
    if any(proof.repeated for proof in answer.proofs):
        lines.append("WARNING: the peer sends nonces that repeat: its boxes leak, whatever this side does")
    if len(answer.profiles) > 1:
        lines += ["", "several profiles explain every byte; what would tell them apart:"]
        lines += [f"  - {text}" for text in dict.fromkeys(answer.apart)]
    if answer.open:
        lines += ["", "the recording leaves open:", *(f"  - {text}" for text in answer.open)]
    if answer.notes:
        lines += ["", "not shown by this recording:", *(f"  - {note}" for note in dict.fromkeys(answer.notes))]
    lines += ["", "never shown by any recording:", *(f"  - {text}" for text in NEVER_SHOWN)]
    if not answer.profiles:
        lines += opened(answer)
        lines += ["", "what to do next:", *(f"  - {text}" for text in answer.advice)] if answer.advice else []
        lines += ["", *hex_dump(answer, recorded)]
    return "\n".join(lines) + "\n"
