"""`bokbok.wire.messages`: the form of a message, and broken messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bokbok.errors import RemoteProtocolError, WriteError
from bokbok.sexpr import CHICKEN_4, CHICKEN_5, Keyword, Symbol
from bokbok.wire.messages import ERROR, MAX_ID, REQUEST, RESPONSE, Shapes, Unreadable, legible

codec = Shapes().bind(CHICKEN_4, 100)


def test_a_request_is_its_tag_its_id_and_the_datum() -> None:
    assert codec.request(0, ["ping", 1]) == b'(request 0 ("ping" 1))'


def test_a_response_is_its_tag_the_id_it_answers_and_the_datum() -> None:
    assert codec.response(7, None) == b"(response 7 ())"


def test_an_error_is_its_tag_the_id_it_answers_and_a_string() -> None:
    assert codec.error(7, 'no "such" thing\n') == b'(error 7 "no \\"such\\" thing\\n")'


def test_datums_are_written_in_the_dialect() -> None:
    assert codec.request(0, Keyword("k")) == b"(request 0 k:)"
    assert Shapes().bind(CHICKEN_5, 100).request(0, Keyword("k")) == b"(request 0 #:k)"


def test_tags_may_be_others() -> None:
    other = Shapes("(ask ID DATUM)", "(answer ID DATUM)", "(fail ID MESSAGE)").bind(CHICKEN_4, 100)
    assert other.request(0, 1) == b"(ask 0 1)"
    assert other.decode(b"(answer 0 1)") == (RESPONSE, 0, 1)
    with pytest.raises(RemoteProtocolError, match="expected one of ask, answer, fail"):
        other.decode(b"(request 0 1)")


@pytest.mark.parametrize(
    "body",
    [
        b"(request 5 x)",
        b"[request 5 x]",
        b"( request 5 x )",
        b"(request\t5\nx)",
        b"(request 05 x)",
        b"(request +5 x)",
        b"(request #x5 x)",
        b"  (request 5 x)  \n",
        b"(request 5 x) ; comment\n",
        b"#| before |# (request #;4 5 x #| after |#)",
        b"(|request| 5 |x|)",
        b"(request 5 . (x))",
    ],
)
def test_a_message_may_be_spelt_in_any_way_that_reads_the_same(body: bytes) -> None:
    assert codec.decode(body) == (REQUEST, 5, Symbol("x"))


@pytest.mark.parametrize("id", [0, 1, 9, 10, 10**17, 10**18, MAX_ID - 1, MAX_ID])
def test_an_id_is_a_fixnum(id: int) -> None:
    assert codec.decode(b"(request %d x)" % id) == (REQUEST, id, Symbol("x"))


def test_an_id_beyond_a_fixnum_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="is 4611686018427387904; expected a fixnum from 0 up"):
        codec.decode(b"(request %d x)" % (MAX_ID + 1))


def test_an_enormous_id_is_refused_without_being_quoted() -> None:
    with pytest.raises(RemoteProtocolError, match="is a datum of type integer; expected a fixnum from 0 up"):
        codec.decode(b"(request " + b"9" * 4000 + b" x)")


def test_a_long_tag_is_quoted_by_its_beginning() -> None:
    with pytest.raises(RemoteProtocolError) as raised:
        codec.decode(b"(" + b"x" * 1000 + b" 0 y)")
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"(request 3 #<procedure>)", REQUEST),
        (b"(response 3 #<procedure>)", RESPONSE),
        (b"(error 3 #<procedure>)", ERROR),
        (b"(request 3 (a)", REQUEST),
        (b"(request 3 (a . ))", REQUEST),
        (b'(request 3 "open)', REQUEST),
        (b"(request 3 " + b"(" * 101 + b")" * 102, REQUEST),
        (b" ; comment\n (request 3 #<x>) \t\n", REQUEST),
        (b"(request 3 a b #<x>)", REQUEST),
        (b"(request 3 #<x>) ; whose last byte is one )", REQUEST),
    ],
)
def test_a_datum_that_does_not_read_is_told_with_its_id(body: bytes, kind: int) -> None:
    got_kind, id, datum = codec.decode(body)
    assert (got_kind, id) == (kind, 3)
    assert isinstance(datum, Unreadable)
    assert repr(datum) == f"Unreadable({datum.problem!r})"
    assert " at byte " in datum.problem


@pytest.mark.parametrize(
    "body",
    [
        b"(request 3 #<x>",
        b"(request 3 #<x>) )x",
        b"#(request 3 #<x>)",
        b"(request #<x> y)",
        b"(#<x> 3 y)",
        b"(request 3.0 #<x>)",
        b"(reqest 3 #<x>)",
        b"#;",
        b"#|",
        b"",
        b" ",
    ],
)
def test_a_message_that_cannot_be_told_apart_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode(body)


def test_the_depth_limit_counts_the_datum_however_the_message_is_spelt() -> None:
    for head in (b"(request 0 ", b"(request 00 "):
        kind, id, datum = codec.decode(head + b"(" * 100 + b")" * 101)
        assert (kind, id, type(datum)) == (REQUEST, 0, list)
        assert isinstance(codec.decode(head + b"(" * 101 + b")" * 102)[2], Unreadable)


def test_a_datum_that_cannot_travel_is_named() -> None:
    with pytest.raises(WriteError, match=r"message\[0\]"):
        codec.request(0, [object()])


@given(st.text(max_size=50))
def test_any_text_travels_as_an_error(text: str) -> None:
    kind, id, message = codec.decode(codec.error(3, text))
    assert (kind, id, type(message)) == (ERROR, 3, str)
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert message == text


@given(st.binary(max_size=40))
def test_decoding_raises_nothing_else(body: bytes) -> None:
    for data in (body, b"(request 0 " + body + b")", b"(error 0 " + body + b")"):
        try:
            got: Any = codec.decode(data)
        except RemoteProtocolError:
            continue
        assert got[0] in (REQUEST, RESPONSE, ERROR)
        assert 0 <= got[1] <= MAX_ID


def _outcome(decode: Callable[[bytes], tuple[int, int, Any]], body: bytes) -> object:
    try:
        kind, id, datum = decode(body)
    except RemoteProtocolError as error:
        return str(error)
    return kind, id, datum.problem if type(datum) is Unreadable else datum


@given(
    st.sampled_from([b"request", b"response", b"error"]),
    st.lists(
        st.sampled_from([b'"', b"\\", b")", b"(", b" ", b"x", b"\xff", b"\xc3\xa9", b";", b"\n", b'")']), max_size=8
    ),
)
@example(b"error", [])
@example(b"request", [b'"'])
@example(b"request", [b'"', b'")'])
@example(b"request", [b'"', b"x", b"\\", b'")'])
def test_a_message_of_one_string_reads_as_every_other(tag: bytes, rest: list[bytes]) -> None:
    usual = b"(%b 33 " % tag + b"".join(rest)
    unusual = usual.replace(b" 33 ", b"\t33 ", 1)  # the same, but not a head that the fast path takes
    assert _outcome(codec.decode, usual) == _outcome(codec.decode, unusual)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"(ok 2 #<thread: thread3>)", b"(ok 2 unreadable-object)"),
        (b"(#<queue (#<thread: a>)> 1)", b"(unreadable-object 1)"),
        (b'("#<a>" |#<b>| #\\" #<c>)', b'("#<a>" |#<b>| #\\" unreadable-object)'),
        (b'(#<a> "#<b>', b'(unreadable-object "#<b>'),
        (b'(1 "#<a>")', None),
        (b"(1 #<a)", None),
    ],
)
def test_what_no_reader_takes_is_replaced_so_that_the_rest_can_be_read(body: bytes, shown: bytes | None) -> None:
    assert legible(body) == shown


def test_a_long_message_full_of_open_quotes_is_looked_at_once() -> None:
    assert legible(b'"' + b'\\"' * 1_000_000 + b"\\") is None
    assert legible(b"#<" * 1_000_000) is None


def test_a_message_that_takes_too_much_memory_fails_alone() -> None:
    small = Shapes().bind(CHICKEN_4, 100, 50_000)
    kind, id, datum = small.decode(b"(request 3 (" + b"() " * 10_000 + b"))")
    assert (kind, id, type(datum)) == (REQUEST, 3, Unreadable)
    assert datum.problem == "datum that takes more than 50,000 bytes of memory, the limit at byte 0"
    assert small.decode(b'(request 4 "x")') == (REQUEST, 4, "x")
    with pytest.raises(RemoteProtocolError, match="memory"):
        small.decode(b"(request 3 (" + b"() " * 10_000 + b"x")
