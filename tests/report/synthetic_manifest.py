"""The manifest and the reports on data of a made-up run."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.report.studies import Study


def manifest_of(study: Study, arms: list[str], rng: np.random.Generator) -> dict[str, Any]:
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
        "argv": ["run", "recipes/synthetic.toml"],
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


def data_report(study: Study, name: str) -> dict[str, Any]:
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


def overlap_report(study: Study) -> dict[str, Any]:
    def grams(items: int, hits: int) -> dict[str, Any]:
        ids = [f"item-{number}" for number in range(hits)]
        return {"hits": hits, "share": hits / items, "too_short": 0, "covered": 0, "ids": ids}

    found = {task: {"items": n, "ngrams": {"13": grams(n, 2), "8": grams(n, 3)}} for task, n in study.tasks}
    heldout = {"items": study.heldout, "ngrams": {"13": grams(study.heldout, 0), "8": grams(study.heldout, 1)}}
    return {**found, "heldout": heldout}
