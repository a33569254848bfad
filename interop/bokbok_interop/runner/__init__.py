"""Plays the matrix: starts puppets, plays cases at the same time, and never blames one peer for another's fault.

Two puppets are started for a group (an ordered pair, one transport, one security mode). The group's cases share them,
and run at once with their own servers, connections and relays. When a puppet breaks while several cases use it, each of
them is played again alone, with new puppets: the culprit breaks its puppet again, the others do not.

Each module imports only those below it:

| module | what it knows |
|---|---|
| `run` | the order of everything: rounds, groups, what is played again when, the end |
| `culprits` | which case broke a puppet that several used |
| `pinning` | behind which other cells one fails that passes alone |
| `late` | when a cell that ran out of time on a busy machine is played again, and which need not be |
| `cells` | how one cell is played, and its outcome |
| `crowd` | cells that used a puppet when it broke |
| `puppets` | which puppets run, and when a peer is given up |
| `unsupported`, `evidence`, `results`, `shared`, `settings`, `observer`, `tasks` | one thing each |
"""

from __future__ import annotations

from .observer import Observer
from .run import Runner
from .settings import Settings
from .shared import Shared

__all__ = ["Observer", "Runner", "Settings", "Shared"]
