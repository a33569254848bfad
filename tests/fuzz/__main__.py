"""Fuzz: atheris (libFuzzer) chooses bytes for the targets, guided by which code they reach.

    python -m tests.fuzz                            every target, a minute each
    python -m tests.fuzz reader wire --seconds 600
    python -m tests.fuzz --keep                     then keep the shortest inputs that reach all of the code

Each target runs in its own process, with limits on its memory and on the time of one input. An input that fails is kept
in `.build/fuzz/TARGET`, and its traceback is shown. `python -m tests.fuzz TARGET --play FILE` plays it again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import corpora

NAMES = ("reader", "wire", "transcript", "profile", "pcap", "recording", "results")
PACKAGES = ["bokbok", "bokbok_interop.report", "bokbok_traffic"]
"""The code whose coverage guides the fuzzer."""
MEMORY = 200
"""MiB of a process: some 70 are the interpreter with the project's code, instrumented, and what libFuzzer takes."""
ONE_INPUT = 10
"""Seconds for one input."""
LONGEST = 4096
"""Bytes of an input."""
KEPT = 700
"""The most bytes of an input that is kept, unless nothing shorter reaches the same code."""
FOUND = Path(".build/fuzz")


def _fuzz_in_this_process(target: str, options: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.targets import TARGETS
    atheris.Setup(options, TARGETS[target])
    atheris.Fuzz()


def _run(target: str, folders: list[Path], *options: str) -> int:
    # To merge, libFuzzer starts its program again, by a shell: this one.
    program = folders[0].parent / "program"
    program.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tests.fuzz {target} --in-this-process "$0" "$@"\n'
    )
    program.chmod(0o700)
    FOUND.joinpath(target).mkdir(parents=True, exist_ok=True)
    flags = [f"-artifact_prefix={FOUND}/{target}/", f"-rss_limit_mb={MEMORY}", f"-timeout={ONE_INPUT}"]
    return subprocess.run([program, *flags, *options, *folders], check=False).returncode


def _fill(folder: Path, target: str, with_seeds: bool) -> None:
    inputs = corpora.read(target)
    if with_seeds or not inputs:
        from tests.fuzz.seeds import seeds

        inputs += seeds(target)
    for number, data in enumerate(inputs):
        folder.joinpath(f"seed-{number}").write_bytes(data)


def _fuzz(target: str, arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder, least = Path(name, "inputs"), Path(name, "least")
        folder.mkdir()
        least.mkdir()
        _fill(folder, target, arguments.seeds)
        began = time.monotonic()
        status = _run(
            target, [folder], f"-max_total_time={arguments.seconds}", f"-runs={arguments.runs}",
            f"-max_len={LONGEST}", f"-seed={arguments.seed}", "-print_final_stats=1",
        )  # fmt: skip
        print(f"{target}: status {status} after {time.monotonic() - began:.0f} s", flush=True)
        if arguments.keep and status == 0:
            short, long = Path(name, "short"), Path(name, "long")
            for sort in (short, long):
                sort.mkdir()
            for path in folder.iterdir():
                path.rename((short if path.stat().st_size <= KEPT else long) / path.name)
            # The order matters: inputs of later folders that reach more than those of the first one are added to it.
            status = _run(target, [least, short], "-merge=1") or _run(target, [least, long], "-merge=1")
            corpora.write(target, [path.read_bytes() for path in least.iterdir()])
        return status


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"which: {', '.join(NAMES)} (all)")
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--runs", type=int, default=-1, help="of each target, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzzer's choices (0: any)")
    parser.add_argument("--seeds", action="store_true", help="begin from the examples of valid inputs as well")
    parser.add_argument("--keep", action="store_true", help="write what was found to the corpora in the repository")
    parser.add_argument("--play", type=Path, metavar="FILE", help="play this input, and do not fuzz")
    if "--in-this-process" in sys.argv:
        _fuzz_in_this_process(sys.argv[1], sys.argv[3:])
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(NAMES)
    if unknown:
        parser.error(f"unknown target {min(unknown)!r} (known: {', '.join(NAMES)})")
    if arguments.play is not None:
        from tests.fuzz.targets import TARGETS

        for target in arguments.targets:
            TARGETS[target](arguments.play.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: `make fuzz` installs it where there is one for this machine", file=sys.stderr)
        return 1
    failed = [target for target in arguments.targets or NAMES if _fuzz(target, arguments)]
    for target in failed:
        print(f"{target} failed: see {FOUND / target}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
