"""The error for bytes that most likely are of another format than the profile's, in one place."""

from __future__ import annotations

from ..errors import RemoteProtocolError

__all__ = ["foreign"]


def foreign(problem: str) -> RemoteProtocolError:
    """What is raised for bytes that this format cannot have.

    Args:
        problem: what is there, where, and what was expected.
    """
    return RemoteProtocolError(f"{problem} (most likely the other end speaks another format)")
