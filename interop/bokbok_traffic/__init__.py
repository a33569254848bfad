"""Recorded conversations: how their bytes are obtained, and how they are kept.

It knows a relay between two peers, the file format of recordings, and packet captures. The conformance suite
(`bokbok_interop`) and calibration (`bokbok_calibrate`) stand on it; it imports neither.
"""
