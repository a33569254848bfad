"""What the table takes for granted: the cipher, nothing done to what a box holds, nothing done to the stream's bytes.

Formats outside the table differ here; see `outside`.
"""

from __future__ import annotations

from dataclasses import dataclass

import nacl.exceptions
from nacl.bindings import crypto_secretbox, crypto_secretbox_open

from ..registry import Nonsense, Strategy, strategy
from ..state import KEY, State


class Cipher(Strategy):
    """How a box is made under a key and a nonce."""

    def seal(self, state: State, packet: str, nonce: bytes, plaintext: bytes) -> bytes:
        """The box, without its nonce."""
        raise NotImplementedError

    def open(self, state: State, packet: str, nonce: bytes, sealed: bytes) -> bytes:
        """What is in it.

        Raises:
            Nonsense: it does not open.
        """
        raise NotImplementedError


def key_for(state: State, packet: str) -> bytes:
    """The key that such a box is made under."""
    return state.user_key if packet == KEY else state.session_key


def seal_box(plaintext: bytes, nonce: bytes, key: bytes) -> bytes:
    """XSalsa20-Poly1305: tag, then ciphertext."""
    return crypto_secretbox(plaintext, nonce, key)


def open_box(sealed: bytes, nonce: bytes, key: bytes) -> bytes:
    """Undoes `seal_box`, or raises `Nonsense`."""
    if len(sealed) < 16 or not key:
        raise Nonsense("a box that does not open")
    try:
        return crypto_secretbox_open(sealed, nonce, key)
    except nacl.exceptions.CryptoError:
        raise Nonsense("a box that does not open") from None


@strategy("cipher", "secretbox")
@dataclass(frozen=True)
class SecretBox(Cipher):
    """NaCl's secretbox."""

    def text(self) -> str:
        return "XSalsa20-Poly1305, the tag before the ciphertext"

    def seal(self, state: State, packet: str, nonce: bytes, plaintext: bytes) -> bytes:
        return seal_box(plaintext, nonce, key_for(state, packet))

    def open(self, state: State, packet: str, nonce: bytes, sealed: bytes) -> bytes:
        return open_box(sealed, nonce, key_for(state, packet))


class Body(Strategy):
    """What is done to a plaintext before it is boxed, or sent where nothing is boxed."""

    def outgoing(self, state: State, packet: str, plaintext: bytes) -> bytes:
        """What is boxed or sent."""
        raise NotImplementedError

    def incoming(self, state: State, packet: str, data: bytes) -> bytes:
        """Undoes `outgoing`, or raises `Nonsense`."""
        raise NotImplementedError


@strategy("body", "plain")
@dataclass(frozen=True)
class PlainBody(Body):
    """Nothing."""

    def text(self) -> str:
        return "as it is"

    def outgoing(self, state: State, packet: str, plaintext: bytes) -> bytes:
        return plaintext

    def incoming(self, state: State, packet: str, data: bytes) -> bytes:
        return data


class Stream(Strategy):
    """What is done to the bytes of a connection, a direction each."""

    def outgoing(self, state: State, data: bytes) -> bytes:
        """What is written."""
        raise NotImplementedError

    def incoming(self, state: State, data: bytes) -> bytes:
        """Undoes `outgoing`, whatever the cuts."""
        raise NotImplementedError


@strategy("stream", "plain")
@dataclass(frozen=True)
class PlainStream(Stream):
    """Nothing."""

    def text(self) -> str:
        return "as they are"

    def outgoing(self, state: State, data: bytes) -> bytes:
        return data

    def incoming(self, state: State, data: bytes) -> bytes:
        return data
