"""A run on several machines, or in several processes of one machine: cells go to workers of a Dask scheduler.

What this package knows: what is sent to a worker (`share`), how it is played there (`player`), and how the shares of a
run are distributed and come back (`scheduler`). `runner` does the playing. Only `scheduler` imports Dask, which is an
extra (`bokbok[fleet]`). `bokbok_workers` knows where a scheduler is, and connects to it.
"""
