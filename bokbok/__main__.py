"""`python -m bokbok`: the same as the `bokbok` command."""

from .cli import main

main()
