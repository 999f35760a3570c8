"""When the layers' ranking by the size of their update has settled: what may end a reference training early.

The rule (ours): twenty times in the planned training, layers are ranked by the Frobenius norm of their update. The
ranking is stable once Kendall's tau-b with the look before has been at least 0.9 three times in a row: each time,
95 % of the pairs of layers keep their order. The size of an update is known without any further training, so that
looks are nearly free; it is not the ranking of the scorer that reads the update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat
from scipy import stats
from typing_extensions import TypedDict

from layersig.jsonform import dumps, parse_json
from layersig.store.files import write_atomic
from layersig.training.callbacks import Callback
from layersig.training.log import Step

LOOKS = 20
TAU = 0.9
IN_A_ROW = 3

_FILE = "rank-looks.json"


class _LookForm(TypedDict):
    step: int
    sizes: list[FiniteFloat]


class RankWatch(Callback):
    """Looks at the sizes of updates while a training runs, and remembers them over an interruption.

    Args:
        work: Folder that survives an interruption.
        planned: Number of planned steps.
        sizes: Size of the update of every layer as it is now, in a fixed order.
    """

    def __init__(self, work: Path, planned: int, sizes: Callable[[], Sequence[float]]) -> None:
        self._path = work / _FILE
        self._every = max(1, round(planned / LOOKS))
        self._sizes = sizes
        self._looks = self._kept()

    def after_step(self, step: Step) -> bool:
        """Look if it is time to.

        Returns:
            True where the ranking is stable, so that the training may end.
        """
        if step.step % self._every:
            return False
        self._looks = [look for look in self._looks if look["step"] < step.step]
        self._looks.append({"step": step.step, "sizes": list(self._sizes())})
        write_atomic(self._path, dumps(self._looks))
        return self.stable_at is not None

    @property
    def stable_at(self) -> int | None:
        """The step at which the ranking was first stable; None where it has not been."""
        calm = 0
        for look in self._taus():
            calm = calm + 1 if look["tau"] >= TAU else 0
            if calm == IN_A_ROW:
                return int(look["step"])
        return None

    def record(self) -> dict[str, Any]:
        """The rule, tau at every look from the second on, and where the ranking was stable."""
        return {"tau": TAU, "in_a_row": IN_A_ROW, "looks": self._taus(), "stable_at": self.stable_at}

    def _taus(self) -> list[dict[str, Any]]:
        found = []
        for before, after in pairwise(self._looks):
            tau = float(stats.kendalltau(before["sizes"], after["sizes"]).statistic)
            # Sizes that are all equal, as before anything has moved, rank nothing.
            found.append({"step": after["step"], "tau": tau if isfinite(tau) else 0.0})
        return found

    def _kept(self) -> list[_LookForm]:
        try:
            return parse_json(self._path.read_bytes(), list[_LookForm])
        except (OSError, ValueError):
            return []
