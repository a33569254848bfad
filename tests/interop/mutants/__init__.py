"""Peers that are each broken in one known way, to show that the suite notices.

Each mutant is the example implementation (`interop/examples/minimal`) with one change, and is started by `python
tests/interop/mutants NAME`. There is one module for each chapter of cases, in the hostile chapter one for each kind of
attack, and in `fresh` one for each layer. The decorator says which cases must catch a mutant, in which role it is
played, over which transport and in which security mode. `test_mutants.py` plays them, and checks that the example
itself passes all these cases.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "interop" / "examples" / "minimal"))
