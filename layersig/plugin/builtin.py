"""The built-in components, registered through the same hook as those of plugins."""

from __future__ import annotations

from collections.abc import Iterator

from layersig.plugin.components import BUILT_IN, Component, Kind
from layersig.plugin.hookspecs import hookimpl

_WHERE: dict[Kind, dict[str, str]] = {
    "scorer": {
        "ila": "layersig.scoring.ila:Ila",
        "path-attribution": "layersig.scoring.attribution:PathAttribution",
        "leave-one-out": "layersig.scoring.one_at_a_time:LeaveOneOut",
        "add-one-in": "layersig.scoring.one_at_a_time:AddOneIn",
        "update-taylor": "layersig.scoring.attribution:UpdateTaylor",
        "layer-contribution": "layersig.scoring.contribution:LayerContribution",
        "gradient-norm": "layersig.scoring.gradient_norm:GradientNorm",
        "projected-gradient": "layersig.scoring.projected_gradient:ProjectedGradient",
        "whitened-gradient": "layersig.scoring.whitened_gradient:WhitenedGradient",
        "adalora-sensitivity": "layersig.scoring.adalora:AdaLoraSensitivity",
        "weight-change": "layersig.scoring.weight_change:WeightChange",
        "spectral": "layersig.scoring.spectral:Spectral",
        "transfer": "layersig.scoring.transfer:Transfer",
        "block-influence": "layersig.scoring.block_influence:BlockInfluence",
        "angular-distance": "layersig.scoring.block_influence:AngularDistance",
        "ablation": "layersig.scoring.ablation:Ablation",
        "greedy": "layersig.scoring.greedy:Greedy",
        "random": "layersig.scoring.positional:Random",
        "first-k": "layersig.scoring.positional:FirstK",
        "last-k": "layersig.scoring.positional:LastK",
        "middle": "layersig.scoring.positional:Middle",
        "ends": "layersig.scoring.positional:Ends",
    },
    "policy": {
        "top": "layersig.selecting.policies:Top",
        "quota": "layersig.selecting.policies:Quota",
        "freeze": "layersig.selecting.policies:Freeze",
        "lowest": "layersig.selecting.policies:Lowest",
        "intersection": "layersig.selecting.policies:Intersection",
        "union": "layersig.selecting.policies:Union",
        "matched-random": "layersig.selecting.matched_random:MatchedRandom",
        "cost-aware": "layersig.selecting.cost_aware:CostAware",
        "threshold": "layersig.selecting.threshold:Threshold",
        "types": "layersig.selecting.by_type:Types",
        "list": "layersig.selecting.policies:List",
        "type-depth": "layersig.selecting.rule:TypeDepth",
    },
    "method": {
        "lora": "layersig.training.methods.lora:Lora",
        "adalora": "layersig.training.methods.adalora:AdaLora",
        "full": "layersig.training.methods.full:Full",
        "dora": "layersig.training.methods.dora:Dora",
        "rslora": "layersig.training.methods.rslora:RsLora",
        "pissa": "layersig.training.methods.pissa:Pissa",
        "eva": "layersig.training.methods.eva:Eva",
        "gora": "layersig.training.methods.gora:Gora",
    },
    "objective": {
        "sft": "layersig.objectives.sft:Sft",
        "dpo": "layersig.objectives.dpo:Dpo",
        "simpo": "layersig.objectives.simpo:SimPo",
    },
}


@hookimpl
def layersig_components() -> Iterator[Component]:
    """One component per row of the table."""
    for kind, table in _WHERE.items():
        for name, where in table.items():
            yield Component(kind, name, where, origin=BUILT_IN)
