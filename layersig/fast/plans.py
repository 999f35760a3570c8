"""Plans of tasks, kept in the process: arms and seeds are asked the same, and planning takes longer than hashing."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from layersig.fast.sharing import Family, ScoredSequence, plan

_TOKENS = 20_000_000
"""Tokens of the plans that are kept: some hundreds of megabytes at most."""


class Plans:
    """The plans that were asked for last.

    Args:
        most: Tokens of all plans together. A plan larger than that is not kept.
    """

    def __init__(self, most: int = _TOKENS) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, list[Family]] = OrderedDict()

    def of(self, requests: Sequence[ScoredSequence], pair_cost: float, share: bool) -> list[Family]:
        """What `plan` gives, which nobody may change."""
        key = _digest(requests, repr((pair_cost, share)))
        found = self._kept.pop(key, None)
        if found is None:
            found = plan(requests, pair_cost, share)
        self._kept[key] = found
        while sum(map(_tokens, self._kept.values())) > self._most:
            self._kept.popitem(last=False)
        return found


def _tokens(families: Iterable[Family]) -> int:
    return sum(family.tokens for family in families)


def _digest(requests: Sequence[ScoredSequence], how: str) -> bytes:
    digest = hashlib.blake2b(how.encode())
    for request in requests:
        digest.update(array("q", (len(request.tokens), *request.tokens, *request.targets, -1)).tobytes())
    return digest.digest()


PLANS = Plans()
"""Those of this process."""
