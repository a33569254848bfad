"""Every syntax of the reader as text of any length, to find every syntax that costs too much.

A *unit* is repeated side by side; a *nest* is repeated within itself; a *token* is one token of that length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

__all__ = ["CLOSED", "DEPTH", "all_syntaxes"]

DEPTH = 9_990
"""The depth of nests: nearly as deep as the default limit allows."""

_UNITS = [
    b"()",
    b"[]",
    b"{}",
    b"#()",
    b"(a)",
    b"((()))",
    b"#(a b)",
    b"(a . b)",
    b"(a . (b))",
    b"(a b . (c . d))",
    b"''''a",
    b"'()",
    b"`a",
    b",a",
    b",@a",
    b"#`a",
    b"#$a",
    b"#+a b",
    b"#;a",
    b"#;(a) ",
    b"#|c|#",
    b";c\n",
    b"#! c\n",
    b"#ci A ",
    b"#cs A ",
    b"#ci(A B) ",
    b"1 ",
    b"123 ",
    b"-1234567 ",
    b"123456789012345678901 ",
    b"1.5 ",
    b"1e5 ",
    b".5 ",
    b"1/3 ",
    b"#xff ",
    b"#e1.5 ",
    b"#e1e4299 ",
    b"#e3e-4200 ",
    b"#i1 ",
    b"1# ",
    b"+inf.0 ",
    b"1+ ",
    b"a ",
    b"ab ",
    b"a: ",
    b"#:a ",
    b"|a| ",
    b"||",
    b"|a|b",
    b"\\a ",
    b"a\\ b ",
    b"\xc3\xa9 ",
    b"\xff ",
    b"#!eof ",
    b"#!rest ",
    b"#<unspecified>",
    b"#t ",
    b"#false ",
    b"#\\a ",
    b"#\\space ",
    b"#\\x41 ",
    b"##a#b ",
    b'""',
    b'"ab"',
    b'"a\\nb"',
    b'"\\x41"',
    b'"\\u0041"',
    b'"\\101"',
    b'"\\\n  "',
    b'"\xff"',
    b'"\xf0\x9f\x98\x80"',
    b"#${}",
    b"#${00}",
    b"#u8()",
    b"#u8(1 2)",
    b"#f64(1.5)",
    b"#u8(#x1)",
    b"#u8 (1)",
    b"#<<X\nab\nX\n",
    b"#<#X\nab\nX\n",
    b"#<#X\na#1 b\nX\n",
    b"#<#X\n#{(a)}\nX\n",
    b"   ",
    b"\n\t ",
]
_NESTS = [
    (b"(", b")"),
    (b"[", b"]"),
    (b"#(", b")"),
    (b"(a ", b")"),
    (b"(a . ", b")"),
    (b"[a . ", b"]"),
    (b"(a . #ci", b")"),
    (b"(a b . (c . ", b"))"),
    (b"(a . #;x ", b")"),
    (b"'", b""),
    (b"(a . '", b")"),
    (b"#+a ", b""),
    (b"#;", b" b"),
    (b"#ci(", b")"),
    (b"(#;(c) ", b")"),
    (b"(a #|c|# ", b")"),
    (b"(a ;c\n ", b")"),
]
_INNERMOST = [b"%b", b"(%b)", b"%b . c"]
"""What is innermost in a nest: many items; a list of them; many and a tail."""

_TOKENS: list[tuple[bytes, bytes, bytes]] = [
    (b'"', b"a", b'"'),
    (b'"', b"\\n", b'"'),
    (b'"', b"xx\\n", b'"'),
    (b'"', b"\\\\", b'"'),
    (b'"', b'\\"', b'"'),
    (b'"', b"\\u0041", b'"'),
    (b'"', b"\\101", b'"'),
    (b'"', b"\\ ", b'"'),
    (b'"', b"\\\n ", b'"'),
    (b'"\\', b" ", b'"'),
    (b'"', b"\xff", b'"'),
    (b'"', b"\xc3\xa9", b'"'),
    (b'"\xf0\x9f\x98\x80', b"a", b'"'),
    (b"", b"a", b""),
    (b"|", b"a", b"|"),
    (b"", b"|a|", b""),
    (b"|", b"\\x41", b"|"),
    (b"|", b"\\|", b"|"),
    (b"", b"\\a", b""),
    (b"a", b"\\a", b""),
    (b"", b"a|b|", b""),
    (b"#ci", b"A", b""),
    (b"", b"a", b":"),
    (b"#:", b"a", b""),
    (b"##", b"a", b"#b"),
    (b"#%", b"a", b""),
    (b"x", b"-", b""),
    (b"x", b".", b""),
    (b"", b"+", b""),
    (b"1", b"x", b""),
    (b"1.", b"x", b""),
    (b"", b"1#", b"x"),
    (b"1", b"#", b"x"),
    (b"1e0", b"0", b"1"),
    (b"1/1", b"0", b"x"),
    (b"1+", b"x", b"i"),
    (b"", b"1x", b""),
    (b"#${", b"00", b"}"),
    (b"#${", b"0 ", b"}"),
    (b"#u8(", b"1 ", b")"),
    (b"#u8(", b"255 ", b")"),
    (b"#s16(", b"1 ", b")"),
    (b"#f64(", b"1 ", b")"),
    (b"#f32(", b"1.5 ", b")"),
    (b"#u8(", b"+1 ", b")"),
    (b"#u8(", b"1\n", b")"),
    (b"#u8(1", b"1", b")"),
    (b"#|", b"c", b"|#"),
    (b"#|", b"|", b"|#"),
    (b"#|", b"#|", b""),
    (b"#|", b"#", b"|#"),
    (b";", b"c", b"\n1"),
    (b"", b";\n", b"1"),
    (b"#!/", b"c", b"\n1"),
    (b"", b" ", b"1"),
    (b"", b"\n", b"1"),
    (b"#\\", b"a", b""),
    (b"#\\x", b"0", b"41"),
    (b"#!", b"a", b""),
    (b"#<", b"a", b""),
    (b"#<<X\n", b"a\n", b"X\n"),
    (b"#<<X\n", b"\n", b"X\n"),
    (b"#<<", b"a", b"\nb\n"),
    (b"#<<X\n", b"X", b"\n"),
    (b"#<#X\n", b"a\n", b"X\n"),
    (b"#<#X\n", b"\n", b"X\n"),
    (b"#<#X\n", b"##", b"\nX\n"),
    (b"#<#X\n", b'#"a"', b"\nX\n"),
    (b"#<#X\n", b"#{a}", b"\nX\n"),
    (b"#<#X\n#{a", b" ", b"}\nX\n"),
    (b"#<#", b"a", b"\nb\n"),
]

CLOSED: dict[str, bool] = {"whole": True, "cut": False}
"""The two ends of a text: complete, or in the middle of everything."""


def _repeat(unit: bytes, size: int) -> bytes:
    return unit * max(1, size // len(unit))


def _unit(unit: bytes) -> Callable[[int], bytes]:
    return lambda size: b"(" + _repeat(unit, size) + b"\n)"


def _nest(before: bytes, after: bytes, innermost: bytes, flat: bool) -> Callable[[int], bytes]:
    def text(size: int) -> bytes:
        per_level = len(before) + len(after)
        levels = min(DEPTH // (before.count(b"(") + before.count(b"[") or 1), size // (2 * per_level) + 1)
        rest = size - levels * per_level
        return before * levels + innermost.replace(b"%b", _repeat(b"b " if flat else b"() ", rest)) + after * levels

    return text


def _token(before: bytes, unit: bytes, after: bytes) -> Callable[[int], bytes]:
    return lambda size: before + _repeat(unit, size) + after


def _symbols(size: int) -> bytes:
    letters = [bytes((letter,)) for letter in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    names = [first + second + third for first in letters for second in letters for third in letters]
    return b"(" + b" ".join(names * (size // (4 * len(names)) + 1))[:size] + b")"


def all_syntaxes() -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Each syntax: its name, and a function that makes a text of about so many bytes."""
    for unit in _UNITS:
        yield f"{unit!r} side by side", _unit(unit)
    for before, after in _NESTS:
        for innermost in _INNERMOST:
            for flat in (True, False):
                name = innermost.replace(b"%b", b"b b" if flat else b"() ()")
                if b". c" in innermost and not before.startswith((b"(", b"[")):
                    continue
                yield f"{before + name + after!r} nested", _nest(before, after, innermost, flat)
    for before, unit, after in _TOKENS:
        yield f"{before + unit + unit + after!r} long", _token(before, unit, after)
    yield "symbols that are all different", _symbols
