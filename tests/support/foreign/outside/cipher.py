"""Other ciphers, and more than one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import nacl.exceptions
from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)

from ..layers.granted import Cipher, key_for, open_box, seal_box
from ..layers.session_key import SessionKey, of_size
from ..registry import OUTSIDE, Nonsense, strategy
from ..state import KEY, KEY_SIZE, State, other

if TYPE_CHECKING:
    from ..format import Format


def keystream(key: bytes, count: int) -> bytes:
    """So many bytes that depend on `key` alone."""
    return hashlib.shake_256(key).digest(count)


def xor(data: bytes, mask: bytes) -> bytes:
    """The two, byte by byte."""
    return bytes(a ^ b for a, b in zip(data, mask, strict=True))


@strategy("cipher", "another cipher", group=OUTSIDE)
@dataclass(frozen=True)
class AnotherCipher(Cipher):
    """ChaCha20-Poly1305 in place of XSalsa20-Poly1305."""

    algorithm: str = "xchacha20"
    tag_first: bool = False

    @classmethod
    def draw(cls, rng: Random) -> AnotherCipher:
        return cls(rng.choice(["xchacha20", "chacha20"]), rng.random() < 0.5)

    def text(self) -> str:
        where = "before" if self.tag_first else "behind"
        return f"{self.algorithm}-poly1305, the tag {where} the ciphertext"

    def seal(self, state: State, packet: str, nonce: bytes, plaintext: bytes) -> bytes:
        key = key_for(state, packet)
        if self.algorithm == "xchacha20":
            sealed: bytes = crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, None, nonce, key)
        else:
            sealed = crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, None, nonce[-12:], key)
        return sealed[-16:] + sealed[:-16] if self.tag_first else sealed

    def open(self, state: State, packet: str, nonce: bytes, sealed: bytes) -> bytes:
        key = key_for(state, packet)
        if self.tag_first:
            sealed = sealed[16:] + sealed[:16]
        try:
            if self.algorithm == "xchacha20":
                return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, None, nonce, key)
            return crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, nonce[-12:], key)
        except (nacl.exceptions.CryptoError, ValueError):
            raise Nonsense("a box that does not open") from None


@strategy("cipher", "tag behind", group=OUTSIDE)
@dataclass(frozen=True)
class TagBehind(Cipher):
    """XSalsa20-Poly1305, but the tag stands behind the ciphertext."""

    def text(self) -> str:
        return "XSalsa20-Poly1305, the tag behind the ciphertext"

    def seal(self, state: State, packet: str, nonce: bytes, plaintext: bytes) -> bytes:
        sealed = seal_box(plaintext, nonce, key_for(state, packet))
        return sealed[16:] + sealed[:16]

    def open(self, state: State, packet: str, nonce: bytes, sealed: bytes) -> bytes:
        return open_box(sealed[-16:] + sealed[:-16], nonce, key_for(state, packet))


@strategy("cipher", "second layer", group=OUTSIDE)
@dataclass(frozen=True)
class SecondLayer(Cipher):
    """A second layer of encryption over or under the box."""

    where: str = "box in a box"

    @classmethod
    def draw(cls, rng: Random) -> SecondLayer:
        return cls(rng.choice(["box in a box", "masked box", "masked plaintext"]))

    def text(self) -> str:
        return {
            "box in a box": "XSalsa20-Poly1305 twice, the outer key the hash of the inner one",
            "masked box": "XSalsa20-Poly1305, the box masked with a keystream",
            "masked plaintext": "XSalsa20-Poly1305 of a plaintext that is masked with a keystream",
        }[self.where]

    def seal(self, state: State, packet: str, nonce: bytes, plaintext: bytes) -> bytes:
        key = key_for(state, packet)
        if self.where == "masked plaintext":
            return seal_box(xor(plaintext, keystream(key + nonce, len(plaintext))), nonce, key)
        sealed = seal_box(plaintext, nonce, key)
        if self.where == "masked box":
            return xor(sealed, keystream(key + nonce, len(sealed)))
        return seal_box(sealed, nonce, hashlib.sha256(key).digest())

    def open(self, state: State, packet: str, nonce: bytes, sealed: bytes) -> bytes:
        key = key_for(state, packet)
        if not key:
            raise Nonsense("a box that does not open")
        if self.where == "masked plaintext":
            masked = open_box(sealed, nonce, key)
            return xor(masked, keystream(key + nonce, len(masked)))
        if self.where == "masked box":
            return open_box(xor(sealed, keystream(key + nonce, len(sealed))), nonce, key)
        return open_box(open_box(sealed, nonce, hashlib.sha256(key).digest()), nonce, key)


@strategy("cipher", "changing keys", group=OUTSIDE)
@dataclass(frozen=True)
class ChangingKeys(Cipher):
    """Messages are boxed under keys that are made of the session key."""

    how: str = "per direction"

    @classmethod
    def draw(cls, rng: Random) -> ChangingKeys:
        return cls(rng.choice(["per direction", "per message"]))

    def text(self) -> str:
        return {
            "per direction": "XSalsa20-Poly1305 under a hash of the session key and the direction",
            "per message": "XSalsa20-Poly1305 under a key that is hashed again for every message of a direction",
        }[self.how]

    def _key(self, state: State, packet: str, role: str) -> bytes:
        if packet == KEY:
            return state.user_key
        if not state.session_key:
            return b""
        name = f"key of {role}"
        key: bytes = state.memory.get(name) or hashlib.sha256(state.session_key + role.encode()).digest()
        state.memory[name] = hashlib.sha256(key).digest() if self.how == "per message" else key
        return key

    def seal(self, state: State, packet: str, nonce: bytes, plaintext: bytes) -> bytes:
        return seal_box(plaintext, nonce, self._key(state, packet, state.role))

    def open(self, state: State, packet: str, nonce: bytes, sealed: bytes) -> bytes:
        return open_box(sealed, nonce, self._key(state, packet, other(state.role)))


@strategy("cipher", "no tag", group=OUTSIDE)
@dataclass(frozen=True)
class NoBox(Cipher):
    """No secretbox: a keystream, and an HMAC in front of it."""

    size: int = 16

    @classmethod
    def draw(cls, rng: Random) -> NoBox:
        return cls(rng.choice([16, 32]))

    def text(self) -> str:
        return f"a SHAKE-256 keystream, {self.size} bytes of HMAC-SHA-256 in front"

    def seal(self, state: State, packet: str, nonce: bytes, plaintext: bytes) -> bytes:
        key = key_for(state, packet)
        sealed = xor(plaintext, keystream(key + nonce, len(plaintext)))
        return hmac.digest(key, nonce + sealed, "sha256")[: self.size] + sealed

    def open(self, state: State, packet: str, nonce: bytes, sealed: bytes) -> bytes:
        key = key_for(state, packet)
        tag, rest = sealed[: self.size], sealed[self.size :]
        if not key or not hmac.compare_digest(tag, hmac.digest(key, nonce + rest, "sha256")[: self.size]):
            raise Nonsense("a box that does not open")
        return xor(rest, keystream(key + nonce, len(rest)))

    def objections(self, fmt: Format) -> Iterator[str]:
        if fmt.framing.kind in ("length without tag", "fixed pieces"):
            yield "there is no tag of 16 bytes"


@strategy("session_key", "altered", group=OUTSIDE)
@dataclass(frozen=True)
class AlteredKey(SessionKey):
    """What travels is not the key that messages are boxed under."""

    how: str = "hashed"

    @classmethod
    def draw(cls, rng: Random) -> AlteredKey:
        return cls(rng.choice(["hashed", "mixed with the user key", "reversed", "masked"]))

    def text(self) -> str:
        return f"32 raw bytes; messages are boxed under them {self.how}"

    def wrap(self, key: bytes, state: State) -> bytes:
        return key

    def unwrap(self, plaintext: bytes, state: State) -> bytes:
        return of_size(plaintext)

    def used(self, key: bytes, state: State) -> bytes:
        return {
            "hashed": hashlib.sha512(key).digest()[:KEY_SIZE],
            "mixed with the user key": hashlib.sha512(state.user_key + key).digest()[:KEY_SIZE],
            "reversed": key[::-1],
            "masked": bytes(byte ^ 0x5A for byte in key),
        }[self.how]
