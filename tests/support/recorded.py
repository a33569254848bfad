"""How many instructions the codec and a sealed round trip take, and how many they took when that was recorded.

    python -m tests.support.recorded        records this machine's counts in tests/instructions.json

Counts are only comparable between the same builds of everything that runs, so the record has an entry for each; an
entry's name says which. `tests/test_instructions.py` compares.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
from pathlib import Path

from bokbok._native import NATIVE
from tests.support.instructions import count, missing

__all__ = ["VARIANTS", "key", "measure", "recorded", "runs"]

RECORD = Path(__file__).parents[1] / "instructions.json"

VARIANTS = {"pure": "0", "native": "1"}
"""The implementations, and the value of BOKBOK_NATIVE that selects each."""

TIMES = 200
"""How often each is repeated, so that the cost of one turn of the loop is small."""

_SETUP = """
from bokbok.sexpr import dumps, loads
from bokbok.wire import Connection, RequestReceived, passphrase_to_key

SMALL = ["ping", "12345"]
RECORDS = [[f"item {number}", number * 7919, ["tag", "other"], number / 8] for number in range(30)]
TEXT = "a string of a kibibyte, " * 42
BYTES = {name: dumps(value) for name, value in (("SMALL", SMALL), ("RECORDS", RECORDS), ("TEXT", TEXT))}

KEY = passphrase_to_key("counted")
client, server = Connection("client", user="counted", key=KEY), Connection("server", secure=True)
server.receive(client.data_to_send())
server.authenticate(KEY)

def round_trip(value):
    client.request(value)
    for event in server.receive(client.data_to_send()):
        server.respond(event.id, event.message)
    client.receive(server.data_to_send())

def hello():
    client, server = Connection("client", user="counted", key=KEY), Connection("server", secure=True)
    server.receive(client.data_to_send())
    server.authenticate(KEY)

def times(function, *arguments):
    for _ in range(%d):
        function(*arguments)

for value in (SMALL, RECORDS, TEXT):
    for _ in range(40):  # CPython adapts its code to what it sees
        loads(dumps(value))
        round_trip(value)
for _ in range(40):
    hello()
"""

STATEMENTS = {
    "read a short list": "times(loads, BYTES['SMALL'])",
    "write a short list": "times(dumps, SMALL)",
    "read 30 records": "times(loads, BYTES['RECORDS'])",
    "write 30 records": "times(dumps, RECORDS)",
    "read a string of 1 KiB": "times(loads, BYTES['TEXT'])",
    "write a string of 1 KiB": "times(dumps, TEXT)",
    "a sealed round trip of a short list": "times(round_trip, SMALL)",
    "a sealed round trip of 30 records": "times(round_trip, RECORDS)",
    "a hello": "times(hello)",
}


def key() -> str:
    """What counts depend on: the builds of the interpreter and the libraries, the processor's widest vectors."""
    flags = re.search(r"^flags\s*:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    vectors = "AVX2" if flags is not None and " avx2 " in flags[1] else "no AVX2"
    libraries = " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("PyNaCl", "cffi", "sexpdata"))
    libc = " ".join(platform.libc_ver())
    return f"{platform.python_implementation()} {sys.version.split('|')[0]}; {libraries}; {libc}; {vectors}"


def runs(variant: str) -> bool:
    """Whether a variant can run here: an accelerator that was made for another version of the library cannot."""
    return variant == "pure" or NATIVE is not None


def measure(variant: str) -> dict[str, int]:
    """Count the instructions of one turn of each statement.

    Args:
        variant: one of `VARIANTS`.
    """
    before = os.environ.get("BOKBOK_NATIVE")
    os.environ["BOKBOK_NATIVE"] = VARIANTS[variant]
    try:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # whose length counts: see `count`
            counts = count(_SETUP % TIMES, list(STATEMENTS.values()), Path(folder))
    finally:
        if before is None:
            del os.environ["BOKBOK_NATIVE"]
        else:
            os.environ["BOKBOK_NATIVE"] = before
    return {name: round(each / TIMES) for name, each in zip(STATEMENTS, counts, strict=True)}


def recorded() -> dict[str, dict[str, dict[str, int]]]:
    """The record: by `key()`, by variant, by statement."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}  # type: ignore[no-any-return]


def main() -> None:
    why_not = missing()
    if why_not is not None:
        sys.exit(why_not)
    record = recorded()
    found = record.setdefault(key(), {})
    for variant in VARIANTS:
        if runs(variant):
            before, found[variant] = found.get(variant, {}), measure(variant)
            for name, now in found[variant].items():
                then = f" ({now / before[name] - 1:+.1%})" if name in before else ""
                print(f"{variant:6} {name:40} {now:12,}{then}")
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
