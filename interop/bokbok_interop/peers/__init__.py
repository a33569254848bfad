"""Peers: how to start and steer an implementation, wherever it runs.

What this package knows: processes, their streams, the line protocol, and addresses as each side sees them.

`base` has the two interfaces, `Peer` (an implementation that can be started) and `Running` (one started puppet);
`local` implements them with processes of this machine, `docker` with containers (`engine` runs these, `session` has
what a run uses there, `images` finds or builds their images, `attached` carries their streams). `puppet` speaks the
line protocol over any `Running`. `known` names the peers that come with the project.
"""

from .base import LOCAL_FAULTS, Peer, PuppetFault, Running, Unavailable
from .puppet import Answer, Features, Puppet, Trace

__all__ = [
    "LOCAL_FAULTS",
    "Answer",
    "Features",
    "Peer",
    "Puppet",
    "PuppetFault",
    "Running",
    "Trace",
    "Unavailable",
]
