"""A reporter that keeps what it is warned of."""

from __future__ import annotations

from layersig.stages.job import Silent


class Heard(Silent):
    """Keeps warnings; progress goes by."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        """Keep it."""
        self.warnings.append(message)
