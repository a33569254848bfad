"""Framing: how the streams of a recording are divided into packets."""
