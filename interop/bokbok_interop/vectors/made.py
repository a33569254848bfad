"""Datums that were not recorded, and that implementations get wrong: every byte, every edge, every spelling.

`docs/sexpr.md` says what each of them is, and the library has its reader and writer. Both CHICKENs read the spellings
alike.
"""

from __future__ import annotations

import array
import math
from functools import cache
from typing import Any

from bokbok.sexpr import FIXNUM_MAX, FIXNUM_MIN, Char, Dotted, Keyword, Symbol

__all__ = ["RARE_SPELLINGS", "SPELLINGS", "values"]

_ENDS = {"B": 8, "b": 8, "H": 16, "h": 16, "I": 32, "i": 32}
"""Type codes of whole numbers, and their bits."""


_UNNORMAL = ("e\u0301", "\u00e9", "\u1112\u1161\u11ab", "\ufb01", "\u212b")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@cache
def values() -> list[tuple[str, Any]]:
    """Values, each with the name of its type, as in the recordings."""
    bytes_ = [bytes([code]) for code in range(256)]
    found: list[tuple[str, Any]] = [("char", Char(chr(code))) for code in (*range(258), 0x7FF, 0x800, 0xFFFF, 0x10000)]
    found += [("string", _text(b"x" + byte + b"1")) for byte in bytes_]
    # The byte in the middle and at the beginning: either may need bars when the byte elsewhere does not.
    found += [("symbol", Symbol(_text(b"x" + byte + b"y"))) for byte in bytes_ if byte != b":"]
    found += [("symbol", Symbol(_text(byte + b"y"))) for byte in bytes_[32:] if byte not in b"#"]
    found += [("symbol", Symbol(name)) for name in ("a:", ":", "a:b:", ".", "..", "...", "1.", "-1/2", "+.5", "1e5x")]
    found += [("symbol", Symbol(_text(b"a b" + byte))) for byte in bytes_[127:]] + [("keyword", Keyword("a é"))]
    found += [("keyword", Keyword(name)) for name in ("a b", "A", "1", "a:b", "x" * 300)]
    found += [("flonum", sign * number) for sign in (1, -1) for number in _flonums()]
    found += [("fixnum", number) for number in _fixnums()]
    for code, bits in _ENDS.items():
        low, high = (0, (1 << bits) - 1) if code.isupper() else (-1 << bits - 1, (1 << bits - 1) - 1)
        vector = array.array(code, [low, high, low + 1, high - 1, 1, 0])
        found.append((f"{'u' if code.isupper() else 's'}{bits}vector", vector))
    found.append(("f64vector", array.array("d", [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2.0])))
    found += [("blob", bytes(range(256))), ("blob", b"\x00"), ("string", "x" * 70_000)]
    found += [("symbol", Symbol("y" * 70_000)), ("keyword", Keyword("z" * 70_000))]
    # What Unicode's normal forms would change: a letter and its accent, jamo, a ligature.
    found += [(kind, make(text)) for text in _UNNORMAL for kind, make in (("string", str), ("symbol", Symbol))]
    found += [("vector", ((), ((),), [()])), ("list", [[], [[]], [[], []]]), ("list", [True, False])]
    found += [("list", [Symbol("quote"), [Symbol("quote"), Symbol("x")]]), ("list", [Symbol("unquote"), 1, 2])]
    tails = (1, "x", Symbol("b"), (1, 2), Char(")"), 0.5, True, b"\x01")
    found += [("dotted", Dotted([Symbol("a")], tail)) for tail in tails]
    found.append(("dotted", Dotted([Dotted([1], 2), Dotted([3], 4)], Dotted([5], 6))))
    return found


def _flonums() -> list[float]:
    """Flonums at which the digits, or the form, of the written text change."""
    powers = [10.0**n for n in range(-7, 25)]
    around = [math.nextafter(number, end) for number in (1.0, 0.1, 1e15, 1e16, 1e17, 1e21, 1e22) for end in (0, 1e300)]
    odd = [0.1 + 0.2, 1 / 3, 2 / 3, 1e15 + 0.5, 123456789012345.6, 2.0**53 + 2, 2.0**63, 2.0**64, 5e-324, 1e-310]
    return [*powers, *around, *odd, 2.2250738585072014e-308, 1.7976931348623157e308, 65536.5]


def _fixnums() -> list[int]:
    powers = [
        sign * (1 << bits) + more for bits in (7, 8, 15, 16, 31, 32, 53, 61) for sign in (1, -1) for more in (-1, 0)
    ]
    return [*powers, FIXNUM_MAX, FIXNUM_MIN, FIXNUM_MAX - 1, FIXNUM_MIN + 1, 10**18, -(10**18)]


SPELLINGS: tuple[bytes, ...] = (
    # quotes, lists, vectors
    b"'a", b"''a", b"'(1 2)", b"`(a ,b ,@c)", b"(a 'b c)", b"'#(1)", b"(a'b)", b"#(a #(b))", b"#( 1 2 )", b"#()",
    b"(a . (b . c))", b"(a . #(b))", b"((a . b) . c)", b"(a . [b c])", b"(a . (b . (c . (d))))", b"[a (b) {c}]", b"{}",
    b"(a . 5)", b"(a .5)", b"(a.b)", b'(a"b"c)', b"(a(b)c)", b"(a#(1))", b'("a""b")', b"(#t #f)", b"(#t#f)", b"(#T #F)",
    b"(a . 'b)", b"(a . `(b ,c))", b"(a . ,@b)", b"(a . ''b)", b'(a . "b")', b"(a . #t)", b"(a . b:)",
    rb"(a . #\x)", b"(a . |b|)",
    # what begins where another datum ends
    rb"(#\a(b))", rb'(#\a"x")', b"(#t(a))", b"(1(a))", b'(1"a")', b"(1.5'a)", b"(|a|(b))", b"#(1(a)#(2))",
    # numbers
    b"-0", b"+0", b"007", b"-007", b"1.", b"1.e3", b"1e+3", b"1E-3", b"+.5e1", b"-1E-2", b"-.5", b"0.1", b"-0.0",
    b"100000000000000000000.0", b"1e22", b"1e23", b"5e-324", b"2e-324", b"1.7976931348623157e308", b"1e400",
    b"-1e400", b"1e-400", b"2.2250738585072011e-308", b"9007199254740993.0", b"9007199254740992.5",
    b"0.1000000000000000055511151231257827",
    # whose digits, added up one by one and then scaled, give another flonum
    b"794.380409581540212", b"-380.528694629737896", b"1.596475456e-145", b"3.748716180e-50", b"9.637775004e32",
    b"1" + b"0" * 30 + b".0", b"123456789012345678", b"#x-ff", b"#xFF",
    b"#xff",
    b"#b-101", b"#o777", b"#d-10", b"4611686018427387903", b"-4611686018427387904",
    # strings
    rb'"\x414"', rb'"\xe9"', rb'"\u00e9"', rb'"\u65e5"', rb'"\U0001F600"', rb'"\a\b\t\n\v\f\r"', rb'"\""', rb'"\\"',
    rb'"\\n"', rb'"\377"', rb'"\0001"', rb'"\x00"', b'"a\\\n   b"', b'"a  \\\n b"', b'"a\nb"', b'"a\tb"', rb'"\q\(\|"',
    b'"a\r\nb\rc"', b'"a;b"', b'"#|a"', b'""', b'"(a"',
    # characters
    rb"#\a", rb"#\A", rb"#\9", rb"#\space", rb"#\nul", rb"#\null", rb"#\page", rb"#\escape", rb"#\esc", rb"#\alarm",
    rb"#\vtab", rb"#\tab", rb"#\delete", rb"#\x41", rb"#\x", rb"#\u", rb"#\U", rb"#\U1F600", rb"#\u3bb", rb"#\x0",
    rb"#\x7f", rb"#\xff", rb"#\(", rb'#\"', rb"#\#", rb"#\'", rb"#\,", rb"#\[", rb"#\\", rb"#\|", rb"#\;", rb"#\ ",
    rb"(#\a #\))", rb"(#\( #\))", b"#\\\xc3\xa9",
    # symbols and keywords
    b"|a b|", b"a|b c|d", b"||", rb"|a\|b|", rb"|a\x0ab|", rb"|\\|", b"|A|", b"ABC", b"a:b", b"|a:|", b":a", b"...",
    b"..",
    b"-a", b"1+", b"a.b", b"->", b"<=?", b"!$%&*/:<=>?^_~", b"\xce\xbb", b"|1|", b"a#b", b"a`b", b"|a;b|", b"a:",
    b"#:a",
    b"|a b|:", b"#:|a b|", b"A:", b"#:a:",
    # blobs and vectors of numbers
    b"#${}", b"#${00ff}", b"#${00FF}", b"#${ 00 ff }", b"#u8()", b"#u8( 1 2 )", b"#u8(1\n2)", b"#u8(1 ;c\n 2)",
    b"#s8(-128 127)", b"#u16(65535)", b"#s16(-32768)", b"#u32(4294967295)", b"#s32(-2147483648)", b"#f32(0.5 1 -2)",
    b"#f32(0.1)", b"#f64(1 .5 1e3 +inf.0)", b"#f64(-0.0)",
    # white space and comments
    b"(a ;c\r b\n d)", b"(;c\na)", b"(a ;c\n)", b"(#|b|#a)", b"(a #|b|#)", b"(#;b a)", b"(a #;b)", b"( a )",
    b"#(;c\na)", b"#( #;b )",
    b"(a ;c\n b)", b"(a;c\nb)",  b"(a #|b|# c)", b"(a #||# b)", b"(a #|;|# b)", b"(a #| #| x |# |# b)", b"(a #;b c)",
    b"(a #;(b c) d)", b"(#;a)", b"(a #;#;b c d)", b"(a\x0cb)", b"(a\x0bb)", b"(a\r\nb)", b"(a\tb)", b"(a . b ;c\n)",
    b"#;a b", b"#|a|#b", b"(a #!eof)", b"(a . #;b c)", b"(a . ;c\n b)", b"(a . #|b|# c)", b"(a #;#|b|#c d)",
)  # fmt: skip
"""Spellings of a datum that every peer meets sooner or later."""

RARE_SPELLINGS: tuple[bytes, ...] = (
    b"#ciABC", b"(#ciAB CD)", b'#ci(AB |CD| "EF")', b"#csABC", b"(#ci(A #csB C) D)", b"#<<END\nx\ny\nEND\n",
    b"(#<<E\nx\nE\ny)", b"#e1.0", b"#e5", b"#$a", b"#`a", b"#${123 4}", b"(a ')", b"(a #;)", b"#(a . (b))", b"#u8 (1)",
    b"#u8[1]", b"#!/x\na", b"#X1f", b"#B11", rb'"\ud83d\ude00"', rb"a\ b", rb"\(", rb"\1",
)  # fmt: skip
"""Rare spellings of a datum: a peer reads them correctly, or says that it cannot read them."""
