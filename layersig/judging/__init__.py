"""Conversations graded by a judge model: the arms answer questions, a model behind an endpoint grades and compares."""
