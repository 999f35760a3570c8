"""A tiny study in a folder: a model, data, and what a training changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from layersig.data.examples import Example, read_examples, write_examples
from layersig.jsonform import jsonl
from layersig.layers import Unit
from layersig.models.adapters import inject_lora, remove_adapter, save_adapter
from layersig.models.adapters.wrappers import ADAPTER, wrapped_layers
from layersig.models.isolation import isolated
from layersig.models.layermap import layer_map
from layersig.models.update_folder import read_update
from layersig.plugin.components import Component
from layersig.recipe.schema import TrainSettings
from layersig.records import Cell, Ranking
from layersig.scoring.context import ScoringContext
from layersig.scoring.stage import checked
from layersig.selecting.context import SelectionContext
from layersig.selecting.stage import checked as checked_selection
from layersig.selecting.stage import selection_of
from layersig.stages.job import Job
from layersig.stages.kinds import Score
from layersig.streams import Streams
from layersig.testing.contents import changed, component_of, model_contents

_VOCABULARY = 64


class TinyStudy:
    """A pretrained model, data, and what a training changed, small enough for a test.

    The model is a Llama of 2 blocks, 14 linear layers and 64 tokens with random weights; the data are 12 random
    sequences, whose first tokens are no targets; the update is a random LoRA of rank 2 on every layer, kept at half and
    at the whole of a training that never took place; another run, of a scorer `places`, ranked the last layer first.

    Attributes:
        model: The model, in eval mode without gradients.
        layers: Its layers.
        examples: The training split.
        update: What the training changed, at its end.
        train: The recipe's `[train]`, with batches of 4 examples.
    """

    def __init__(self, folder: Path, *, dtype: str = "float32", seed: int = 0) -> None:
        """Write the study.

        Args:
            folder: An empty folder.
            dtype: `float32` or `float64`; the latter makes finite differences usable.
            seed: Seed of weights, data and update.
        """
        self._folder, self._dtype = folder, dtype
        generator = torch.Generator().manual_seed(seed)
        self.train = TrainSettings(batch_size=4)
        self.model = _tiny_model(generator).to(getattr(torch, dtype))
        self.model.save_pretrained(folder / "model")
        _tiny_tokenizer().save_pretrained(folder / "model")
        self.layers = layer_map(self.model)
        (folder / "layers").mkdir()
        (folder / "layers" / "layers.json").write_text(json.dumps(self.layers.to_json()), encoding="utf-8")
        (folder / "data").mkdir()
        write_examples(folder / "data", "train", [_example(number, generator) for number in range(12)])
        self.examples = read_examples(folder / "data", "train")
        self._write_rankings()
        self._write_updates(generator)
        self.update = read_update(folder / "reference" / "at-1", self.layers)

    def job(self, component: Component, params: Mapping[str, Any], unit: Unit, seed: int, out: Path) -> Job[Score]:
        """What the score stage of a run would be given; it reads only what the scorer needs."""
        roles = {
            "layers": (True, "layers"),
            "model": (component.computes or "weights" in component.needs, "model"),
            "data": (component.reads_data, "data"),
            "update": ("update" in component.needs, "reference/at-1"),
            "checkpoints": ("checkpoints" in component.needs, "reference"),
            "rankings": ("rankings" in component.needs, f"rankings-{unit}.jsonl"),
        }
        return Job(
            cell=Cell(scorer=component.name),
            spec=Score.of(
                scorer=component.name,
                params=dict(params),
                unit=unit,
                train=self.train.model_dump(),
                dtype=self._dtype,
                device="cpu",
                quantization="none",
                attention="sdpa",
            ),
            inputs={role: self._folder / path for role, (wanted, path) in roles.items() if wanted},
            out=out,
            work=out,
            streams=Streams(0, seed),
            components=(component,),
        )

    def ranking(
        self, target: object, params: Mapping[str, Any] | None = None, *, unit: str = "module", seed: int = 0
    ) -> Ranking:
        """The ranking of a scorer on this study, for comparison with a computation of your own.

        Args:
            target: A function or class decorated with `@scorer`.
            params: Its parameters, as a recipe gives them.
            unit: What a score covers, unless the scorer says so itself.
            seed: Value of the seed axis.

        Raises:
            UserError: The scores do not cover every unit, or are not finite numbers.
            AssertionError: The scorer changed the model or the update.
        """
        component = component_of(target, "scorer")
        unit = Unit(component.unit or unit)
        groups = self.layers.groups(unit)
        with (
            TemporaryDirectory() as out,
            ScoringContext(self.job(component, params or {}, unit, seed, Path(out)), component, groups) as context,
        ):
            before = _contents(context, component)
            scores = component.create().score(context)
            left = changed(before, _contents(context, component))
            assert not left, f"{component.label} changed {left[0]} and did not put it back"
        return checked(component, unit, [group.name for group in groups], scores)

    def selection(
        self,
        target: object,
        params: Mapping[str, Any] | None = None,
        *,
        rankings: Sequence[Mapping[str, float]] = (),
        like: Sequence[str] | None = None,
        unit: str = "module",
        seed: int = 0,
    ) -> tuple[str, ...]:
        """The layers that a policy selects on this study, in model order.

        Args:
            target: A function or class decorated with `@policy`.
            params: Its parameters, as a recipe gives them.
            rankings: What the policy reads: scores by name of the unit.
            like: Layers that the arm named by the parameter `like` selected.
            unit: What a score covers.
            seed: Value of the seed axis.

        Raises:
            UserError: The policy chose nothing, or names that are no units of the model.
        """
        component = component_of(target, "policy")
        groups = self.layers.groups(Unit(unit))
        context = SelectionContext(
            groups=groups,
            rankings={f"scorer-{number}/data": Ranking(Unit(unit), scores) for number, scores in enumerate(rankings)},
            like=None if like is None else selection_of(self.layers, self.layers.groups(Unit.MODULE), frozenset(like)),
            streams=Streams(0, seed),
            params=component.parse(params or {}),
        )
        chosen = checked_selection(component, groups, component.create().select(context))
        return selection_of(self.layers, groups, chosen).layers

    def _write_rankings(self) -> None:
        for unit in Unit:
            names = [group.name for group in self.layers.groups(unit)]
            line = {"scorer": "places", "data": None, "seed": None}
            ranking = Ranking(unit, {name: float(place) for place, name in enumerate(names)})
            (self._folder / f"rankings-{unit}.jsonl").write_text(jsonl([{**line, **ranking.to_json()}]), "utf-8")

    def _write_updates(self, generator: torch.Generator) -> None:
        adapted = inject_lora(self.model, list(self.layers), rank=2, alpha=2, dropout=0.0, streams=Streams(0))
        factors = [
            (each.lora_A[ADAPTER].weight, each.lora_B[ADAPTER].weight) for each in wrapped_layers(self.model).values()
        ]
        for a, _ in factors:
            a.data.normal_(std=0.2, generator=generator)
        ends = [torch.empty_like(b).normal_(std=0.2, generator=generator) for _, b in factors]
        for fraction in (0.5, 1.0):
            for (_, b), end in zip(factors, ends, strict=True):
                b.data.copy_(fraction * end)
            save_adapter(adapted, self._folder / "reference" / f"at-{fraction:g}", base_model="tiny", revision=None)
        remove_adapter(adapted)


def _contents(context: ScoringContext, component: Component) -> dict[str, Any]:
    """Everything that a scorer must leave as it was."""
    found = model_contents(context.model) if component.computes else {}
    updates = {"update": context.update} if "update" in component.needs else {}
    if "checkpoints" in component.needs:
        updates |= {f"checkpoint {fraction:g}": update for fraction, update in context.checkpoints.items()}
    for title, update in updates.items():
        for layer in update.layers:
            found[f"the {title} of {layer}"] = update.delta(layer).dense()
    return found


def _tiny_model(generator: torch.Generator) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    with isolated(0):
        model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            # Wider than usual, so that every layer has a visible effect on the loss.
            parameter.data.normal_(std=0.2, generator=generator)
    return model.eval().requires_grad_(False)


def _tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = {"<pad>": 0, "<unk>": 1, **{f"w{number}": number for number in range(2, _VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


def _example(number: int, generator: torch.Generator) -> Example:
    length = 8 + number % 3 * 2
    tokens = torch.randint(2, _VOCABULARY, (length,), generator=generator).numpy().astype(np.int32)
    return Example(f"example-{number}", f"group-{number}", tokens, np.arange(length) >= 3)
