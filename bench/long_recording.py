"""How much memory and time calibration takes for a long recording, through the command line.

    python bench/long_recording.py                     200 MB, messages of 60,000 bytes
    python bench/long_recording.py --size 20 --message 200

Two connections are recorded, one of them of this size. The profile is the default with little-endian lengths. It prints
one line; the exit status is 1 if the command did not find the right profile.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "interop")]

from bokbok.wire import INFERRED_1, passphrase_to_key  # noqa: E402 - the path is set above
from bokbok.wire.framing import IntegerLength  # noqa: E402
from bokbok_calibrate.conversation import Dialogue  # noqa: E402
from bokbok_calibrate.script import SCRIPT  # noqa: E402
from bokbok_traffic.capture import CLIENT, SERVER, Capture  # noqa: E402

MEASURED = """
import pathlib, re, sys
from bokbok_interop.cli import main
try:
    main(sys.argv[1:], prog_name="bokbok-interop")
finally:
    print(re.search("VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""
"""The command, which prints its peak memory. It does not use `ru_maxrss`, since that survives `exec`: it begins with
the memory of the process that starts the command, and pytest has 400 MiB at the end of a long run."""

PROFILE = dataclasses.replace(INFERRED_1, name="little", framing=IntegerLength("u32-le"))


def long_capture(size: int, message: int, limit: int | None = None) -> Capture:
    """A recording of about so many bytes, in the order in which they came."""
    capture = Capture("tcp", limit=limit)
    draw = random.Random(1).randbytes
    key = passphrase_to_key("mypassphrase", profile=PROFILE)
    lines = [*SCRIPT, *[f'("echo" "{"x" * message}")'] * (size // (2 * message + 200))]
    for number, said in ((1, lines), (2, SCRIPT)):
        dialogue = Dialogue(PROFILE, "myuser", key, draw=draw)
        for line in said:
            dialogue.ask(line)
            for role, data in dialogue.exchange():
                capture.add(0, number, CLIENT if role == "client" else SERVER, data)
        for source in (CLIENT, SERVER):
            capture.add(0, number, source, None)
    return capture


def calibrate_read(path: Path, secret: Path) -> tuple[int, str, str, int]:
    """The exit status, standard output and standard error of `calibrate read`, and the bytes of memory that it
    needed."""
    command = ["calibrate", "read", str(path), "--user", "myuser", "--passphrase-file", str(secret), "--json", "-"]
    done = subprocess.run([sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=False)
    *errors, memory = done.stderr.splitlines()
    return done.returncode, done.stdout, "\n".join(errors), int(memory) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=200, help="megabytes of the recording")
    parser.add_argument("--message", type=int, default=60_000, help="bytes of a message")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bokbok-long-") as folder:
        path, secret = Path(folder) / "long.jsonl", Path(folder) / "pass"
        secret.touch(0o600)
        secret.write_text("mypassphrase\n")
        capture = long_capture(options.size * 1_000_000, options.message)
        capture.write(path)
        begin = time.monotonic()
        status, output, _, memory = calibrate_read(path, secret)
        seconds = time.monotonic() - begin
    report = json.loads(output or "{}")
    right = report.get("explained") == capture.size and report.get("profiles", [{}])[0].get("differs") == ["framing"]
    print(
        f"{capture.size / 1e6:.0f} MB in messages of {options.message} bytes: status {status}, "
        f"{report.get('verdict')}, {memory / (1 << 20):.0f} MiB of memory, {seconds:.1f} s"
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
