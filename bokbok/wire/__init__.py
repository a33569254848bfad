"""The protocol without I/O: framing, boxes, hello, messages, guards, and the `Connection` that ties them together.

What this package knows: the order of bytes. Sockets, threads, tasks and clocks are in the front ends. Feed a
`Connection` what comes from a transport, give the transport what it returns, and act on its events:

    connection = Connection("client", user="myuser", key=passphrase_to_key("mypassphrase"))
    id = connection.request(["ping", "12345"])
    transport.write(connection.data_to_send())
    for event in connection.receive(transport.read()):
        match event:
            case ResponseReceived(answered, message): ...

This module and the modules below are public. Names with an underscore are private to the package.

| module | what it has |
|---|---|
| `bokbok.wire.profile` | profiles, their files, schema and digest; `register` for strategies of your own |
| `bokbok.wire.strategy` | what every strategy has: its keys, their kinds, its words, spans |
| `bokbok.wire.framing` | how packets are told apart |
| `bokbok.wire.packets` | what stands around a message's box |
| `bokbok.wire.boxes` | boxes and their nonces |
| `bokbok.wire.derivation` | how a passphrase becomes a key |
| `bokbok.wire.hello` | how a secure connection begins; templates |
| `bokbok.wire.messages` | the form of requests and answers |
| `bokbok.wire.encoding` | the forms in which bytes stand in a packet |
| `bokbok.wire.transcript` | the passive reader: a conversation's bytes to packets with named ranges |
"""

from typing import TYPE_CHECKING

from .._later import lazily
from ..sexpr.pieces import TakesLong
from ._connection import REPLAYED_HELLO, Connection, State, check_cryptography
from ._events import (
    AnswerUnreadable,
    Closed,
    ErrorReceived,
    Event,
    HelloOpened,
    HelloReceived,
    Opened,
    PeerFinished,
    Plain,
    RequestReceived,
    RequestUnreadable,
    ResponseReceived,
    as_event,
    as_plain,
)
from ._guards import DEFAULT_GUARDS, DEFAULT_WINDOW, BrokenCryptographyWarning, Guards, HelloMemory
from ._limits import DEFAULT_LIMITS, Limits
from .boxes import BOX_OVERHEAD
from .messages import REQUEST, RESPONSE, Read
from .profile import INFERRED_1, Profile, ProfileLike, get_profile, passphrase_to_key

if TYPE_CHECKING:
    from .profile import load_profile, register

__all__ = [
    "BOX_OVERHEAD",
    "DEFAULT_GUARDS",
    "DEFAULT_LIMITS",
    "DEFAULT_WINDOW",
    "INFERRED_1",
    "REPLAYED_HELLO",
    "REQUEST",
    "RESPONSE",
    "AnswerUnreadable",
    "BrokenCryptographyWarning",
    "Closed",
    "Connection",
    "ErrorReceived",
    "Event",
    "Guards",
    "HelloMemory",
    "HelloOpened",
    "HelloReceived",
    "Limits",
    "Opened",
    "PeerFinished",
    "Plain",
    "Profile",
    "ProfileLike",
    "Read",
    "RequestReceived",
    "RequestUnreadable",
    "ResponseReceived",
    "State",
    "TakesLong",
    "as_event",
    "as_plain",
    "check_cryptography",
    "get_profile",
    "load_profile",
    "passphrase_to_key",
    "register",
]

_WHERE = {"profile": ["load_profile", "register"]}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, __all__, _WHERE)
