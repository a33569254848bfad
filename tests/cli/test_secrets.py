"""`bokbok.cli._secrets`: users files, passphrases from all sources, and no secret in any message."""

import dataclasses
import os
import re
import threading

import click
import pytest
from click.testing import CliRunner

from bokbok import Key, Limits, passphrase_to_key, write_key_file
from bokbok.cli._secrets import (
    most_keys,
    passphrase_from_descriptor,
    passphrase_from_file,
    read_user_secret,
    read_users,
    user_options,
)
from bokbok.errors import KeyFileError
from bokbok.wire import INFERRED_1, Profile


@pytest.fixture
def users_file(tmp_path):
    """A function that writes a users file."""

    def write(text, mode=0o600):
        path = tmp_path / "users.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return str(path)

    return write


def refusal(path):
    with pytest.raises(KeyFileError) as raised:
        read_users(path, INFERRED_1)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__context__ is None or raised.value.__suppress_context__
    return str(raised.value)


def test_a_users_file_holds_passphrases_and_key_files_relative_to_itself(users_file, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    (tmp_path / "keys").mkdir()
    write_key_file(tmp_path / "keys" / "bob.key", passphrase_to_key("bob's"))
    write_key_file(tmp_path / "eve.key", passphrase_to_key("eve's"))
    path = users_file(
        f"""
        # who may connect
        alice = "hunter2"
        bob = {{ key-file = "keys/bob.key" }}
        "eve with a.dot" = {{ key-file = "{tmp_path}/eve.key" }}
        "" = 'ünïcode'
        "日本" = "x"
        [carol]
        key-file = "eve.key"
        """
    )
    assert read_users(path, INFERRED_1) == {
        "alice": (passphrase_to_key("hunter2"),),
        "bob": (passphrase_to_key("bob's"),),
        "eve with a.dot": (passphrase_to_key("eve's"),),
        "": (passphrase_to_key("ünïcode"),),
        "日本": (passphrase_to_key("x"),),
        "carol": (passphrase_to_key("eve's"),),
    }


def test_the_profile_says_how_a_passphrase_becomes_a_key(users_file):
    profile = Profile("other", key_derivation=lambda passphrase: passphrase.ljust(32, b"\0"))
    assert read_users(users_file('a = "b"'), profile)["a"][0].to_bytes() == b"b" + bytes(31)


def test_a_user_may_have_several_keys_while_one_replaces_another(users_file, tmp_path):
    write_key_file(tmp_path / "bob.key", passphrase_to_key("bob's"))
    keys = read_users(users_file('a = ["new", { key-file = "bob.key" }]\nb = "b"'), INFERRED_1)
    assert keys["a"] == (passphrase_to_key("new"), passphrase_to_key("bob's"))
    assert most_keys(keys, Limits()).keys_per_user == 2
    assert most_keys(keys, Limits(keys_per_user=3)).keys_per_user == 3
    assert most_keys({}, Limits()).keys_per_user == 1


@pytest.mark.parametrize(
    ("entry", "problem"),
    [("[]", "1 to 8 keys"), (str(["x"] * 9), "1 to 8 keys"), ("[1]", "NAME ="), ('[["x"]]', "NAME =")],
)
def test_a_list_of_keys_that_is_not_one_is_refused(users_file, entry, problem):
    assert f"user 'a': expected {problem}" in refusal(users_file(f"a = {entry}".encode()))


def test_a_users_file_that_names_nobody_is_no_error(users_file):
    assert read_users(users_file("# nobody\n"), INFERRED_1) == {}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_users_file_that_others_have_access_to_is_refused(users_file, mode):
    path = users_file('alice = "hunter2"', mode)
    assert refusal(path).startswith(f"users file '{path}': others than its owner have access (mode {mode:04o})")


def test_a_missing_users_file_is_named(tmp_path):
    assert refusal(str(tmp_path / "none")) == f"users file '{tmp_path}/none': No such file or directory"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("alice = hunter2", "Invalid value (at line 1, column 9)"),
        ('alice = "hunter2', "Unterminated string (at end of document)"),
        ('alice = "hunter2\n"', "character (at line 1, column 17)"),
        ('alice = "hunter2\\q"', "(at line 1, column "),
        ("alice", "(at end of document)"),
        ('alice = "hunter2"\nalice = "hunter2"', "Cannot overwrite a value ("),
        ("a = " + "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_toml_is_refused_by_its_place(users_file, text, why):
    message = refusal(users_file(text))
    assert why in message
    assert 'expected NAME = "passphrase" or NAME = { key-file = "FILE" }' in message


def test_what_is_no_utf_8_is_refused_by_its_place(users_file):
    assert ": byte 16 of the file is not UTF-8; expected NAME = " in refusal(users_file(b'alice = "hunter2\xff"'))


@pytest.mark.parametrize(
    "entry",
    [
        "5",
        "true",
        '[["hunter2"]]',
        "{}",
        '{ passphrase = "hunter2" }',
        '{ key-file = "a", mode = 5 }',
        "{ key-file = 5 }",
        "1979-05-27",
    ],
)
def test_an_entry_that_is_neither_passphrase_nor_key_file_is_refused_by_the_users_name(users_file, entry):
    message = refusal(users_file(f"alice = {entry}"))
    assert "user 'alice': expected NAME = " in message


def test_a_name_with_a_dot_gets_a_hint(users_file):
    assert "stands in quotes" in refusal(users_file('alice.example = "hunter2"'))


def test_a_name_that_cannot_be_sent_is_refused(users_file):
    name = "é" * 128
    assert f"user {name!r}: the name has 256 bytes; at most 255 can be sent" in refusal(users_file(f'"{name}" = "x"'))


@pytest.mark.parametrize(
    ("key_file", "why"),
    [
        ("none.key", "No such file"),
        ("open.key", "mode 0644"),
        ("odd.key", "64 hexadecimal digits"),
        (r"a\u0000b", "not a path"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_refused_with_the_users_name(users_file, tmp_path, key_file, why):
    (tmp_path / "open.key").write_text("0" * 64)
    (tmp_path / "open.key").chmod(0o644)
    (tmp_path / "odd.key").write_text("hunter2")
    (tmp_path / "odd.key").chmod(0o600)
    message = refusal(users_file(f'alice = {{ key-file = "{key_file}" }}'))
    assert "user 'alice': key file '" in message
    assert why in message


def test_an_empty_passphrase_is_warned_of(users_file, capsys):
    path = users_file('alice = ""')
    assert read_users(path, INFERRED_1) == {"alice": (passphrase_to_key(""),)}
    assert capsys.readouterr().err == f"warning: users file '{path}': user 'alice': the passphrase is empty\n"


# Passphrases.


@pytest.mark.parametrize(
    ("data", "passphrase"), [(b"a\n\n", b"a\n"), (b"", b""), (b"x" * 300_000, b"x" * 300_000), (b"\n", b"")]
)
def test_a_descriptor_is_read_to_its_end_less_one_newline(data, passphrase):
    reading, writing = os.pipe()

    def write():
        with open(writing, "wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    assert passphrase_from_descriptor(reading) == passphrase
    thread.join()
    os.close(reading)


def test_a_descriptor_that_cannot_be_read_or_has_no_end_is_refused():
    with pytest.raises(KeyFileError, match="passphrase from descriptor 9999: Bad file descriptor"):
        passphrase_from_descriptor(9999)
    with open("/dev/zero", "rb") as zero, pytest.raises(KeyFileError, match="longer than 1048576 bytes"):
        passphrase_from_descriptor(zero.fileno())


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_passphrase_file_that_others_can_read_is_warned_of_and_read(tmp_path, capsys, mode, warned):
    path = tmp_path / "p"
    path.write_text("hunter2\n")
    path.chmod(mode)
    assert passphrase_from_file(str(path)) == b"hunter2"
    err = capsys.readouterr().err
    assert ("others than its owner have access" in err) == warned
    assert "hunter2" not in err


def test_a_pipe_is_not_warned_of(capsys):
    reading, writing = os.pipe()
    os.write(writing, b"hunter2\n")
    os.close(writing)
    assert passphrase_from_file(f"/dev/fd/{reading}") == b"hunter2"
    os.close(reading)
    assert capsys.readouterr().err == ""


@pytest.fixture
def told():
    """A function that runs a command with the options for a user, and returns their values."""

    def run(*arguments, **settings):
        @click.command()
        @user_options("Who.")
        def command(user, passphrase_file, key_file):
            said.append(read_user_secret(user, passphrase_file, key_file))

        said = []
        result = CliRunner().invoke(command, [str(word) for word in arguments], standalone_mode=False, **settings)
        if result.exception is not None:
            raise result.exception
        return said[0]

    return run


def test_a_users_passphrase_becomes_the_key_of_the_profile_that_is_spoken(told, tmp_path):
    (tmp_path / "p").write_bytes(b"hunter2\n")
    (tmp_path / "p").chmod(0o600)
    profile = dataclasses.replace(
        INFERRED_1, name="other", key_derivation=lambda passphrase: passphrase.ljust(32, b".")
    )
    secret = told("--user", "alice", "--passphrase-file", tmp_path / "p")
    assert (secret.user, secret.passphrase, secret.key) == ("alice", b"hunter2", None)
    assert secret.to_key(profile) == Key.from_bytes(b"hunter2".ljust(32, b"."))
    assert "hunter2" not in repr(secret)


def test_a_users_key_is_taken_as_it_is(told, tmp_path):
    write_key_file(tmp_path / "k", passphrase_to_key("hunter2"))
    secret = told("--user", "alice", "--key-file", tmp_path / "k")
    assert secret.passphrase is None
    assert secret.to_key(INFERRED_1) == passphrase_to_key("hunter2")


def test_without_a_user_there_is_no_secret(told):
    assert told() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--user", "a"], "Where is the passphrase? Give --passphrase-file or --key-file"),
        (["--passphrase-file", "p"], "A passphrase or key needs a --user"),
        (["--key-file", "k"], "A passphrase or key needs a --user"),
        (["--user", "a", "--key-file", "k", "--passphrase-file", "p"], "not both"),
    ],
)
def test_options_of_a_user_that_do_not_go_together_are_refused(told, arguments, message):
    with pytest.raises(click.UsageError, match=re.escape(message)):
        told(*arguments)
