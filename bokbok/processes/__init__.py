"""A server on several processes, behind one listening socket.

    # service.py
    from bokbok import start_server

    def serve(worker):                      # in each process
        return start_server(worker, answer, user_to_key=keys.get)

    # main.py
    from bokbok.processes import start_processes

    with start_processes("localhost:8000", "service:serve", processes=4) as supervisor:
        ...                                 # supervisor.restart(), supervisor.statistics()

The supervisor, in the process that calls `start_processes`, owns the listening sockets. It starts each worker as a
program of its own and hands it their descriptors; a worker accepts by itself, and a connection is one worker's from
then on. Workers share what they know of connections through the supervisor: a hello that one worker has accepted is
refused by all, and connections per address and user, hellos under way and penalties are counted over all workers. Slots
for handlers, and memory, are divided among the workers.

When a worker dies, its connections end, and the supervisor starts another one. `restart` starts new workers beside the
old ones, which keep the connections that they have. A worker that has lost its supervisor drains and ends.

`systemd_listener` returns the sockets that systemd has opened, for one process or several.
"""

from __future__ import annotations

from .._front.worker import Worker
from .._sockets import Listener
from ._supervisor import DEFAULT_RETIRE_TIMEOUT, ProcessesError, Supervisor, start_processes
from ._systemd import ActivationError, systemd_listener

__all__ = [
    "DEFAULT_RETIRE_TIMEOUT",
    "ActivationError",
    "Listener",
    "ProcessesError",
    "Supervisor",
    "Worker",
    "start_processes",
    "systemd_listener",
]
