"""The rules that every tuning method must keep."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from layersig.data.batches import optimizer_batches
from layersig.fast.runner import Workload
from layersig.layers import Layer
from layersig.models.adapters import attach_adapter
from layersig.models.dense import read_dense, write_checkpoint
from layersig.models.isolation import isolated
from layersig.models.layermap import layer_weight
from layersig.models.update_folder import read_update
from layersig.plugin.components import Component
from layersig.recipe.schema import TrainSettings
from layersig.streams import Streams
from layersig.testing.contents import changed, check_parameters, component_of, model_contents
from layersig.testing.study import TinyStudy
from layersig.training.checkpoint import Checkpoints
from layersig.training.loop import train
from layersig.training.methods import Base, Tuning, tuned
from layersig.training.optimization import Optimization

_STEPS, _INTERRUPTED = 6, 3
_STREAMS = Streams(0, 0)


def check_method(
    target: object, params: Mapping[str, Any] | None = None, *, settings: Mapping[str, Any] | None = None
) -> None:
    """Check on a tiny model that a tuning method keeps the rules.

    Its parameters parse, unknown ones are refused, and they have a JSON schema. It counts what it trains. Some layers
    are trained for a few steps: what is saved reads back as the change of exactly those layers, the model with that
    change computes what the tuned one does, and so does what plain PEFT or transformers makes of it. The training gives
    the same bytes twice, whatever the global random generators hold, and when it is interrupted. A layer starts the
    same whichever others are tuned. Afterwards the model is bit for bit as before.

    Args:
        target: A class decorated with `@method`.
        params: Its parameters, as `[train.NAME]` gives them.
        settings: Other keys of `[train]`, such as a learning rate at which the method moves within six steps.

    Raises:
        pydantic.ValidationError: `params` are refused.
        UserError: What a run would refuse.
        StageFailed: A selected layer did not move, or something else did.
        AssertionError: Any other rule is broken; the message says which.
    """
    component, given = component_of(target, "method"), dict(params or {})
    check_parameters(component, given)
    with TemporaryDirectory() as folder:
        _Check(Path(folder), component, given, settings or {}).run()


class _Check:
    """A tuning method on a tiny study."""

    def __init__(self, folder: Path, method: Component, params: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        (folder / "study").mkdir()
        self.folder, self.method = folder, method
        self.study = TinyStudy(folder / "study")
        keys = {"rank": 2, "batch_size": 4, "learning_rate": 1e-2, "warmup_ratio": 0.0, **settings}
        own = {method.name: dict(params)} if params else {}
        self.settings = TrainSettings.model_validate({**keys, **own, "method": method.name}, strict=False)
        self.batches = optimizer_batches(self.study.examples, batch_size=4, steps=_STEPS, streams=_STREAMS)
        self.chosen = [self.study.layers[1], self.study.layers[5], self.study.layers[12]]

    def run(self) -> None:
        label, before = self.method.label, model_contents(self.study.model)
        with isolated(1), self.tuned(self.chosen) as tuning:
            starts = {name: value.detach().clone() for name, value in tuning.parameters.items()}
            self.counts(tuning)
            self.train(tuning, self.folder / "first")
            self.computes(tuning)
        left = changed(before, model_contents(self.study.model))
        assert not left, f"{label} changed {left[0]} and did not put it back"
        with isolated(2), self.tuned(self.chosen) as tuning:
            self.train(tuning, self.folder / "second")
        with self.tuned(self.chosen) as tuning:
            self.train(tuning, self.folder / "third", last=_INTERRUPTED)
        with self.tuned(self.chosen) as tuning:
            self.train(tuning, self.folder / "third")
        first, second, third = (_digests(self.folder / name / "update") for name in ("first", "second", "third"))
        assert first == second, f"{label} gave two results for one seed; draw from `context.streams`"
        assert first == third, f"{label} ends elsewhere after an interruption; give all it remembers in `state`"
        with self.tuned(list(self.study.layers)) as tuning:
            for name, start in starts.items():
                same = name in tuning.parameters and torch.equal(tuning.parameters[name], start)
                assert same, f"{label}: {name} starts otherwise when other layers are tuned too; seed it by its layer"

    @contextmanager
    def tuned(self, layers: Sequence[Layer]) -> Iterator[Tuning]:
        with tuned(
            self.study.model,
            layers,
            self.settings,
            base=Base("tiny"),
            steps=_STEPS,
            streams=_STREAMS,
            examples=self.study.examples,
            batches=self.batches,
            components=(self.method,),
        ) as tuning:
            yield tuning

    def counts(self, tuning: Tuning) -> None:
        """Whether every parameter belongs to a chosen layer, and `trained_values` counts them."""
        counted, label = self.method.create(), self.method.label
        owners = {name: [each for each in self.chosen if each.name in name] for name in tuning.parameters}
        strays = [name for name, found in owners.items() if len(found) != 1]
        assert not strays, f"{label}: the name of the parameter {strays[0]} must hold that of its layer"
        for layer in self.chosen:
            values = sum(value.numel() for name, value in tuning.parameters.items() if layer in owners[name])
            told = counted.trained_values(layer, self.settings)
            assert told == values, f"{label} trains {values} values of {layer.name}, and `trained_values` says {told}"

    def train(self, tuning: Tuning, work: Path, last: int | None = None) -> None:
        """Train from where `work` stopped; at the end prove what moved, and save."""
        work.mkdir(exist_ok=True)
        load = Workload(tuning.model, tuning.parameters, self.study.examples, self.batches, self.settings, _STREAMS)
        train(load, Optimization.of(self.settings), [tuning, Checkpoints(work, tuning)], last=last)
        if last is None:
            tuning.assert_moved()
            tuning.save(work / "update")

    def computes(self, tuning: Tuning) -> None:
        """Whether what was saved computes what the tuned model does, in layersig and in plain libraries."""
        label, saved = self.method.label, self.folder / "first" / "update"
        tuning.model.eval()
        expected = self.logits(tuning.model)
        plain = AutoModelForCausalLM.from_pretrained(self.folder / "study" / "model")
        assert not torch.allclose(self.logits(plain), expected, rtol=1e-3), f"{label} changed nothing that shows"
        if self.method.result == "adapter":
            with attach_adapter(plain, saved) as attached:
                found = self.logits(attached)
        else:
            layers, folder = self.study.layers, self.folder / "checkpoint"
            write_checkpoint(plain, layers, read_dense(saved, layers), self.folder / "study" / "model", folder)
            found = self.logits(AutoModelForCausalLM.from_pretrained(folder))
        _assert_close(found, expected, f"{label}: what it saved does not compute what the tuned model does")
        if "update" not in self.method.cannot:
            update = read_update(saved, self.study.layers, lambda: plain)
            names = {layer.name for layer in self.chosen}
            assert set(update.layers) == names, f"{label} saved a change of {sorted({*update.layers} ^ names)}"
            for layer in self.chosen:
                delta = update.delta(layer.name).dense()
                layer_weight(plain, layer).data.add_(delta)
            _assert_close(self.logits(plain), expected, f"{label}: the update that it saved is not the change it made")

    def logits(self, model: PreTrainedModel) -> Tensor:
        tokens = torch.tensor([self.study.examples[0].tokens.tolist()])
        with torch.no_grad():
            logits: Tensor = model(tokens).logits
        return logits


def _assert_close(found: Tensor, expected: Tensor, message: str) -> None:
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max(), message


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
