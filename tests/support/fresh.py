"""New conversations: does a profile really speak a foreign peer's format, in both roles?

What this module knows: how to make a foreign recording for the calibrator, and how to let the library's own front end,
with a found profile, talk to a live foreign server and a live foreign client about things that were not recorded.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from bokbok import service
from bokbok.errors import RemoteError, WriteError
from bokbok.sexpr import Symbol, dumps, loads
from bokbok.sync import Connection, open_connection, start_server
from bokbok.wire import BrokenCryptographyWarning, Guards, Profile, passphrase_to_key
from bokbok_calibrate.script import SCRIPT
from bokbok_traffic.capture import Capture
from bokbok_traffic.recording import Recorded, from_capture
from tests.support import foreign
from tests.support.foreign.sexpr import read, write

USER = "myuser"
TIMEOUT = 5.0

TALK: tuple[str, ...] = (
    '("ping" "fresh")',
    '("echo" (1 (2 . 3) #(4 "five") six seven: #\\8 -9 1.5 #t #f () |t e n|))',
    '("fail" "fresh failure")',
    '("callback" 2 (fresh "marker"))',
    '("echo" "")',
    '("echo" response)',
    '("echo" "tab \\t newline \\n quote \\" byte \\x01")',
    '("whoami")',
    '("fail" "")',
    '("nonsense")',
    *(f'("echo" "{(str(size) + " ") * size:.{size}}")' for size in (30, 60, 90, 120, 131, 180, 250, 300, 5000, 70_000)),
    '("ping" "last")',
)
"""The requests in each role: unlike the script, and of many lengths."""


def recorded_foreign(
    fmt: foreign.Format, rng: Random, *, script: Sequence[str] = SCRIPT, **options: Any
) -> list[Recorded]:
    """A recording of a script between foreign peers, in the form for the calibrator."""
    made = foreign.record(fmt, list(script), rng, user=USER, **options)
    capture = Capture("tcp")
    for line in made.records:
        if "from" in line:
            data = None if line.get("eof") else bytes.fromhex(line["data"])
            capture.add(line.get("t", 0), line.get("conn", 1), line["from"], data)
    return from_capture(capture)


def fresh_problems(profile: Profile, fmt: foreign.Format, talk: Sequence[str] = TALK) -> list[str]:
    """Play a new conversation in both roles. Returns what went wrong; empty if all was well."""
    guards = Guards(nonce_reuse=profile.leaks is None or not fmt.secure)
    with tempfile.TemporaryDirectory(prefix="fresh-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", BrokenCryptographyWarning)
        place = str(Path(folder) / "s")
        out = [f"our client: {problem}" for problem in _as_client(profile, fmt, talk, place, guards)]
        out += [f"our server: {problem}" for problem in _as_server(profile, fmt, talk, place + "2", guards)]
    return out


@contextmanager
def _reported(problems: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        problems.append(f"{what:.60}: {type(error).__name__}: {error}")


def _as_client(profile: Profile, fmt: foreign.Format, talk: Sequence[str], place: str, guards: Guards) -> list[str]:
    problems: list[str] = []
    credentials: dict[str, Any] = {}
    if fmt.secure:
        credentials = {"user": USER, "key": passphrase_to_key(fmt.derivation.example, profile=profile)}
    with (
        foreign.ForeignServer(fmt, ("unix", place)) as server,
        _reported(problems, "open"),
        open_connection(place, **credentials, on_request=service.handler(), profile=profile, guards=guards) as ours,
    ):
        for line in talk:
            with _reported(problems, line):
                problems += _ask(ours, loads(line))
            if len(problems) > 2:
                return problems
        if not fmt.lockstep:
            with _reported(problems, "the server asks"):
                theirs = server.wait_for_connection(timeout=TIMEOUT)
                answer = theirs.request(["ping", "from the server"], timeout=TIMEOUT)
                if answer != ["pong", "from the server"]:
                    problems.append(f"the server asked and was answered {answer!r}")
    return problems


def _ask(connection: Connection, request: list[Any]) -> list[str]:
    name = request[0]
    try:
        answer: Any = connection.request(request, timeout=TIMEOUT)
    except WriteError:
        return []  # longer than the format's packets
    except RemoteError as error:
        if name not in ("fail", "nonsense"):
            # What the format cannot carry back is answered with an error by either side.
            if len(dumps(request)) > 40 and name == "echo":
                return []
            return [f"{name}: remote error {error.message!r}"]
        said = request[1] if name == "fail" else ""
        return [] if said in error.message else [f"{name}: the error says {error.message!r}"]
    expected: Any = {
        "ping": ["pong", request[-1]],
        "echo": request[-1],
        "whoami": connection.user or False,
        "callback": [[i, request[-1]] for i in range(request[1] if len(request) > 2 else 0)],
    }.get(name, Symbol("an-error"))
    return [] if dumps(answer) == dumps(expected) else [f"{name}: answered {str(answer)[:80]!r}"]


def _as_server(profile: Profile, fmt: foreign.Format, talk: Sequence[str], place: str, guards: Guards) -> list[str]:
    problems: list[str] = []
    opened: list[Connection] = []
    known: dict[str, Any] = {}
    if fmt.secure:
        key = passphrase_to_key(fmt.derivation.example, profile=profile)
        known = {"user_to_key": lambda user: key if user == USER else None}
    with (
        start_server(place, service.handler(), on_open=opened.append, profile=profile, guards=guards, **known),
        foreign.ForeignClient(fmt, ("unix", place)) as client,
    ):
        for line in talk:
            with _reported(problems, line):
                answer = client.exchange(read(line), timeout=TIMEOUT)
                problems += _judge(line, answer, fmt)
            if len(problems) > 2:
                return problems
        if not fmt.lockstep and opened:
            with _reported(problems, "our server asks"):
                problems += _ask(opened[0], ["ping", "from our server"])
    return problems


def _judge(line: str, answer: foreign.Answer, fmt: foreign.Format) -> list[str]:
    request = loads(line)
    name = request[0]
    if answer.outcome == "error":
        if name in ("fail", "nonsense") or (name == "echo" and len(line) > 40):
            return [] if name != "fail" or request[1] in answer.value else [f"fail: {answer.value!r}"]
        return [f"{name}: error {answer.value!r}"]
    if answer.outcome != "answer":
        return [] if answer.outcome == "unsent" else [f"{name}: {answer.outcome}: {answer.value}"]
    expected: Any = {
        "ping": ["pong", request[-1]],
        "echo": request[-1],
        "whoami": USER if fmt.secure else False,
        "callback": [[i, request[-1]] for i in range(request[1] if len(request) > 2 else 0)],
    }.get(name, Symbol("an-error"))
    got = write(answer.value, "chicken-4")
    return [] if loads(got) == expected else [f"{name}: answered {got[:80]!r}"]
