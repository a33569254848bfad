"""Peers that are broken in one known way each, to show that the suite notices.

Each mutant is the example implementation (`interop/examples/minimal`) with one thing changed, as the command
`python tests/interop/mutants NAME`. One module for each chapter of cases, for the hostile chapter one for each kind of
attack. The decorator says which cases must catch a mutant, in which role it is played, and over which transport and in
which security mode; `test_mutants.py` plays them, and sees that the example itself passes all of it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "interop" / "examples" / "minimal"))
