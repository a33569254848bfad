"""How reading begins and ends: exactly one datum, datums in the middle of bytes, a stream in pieces."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok.sexpr import (
    CHICKEN_4,
    CHICKEN_5,
    Dialect,
    IncompleteError,
    Keyword,
    Parser,
    Reader,
    ReadError,
    Symbol,
    dumps,
    load,
    loads,
    parse,
    read_list_head,
    skip_atmosphere,
)

A, B = Symbol("a"), Symbol("b")
MESSAGE = b'(request 12 ("ping" "12345"))'

PIECES = [
    *(b"(", b")", b")", b" ", b" ", b"  ", b'"a"', b'"', b'"\\n"', b'"' + b"x" * 201 + b'"', b"1", b"-1", b"-", b"007"),
    *(
        b"1" * 18,
        b"1" * 19,
        b"a",
        b"a:",
        b":a",
        b"+",
        b"a.b",
        b".",
        b"#t",
        b"#;",
        b"'",
        b"|",
        "é".encode(),
        b"\n",
        b";",
    ),
]


def in_pieces(data: bytes, size: int, **options: Any) -> list[Any]:
    reader = Reader(**options)
    found = []
    for start in range(0, len(data), size):
        found += reader.feed(data[start : start + size])
    return found + reader.close()


class TestLoads:
    def test_reads_one_datum(self) -> None:
        assert loads(MESSAGE) == [Symbol("request"), 12, ["ping", "12345"]]

    @pytest.mark.parametrize("data", [bytearray(b"(a)"), memoryview(b"(a)"), memoryview(b"?(?a?)")[1::2], "(a)"])
    def test_takes_any_kind_of_bytes_and_text(self, data: Any) -> None:
        assert loads(data) == [A]

    def test_takes_text_as_its_bytes(self) -> None:
        assert loads('"é\udcff"') == "é\udcff"

    def test_refuses_text_with_a_lone_surrogate_at_its_byte(self) -> None:
        with pytest.raises(ReadError, match="lone surrogate") as caught:
            loads('"é\ud800"')
        assert caught.value.offset == 3

    @pytest.mark.parametrize("data", [None, 1, [b"a"]])
    def test_takes_nothing_else(self, data: Any) -> None:
        with pytest.raises(TypeError, match=type(data).__name__):
            loads(data)

    @pytest.mark.parametrize("data", [b" a ", b"a;c", b"a ; c\n", b"a #|c|# ", b"a #;b", b"a #!/x", b"; c\na"])
    def test_allows_white_space_and_comments_around(self, data: bytes) -> None:
        assert loads(data) == A

    @pytest.mark.parametrize(
        ("data", "offset"), [(b"a b", 2), (b"(a))", 3), (b"1 2", 2), (b"a ; c\n b", 7), (b"#tx", 2), (b"a #!eof", 2)]
    )
    def test_refuses_more_behind_the_datum(self, data: bytes, offset: int) -> None:
        with pytest.raises(ReadError, match="more after the datum") as caught:
            loads(data)
        assert caught.value.offset == offset
        assert caught.value.expected == "the end of the input"

    @pytest.mark.parametrize("data", [b"a #|c", b"a #;", b"a #;(b"])
    def test_refuses_an_unfinished_comment_behind_the_datum(self, data: bytes) -> None:
        with pytest.raises(IncompleteError):
            loads(data)

    @pytest.mark.parametrize("data", [b"", b" \n", b"; c", b"#|c|#", b"#;a"])
    def test_refuses_no_datum(self, data: bytes) -> None:
        with pytest.raises(IncompleteError, match="no datum"):
            loads(data)

    def test_reads_in_the_dialect_that_it_is_told(self) -> None:
        assert loads(b"||:") == Symbol(":")
        assert loads(b"||:", dialect=CHICKEN_5) == Keyword("")

    def test_limits_depth(self) -> None:
        assert loads(b"((()))", max_depth=3) == [[[]]]
        with pytest.raises(ReadError, match="nesting deeper than 2"):
            loads(b"((()))", max_depth=2)


class TestLoad:
    def test_reads_a_binary_file(self) -> None:
        assert load(io.BytesIO(b"(a b)\n")) == [A, B]

    def test_reads_a_text_file(self) -> None:
        assert load(io.StringIO('"é"')) == "é"

    def test_refuses_a_file_of_two_datums(self) -> None:
        with pytest.raises(ReadError):
            load(io.BytesIO(b"a b"))

    def test_passes_its_options_on(self) -> None:
        assert load(io.BytesIO(b"#%a")) == Symbol("#%a")
        with pytest.raises(ReadError):
            load(io.BytesIO(b"#%a"), dialect=CHICKEN_5)
        with pytest.raises(ReadError):
            load(io.BytesIO(b"(())"), max_depth=1)


class TestParse:
    def test_reads_at_an_offset_and_says_where_it_ended(self) -> None:
        assert parse(MESSAGE, 12) == (["ping", "12345"], 28)
        assert parse(b"a b c", 1) == (B, 3)

    def test_the_end_of_the_bytes_ends_a_symbol(self) -> None:
        assert parse(b"x12", 1) == (12, 3)

    def test_offsets_in_errors_count_from_the_start(self) -> None:
        with pytest.raises(ReadError) as caught:
            parse(b"(a) (b . )", 4)
        assert caught.value.offset == 9
        with pytest.raises(ReadError) as caught:
            parse(b"xxxx(a", 4)
        assert caught.value.offset == 6

    def test_without_a_datum_it_is_incomplete(self) -> None:
        with pytest.raises(IncompleteError):
            parse(b"a ", 1)

    def test_takes_other_kinds_of_bytes(self) -> None:
        assert parse(bytearray(b" (a)")) == ([A], 4)


class TestParser:
    def test_does_what_parse_does_time_after_time(self) -> None:
        parse_next = Parser().datum
        for data, offset in (
            (MESSAGE, 12),
            (b"a", 0),
            (b"#;x b c", 0),
            (b"#ciABC def", 0),
            (b"(1 . x)", 0),
            (b"Abc", 0),
        ):
            assert parse_next(data, offset) == parse(data, offset)

    @given(
        st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join),
        st.sampled_from([CHICKEN_4, CHICKEN_5]),
        st.integers(1, 3),
    )
    def test_reads_short_lists_as_parse_does(self, rest: bytes, dialect: Dialect, max_depth: int) -> None:
        data = b"-(" + rest
        try:
            expected: object = parse(data, 1, dialect=dialect, max_depth=max_depth)
        except ReadError as error:
            with pytest.raises(ReadError, match=f"^{re.escape(str(error))}$"):
                Parser(dialect=dialect, max_depth=max_depth).datum(data, 1)
        else:
            found = Parser(dialect=dialect, max_depth=max_depth).datum(data, 1)
            assert found == expected
            assert repr(found) == repr(expected)  # types, too

    @pytest.mark.parametrize("data", [b"(a #(b", b"#ci(A . ", b"(a . b c)", b'"abc', b")", b"#;", b"#u8(1", b""])
    def test_after_an_error_it_begins_anew(self, data: bytes) -> None:
        parse_next = Parser(max_depth=3).datum
        with pytest.raises(ReadError) as expected:
            parse(data, max_depth=3)
        with pytest.raises(ReadError) as caught:
            parse_next(data, 0)
        assert str(caught.value) == str(expected.value)
        assert parse_next(b"((A)) b", 0) == ([[Symbol("A")]], 5)

    def test_limits_depth_each_time_and_reads_in_its_dialect(self) -> None:
        parse_next = Parser(dialect=CHICKEN_5, max_depth=2).datum
        for _ in range(3):
            with pytest.raises(ReadError, match="nesting deeper than 2"):
                parse_next(b"(((", 0)
            assert parse_next(b"((1/2 #;3))", 0)[0] == [[Fraction(1, 2)]]

    @pytest.mark.parametrize(
        ("data", "elements", "opened"),
        [
            (b"(a 1 #<x>)", ["a", 1], 0), (b" #;b (a (b c] d)", ["a"], 5), (b"(a 1 (b", ["a", 1], 0),
            (b"(a 1", ["a", 1], 0),
            (b"(a . (1 #<x>))", ["a"], 0), (b"(a 1 . b c)", ["a", 1], 0), (b"(a 1 . (b #<x>))", ["a", 1], 0),
            (b"(a 1 '#<x>)", ["a", 1], 0), (b"'(a #<x>)", [], 0), (b"#(a #<x>)", [], 0), (b"#<x>", [], 0), (b"", [], 0),
            (b"(#<x>", [], 0), (b"[a #<x>]", ["a"], 0),
        ],
    )  # fmt: skip
    def test_after_an_error_it_knows_what_the_list_began_with(
        self, data: bytes, elements: list[Any], opened: int
    ) -> None:
        reader = Parser()
        with pytest.raises(ReadError):
            reader.datum(data, 0)
        found, where = reader.begun
        assert [str(item) if isinstance(item, Symbol) else item for item in found] == elements
        assert where == opened

    @pytest.mark.parametrize("rest", [b"b (c) #;d)", b")", b". c)", b". (c d))", b"'e)"])
    def test_goes_on_in_a_list_as_if_it_had_read_its_beginning(self, rest: bytes) -> None:
        whole = b"(a 1 " + rest
        assert Parser().rest_of_list(whole, 5, [Symbol("a"), 1], 0) == parse(whole)

    @pytest.mark.parametrize("rest", [b"(b", b"b]", b". b c)", b"", b"((((b))))"])
    def test_fails_in_a_list_as_if_it_had_read_its_beginning(self, rest: bytes) -> None:
        whole, reader = b"(a 1 " + rest, Parser(max_depth=4)
        with pytest.raises(ReadError) as expected:
            parse(whole, max_depth=4)
        with pytest.raises(ReadError) as caught:
            reader.rest_of_list(whole, 5, [Symbol("a"), 1], 0)
        assert str(caught.value) == str(expected.value)
        assert reader.begun == ([Symbol("a"), 1, *([Symbol("b")] if rest[:1] == b"b" else [])], 0)


class TestSkipAtmosphere:
    @pytest.mark.parametrize(
        ("data", "end"),
        [
            (b"", 0), (b"a", 0), (b" \t\n\v\f\ra", 6), (b"; c", 3), (b"; c\na", 4), (b"#|c|#a", 5),
            (b"#|#|c|#|# a", 10),
            (b"#;(b c)a", 7), (b"#;#;b c a", 8), (b"#! c\na", 5), (b"#!/x", 4), (b"#!eof", 0), (b"#", 0), (b"#a", 0),
            (b"#!", 0), (b" ; c\n #|d|# #;e f", 16), (b"  ", 2),
        ],
    )  # fmt: skip
    def test_stops_at_the_first_byte_of_something_else(self, data: bytes, end: int) -> None:
        assert skip_atmosphere(data) == end
        assert skip_atmosphere(b"x" + data, 1) == end + 1

    @pytest.mark.parametrize("data", [b" #|c", b" #|c||#", b"#;", b"#; ; c"])
    def test_an_unfinished_comment_is_incomplete(self, data: bytes) -> None:
        with pytest.raises(IncompleteError) as caught:
            skip_atmosphere(data)
        assert caught.value.offset == len(data)

    def test_what_a_datum_comment_skips_must_read(self) -> None:
        with pytest.raises(ReadError) as caught:
            skip_atmosphere(b" #;)")
        assert caught.value.offset == 3

    def test_takes_other_kinds_of_bytes(self) -> None:
        assert skip_atmosphere(memoryview(b"  a")) == 2


class TestReadListHead:
    @pytest.mark.parametrize(
        ("data", "end"),
        [
            (b"(request 3 (a)", 10),
            (b"(request 3)", 10),
            (b"[request 3 #<procedure>]", 10),
            (b"{request 3}", 10),
            (b" ; c\n(request;c\n#|d|# 3 x", 24),
            (b"(#;x request 3 #", 14),
            (b'(request 3"', 10),
        ],
    )
    def test_reads_the_first_elements_whatever_follows(self, data: bytes, end: int) -> None:
        assert read_list_head(data, 2) == ([Symbol("request"), 3], data.index(b"3") + 1)

    def test_reads_at_an_offset(self) -> None:
        assert read_list_head(b"xx(a b", 1, 2) == ([A], 4)
        assert read_list_head(bytearray(b"(a b"), 0) == ([], 1)

    def test_reads_elements_of_any_kind(self) -> None:
        assert read_list_head(b"((a b) #(1) . c", 2) == ([[A, B], (1,)], 11)

    @pytest.mark.parametrize(
        ("data", "offset", "message"),
        [
            (b"", 0, "not a list"),
            (b" a", 1, "not a list"),
            (b"#(a b)", 0, "not a list"),
            (b"(a)", 2, "unexpected"),
            (b"(a]", 2, "unexpected"),
            (b"(a . b)", 3, "unexpected dot"),
            (b"(a #<x> b)", 3, "no external representation"),
        ],
    )
    def test_fails_if_there_are_no_such_elements(self, data: bytes, offset: int, message: str) -> None:
        with pytest.raises(ReadError, match=message) as caught:
            read_list_head(data, 2)
        assert caught.value.offset == offset

    @pytest.mark.parametrize("data", [b"(", b"(a", b"(a ", b"(a (b", b"(a ; b"])
    def test_is_incomplete_if_the_bytes_end_before_that(self, data: bytes) -> None:
        with pytest.raises(IncompleteError) as caught:
            read_list_head(data, 2)
        assert caught.value.offset == len(data)

    def test_limits_depth_with_the_list_counted(self) -> None:
        assert read_list_head(b"(((a)) b", 1, max_depth=3) == ([[[A]]], 6)
        with pytest.raises(ReadError, match="nesting"):
            read_list_head(b"(((a)) b", 1, max_depth=2)


class TestReader:
    @pytest.mark.parametrize(
        "data",
        [b"(a)", b'"a"', b"#(1)", b"#${61}", b"(a . b)", b"'(a)", b"#u8(1)", b"#\\(", b"#<unspecified>", b"#<<X\nX\n"],
    )
    def test_returns_a_datum_as_soon_as_it_is_complete(self, data: bytes) -> None:
        reader = Reader()
        for i in range(len(data) - 1):
            assert reader.feed(data[i : i + 1]) == []
        assert reader.feed(data[-1:]) == [loads(data)]
        assert reader.close() == []

    @pytest.mark.parametrize(
        "data", [b"abc", b"12", b"1.5", b"foo:", b"#t", b"#f", b"#!eof", b"#\\a", b"#x1f", b"'a", b"|a|"]
    )
    def test_returns_a_token_with_its_delimiter_or_at_the_end(self, data: bytes) -> None:
        for delimiter in (b" ", b")", b"(", b"\n", b";", b'"'):
            reader = Reader()
            assert reader.feed(data) == []
            if delimiter == b")":
                assert reader.feed(delimiter) == [loads(data)]
            else:
                assert reader.feed(delimiter)[:1] == [loads(data)]
        reader = Reader()
        assert reader.feed(data) == []
        assert reader.close() == [loads(data)]

    def test_returns_true_once_it_cannot_be_more(self) -> None:
        reader = Reader()
        assert reader.feed(b"#tr") == []
        assert reader.feed(b"ux") == [True]
        assert reader.close() == [Symbol("rux")]

    def test_returns_several_datums_of_one_piece(self) -> None:
        reader = Reader()
        assert reader.feed(b'a (b) "c" 1 #;d 2') == [A, [B], "c", 1]
        assert reader.close() == [2]

    def test_takes_any_kind_of_bytes(self) -> None:
        reader = Reader()
        assert reader.feed(bytearray(b"(a")) == []
        assert reader.feed(memoryview(b")")) == [[A]]
        with pytest.raises(TypeError, match="str"):
            reader.feed("a")  # type: ignore[arg-type]

    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_reads_a_string_with_embedded_datums_in_pieces(self, size: int) -> None:
        data = b"#<#X\na #b #{c d} ## e\nf\nX\n(g)"
        assert in_pieces(data, size) == [parse(data)[0], [Symbol("g")]]

    def test_an_empty_piece_changes_nothing(self) -> None:
        reader = Reader()
        assert reader.feed(b"a") == reader.feed(b"") == []
        assert reader.feed(b"b ") == [Symbol("ab")]

    @pytest.mark.parametrize("data", [b"", b" ", b"; c", b"#|c|#", b"#;a", b"#;a ", b"#;(a) ; c"])
    def test_a_stream_of_nothing_but_white_space_and_comments_has_no_datum(self, data: bytes) -> None:
        assert in_pieces(data, 1) == []
        assert in_pieces(data, 100) == []

    @pytest.mark.parametrize(
        "data", [b"(a", b'"a', b"'", b"#;", b"#|c", b"(a . b", b"#\\", b"#u8", b"#", b"a\\", b"|a"]
    )
    @pytest.mark.parametrize("size", [1, 100])
    def test_a_stream_that_ends_within_a_datum_is_incomplete(self, data: bytes, size: int) -> None:
        with pytest.raises(IncompleteError) as caught:
            in_pieces(b"x " + data, size)
        assert caught.value.offset == 2 + len(data)

    def test_offsets_count_from_the_first_byte_of_the_stream(self) -> None:
        for size in (1, 2, 3, 5, 100):
            with pytest.raises(ReadError) as caught:
                in_pieces(b'abc (de f) "g" (h . )', size)
            assert caught.value.offset == 20

    def test_the_datums_before_an_error_come_first(self) -> None:
        reader = Reader()
        assert reader.feed(b"a b ) c") == [A, B]
        with pytest.raises(ReadError) as caught:
            reader.feed(b"d ")
        assert caught.value.offset == 4

    def test_after_an_error_every_call_raises_it(self) -> None:
        reader = Reader()
        with pytest.raises(ReadError) as caught:
            reader.feed(b")")
        for call in (lambda: reader.feed(b"a "), lambda: reader.feed(b""), reader.close):
            with pytest.raises(ReadError) as again:
                call()
            assert again.value is caught.value

    def test_closing_twice_is_harmless_and_feeding_afterwards_is_not(self) -> None:
        reader = Reader()
        reader.feed(b"a")
        assert reader.close() == [A]
        assert reader.close() == []
        with pytest.raises(ValueError, match="closed"):
            reader.feed(b"b")

    def test_reads_in_the_dialect_that_it_is_told(self) -> None:
        assert in_pieces(b"||: #%a ", 1) == [Symbol(":"), Symbol("#%a")]
        assert in_pieces(b"||: ##a ", 1, dialect=CHICKEN_5) == [Keyword(""), Symbol("##a")]

    @pytest.mark.parametrize("size", [1, 7, 1000])
    def test_limits_depth(self, size: int) -> None:
        assert in_pieces(b"((()))", size, max_depth=3) == [[[[]]]]
        with pytest.raises(ReadError, match="nesting deeper than 2") as caught:
            in_pieces(b"a ((()))", size, max_depth=2)
        assert caught.value.offset == 4

    @pytest.mark.parametrize(
        ("start", "more"),
        [
            (b'"', b"x"), (b"(", b"1 2 a "), (b"'(a b ", b"(c) "), (b"#|", b"x"), (b"#;(", b"x "), (b"|", b"x"),
            (b"a", b"a"), (b"1", b"1"), (b"#${", b"61"), (b"; ", b"x"), (b"#<<X\n", b"x\n"), (b"#<#X\n#(", b"x "),
            (b"#\\", b"x"), (b"#u8(", b"1 "), (b"#<#X", b"x"),
        ],
    )  # fmt: skip
    def test_limits_what_an_unfinished_datum_takes(self, start: bytes, more: bytes) -> None:
        reader = Reader(max_size=1000)
        assert reader.feed(b"done ") == [Symbol("done")]
        assert reader.feed(start) == []
        for _ in range(980 // len(more)):
            assert reader.feed(more) == []
        with pytest.raises(ReadError, match="more than 1,000 bytes") as caught:
            reader.feed(more * 30)
        assert caught.value.offset == 5
        with pytest.raises(ReadError, match="more than 1,000 bytes"):
            reader.close()

    def test_the_limit_of_size_is_each_datums_own(self) -> None:
        reader = Reader(max_size=100)
        for _ in range(100):
            assert reader.feed(b"(a b") == []
            assert reader.feed(b") ") == [[A, B]]
            assert reader.feed(b" " * 1000) == []

    @pytest.mark.parametrize("size", [1 << 16, 1000])
    def test_reads_a_large_string_in_pieces(self, size: int) -> None:
        text = 'x\\"é\n' * 100_000
        assert in_pieces(dumps(text), size) == [text]

    def test_reads_a_long_list_in_pieces(self) -> None:
        value = [number if number % 3 else Symbol(f"s{number}") for number in range(30_000)]
        assert in_pieces(dumps(value), 1000) == [value]

    @pytest.mark.parametrize(
        ("data", "size"),
        [
            (b'"' + b"\\\\" * 50_000 + b'"', 1),
            (b"(" + b"12 " * 30_000 + b")", 1),
            (b"|" + b"a\\|" * 30_000 + b"|", 1),
            (b"a" * 100_000, 1),
            (b"\\a" * 50_000, 1),
            (b"#|" + b"| " * 50_000 + b"|# a", 1),
            (b"#${" + b"61" * 50_000 + b"}", 1),
            (b"#<<X\n" + b"ab\n" * 30_000 + b"X\n", 1),
            (b"; " + b"c" * 100_000 + b"\na", 1),
            (b"#u8(" + b"1 " * 50_000 + b")", 1),
        ],
        ids=lambda value: repr(value)[:12],
    )
    def test_a_hundred_kilobytes_byte_by_byte_read_as_at_once(self, data: bytes, size: int) -> None:
        assert in_pieces(data, size) == [loads(data)]

    def test_an_unfinished_token_is_not_searched_from_its_start_again(self) -> None:
        reader = Reader()
        reader.feed(b'(a "')
        for _ in range(100):
            reader.feed(b"x" * 1000)
            assert reader._machine.ending.seek == len(reader._tail)
        assert reader.feed(b'")') == [[A, "x" * 100_000]]

    def test_keeps_no_more_of_the_input_than_the_unfinished_token(self) -> None:
        reader = Reader()
        reader.feed(b"(" + b"abc " * 10_000 + b"de")
        assert bytes(reader._tail) == b"de"
