"""Peers on whose connections only one side can ask."""

from __future__ import annotations

from typing import Any

from ._mutant import C, around, mutant


@mutant("symmetry.server-calls-client", "symmetry.callback", role="client")
def client_serves_nothing() -> None:
    """A client does not serve requests."""

    def came(real: Any) -> Any:
        def run(self: Any, number: int, body: Any) -> None:
            if self.server is not None:
                real(self, number, body)

        return run

    around(C, "request_came", came)
