"""Evaluation through lm-eval in process, every item's outcome kept. lm-eval is imported only when a stage runs."""
