"""A service on several processes, and behind HAProxy: how much more they serve, and what it costs.

    python bench/service.py                    everything: about three minutes; prints two tables
    python bench/service.py --quick            only a trial
    python bench/service.py --only processes   one of: processes, haproxy

It measures answers per second, as seen by one client process on the same machine, which itself takes processor time. On
two cores the client's part limits what more processes can gain, so it is shown. Contestants take turns in short slices,
and a ratio is the median of the ratios within each round.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "programs"))

from contest import Contestant, Results, cores_awake, program, take_turns
from figures import about, say

HANDLER = 200
"""Microseconds of processor time that a handler takes."""
CONNECTIONS, IN_FLIGHT = 16, 64


def processes(rounds: int, seconds: float) -> list[str]:
    """One process, and several behind one socket, with a handler that takes 200 µs."""
    ask = program("service", "ask", CONNECTIONS, IN_FLIGHT)
    contestants = [Contestant("this process alone", ask, program("service", "serve", 0, HANDLER, "{folder}"))]
    contestants += [
        Contestant(f"--processes {number}", ask, program("service", "serve", number, HANDLER, "{folder}"))
        for number in (1, 2, 4)
    ]
    results = take_turns(contestants, rounds, seconds)
    one = results["--processes 1"]
    lines = [
        f"{IN_FLIGHT} requests in flight over {CONNECTIONS} connections, a handler that takes {HANDLER} µs of the "
        "processor:",
        "",
        "| server | answers per second | beside one process |",
        "|---|---|---|",
    ]
    return lines + [f"| {name} | {_rate(each)} | {_ratio(each, one)} |" for name, each in results.items()]


def haproxy(rounds: int, seconds: float) -> list[str]:
    """A server by itself, and behind HAProxy in TCP mode, with a handler that answers at once."""
    lines = ["| cores | requests in flight | directly | behind HAProxy | beside directly |", "|---|---|---|---|---|"]
    serve = program("service", "serve", 0, 0, "{folder}")
    for cores, keeping in (("awake", cores_awake), ("as they are", contextlib.nullcontext)):
        for in_flight in (1, IN_FLIGHT):
            ask = program("service", "ask", 1, in_flight)
            contestants = [
                Contestant("directly", ask, serve),
                Contestant("behind", ask, serve, between=program("service", "haproxy", "{folder}")),
            ]
            with keeping():
                results = take_turns(contestants, rounds, seconds)
            direct, behind = results["directly"], results["behind"]
            lines.append(f"| {cores} | {in_flight} | {_rate(direct)} | {_rate(behind)} | {_ratio(behind, direct)} |")
    return lines


PARTS: dict[str, Callable[[int, float], list[str]]] = {"processes": processes, "haproxy": haproxy}


def _rate(results: Results) -> str:
    return f"{statistics.median(results.rates):,.0f}"


def _ratio(results: Results, beside: Results) -> str:
    ratios = [one / other for one, other in zip(results.rates, beside.rates, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="a service on several processes, and behind HAProxy")
    parser.add_argument("--quick", action="store_true", help="only a trial")
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args()
    rounds, seconds = (2, 0.2) if options.quick else (15, 1.0)
    told = about()
    print(f"{told['date']}, {told['machine']}, {told['python']}, load {told['load'][0]}")
    for name in [options.only] if options.only else PARTS:
        say(f"{name}…")
        print("", *PARTS[name](rounds, seconds), sep="\n")


if __name__ == "__main__":
    main()
