"""`python -m flows.cli` is `spokenby`."""

from flows.cli.app import main

main()
