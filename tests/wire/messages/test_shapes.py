"""`bokbok.wire.messages`: messages of other forms, and broken messages."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bokbok.errors import BokbokError, RemoteProtocolError, WriteError
from bokbok.sexpr import CHICKEN_4, Dotted, Keyword, Symbol
from bokbok.wire.messages import ERROR, MAX_ID, REQUEST, RESPONSE, BinaryHeader, Shapes, Unreadable
from tests.support.strategy_tests import refuses, says

UNUSUAL = Shapes("(request? ID DATUM)")  # a tag that the fast codec leaves to the general one
SHAPES = [
    Shapes(),
    Shapes("(q ID DATUM)", "(a ID DATUM)", "(e ID MESSAGE)"),
    Shapes('("request" ID DATUM)', '("response" ID DATUM)', '("error" ID MESSAGE)'),
    Shapes("(call: ID DATUM)", "(return: ID DATUM)", "(fail: ID MESSAGE)"),
    Shapes("(#\\q ID DATUM)", "(#\\a ID DATUM)", "(#\\e ID MESSAGE)"),
    Shapes("(1 ID DATUM)", "(2 ID DATUM)", "(3 ID MESSAGE)"),
    Shapes("(ID request DATUM)", "(ID response DATUM)", "(ID error MESSAGE)"),
    Shapes("(request DATUM ID)", "(response DATUM ID)", "(error MESSAGE ID)"),
    Shapes("#(request ID DATUM)", "#(response ID DATUM)", "#(error ID MESSAGE)"),
    Shapes("(request ID . DATUM)", "(response ID . DATUM)", "(error ID . MESSAGE)"),
    Shapes("((type . request) (id . ID) (body DATUM))", "((type . response) (id . ID) (body DATUM))",
           "((type . error) (id . ID) (body MESSAGE))"),
    Shapes("(request ID DATUM)", "(response ID (ok DATUM))", "(response ID (error MESSAGE))"),
    Shapes("request ID DATUM", "response ID DATUM", "error ID MESSAGE", separator="\n"),
    Shapes("(100% ID DATUM)", "(50% ID DATUM)", "(0% ID MESSAGE)"),
    Shapes(id="string"), Shapes(id="flonum"), Shapes(id="symbol", id_prefix="r"), Shapes(id="string", id_prefix="%d-"),
    Shapes(payload="string"), Shapes(message="text"), Shapes(payload="string", message="text", ending="\n"),
]  # fmt: skip
HEADERS = [
    BinaryHeader(),
    BinaryHeader(integer="u64-le", order="id-tag"),
    BinaryHeader(b"req", b"res", b"err", payload="string"),
    BinaryHeader(message="bytes"),
    BinaryHeader(message="bytes", ending="\n"),
]
ALL = [*SHAPES, *HEADERS]
every = pytest.mark.parametrize("form", ALL, ids=range(len(ALL)))
DATUMS: list[Any] = [
    [], "text", 'a "b" \\ \n\x01 é', [Symbol("ID"), Symbol("DATUM")], (1, [2]), Dotted([1], 2), Keyword("k"), -5, 1.5,
    b"\0\xff", True, [["deep"]], "bokbok-id-goes-here", "100%", "%d",
]  # fmt: skip


def bound(form: Any, depth: int = 100) -> Any:
    return form.bind(CHICKEN_4, depth)


@every
@pytest.mark.parametrize("id", [0, 7, 200])
def test_what_is_written_reads_as_the_same(form: Any, id: int) -> None:
    codec = bound(form)
    for datum in DATUMS:
        assert codec.decode(codec.request(id, datum)) == (REQUEST, id, datum)
        assert codec.decode(codec.response(id, datum)) == (RESPONSE, id, datum)
    for text in ("", "no", 'a "b" \\ \n\x01 é', "\udcff", "DATUM", "100%"):
        assert codec.decode(codec.error(id, text)) == (ERROR, id, text)


@every
@settings(max_examples=30)
@given(body=st.binary(max_size=30))
def test_anything_else_is_a_protocol_error_or_told_to_be_unreadable(form: Any, body: bytes) -> None:
    codec = bound(form)
    whole = codec.request(3, ["x", 1])
    for data in (body, whole + body, body + whole, whole[:8] + body, whole[:-2] + body + whole[-2:]):
        try:
            kind, id, _ = codec.decode(data)
        except RemoteProtocolError:
            continue
        assert kind in (REQUEST, RESPONSE, ERROR)
        assert isinstance(id, int)
        assert id >= 0


@every
def test_a_datum_that_cannot_travel_is_named(form: Any) -> None:
    with pytest.raises(WriteError, match=r"message\[0\]"):
        bound(form).request(0, [object()])


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (SHAPES[0], b"(request 7 x)"),
        (SHAPES[8], b"#(request 7 x)"),
        (SHAPES[9], b"(request 7 . x)"),
        (SHAPES[10], b"((type . request) (id . 7) (body x))"),
        (SHAPES[12], b"request\n7\nx"),
        (SHAPES[13], b"(100% 7 x)"),
        (Shapes(id="string"), b'(request "7" x)'),
        (Shapes(id="flonum"), b"(request 7.0 x)"),
        (Shapes(id="symbol", id_prefix="r"), b"(request r7 x)"),
        (Shapes(payload="string"), b'(request 7 "x")'),
        (Shapes(ending="\n"), b"(request 7 x)\n"),
        (BinaryHeader(), b"\1\0\0\0\7x"),
        (BinaryHeader(order="id-tag", integer="u16-le"), b"\7\0\1x"),
        (BinaryHeader(payload="string", ending="\n"), b'\1\0\0\0\7"x"\n'),
    ],
    ids=repr,
)
def test_a_request_is_written_as_its_shape_says(form: Any, data: bytes) -> None:
    assert bound(form).request(7, Symbol("x")) == data
    assert bound(form).decode(data) == (REQUEST, 7, Symbol("x"))


def test_the_more_special_shape_is_tried_first() -> None:
    codec = bound(Shapes(response="(response ID DATUM)", error="(response ID (error MESSAGE))"))
    assert codec.decode(b'(response 1 (error "no"))') == (ERROR, 1, "no")
    assert codec.decode(b"(response 1 (error 5))") == (RESPONSE, 1, [Symbol("error"), 5])


@pytest.mark.parametrize(
    ("form", "id"),
    [
        *((Shapes(), id) for id in ("-1", "1.0", '"1"', "x", str(MAX_ID + 1), "9" * 4000, "(" * 90 + ")" * 90)),
        *((Shapes(id="flonum"), id) for id in ("1", "-1.0", "1.5", "+inf.0", "-inf.0", "+nan.0", "1e300")),
        *((Shapes(id="string"), id) for id in ("1", '"01"', '"x"', '""', '"-1"', '"' + "9" * 30 + '"', '"\u0661"')),
        *((Shapes(id="symbol", id_prefix="r"), id) for id in ("r", "r01", "x1", '"r1"', "r-1")),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_id_that_is_none_is_a_protocol_error(form: Any, id: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"the ID of a (message|request) is .*; expected a \w+ from 0 up"):
        bound(form).decode(b"(request %b x)" % id.encode())


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (Shapes(), b"(response 7 #<thread: thread3>)"),
        (Shapes(response="(DATUM ID reply)"), b"(#<thread: thread3> 7 reply)"),
        (Shapes(response="(ID response DATUM)"), b'(7 response ("#<a>" #<procedure (f x)>))'),
        (Shapes(response="#(response ID DATUM)"), b"#(response 7 #<queue #<thread: a>>)"),
        (Shapes(response="(response ID . DATUM)"), b"(response 7 . #<thread: thread3>)"),
        (Shapes("request ID DATUM", "response ID DATUM", "error ID MESSAGE"), b"response 7 #<thread: thread3>"),
        (BinaryHeader(), b"\2\0\0\0\7#<thread: thread3>"),
    ],
    ids=repr,
)
def test_an_answer_that_no_reader_takes_costs_its_request_alone(form: Any, body: bytes) -> None:
    kind, id, datum = bound(form).decode(body)
    assert (kind, id) == (RESPONSE, 7)
    assert isinstance(datum, Unreadable)


@pytest.mark.parametrize(
    "body", [b"(#<thread> x reply)", b"(1 2 #<thread>)", b"(#<thread> 7 reply", b"(#<thread 7 reply)", b"((a 7 reply)"]
)
def test_what_is_unreadable_elsewhere_than_in_the_datum_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        bound(Shapes(response="(DATUM ID reply)")).decode(body)


def test_an_id_that_is_a_very_deep_datum_is_a_protocol_error_too() -> None:
    deep = b"(" * 9000 + b")" * 9000
    with pytest.raises(RemoteProtocolError, match="the ID of a request is a datum of type list; expected a fixnum"):
        bound(Shapes(), 10_000).decode(b"(request %b x)" % deep)


ALIST = Shapes(
    *(
        f"((type . {kind}) (id . ID) (body . {hole}))"
        for kind, hole in zip("qae", ("DATUM", "DATUM", "MESSAGE"), strict=True)
    )
)


@pytest.mark.parametrize(
    "body",
    [b"((type . q) (id . 03) (body . (a))", b"((type . q) (id . 3) (body . (a)", b"((type . x) (id . 3) (body . (a))"],
)
def test_a_message_is_not_told_by_less_than_all_around_its_datum(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        bound(ALIST).decode(body)


@pytest.mark.parametrize(
    ("form", "body", "kind"),
    [
        (Shapes(), b"(request 3 #<procedure>)", REQUEST),
        (Shapes(), b"(response 3 (a)", RESPONSE),
        (Shapes(), b"(error 3 #<x>) \n", ERROR),
        (Shapes("(ID q DATUM)", "(ID a DATUM)", "(ID e MESSAGE)"), b"(3 a #<x>)", RESPONSE),
        (ALIST, b"((type . q) (id . 3) (body . %b))" % (b"7" * 5000), REQUEST),
        (ALIST, b'((type . a) (id . 3) (body "echo" %b))' % (b"7" * 5000), RESPONSE),
        (ALIST, b"((type . a) (id . 3) (body . (a))", RESPONSE),
        (Shapes(request="#(q ID DATUM)"), b"#(q 3 (a)", REQUEST),
        (
            Shapes(request="(q (id ID) (is DATUM) end)", id="string", id_width=4),
            b'(q (id "0003") (is (a) end)',
            REQUEST,
        ),
        (Shapes(payload="string"), b'(request 3 "#<x>")', REQUEST),
        (BinaryHeader(), b"\2\0\0\0\3#<x>", RESPONSE),
        (BinaryHeader(payload="string"), b'\2\0\0\0\3"("', RESPONSE),
    ],
    ids=repr,
)
def test_a_datum_that_does_not_read_is_told_with_its_id(form: Any, body: bytes, kind: int) -> None:
    got_kind, id, datum = bound(form).decode(body)
    assert (got_kind, id, type(datum)) == (kind, 3, Unreadable)


@pytest.mark.parametrize(
    ("form", "body", "problem"),
    [
        (UNUSUAL, b"(request? 3 x) y", "1 bytes after the message of 15 bytes"),
        (UNUSUAL, b"(reqest 3 x)", r"does not have one of the shapes \(request\? ID DATUM\)"),
        (UNUSUAL, b"(error 3 x)", "does not have one of the shapes"),
        (UNUSUAL, b"(request? #<x>", "does not read"),
        (UNUSUAL, b"(#<x> 3 x)", "does not read"),
        (Shapes("#(q ID DATUM)"), b"#(q 3 (x", "does not read"),
        (
            Shapes(payload="string"),
            b"(request 3 x)",
            "the payload is a datum of type symbol; expected a string with the text of a datum",
        ),
        (Shapes(message="text"), b'(error 3 "x")', "does not have one of the shapes"),
        (SHAPES[9], b"request", "does not have one of the shapes"),
        (SHAPES[9], b"(request)", "does not have one of the shapes"),
        (BinaryHeader(), b"\1\0\0", "the message has 3 bytes; expected a header of 5"),
        (BinaryHeader(), b"\x09\0\0\0\0x", r"the message's tag is b'\\t' at byte 0; expected one of b'\\x01'"),
        (
            BinaryHeader(),
            b"\3\0\0\0\0x",
            "the message of a failed request is a datum of type symbol",
        ),
        (BinaryHeader(payload="string"), b"\1\0\0\0\0x", "expected a string with the text of a datum"),
    ],
    ids=repr,
)
def test_a_message_of_no_shape_is_a_protocol_error(form: Any, body: bytes, problem: str) -> None:
    with pytest.raises(RemoteProtocolError, match=problem):
        bound(form).decode(body)


def test_a_narrow_id_starts_again_from_0() -> None:
    codec = bound(BinaryHeader(integer="u8"))
    assert codec.request(256, 1) == struct.pack(">BB", 1, 0) + b"1"


test_a_form_that_cannot_be_is_refused = refuses(
    (lambda: Shapes("(request ID"), r"the shape '\(request ID' does not read"),
    (lambda: Shapes("(request DATUM)"), "request: expected a shape with ID and DATUM once each"),
    (lambda: Shapes("(request ID ID DATUM)"), "request: expected a shape with ID and DATUM once each"),
    (lambda: Shapes(error="(error ID DATUM)"), "error: expected a shape with ID and MESSAGE once each"),
    (lambda: Shapes(id="roman"), "id: expected one of fixnum, string, flonum, symbol; got 'roman'"),
    (lambda: Shapes(payload="x"), "payload: expected one of datum, string; got 'x'"),
    (lambda: Shapes(message="x"), "message: expected one of string, text; got 'x'"),
    (lambda: BinaryHeader(integer="u7"), "integer: expected one of u8, .*; got 'u7'"),
    (lambda: BinaryHeader(b"a", b"a", b"b"), "expected three different tags of one length"),
    (lambda: BinaryHeader(b"a", b"b", b"cd"), "expected three different tags of one length"),
    (lambda: BinaryHeader(order="x"), "order: expected one of tag-id, id-tag; got 'x'"),
    (lambda: BinaryHeader(payload="x"), "payload: expected one of datum, string; got 'x'"),
    (lambda: BinaryHeader(message="x"), "message: expected one of string, text, bytes; got 'x'"),
)


test_each_says_in_words_what_it_is = says(
    (Shapes(), "(request ID DATUM), (response ID DATUM), (error ID MESSAGE)"),
    (
        Shapes("#(q ID DATUM)", id="string", payload="string"),
        "#(q ID DATUM), (response ID DATUM), (error ID MESSAGE), ID as string, the payload as text in a string",
    ),
    (BinaryHeader(), r"binary header, tag-id: tags b'\x01', b'\x02', b'\x03', IDs u32-be"),
)


def test_a_shape_has_one_spelling_however_it_is_given() -> None:
    assert Shapes("( request  ID\nDATUM )") == Shapes()


@pytest.mark.parametrize(
    "body",
    [
        b"(request 3 x)",
        b'(response 3 "text")',
        b'(response 3 "te\\nxt")',
        b'(error 3 "no")',
        b"(response 3 (1 #(2) . 3))",
        b" ( request 3 ; why\n x ) ",
        b"(request 3 #<thread: t>)",
        b"(request 3 (a)",
        b"(request -1 x)",
        b"(error 3 x)",
        b"(request 3)",
        b"(request 3 x) y",
        b"x",
        b"",
    ],
)
def test_the_fast_codec_of_tags_reads_what_the_general_one_reads(body: bytes, monkeypatch: Any) -> None:
    def result() -> Any:
        try:
            kind, id, datum = bound(Shapes()).decode(body)
        except RemoteProtocolError:
            return RemoteProtocolError
        return kind, id, type(datum) if isinstance(datum, Unreadable) else datum

    fast = result()
    monkeypatch.setattr(Shapes, "_tags", None)
    assert result() == fast


@pytest.mark.parametrize("datum", ["text", ["a", 1], (), "\udcff"])
def test_the_fast_codec_of_tags_writes_what_the_general_one_writes(datum: Any, monkeypatch: Any) -> None:
    def written() -> list[bytes]:
        codec = bound(Shapes())
        return [codec.request(3, datum), codec.response(4, datum), codec.error(5, "no")]

    fast = written()
    monkeypatch.setattr(Shapes, "_tags", None)
    assert written() == fast


@pytest.mark.parametrize(
    ("form", "id", "written"),
    [
        ({"id": "string", "id_width": 4}, 7, b'"0007"'),
        ({"id": "string", "id_width": 2}, 123, b'"123"'),
        ({"id": "string", "id_base": 16}, 255, b'"ff"'),
        ({"id": "symbol", "id_prefix": "g", "id_width": 3, "id_base": 16}, 10, b"g00a"),
    ],
)
def test_an_id_may_have_a_width_and_a_base(form: dict[str, Any], id: int, written: bytes) -> None:
    codec = Shapes(**form).bind(CHICKEN_4, 100)
    assert codec.request(id, "x") == b'(request %b "x")' % written
    assert codec.decode(codec.request(id, "x")) == (REQUEST, id, "x")


@pytest.mark.parametrize(
    "body", [b'(request "7" x)', b'(request "07" x)', b'(request "00007" x)', b'(request "000f" x)']
)
def test_an_id_of_another_width_is_none(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"the ID of a message is .*; expected a string from 0 up"):
        Shapes(id="string", id_width=4).bind(CHICKEN_4, 100).decode(body)


@pytest.mark.parametrize(
    "wrong", [{"id_width": 2}, {"id_base": 16}, {"id": "string", "id_base": 8}, {"id": "flonum", "id_width": 1}]
)
def test_digits_that_no_id_has_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BokbokError, match=r"base|width"):
        Shapes(**wrong)


def test_a_tail_may_stand_in_one_of_several_datums() -> None:
    codec = Shapes("M (request ID . DATUM)", "M (response ID . DATUM)", "M (error ID . MESSAGE)").bind(CHICKEN_4, 100)
    assert codec.request(3, ["ping", "x"]) == b'M (request 3 "ping" "x")'
    assert codec.response(3, 4) == b"M (response 3 . 4)"
    assert codec.decode(b'M (error 3 . "no")') == (ERROR, 3, "no")
