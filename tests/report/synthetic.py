"""A run folder such as a finished study leaves behind, made from seeded noise instead of a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layersig.jsonform import dumps, jsonl
from layersig.layers import Layer, LayerMap, Part, Unit
from layersig.recipe.schema import Recipe
from layersig.records import Cell, Outcome, Ranking, Selection

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


@dataclass(frozen=True)
class Study:
    """What the synthetic run contains.

    Attributes:
        blocks: Blocks of the model.
        data: Labels of the data sets; `declared>used` for one that was replaced by its fallback.
        seeds: Values of the seed axis.
        tasks: Items of each benchmark task.
        heldout: Held-out conversations of each data set.
        extra_scorer: Adds a fifth model-dependent scorer and an arm for it.
        prefix: Start of every layer name.
        checkpoints: Earlier fractions of the reference training at which ILA scores too.
        steps: Steps of every training.
        declared: Whether the evaluations came after the declaration.
    """

    blocks: int = 30
    data: tuple[str, ...] = ("norobots", "lima")
    seeds: tuple[int, ...] = (0, 1, 2)
    tasks: tuple[tuple[str, int], ...] = (("hellaswag", 200), ("arc_easy", 150), ("mmlu", 285))
    heldout: int = 60
    extra_scorer: bool = False
    prefix: str = "model.layers"

    checkpoints: tuple[float, ...] = ()
    steps: int = 120
    declared: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the data sets in the recipe."""
        return tuple(label.partition(">")[0] for label in self.data)


def recipe_of(study: Study) -> Recipe:
    """The recipe that would have made the run."""
    scorers: dict[str, Any] = {
        "ila": {"kind": "ila"},
        "gradient-norm": {"kind": "gradient-norm"},
        "random": {"kind": "random"},
        "first-k": {"kind": "first-k"},
        "last-k": {"kind": "last-k"},
    }
    arms: list[dict[str, Any]] = [
        {"name": "ila-30", "scorer": "ila", "select": {"kind": "top", "fraction": 0.3}},
        {"name": "ila-75", "scorer": "ila", "select": {"kind": "top", "fraction": 0.75}},
        {"name": "matched-random", "select": {"kind": "matched-random", "like": "ila-30"}},
        {"name": "ila-30.rule", "scorer": "ila", "select": {"kind": "type-depth", "like": "ila-30"}},
        {"name": "first-k", "scorer": "first-k", "select": {"kind": "top", "fraction": 0.3}},
        {"name": "last-k", "scorer": "last-k", "select": {"kind": "top", "fraction": 0.3}},
    ]
    for checkpoint in study.checkpoints:
        scorers[f"ila-at-{checkpoint:g}"] = {"kind": "ila", "checkpoint": checkpoint}
    if study.extra_scorer:
        arms.append({"name": "gradient-30", "scorer": "gradient-norm", "select": {"kind": "top", "fraction": 0.3}})
    return Recipe.model_validate(
        {
            "name": "synthetic",
            "description": "Which layers of a small Llama matter for instruction tuning?",
            "seeds": study.seeds,
            "model": {"source": "pypi:smollm2-135m"},
            "data": tuple({"name": name, "source": f"hub:example/{name}"} for name in study.names),
            "scorers": scorers,
            "arms": tuple(arms),
            "evaluate": {"tasks": tuple({"source": task} for task, _ in study.tasks)},
        },
        strict=False,
    )


def write_run(path: Path, study: Study = Study(), seed: int = 7) -> Recipe:
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
        _json(path / "data" / f"{name}.json", _data_report(study, name))
        _json(path / "overlap" / f"{name}.json", _overlap(study))
    _json(path / "manifest.json", _manifest(study, [arm.name for arm in recipe.arms], rng))
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


def _manifest(study: Study, arms: list[str], rng: np.random.Generator) -> dict[str, Any]:
    stages: list[dict[str, Any]] = [{"id": "model", "kind": "model", "cell": {}, "tokens": 0, "seconds": 11.2}]
    stages += [{"id": f"data/{name}", "kind": "data", "cell": {"data": name}, "seconds": 1.4} for name in study.names]
    for data in study.names:
        for seed in study.seeds:
            cell = {"data": data, "seed": seed}
            stages.append({"id": f"train/{data}/seed-{seed}", "kind": "reference", "cell": cell, "tokens": 108_000})
            stages.append(
                {
                    "id": f"score/ila/{data}/seed-{seed}",
                    "kind": "score",
                    "cell": {"scorer": "ila", **cell},
                    "tokens": 36_000,
                }
            )
            for arm in arms:
                stages.append(
                    {
                        "id": f"tune/{arm}/{data}/seed-{seed}",
                        "kind": "tune",
                        "cell": {"arm": arm, **cell},
                        "tokens": 108_000,
                    }
                )
            for arm in ("all-layers", *arms):
                stages.append(
                    {
                        "id": f"evaluate/{arm}/{data}/seed-{seed}",
                        "kind": "evaluate",
                        "cell": {"arm": arm, **cell},
                        "tokens": 240_000,
                        "declared": study.declared,
                    }
                )
    for stage in stages:
        stage |= {
            "fingerprint": f"{rng.integers(2**60):016x}" * 4,
            "cached": bool(rng.uniform() < 0.2),
            "status": "done",
            "warnings": [],
        }
        stage.setdefault("seconds", float(rng.uniform(5, 60)))
        stage.setdefault("peak_memory", int(rng.uniform(1.0, 2.4) * 2**30))
    model = {
        "node": "source/model",
        "role": "model",
        "name": "smollm2",
        "spec": "pypi:smollm2-135m",
        "resolved": "pypi:smollm2-135m",
        "label": "smollm2-135m",
        "fallback": False,
        "revision": "0.1.2",
        "digest": "ab" * 32,
        "licence": "Apache-2.0",
        "notes": ["The model is already instruction-tuned."],
    }
    sources = [model, *(_source(label) for label in study.data)]
    fallback = any(source["fallback"] for source in sources)
    return {
        "schema": 1,
        "name": "synthetic",
        "id": "3f9c1a7e2b40",
        "status": "complete-on-fallback" if fallback else "complete",
        "started": "2026-11-22T04:01:11+00:00",
        "finished": "2026-11-22T04:13:40+00:00",
        "argv": ["layersig", "run", "recipes/synthetic.toml"],
        "smoke": False,
        "versions": {
            "layersig": "0.1.0",
            "python": "3.11.2",
            "torch": "2.13.0",
            "transformers": "5.23.0",
            "peft": "0.21.2",
            "lm-eval": "0.4.13",
        },
        "packages": {
            "layersig": "0.1.0",
            "lm-eval": "0.4.13",
            "peft": "0.21.2",
            "torch": "2.13.0",
            "transformers": "5.23.0",
        },
        "machine": {
            "device": "cpu",
            "dtype": "float32",
            "cpu": "Example CPU",
            "cores": 2,
            "memory_gib": 23.4,
            "platform": "Linux",
        },
        "root_seed": 0,
        "seeds": list(study.seeds),
        "sources": sources,
        "stages": stages,
        "warnings": ["data lima: 3 conversations were cut to 512 tokens"],
    }


def _source(label: str) -> dict[str, Any]:
    declared, arrow, used = label.partition(">")
    return {
        "node": f"source/data/{declared}",
        "role": "data",
        "name": declared,
        "spec": f"hub:example/{declared}",
        "resolved": f"pypi:{used}" if arrow else f"hub:example/{declared}",
        "label": label,
        "fallback": bool(arrow),
        "revision": None if arrow else "9f2c1e",
        "digest": "cd" * 32,
        "licence": "CC BY-NC 4.0",
        "notes": [],
    }


def _data_report(study: Study, name: str) -> dict[str, Any]:
    side = {"conversations": 1000, "tokens": 310_000, "target_tokens": 190_000, "longest": 512, "truncated": 21}
    return {
        "rows": 1200,
        "shape": "messages",
        "duplicates": 14,
        "max_tokens": 512,
        "template": "model",
        "template_sha256": "ab" * 32,
        "train": side,
        "heldout": {**side, "conversations": study.heldout},
        "example": [
            {
                "text": f"<|im_start|>user\nWrite a <b>poem</b> for {name}.<|im_end|>\n<|im_start|>assistant\n",
                "target": False,
            },
            {"text": "Roses are red.<|im_end|>", "target": True},
        ],
    }


def _overlap(study: Study) -> dict[str, Any]:
    def grams(items: int, hits: int) -> dict[str, Any]:
        ids = [f"item-{number}" for number in range(hits)]
        return {"hits": hits, "share": hits / items, "too_short": 0, "covered": 0, "ids": ids}

    found = {task: {"items": n, "ngrams": {"13": grams(n, 2), "8": grams(n, 3)}} for task, n in study.tasks}
    heldout = {"items": study.heldout, "ngrams": {"13": grams(study.heldout, 0), "8": grams(study.heldout, 1)}}
    return {**found, "heldout": heldout}


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
