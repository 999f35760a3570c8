"""Thousands of damaged inputs of every kind, and what is said of each: `make torture`."""
