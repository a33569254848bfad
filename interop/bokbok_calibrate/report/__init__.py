"""What was found, for people and programs. Reports never contain a key, a session key or a passphrase."""

from .machine import as_json
from .page import as_html
from .profile import profile_text
from .text import as_text
from .verdict import verdict

__all__ = ["as_html", "as_json", "as_text", "profile_text", "verdict"]
