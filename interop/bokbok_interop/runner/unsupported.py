"""Why peers cannot play a case, by what they say about themselves and by where they run."""

from __future__ import annotations

from collections.abc import Mapping

from ..cases import Case
from ..matrix import Group
from .puppets import Known
from .settings import Settings

__all__ = ["unsupported"]

CANNOT = {
    "pause": "it cannot be made to stand still",
    "kill": "it cannot be killed",
    "disconnect": "its network cannot be taken away (that of a container can)",
    "measure": "its memory and its open files cannot be counted (those of a process can)",
}
"""The text of a cell that needs a fault which cannot be made there."""


def unsupported(case: Case, group: Group, peers: Mapping[str, Known | None], settings: Settings) -> str:
    """Why these peers cannot play this case, by role, as far as they are known; empty if they can."""
    if why := case.foreign_to(settings.spoken.profile):
        return why
    for role, peer in peers.items():
        if peer is None:
            continue
        for feature in (group.transport, group.security, *case.needs):
            if feature not in peer.features:
                return f"{peer.name} lacks the feature {feature}"
        about = case.subject in (role, "either")
        if about and not settings.strict and case.kind.value not in peer.features:
            return f"{peer.name} does not claim the {case.kind.value} cases"
        if why := settings.spoken.refused_by(peer.features):
            return f"{peer.name} {why}"
        for fault in case.faults:
            if (role in case.fresh or not case.fresh) and fault not in peer.faults:
                return f"{peer.name} runs where {CANNOT[fault]}"
    return ""
