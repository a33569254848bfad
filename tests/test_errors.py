"""`bokbok.errors`: one tree, and the text and attributes of each leaf."""

import pickle

import pytest

from bokbok import errors


def _leaves():
    return [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("error", _leaves(), ids=lambda error: error.__name__)
def test_every_error_is_a_bokbok_error_and_documented(error):
    assert issubclass(error, errors.BokbokError)
    assert error.__doc__


def test_every_error_of_the_module_is_exported():
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and not name.startswith("_")}
    assert defined == set(errors.__all__)
    assert errors.__all__ == sorted(errors.__all__)


def test_the_tree_of_the_docstring_is_the_tree():
    """Each line's indentation shows its parent. In parentheses is the builtin class by which it can be caught as
    well."""
    import builtins

    path = []
    seen = set()
    for line in (errors.__doc__ or "").splitlines():
        name = next((word for word in line.split() if hasattr(errors, word)), None)
        if name is None or not line.startswith("    "):
            continue
        depth = line.index(name)
        path = [(column, parent) for column, parent in path if column < depth]
        error = getattr(errors, name)
        if path:
            assert issubclass(error, path[-1][1]), line
        mentioned = line.split(name, 1)[1].strip()
        if mentioned.startswith("("):
            assert issubclass(error, getattr(builtins, mentioned[1 : mentioned.index(")")])), line
        path.append((depth, error))
        seen.add(name)
    assert seen == set(errors.__all__)


def test_a_read_error_says_what_where_and_what_was_expected():
    error = errors.ReadError("stray ')'", 7, "a datum")
    assert str(error) == "stray ')' at byte 7; expected a datum"
    assert (error.problem, error.offset, error.expected) == ("stray ')'", 7, "a datum")
    assert str(errors.IncompleteError("no datum", 0)) == "no datum at byte 0"


def test_a_write_error_says_what_and_where():
    error = errors.WriteError("a function has no external representation", "message[2][0]")
    assert str(error) == "message[2][0]: a function has no external representation"
    assert (error.problem, error.path) == ("a function has no external representation", "message[2][0]")
    assert errors.WriteError("x").path == "message"


def test_a_remote_error_carries_its_message_and_a_close_its_reason():
    assert errors.RemoteError("no such user").message == "no such user"
    assert str(errors.UnreadableAnswer("bad")) == "bad"
    assert errors.ConnectionClosed("by this end").reason == "by this end"
    assert str(errors.RemoteProtocolError("tampered")) == "tampered"


@pytest.mark.parametrize(
    "error",
    [
        errors.ReadError("what", 3, "this"),
        errors.IncompleteError("what", 3),
        errors.WriteError("what", "message[0]"),
        errors.RemoteError("what"),
        errors.UnreadableAnswer("what"),
        errors.ConnectionClosed("why"),
        errors.RemoteProtocolError("why"),
        errors.ConnectTimeout("how long"),
        errors.RequestTimeout("how long"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_a_fault_of_this_program_is_not_a_connection_error():
    """Otherwise `except ConnectionError: connect again` would hide it."""
    assert not issubclass(errors.LocalProtocolError, (ConnectionError, OSError))
