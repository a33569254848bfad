"""Reports: the same results for a terminal, for CI systems, for machines, for a browser.

What this package knows: how results are shown. What it refuses to know: how they came about.
"""
