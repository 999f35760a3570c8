"""Memory of a stage at its peak, from shapes: weights, what is trained and its moments, and what passes keep."""

from __future__ import annotations

from collections.abc import Iterable

from layersig.layers import Layer
from layersig.pipeline import Stage
from layersig.planning.facts import Facts
from layersig.planning.passes import Passes
from layersig.planning.trainings import settings_of
from layersig.recipe.schema import AUTO_BATCH_ON_CPU, AUTO_TOKENS_ON_CPU, LEAST_AUTO_TOKENS, TokenBudget, TrainSettings
from layersig.stages.kinds import Generate, Graft, Patch, Prune, Score, Training, Untouched
from layersig.stages.measurements import Answer, Evaluate
from layersig.stages.spec import ModelSpec
from layersig.training.footprint import state_bytes

_PROGRAM = 0.8 * 2**30
"""Bytes of a run without a model: Python with torch, transformers and PEFT, and what allocators keep between stages."""
_KEPT = 3.0
"""Numbers kept for the backward pass, in multiples of the hidden states and outputs of a block's linear layers."""


def gib(size: float) -> str:
    """A number of bytes for people."""
    for unit, bytes_ in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size:.0f} B"


def available(facts: Facts) -> float:
    """Bytes that are free on the device of the recipe."""
    import psutil
    import torch

    from layersig.models.devices import pick_device

    device = pick_device(facts.recipe.model.device)
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)


def weights_bytes(facts: Facts) -> float:
    """Bytes of the weights of the model as the recipe holds them."""
    assert facts.shapes is not None
    each = 0.55 if facts.recipe.model.quantization == "nf4" else float(facts.width)
    return facts.shapes.stored * each


def peak(facts: Facts, stage: Stage, asked: Passes) -> float | None:
    """Bytes that a stage holds at its peak, the program included where the device is the CPU.

    Args:
        facts: What is known.
        stage: The stage.
        asked: What it asks of the model.

    Returns:
        None where the shapes of the model are not known.
    """
    spec = stage.spec
    if not isinstance(spec, ModelSpec | Graft | Prune) or (isinstance(spec, Score) and not stage.computes):
        return 0.0
    if facts.shapes is None:
        return None
    held = weights_bytes(facts) + (_PROGRAM if _on_cpu(facts) else 0.0)
    if isinstance(spec, Graft | Prune | Patch):
        return held
    if isinstance(spec, Training):
        return held + _trained(facts, stage) + _passes(facts, settings_of(stage))
    if isinstance(spec, Score):
        return held + _update(facts) + _passes(facts, settings_of(stage))
    tokens = batch_tokens(stage)
    budget = _automatic(facts, AUTO_BATCH_ON_CPU) if tokens == "auto" else tokens
    writes = bool(asked.by_kind.get("write"))
    return held + _adapter(facts) + max(_heldout(facts, stage, budget), _asked(facts, budget, writes=writes))


def trained_values(facts: Facts, stage: Stage) -> float | None:
    """Values that a training moves."""
    if facts.shapes is None:
        return None
    settings = settings_of(stage)
    layers: Iterable[Layer] = facts.layers or facts.shapes.layers
    share = facts.share(stage)
    method = facts.method(settings)
    chosen = facts.chosen(stage)
    if chosen is not None and stage.kind == "tune" and method.result == "adapter":
        share, layers = 1.0, chosen
    work = method.create()
    return share * float(sum(work.trained_values(layer, settings) for layer in layers))


def _trained(facts: Facts, stage: Stage) -> float:
    """Bytes of what is trained, its gradient and its moments."""
    return state_bytes(trained_values(facts, stage) or 0.0, settings_of(stage))


def _update(facts: Facts) -> float:
    """Bytes of the update of all layers, as a scorer holds it."""
    assert facts.shapes is not None
    settings = facts.recipe.train
    method = facts.method(settings).create()
    return 4.0 * float(sum(method.update_values(layer, settings) for layer in facts.shapes.layers))


def _adapter(facts: Facts) -> float:
    """Bytes of an adapter of all layers; none where tuning leaves checkpoints."""
    assert facts.shapes is not None
    settings = facts.recipe.train
    method = facts.method(settings)
    if method.result == "checkpoint":
        return 0.0
    work = method.create()
    return 4.0 * float(sum(work.stored_values(layer, settings) for layer in facts.shapes.layers))


def _passes(facts: Facts, settings: TrainSettings) -> float:
    """Bytes that a micro-batch keeps for the way back, of all blocks or of one, and the logits of a piece of it."""
    from layersig.fast.profile import CPU, GPU

    assert facts.shapes is not None
    shape, wide, choice = facts.shapes, max(facts.width, 2), CPU if _on_cpu(facts) else GPU
    budget = settings.micro_batch_tokens
    if budget == "auto":
        budget = _automatic(facts, AUTO_TOKENS_ON_CPU)
    tokens = _longest(facts, budget, settings)
    blocks = 1 if settings.gradient_checkpointing else shape.depth
    kept = _KEPT * blocks * (shape.inner + shape.hidden) + shape.depth * shape.hidden
    # A frozen head takes its targets in pieces; of one that is tuned, logits and their gradients are whole.
    logits = 2 * tokens if facts.recipe.layers.head else min(tokens, choice.lanes * choice.piece_targets)
    return tokens * wide * kept + logits * shape.vocabulary * wide


def batch_tokens(stage: Stage) -> TokenBudget:
    """What the recipe says of the tokens of a batch of a stage that trains nothing."""
    spec = stage.spec
    if isinstance(spec, Generate):
        return spec.generate.batch_tokens
    assert isinstance(spec, Answer | Evaluate | Untouched)
    return spec.batch_tokens


def _automatic(facts: Facts, on_cpu: int) -> int:
    """What is counted where the device chooses: on a GPU it takes what fits, and the least is what has to fit."""
    return on_cpu if _on_cpu(facts) else LEAST_AUTO_TOKENS


def _heldout(facts: Facts, stage: Stage, budget: int) -> float:
    """Bytes of a batch of held-out conversations: one block, the logits of all its targets, and losses in float32."""
    from layersig.fast.head import LOGIT_ELEMENTS
    from layersig.fast.profile import LOGIT_ROWS

    assert facts.shapes is not None
    shape, wide = facts.shapes, max(facts.width, 2)
    most = 0.0
    for role in stage.inputs:
        if not role.startswith("data/"):
            continue
        padded = float(min(budget, LOGIT_ELEMENTS // shape.vocabulary))
        targets, examples = padded, facts.examples(role.removeprefix("data/"), "heldout")
        if examples is not None and len(examples):
            padded = min(padded, len(examples) * float(examples.lengths.max()))
            targets = padded * float(examples.target_counts.sum() / examples.lengths.sum())
        logits = targets * wide + 2 * min(targets, LOGIT_ROWS) * 4
        most = max(most, padded * wide * (shape.inner + shape.hidden) + logits * shape.vocabulary)
    return most


def _asked(facts: Facts, budget: int, *, writes: bool) -> float:
    """Bytes of a batch of requests: what one block makes of it, some logits, and where it writes, keys and values."""
    assert facts.shapes is not None
    shape, wide = facts.shapes, max(facts.width, 2)
    tokens = min(budget, _longest(facts, budget, facts.recipe.train))
    passing = tokens * wide * _KEPT * (shape.inner + shape.hidden) + min(tokens, 1024) * shape.vocabulary * 4.0
    return passing + (budget * wide * shape.cached if writes else 0.0)


def _longest(facts: Facts, budget: int, settings: TrainSettings) -> float:
    """Tokens of a micro-batch: the budget, or an optimizer batch of the longest conversations or pairs."""
    lengths = [found for each in facts.recipe.data if (found := facts.longest(each.name))]
    if not lengths:
        return float(budget)
    # Both responses of a pair are in one micro-batch, padded to the same length.
    item = max(lengths) * (2 if facts.learns_pairs(settings.objective) else 1)
    return float(max(item, min(budget, settings.batch_size * item)))


def _on_cpu(facts: Facts) -> bool:
    from layersig.models.devices import pick_device

    return pick_device(facts.recipe.model.device).type != "cuda"
