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
    "generate": Kind("layersig.generating.stage:generate", 1),
    "data": Kind("layersig.data.stage:prepare", 1),
    "reference": Kind("layersig.training.stages:reference", 3),
    "update": Kind("layersig.models.given:update", 1),
    "score": Kind("layersig.scoring.stage:score", 4),
    "select": Kind("layersig.selecting.stage:select", 1),
    "tune": Kind("layersig.training.stages:tune", 3),
    "graft": Kind("layersig.models.stages:graft", 1),
    "prune": Kind("layersig.pruning.surgery:prune", 1),
    "recover": Kind("layersig.training.stages:recover", 2),
    "evaluate": Kind("layersig.evaluating.stage:evaluate", 3),
    "overlap": Kind("layersig.evaluating.overlap:overlap", 1),
    "answer": Kind("layersig.judging.answering:answer", 1),
    "grade": Kind("layersig.judging.stages:grade", 1),
    "compare": Kind("layersig.judging.stages:compare", 1),
}
