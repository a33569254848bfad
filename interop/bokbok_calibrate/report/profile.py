"""A profile's file, with the evidence for each layer above it."""

from __future__ import annotations

from bokbok.wire import Profile
from bokbok.wire.profile import dump_profile

from ..search.answer import Answer

__all__ = ["profile_text"]


def profile_text(profile: Profile, answer: Answer, *, secure: bool) -> str:
    """The profile's file, with the evidence above each layer."""
    topics: dict[str, list[str]] = {}
    tables = {
        "framing": "framing", "boxes": "nonces", "keys": "key-derivation", "hello": "hello", "messages": "messages",
        "dialect": "dialect", "proof": "", "packet type": "packets",
    }  # fmt: skip
    for step in answer.steps:
        if step.sure != "failed" and step.topic in tables:
            topics.setdefault(tables[step.topic], []).append(f"{step.sure}: {step.text}")
    head = ["Found by bokbok-interop calibrate.", *topics.pop("", [])]
    head += [f"LEFT OPEN: {text}" for text in answer.open]
    head += [f"not shown: {note}" for note in answer.notes]
    if profile.leaks and secure:
        head.append(f"WARNING, broken cryptography: {profile.leaks}")
    comments = {place: "\n".join(dict.fromkeys(lines)) for place, lines in topics.items()}
    comments[""] = "\n".join(head)
    if not secure:
        for table in ("nonces", "key-derivation", "hello"):
            comments[table] = "not shown: an insecure recording; this is the default's"
    return dump_profile(profile, comments)
