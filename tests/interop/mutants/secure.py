"""Peers whose keys, hellos or nonces are wrong."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import peer as P
import puppet as U
import sexpr as S
from nacl.secret import SecretBox

from ._changes import _ignore_protocol_errors, _lookup
from ._mutant import C, around, mutant


@mutant("secure.unknown-user", "secure.denied-user")
def accepts_any_user() -> None:
    """Uses the key of a known user if the user is unknown or denied."""
    _lookup(lambda get, user: get(user) or get("alice"))


@mutant("secure.any-passphrase", role="client")
def normalizes_passphrases() -> None:
    """Applies Unicode normalization to passphrases."""

    def normal(text: str) -> str:
        with contextlib.suppress(UnicodeError):
            text = unicodedata.normalize("NFC", text.encode("latin-1").decode()).encode().decode("latin-1")
        return text

    around(U, "passphrase_to_key", lambda real: lambda text: real(normal(text)))


@mutant("secure.two-users", "secure.other-users-key", "hostile.hello-for-other-user")
def one_key_for_all() -> None:
    """Uses one user's key for everybody."""
    _lookup(lambda get, user: get(user) and get("alice"))


@mutant("secure.user-names-are-exact")
def folds_user_names() -> None:
    """Trims usernames and folds their case before the lookup."""
    _lookup(lambda get, user: get(user.strip(" \0").lower()))


@mutant("secure.user-names-are-exact")
def cuts_user_names_at_nul() -> None:
    """Ends usernames at a NUL, as C does."""
    _lookup(lambda get, user: get(user.split("\0")[0]))


@mutant("secure.any-user-name")
def cuts_user_names_at_a_colon() -> None:
    """Looks a username up without what stands behind a colon."""
    _lookup(lambda get, user: get(user.split(":")[0]))


@mutant("secure.any-user-name", "secure.user-names-are-exact")
def user_names_lose_their_line_ends() -> None:
    """Looks a username up without the line feed and the return at its end."""
    _lookup(lambda get, user: get(user.rstrip("\r\n")))


@mutant("secure.almost-right-key", role="both")
def folds_passphrases() -> None:
    """Trims passphrases and folds their case."""
    around(U, "passphrase_to_key", lambda real: lambda text: real(text.strip().lower()))


@mutant("secure.any-passphrase", role="server")
def shortens_passphrases() -> None:
    """Uses only the first 64 characters of a passphrase."""
    around(U, "passphrase_to_key", lambda real: lambda text: real(text[:64]))


@mutant("secure.any-passphrase")
def refuses_empty_passphrases() -> None:
    """Has no key for an empty passphrase."""
    around(U, "passphrase_to_key", lambda real: lambda text: real(text) if text else None)


@mutant("secure.key-derivation", "secure.right-key")
def other_key_derivation() -> None:
    """Makes keys by SHA-256."""
    import hashlib

    U.passphrase_to_key = lambda text: hashlib.sha256(text.encode("latin-1")).digest()


@mutant("secure.fresh-session-keys", role="client")
def constant_session_key() -> None:
    """Uses the same session key for every connection."""
    around(P, "Connection", lambda real: lambda s, u, a, r, c, key: real(s, u, a, r, c, key and b"k" * 32))
    real_open = P.open_connection

    def opening(*arguments: Any) -> Any:
        urandom, os.urandom = os.urandom, lambda n: b"k" * 32 if n == 32 else urandom(n)
        try:
            return real_open(*arguments)
        finally:
            os.urandom = urandom

    U.open_connection = opening


@mutant("secure.nonces", "secure.fresh-session-keys", role="client")
def everything_constant() -> None:
    """Has no randomness at all: the same session key, the same nonces."""
    os.urandom = lambda n: b"r" * n


@mutant("secure.random-after-restart", role="client")
def unseeded_random_source() -> None:
    """Takes its random bytes from a source that begins in the same way at every start."""
    import random

    source = random.Random(1)
    os.urandom = source.randbytes


@mutant("secure.nonces", role="client")
def constant_nonce() -> None:
    """Never counts its nonces up."""

    def nonce_constant(self: Any, box: SecretBox, body: bytes) -> bytes:
        return bytes(box.encrypt(body, self.nonce_prefix + bytes(8)))

    C.seal = nonce_constant


@mutant("secure.nonces", role="server")
def nonces_of_the_process() -> None:
    """Draws the random half of its nonces once per program, not per connection."""
    prefix = os.urandom(16)
    around(C, "__init__", lambda real: lambda self, *a: (real(self, *a), setattr(self, "nonce_prefix", prefix))[0])


@mutant("secure.user-on-both-sides", role="client")
def client_forgets_its_user() -> None:
    """A client's connection does not have its user."""
    around(
        U.Puppet,
        "do_connect",
        lambda real: lambda self, h, *a: _then(real(self, h, *a), lambda: setattr(self.handles[h], "user", None)),
    )


def _then(value: Any, do: Callable[[], Any]) -> Any:
    do()
    return value


@mutant("secure.two-users", "secure.user-on-both-sides", role="server")
def shows_the_first_user() -> None:
    """All of a server's connections show one user."""
    around(P.Server, "hello", lambda real: lambda self, *a: ("alice-or-so", real(self, *a)[1]))


@mutant("secure.insecure-has-no-user", security="insecure")
def empty_user_when_insecure() -> None:
    """An insecure connection's user is the empty string."""
    around(C, "__init__", lambda real: lambda self, s, u, *a: real(self, s, "" if u is None else u, *a))


@mutant("secure.nothing-readable", "secure.encrypted-both-ways", role="client")
def errors_in_the_clear() -> None:
    """Repeats the error of its own handler in front of the box, in the clear."""

    def answer(real: Any) -> Any:
        def run(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
            with self.write_lock:
                body = S.write(value).encode("latin-1")
                self.sock.sendall(struct.pack(">I", len(body)) + body)
            real(self, number, value, failed=failed)

        return run

    around(C, "answer", answer)


@mutant("secure.insecure-server", "secure.insecure-has-no-user", security="insecure")
def takes_no_server_for_insecure() -> None:
    """Treats a server without user->key as one that does not know any user."""

    def listen(real: Any) -> Any:
        return lambda self, handle, address, backlog, users: real(self, handle, address, backlog, users or [])

    around(U.Puppet, "do_listen", listen)


@mutant("secure.insecure-client-at-secure-server", "hostile.insecure-request-at-secure-server")
def serves_insecure_clients() -> None:
    """Serves a client that does not say hello as an insecure one."""
    real = P.Server.welcome

    def welcome(self: Any, sock: Any, name: Any) -> None:
        head = b""
        while len(head) < 5:
            head = sock.recv(5, socket.MSG_PEEK)
            if not head:
                break
        if head[4:5] == b"(":
            keys, self.user_to_key = self.user_to_key, None
            try:
                real(self, sock, name)
            finally:
                self.user_to_key = keys
        else:
            real(self, sock, name)

    P.Server.welcome = welcome


@mutant("secure.secure-client-at-insecure-server", "hostile.secure-hello-at-insecure-server", security="insecure")
def ignores_hellos() -> None:
    """An insecure server ignores packets that it does not understand."""
    _ignore_protocol_errors()


@mutant("secure.wrong-key", "secure.goes-on-after-refusals", "hostile.hello-cut-after-name")
def opens_before_the_hello() -> None:
    """Runs the open handler when a connection is accepted, before its hello."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        ghost = C(sock, "alice", self.address, self.on_request, self.on_close, None)
        self.on_open(ghost)
        return real(self, sock, user_to_key)

    P.Server.hello = hello


@mutant("secure.server-says-nothing")
def greets() -> None:
    """Answers the hello with a packet."""
    around(
        P.Server,
        "hello",
        lambda real: lambda self, sock, get: _then(real(self, sock, get), lambda: sock.sendall(b"\0\0\0\2ok")),
    )


@mutant("secure.unknown-user-looks-like-wrong-key")
def tells_unknown_users() -> None:
    """Tells an unknown user so, while a wrong key just closes the connection."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        def look_up(user: str) -> Any:
            key = user_to_key(user)
            if key is None:
                sock.sendall(b"\0\0\0\x0cunknown user")
            return key

        return real(self, sock, look_up)

    P.Server.hello = hello


@mutant("secure.unknown-user-looks-like-wrong-key", transport="tcp")
def resets_wrong_keys() -> None:
    """Resets the connection of a client with a wrong key."""

    def refuse(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    P.refuse = refuse


@mutant("secure.any-user-name")
def user_names_as_utf8() -> None:
    """Reads usernames as UTF-8, and replaces what is not valid."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        found: list[str] = []

        def look_up(user: str) -> Any:
            found.append(user.encode("latin-1").decode("utf-8", "replace").encode("utf-8").decode("latin-1"))
            return user_to_key(user)

        _, session = real(self, sock, look_up)
        return found[0], session

    P.Server.hello = hello


@mutant("secure.user-name-too-long", role="client")
def cuts_long_user_names() -> None:
    """Silently cuts a username of more than 255 bytes."""
    around(U, "open_connection", lambda real: lambda a, user, *rest: real(a, user and user[:255], *rest))


@mutant("secure.refused-hello-closes-client", "hostile.server-refuses-the-hello", role="client")
def no_close_handler_before_first_answer() -> None:
    """Runs a client's close handler only if something ever came from the server."""
    real_came, real_over = C.packet_came, C.over

    def came(self: Any, packet: bytes) -> None:
        self.heard = True
        real_came(self, packet)

    def over(self: Any, reason: str) -> None:
        if not hasattr(self, "heard") and self.server is None:
            self.closed_here = True
        real_over(self, reason)

    C.packet_came, C.over = came, over


@mutant("secure.goes-on-after-refusals", "hostile.hello-tampered")
def stops_after_a_refusal() -> None:
    """A refused hello ends the server's accepting."""
    server: list[Any] = []
    around(P.Server, "welcome", lambda real: lambda self, *a: (server.append(self), real(self, *a))[1])
    around(P, "refuse", lambda real: lambda sock: (server[-1].sock.shutdown(socket.SHUT_RDWR), real(sock))[1])


@mutant("secure.hello-bytes", "secure.right-key", role="client")
def ends_user_names_with_nul() -> None:
    """Sends usernames with a NUL after them."""
    around(U, "open_connection", lambda real: lambda a, user, *rest: real(a, user and user + "\0", *rest))


@mutant("secure.same-key-two-users")
def user_by_key() -> None:
    """Finds the user by the key, so that two with one key are the same."""
    seen: dict[bytes, str] = {}

    def hello(real: Any) -> Any:
        def run(self: Any, sock: Any, get: Any) -> Any:
            used: list[bytes] = []

            def look_up(user: str) -> Any:
                key = get(user)
                if key:
                    used.append(key)
                    seen.setdefault(key, user)
                return key

            user, session = real(self, sock, look_up)
            return seen.get(used[0], user), session

        return run

    around(P.Server, "hello", hello)


@mutant("secure.clear-when-insecure", role="client", security="insecure")
def scrambles_insecure_connections() -> None:
    """Does not send plain text on an insecure connection."""
    real_send, real_came = C.send, C.packet_came

    def send(self: Any, text: str) -> None:
        real_send(self, text.replace("MARKER-", "\\x4dARKER-"))

    C.send, C.packet_came = send, real_came


@mutant("secure.nobody-may")
def no_users_is_insecure() -> None:
    """Treats a server whose user->key does not know any user as an insecure one."""

    def listen(real: Any) -> Any:
        return lambda self, handle, address, backlog, users: real(self, handle, address, backlog, users or False)

    around(U.Puppet, "do_listen", listen)


@mutant("secure.denied-user")
def denied_means_no_passphrase() -> None:
    """Treats a user who may not connect as one with an empty passphrase."""

    def listen(real: Any) -> Any:
        def run(self: Any, handle: int, address: Any, backlog: int, users: Any) -> Any:
            opened = [S.Dotted(user.items, user.tail or "") for user in users or []]
            return real(self, handle, address, backlog, users and opened)

        return run

    around(U.Puppet, "do_listen", listen)


def _nonces(bytes_of: Callable[[int], bytes]) -> None:
    def seal(self: Any, box: SecretBox, body: bytes) -> bytes:
        nonce = self.nonce_prefix + bytes_of(self.nonce_counter)
        self.nonce_counter += 1
        return bytes(box.encrypt(body, nonce))

    C.seal = seal


@mutant("secure.nonces-of-many", role="both")
def counts_nonces_in_one_byte() -> None:
    """Begins its nonces again after 256 boxes."""
    _nonces(lambda count: struct.pack(">Q", count & 0xFF))


@mutant("secure.nonces-of-many", role="server")
def counts_nonces_without_a_lock() -> None:
    """Counts its nonces without the lock for writing, so that two threads may use the same one."""

    def seal(self: Any, box: SecretBox, body: bytes) -> bytes:
        count = self.nonce_counter
        time.sleep(0.0005)
        self.nonce_counter = count + 1
        return bytes(box.encrypt(body, self.nonce_prefix + struct.pack(">Q", count)))

    def answer(self: Any, number: int, value: Any, *, failed: bool = False) -> None:
        body = f"({'error' if failed else 'response'} {number} {S.write(value)})".encode("latin-1")
        body = self.seal(self.box, body) if self.box else body
        with self.write_lock:
            self.sock.sendall(struct.pack(">I", len(body)) + body)

    C.seal, C.answer = seal, answer


@mutant("secure.nonces")
def counts_nonces_little_endian() -> None:
    """Counts its nonces in little-endian bytes."""
    _nonces(lambda count: struct.pack("<Q", count))


@mutant("secure.nonces")
def takes_the_clients_nonces() -> None:
    """A server that takes the random half of its nonces from the client: both use the same nonces."""

    def came(real: Any) -> Any:
        def run(self: Any, packet: bytes) -> None:
            if self.server and self.nonce_counter == 0:
                self.nonce_prefix = packet[:16]
            real(self, packet)

        return run

    around(C, "packet_came", came)


@mutant("secure.random-in-every-byte", role="client")
def session_keys_of_16_bytes() -> None:
    """Draws 16 random bytes for a session key, and fills it up with zeros."""
    urandom = os.urandom
    os.urandom = lambda n: urandom(n) if n != 32 else urandom(16) + bytes(16)


@mutant("secure.random-in-every-byte", role="server")
def nonces_of_8_random_bytes() -> None:
    """Draws only 8 random bytes for its nonces; the others identify it."""
    around(
        C,
        "__init__",
        lambda real: lambda self, *a: (real(self, *a), setattr(self, "nonce_prefix", os.urandom(8) + b"server--"))[0],
    )


@mutant("secure.random-in-every-byte", role="server")
def the_same_8_random_bytes_twice() -> None:
    """Draws 8 random bytes for its nonces, and repeats them."""
    around(
        C,
        "__init__",
        lambda real: lambda self, *a: (real(self, *a), setattr(self, "nonce_prefix", os.urandom(8) * 2))[0],
    )


@mutant("secure.refusals-take-as-long")
def thinks_about_wrong_keys() -> None:
    """Waits for a tenth of a second where the key of a known user is wrong."""

    def hello(real: Any) -> Any:
        def run(self: Any, sock: Any, user_to_key: Any) -> Any:
            known = []
            try:
                return real(self, sock, lambda user: known.append(user_to_key(user)) or known[-1])
            except P.CryptoError:
                if known[-1] is not None:
                    time.sleep(0.1)
                raise

        return run

    around(P.Server, "hello", hello)


@mutant("secure.refused-at-the-second-packet")
def refuses_unknown_users_at_once() -> None:
    """Closes as soon as an unknown user's name has come, without waiting for the session key."""
    real = P.Server.hello

    def hello(self: Any, sock: Any, user_to_key: Any) -> Any:
        head = b""
        while len(head) < 4 or len(head) < 4 + int.from_bytes(head[:4], "big"):
            head = sock.recv(300, socket.MSG_PEEK)
            if not head:
                raise P.ProtocolError("no hello")
        if user_to_key(head[4 : 4 + int.from_bytes(head[:4], "big")].decode("latin-1")) is None:
            raise P.ProtocolError("an unknown user")
        return real(self, sock, user_to_key)

    P.Server.hello = hello


@mutant("secure.refusal-is-no-reset", transport="tcp")
def just_closes_refused_connections() -> None:
    """Closes a refused connection with bytes still unread, which causes a reset."""
    P.refuse = lambda sock: sock.close()


@mutant("secure.last-byte-of-a-long-passphrase")
def cuts_passphrases_at_1024() -> None:
    """Uses only the first 1,024 bytes of a passphrase."""
    around(U, "passphrase_to_key", lambda real: lambda text: real(text[:1_024]))


@mutant("secure.last-byte-of-a-long-passphrase")
def passphrases_end_at_nul() -> None:
    """Ends a passphrase at its first NUL."""
    around(U, "passphrase_to_key", lambda real: lambda text: real(text.partition("\0")[0]))


@mutant("secure.goes-on-after-refusals")
def locks_users_out() -> None:
    """Refuses a user for ever once ten hellos under that name were refused."""
    refused: dict[str, int] = {}

    def lookup(get: Any, user: str) -> Any:
        refused[user] = refused.get(user, 0) + 1
        return get(user) if refused[user] <= 10 else None

    _lookup(lookup)
    around(C, "start", lambda real: lambda self: (refused.pop(self.user, None), real(self))[1])


@mutant("secure.any-user-name")
def names_like_requests_are_requests() -> None:
    """Takes the first packet for a request if it begins with a parenthesis."""
    _lookup(lambda get, user: None if user.startswith("(") else get(user))
