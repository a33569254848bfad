"""Packet captures: pcap and pcapng files, the TCP connections in them put together.

`container` reads the files, `link` finds the TCP segments in their frames, `tcp` puts connections together.
"""

from .container import is_pcap
from .tcp import PcapReader, read_pcap

__all__ = ["PcapReader", "is_pcap", "read_pcap"]
