"""Fixtures of this folder."""

from tests.fast.as_gpu import as_gpu

__all__ = ["as_gpu"]
