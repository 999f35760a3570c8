"""Rows that several topics of the report read: layers and rankings, arms, claims, sweeps.

The rows of a single topic are in its folder in `layersig.topics`. Absent numbers are null: what could not be computed,
and the ends of intervals that are infinite.
"""
