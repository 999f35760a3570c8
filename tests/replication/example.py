"""Extracts with a few rows in every table, with the columns that tables have and made-up values."""

from __future__ import annotations

import typing
from typing import Any

from layersig.topics.registry import all_topics
from tests.replication.extracts import COLUMNS, Extract, Row

_ROWS = {table.name: table.row for topic in all_topics()[0] for table in topic.tables}
_OWN = {"task": "heldout/chat", "data": "chat"}
_RECORD: Row = {
    "name": "part",
    "id": "0123456789ab",
    "status": "complete",
    "model": "model",
    "seeds": [0, 1],
    "data": {"chat": "chat.jsonl 0123"},
    "trainings": 3,
    "started": "2026-01-02T03:04:05+00:00",
    "seconds": 12.0,
    "machine": {"cpu": "processor"},
    "planned": True,
    "notes": [],
    "warnings": ["something"],
}


def row(table: str, **values: object) -> Row:
    """A row of a table: what is kept of it, at these values, else at one that its type allows."""
    form = _ROWS.get(table)
    own = {name: 0.2 if form is None else _value(form.model_fields[name].annotation) for name in COLUMNS[table]}
    assert set(values) <= set(own), (table, values)
    return own | values


def extract_of(**tables: list[Row]) -> Extract:
    """An extract with these rows."""
    return Extract("part", _RECORD, tables)


def _value(annotation: Any) -> object:
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)[0]
    by_name = {"bool": True, "float": 0.2, "int": 9, "tuple": ()}
    return next((value for name, value in by_name.items() if name in str(annotation)), "x")


def _shared(**values: object) -> Row:
    usual = {"across": "data sets", "scorer": "ila", "cells": ["chat", "code"], "verdict": "sharing not shown"}
    return row("sharing", **{"family": "data sets, two by two", **usual, **values})


def _compared(arm: str, reference: str, verdict: str, role: str = "contrast") -> Row:
    return row("comparisons", **_OWN, arm=arm, reference=reference, verdict=verdict, role=role)


_TRUTH = [
    row("estimators", a=name, b="fresh-loss", data="chat", shape="interval")
    for name in ("ila", "path", "weight-change")
]
_LEADER = row(
    "leaderboard", scorer="ila", data="chat", arm="ila-30", kept_shape="interval", rule="ends", reads_update=True
)
_CEILING = row("ceilings", scorer="ila", data="chat", verdict="above chance")
_TEXT = extract_of(
    texts=[row("texts", scorer="feature-norm", a="chat", b="random", text="random-tokens")],
    sharing=[_shared(scorer="feature-norm", k=9, p_different=0.01)],
    concentration=[
        row("concentration", scorer="feature-norm", data=text, by="kind", group=group, layers=30)
        for group in ("v_proj", "up_proj")
        for text in ("chat", "random")
    ],
)

EXAMPLE = {
    "rankings": extract_of(
        sharing=[_shared(family="data sets, together"), _shared()],
        stability=[
            row("stability", scorer="ila", quantity=quantity, data=data, value=value)
            for quantity, data, value in (("within", "chat", 0.5), ("rescored", "chat", 0.1), ("between", None, 0.4))
        ],
        components=[row("components", scorer="ila")],
        ceilings=[_CEILING],
    ),
    "arms": extract_of(
        claims=[row("claims", arm="ila-30", data="chat", conclusion="as good as all layers")],
        comparisons=[
            _compared("ila-30", "all-layers", "equivalent", "baseline"),
            _compared("ila-30", "ila-30.random", "undecided"),
        ],
        shares=[row("shares", **_OWN, arm="ila-30", shape="interval", share=0.8)],
    ),
    "more-arms": extract_of(
        comparisons=[_compared("ila-75", "all-layers", "undecided", "baseline")],
        shares=[
            row("shares", **_OWN, arm=arm, shape="interval", share=share)
            for arm, share in (("ila-75", 0.9), ("ila-10", 0.5))
        ],
    ),
    "tuned-alone": extract_of(
        comparisons=[
            _compared("gradient-norm-30", "ila-30", "better, size unsettled"),
            _compared("gradient-norm-30", "gradient-norm-30.rule", "equivalent", "rule control"),
        ],
        shares=[
            row("shares", **_OWN, arm=arm, shape="interval", share=share)
            for arm, share in (("ila-30", 0.4), ("gradient-norm-30", 0.9))
        ],
        selections=[row("selections", arm="ila-30", data="chat")],
    ),
    "own-rates": extract_of(
        claims=[row("claims", arm="ila-30", data="chat", conclusion="as good as all layers")],
        comparisons=[
            _compared("ila-30", "all-layers", "equivalent", "baseline"),
            _compared("ila-30", "ila-30.random", "undecided", "random control"),
        ],
        shares=[
            row("shares", **_OWN, arm=arm, shape="interval", share=share)
            for arm, share in (("ila-30", 0.9), ("gradient-norm-30", 0.9))
        ],
        selections=[row("selections", arm="ila-30", data="chat")],
        trials=[
            row("trials", arm=arm, learning_rate=rate)
            for arm, rate in (("all-layers", 0.001), ("ila-30", 0.002), ("gradient-norm-30", 0.002))
        ],
    ),
    "a-tenth": extract_of(
        claims=[row("claims", arm="ila-10", data="chat", conclusion="not shown")],
        comparisons=[
            _compared("ila-10", "all-layers", "undecided", "baseline"),
            _compared("ila-10", "ila-10.random", "undecided", "random control"),
        ],
        shares=[
            row("shares", **_OWN, arm=arm, shape="interval", share=0.8)
            for arm in ("ila-10", "ila-10.random", "gradient-norm-10", "gradient-norm-10.random")
        ],
        selections=[row("selections", arm="ila-10", data="chat")],
        trials=[row("trials", arm=arm, learning_rate=rate) for arm, rate in (("all-layers", 0.001), ("ila-10", 0.002))],
    ),
    "tasks": extract_of(
        comparisons=[
            row("comparisons", task="hellaswag", data="chat", arm="all-layers", reference="base", verdict="undecided")
        ]
    ),
    "estimators": extract_of(
        estimators=_TRUTH,
        comparisons=[
            _compared("path-30", "ila-30", "better, size unsettled"),
            _compared("ila-30", "gradient-norm-30", "worse, size unsettled", "other scorer"),
        ],
        shares=[
            row("shares", **_OWN, arm=arm, shape="interval", share=share)
            for arm, share in (("ila-30", 0.4), ("path-30", 0.8), ("gradient-norm-30", 0.9))
        ],
        selections=[row("selections", arm="ila-30", data="chat")],
        leaderboard=[_LEADER],
    ),
    "cost": extract_of(
        comparisons=[
            _compared(f"{name}-30", "ila-30", verdict)
            for verdict, names in (
                ("better, size unsettled", ("quarter", "path", "gradient-norm")),
                ("equivalent", ("short", "long")),
            )
            for name in names
        ],
        ceilings=[_CEILING, _CEILING | {"scorer": "sgd", "kappa": 0.5}],
        leaderboard=[_LEADER],
    ),
    "kinds": extract_of(
        sharing=[
            _shared(family="data sets, together", p_different=0.01, ratio=0.5, lower=0.3, margin=0.9),
            _shared(),
            _shared(cells=["code", "contest"]),
        ],
        carried=[row("carried", **_OWN, arm="of-code", own="of-chat")],
        comparisons=[
            _compared("of-chat", f"of-chat.{name}", "undecided", f"{name} control") for name in ("random", "rule")
        ],
    ),
    "data": extract_of(dependence=[row("dependence", scorer="ila", verdict="cannot tell")]),
    "fraction": extract_of(
        sweeps=[row("sweeps", **_OWN)], sweep_points=[row("sweep_points", **_OWN, quantity="select.fraction")]
    ),
    "pruning": extract_of(
        comparisons=[
            _compared("greedy-3", "bi-3", "better by more than the margin"),
            _compared("bi-3", "reverse-3", "better by more than the margin", "other scorer"),
            _compared("bi-3", "reverse-3", "worse, size unsettled") | {"task": "arithmetic_written"},
            _compared("bi-3", "base", "undecided", "baseline") | {"task": "arc_easy", "declared": False},
        ],
        retention=[
            row(
                "retention",
                arm=f"{strategy}-{count}",
                task=task,
                shape="interval",
                corrected_shape="interval",
                corrected_low=-0.1,
                at_floor=False,
            )
            for strategy in ("bi", "greedy")
            for count in (3, 5, 8)
            for task in ("arc_easy", "arithmetic_answer", "arithmetic_written")
        ],
        retention_gaps=[
            row("retention_gaps", arm="bi-3", kind="same items", classification="arithmetic_answer", generation="x")
        ],
        results=[
            row("results", task="heldout/chat", arm=f"{arm}-{count}", value=value)
            for arm, value in (("bi", 2.0), ("greedy", 1.9), ("reverse", 9.0))
            for count in (3, 5, 8)
        ],
    ),
    "blocks": extract_of(bridge=[row("bridge", necessity="likelihood", plasticity="size")]),
    "recovery": extract_of(
        comparisons=[
            _compared("bi-5-recovered", "bi-5", "better, size unsettled"),
            *(
                _compared("bi-5-recovered", reference, verdict) | {"task": task, "adjusted_p": p, "declared": False}
                for task, reference, verdict, p in (
                    ("arc_easy", "bi-5", "undecided", 0.2),
                    ("arithmetic_written", "bi-5", "undecided", 0.2),
                    ("arithmetic_written", "base", "worse, size unsettled", 0.01),
                )
            ),
        ],
        own_responses=[row("own_responses", arm="bi-5-recovered", task="arithmetic_written")],
        retention=[
            row(
                "retention",
                arm="bi-5-recovered",
                task=task,
                format=kind,
                shape="interval",
                corrected_shape="interval",
                at_floor=False,
            )
            for task, kind in (("arc_easy", "classification"), ("arithmetic_written", "generation"))
        ],
    ),
    "milestones": extract_of(milestones=[row("milestones", verdict="reaches the required share")]),
    "initial": extract_of(sharing=[_shared(across="scorers")]),
    "full": extract_of(sharing=[_shared(across="scorers")]),
    "claim-6": extract_of(block_correlations=[row("block_correlations", a="prompt-cosine", b="fisher")]),
    "claim-8-blocks": _TEXT,
    "claim-8-modules": _TEXT,
}
"""By part."""
