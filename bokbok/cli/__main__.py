"""`python -m bokbok.cli`: the same as the `bokbok` command."""

from . import main

main()
