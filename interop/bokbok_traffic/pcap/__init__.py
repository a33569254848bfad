"""Packet captures: pcap and pcapng files, and the TCP connections in them.

`container` reads the files, `link` finds the TCP segments in their frames, `tcp` assembles connections.
"""

from .container import is_pcap
from .tcp import PcapReader, read_pcap

__all__ = ["PcapReader", "is_pcap", "read_pcap"]
