"""The start of each corpus: valid inputs of every kind, so that a fuzzer need not invent them."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from bokbok.sexpr import DIALECTS
from bokbok.wire import INFERRED_1, Connection, Guards, HelloReceived
from bokbok.wire.profile import Profile, dump_profile
from tests.fuzz.targets import PROFILES
from tests.support.peers import KEY
from tests.support.profiles import random_profile
from tests.support.syntaxes import all_syntaxes
from tests.support.wire_ends import ENDS

__all__ = ["seeds"]

_MESSAGES = [
    b'(request 0 "x")', b"(request 1 (a . b))", b"(response 0 #t)", b'(error 1 "no")', b"(request 2 #<procedure>)",
    b"(request 0 a) ; b", b"(response 7 1)", b"(request -1 a)", b"(request 0 (a)", b"#;1 [request 3 #u8(1 2)]",
]  # fmt: skip


def _reader() -> Iterator[bytes]:
    for number, (_, text) in enumerate(all_syntaxes()):
        yield bytes((number % len(DIALECTS), number % 256)) + text(24)


def _wire() -> Iterator[bytes]:
    for end in range(len(ENDS)):
        for form in range(3):
            for number, message in enumerate(_MESSAGES):
                rest = b"\xfd".join((message, _MESSAGES[number - 1]))
                yield bytes((end + form * len(ENDS), number)) + rest


def _conversation(profile: Profile, secure: bool) -> list[bytes]:
    """What client and server say, taking turns."""
    common: dict[str, Any] = {"profile": profile, "guards": Guards(nonce_reuse=False)}
    client = Connection("client", **common, **({"user": "myuser", "key": KEY} if secure else {}))
    server = Connection("server", **common, secure=secure)
    parts = []
    for number in range(2):
        client.request(["x", number])
        parts.append(client.data_to_send())
        for event in server.receive(parts[-1]):
            if isinstance(event, HelloReceived):
                server.authenticate(KEY)
        server.request("y")
        parts.append(server.data_to_send())
        client.receive(parts[-1])
    return parts


def _transcript() -> Iterator[bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, profile in enumerate(PROFILES):
            for flags in (0, 1, 2, 5):
                parts = _conversation(profile, flags != 2)
                yield bytes((number, number, flags)) + b"\xfd".join(part.replace(b"\xfd", b"\xfc") for part in parts)


def _profile() -> Iterator[bytes]:
    yield dump_profile(INFERRED_1).encode()
    for seed in range(150):
        yield dump_profile(random_profile(random.Random(seed))).encode()


def _pcap() -> Iterator[bytes]:
    from tests.traffic.test_pcap import LINKS, conversation, ipv4, ipv6, pcap, pcapng

    for number, (link, wrap) in enumerate(LINKS.values()):
        for ip in (ipv4, ipv6):
            frames = [wrap(ip(segment)) for segment in conversation()]
            yield bytes((number,)) + pcap(frames, link, "<>"[number % 2])
            yield bytes((number,)) + pcapng(frames, link, "<>"[number % 2])


def _recording() -> Iterator[bytes]:
    lines = [
        {"bokbok-capture": 1, "transport": "tcp"},
        {"t": 0.1, "from": "client", "data": "00000001 61", "conn": 2},
        {"t": 0.2, "from": "server", "data": "6162"},
        {"t": 0.3, "from": "client", "eof": True},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    for seed in (0, 1, 9):
        yield bytes((seed,)) + text
        yield bytes((seed,)) + text[:-20]
        yield bytes((seed,)) + text.replace(b'"t": ', b'"x": {}, "t": ')


def _results() -> Iterator[bytes]:
    from tests.interop.test_report import MIXED, make

    for document in (make(), make(MIXED), make(shard="1/2")):
        document["cases"], document["cells"] = document["cases"][:2], document["cells"][:2]
        for cell in document["cells"]:
            cell.pop("packed", None)
        yield json.dumps(document).encode()
        cells = document.pop("cells")
        lines = [{"bokbok-interop-journal": 1, **document}, *cells]
        yield "".join(json.dumps(line) + "\n" for line in lines).encode()


_SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "reader": _reader, "wire": _wire, "transcript": _transcript, "profile": _profile, "pcap": _pcap,
    "recording": _recording, "results": _results,
}  # fmt: skip


def seeds(target: str) -> Iterator[bytes]:
    """Valid inputs of a target."""
    return _SEEDS[target]()
