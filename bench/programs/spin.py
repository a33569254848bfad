"""Keeps one core awake at the lowest priority, until standard input ends.

python spin.py CORE
"""

import os
import sys

import steered

os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(19)
steered.end_with_standard_input()
while True:
    pass
