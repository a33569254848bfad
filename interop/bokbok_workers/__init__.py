"""The workers of a Dask scheduler, for whatever has something to give them: the suite, calibration, `bench/`.

What this package knows: where a scheduler may be (`where`), how to connect to it (`connection`), that a worker has the
same code (`digest`), how calls are given to workers (`workers`), and the option of a command line (`option`). Only
`connection` and `workers` import Dask, which is an extra (`bokbok[fleet]`).
"""
