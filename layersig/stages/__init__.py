"""The kinds of stages: what each is given, reads and runs, and what it sees while it runs."""
