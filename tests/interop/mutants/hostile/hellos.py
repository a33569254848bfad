"""Peers that accept a wrong hello."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from typing import Any

import peer as P
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from .._changes import _lookup, _open_unchecked
from .._mutant import C, around, claim, mutant


@mutant("hostile.hello-tampered", "secure.wrong-key", "secure.unknown-user", "secure.other-users-key")
def skips_the_hello_tag() -> None:
    """Accepts any session key's box."""

    def hello(self: Any, sock: Any, user_to_key: Any) -> tuple[str, bytes]:
        sock.settimeout(10)
        name, boxed = P.read_packet(sock, 255), P.read_packet(sock, 72)
        if name is None or boxed is None or len(boxed) != 72:
            raise P.ProtocolError("no hello")
        user = name.decode("latin-1")
        key = user_to_key(user) or bytes(32)
        sock.settimeout(None)
        return user, _open_unchecked(SecretBox(key), boxed)

    P.Server.hello = hello


@mutant("hostile.hello-bad-session-key")
def any_session_key_length() -> None:
    """Accepts a session key of any length, cut or filled up with zeros."""

    def hello(self: Any, sock: Any, user_to_key: Any) -> tuple[str, bytes]:
        sock.settimeout(10)
        name, boxed = P.read_packet(sock, 255), P.read_packet(sock, 1000)
        user = (name or b"").decode("latin-1")
        session = SecretBox(user_to_key(user) or os.urandom(32)).decrypt(boxed or b"")
        sock.settimeout(None)
        return user, session[:32].ljust(32, b"\0")

    P.Server.hello = hello


@mutant("hostile.hello-strange-names")
def strange_names_kill() -> None:
    """Dies of a username that is not valid UTF-8."""
    _lookup(lambda get, user: get(user) if _is_utf8(user) else os._exit(70))


def _is_utf8(text: str) -> bool:
    try:
        text.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True


@mutant("hostile.log-is-clean")
def logs_names_raw() -> None:
    """Writes usernames to its log as they come."""
    claim("hardening")

    def log(get: Any, user: str) -> Any:
        sys.stderr.write(f"login by {user}\n")
        sys.stderr.flush()
        return get(user)

    _lookup(log)


@mutant("hostile.hello-withheld", "hostile.insecure-request-at-secure-server")
def no_hello_timeout() -> None:
    """Waits for a hello for ever."""
    claim("hardening")
    P.HELLO_SECONDS = None


@mutant("hostile.hello-drip-fed")
def hello_timeout_per_byte() -> None:
    """Allows ten seconds for every byte of a hello."""
    claim("hardening")  # the example's own timeout is one for each read already


@mutant("hostile.second-hello")
def takes_a_second_hello() -> None:
    """Accepts another hello on an open connection, and goes on under its session key."""
    known: dict[Any, tuple[str, bytes]] = {}

    def hello(real: Any) -> Any:
        def run(self: Any, sock: Any, user_to_key: Any) -> Any:
            user, session = real(self, sock, user_to_key)
            known[sock] = user, user_to_key(user)
            return user, session

        return run

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            user, key = known[self.sock]
            if packet == user.encode("latin-1"):
                return
            if len(packet) == P.BOXED_KEY:
                with contextlib.suppress(CryptoError):
                    self.box = SecretBox(SecretBox(key).decrypt(packet))
                    return
            real(self, packet)

        return run

    around(P.Server, "hello", hello)
    around(C, "packet_came", came)


@mutant("hostile.hello-late-name")
def hello_timeout_per_packet() -> None:
    """Allows ten seconds for every packet of a hello."""
    claim("hardening")
    real = P.read_packet

    def read_packet(sock: Any, limit: int) -> bytes | None:
        if limit == P.MAX_PACKET:
            return real(sock, limit)
        watch = threading.Timer(P.HELLO_SECONDS, sock.shutdown, (socket.SHUT_RD,))
        watch.start()
        try:
            return real(sock, limit)
        finally:
            watch.cancel()

    P.read_packet = read_packet


@mutant("hostile.slow-but-good-hello", "hostile.packet-in-pieces")
def one_read_one_packet() -> None:
    """Treats the bytes of one read as a packet."""

    def exactly(sock: Any, count: int) -> bytes | None:
        if count == 0:
            return None
        data = sock.recv(count)
        if data and len(data) < count:
            raise P.ProtocolError("a short read")
        return data or None

    P.read_exactly = exactly


@mutant("hostile.hello-bad-session-key")
def takes_more_than_a_session_key() -> None:
    """Ignores what follows the 72 bytes of a boxed session key."""

    def hello(self: Any, sock: Any, user_to_key: Any) -> tuple[str, bytes]:
        sock.settimeout(P.HELLO_SECONDS)
        name, boxed = P.read_packet(sock, P.NAME_LIMIT), P.read_packet(sock, 200)
        if name is None or boxed is None:
            raise P.ProtocolError("no hello")
        user = name.decode("latin-1")
        session = SecretBox(user_to_key(user) or os.urandom(32)).decrypt(boxed[: P.BOXED_KEY])
        if len(session) != 32:
            raise P.ProtocolError("no session key")
        sock.settimeout(None)
        return user, session

    P.Server.hello = hello
