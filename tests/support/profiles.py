"""Random profiles of the table in `docs/profiles.md`, with our own strategies, for tests of wire and calibration."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from bokbok.sexpr import DIALECTS
from bokbok.wire.boxes import Counted, Sent
from bokbok.wire.derivation import DERIVATIONS, Derivation
from bokbok.wire.encoding import ENCODINGS
from bokbok.wire.framing import INTEGERS, Datums, IntegerLength, Lines, TextLength
from bokbok.wire.hello import Field, Template, TemplateHello
from bokbok.wire.messages import BinaryHeader, Shapes
from bokbok.wire.packets import PacketForm
from bokbok.wire.profile import Profile

TEXTS = [name for name in ENCODINGS if name != "raw"]
DATUM_FORMS = [name for name, form in ENCODINGS.items() if form.opening]


def random_profile(rng: random.Random, name: str = "random") -> Profile:
    """A profile in which every layer is drawn from the table, and fits the others."""
    kind = rng.choice(["length", "length", "text", "text", "datums", "lines"])
    if kind == "datums":
        encoding = rng.choice(DATUM_FORMS)
    elif kind == "lines":
        encoding = rng.choice([n for n in TEXTS if not n.startswith("string")])
    else:
        encoding = rng.choice(["raw", "raw", "raw", *TEXTS])
    text_only = kind in ("datums", "lines")
    typed = rng.choice(["no", "no", "byte", "byte-each", "symbol"])
    if text_only and typed.startswith("byte"):
        typed = "no"
    if typed == "symbol":
        a, b = b"hello ", b"key "
        client = server = b"message "
        if rng.random() < 0.4:
            client, server = b"to-server ", b"to-client "
    elif typed != "no":
        numbers = rng.sample(range(1, 250), 4)
        a, b, client, server = (bytes((n,)) for n in numbers)
        if typed == "byte":
            server = client
    else:
        a = b = client = server = b""
    framing: Any
    if kind == "length":
        integer = rng.choice(INTEGERS if encoding == "raw" else [i for i in INTEGERS if i != "u8"])
        after = 1 if typed.startswith("byte") and rng.random() < 0.4 else 0
        framing = IntegerLength(integer, own=rng.random() < 0.3, after=after)
    elif kind == "text":
        framing = rng.choice(
            [
                TextLength(rng.choice((10, 16)), ending=rng.choice((b"\n", b" ", b":"))),
                TextLength(10, ending=b":", trailer=b","),
                TextLength(10, before=b"(", ending=b")"),
                TextLength(10, before=b"(packet ", ending=b")\n"),
            ]
        )
    elif kind == "datums":
        framing = Datums(
            rng.choice((b"\n", b"", b" ")) if typed == "no" else b"\n", count=2 if typed == "symbol" else 1
        )
    else:
        framing = Lines()
    # Nonces
    key: Any
    scheme = rng.choice(["front", "front", "behind", "zero", "counter", "hello", "key", "first"])
    in_hello = False
    nonces: Any
    if scheme in ("front", "behind"):
        nonces = Sent(scheme, key=scheme)  # type: ignore[arg-type]
    elif scheme == "zero":
        nonces = Sent(rng.choice(("front", "behind")), key="zero")  # type: ignore[arg-type]
    else:
        start = rng.choice((0, 1))
        order: Any = rng.choice(("big", "little"))
        if scheme == "counter":
            key = rng.choice(("front", "zero", "counter"))
            nonces = Counted("zero", order, client=start + (key == "counter"), server=start, key=key, key_count=start)
        elif scheme == "hello":
            in_hello = True
            key = rng.choice(("base", "front"))
            nonces = Counted("hello", order, client=1, server=rng.choice((0, 1)), key=key)
        elif scheme == "key":
            nonces = Counted("key", order, client=1, server=1, key="front", server_base=rng.choice(("same", "first")))
        else:
            nonces = Counted("first", order, key="front")
    # Hello
    literal: list[bytes | Field] = []
    if text_only:
        user = Field("user", rng.choice(("string", "symbol")))
    else:
        user = Field("user", rng.choice(("raw", "raw", "string", "u8", "nul")))
    if isinstance(framing, Datums) and not framing.separator:
        user = Field("user", "string")  # nothing would end a symbol
    key_form = Field("key", encoding)
    nonce = [Field("nonce", encoding)] if in_hello else []
    form = rng.choice(["two", "two", "one", "list", "alist"]) if kind != "lines" else "two"
    if form in ("list", "alist") and encoding not in DATUM_FORMS:
        form = "two"
    if form == "one" and (kind == "datums" or (encoding != "raw" and user.encoding in ("raw", "symbol"))):
        form = "two"
    content: Any = rng.choice(
        [(Field("key"),)] * 4
        + [
            (Field("key"), Field("any", "raw", 16)),
            (Field("key", "blob"),),
            (Field("key", "string"),),
            (Field("key", "u8vector"),),
        ]
    )
    if form == "one" and content[0].encoding in ("string", "u8vector") and user.encoding == "raw":
        content = (Field("key"),)  # nothing would tell where the username ends
    if form == "two":
        first = [*literal, user] if not a else [a, user]
        packets = [first, *([[*([a] if a else []), *nonce]] if nonce else []), [*([b] if b else []), key_form]]
        if rng.random() < 0.3:
            packets.insert(0, [*([a] if a else []), b"bokbok-1" if not text_only else b'"bokbok-1"'])
    elif form == "one":
        packets = [[*([a] if a else []), user, *nonce, key_form]]
    else:
        user = Field("user", "string")
        if form == "list":
            more = [b" ", *nonce] if nonce else []
            packets = [[*([a] if a else []), b"(hello ", user, *more, b" ", key_form, b")"]]
        else:
            more = [b" (nonce . ", *nonce, b")"] if nonce else []
            packets = [
                [*([a] if a else []), b"((version . 1) (user . ", user, b")", *more, b" (key . ", key_form, b"))"]
            ]
    hello = TemplateHello(
        tuple(Template(tuple(p)) for p in packets),
        Template(content),
        insecure=rng.choice([(), (), ((a + b"insecure"),)]) if not text_only else (),
    )
    # Messages
    tags = rng.choice(
        [
            ("request", "response", "error"),
            ("q", "a", "e"),
            ('"request"', '"response"', '"error"'),
            ("call:", "return:", "fail:"),
            ("#\\q", "#\\r", "#\\e"),
            ("0", "1", "2"),
        ]
    )
    shape = rng.choice(
        [
            "(T I D)",
            "(I T D)",
            "(T D I)",
            "(T I . D)",
            "#(T I D)",
            "((T . I) D)",
            "((type . T) (id . I) (body . D))",
            "binary",
        ]
    )
    first = rng.choice((0, 1, 100))
    step = rng.choice((1, 1, 2))
    second = first + 1 if step == 2 else first
    payload = rng.choice(("datum", "datum", "string"))
    messages: Any
    if shape == "binary" and not (text_only and encoding == "raw"):
        x = rng.sample(range(256), 3)
        messages = BinaryHeader(
            bytes((x[0],)), bytes((x[1],)), bytes((x[2],)), rng.choice(("u32-be", "u32-le")),
            rng.choice(("tag-id", "id-tag")), payload, first_id=first, server_first_id=second, id_step=step,
        )  # fmt: skip
    else:
        shape = "(T I D)" if shape == "binary" else shape
        texts = [
            shape.replace("D", "@").replace("I", "ID").replace("T", tag).replace("@", hole)
            for tag, hole in zip(tags, ("DATUM", "DATUM", "MESSAGE"), strict=True)
        ]  # fmt: skip
        ids: dict[str, Any] = rng.choice(
            [{}] * 4
            + [{"id": "string"}] * 2
            + [{"id": "string", "id_width": 4}, {"id": "symbol", "id_prefix": "g"}, {"id": "string", "id_base": 16}]
        )
        messages = Shapes(*texts, **ids, payload=payload, first_id=first, server_first_id=second, id_step=step)
    if rng.random() < 0.1:
        nonces = dataclasses.replace(nonces, zeros=16)
    hello_framing, framed = None, 0
    if isinstance(framing, IntegerLength) and not framing.after and rng.random() < 0.15:
        hello_framing = TextLength(10, ending=b":")
        framed = rng.choice((0, 1)) if len(packets) > 1 else 0
    return Profile(
        name,
        framing=framing,
        hello_framing=hello_framing,
        hello_framed=framed,
        hello=hello,
        nonces=nonces,
        messages=messages,
        dialect=rng.choice(list(DIALECTS.values())),
        key_derivation=Derivation(rng.choice([*list(DERIVATIONS)[:4], "sha256", "padded"])),
        packets=PacketForm(encoding, client, server),
    )
