"""What the commands of `bench.cli` do, one module a concern; imported only when a command runs."""
