"""Broken peers with one fault each, in every layer: what the first panel of `check` says about each.

    python -m tests.interop.broken                     all of them, each a whole `check`
    python -m tests.interop.broken --only greets,...   some
    nice python -m tests.interop.broken --all          every mutant, each a `check` with the cases that are about it

The peers are mutants (`tests/interop/mutants`). `test_broken.py` plays a sample, and the case that names each.

`--all` shows whether `check`, as it is called without options, catches what the suite can catch: it plays each case in
other modes and against another peer than the tests of the mutants do.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bokbok_interop.cases import PREFLIGHT, all_cases

MUTANTS = Path(__file__).parent / "mutants"


@dataclass(frozen=True)
class Broken:
    """A broken peer, and how a report must name its fault.

    Attributes:
        mutant: its name.
        layer: the layer that is broken.
        sentences: anchors, one of which must be in the first panel.
        case: a glob for the cases that may be in the first panel's title.
    """

    mutant: str
    layer: str
    sentences: tuple[str, ...]
    case: str


BROKEN = [
    Broken("counts-bytes-little-endian", "framing", ("profile.framing",), "preflight.client-hello"),
    Broken("other-key-derivation", "key", ("profile.key",), "preflight.key"),
    Broken("ends-user-names-with-nul", "hello", ("profile.hello-user",), "preflight.client-hello"),
    Broken("greets", "hello", ("profile.no-answer",), "preflight.server-hello"),
    Broken("puts-nonces-behind", "boxes", ("profile.boxes", "profile.hello-key"), "preflight.*"),
    Broken("counts-nonces-little-endian", "nonces", ("profile.nonce",), "secure.nonces"),
    Broken("asks-queries", "messages", ("profile.messages",), "preflight.*-request"),
    Broken("errors-are-lists", "messages", ("profile.messages",), "preflight.*-error"),
    Broken("counts-from-one", "IDs", ("profile.ids",), "preflight.client-request"),
    Broken("flonums-of-python", "dialect", ("profile.dialect",), "sexpr.flonums*"),
    Broken("own-address", "addresses", ("connection-addr", "profile.addresses"), "connect.address-of-*"),
    Broken("client-serves-nothing", "handlers", ("open.request-handler",), "preflight.client-request"),
    Broken("one-handler-at-a-time", "handlers", ("about.threads",), "preflight.*-handlers"),
    Broken("closes-on-errors", "errors", ("open.request-handler-errors",), "preflight.*-error"),
    Broken("loses-messages", "errors", ("remote-error-message",), "errors.*"),
    Broken("accepts-any-user", "users", ("start.user-key-refuses", "profile.refusal"), "secure.*"),
    Broken("open-handler-twice", "open handler", ("profile.open-handler", "start.open-handler"), "*.*"),
    Broken("forgets-the-close-handler", "close handler", ("start.close-handler", "profile.close-handler"), "*"),
    Broken("lost-connections-leave-waiting", "the end", ("profile.close", "request.errors"), "*"),
    Broken("stop-goes-on-listening", "stopping", ("stop-server",), "lifecycle.stop-refuses-new"),
    Broken("any-number-waits", "limits", ("profile.limit-waiting",), "hostile.waiting-limit"),
]


def check(mutant: str, *words: str, timeout: float = 600.0) -> str:
    """What `bokbok-interop check` shows about a mutant, on a terminal so wide that no line is folded."""
    puppet = f"{sys.executable} {MUTANTS} {mutant}"
    done = subprocess.run(
        [sys.executable, "-m", "bokbok_interop", "check", puppet, "-q", *words],
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
        env={**os.environ, "COLUMNS": "260"},
    )
    return done.stdout + done.stderr


def first_panel(shown: str) -> str:
    """The first failure that was shown, or empty."""
    found = re.search(r"╭─ (.*?)╰─", shown, re.S)
    return found[1] if found else ""


def told(broken: Broken, panel: str) -> bool:
    """Whether a panel names the layer and the sentence."""
    title = broken.case.replace(".", r"\.").replace("*", r"[\w.-]*")
    anchors = re.findall(r"docs/[\w-]+\.md#([\w.-]+)", panel)
    return bool(re.match(rf"✗ {title} ", panel)) and bool(anchors) and anchors[0] in broken.sentences


def mutants() -> list[dict[str, Any]]:
    """All mutants, read in another process: importing them changes modules."""
    done = subprocess.run([sys.executable, str(MUTANTS), "--json"], capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def missed(mutant: dict[str, Any]) -> str:
    """Why `check`, with the cases that are about this mutant, does not catch it; empty if it does."""
    cases = {case.id: case for case in all_cases()}
    if all(cases[name].long for name in mutant["cases"]):
        return "--long only"
    about = [name for name in mutant["cases"] if cases[name].chapter != PREFLIGHT]
    words = [word for name in about for word in ("--case", name)] or ["--chapter", PREFLIGHT]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        shown = check(mutant["name"], *words, "--json", str(path))
        if not path.exists():
            return shown.strip().splitlines()[-1]
        played = json.loads(path.read_text())["cells"]
    failed = {cell["case"] for cell in played if cell["outcome"] == "failed"}
    if any(name in mutant["cases"] or cases[name].chapter == PREFLIGHT for name in failed):
        return ""
    counts = ", ".join(f"{cell['case']} {cell['transport']} {cell['security']} {cell['outcome']}" for cell in played
                       if cases[cell["case"]].chapter != PREFLIGHT)  # fmt: skip
    return f"{counts or 'nothing was played'}"


def play_all(wanted: list[str]) -> int:
    """Play mutants, two at once, each with the cases that are about it. Returns how many were not caught."""
    chosen = [mutant for mutant in mutants() if not wanted or mutant["name"] in wanted]
    count = 0
    print("| not caught | played |\n|---|---|", flush=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for mutant, why in zip(chosen, pool.map(missed, chosen), strict=True):
            if why:
                count += 1
                print(f"| `{mutant['name']}` | {why} |", flush=True)
    print(f"\n{len(chosen) - count} of {len(chosen)} are caught")
    return count


def main() -> None:
    """Check, and print a line for each peer. The exit status is 1 if a first panel is about something else."""
    parser = argparse.ArgumentParser(description="Broken peers of every layer, and the first panel of each.")
    parser.add_argument("--only", help="names of mutants, separated by commas")
    parser.add_argument("--all", action="store_true", help="every mutant, with the cases that are about it")
    given = parser.parse_args()
    if given.all:
        sys.exit(bool(play_all(given.only.split(",") if given.only else [])))
    wanted = given.only.split(",") if given.only else [broken.mutant for broken in BROKEN]
    wrong = 0
    print(
        "| layer | mutant | first panel | names the sentence | seconds | of the processor |\n|---|---|---|---|---|---|"
    )
    for broken in BROKEN:
        if broken.mutant in wanted:
            start, before = time.monotonic(), os.times()
            shown = check(broken.mutant)
            took, after = time.monotonic() - start, os.times()
            used = sum(after[2:4]) - sum(before[2:4])
            panel = first_panel(shown)
            good = told(broken, panel)
            wrong += not good
            title = panel.split(" ", 2)[1] if panel else "none"
            anchor = (re.findall(r"docs/[\w-]+\.md#([\w.-]+)", panel) or ["none"])[0]
            print(f"| {broken.layer} | `{broken.mutant}` | `{title}` | `{anchor}` {'✓' if good else '✗'} "
                  f"| {took:.0f} | {used:.0f} |", flush=True)  # fmt: skip
            if not good:
                print(shown, file=sys.stderr, flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
