"""Peers that too much at once holds up."""

from __future__ import annotations

import threading
from typing import Any

from .._mutant import C, around, claim, mutant


@mutant("hostile.never-reads")
def one_lock_for_all_writing() -> None:
    """Has one lock for the writing of all its connections."""
    claim("hardening")
    lock = threading.RLock()
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "write_lock", lock))[0])


@mutant("hostile.server-never-reads", role="client")
def client_one_lock_for_all_writing() -> None:
    """A client that has one lock for the writing of all its connections."""
    one_lock_for_all_writing()


@mutant("hostile.flood-of-requests")
def drops_requests_under_load() -> None:
    """Drops requests without a word when many run."""

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            if self.running < 500:
                real(self, number, body)

        return run

    around(C, "request_came", came)


@mutant("hostile.server-floods", role="client")
def client_drops_requests_under_load() -> None:
    """A client that drops requests without a word when many run."""
    drops_requests_under_load()
