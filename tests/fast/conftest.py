"""Fixtures of this folder."""

from tests.gpu import as_gpu

__all__ = ["as_gpu"]
