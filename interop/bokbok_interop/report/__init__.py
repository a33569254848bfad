"""Reports: the same results for a terminal, for CI systems, for machines, for a browser.

What this package knows: how results are shown.
"""
