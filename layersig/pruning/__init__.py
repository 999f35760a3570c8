"""Depth pruning: a checkpoint without some of its blocks, plain for everyone who loads it."""
