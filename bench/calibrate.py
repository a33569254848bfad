"""How many formats calibration identifies, how many it claims wrongly, and how long it takes.

    python bench/calibrate.py [--count 200] [--first 0] [--insecure]              formats of the project's own strategies
    python bench/calibrate.py --foreign [--count 200] [--plain] [--insecure]      those of the independent generator
    python bench/calibrate.py --foreign --outside --count 50                      formats outside the table: no claim expected

Each format is recorded once with the default script, calibrated, and the claim is held against the recording by writing
every byte again (that is part of calibrating). Run it from the repository's root.
"""  # noqa: E501

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent / "interop")]

from bokbok_interop.calibrate.recording import Recorded, from_capture  # noqa: E402
from bokbok_interop.calibrate.script import SCRIPT, known_datums  # noqa: E402
from bokbok_interop.calibrate.session import record  # noqa: E402
from bokbok_interop.calibrate.solve import Secrets, solve  # noqa: E402
from bokbok_interop.capture import Capture  # noqa: E402


def own(seed: int, options: argparse.Namespace) -> tuple[Any, list[Recorded], bool, bytes]:
    from tests.support.profiles import random_profile

    profile = random_profile(random.Random(seed))
    return profile, record(profile, secure=not options.insecure), not options.insecure, b"mypassphrase"


def foreign(seed: int, options: argparse.Namespace) -> tuple[Any, list[Recorded], bool, bytes]:
    from tests.support import foreign as generator

    rng = random.Random(seed)
    if options.outside:
        drawn = generator.foreign_format(rng)
    else:
        drawn = generator.random_format(rng, secure=not options.insecure, readings=not options.plain)
    made = generator.record(drawn, list(SCRIPT), rng, passphrase="mypassphrase")
    capture = Capture("tcp")
    for line in made.records:
        if "from" in line:
            data = None if line.get("eof") else bytes.fromhex(line["data"])
            capture.add(line.get("t", 0), line.get("conn", 1), line["from"], data)
    return drawn, from_capture(capture), drawn.secure, b"mypassphrase"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--foreign", action="store_true")
    parser.add_argument("--outside", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--insecure", action="store_true")
    options = parser.parse_args()
    times, statuses, others = [], Counter(), []
    for seed in range(options.first, options.first + options.count):
        _, recorded, secure, passphrase = (foreign if options.foreign else own)(seed, options)
        start = time.perf_counter()
        answer = solve(recorded, Secrets(b"myuser", passphrase) if secure else Secrets(), known_datums())
        times.append(time.perf_counter() - start)
        statuses[answer.status] += 1
        if (answer.status == 0) == options.outside:
            others.append(seed)
    names = {0: "one profile", 3: "several", 4: "none"}
    print(", ".join(f"{names[status]}: {count}" for status, count in sorted(statuses.items())))
    print(f"seconds: median {statistics.median(times):.2f}, longest {max(times):.2f}")
    print(f"seeds that came out otherwise than hoped for: {others}")


if __name__ == "__main__":
    main()
