from __future__ import annotations

import pytest

from bokbok_workers.where import Where


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("local:3", Where(workers=3)),
        ("tcp://127.0.0.1:8786", Where("tcp://127.0.0.1:8786")),
        ("tcp://localhost:8786", Where("tcp://localhost:8786")),
        ("tcp://[::1]:8786", Where("tcp://[::1]:8786")),
        ("tls://scheduler.example:8786", Where("tls://scheduler.example:8786")),
    ],
)
def test_a_scheduler_is_named(text: str, where: Where) -> None:
    assert Where.parse(text) == where


@pytest.mark.parametrize(
    "text",
    ["", "local", "local:", "local:0", "local:257", "local:x", "8786", "tcp://8786", "udp://127.0.0.1:1", "tls://h:x"],
)
def test_what_names_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected (tcp|local)"):
        Where.parse(text)


@pytest.mark.parametrize("text", ["tcp://192.0.2.1:8786", "tcp://scheduler.example:8786", "tcp://[2001:db8::1]:8786"])
def test_beyond_this_machine_tls_is_required(text: str) -> None:
    with pytest.raises(ValueError, match="must be tls://"):
        Where.parse(text)
