"""What to do next if nothing was found."""

from __future__ import annotations

import dataclasses

import pytest

from bokbok.wire import INFERRED_1
from bokbok_calibrate.derivation import Secrets
from bokbok_calibrate.search.solve import solve
from tests.support.calibrating import KNOWN, SECRETS, SHORT, recording

SECURE = recording(INFERRED_1, lines=SHORT[:3])
INSECURE = recording(INFERRED_1, lines=SHORT[:3], secure=False)


@pytest.mark.parametrize(
    ("recorded", "secrets", "advice"),
    [
        (INSECURE, SECRETS, "the connection is insecure; read it with --insecure"),
        (SECURE, Secrets(), "is the connection secure? Then give --user"),
        (SECURE, Secrets(b"nobody", b"mypassphrase"), "check --user: 'nobody' is not in what the client sends; "
         "in the place of a name there is 'myuser'"),
        (SECURE, Secrets(b"myuser", b"another"), "most likely it is not this user's"),
        (SECURE, Secrets(b"myuser", key=bytes(32)), "no box opens under the key of --key-file"),
    ],
    ids=["insecure", "secure", "user", "passphrase", "key"],
)  # fmt: skip
def test_a_likely_mistake_is_named(recorded: list[object], secrets: Secrets, advice: str) -> None:
    answer = solve(recorded, secrets, KNOWN, patience=5)  # type: ignore[arg-type]
    assert answer.status == 4
    assert any(advice in text for text in answer.advice), answer.advice


def test_where_the_session_keys_box_opened_the_passphrase_is_not_doubted() -> None:
    torn = [
        dataclasses.replace(one, client=bytes([7 + 90 * n, 3]) + one.client[:200] + b"?" * (3 + n) + one.client[200:])
        for n, one in enumerate(SECURE)
    ]
    answer = solve(torn, SECRETS, KNOWN, patience=20)
    assert answer.status == 4
    assert any("the session key's box is at" in step.text for step in answer.steps)
    assert answer.advice == [
        "the session key's box is proven; what follows it needs a strategy of your own (docs/profiles.md)"
    ]
