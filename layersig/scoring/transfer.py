"""A ranking carried over from another run: from another model, or from a training of another kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from layersig.errors import UserError
from layersig.plugin.components import Params as ComponentParams
from layersig.plugin.decorators import scorer
from layersig.records import Ranking

if TYPE_CHECKING:
    from layersig.scoring.context import ScoringContext


@scorer("transfer", needs={"rankings"}, version=1)
class Transfer:
    """The ranking of another run, mapped onto the layers of this model.

    The transfer of arXiv 2410.17875, tables 13 and 14.

    A score is the relative rank in the other run, averaged over its seeds: from 1 (first) to 0 (last), so that scorers
    of any scale carry over. By name, a unit takes the score of its namesake. By depth, it takes that of its module type
    at the same relative depth (b + 1/2) / blocks, interpolated linearly between blocks. The paper does not say how
    it mapped models of different depth: this is ours. Units without a counterpart rank last, and their share is told.
    """

    class Params(ComponentParams):
        """Parameters of `transfer`."""

        scorer: str
        """Name of the scorer in the other run."""
        data: str | None = None
        """Name of the data set in the other run; needed where the scorer ranked on several."""
        match: Literal["depth", "name"] = "depth"
        """`depth`: by module type and relative depth, for another model. `name`: by full name, for the same one."""

    def score(self, context: ScoringContext) -> Mapping[str, float]:
        """Relative rank of every unit's counterpart."""
        params: Transfer.Params = context.params
        import numpy as np

        from layersig.analysis.carrying import by_depth, by_name, relative_ranks

        rankings = _chosen(context, params)
        names = list(rankings[0].scores)
        scores = relative_ranks(names, np.array([[ranking.scores[name] for name in names] for ranking in rankings]))
        found = (by_name if params.match == "name" else by_depth)(scores, context.layers)
        context.coverage = len(found) / len(context.layers)
        if not found:
            raise UserError(
                f"no layer of this model has a counterpart by {params.match} in the source: that ranks "
                f"{next(iter(scores))}, this recipe {context.layers[0]}; set `layers.unit` alike in both runs, and to "
                "`block` where the architectures differ"
            )
        if len(found) < len(context.layers):
            missing = [name for name in context.layers if name not in found]
            context.reporter.warn(
                f"{len(missing)} of {len(context.layers)} layers have no counterpart by {params.match} in the source "
                f"and rank last: {missing[0]}{', ...' if missing[1:] else ''}"
            )
        return {name: found.get(name, 0.0) for name in context.layers}


def _chosen(context: ScoringContext, params: Transfer.Params) -> list[Ranking]:
    """The rankings of the scorer at its last checkpoint, one a seed."""
    lines = list(context.rankings)
    ranked = [line for line in lines if line["scorer"] == params.scorer]
    if not ranked:
        raise UserError(f"the source has no scorer {params.scorer!r}; it has {_names(lines, 'scorer')}")
    fitting = [line for line in ranked if params.data in (None, line.get("data"))]
    if not fitting:
        raise UserError(f"the source has no ranking on {params.data!r}; it has {_names(ranked, 'data')}")
    if len({line.get("data") for line in fitting}) > 1:
        raise UserError(f"the source ranks on several data sets; set `data` to one of {_names(fitting, 'data')}")
    last = max((at for line in fitting if (at := line.get("checkpoint")) is not None), default=None)
    found = [Ranking.from_json(line) for line in fitting if line.get("checkpoint") == last]
    if any(ranking.scores.keys() != found[0].scores.keys() for ranking in found):
        raise UserError(f"the source's rankings of {params.scorer!r} are of different layers; run its recipe again")
    return found


def _names(lines: Sequence[Mapping[str, Any]], key: str) -> str:
    return ", ".join(dict.fromkeys(str(line.get(key)) for line in lines))
