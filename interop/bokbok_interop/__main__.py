"""`python -m bokbok_interop` is the command `bokbok-interop`."""

from .cli import main

main()
