"""`python -m flows.cli` is `whosaid`."""

from flows.cli.app import main

main()
