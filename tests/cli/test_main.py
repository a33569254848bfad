"""The command as a whole: help, version, statuses, and what is never shown."""

import errno
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import click
import pytest

import bokbok as library
from bokbok import cli, errors
from bokbok._native import description
from bokbok.cli._exit import Status, failure, run
from bokbok_traffic.capture import Capture
from tests.cli.conftest import COMMAND


def test_the_console_script_is_main():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="bokbok")
    assert script.load() is cli.main


@pytest.mark.parametrize("module", ["bokbok", "bokbok.cli"])
def test_it_runs_as_a_module_too(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"bokbok, version {library.__version__}, codec: {description()}\n"


def test_the_version_says_that_the_accelerator_is_left_aside():
    environment = {**os.environ, "BOKBOK_NATIVE": "0"}
    command = [sys.executable, "-m", "bokbok", "--version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(", codec: pure Python (bokbok-native left aside by BOKBOK_NATIVE=0)\n")


def test_main_ends_the_process_with_the_status(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == Status.OK
    assert library.__version__ in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        cli.main(["no-such-command"])
    assert end.value.code == Status.USAGE


@pytest.mark.parametrize(
    "args", [["--help"], ["-h"], ["call", "--help"], ["serve", "-h"], ["bridge", "-h"], ["key", "--help"]]
)
def test_help_has_examples_and_the_exit_statuses(bokbok, args):
    result = bokbok(*args)
    assert result.status == 0
    assert result.err == ""
    text = result.out.decode()
    assert "\n  Examples:\n    bokbok " in text
    for status in Status:
        assert f"\n{int(status):>7}  " in text


def test_the_documentation_names_every_status_and_request_and_no_option_that_is_not_there():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    for status in Status:
        assert f"\n| {int(status)} | " in text
    known = {"--help"}
    for name in ("call", "serve", "bridge", "key", "profile", "decode", "tap"):
        assert f"\n## bokbok {name}\n" in text
        command = cli.cli.get_command(click.Context(cli.cli), name)
        command = cli.loaded(command)
        subcommands = command.commands.values() if isinstance(command, click.Group) else ()
        for parameter in (*command.params, *(one for sub in subcommands for one in sub.params)):
            known |= {*parameter.opts, *parameter.secondary_opts}
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= known
    help_text = cli.cli.get_command(click.Context(cli.cli), "serve").help
    for request in re.findall(r'\("[a-z]+"[^)]*\)', help_text):
        assert request in text


def test_help_lists_the_commands(bokbok):
    text = bokbok("--help").out.decode()
    assert [line.split()[0] for line in text.partition("Commands:\n")[2].splitlines()[:6]] == [
        "call",
        "serve",
        "bridge",
        "key",
        "profile",
        "decode",
    ]


def test_decode_is_the_command_of_the_conformance_suite(bokbok, tmp_path):
    assert bokbok("decode", "--help").out.startswith(b"Usage: bokbok decode [OPTIONS] CAPTURE\n")
    recording = tmp_path / "recording.jsonl"
    recorded = Capture("unix")
    recorded.add(0.5, 1, "client", b"\0\0\0\x0d(request 0 x)")
    recorded.write(recording)
    shown = bokbok("decode", recording)
    assert shown.status == 0
    assert b"says (request 0 x)\n" in shown.out
    recording.write_text("nonsense\n")
    assert bokbok("decode", recording).status == 2
    assert "bokbok_interop" not in {name.partition(".")[0] for name in vars(cli)}


@pytest.mark.parametrize(
    ("loading", "why"),
    [
        (None, "it is not installed"),
        (ModuleNotFoundError("", name="rich"), "the Python package 'rich' is not installed"),
    ],
)
def test_decode_says_what_it_needs_where_the_suite_is_not_installed(bokbok, monkeypatch, loading, why):
    class EntryPoint:
        def load(self):
            raise loading

    found = [] if loading is None else [EntryPoint()]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, name: found)
    for args in (["decode", "recording.jsonl"], ["decode", "--help"]):
        result = bokbok(*args)
        assert result.status == Status.USAGE
        assert result.out == b""
        assert why in result.err
        assert "pip install 'bokbok[interop]'" in result.err
    assert bokbok("--help").status == 0


def test_a_full_disk_under_a_command_that_prints_by_itself_is_no_fault_of_ours(capsys):
    @click.command()
    def command():
        raise OSError(errno.ENOSPC, "No space left on device")

    assert run(command, []) == Status.FAILURE
    assert capsys.readouterr().err == "error: No space left on device\n"


def test_without_arguments_it_shows_its_help():
    done = subprocess.run(COMMAND, capture_output=True, text=True)
    assert "Usage: bokbok" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["no-such-command"], "No such command"),
        (["--no-such-option"], "No such option"),
        (["call"], "Missing argument 'ADDRESS'"),
        (["call", ""], "expected a path that is not empty, as a string"),
        (["call", "host:99999", "1"], "expected a port from 0 to 65535"),
        (["call", "s", "1", "--timeout", "0"], "expected a number of seconds above 0"),
        (["call", "s", "1", "--timeout", "nan"], "expected a number of seconds above 0"),
        (["call", "s", "1", "--timeout", "inf"], "expected a number of seconds above 0"),
        (["call", "s", "1", "--connect-timeout", "soon"], "'soon': expected a number"),
        (["call", "s", "1", "--parallel", "0"], "0 is not in the range"),
        (["call", "s", "1", "--profile", "egg-9"], "unknown profile 'egg-9'; expected one of inferred-1"),
        (["call", "s", "1", "--no-guard", "hello-replay"], "'hello-replay' is not one of"),
        (["call", "x" * 108, "1"], "108 bytes; a Unix socket's path has at most 107"),
        (["serve"], "Give ADDRESS, or --systemd"),
        (["serve", "x" * 108], "108 bytes"),
        (["serve", "two\nlines"], "could not be printed as one line"),
        (["serve", "s", "--verbose", "--quiet"], "--verbose or --quiet, not both"),
        (["serve", "s", "--backlog", "-1"], "-1 is not in the range"),
        (["key"], "Missing option '--out'"),
    ],
)
def test_wrong_usage_is_status_2_and_says_what_is_wrong(bokbok, args, why):
    result = bokbok(*args)
    assert result.status == Status.USAGE
    assert result.out == b""
    assert why in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (errors.RemoteError("no\nsuch"), Status.REMOTE, r"remote error: no\nsuch"),
        (errors.UnreadableAnswer("odd"), Status.REMOTE, "remote error: odd"),
        (errors.RequestTimeout("late"), Status.TIMEOUT, "timeout: late"),
        (errors.ConnectFailed("refused"), Status.CONNECTION, "connection error: refused"),
        (errors.ConnectTimeout("silence"), Status.CONNECTION, "connection error: silence"),
        (errors.ConnectionClosed("gone"), Status.CONNECTION, "connection error: gone"),
        (errors.RemoteProtocolError("tampered"), Status.CONNECTION, "connection error: tampered"),
        (errors.ReadError("what", 3), Status.DATUM, "bad datum: what at byte 3"),
        (errors.WriteError("what"), Status.DATUM, "bad datum: message: what"),
        (errors.KeyFileError("mode 0644"), Status.FILE, "file error: mode 0644"),
        (errors.AddressError("no"), Status.USAGE, "error: no"),
        (errors.ProfileError("no"), Status.USAGE, "error: no"),
        (errors.BokbokError("no"), Status.FAILURE, "error: no"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_status_and_its_line(error, status, line, capsys):
    @click.command()
    def command():
        raise error

    assert run(command, []) == status
    assert capsys.readouterr().err == f"{line}\n"
    assert failure(error, place="request 2").message == f"request 2: {line}"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort, EOFError])
def test_an_interruption_is_status_130(interruption, capsys):
    @click.command()
    def command():
        raise interruption

    assert run(command, []) == Status.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_an_interruption_before_click_looks_after_it_is_status_130_too(monkeypatch):
    command = click.Command("x")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "main", interrupted)
    assert run(command, []) == Status.INTERRUPTED


def test_a_fault_of_its_own_is_one_line_unless_a_traceback_is_asked_for(capsys, monkeypatch):
    @click.command()
    def command():
        raise RuntimeError("two\nlines")

    monkeypatch.delenv("BOKBOK_TRACEBACK", raising=False)
    assert run(command, []) == Status.FAILURE
    err = capsys.readouterr().err
    assert err.startswith(r"error: this is a fault of bokbok's own: RuntimeError: two\nlines (")
    assert err.count("\n") == 1
    monkeypatch.setenv("BOKBOK_TRACEBACK", "1")
    assert run(command, []) == Status.FAILURE
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_command_without_a_status_ends_with_0_and_one_with_a_status_with_that():
    assert run(click.Command("x", callback=lambda: None), []) == 0
    assert run(click.Command("x", callback=lambda: Status.REMOTE), []) == 3
    assert run(click.Command("x", callback=lambda: click.get_current_context().exit(4)), []) == 4


@pytest.mark.parametrize("args", [["call", "nobody", "1"], ["call", "nobody", "("], ["call"]])
def test_the_status_is_the_same_where_nobody_reads_standard_error(started, args, tmp_path):
    expected = run(cli.cli, args)
    for redirection in ("2>&-", "2> /dev/full"):
        command = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *args]
        assert subprocess.run(command, capture_output=True, cwd=tmp_path).returncode == expected


def test_help_can_be_shown_in_any_locale(finished):
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for args in ([], ["call"], ["serve"], ["key"]):
        result = finished(*args, "--help", env=env)
        assert result.status == 0
        assert result.out.isascii()


def test_shells_can_complete_it(finished):
    env = {**os.environ, "_BOKBOK_COMPLETE": "bash_complete", "COMP_WORDS": "bokbok se", "COMP_CWORD": "1"}
    assert finished(env=env).out == b"plain,serve\n"


def test_nothing_of_the_environment_is_taken_for_an_argument(bokbok, monkeypatch, tmp_path):
    for name in ("USER", "PASSPHRASE", "PASSPHRASE_FILE", "KEY_FILE", "KEY"):
        for prefix in ("BOKBOK_", "BOKBOK_CALL_", ""):
            monkeypatch.setenv(prefix + name, "secret")
    result = bokbok("call", tmp_path / "nobody", "1")
    assert result.status == Status.CONNECTION
    assert "secret" not in result.err


def test_no_option_takes_a_secret(bokbok):
    for name in ("call", "serve", "bridge", "key"):
        command = cli.cli.get_command(click.Context(cli.cli), name)
        options = {option for parameter in command.params for option in parameter.opts}
        assert not {option for option in options if "pass" in option or "key" in option} - {
            "--passphrase-file",
            "--passphrase-fd",
            "--key-file",
            "--target-passphrase-file",
            "--target-key-file",
        }


ONLY_SOME_COMMANDS = ("asyncio", "tomllib", "concurrent.futures", "bokbok_interop")
NO_CALL = (
    *ONLY_SOME_COMMANDS, "ssl", "nacl", "json", "encodings.idna", "logging", "traceback", "textwrap", "fractions",
    "decimal", "numbers", "binascii", "queue", "termios", "unicodedata", "shlex", "tempfile", "subprocess", "hashlib",
    "bokbok.cli._handler", "bokbok.cli._logs", "bokbok._front.gate", "bokbok._front.link", "bokbok._front.statistics",
    "bokbok._front.worker", "bokbok.service", "bokbok.hellos", "bokbok.sync.server", "bokbok._front.shared",
    "bokbok.wire.transcript", "bokbok.wire.profile._layers", "bokbok.wire.framing._lines",
    "bokbok.wire.framing._datums", "bokbok.wire.boxes._counted", "bokbok.wire.messages._binary",
)  # fmt: skip
"""What an insecure call with the default profile has no use for."""


@pytest.mark.parametrize(
    ("command", "absent"),
    [(["--version"], ONLY_SOME_COMMANDS), (["call", "127.0.0.1:0", "1"], NO_CALL)],
    ids=["version", "call"],
)
def test_starting_does_not_import_what_only_some_commands_need(command, absent):
    code = (
        "import atexit, sys, bokbok.cli\n"
        f"atexit.register(lambda: print([m for m in {absent!r} if m in sys.modules]))\n"
        f"bokbok.cli.main({command!r})"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # which imports much itself
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == (Status.CONNECTION if "call" in command else Status.OK), done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


MOST_MODULES = 100
"""Modules of the library that an insecure call imports at most. Each takes some 0.15 ms, whatever is in it."""
COUNTED = """
import atexit, sys, bokbok.cli
atexit.register(lambda: print(sum(name.partition(".")[0] == "bokbok" for name in sys.modules)))
bokbok.cli.main(["call", "127.0.0.1:0", "1"])
"""


def test_a_call_imports_few_modules():
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, env=env)
    assert done.returncode == Status.CONNECTION, done.stderr
    assert int(done.stdout.splitlines()[-1]) <= MOST_MODULES
