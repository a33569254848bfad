"""A format: one strategy for each layer, and a description of it that a person and a program can read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, cast

from .layers.derivation import KeyDerivation, Sha512
from .layers.dialect import Dialect
from .layers.encoding import BoxEncoding, Raw
from .layers.framing import Framing, Integer
from .layers.granted import Body, Cipher, PlainBody, PlainStream, SecretBox, Stream
from .layers.hello import Hello, NoHello, TwoPackets
from .layers.message import DatumEnvelope, Envelope
from .layers.nonce import NonceScheme, Sent
from .layers.packet_type import NoType, PacketType
from .layers.session_key import RawKey, SessionKey
from .may_occur import encoding as _mo_encoding
from .may_occur import framing as _mo_framing
from .may_occur import hello as _mo_hello
from .may_occur import message as _mo_message
from .may_occur import nonce as _mo_nonce
from .outside import cipher as _out_cipher
from .outside import derivation as _out_derivation
from .outside import framing as _out_framing
from .outside import message as _out_message
from .outside import transforms as _out_transforms
from .registry import GROUPS, LAYERS, Strategy, describe, rebuild

REGISTERS = (
    _mo_encoding,
    _mo_framing,
    _mo_hello,
    _mo_message,
    _mo_nonce,
    _out_cipher,
    _out_derivation,
    _out_framing,
    _out_message,
    _out_transforms,
)
"""The modules whose strategies no default names: importing them is what registers them. A new module goes here."""

BOXED = ("encoding", "nonce", "derivation", "session_key", "cipher")
"""The layers that an insecure connection does without."""


@dataclass(frozen=True)
class Format:
    """A wire format. The default of every layer is that of `inferred-1`."""

    secure: bool = True
    framing: Framing = field(default_factory=Integer)
    packet_type: PacketType = field(default_factory=NoType)
    encoding: BoxEncoding = field(default_factory=Raw)
    nonce: NonceScheme = field(default_factory=lambda: Sent(made="prefix and counter"))
    derivation: KeyDerivation = field(default_factory=Sha512)
    hello: Hello = field(default_factory=TwoPackets)
    session_key: SessionKey = field(default_factory=RawKey)
    message: Envelope = field(default_factory=DatumEnvelope)
    dialect: Dialect = field(default_factory=Dialect)
    cipher: Cipher = field(default_factory=SecretBox)
    body: Body = field(default_factory=PlainBody)
    stream: Stream = field(default_factory=PlainStream)

    def layers(self) -> dict[str, Strategy]:
        """The strategy of every layer that this connection has."""
        unused = () if self.secure else BOXED
        return {layer: getattr(self, layer) for layer in LAYERS if layer not in unused}

    @property
    def group(self) -> str:
        """`table`, `may occur` or `outside`: the furthest of its layers."""
        return max((strategy.group for strategy in self.layers().values()), key=GROUPS.index)

    @property
    def beyond(self) -> dict[str, str]:
        """The layers that are not of the table's first two columns, with their kinds."""
        return {name: item.kind for name, item in self.layers().items() if item.group != GROUPS[0]}

    @property
    def lockstep(self) -> bool:
        """Whether it only works while never more than one side has something to say."""
        return any(item.lockstep for item in self.layers().values())

    def readings(self) -> list[str]:
        """Where it takes the table's words in another than their plainest sense."""
        return [f"{layer}: {reading}" for layer, item in self.layers().items() for reading in item.readings()]

    def describe(self) -> dict[str, Any]:
        """The format as JSON; `null` for a layer that it does without."""
        layers = self.layers()
        found: dict[str, Any] = {"secure": self.secure, "group": self.group, "readings": self.readings()}
        found["layers"] = {layer: describe(layers[layer]) if layer in layers else None for layer in LAYERS}
        return found

    @property
    def name(self) -> str:
        """A short name that depends on the description alone."""
        text = json.dumps(self.describe()["layers"], sort_keys=True)
        return f"foreign-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def text(self) -> str:
        """The format for a person, a line a layer."""
        lines = [f"{self.name} ({'secure' if self.secure else 'insecure'}, {self.group})"]
        lines += [f"  {layer.replace('_', ' '):12} {item.text()}" for layer, item in self.layers().items()]
        return "\n".join(lines)

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Format:
        """The format that `describe` described.

        Raises:
            ValueError: it names a kind that is not known here.
        """
        layers = {name: rebuild(name, item) for name, item in description["layers"].items() if item is not None}
        return cls(secure=description["secure"], **cast("dict[str, Any]", layers))

    def with_layers(self, **layers: Strategy) -> Format:
        """The same with other strategies."""
        return dataclasses.replace(self, **cast("dict[str, Any]", layers))


INFERRED_1 = Format()
"""The project's default profile, secure."""
INFERRED_1_INSECURE = Format(secure=False, hello=NoHello())
"""The same without a key."""
