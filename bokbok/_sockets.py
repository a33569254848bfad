"""Sockets as both front ends need them: listening, connecting, and the address of the other end.

What this module knows: the operating system's addresses and options.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any

from .address import Address, TcpAddress, UnixAddress, format_address
from .errors import AddressError, ConnectFailed

__all__ = [
    "BACKLOG_RETRY",
    "DEFAULT_BACKLOG",
    "DEFAULT_CONNECT_TIMEOUT",
    "ENDLESS",
    "LINGER_SECONDS",
    "Listener",
    "connect_candidates",
    "connect_failed",
    "is_numeric",
    "listen",
    "not_taken",
    "peer_address",
    "seconds",
    "tcp_address",
    "tune",
    "why_broken",
]

DEFAULT_BACKLOG = 1024
"""Connections that the system holds for a server which has not accepted them yet. The API reference suggests 10, which
a burst of clients fills at once. Whoever finds it full tries again after 1, 3, 7, 15 and 31 seconds (TCP): with 128,
beside a crowd of 10,000, a new client waited for 36 s, with this number for 1.4 s. Linux caps it at 4,096."""
DEFAULT_CONNECT_TIMEOUT = 30.0
"""Seconds to connect: more than Linux needs to find a host unreachable, less than its two minutes of silence."""

ENDLESS = 2_000_000.0
"""A time-out of this many seconds or more never runs out: `poll` takes 24 days at most."""

BACKLOG_RETRY = 0.01
"""Seconds until a Unix socket whose backlog is full is tried again."""

LINGER_SECONDS = 2.0
"""Seconds in which what a refused peer still sends is read and dropped, however much, so that the close is not a reset;
and in which what was written before a close may still be taken."""

# When a silent peer's host is asked whether it is still there: after a minute, then every ten seconds, six times.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENOPROTOOPT)  # what says that IPv6 is not to be had here
_PORT_ATTEMPTS = 10
"""How often another port is tried where the system's choice for one address of a host is taken on another."""
_LOCK_SECONDS = 5.0
"""How long another process's lock on the folder of a Unix socket is waited for. It is held for a moment, except by an
attacker: any user who can read the folder can lock it."""
_LOCK_RETRY = 0.005
_UNIX_PATH_LIMIT = 107  # bytes in `sun_path` on Linux, less its NUL


def seconds(timeout: float | None, name: str = "timeout") -> float | None:
    """A time-out as it was given; `None` where it never runs out. One below 0 has run out already.

    Raises:
        TypeError: it is not a number. `True` and `False` are refused: a caller that passes them means something else.
        ValueError: it is not a number (NaN), which would compare with nothing.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool):
        raise TypeError(f"{name}: expected seconds or None, got {type(timeout).__name__}")
    if timeout != timeout:
        raise ValueError(f"{name}: expected seconds or None, got NaN")
    return timeout if timeout < ENDLESS else None


class Listener:
    """Listening sockets of one server: one, or one for each address of a host name; and a Unix socket's file."""

    def __init__(self, sockets: list[socket.socket], address: Address, file: str | None = None) -> None:
        self.sockets = sockets
        self.address = address
        # Whole: the program may change its current folder, and the file is to be found all the same.
        self._path = file
        self._file = _identity(file) if file is not None else None

    def remove_file(self) -> None:
        """Remove the Unix socket's file, if it is still ours."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._file:
                os.unlink(self._path)
        self._path = None

    def close(self) -> None:
        """Stop listening, and remove the Unix socket's file."""
        self.remove_file()
        for sock in self.sockets:
            sock.close()


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def listen(
    address: Address, backlog: int, *, mode: int | None = None, owner: tuple[int, int] | None = None
) -> Listener:
    """Bind and listen; the sockets do not block.

    Args:
        address: TCP, where the host `None` means all addresses (IPv4 and IPv6) and port 0 lets the system choose; or
            Unix, where a file that a dead server left behind is replaced.
        backlog: connections that the system holds until they are accepted.
        mode: of a Unix socket's file, from before anybody can connect; `None` leaves it to the process's umask.
        owner: user and group of a Unix socket's file, -1 for one that is to stay as it is.

    Raises:
        ConnectFailed: it cannot be bound (in use, not allowed, no such host).
        AddressError: a Unix path too long for the system.
    """
    if address[0] == "unix":
        return _listen_unix(address, backlog, mode, owner)
    _, host, port = address
    sockets: list[socket.socket] = []
    try:
        sockets = [_bind_all(port)] if host is None else _bind_host(host, port)
        for sock in sockets:
            sock.listen(backlog)
            sock.setblocking(False)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise _failed("listen on", address, error) from None
    except UnicodeError:
        raise _no_host_name(address) from None
    except BaseException:  # a backlog that is not a number
        for sock in sockets:
            sock.close()
        raise
    return Listener(sockets, ("tcp", host, sockets[0].getsockname()[1]))


def _bind_host(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to each address of a host, all on the same port."""
    places = _resolve(host, port, passive=True)
    for _ in range(_PORT_ATTEMPTS - 1):
        try:
            return _bind_each(places)
        except OSError as error:
            if port != 0 or error.errno != errno.EADDRINUSE:
                raise
    return _bind_each(places)


def _bind_each(places: list[tuple[int, tuple[Any, ...]]]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, place in places:
            if sockets and place[1] == 0:  # every address of the name gets the port that the first was given
                place = (place[0], sockets[0].getsockname()[1], *place[2:])
            try:
                sockets.append(_bind_tcp(family, place))
            except OSError as error:
                # "localhost" often names `::1` too where IPv6 is off, in containers for one.
                if error.errno not in _ABSENT:
                    raise
                absent = error
        if absent is not None and not sockets:
            raise absent
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind_all(port: int) -> socket.socket:
    """A socket bound on IPv4 and IPv6; on IPv4 alone where the system has no IPv6."""
    if socket.has_ipv6:
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        except OSError:
            return _bind_tcp(socket.AF_INET, ("0.0.0.0", port))
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", port))
        except OSError as error:
            sock.close()
            if error.errno not in _ABSENT:
                raise
        else:
            return sock
    return _bind_tcp(socket.AF_INET, ("0.0.0.0", port))


def _bind_tcp(family: int, place: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _listen_unix(
    address: UnixAddress, backlog: int, mode: int | None = None, owner: tuple[int, int] | None = None
) -> Listener:
    _check_unix_path(address[1])
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener = Listener([sock], address)
    try:
        path = os.path.abspath(address[1])
        # From the look at the file that is there to the moment when this one can be connected to: of servers that start
        # at once, one takes a stale file's place, and the others see that it is there.
        with _folder_locked(path):
            # By the path as it was given, which may be short enough for the system where the whole one is not.
            try:
                sock.bind(address[1])
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not _is_stale(address[1]):
                    raise
                os.unlink(path)
                sock.bind(address[1])
            listener = Listener([sock], address, path)
            # No client can connect yet.
            if owner is not None:
                os.chown(path, *owner)
            if mode is not None:
                os.chmod(path, mode)
            sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        listener.close()
        raise _failed("listen on", address, error) from None
    except BaseException:  # a backlog that is not a number
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def _folder_locked(path: str) -> Iterator[None]:
    """Hold the lock on a file's folder that each server takes which binds there. It leaves no file behind.

    Raises:
        OSError: somebody else holds it all the time.
    """
    try:
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        folder = None  # a folder that may be entered and not read cannot be locked
    try:
        if folder is not None:
            _lock(folder)
        yield
    finally:
        if folder is not None:
            os.close(folder)  # which ends the lock


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError("another process holds a lock on its folder") from None
            time.sleep(_LOCK_RETRY)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            return  # a file system without locks of folders
        else:
            return


def _is_stale(path: str) -> bool:
    """Whether no server listens any longer behind a socket's file."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False


def _check_unix_path(path: str) -> None:
    try:
        size = len(os.fsencode(path))
    except UnicodeEncodeError:
        raise AddressError(f"address {path!r}: not a path: it holds a character that a file name cannot have") from None
    if size > _UNIX_PATH_LIMIT:
        raise AddressError(f"address {path!r}: {size} bytes; a Unix socket's path has at most {_UNIX_PATH_LIMIT}")


def _resolve(host: str, port: int, *, passive: bool = False) -> list[tuple[int, tuple[Any, ...]]]:
    flags = socket.AI_PASSIVE if passive else 0
    # As bytes, an address is not encoded as the name of a host is, by tables that take as long to import as a request.
    asked = host.encode("ascii") if is_numeric(host) else host
    found = socket.getaddrinfo(asked, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags)
    return list(dict.fromkeys((family, place) for family, _, _, _, place in found))


def connect_candidates(address: Address) -> list[tuple[int, Any]]:
    """Socket families and addresses to try, in order. Resolves names, which may take a while.

    Raises:
        ConnectFailed: an unknown host.
        AddressError: a Unix path too long for the system.
    """
    if address[0] == "unix":
        _check_unix_path(address[1])
        return [(socket.AF_UNIX, address[1])]
    _, host, port = address
    try:
        return list(_resolve("localhost" if host is None else host, port))
    except OSError as error:
        raise connect_failed(address, error) from None
    except UnicodeError:
        raise _no_host_name(address) from None


def is_numeric(host: str | None) -> bool:
    """Whether a host is an address and not a name that has to be looked up."""
    number = (host or "").partition("%")[0]
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in number else socket.AF_INET, number)
    except (OSError, ValueError):  # a NUL, or what is not ASCII
        return False
    return True


def _no_host_name(address: TcpAddress) -> AddressError:
    return AddressError(f"address {format_address(address)!r}: {address[1]!r} is not a host name")


def connect_failed(address: Address, error: OSError) -> ConnectFailed:
    """The exception for a connection that could not be made."""
    return _failed("connect to", address, error)


def _failed(what: str, address: Address, error: OSError) -> ConnectFailed:
    # An event loop's own text for an error does not say what is wrong; the system's does.
    if error.errno is not None and not isinstance(error, socket.gaierror):
        reason = os.strerror(error.errno)
    else:
        reason = error.strerror or str(error) or type(error).__name__
    return ConnectFailed(f"cannot {what} {format_address(address)}: {reason}")


def why_broken(error: BaseException) -> str:
    """Why a connection broke, in words that may follow others: "connection reset by peer"."""
    if isinstance(error, BrokenPipeError):
        return "the other end closed the connection"
    words = error.strerror if isinstance(error, OSError) else None
    if words:
        return words[:1].lower() + words[1:]
    return str(error) or type(error).__name__


def tune(sock: socket.socket) -> None:
    """Set a connected socket's options, if the system has them: no delay for small packets, and keep-alive."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # A peer may be gone already, which the next read will tell better than this.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            option = getattr(socket, name, None)  # not every system has every one
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def not_taken(sock: socket.socket) -> int:
    """Bytes that were given to the system and that the other end has not taken; 0 where that cannot be known.

    By TCP those that its system has not acknowledged (SIOCOUTQ), which stops once its buffer is full and it does not
    read; on a Unix socket those that it has not read.
    """
    import termios  # only here, where something is waited for

    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"), sys.byteorder, signed=True)
    except (OSError, ValueError):
        return 0


def peer_address(sock: socket.socket, asked: Address) -> Address:
    """The address of the other end (API reference: `connection-addr`).

    Args:
        sock: a connected socket.
        asked: the address that this side connected to or listens on.

    Returns:
        `("tcp", host, port)` with a numeric host, an IPv4-mapped one shown as IPv4; or `("unix", path)`, the path
        of the socket, which is the same on both sides.
    """
    if asked[0] == "unix":
        return asked
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return asked  # gone already
    return tcp_address(host, port)


def tcp_address(host: str, port: int) -> TcpAddress:
    """A TCP address as it is shown: an IPv4-mapped IPv6 address as IPv4."""
    if ":" not in host:
        return ("tcp", host, port)
    import ipaddress  # only here: it takes longer than a request

    with contextlib.suppress(ValueError):
        mapped = getattr(ipaddress.ip_address(host), "ipv4_mapped", None)
        if mapped is not None:
            host = str(mapped)
    return ("tcp", host, port)
