"""Ours beside what a user would otherwise run, on the same work, in one process: `python -m tests.benchmarks`."""
