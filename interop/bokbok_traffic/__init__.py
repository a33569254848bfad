"""Recorded conversations: how to obtain their bytes, and how to keep them.

It knows a relay between two peers, the file format of recordings, and packet captures. The conformance suite
(`bokbok_interop`) and calibration (`bokbok_calibrate`) use it; it does not import them.
"""
