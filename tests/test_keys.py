"""`bokbok.keys`: keys are opaque, and only owners can read files of secrets."""

import copy
import errno
import hashlib
import os
import pickle
import stat
import threading

import pytest

import bokbok.keys
from bokbok.errors import KeyFileError
from bokbok.keys import (
    Key,
    read_key_file,
    read_passphrase_file,
    read_private_file,
    write_key_file,
)
from bokbok.wire import passphrase_to_key

SECRET = bytes(range(32))
HEX = SECRET.hex()


@pytest.fixture
def key_file(tmp_path):
    """A function that writes a file with the given content and mode."""

    def write(content, mode=0o600, name="a.key"):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(mode)
        return path

    return write


# In memory.


def test_a_key_is_made_from_bytes_or_digits_and_gives_its_bytes_back():
    assert Key.from_bytes(SECRET).to_bytes() == SECRET
    assert Key.from_bytes(bytearray(SECRET)).to_bytes() == SECRET
    assert Key.from_bytes(memoryview(SECRET)).to_bytes() == SECRET
    assert Key.from_hex(HEX).to_bytes() == SECRET
    assert Key.from_hex(HEX.upper()).to_bytes() == SECRET


@pytest.mark.parametrize("wrong", [b"", SECRET[:31], SECRET + b"x", "x" * 32, 32, None])
def test_what_is_not_32_bytes_is_no_key_and_is_not_repeated(wrong):
    with pytest.raises(ValueError, match="expected a key of 32 bytes") as raised:
        Key.from_bytes(wrong)
    if isinstance(wrong, str):
        assert wrong not in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        HEX[:-2],
        HEX + "00",
        HEX[:-1] + "g",
        " ".join([HEX[:32], HEX[32:]]),
        HEX[:-2] + " 0",
        HEX + "\n",
        b"0" * 64,
        7,
    ],
)
def test_what_is_not_64_digits_is_no_key_and_is_not_repeated(wrong):
    with pytest.raises(ValueError, match=r"^expected a key of 64 hexadecimal digits$"):
        Key.from_hex(wrong)


def test_a_key_shows_nothing_of_itself():
    key = Key(SECRET)
    for shown in (repr(key), str(key), f"{key}", repr([key]), repr({"key": key})):
        assert "<Key>" in shown
        assert HEX[:8] not in shown
        assert repr(SECRET)[2:10] not in shown
    assert repr(key) == "<Key>"
    assert not hasattr(key, "__dict__")


def test_keys_compare_and_hash_by_content():
    assert Key(SECRET) == Key(SECRET)
    assert hash(Key(SECRET)) == hash(Key(SECRET))
    assert Key(SECRET) != Key(SECRET[::-1])
    assert Key(SECRET) != SECRET
    assert {Key(SECRET): 1}[Key(SECRET)] == 1


def test_keys_compare_in_constant_time(monkeypatch):
    seen = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: seen.append((a, b)) or True)
    assert Key(SECRET) == Key(bytes(32))
    assert seen == [(SECRET, bytes(32))]


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy])
def test_a_key_does_not_pickle(take):
    with pytest.raises(TypeError, match="cannot be pickled"):
        take(Key(SECRET))


# From passphrases.


def test_a_passphrase_becomes_the_first_32_bytes_of_its_sha_512():
    # The digest of "mypassphrase", as sha512sum(1) prints it.
    expected = hashlib.sha512(b"mypassphrase").hexdigest()[:64]
    assert passphrase_to_key("mypassphrase").to_bytes().hex() == expected
    assert passphrase_to_key(b"mypassphrase") == passphrase_to_key("mypassphrase")
    assert passphrase_to_key("").to_bytes().hex().startswith("cf83e1357eefb8bdf1542850d66d8007")


def test_a_passphrase_is_its_utf_8_bytes_and_others_by_surrogateescape():
    assert passphrase_to_key("pässword") == passphrase_to_key("pässword".encode())
    assert passphrase_to_key("\udcff") == passphrase_to_key(b"\xff")


def test_a_lone_surrogate_that_stands_for_no_byte_is_refused():
    with pytest.raises(ValueError, match="lone surrogate") as raised:
        passphrase_to_key("secret\ud800")
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("wrong", [None, 5, bytearray(b"x"), ["x"]])
def test_a_passphrase_is_a_string(wrong):
    with pytest.raises(TypeError, match=f"got {type(wrong).__name__}"):
        passphrase_to_key(wrong)


def test_a_profile_may_derive_keys_in_another_way():
    assert passphrase_to_key("abc", derive=lambda passphrase: passphrase.ljust(32, b"\0")) == Key(b"abc" + bytes(29))


# Key files.


def test_a_key_file_is_written_for_its_owner_alone_and_reads_back(tmp_path):
    path = tmp_path / "new.key"
    old = os.umask(0)
    try:
        write_key_file(path, Key(SECRET))
    finally:
        os.umask(old)
    assert path.read_text() == HEX + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path) == Key(SECRET)
    assert os.listdir(tmp_path) == ["new.key"]


@pytest.mark.parametrize("content", [HEX, HEX + "\n", HEX + "\r\n", HEX.upper() + "\n"])
def test_one_line_of_64_digits_is_a_key_file(key_file, content):
    assert read_key_file(key_file(content.encode())) == Key(SECRET)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", HEX[:-1].encode(), (HEX + "0").encode(), (HEX + "\n\n").encode(), b" " + HEX.encode(), b"hunter2\n"],
)
def test_anything_else_is_no_key_file_and_is_not_quoted(key_file, content):
    path = key_file(content)
    with pytest.raises(KeyFileError, match="expected one line of 64 hexadecimal digits") as raised:
        read_key_file(path)
    assert str(path) in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert HEX[:8] not in str(raised.value)


def test_a_file_of_another_user_is_refused_and_one_of_root_is_not(key_file, monkeypatch):
    path = key_file(HEX.encode())
    if os.geteuid() == 0:
        assert read_key_file(path) == Key.from_hex(HEX)
        os.chown(path, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(
        KeyFileError, match=r"^key file '.*': it belongs to another user \(number \d+\); expected this one"
    ):
        read_key_file(path)
    with pytest.raises(KeyFileError, match="it belongs to another user"):
        read_private_file(path, "users file")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
def test_a_key_file_that_others_have_access_to_is_refused_and_the_remedy_named(key_file, mode):
    path = key_file(HEX.encode(), mode, name="it's mine.key")
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}") as raised:
        read_key_file(path)
    remedy = str(raised.value).partition("expected 0600 or less: ")[2]
    assert os.system(remedy) == 0
    assert read_key_file(path) == Key(SECRET)


def test_a_key_file_may_be_for_reading_only(key_file):
    assert read_key_file(key_file(HEX.encode(), 0o400)) == Key(SECRET)


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(KeyFileError, match=r"missing\.key': No such file"):
        read_key_file(tmp_path / "missing.key")


def test_a_key_file_that_is_much_too_long_is_not_read_whole(key_file):
    with pytest.raises(KeyFileError, match="longer than 4096 bytes"):
        read_key_file(key_file(b"0" * 5000))


def test_a_folder_is_no_key_file_and_no_descriptor_is_left_open(tmp_path):
    tmp_path.chmod(0o700)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyFileError, match="not a regular file"):
        read_key_file(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_fifo_is_no_key_file_and_nobody_waits_for_its_writer(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        read_key_file(fifo)


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
@pytest.mark.parametrize(
    "function", [read_key_file, read_passphrase_file, lambda path: write_key_file(path, Key(SECRET))]
)
def test_what_cannot_be_a_path_is_refused_like_a_file_that_is_not_there(function, path):
    with pytest.raises(KeyFileError, match="not a path"):
        function(path)


def test_a_file_whose_reading_fails_is_refused():
    # Linux: it looks like a private regular file, but nothing can be read at its start.
    with pytest.raises(KeyFileError, match="Input/output error"):
        read_key_file("/proc/self/mem")


def test_an_existing_file_is_not_overwritten_unless_asked_for(tmp_path, key_file):
    path = key_file(b"precious", 0o644)
    with pytest.raises(KeyFileError, match="exists already"):
        write_key_file(path, Key(SECRET))
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == [path.name]
    write_key_file(path, Key(SECRET), overwrite=True)
    assert read_key_file(path) == Key(SECRET)  # the old file's mode is gone with it
    assert os.listdir(tmp_path) == [path.name]


def test_overwriting_goes_through_a_symbolic_link(tmp_path, key_file):
    path = key_file(b"old")
    link = tmp_path / "link"
    link.symlink_to(path)
    write_key_file(link, Key(SECRET), overwrite=True)
    assert link.is_symlink()
    assert read_key_file(path) == Key(SECRET)


def test_a_dangling_link_is_not_followed_unless_overwriting(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    with pytest.raises(KeyFileError, match="exists already"):
        write_key_file(link, Key(SECRET))
    write_key_file(link, Key(SECRET), overwrite=True)
    assert read_key_file(tmp_path / "target") == Key(SECRET)


def test_overwriting_replaces_nothing_but_a_regular_file(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path):
        with pytest.raises(KeyFileError, match="not a regular file"):
            write_key_file(path, Key(SECRET), overwrite=True)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize("path", ["no/such/folder/a.key", ".", "/", ""])
def test_a_key_file_that_cannot_be_written_is_named(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyFileError, match=f"key file '{path}'"):
        write_key_file(path, Key(SECRET))
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def fsync(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bokbok.keys.os, "fsync", fsync)
    with pytest.raises(KeyFileError, match="No space left"):
        write_key_file(tmp_path / "a.key", Key(SECRET))
    assert os.listdir(tmp_path) == []


def test_a_key_file_is_written_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(bokbok.keys.os, "link", link)
    write_key_file(tmp_path / "a.key", Key(SECRET))
    assert read_key_file(tmp_path / "a.key") == Key(SECRET)
    with pytest.raises(KeyFileError, match="exists already"):
        write_key_file(tmp_path / "a.key", Key(bytes(32)))
    assert read_key_file(tmp_path / "a.key") == Key(SECRET)
    assert os.listdir(tmp_path) == ["a.key"]


# Passphrase files, and other files of secrets.


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\n\n", b"secret\n"),
        (b"secret\r\n", b"secret\r"),
        (b" two\nlines ", b" two\nlines "),
        (b"\xff\0", b"\xff\0"),
        (b"\n", b""),
        (b"", b""),
    ],
)
def test_one_newline_at_the_end_of_a_passphrase_file_is_dropped(key_file, content, passphrase):
    assert read_passphrase_file(key_file(content, 0o644)) == passphrase


def test_a_passphrase_comes_from_a_fifo_or_a_descriptor_too(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(b"from a fifo\n",))
    writer.start()
    assert read_passphrase_file(fifo) == b"from a fifo"
    writer.join()

    reading, writing = os.pipe()
    os.write(writing, b"from a pipe\n")
    os.close(writing)
    assert read_passphrase_file(f"/dev/fd/{reading}") == b"from a pipe"
    os.close(reading)


def test_a_passphrase_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(KeyFileError, match=r"passphrase file '.*missing': No such file"):
        read_passphrase_file(tmp_path / "missing")
    with pytest.raises(KeyFileError, match="Is a directory"):
        read_passphrase_file(tmp_path)


def test_a_passphrase_file_without_an_end_is_refused():
    with pytest.raises(KeyFileError, match="longer than 1048576 bytes"):
        read_passphrase_file("/dev/zero")


def test_a_private_file_is_read_whole_and_refused_under_its_name(key_file):
    assert read_private_file(key_file(b"x = 1\n"), "users file") == b"x = 1\n"
    with pytest.raises(KeyFileError, match=r"^users file '.*': others than its owner"):
        read_private_file(key_file(b"", 0o644), "users file")
    with pytest.raises(KeyFileError, match="longer than"):
        read_private_file(key_file(bytes(1024 * 1024 + 1)), "users file")
