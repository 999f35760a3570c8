"""What is said of training runs that have none of the other side to be paired with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from layersig.findings.contrasts import Seeds


def pairing_notes(runs: Mapping[str, Seeds], untouched: Set[str], advice: str = "") -> Iterator[str]:
    """How the runs of every arm are paired with those of the first, where that is not one with one.

    Args:
        runs: Seeds of the runs of each arm by its label, the reference first; (None,) for a single run without one.
        untouched: Arms that are the untouched model, which stands beside every run by right.
        advice: What ends a sentence on a single run.
    """
    reference, *others = runs
    for pair in ((other, reference) for other in others):
        for own, theirs in (pair, pair[::-1]):
            lacking = [str(seed) for seed in runs[own] if seed not in runs[theirs]]
            if runs[own] == (None,):
                if own not in untouched and len(runs[theirs]) > 1:
                    yield (
                        f"{own} is one run without a seed. It is compared with every run of {theirs}, which says "
                        f"nothing about its method{advice}"
                    )
            elif runs[theirs] != (None,) and lacking:
                few = len(lacking) == 1
                yield (
                    f"{own}: the run{'' if few else 's'} with seed{'' if few else 's'} {', '.join(lacking)} "
                    f"{'is' if few else 'are'} left out, since {theirs} has no such run"
                )
