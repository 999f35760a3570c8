"""Several processes, started by `torchrun` or `accelerate launch`, that run one stage together.

`launch` finds out how this process was started, `start` and `crew` hand stages round, `world` is what the code of a
stage sees of the others, and `sharding` splits a model among them. In a single process none of this does anything.
"""
