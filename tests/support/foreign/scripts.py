"""Scripts: what a client asks. The demo's traffic, and requests of the conformance service that show a format off."""

from __future__ import annotations

from random import Random

from .sexpr import Char, Datum, Dotted, Keyword, Numbers, Symbol, read_all

DEMO = read_all('("ping" "12345") ("asynch")')
"""The egg's documented demo."""

CONFORMANCE = read_all(
    r"""
("ping" "12345")
("echo" "marker-one")
("echo" ("a\"b\\c\nd\te" symbol |odd symbol| key: #\a #\space 1 -1 1.5 #t #f () ((nested) deep (er))))
("echo" #(1 2 3))
("echo" (a . b))
("echo" #u8(0 1 255))
("echo" #${00ff10})
("fail" "failure-one")
("callback" 2 "marker-two")
("echo" ())
("count" "c")
("count" "c")
("raise" (odd 42))
("no-such-request" 1)
("relay" 3 "marker-three")
("whoami")
("unspecified")
"""
)
"""Short requests, one of every sort."""


def long_requests(rng: Random) -> list[Datum]:
    """Messages on both sides of what one, two and more bytes of length can say, and one of every size below them."""
    sizes = [0, 60, 100, 127, 128, 200, 255, 256, 300, 1000, 16_383, 20_000, 66_000]
    return [["echo", "".join(rng.choices("abcdefgh 0123456789", k=size))] for size in sizes]


def full_script(rng: Random) -> list[Datum]:
    """Everything: what a careful person would have a real peer say."""
    return [*CONFORMANCE, *long_requests(rng), *CONFORMANCE[:2]]


def random_datum(rng: Random, depth: int = 3) -> Datum:
    """A datum that every dialect writes and reads back the same."""
    if depth and rng.random() < 0.45:
        items = [random_datum(rng, depth - 1) for _ in range(rng.randrange(5))]
        last = random_datum(rng, 0)
        return rng.choice([items, items, tuple(items), Dotted((*items, 0), "tail" if last == [] else last)])
    return rng.choice(
        [
            lambda: rng.randrange(-(10**6), 10**6),
            lambda: rng.randrange(-1000, 1000) / 8,
            lambda: rng.random() < 0.5,
            lambda: "".join(rng.choices('abc "\\\n\té0', k=rng.randrange(12))),
            lambda: rng.randbytes(rng.randrange(9)),
            lambda: Symbol(rng.choice(["a", "foo-bar", "odd one", "x1", "+", "...", "λ", "|"])),
            lambda: Keyword(rng.choice(["k", "key-word"])),
            lambda: Char(rng.choice([97, 32, 10, 40, 955])),
            lambda: Numbers("u8", tuple(rng.randbytes(rng.randrange(5)))),
            list,
        ]
    )()
