"""What a large study costs on many cards: the real scheduler over simulated ones, with stage times from `plan`.

`python -m tests.scaling` writes the tables of docs/scaling.md.
"""
