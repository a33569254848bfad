"""Counts the machine instructions of some Python code by valgrind's callgrind: the count is the same on every run.

A count shows what a clock does not show on a busy machine, and what steps of Python do not show at all: copies and
searches that one call makes in C.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["count", "missing"]

_ROOT = Path(__file__).resolve().parents[2]

# A request to valgrind is a sequence of instructions that does nothing on a real processor (valgrind.h):
# mov rax, rdi; xor edx, edx; rol rdi 3, 13, 61, 51; xchg rbx, rbx; mov rax, rdx; ret.
_REQUEST = "4889f831d248c1c70348c1c70d48c1c73d48c1c7334887db4889d0c3"
_DUMP = 0x43540000  # VG_USERREQ__DUMP_STATS of callgrind: "CT", 0

_PROGRAM = """
import ctypes, gc, json, mmap, sys
from concurrent.futures import ThreadPoolExecutor
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex({request!r}))
request = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
arguments = (ctypes.c_uint64 * 6)({dump})
def dump():
    request(ctypes.addressof(arguments))
def _count(statements):
    exec(statements[0], globals())  # once before it counts: the heap begins empty
    dump()
    for statement in statements:
        exec(statement, globals())
        dump()
{setup}
gc.collect()
gc.disable()  # when it runs depends on what ran before
# In a thread, which has a heap of its own: how long the C library searches the other one for a free place depends on
# what was allocated before, by imports too, and was up to 4 per cent of a count.
with ThreadPoolExecutor(1) as pool:
    pool.submit(_count, json.load(sys.stdin)).result()
"""


def missing() -> str | None:
    """Why counting is impossible here; `None` if it is possible."""
    if os.uname().machine != "x86_64":
        return "the request to callgrind is written for x86-64"
    return None if shutil.which("valgrind") else "valgrind is not installed"


def count(setup: str, statements: list[str], folder: Path) -> list[int]:
    """Counts the instructions of each statement.

    Args:
        setup: what runs before.
        statements: what is counted.
        folder: an empty one, for callgrind's files.
    """
    # The lengths of paths and of the environment shift what lies in memory, and with it the counts by some per cent. So
    # the project, its interpreter and the program are reached by paths that are as long wherever they are; and nothing
    # comes from `site`, which adds the paths of what is installed for development.
    for name, place in (("project", _ROOT), ("python", Path(sys.prefix))):
        (folder / name).symlink_to(place)
    program = folder / "program.py"
    program.write_text(_PROGRAM.format(request=_REQUEST, dump=_DUMP, setup=setup))
    python = folder / "python" / Path(sys.executable).relative_to(sys.prefix)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", str(python), "-S", str(program)]
    paths = [folder / "project", folder / "python" / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)]
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONHASHSEED": "0"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "BOKBOK_NATIVE": os.environ.get("BOKBOK_NATIVE", "1")}
    done = subprocess.run(
        command, input=json.dumps(statements), text=True, capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    totals = []
    for number in range(2, len(statements) + 2):
        found = re.search(r"^totals: (\d+)", (folder / f"out.{number}").read_text(), re.MULTILINE)
        assert found is not None
        totals.append(int(found[1]))
    return totals
