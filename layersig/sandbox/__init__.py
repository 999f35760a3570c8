"""Runs programs that a model wrote where the kernel lets them do no harm."""

from layersig.sandbox.run import Execution, Limits, refusal, run

__all__ = ["Execution", "Limits", "refusal", "run"]
