"""`python -m bench` is the same as `bench`."""

from bench.cli import main

main(prog_name="bench")
