"""The rules that every objective must keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from layersig.data.examples import Example, Examples, write_examples
from layersig.data.pairs import REJECTED, Items, Pairs, Scored, write_before
from layersig.fast.runner import reading_runner
from layersig.models.isolation import isolated
from layersig.objectives import PairObjective
from layersig.plugin.components import Component
from layersig.testing.contents import changed, check_parameters, component_of, model_contents
from layersig.testing.study import TinyStudy

_PAIRS = {"train": 6, "heldout": 4}
_TOKENS = range(2, 64)  # words of the tiny tokenizer
_BUDGET = 4096


def check_objective(target: object, params: Mapping[str, Any] | None = None) -> None:
    """Check on a tiny model that an objective keeps the rules.

    Its parameters parse, unknown ones are refused, and they have a JSON schema. Of each side of the split it gives the
    items of that side. Their loss is finite, the same twice, whatever the global random generators hold, and that of a
    batch is the mean over its items, so that a batch can be cut; the model is left bit for bit as it was. An objective
    of pairs derives from `PairObjective`: loss and margin have a value for every pair, the margin never falls when the
    chosen response becomes likelier or the rejected one less so, and a pair without a preference is pushed towards the
    chosen response.

    Args:
        target: A class decorated with `@objective`.
        params: Its parameters, as `[train.NAME]` gives them.

    Raises:
        pydantic.ValidationError: `params` are refused.
        AssertionError: Any other rule is broken; the message says which.
    """
    component, given = component_of(target, "objective"), dict(params or {})
    check_parameters(component, given)
    with TemporaryDirectory() as folder:
        _Check(Path(folder), component, given).run()


class _Check:
    """An objective on a tiny model and random pairs."""

    def __init__(self, folder: Path, component: Component, given: Mapping[str, Any]) -> None:
        (folder / "study").mkdir()
        self.model = TinyStudy(folder / "study", dtype="float64").model
        self.component, self.params = component, component.parse(given)
        self.label, self.of_pairs = component.label, "pairs" in component.reads
        self.data, self.untouched = folder / "pairs", folder / "untouched"
        for path in (self.data, self.untouched):
            path.mkdir()
        rng = np.random.default_rng(0)
        for split, count in _PAIRS.items():
            for ending, side in zip(("", REJECTED), _responses(split, count, rng), strict=True):
                write_examples(self.data, f"{split}{ending}", side)
            write_before(self.untouched, split, rng.normal(-30, 3, (count, 2)))

    def run(self) -> None:
        before = model_contents(self.model)
        for split, count in _PAIRS.items():
            items = self.items(split)
            with isolated(1):
                whole, *singles = self.losses(items)
            with isolated(2):
                assert self.losses(self.items(split)) == [whole, *singles], (
                    f"{self.label} gave two losses for one batch; it must not draw random numbers"
                )
            assert all(map(math.isfinite, singles)), f"{self.label} gave a loss that is not finite"
            mean = float(np.average(singles, weights=items.weights))
            assert math.isclose(whole, mean, rel_tol=1e-9), (
                f"{self.label}: the loss of {count} items is {whole:.6g}, and the mean of theirs {mean:.6g}; the loss "
                "of an item must not depend on the others in its batch"
            )
        left = changed(before, model_contents(self.model))
        assert not left, f"{self.label} changed {left[0]} and did not put it back"
        if self.of_pairs:
            self.prefers()

    def items(self, split: str) -> Items:
        """What a training reads of a side of the split."""
        untouched = self.untouched if "reference" in self.component.reads else None
        items: Items = self.component.create().examples(self.params, self.data, split, untouched)
        wanted = Pairs if self.of_pairs else Examples
        assert isinstance(items, wanted), (
            f"{self.label} must read {wanted.__name__}, as its `reads` say, and not {type(items).__name__}"
        )
        read = items.chosen.ids if isinstance(items, Pairs) else items.ids
        assert read == _ids(split, _PAIRS[split]), f"{self.label} reads other items than those of {split!r}"
        return items

    def losses(self, items: Items) -> list[float]:
        """Loss of the batch of all items, and of each in a batch of its own."""
        every = list(range(len(items)))
        with reading_runner(self.model, items, _BUDGET) as runner:
            return runner.losses([every, *([index] for index in every)])

    def prefers(self) -> None:
        """Whether margin and loss go the right way."""
        assert isinstance(self.component.implementation, type)
        assert issubclass(self.component.implementation, PairObjective), (
            f"{self.label} reads pairs, so it must derive from `layersig.objectives.PairObjective`: held-out pairs are "
            "measured by its margin"
        )
        objective, rng = self.component.create(), np.random.default_rng(1)
        shape = (_PAIRS["train"],)
        drawn = Scored(*(torch.from_numpy(rng.normal(-30, 3, shape)) for _ in range(4)), *_lengths(7, 11, shape))
        level = Scored(*(torch.full(shape, -30.0, dtype=torch.float64) for _ in range(4)), *_lengths(9, 9, shape))
        for pairs in (drawn, level):
            chosen, rejected = (side.requires_grad_() for side in pairs[:2])
            margin = objective.margin(self.params, pairs)
            loss = objective.loss(self.params, margin)
            for name, found in (("margin", margin), ("loss", loss)):
                assert found.shape == shape, f"{self.label}: `{name}` must give a value for every pair"
            up, down = torch.autograd.grad(
                margin.sum(), (chosen, rejected), retain_graph=True, allow_unused=True, materialize_grads=True
            )
            assert (up >= 0).all(), f"{self.label}: the margin falls when the chosen response becomes likelier"
            assert (down <= 0).all(), f"{self.label}: the margin grows when the rejected response becomes likelier"
        # That of the pairs whose responses are equally likely.
        (push,) = torch.autograd.grad(loss.sum(), chosen, allow_unused=True, materialize_grads=True)
        assert (push < 0).all(), (
            f"{self.label}: where both responses are equally likely, the loss must fall when the chosen one becomes "
            "likelier"
        )


def _lengths(chosen: int, rejected: int, shape: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.full(shape, count, dtype=torch.float64) for count in (chosen, rejected)]


def _ids(split: str, count: int) -> tuple[str, ...]:
    return tuple(f"{split}-{number}" for number in range(count))


def _responses(split: str, count: int, rng: np.random.Generator) -> tuple[Sequence[Example], Sequence[Example]]:
    """Random prompts with chosen, and with rejected responses, of uneven lengths."""
    found: tuple[list[Example], list[Example]] = ([], [])
    for identity in _ids(split, count):
        prompt = rng.choice(_TOKENS, rng.integers(2, 6))
        for side, ending in zip(found, ("", REJECTED), strict=True):
            tokens = np.concatenate([prompt, rng.choice(_TOKENS, rng.integers(2, 8))]).astype(np.int32)
            targets = np.arange(len(tokens)) >= len(prompt)
            side.append(Example(f"{identity}{ending}", f"group-{identity}", tokens, targets))
    return found
