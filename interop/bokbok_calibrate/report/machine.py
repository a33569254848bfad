"""A report for programs: JSON."""

from __future__ import annotations

from typing import Any

from bokbok.errors import ProfileError
from bokbok.wire.profile import dump_profile
from bokbok_traffic.recording import Recorded

from ..search.answer import Answer
from .verdict import NEVER_SHOWN, differences, verdict

__all__ = ["as_json"]


def as_json(answer: Answer, recorded: list[Recorded], *, secure: bool) -> dict[str, Any]:
    """The report as plain values."""
    profiles = []
    for profile in answer.profiles:
        try:
            text = dump_profile(profile)
        except ProfileError:
            text = ""
        profiles.append(
            {
                "toml": text,
                "differs": differences(profile, secure=secure),
                "broken-cryptography": profile.leaks if secure else None,
            }
        )
    return {
        "bokbok-calibration": 1,
        "status": answer.status,
        "verdict": verdict(answer, secure=secure),
        "default": bool(answer.profiles) and not differences(answer.profiles[0], secure=secure),
        "secure": secure,
        "seconds": round(answer.seconds, 3),
        "connections": [
            {"conn": one.conn, "client": one.size("client"), "server": one.size("server")} for one in recorded
        ],
        "lost": answer.lost,
        "skipped": dict(answer.skipped),
        "explained": sum(proof.explained for proof in answer.proofs),
        "profiles": profiles,
        "apart": list(dict.fromkeys(answer.apart)),
        "steps": [{"topic": s.topic, "text": s.text, "sure": s.sure} for s in dict.fromkeys(answer.steps)],
        "not-shown": list(dict.fromkeys(answer.notes)),
        "never-shown": list(NEVER_SHOWN),
        "open": answer.open,
        "advice": answer.advice,
        "opened": [
            {"conn": conn, "from": side, "text": body.decode("utf-8", "backslashreplace")}
            for conn, side, body in answer.opened
        ],
        "regions": [
            {"conn": c, "from": side, "start": start, "end": end, "what": label}
            for c, side, start, end, label in answer.regions
        ],
    }
