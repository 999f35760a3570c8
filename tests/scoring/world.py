"""A job for one scorer on a tiny model, with data and an update of the test's own making."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layersig.data.examples import Example, write_examples
from layersig.layers import Unit
from layersig.models.adapters import inject_lora, remove_adapter, save_adapter
from layersig.models.adapters.wrappers import ADAPTER, wrapped_layers
from layersig.models.layermap import layer_map
from layersig.plugin.manager import installed
from layersig.recipe.schema import TrainSettings
from layersig.records import Cell, Ranking
from layersig.scoring.stage import score
from layersig.stages.job import Job
from layersig.stages.kinds import Score
from layersig.streams import Streams
from tests.tiny import tiny_model, tiny_tokenizer


class World:
    """One tiny model on disk and what scorers may read about it."""

    def __init__(self, root: Path, architecture: str = "llama", *, dtype: str = "float32", **model: Any) -> None:
        self.root = root
        self.dtype = dtype
        self.model = tiny_model(architecture, dtype=getattr(torch, dtype), **model)
        self.layers = layer_map(self.model)
        self.model.save_pretrained(root / "model")
        tiny_tokenizer().save_pretrained(root / "model")
        (root / "layers").mkdir()
        (root / "layers" / "layers.json").write_text(json.dumps(self.layers.to_json()))

    def write_data(self, rows: Sequence[Sequence[int]], targets_from: int = 1) -> None:
        """Training examples, every token from `targets_from` on a target."""
        examples = [
            Example(f"e{number}", f"g{number}", np.array(row, np.int32), np.arange(len(row)) >= targets_from)
            for number, row in enumerate(rows)
        ]
        (self.root / "data").mkdir(exist_ok=True)
        write_examples(self.root / "data", "train", examples)

    def write_update(self, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """An adapter folder with these factors: (b, a) by layer, Delta = b @ a."""
        rank = next(iter(factors.values()))[1].shape[0]
        keep = [self.layers.by_name[name] for name in factors]
        adapted = inject_lora(self.model, keep, rank=rank, alpha=rank, dropout=0.0, streams=Streams(0))
        for name, wrapper in wrapped_layers(self.model).items():
            b, a = factors[name]
            wrapper.lora_A[ADAPTER].weight.data.copy_(a)
            wrapper.lora_B[ADAPTER].weight.data.copy_(b)
        save_adapter(adapted, self.root / "update", base_model="tiny", revision=None)
        remove_adapter(adapted)

    def job(
        self, scorer: str, params: Mapping[str, Any], *, unit: Unit = Unit.MODULE, seed: int = 0, **train: Any
    ) -> Job:
        """A job whose output is in a folder of its own."""
        out = self.root / f"out-{len(list(self.root.glob('out-*')))}"
        work = self.root / out.name.replace("out", "work")
        out.mkdir()
        work.mkdir()
        settings = TrainSettings(batch_size=4, micro_batch_tokens=4096).model_copy(update=train)
        return Job(
            cell=Cell(scorer=scorer),
            spec=Score.of(
                scorer=scorer,
                params=params,
                unit=unit,
                train=settings.model_dump(),
                dtype=self.dtype,
                device="cpu",
                quantization="none",
                attention="sdpa",
            ),
            inputs={name: self.root / name for name in ("model", "layers", "data", "update", "rankings")},
            out=out,
            work=work,
            streams=Streams(0, seed),
            components=(installed().get("scorer", scorer),),
        )

    def ranking(self, scorer: str, params: Mapping[str, Any], **more: Any) -> Ranking:
        """What the score stage writes."""
        job = self.job(scorer, params, **more)
        score(job)
        return Ranking.from_json(json.loads((job.out / "ranking.json").read_text()))


def low_rank(shape: tuple[int, ...], rank: int, norm: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random factors (b, a) whose product has the given Frobenius norm."""
    b = torch.randn(shape[0], rank, generator=generator)
    a = torch.randn(rank, shape[1], generator=generator)
    size = torch.linalg.matrix_norm(b @ a)
    return b * (norm / size), a
