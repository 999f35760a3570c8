"""What every kind of stage is given, reads, writes and runs, and what its body sees while it runs.

- `kinds`: the contract of every kind, one class each, and `SPECS`, all of them by name
- `spec`: what those classes have in common
- `job`: what a body is called with
"""
