"""Reports: the same results for a terminal, for CI systems, for programs, for a browser.

What this package knows: how results are shown.
"""
