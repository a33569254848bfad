"""`bokbok.address`: the four forms of the API reference, and what is not in one of these forms."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bokbok.address import format_address, parse_address
from bokbok.errors import AddressError
from bokbok.sexpr import Char, Keyword, Symbol, loads


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8000", ("tcp", "localhost", 8000)),
        ("127.0.0.1:0", ("tcp", "127.0.0.1", 0)),
        ("host:65535", ("tcp", "host", 65535)),
        ("host:00080", ("tcp", "host", 80)),
        ("host:" + "0" * 5000 + "80", ("tcp", "host", 80)),
        ("host:000", ("tcp", "host", 0)),
        (":80", ("tcp", None, 80)),
        ("[::1]:80", ("tcp", "::1", 80)),
        ("[fe80::1%eth0]:80", ("tcp", "fe80::1%eth0", 80)),
        ("path/to/socket", ("unix", "path/to/socket")),
        ("/tmp/socket", ("unix", "/tmp/socket")),
        ("socket", ("unix", "socket")),
        ("./host:80", ("unix", "./host:80")),
        ("/a:80", ("unix", "/a:80")),
        ("host:", ("unix", "host:")),
        ("host:http", ("unix", "host:http")),
        ("host:80 ", ("unix", "host:80 ")),
        ("host:80\n", ("unix", "host:80\n")),
        ("host:٣", ("unix", "host:٣")),
        ("[::1]", ("unix", "[::1]")),
    ],
)
def test_a_string_with_digits_after_its_last_colon_and_no_slash_is_tcp_and_any_other_a_path(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("given_", "address"),
    [
        (("tcp", "localhost", 8000), ("tcp", "localhost", 8000)),
        (["tcp", "::1", 80], ("tcp", "::1", 80)),
        (("tcp", None, 0), ("tcp", None, 0)),
        (("unix", "a:80"), ("unix", "a:80")),
        (("unix", b"/tmp/\xff"), ("unix", "/tmp/\udcff")),
        (("unix", pathlib.Path("/tmp/s")), ("unix", "/tmp/s")),
        (pathlib.Path("/tmp/s"), ("unix", "/tmp/s")),
        (pathlib.Path("a:80"), ("unix", "a:80")),
    ],
)
def test_a_sequence_names_its_form(given_, address):
    assert parse_address(given_) == address
    assert parse_address(parse_address(given_)) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('(tcp "localhost" 80)', ("tcp", "localhost", 80)),
        ("(tcp #f 80)", ("tcp", None, 80)),
        ('(unix "/tmp/s")', ("unix", "/tmp/s")),
        ("(tcp localhost 80)", ("tcp", "localhost", 80)),
        ("(unix socket)", ("unix", "socket")),
        ("localhost:80", ("tcp", "localhost", 80)),
    ],
)
def test_an_address_that_was_read_from_scheme_will_do(text, address):
    assert parse_address(loads(text)) == address
    assert all(type(item) in (str, int, type(None)) for item in parse_address(loads(text)))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("", "not empty"),
        ("a\0b", "cannot hold a NUL"),
        ("host:65536", "from 0 to 65535"),
        ("host:" + "9" * 5000, "from 0 to 65535"),
        ("::1:80", r"in brackets: '\[::1\]:80'"),
        ("[]:80", "expected a string as the host"),
        ("[::1:80", "in brackets"),
        ("a b:80", "is not a host name"),
        ("a]:80", "is not a host name"),
        ("a\0:80", "is not a host name"),
        (("tcp", "localhost"), "expected 'HOST:PORT'"),
        (("tcp", "", 80), "expected a string as the host"),
        (("tcp", 7, 80), "expected a string as the host"),
        (("tcp", "a/b", 80), "is not a host name"),
        (("tcp", "localhost", "80"), "expected an integer as the port"),
        (("tcp", "localhost", True), "expected an integer as the port"),
        (("tcp", "localhost", 80.0), "expected an integer as the port"),
        (("tcp", "localhost", -1), "from 0 to 65535"),
        (("unix",), "expected"),
        (("unix", ""), "not empty"),
        (("unix", 7), "not empty"),
        (("unix", "a", "b"), "expected"),
        (("udp", "localhost", 80), "expected"),
        ((), "expected"),
        ([Char("x"), "localhost", 80], "expected"),
        ([Keyword("tcp"), "localhost", 80], "expected"),
        ([Symbol("udp"), "localhost", 80], "expected"),
        (b"localhost:80", "expected"),
        (80, "expected"),
        (None, "expected"),
    ],
)
def test_anything_else_is_refused_by_an_error_that_says_what_is_wrong(wrong, why):
    with pytest.raises(AddressError, match=why) as raised:
        parse_address(wrong)
    assert repr(wrong) in str(raised.value)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("tcp", "localhost", 80), "localhost:80"),
        (("tcp", "::1", 80), "[::1]:80"),
        (("tcp", None, 80), ":80"),
        (("unix", "/tmp/s"), "/tmp/s"),
        (("unix", "a:80"), "./a:80"),
        (("unix", ":80"), "./:80"),
        (("unix", "::1:80"), "./::1:80"),
        (("unix", "host:"), "host:"),
        ("[::1]:080", "[::1]:80"),
    ],
)
def test_an_address_is_shown_on_one_line(address, text):
    assert format_address(address) == text


_hosts = st.one_of(
    st.none(), st.from_regex(r"[a-z0-9.\-]{1,20}", fullmatch=True), st.sampled_from(["::1", "fe80::1%lo"])
)
_tcp = st.tuples(st.just("tcp"), _hosts, st.integers(0, 65535))
_unix = st.tuples(st.just("unix"), st.text(min_size=1, max_size=30).filter(lambda path: "\0" not in path))


@given(st.one_of(_tcp, _unix))
def test_what_is_shown_means_the_same_address(address):
    kind, *rest = parse_address(format_address(address))
    if kind == "unix":
        rest = [rest[0].removeprefix("./") if not address[1].startswith("./") else rest[0]]
    assert (kind, *rest) == address
