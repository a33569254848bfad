"""Sockets that systemd has opened for this process (`sd_listen_fds(3)`).

What this module knows: the environment variables, and what may be wrong with the descriptors that they announce.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from .._sockets import Listener, tcp_address
from ..address import Address
from ..errors import BokbokError

__all__ = ["ActivationError", "systemd_listener"]

_FIRST: Final = 3
"""`SD_LISTEN_FDS_START`"""


class ActivationError(BokbokError):
    """systemd has not handed over sockets that a server can listen at."""


def systemd_listener() -> Listener:
    """The sockets that a `.socket` unit has opened for this process: give it to `start_server` as the address.

    systemd keeps them open: a client that connects while the server restarts waits, and a Unix socket's file stays. The
    variables are removed from the environment, so that a child process does not take them for its own.

    Raises:
        ActivationError: there are none for this process, or they are not listening stream sockets of one kind (TCP or
            Unix).
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal() or int(count) < 1:
        raise ActivationError(
            "systemd has not handed over a socket (LISTEN_PID and LISTEN_FDS do not say so): start it by a .socket unit"
        )
    sockets: list[socket.socket] = []
    try:
        for number in range(_FIRST, _FIRST + int(count)):
            os.set_inheritable(number, False)
            sock = socket.socket(fileno=number)
            sockets.append(sock)
            if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise ActivationError(
                    f"descriptor {number}: expected a listening stream socket (ListenStream=, and Accept=no)"
                )
            sock.setblocking(False)
        return Listener(sockets, _address(sockets))
    except BaseException as error:
        for sock in sockets:
            sock.close()
        if isinstance(error, OSError):
            raise ActivationError(f"descriptor {_FIRST + len(sockets)}: {error.strerror}") from None
        raise


def _address(sockets: list[socket.socket]) -> Address:
    families = {sock.family for sock in sockets}
    if families == {socket.AF_UNIX}:
        path = sockets[0].getsockname()
        return ("unix", os.fsdecode(path) if isinstance(path, bytes) else path)
    if not families <= {socket.AF_INET, socket.AF_INET6}:
        raise ActivationError("expected sockets of one kind, all TCP or all Unix: give each kind a service of its own")
    host, port = sockets[0].getsockname()[:2]
    return tcp_address(host, port)
