"""`python -m pipeline` is `openoee`."""

from pipeline.cli import main

main()
