"""A run folder such as a finished study leaves behind, made from seeded noise instead of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from layersig.jsonform import dumps, jsonl
from layersig.layers import Layer, LayerMap, Part, Unit
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Outcome, Ranking, Selection
from tests.report.studies import USUAL, Study, recipe_of
from tests.report.synthetic_manifest import data_report, manifest_of, overlap_report

KINDS = (
    ("self_attn.q_proj", Part.ATTENTION, (576, 576)),
    ("self_attn.k_proj", Part.ATTENTION, (192, 576)),
    ("self_attn.v_proj", Part.ATTENTION, (192, 576)),
    ("self_attn.o_proj", Part.ATTENTION, (576, 576)),
    ("mlp.gate_proj", Part.MLP, (1536, 576)),
    ("mlp.up_proj", Part.MLP, (1536, 576)),
    ("mlp.down_proj", Part.MLP, (576, 1536)),
)
TYPE_EFFECT = np.array([-0.4, -0.7, 0.5, 0.1, -0.1, 0.3, 0.8])


def write_run(path: Path, study: Study = USUAL, seed: int = 7) -> Recipe:
    """Write the run folder, all but what findings and report add; returns its recipe."""
    recipe = recipe_of(study)
    rng = np.random.default_rng(seed)
    layers = layer_map(study)
    path.mkdir(parents=True, exist_ok=True)
    _json(path / "layers.json", layers.to_json())
    rankings = _rankings(study, layers, rng)
    selections = _selections(study, layers, rankings, rng)
    (path / "scores.jsonl").write_text(jsonl([_scores_line(cell, r) for cell, r in rankings.items()]), encoding="utf-8")
    (path / "selections.jsonl").write_text(
        jsonl([_selection_line(cell, s) for cell, s in selections.items()]), encoding="utf-8"
    )
    _evaluations(path, study, [arm.name for arm in recipe.arms], rng)
    _metrics(path, study, [arm.name for arm in recipe.arms], rng)
    for name in study.names:
        _json(path / "data" / f"{name}.json", data_report(study, name))
        _json(path / "overlap" / f"{name}.json", overlap_report(study))
    _json(path / "manifest.json", manifest_of(study, [arm.name for arm in recipe.arms], rng))
    (path / "recipe.toml").write_text('name = "synthetic"\n', encoding="utf-8")
    (path / "resolved.toml").write_text('name = "synthetic"\n# resolved\n', encoding="utf-8")
    return recipe


def layer_map(study: Study) -> LayerMap:
    """Blocks of seven linear modules each, of the sizes of a 135 M Llama."""
    layers = [
        Layer(f"{study.prefix}.{block}.{kind}", block, kind, part, shape[0] * shape[1], shape)
        for block in range(study.blocks)
        for kind, part, shape in KINDS
    ]
    return LayerMap(tuple(layers), tuple(f"{study.prefix}.{block}" for block in range(study.blocks)), True)


def _rankings(study: Study, layers: LayerMap, rng: np.random.Generator) -> dict[Cell, Ranking]:
    n, types = len(layers), len(KINDS)
    depth = np.repeat(np.linspace(-1, 1, study.blocks), types)
    common = np.tile(TYPE_EFFECT, study.blocks) + 0.6 * depth + 0.7 * rng.normal(size=n)
    found: dict[Cell, Ranking] = {}

    def add(
        scorer: str, data: str | None, seed: int | None, scores: np.ndarray, checkpoint: float | None = None
    ) -> None:
        named = dict(zip(layers.names, map(float, scores), strict=True))
        found[Cell(scorer=scorer, data=data, seed=seed, checkpoint=checkpoint)] = Ranking(Unit.MODULE, named)

    for data in study.names:
        own = common + 0.35 * rng.normal(size=n)
        for seed in study.seeds:
            add("ila", data, seed, 1 / (1 + np.exp(-own - 0.3 * rng.normal(size=n))), 1.0)
            for checkpoint in study.checkpoints:
                early = own + 0.5 * (1 - checkpoint) * rng.normal(size=n) + 0.3 * rng.normal(size=n)
                add(f"ila-at-{checkpoint:g}", data, seed, 1 / (1 + np.exp(-early)), checkpoint)
            add("gradient-norm", data, seed, np.exp(0.5 * own - 0.9 * depth + 0.2 * rng.normal(size=n)))
    for seed in study.seeds:
        add("random", None, seed, rng.uniform(size=n))
    add("first-k", None, None, -np.arange(n, dtype=float))
    add("last-k", None, None, np.arange(n, dtype=float))
    return found


def _selections(
    study: Study, layers: LayerMap, rankings: dict[Cell, Ranking], rng: np.random.Generator
) -> dict[Cell, Selection]:
    found: dict[Cell, Selection] = {}

    def add(arm: str, data: str, seed: int, names: set[str]) -> None:
        ordered = tuple(name for name in layers.names if name in names)
        weights = sum(layers.by_name[name].parameters for name in ordered)
        found[Cell(arm=arm, data=data, seed=seed)] = Selection(ordered, weights)

    k30, k75 = round(0.3 * len(layers)), round(0.75 * len(layers))
    for data in study.names:
        for seed in study.seeds:
            ila = rankings[Cell(scorer="ila", data=data, seed=seed, checkpoint=1.0)].ordered()
            add("ila-30", data, seed, set(ila[:k30]))
            add("ila-75", data, seed, set(ila[:k75]))
            add("ila-30.rule", data, seed, set(sorted(layers.names, key=lambda name: name[::-1])[:k30]))
            add("first-k", data, seed, set(layers.names[:k30]))
            add("last-k", data, seed, set(layers.names[-k30:]))
            random: set[str] = set()
            for kind, _, _ in KINDS:
                members = [layer.name for layer in layers if layer.kind == kind]
                count = len(set(members) & set(ila[:k30]))
                random |= set(rng.choice(members, count, replace=False).tolist())
            add("matched-random", data, seed, random)
            if study.extra_scorer:
                gradient = rankings[Cell(scorer="gradient-norm", data=data, seed=seed)].ordered()
                add("gradient-30", data, seed, set(gradient[:k30]))
    return found


_GAIN = {
    "all-layers": 1.0,
    "ila-75": 0.99,
    "ila-30": 0.93,
    "gradient-30": 0.9,
    "ila-30.rule": 0.88,
    "matched-random": 0.8,
    "last-k": 0.75,
    "first-k": 0.55,
    "base": 0.0,
}


def _evaluations(path: Path, study: Study, arms: list[str], rng: np.random.Generator) -> None:
    gains = {"hellaswag": 0.02, "arc_easy": 0.0, "mmlu": 0.04}
    difficulty = {task: rng.normal(size=n) for task, n in study.tasks}
    threshold = {task: rng.logistic(size=n) for task, n in study.tasks}
    loss = {name: rng.normal(1.9, 0.4, size=study.heldout) for name in study.names}
    tokens = {name: rng.integers(20, 300, size=study.heldout) for name in study.names}

    def write(cell: Cell, folder: Path) -> None:
        gain = _GAIN[cell.arm or "base"]
        outcomes: list[Outcome] = []
        wobble = 0.0 if cell.arm == "base" else 0.05 * rng.normal()
        for task, n in study.tasks:
            for metric in ("acc", "acc_norm") if task == "hellaswag" else ("acc",):
                logit = difficulty[task] - 0.2 + 8 * gains.get(task, 0.02) * gain + wobble
                solved = logit + 0.25 * rng.normal(size=n) > threshold[task]
                outcomes += [
                    Outcome(
                        task,
                        f"{task}-{i}",
                        metric,
                        float(right),
                        cluster=f"subject-{i % 19}" if task == "mmlu" else None,
                    )
                    for i, right in enumerate(solved)
                ]
        for name in study.names:
            trained_here = 1.0 if cell.data == name else 0.6
            values = loss[name] - 0.35 * gain * trained_here + 0.01 * rng.normal() * (gain > 0)
            values = values + 0.03 * rng.normal(size=study.heldout)
            outcomes += [
                Outcome(f"heldout/{name}", f"{name}-{i}", "loss", float(v), float(tokens[name][i]), f"tree-{i // 2}")
                for i, v in enumerate(values)
            ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "items.jsonl").write_text(jsonl([outcome.to_json() for outcome in outcomes]), encoding="utf-8")
        _json(
            folder / "results.json",
            {
                "tasks": {
                    task: {
                        "n": n,
                        "shots": 0,
                        "split": "test",
                        "prompts": "0123abcd" * 8,
                        "prompt": {
                            "item": "0:a",
                            "texts": [f"Question of {task}\nAnswer:"],
                            "answers": [" yes", " no"],
                        },
                    }
                    for task, n in study.tasks
                }
            },
        )

    root = path / "evaluations"
    write(Cell(arm="base"), root / "base")
    for arm in ("all-layers", *arms):
        for data in study.names:
            for seed in study.seeds:
                write(Cell(arm=arm, data=data, seed=seed), root / arm / data / f"seed-{seed}")


def _metrics(path: Path, study: Study, arms: list[str], rng: np.random.Generator) -> None:
    rows = []
    for data in study.names:
        for seed in study.seeds:
            for cell in (Cell(data=data, seed=seed), *(Cell(arm=arm, data=data, seed=seed) for arm in arms)):
                gain = _GAIN[cell.arm or "all-layers"]
                for step in range(1, study.steps + 1):
                    level = 1.9 - 0.4 * gain * (1 - np.exp(-step / 25)) + 0.06 * rng.normal()
                    rows.append(
                        {
                            "cell": cell.key,
                            "step": step,
                            "loss": float(level),
                            "lr": 1e-4,
                            "tokens": 900,
                            "seconds": 0.2,
                        }
                    )
            for step in range(1, 41):
                key = Cell(scorer="ila", data=data, seed=seed).key
                rows.append({"cell": key, "step": step, "loss": float(1.6 - 0.002 * step + 0.05 * rng.normal())})
    (path / "metrics.jsonl").write_text(jsonl(rows), encoding="utf-8")


def _scores_line(cell: Cell, ranking: Ranking) -> dict[str, Any]:
    return {
        "cell": cell.key,
        "fingerprint": "0" * 64,
        "model": "smollm2-135m",
        "scorer": cell.scorer,
        "data": cell.data,
        "seed": cell.seed,
        "checkpoint": cell.checkpoint,
        **ranking.to_json(),
    }


def _selection_line(cell: Cell, selection: Selection) -> dict[str, Any]:
    return {
        "cell": cell.key,
        "fingerprint": "0" * 64,
        "arm": cell.arm,
        "data": cell.data,
        "seed": cell.seed,
        "layers": list(selection.layers),
        "trained_parameters": selection.parameters,
    }


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps(value, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Any:
    """The JSON value of a file."""
    return json.loads(path.read_text(encoding="utf-8"))
