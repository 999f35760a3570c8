"""The kinds of stages there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of stage: where its function is, and a version to bump whenever its results may change."""

    function: str
    version: int


KINDS: Mapping[str, Kind] = {
    "layers": Kind("layersig.models.stages:layers", 1),
    "generate": Kind("layersig.generating.stage:generate", 3),
    "data": Kind("layersig.data.stage:prepare", 3),
    "reference": Kind("layersig.training.stages:reference", 4),
    "update": Kind("layersig.models.external_update:update", 2),
    "score": Kind("layersig.scoring.stage:score", 6),
    "select": Kind("layersig.selecting.stage:select", 1),
    "tune": Kind("layersig.training.stages:tune", 4),
    "graft": Kind("layersig.models.stages:graft", 1),
    "prune": Kind("layersig.pruning.surgery:prune", 2),
    "recover": Kind("layersig.training.stages:recover", 3),
    "evaluate": Kind("layersig.evaluating.stage:evaluate", 5),
    "overlap": Kind("layersig.evaluating.overlap:overlap", 2),
    "answer": Kind("layersig.judging.answering:answer", 3),
    "grade": Kind("layersig.judging.stages:grade", 2),
    "compare": Kind("layersig.judging.stages:compare", 2),
}
