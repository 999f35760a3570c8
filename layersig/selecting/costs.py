"""What training some layers costs, counted from shapes, so that it is the same on every machine.

The backward pass ends at the lowest block with a chosen layer: nothing below it needs a gradient. What a set of layers
costs is therefore a part that its lowest block decides, and a part of every layer's own; see `Costs`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from layersig.layers import Group, Layer
from layersig.plugin.components import Component
from layersig.recipe.schema import AUTO_TOKENS_ON_CPU, MOMENT_BYTES, TrainSettings

_FACTORS, _WEIGHTS = 3, 1
"""Multiplications of a token for a trained value: a factor is met forwards and twice on the way back (its own gradient
and that of its input); of a weight that is trained itself only its gradient is new."""
_STATE = 8.0
"""Bytes of a trained value and of its gradient, both float32."""
_KEPT, _WIDTH = 3.0, 2
"""Numbers kept for the way back, in multiples of the hidden states and outputs of a block's layers, as plans count
them; bytes of each, in bfloat16."""


class Rates(NamedTuple):
    """Seconds of a token, measured: read alone, trained without an adapter, trained with one on every layer."""

    read: float
    plain: float
    train: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What training a set of units costs, in one quantity.

    A set whose lowest block is b costs `reached[b]` and, of every unit, `each * own[unit]`. These add up exactly, so
    that sets of one lowest block can be compared by their units alone.

    Attributes:
        own: What a unit takes of its own, by name: whole numbers.
        each: What one of them costs.
        reached: What all else costs where gradients go back to the block of that number; behind the last block, where
            the head alone is trained. It falls.
    """

    own: Mapping[str, int]
    each: float
    reached: tuple[float, ...]

    @property
    def everything(self) -> float:
        """What training all units costs."""
        return self.reached[0] + self.each * sum(self.own.values())

    def of(self, units: Collection[Group]) -> float:
        """What training some units, at least one, costs."""
        lowest = min(self.cut(unit) for unit in units)
        return self.reached[lowest] + self.each * sum(self.own[unit.name] for unit in units)

    def cut(self, unit: Group) -> int:
        """The lowest block where a unit is trained alone."""
        return len(self.reached) - 1 if unit.block is None else unit.block


@dataclass(frozen=True)
class Arithmetic:
    """The costs of training layers of a model by a tuning method.

    Attributes:
        groups: Every unit in model order, with its layers.
        trained: Values that are trained of a unit where it is chosen, by name.
        whole: Whether weights themselves are trained, rather than factors.
        settings: How the training is done.
        vocabulary: Rows of the output head.
        asked: Experts that a token meets, in a model whose experts lie in one parameter.
    """

    groups: tuple[Group, ...]
    trained: Mapping[str, int]
    whole: bool
    settings: TrainSettings
    vocabulary: int
    asked: int | None = None

    @classmethod
    def of(cls, groups: tuple[Group, ...], method: Component, settings: TrainSettings, config: Any) -> Arithmetic:
        """The costs for a model with this configuration, a `PretrainedConfig` of transformers."""
        work, text = method.create(), config.get_text_config(decoder=True)
        return cls(
            groups=groups,
            trained={each.name: sum(work.trained_values(layer, settings) for layer in each.members) for each in groups},
            whole=method.result == "checkpoint",
            settings=settings,
            vocabulary=text.vocab_size,
            asked=getattr(text, "num_experts_per_tok", None),
        )

    @property
    def parameters(self) -> Costs:
        """Values that are trained."""
        return Costs(self.trained, 1.0, (0.0,) * (len(self._products) + 1))

    @property
    def time(self) -> Costs:
        """Multiplications of a token in products of weights and factors, forwards and back.

        The head counts at every token. Attention's own products are left out.
        """
        forward = sum(self._products) + self._head
        reached = (*(forward + each + self._head for each in _tails(self._products)), forward)
        each = _WEIGHTS if self.whole else _FACTORS
        return Costs({name: each * values for name, values in self.trained.items()}, 1.0, reached)

    def operations(self, units: Sequence[Group], *, tokens: int, first: int, targets: int) -> float:
        """Multiplications of a whole training that no implementation can leave out.

        Args:
            units: What is trained.
            tokens: Tokens that are trained on.
            first: Of those, the ones of conversations that had not come up before: what lies below the lowest block
                need not be computed twice.
            targets: Tokens that are to be predicted, at which alone the head counts.
        """
        time = self.time
        lowest = min(time.cut(unit) for unit in units)
        below, above = sum(self._products[:lowest]), sum(self._products[lowest:])
        own = sum(time.own[unit.name] for unit in units)
        return below * first + (2 * above + own) * tokens + 2 * self._head * targets

    @property
    def memory(self) -> Costs:
        """Bytes that a training adds to the model: trained values, gradients, moments, and what blocks keep."""
        budget = self.settings.micro_batch_tokens
        tokens = AUTO_TOKENS_ON_CPU if budget == "auto" else budget
        kept = [_KEPT * (self._hidden + sum(map(self._outputs, layers))) for layers in self._blocks]
        reached = (*(tokens * _WIDTH * each for each in _tails(kept)), 0.0)
        return Costs(self.trained, _STATE + MOMENT_BYTES[self.settings.optimizer], reached)

    def seconds(self, rates: Rates) -> Costs:
        """Seconds of a token at measured rates; arithmetic divides them among blocks and layers."""
        time = self.time
        back = [(each - time.reached[-1]) / (time.reached[0] - time.reached[-1]) for each in time.reached]
        reached = tuple(rates.read + (rates.plain - rates.read) * share for share in back)
        return Costs(time.own, (rates.train - rates.plain) / sum(time.own.values()), reached)

    @property
    def _blocks(self) -> list[list[Layer]]:
        found: dict[int, list[Layer]] = {}
        for layer in (layer for group in self.groups for layer in group.members):
            if layer.block is not None:
                found.setdefault(layer.block, []).append(layer)
        return [found.get(number, []) for number in range(max(found) + 1)]

    @property
    def _products(self) -> list[float]:
        return [sum(layer.parameters * self._used(layer) for layer in layers) for layers in self._blocks]

    @property
    def _hidden(self) -> int:
        return self.groups[0].members[0].shape[-1]  # the first layer of a block reads the hidden state

    @property
    def _head(self) -> int:
        return self._hidden * self.vocabulary

    def _used(self, layer: Layer) -> float:
        return min(1.0, self.asked / layer.shape[0]) if self.asked and layer.is_parameter else 1.0

    def _outputs(self, layer: Layer) -> float:
        experts = layer.shape[0] * self._used(layer) if layer.is_parameter else 1.0
        return experts * layer.shape[-2]


def _tails(parts: Sequence[float]) -> list[float]:
    """Sums from every part to the last."""
    return [sum(parts[number:]) for number in range(len(parts))]
