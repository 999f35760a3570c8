"""Runs a Hugging Face decoder over token trees and shared trunks.

Everything that must know how transformers takes positions, masks and caches is in this file.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from transformers import Cache, DynamicCache, PreTrainedModel

from layersig.errors import is_machine_fault, one_line
from layersig.fast import masks, profile
from layersig.fast.attention import window_of
from layersig.fast.head import LOGIT_ELEMENTS, SplitModel, logits_at, split_at_head
from layersig.fast.sharing import Row, TokenRun, joined
from layersig.fast.tree_attention import Tree, tree_attention
from layersig.fast.trunk import Trunk
from layersig.fast.workers import Lanes, lanes, lanes_for
from layersig.models.config import attention_widths
from layersig.models.spread import is_spread
from layersig.stages.notes import note

PROBE = (Row([5, 6, 7, 8, 9, 10], [0, 1, 2, 3, 2, 3], [TokenRun(0, 4, -1), TokenRun(4, 6, 1)], [(0, [3]), (1, [5])]),)


class Decoder:
    """A causal language model whose attention masks are ours.

    Args:
        model: A Hugging Face causal language model, or a PEFT model around one, in eval mode.
        fast: False runs each sequence by itself through the model's own forward.

    Attributes:
        fast: The same.
        hindrance: Why token trees and trunks are not for this model, by its kind or as a probe shows: it has no such
            masks or caches (linear attention, ALiBi, flash-attention kernels, windows that its attention counts by
            itself). None where they give its own results.
        shares: Whether they do. Other models run each sequence by itself.
        pads: Whether such a model continues prompts side by side, padded to the left; probed, on a GPU alone.
        flat: Whether trees end to end in one row do too, which is quicker on a CPU; probed as well.
        pair_cost: Cost of one query-key pair in units of one token through the linear layers.
        batch_targets: Positions whose logits may be held at once.
        refills: Whether generation uses `Slots` where the model shares.
        spread: Whether keys and values of layers may lie on several devices.
        enough_tokens: Tokens that keep the device busy, so that a batch need not be filled up with padding.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, *, fast: bool = True) -> None:
        if isinstance(model, PeftModel) and not model.active_peft_config.is_prompt_learning:
            model = cast(PreTrainedModel, model.get_base_model())
        self.model = model
        self.fast = fast
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        config = model.config.get_text_config(decoder=True)
        self._kinds: set[str] = set(getattr(config, "layer_types", None) or ())
        # Attention that counts keys by itself, whatever the mask says: GPT-Neo's local layers, Doge's choice of keys.
        self._kinds |= set(getattr(config, "attention_layers", None) or ()) - {"global"}
        self._kinds |= {"dynamic_mask"} if getattr(config, "keep_window_size", None) else set()
        self._window = window_of(config)
        self._cache = _name_of_cache(model)
        embedding = cast(nn.Module, model.get_input_embeddings())
        weights = sum(parameter.numel() for parameter in model.parameters())
        weights -= sum(parameter.numel() for parameter in embedding.parameters())
        self.pair_cost = profile.ATTENTION_SLOWNESS * 4 * attention_widths(config)[0] / (2 * weights)
        choice = profile.profile_of(self.device)
        self.batch_targets = max(1, LOGIT_ELEMENTS // config.vocab_size)
        self.enough_tokens = choice.enough_tokens
        self.spread = is_spread(model)
        self.refills = choice.refills and not self.spread
        self.flat = False
        self._split: SplitModel | None = None
        self.pads = False
        implementation = getattr(model.config, "_attn_implementation", "")
        self.hindrance = self._hindrance(implementation) if fast else "the fast paths are switched off"
        self.shares = self.hindrance is None
        if self.shares and choice.flat_trees and implementation == "sdpa" and model._supports_attention_backend:
            self.flat = True
            self.flat = self._failure() is None
        if fast and not self.shares:
            self.pads = choice.padded_rows and self._cache is not None and self._padding_agrees()
            how = "side by side, padded" if self.pads else "one by one"
            note(
                f"{type(model).__name__} cannot share what requests begin with: {self.hindrance}; each request is run "
                f"in full, and answers are written {how}"
            )

    def _hindrance(self, implementation: str) -> str | None:
        if implementation not in ("sdpa", "eager"):
            return f"its attention, {implementation!r}, takes no masks of ours"
        if unknown := self._kinds - {"full_attention", "sliding_attention"}:
            return f"it has layers of the kind {', '.join(sorted(unknown))}"
        if self._cache != "past_key_values":
            return "it takes no cache of keys and values"
        return self._failure()

    def _failure(self) -> str | None:
        """What goes wrong with trees and trunks; None where they give what sequences give by themselves."""
        beyond = [Row([7, 8], [2, 3], [TokenRun(0, 2, -1)], [(0, [1])])]
        try:
            trunk = self.trunk((5, 6))
            with self.scoring():
                tree, cached = self.logits(PROBE), self.logits(beyond, trunk)
        except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
            if is_machine_fault(error):
                raise
            return f"they end in an error: {one_line(error)}"
        plain = torch.cat(
            [self.forward(torch.tensor([ids]), torch.tensor([3])) for ids in ((5, 6, 7, 8), (5, 6, 9, 10))]
        )
        agree = _agree(tree, plain) and _agree(cached, plain[:1])
        return None if agree else "its results with them are not its own"

    def _padding_agrees(self) -> bool:
        """Whether left-padded rows give the results of single rows, also after one row has left the batch."""
        device, cache = self.device, self.empty_cache()
        tokens, depths = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 10]]), torch.tensor([[0, 1, 2, 3], [0, 0, 0, 1]])
        real = torch.tensor([[True] * 4, [False] * 2 + [True] * 2], device=device)
        more = {"use_cache": True, "past_key_values": cache}
        try:
            both = self.forward(tokens, torch.tensor([3, 7]), **more, **self.padding(real, depths.to(device)))
            cache.batch_select_indices(torch.tensor([1], device=device))
            real = torch.cat([real[1:], torch.ones(1, 1, dtype=torch.bool, device=device)], dim=1)
            further = self.padding(real, torch.tensor([[2]], device=device))
            last = self.forward(torch.tensor([[11]]), torch.tensor([0]), **more, **further)
        except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
            if is_machine_fault(error):
                raise
            return False
        alone = [self.forward(torch.tensor([ids]), torch.tensor([len(ids) - 1])) for ids in ((5, 6, 7, 8), (9, 10))]
        longer = self.forward(torch.tensor([[9, 10, 11]]), torch.tensor([2]))
        return _agree(both, torch.cat(alone)) and _agree(last, longer)

    def padding(self, real: torch.Tensor, depths: torch.Tensor) -> dict[str, torch.Tensor]:
        """What tells the model of padding, where it takes no masks of ours.

        Args:
            real: Which columns hold a token of the row, cached ones included, shape [rows, keys].
            depths: Position of each query in its sequence, shape [rows, queries].
        """
        return {"attention_mask": real.long(), "position_ids": depths}

    def trunk(self, tokens: Sequence[int]) -> Trunk:
        """Run a shared beginning once."""
        row = Row(list(tokens), list(range(len(tokens))), [TokenRun(0, len(tokens), -1)])
        cache = DynamicCache()
        self._forward([row], torch.empty(0, dtype=torch.long), None, cache, masked=self._window is not None)
        return Trunk(cache, len(tokens))

    @contextmanager
    def scoring(self) -> Iterator[Lanes]:
        """Within this context `logits` can be called, and nothing else; in the lanes that it gives, too."""
        if not self.flat:
            yield Lanes()
            return
        with tree_attention(self.model), split_at_head(self.model) as split, lanes(lanes_for(self.model)) as own:
            self._split = split
            try:
                yield own
            finally:
                self._split = None

    def logits(self, rows: Sequence[Row], trunk: Trunk | None = None) -> torch.Tensor:
        """Logits at the positions that the rows' readings name, in float32 or above; see `scoring`.

        Args:
            rows: One batch.
            trunk: What they continue.

        Returns:
            Shape [positions, vocabulary], by row, then by index; each position once (see `positions`).
        """
        width = max(map(len, rows))
        starts = [0, *accumulate(map(len, rows))] if self.flat else range(0, len(rows) * width, width)
        wanted = torch.tensor(
            [start + index for start, row in zip(starts, rows, strict=False) for index in positions(row)]
        )
        cache = trunk.shared() if trunk else None
        if self.flat:
            found = self._flat(rows, wanted, trunk, cache)
        else:
            masked = trunk is not None or not all(row.is_chain for row in rows)
            found = self._forward(rows, wanted, trunk, cache, masked)
        return found if found.dtype == torch.float64 else found.float()

    def _flat(
        self, rows: Sequence[Row], wanted: torch.Tensor, trunk: Trunk | None, cache: DynamicCache | None
    ) -> torch.Tensor:
        behind = trunk.length if trunk else 0
        trees = []
        for row in rows:
            depths = torch.tensor([row.depths], device=self.device)
            allowed = masks.ancestors([row], len(row), behind, self.device)
            mask = self.mask(allowed, depths, masks.key_depths(depths, behind))
            trees.append(Tree(len(row), mask))
        whole = joined(rows)
        inputs = {
            "input_ids": torch.tensor([whole.tokens]),
            "position_ids": torch.tensor([whole.depths]),
            "use_cache": cache is not None,
            "past_key_values": cache,
            "trees": trees,
        }
        assert self._split is not None, "`logits` is called within `scoring`"
        with torch.inference_mode():
            hidden, head = self._split.run(inputs, wanted)
            return head(hidden)

    def _forward(
        self, rows: Sequence[Row], wanted: torch.Tensor, trunk: Trunk | None, cache: DynamicCache | None, masked: bool
    ) -> torch.Tensor:
        width = max(map(len, rows))
        tokens = torch.tensor([row.tokens + [0] * (width - len(row)) for row in rows])
        inputs: dict[str, Any] = {"use_cache": cache is not None}
        if cache is not None:
            inputs["past_key_values"] = cache
        if masked:
            behind = trunk.length if trunk else 0
            padded = [row.depths + [behind] * (width - len(row)) for row in rows]
            depths = torch.tensor(padded, device=self.device)
            allowed = masks.ancestors(rows, width, behind, self.device)
            inputs["position_ids"] = depths
            inputs["attention_mask"] = self.mask(allowed, depths, masks.key_depths(depths, behind))
        return self.forward(tokens, wanted, **inputs)

    def forward(self, tokens: torch.Tensor, wanted: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Logits of one pass, shape [len(wanted), vocabulary].

        Args:
            tokens: Token ids, shape [rows, length].
            wanted: Indices into the flattened tokens.
            inputs: What else the model's forward takes; a cache as `past_key_values`, whatever its own name for it.
        """
        if (cache := inputs.pop("past_key_values", None)) is not None:
            if isinstance(cache, _Repeated):
                tokens, wanted = cache.behind(tokens, wanted)
                inputs["use_cache"] = False
            else:
                inputs[self._cache or "past_key_values"] = cache
        if not self.fast:
            with torch.inference_mode():
                logits = self.model(input_ids=tokens.to(self.device), **inputs).logits
            return cast(torch.Tensor, logits.flatten(0, 1)[wanted.to(self.device)])
        with torch.inference_mode(), logits_at(self.model, wanted.to(self.device)):
            return cast(torch.Tensor, self.model(input_ids=tokens.to(self.device), **inputs).logits)

    def empty_cache(self) -> DynamicCache:
        """A cache to generate with. Masks of ours see every key; else the model's own kinds of cache apply."""
        if self._cache is None:
            return _Repeated()
        return DynamicCache() if self.shares else DynamicCache(config=self.model.config)

    def mask(
        self, allowed: torch.Tensor, query_depths: torch.Tensor, key_depths: torch.Tensor
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """The attention mask in the form that this model takes.

        Args:
            allowed: Who attends to whom without a window, shape [rows, queries, keys].
            query_depths: Position of each query in its sequence, shape [rows, queries].
            key_depths: Position of each key in its sequence, shape [rows, keys].

        Returns:
            Additive, shape [rows, 1, queries, keys]; by kind of layer where some have a sliding window.
        """
        if self._window is None:
            return self._additive(allowed)
        near = allowed & (query_depths[:, :, None] - key_depths[:, None, :] < self._window)
        if "sliding_attention" in self._kinds:
            return {"full_attention": self._additive(allowed), "sliding_attention": self._additive(near)}
        return self._additive(allowed if self._kinds else near)

    def _additive(self, allowed: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(allowed.shape, dtype=self.dtype, device=self.device)
        return mask.masked_fill_(~allowed, torch.finfo(self.dtype).min)[:, None]


class _Repeated(DynamicCache):  # type: ignore[misc]
    """What stands in for the cache of a model that takes none: the tokens of a row so far, which are run again."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens = torch.empty(1, 0, dtype=torch.long)

    def behind(self, tokens: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens of the whole row, and where in it those are that are wanted of its last part."""
        before = self._tokens.shape[1]
        self._tokens = torch.cat([self._tokens, tokens], dim=1)
        return self._tokens, wanted + before


def _name_of_cache(model: PreTrainedModel | PeftModel) -> str | None:
    """Under which name a model takes a cache of transformers; None where it takes none, and would ignore it."""
    own = model.get_base_model() if isinstance(model, PeftModel) else model
    parameters = inspect.signature(type(own).forward).parameters
    if "past_key_values" in parameters:
        return "past_key_values"
    state = parameters.get("cache_params")  # xLSTM's is of a class of its own
    return "cache_params" if state is not None and state.annotation == Cache | None else None


def _agree(found: torch.Tensor, plain: torch.Tensor) -> bool:
    # Wrong masks or positions change logits by far more than rounding in 8 bits does.
    return bool((found - plain).abs().max() < 0.05 * plain.abs().max())


def positions(row: Row) -> list[int]:
    """Indices into the row that are read, each once, in ascending order."""
    return sorted({index for _, reads in row.readings for index in reads})
