"""A run on several machines, or several processes of one: cells go to workers of a Dask scheduler.

What this package knows: what is sent to a worker (`share`), how it is played there (`player`), and how the shares of a
run are given out and come back (`scheduler`). Playing itself is `runner`'s. Only `scheduler` imports Dask, which is an
extra (`bokbok[fleet]`).
"""
