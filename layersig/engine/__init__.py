"""Runs a graph. It knows no stage by name: what to run and what to publish is written in the graph."""
