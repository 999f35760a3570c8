"""Random pairs, and the loss of a preference as one would write it with torch and transformers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from layersig.data.examples import Example, Examples, read_examples, write_examples
from layersig.data.pairs import REJECTED, Pairs, write_before
from layersig.objectives import learnt, objective_of
from layersig.recipe.schema import TrainSettings
from tests.tiny import SPECIAL_TOKENS, VOCABULARY

DPO = {"beta": 0.3, "label_smoothing": 0.1}
SIMPO = {"beta": 2.0, "gamma": 0.7}


def sides(count: int = 8, *, longest: int = 20, seed: int = 5) -> tuple[list[Example], list[Example]]:
    """Prompts with chosen and with rejected responses of uneven lengths; targets are the responses."""
    rng = np.random.default_rng(seed)
    found: tuple[list[Example], list[Example]] = ([], [])
    for number in range(count):
        prompt = rng.integers(len(SPECIAL_TOKENS), VOCABULARY, rng.integers(2, longest // 2))
        for side, ending in zip(found, ("", REJECTED), strict=True):
            response = rng.integers(len(SPECIAL_TOKENS), VOCABULARY, rng.integers(1, longest // 2))
            tokens = np.concatenate([prompt, response]).astype(np.int32)
            targets = np.arange(len(tokens)) >= len(prompt)
            side.append(Example(f"pair-{number}{ending}", f"group-{number}", tokens, targets))
    return found


def write_pairs(folder: Path, count: int = 8, *, split: str = "train", seed: int = 5) -> Path:
    """A folder as the data stage leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending, side in zip(("", REJECTED), sides(count, seed=seed), strict=True):
        write_examples(folder, f"{split}{ending}", side)
    return folder


def pairs(folder: Path, model: nn.Module, objective: str, params: dict[str, Any], *, count: int = 8) -> Pairs:
    """The pairs of `sides` as trainings read them, compared with `model` where the objective reads a reference."""
    inputs = {"data": write_pairs(folder / "data", count)}
    if "reference" in objective_of(objective, ()).reads:
        inputs["untouched"] = folder / "untouched"
        write_untouched(inputs["untouched"], inputs["data"], model)
    settings = TrainSettings.model_validate({"objective": objective, objective: params}, strict=False)
    found = learnt(settings, inputs, "train")
    assert isinstance(found, Pairs)
    return found


def write_untouched(folder: Path, data: Path, model: nn.Module, split: str = "train") -> None:
    """What the stage `untouched` leaves, by a model's own forward on one sequence at a time."""
    folder.mkdir(exist_ok=True)
    with torch.no_grad():
        found = [
            [float(log_probability(model, each)) for each in read_examples(data, f"{split}{ending}")]
            for ending in ("", REJECTED)
        ]
    write_before(folder, split, np.array(found, np.float64).T)


def log_probability(model: nn.Module, example: Example) -> Tensor:
    """Sum over the targets of their log-probability, by the model's own forward."""
    tokens = torch.from_numpy(example.tokens.astype("int64"))
    logits = model(input_ids=tokens[None]).logits[0]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    where = torch.from_numpy(example.targets.copy()).nonzero().flatten()
    return (logits[where - 1].gather(1, tokens[where, None])[:, 0] - logits[where - 1].logsumexp(1)).sum()


def dpo_loss(
    policy: Callable[[Example], Tensor], reference: Callable[[Example], Tensor], chosen: Sequence[Example],
    rejected: Sequence[Example], beta: float, label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Equation 7 of arXiv 2305.18290, with smoothed labels: softplus in place of -log sigmoid."""
    losses = []
    for better, worse in zip(chosen, rejected, strict=True):
        ratio = policy(better) - policy(worse)
        margin = beta * (ratio - (reference(better) - reference(worse)).detach())
        softplus = nn.functional.softplus
        losses.append((1 - label_smoothing) * softplus(-margin) + label_smoothing * softplus(margin))
    return torch.stack(losses).mean()


def simpo_loss(
    policy: Callable[[Example], Tensor], chosen: Sequence[Example], rejected: Sequence[Example],
    beta: float, gamma: float,
) -> Tensor:  # fmt: skip
    """Equation 6 of arXiv 2405.14734."""
    margins = [
        beta * (policy(better) / better.targets.sum() - policy(worse) / worse.targets.sum()) - gamma
        for better, worse in zip(chosen, rejected, strict=True)
    ]
    return nn.functional.softplus(-torch.stack(margins)).mean()


def part(examples: Examples, batch: Sequence[int]) -> list[Example]:
    """Some examples."""
    return [examples[index] for index in batch]
