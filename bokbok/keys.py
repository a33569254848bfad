"""Keys: from a passphrase, in memory, and in files.

What this module knows: how a passphrase becomes a key, how a key is kept secret, and what a key file looks like. What a
key is used for is in `bokbok.wire`.

Where its facts come from: that a key is made from a passphrase and is an opaque object is *stated* (API
reference, `passphrase->key`). That it is the first 32 bytes of SHA-512 over the passphrase's bytes is
*inferred*: the same author's other program on the `tweetnacl` egg derives its key so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator

from ._later import pattern
from .errors import KeyFileError

__all__ = [
    "KEY_BYTES",
    "Key",
    "passphrase_to_key",
    "read_key_file",
    "read_passphrase_file",
    "read_private_file",
    "write_key_file",
]

PathLike = str | os.PathLike[str]

KEY_BYTES = 32
"""Length of a key in bytes (NaCl: `crypto_secretbox_KEYBYTES`)."""

_KEY_FILE = pattern(rb"[0-9A-Fa-f]{64}\r?\n?\Z")
_HEX_KEY = pattern(r"[0-9A-Fa-f]{64}\Z")
# A passphrase file is read whole. No real passphrase is longer, and a device file never ends.
_PASSPHRASE_FILE_LIMIT = 1 << 20


class Key:
    """A user's pre-shared key: opaque, 32 bytes, and never shown.

    Its `repr` holds nothing of it, two keys are compared in constant time, and it does not pickle.
    Make one with `passphrase_to_key`, `Key.from_bytes`, `Key.from_hex` or `read_key_file`.
    """

    __slots__ = ("__secret",)

    def __init__(self, secret: bytes) -> None:
        if not isinstance(secret, bytes) or len(secret) != KEY_BYTES:
            # Says nothing of what was given: it may be a passphrase in the wrong place.
            raise ValueError(f"expected a key of {KEY_BYTES} bytes; passphrase_to_key() makes one of a passphrase")
        self.__secret = secret

    @classmethod
    def from_bytes(cls, secret: bytes) -> Key:
        """The key of these 32 bytes.

        Raises:
            ValueError: `secret` is not 32 bytes long, or is not bytes.
        """
        # Not just `bytes(secret)`: of a number, that makes zeros.
        return cls(bytes(secret) if isinstance(secret, (bytes, bytearray, memoryview)) else b"")

    @classmethod
    def from_hex(cls, digits: str) -> Key:
        """The key of these 64 hexadecimal digits.

        Raises:
            ValueError: `digits` is anything else. The message does not repeat it.
        """
        # Not left to `bytes.fromhex` alone, which takes spaces between the digits.
        if not isinstance(digits, str) or _HEX_KEY.match(digits) is None:
            raise ValueError("expected a key of 64 hexadecimal digits")
        return cls(bytes.fromhex(digits))

    def to_bytes(self) -> bytes:
        """The 32 bytes themselves: for the wire layer and for key files. Do not print them."""
        return self.__secret

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        import hmac  # only here: OpenSSL comes with it

        return hmac.compare_digest(self.__secret, other.__secret)

    def __hash__(self) -> int:
        return hash((Key, self.__secret))

    def __repr__(self) -> str:
        return "<Key>"

    def __reduce__(self) -> str:
        raise TypeError("a Key cannot be pickled; write it to a file with write_key_file()")


def passphrase_to_key(passphrase: str | bytes, *, derive: Callable[[bytes], bytes]) -> Key:
    """Turn a passphrase into a key (API reference: `passphrase->key`).

    Args:
        passphrase: any string. A `str` stands for its UTF-8 bytes; bytes that are not valid UTF-8 travel in it as
            `surrogateescape` has them, as in every string of `bokbok.sexpr`.
        derive: passphrase bytes to 32 key bytes: the key derivation of a wire profile.

    Returns:
        The key, to be given to `open_connection`, or returned by a server's `user_to_key`.

    Note:
        A key is one hash of its passphrase, without a salt, on both sides. Anyone who has recorded a hello can try
        passphrases at the cost of one hash each. Use long random ones, or key files.
    """
    if isinstance(passphrase, str):
        try:
            passphrase = passphrase.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ValueError("the passphrase holds a lone surrogate that does not stand for a byte") from None
    elif not isinstance(passphrase, bytes):
        raise TypeError(f"expected a passphrase as str or bytes, got {type(passphrase).__name__}")
    return Key(derive(passphrase))


def _read_private(path: PathLike, what: str, limit: int) -> bytes:
    """The bytes of a regular file that is this user's, or root's, and only its owner may read; else `KeyFileError`."""
    with _explained(path, what):
        # Without O_NONBLOCK, opening a FIFO would wait for a writer before its kind can be seen.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Of the open file, so that it cannot be exchanged between the look and the reading.
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{what} {os.fspath(path)!r}: not a regular file")
            if status.st_uid not in (os.geteuid(), 0):
                # Its owner may change it, and its mode, at any time.
                raise KeyFileError(
                    f"{what} {os.fspath(path)!r}: it belongs to another user (number {status.st_uid}); "
                    f"expected this one (number {os.geteuid()}) or root"
                )
            if status.st_mode & 0o077:
                import shlex  # only here: hardly ever

                mode = stat.S_IMODE(status.st_mode)
                raise KeyFileError(
                    f"{what} {os.fspath(path)!r}: others than its owner have access (mode {mode:04o}); "
                    f"expected 0600 or less: chmod 600 {shlex.quote(os.fspath(path))}"
                )
            with open(fd, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(fd)
    if len(data) > limit:
        raise KeyFileError(f"{what} {os.fspath(path)!r}: longer than {limit} bytes")
    return data


@contextlib.contextmanager
def _explained(path: PathLike, what: str) -> Iterator[None]:
    """Make a `KeyFileError` of what the system says about a file."""
    try:
        yield
    except KeyFileError:
        raise
    except FileExistsError:
        raise KeyFileError(f"{what} {os.fspath(path)!r}: exists already") from None
    except OSError as error:
        raise KeyFileError(f"{what} {os.fspath(path)!r}: {error.strerror}") from None
    except ValueError as error:  # a path with a NUL, or with what the system's encoding has not
        raise KeyFileError(f"{what} {os.fspath(path)!r}: not a path: {error}") from None


def read_private_file(path: PathLike, what: str) -> bytes:
    """The bytes of a file of secrets, refused when others than its owner have access to it.

    Args:
        path: the file.
        what: what it is called in an error, such as `"users file"`.

    Raises:
        KeyFileError: it cannot be read, is not a regular file, belongs to another user, or others have access.
    """
    return _read_private(path, what, _PASSPHRASE_FILE_LIMIT)


def read_key_file(path: PathLike) -> Key:
    """Read a key file: one line of 64 hexadecimal digits, which only its owner may read.

    Raises:
        KeyFileError: it cannot be read, belongs to another user, others have access, or it holds anything else. Never
            quotes its content.
    """
    data = _read_private(path, "key file", 4096)
    if _KEY_FILE.match(data) is None:
        raise KeyFileError(
            f"key file {os.fspath(path)!r}: expected one line of 64 hexadecimal digits, found {len(data)} bytes "
            "that are something else"
        )
    return Key.from_hex(data.strip().decode("ascii"))


def write_key_file(path: PathLike, key: Key, *, overwrite: bool = False) -> None:
    """Write a key file. From the first moment, only its owner can read it.

    Args:
        path: where to.
        key: what.
        overwrite: whether a key file that is there already is replaced. Only ever a regular file is.

    Raises:
        KeyFileError: it exists (and `overwrite` is false) or cannot be written.
    """
    with _explained(path, "key file"):
        # Through a symbolic link: it is to go on pointing at the key.
        target = os.path.realpath(path) if overwrite else os.fspath(path)
        if overwrite and os.path.lexists(target) and not stat.S_ISREG(os.lstat(target).st_mode):
            # `/dev/null`, say: the rename below would put a file in its place.
            raise KeyFileError(f"key file {os.fspath(path)!r}: not a regular file")
        # A new file beside it, then a rename: neither a half-written key nor an old file's wider mode can be seen.
        temporary = os.path.join(os.path.dirname(target), f".bokbok-key-{os.getpid()}-{os.urandom(4).hex()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(key.to_bytes().hex().encode("ascii") + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                os.replace(temporary, target)
            else:
                _move_to_new(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _move_to_new(temporary: str, target: str) -> None:
    """Give a file another name, which must not exist, without a moment in between."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # A file system without hard links (FAT, some network ones): claim the name, then replace what claims it.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.replace(temporary, target)


def read_passphrase_file(path: PathLike) -> bytes:
    """Read a passphrase file: all of its bytes, except for one newline at the end.

    Pipes and `/dev/fd/N` work too. Unlike a key file it may be readable by others; the command line warns of it.

    Raises:
        KeyFileError: it cannot be read, or is longer than 1 MiB.
    """
    with _explained(path, "passphrase file"), open(path, "rb") as file:
        data = file.read(_PASSPHRASE_FILE_LIMIT + 1)
    if len(data) > _PASSPHRASE_FILE_LIMIT:
        raise KeyFileError(f"passphrase file {os.fspath(path)!r}: longer than {_PASSPHRASE_FILE_LIMIT} bytes")
    return data[:-1] if data.endswith(b"\n") else data
