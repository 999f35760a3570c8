"""Notes on training runs without a counterpart: what they are compared with, or that they are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from layersig.findings.contrasts import Seeds


def pairing_notes(runs: Mapping[str, Seeds], untouched: Set[str], advice: str = "") -> Iterator[str]:
    """How the runs of every arm are paired with those of the first, where that is not one with one.

    Args:
        runs: Seeds of the runs of each arm by its label, the reference first; (None,) for a single run without one.
        untouched: Arms that are the untouched model: there is only one, so comparing it with every run is fair.
        advice: What ends a sentence on a single run.
    """
    reference, *others = runs
    for pair in ((other, reference) for other in others):
        for own, theirs in (pair, pair[::-1]):
            unmatched = [str(seed) for seed in runs[own] if seed not in runs[theirs]]
            if runs[own] == (None,):
                if own not in untouched and len(runs[theirs]) > 1:
                    yield (
                        f"{own} is one run without a seed. It is compared with every run of {theirs}, which says "
                        f"nothing about its method{advice}"
                    )
            elif runs[theirs] != (None,) and unmatched:
                yield f"{own}: runs whose seed {theirs} lacks are left out: {', '.join(unmatched)}"
