"""What is kept of a cell that was played, for people: datums, packets, logs; of a passed one only its beginning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..dump import beginning, explain, render
from ..peers.puppet import Puppet
from ..play import Play

__all__ = ["brief", "whole"]

LARGE = 256 * 1024
"""A larger recording is not kept."""


def brief(play: Play, puppets: Mapping[str, Puppet], logs: Mapping[str, int]) -> dict[str, Any]:
    """The evidence of a passed cell. For the arguments see `whole`."""
    datums = _datums(play)
    short: dict[str, Any] = {
        "brief": True,
        "datums": [[t, role, d, str(line)[:160]] for t, role, d, line in datums[:12]],
        "more": max(0, len(datums) - 12),
        "packets": beginning(play.capture, play.profile, _secrets(play), packets=6, cap=64),
    }
    for role, puppet in puppets.items():
        if log := puppet.running.log.text(logs[role])[-400:]:
            short[f"{role}_log"] = log
    return short


def whole(play: Play, puppets: Mapping[str, Puppet], logs: Mapping[str, int]) -> dict[str, Any]:
    """The evidence of a failed cell.

    Args:
        play: the case that was played.
        puppets: its puppets, by role.
        logs: how long the log of each was when the cell began.
    """
    packets = explain(play.capture, play.profile, _secrets(play))
    evidence: dict[str, Any] = {
        "datums": _datums(play),
        "packets": packets,
        "dump": render(packets),
        "capture": "".join(line + "\n" for line in play.capture.lines()) if play.capture.size <= LARGE else "",
    }
    for role, puppet in puppets.items():
        evidence[f"{role}_log"] = puppet.running.log.text(logs[role])
    return evidence


def _datums(play: Play) -> list[list[Any]]:
    return [
        [round(t, 4), role, direction, line.decode("utf-8", "backslashreplace")]
        for t, role, direction, line in play.trace.lines
    ]


def _secrets(play: Play) -> dict[str, str]:
    return play.secrets if play.secure else {}
