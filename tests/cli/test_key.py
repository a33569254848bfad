"""`bokbok key`: from a passphrase to a key file."""

import os
import stat

import pytest

from bokbok import passphrase_to_key, read_key_file
from bokbok.cli._exit import Status

KEY = passphrase_to_key("mypassphrase")
HEX = KEY.to_bytes().hex()


def test_a_passphrase_file_becomes_a_key_file_for_its_owner_alone(bokbok, tmp_path, passphrase_file):
    assert bokbok("key", "--passphrase-file", passphrase_file, "--out", tmp_path / "my.key") == (0, b"", "")
    assert read_key_file(tmp_path / "my.key") == KEY
    assert stat.S_IMODE((tmp_path / "my.key").stat().st_mode) == 0o600


def test_the_key_is_printed_only_when_asked_for(bokbok, passphrase_file):
    assert bokbok("key", "--passphrase-file", passphrase_file, "--out", "-") == (0, f"{HEX}\n".encode(), "")


def test_a_file_that_is_there_is_replaced_only_by_force(bokbok, tmp_path, passphrase_file):
    out = tmp_path / "my.key"
    out.write_text("precious")
    result = bokbok("key", "--passphrase-file", passphrase_file, "--out", out)
    assert result == (Status.FILE, b"", f"file error: key file '{out}': exists already\n")
    assert out.read_text() == "precious"
    assert bokbok("key", "--passphrase-file", passphrase_file, "--out", out, "--force") == (0, b"", "")
    assert read_key_file(out) == KEY


def test_a_passphrase_comes_from_standard_input_or_a_descriptor(finished, tmp_path):
    assert finished("key", "--passphrase-file", "-", "--out", "-", input=b"mypassphrase\n").out == f"{HEX}\n".encode()
    assert finished("key", "--passphrase-fd", "0", "--out", "-", input=b"mypassphrase").out == f"{HEX}\n".encode()
    reading, writing = os.pipe()
    os.write(writing, b"mypassphrase\n")
    os.close(writing)
    result = finished("key", "--passphrase-fd", str(reading), "--out", tmp_path / "a.key", pass_fds=[reading])
    os.close(reading)
    assert result == (0, b"", "")
    assert read_key_file(tmp_path / "a.key") == KEY


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (["--passphrase-file", "none"], Status.FILE, "file error: passphrase file 'none': No such file"),
        (["--passphrase-fd", "99"], Status.FILE, "file error: passphrase from descriptor 99: Bad file descriptor"),
        (["--passphrase-fd", "-1"], Status.USAGE, "-1 is not in the range"),
        (["--passphrase-fd", "0", "--passphrase-file", "x"], Status.USAGE, "not both"),
        ([], Status.USAGE, "Where is the passphrase? Give --passphrase-file or --passphrase-fd"),
    ],
)
def test_a_passphrase_that_cannot_be_had_is_told(finished, tmp_path, options, status, why):
    result = finished("key", "--out", tmp_path / "a.key", *options)
    assert result.status == status
    assert why in result.err
    assert os.listdir(tmp_path) == []


def test_a_passphrase_file_that_others_can_read_and_an_empty_one_are_warned_of(bokbok, tmp_path):
    (tmp_path / "p").touch(0o600)
    (tmp_path / "p").chmod(0o644)
    result = bokbok("key", "--passphrase-file", tmp_path / "p", "--out", tmp_path / "a.key")
    assert result.status == 0
    assert [line.split(":")[0] for line in result.err.splitlines()] == ["warning", "warning"]
    assert "others than its owner" in result.err
    assert "the passphrase is empty" in result.err


# On a terminal.


def test_a_passphrase_is_asked_for_twice_and_not_shown(terminal, tmp_path):
    on = terminal("key", "--out", tmp_path / "a.key")
    on.wait_for(b"Passphrase: ")
    on.type(b"mypassphrase\n")
    on.wait_for(b"Once more: ")
    on.type(b"mypassphrase\n")
    assert on.end() == 0
    assert read_key_file(tmp_path / "a.key") == KEY
    assert b"mypassphrase" not in on.shown
    assert HEX.encode() not in on.shown


def test_two_different_passphrases_are_asked_for_again(terminal, tmp_path):
    on = terminal("key", "--out", tmp_path / "a.key")
    on.wait_for(b"Passphrase: ")
    on.type(b"mypassphrase\n")
    on.wait_for(b"Once more: ")
    on.type(b"mypassprhase\n")
    on.wait_for(b"do not match")
    on.wait_for(b"match.\r\nPassphrase: ")
    on.type(b"mypassphrase\n")
    on.wait_for(b"match.\r\nPassphrase: \r\nOnce more: ")
    on.type(b"mypassphrase\n")
    assert on.end() == 0
    assert read_key_file(tmp_path / "a.key") == KEY


@pytest.mark.parametrize("keys", [b"\x03", b"\x04"])
def test_ctrl_c_or_ctrl_d_at_the_prompt_ends_it(terminal, tmp_path, keys):
    on = terminal("key", "--out", tmp_path / "a.key")
    on.wait_for(b"Passphrase: ")
    on.type(keys)
    assert on.end() == Status.INTERRUPTED
    assert b"Traceback" not in on.shown
    assert os.listdir(tmp_path) == []


def test_what_is_no_text_in_the_terminals_encoding_is_told(terminal, tmp_path):
    on = terminal("key", "--out", tmp_path / "a.key")
    on.wait_for(b"Passphrase: ")
    on.type(b"p\xe4ssword\n")
    assert on.end() == Status.FILE
    assert b"file error: what was typed is not text in the terminal's encoding" in on.shown
    assert b"Traceback" not in on.shown
