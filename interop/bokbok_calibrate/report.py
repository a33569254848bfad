"""What was found, for people and machines: terminal text, JSON, HTML, and the profile's file with its evidence.

What this module knows: how to show an `Answer`. What it refuses to know: how it came about. No key, no session key and no
passphrase is in any of it.
"""  # noqa: E501

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from bokbok.errors import ProfileError
from bokbok.wire import INFERRED_1, Profile
from bokbok.wire.profile import dump_profile, plain
from bokbok_traffic.recording import Recorded

from .search.answer import Answer

__all__ = ["NEVER_SHOWN", "as_html", "as_json", "as_text", "profile_text", "verdict"]

NEVER_SHOWN = (
    "what the peer accepts beyond what it was sent",
    "paths that were not taken: a wrong key, an unknown user, the other of secure and insecure",
    "whether random bytes are random, or the same at each start of the peer",
    "limits of the peer on sizes, depth and time",
)
"""What a recording can never show."""

_MARKS = {"proven": "✓", "likely": "~", "assumed": "?", "failed": "✗"}


def verdict(answer: Answer, *, secure: bool) -> str:
    """What was found, held against the default profile, in a sentence."""
    if not answer.profiles:
        return "no profile explains the recording"
    profile = answer.profiles[0]
    differing = differences(profile, secure=secure)
    if not differing:
        exact = not any(proof.spelt for proof in answer.proofs) and not answer.open
        what = "default profile, exact" if exact else "default profile"
        return f"{what} ({INFERRED_1.name} explains every byte)"
    return f"not the default profile: it differs in {', '.join(differing)}"


def differences(profile: Profile, *, secure: bool) -> list[str]:
    """The layers in which a profile differs from the default, as far as a recording of that kind shows them."""
    mine, default = plain(profile), plain(INFERRED_1)
    layers = ["framing", "packets", "messages"]
    layers += ["hello", "nonces", "key_derivation"] if secure else []
    out = [layer.replace("_", " ") for layer in layers if getattr(mine, layer) != getattr(default, layer)]
    if not secure and mine.hello.insecure:
        out.append("hello")
    if mine.dialect != default.dialect:
        out.append("dialect")
    return out


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


def as_text(answer: Answer, recorded: list[Recorded], *, secure: bool) -> str:
    """For a terminal."""
    lines = [f"heard: {len(recorded)} connections"]
    for one in recorded:
        lines.append(f"  #{one.conn}: {len(one.client)} bytes from the client, {len(one.server)} from the server")
    lines.append("")
    lines += [f"{_MARKS[step.sure]} {step.topic}: {step.text}" for step in dict.fromkeys(answer.steps)]
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


def opened(answer: Answer) -> list[str]:
    """What the first boxes hold."""
    if not answer.opened:
        return []
    lines = ["", "what the boxes hold:"]
    for conn, source, body in answer.opened:
        shown = repr(body[:_MOST_SHOWN])[1:] + (
            f" and {len(body) - _MOST_SHOWN} bytes" if len(body) > _MOST_SHOWN else ""
        )
        lines.append(f"  #{conn} {source}: {shown}")
    return lines


_MOST_SHOWN = 160
_ROW = 16
_FIRST_ROWS = 8
_LABELLED_ROWS = 48


def hex_dump(answer: Answer, recorded: list[Recorded]) -> list[str]:
    """The first bytes of each direction, and all of which something is known, with what it is."""
    lines = []
    for one in recorded[:2]:
        for source in ("client", "server"):
            data = one.stream(source)
            if not data:
                continue
            lines.append(f"#{one.conn} {source}, {len(data)} bytes")
            mine = sorted(
                ((start, end, label) for conn, side, start, end, label in answer.regions
                if conn == one.conn and side == source),
                key=lambda region: (region[0], -region[1]),
            )  # fmt: skip
            lines += _rows(data, mine)
    return lines


def _rows(data: bytes, regions: list[tuple[int, int, str]]) -> Iterator[str]:
    """Rows of bytes; a region is told of in the row in which it begins."""
    shown = 0
    skipped = 0
    for at in range(0, len(data), _ROW):
        labels = [
            f"{label} ({start:#x} to {end:#x})" for start, end, label in regions if at <= start < at + _ROW
        ]  # fmt: skip
        if at >= _FIRST_ROWS * _ROW and (not labels or shown >= _LABELLED_ROWS):
            skipped += len(data[at : at + _ROW])
            continue
        if skipped:
            yield f"  ... {skipped} bytes"
            skipped = 0
        shown += 1
        row = data[at : at + _ROW]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {at:06x}  {row.hex(' '):<47}  {text:<16}  {', '.join(labels)}".rstrip()
    if skipped:
        yield f"  ... {skipped} more bytes"


def as_json(answer: Answer, recorded: list[Recorded], *, secure: bool) -> dict[str, Any]:
    """For machines."""
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
        "connections": [{"conn": one.conn, "client": len(one.client), "server": len(one.server)} for one in recorded],
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


_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
pre { overflow-x: auto; padding: 1rem; border: 1px solid #8886; border-radius: 6px }
li { margin: .2rem 0 } .failed { color: #c33 } .likely { color: #a70 } .proven b { color: #283 }
@media (prefers-color-scheme: dark) { .failed { color: #f88 } .likely { color: #fc6 } .proven b { color: #8d8 } }
"""


def as_html(answer: Answer, recorded: list[Recorded], *, secure: bool) -> str:
    """One page that needs nothing else."""
    e = html.escape
    steps = "".join(
        f'<li class="{s.sure}"><b>{_MARKS[s.sure]} {e(s.sure)}: {e(s.topic)}</b>: {e(s.text)}</li>'
        for s in dict.fromkeys(answer.steps)
    )
    parts = [
        f"<h1>Calibration</h1><p><strong>{e(verdict(answer, secure=secure))}</strong></p><h2>Reasoning</h2><ol>{steps}</ol>"  # noqa: E501
    ]
    if answer.apart:
        parts.append(
            "<h2>What would tell the profiles apart</h2><ul>"
            + "".join(f"<li>{e(text)}</li>" for text in dict.fromkeys(answer.apart))
            + "</ul>"
        )
    if answer.open:
        parts.append("<h2>Left open</h2><ul>" + "".join(f"<li>{e(text)}</li>" for text in answer.open) + "</ul>")
    if answer.profiles and secure and answer.profiles[0].leaks:
        parts.append(f'<p class="failed">Broken cryptography: {e(answer.profiles[0].leaks)}</p>')
    for profile in answer.profiles:
        parts.append(f"<h2>Profile</h2><pre>{e(profile_text(profile, answer, secure=secure))}</pre>")
    if answer.opened:
        parts.append("<h2>What the boxes hold</h2><pre>" + e("\n".join(opened(answer)[2:])) + "</pre>")
    if answer.advice:
        parts.append(
            "<h2>What to do next</h2><ul>" + "".join(f"<li>{e(text)}</li>" for text in answer.advice) + "</ul>"
        )
    notes = [*dict.fromkeys(answer.notes), *NEVER_SHOWN]
    parts.append("<h2>Not shown</h2><ul>" + "".join(f"<li>{e(note)}</li>" for note in notes) + "</ul>")
    parts.append("<h2>Bytes</h2><pre>" + e("\n".join(hex_dump(answer, recorded))) + "</pre>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Calibration</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
