"""Generation in batches: a key-value cache, shared beginnings run once, finished rows taken out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from layersig.fast.decoder import Decoder, Trunk
from layersig.fast.sharing import SHORTEST_TRUNK, shared_length
from layersig.generating.ends import end_tokens
from layersig.generating.sampling import GREEDY, Sampler
from layersig.models.devices import free
from layersig.stages.halving import Halving


class Prompt(NamedTuple):
    """What to continue.

    Attributes:
        tokens: Token ids, at least one.
        stops: Texts that end the generation; they may be part of what is returned.
        most: Largest number of tokens to write.
    """

    tokens: tuple[int, ...]
    stops: tuple[str, ...]
    most: int


class Completion(NamedTuple):
    """Token ids written for one prompt, with the one that ended it, if any did.

    Attributes:
        prompt: Index of the prompt.
        tokens: At least one.
        ended: Whether an end token or a stop string ended it; else it was cut at the largest number of tokens.
    """

    prompt: int
    tokens: list[int]
    ended: bool


Adjust = Callable[[int, Sequence[int], torch.Tensor], torch.Tensor]
"""From the index of a prompt, the tokens written for it so far, and the logits of the next one to other logits."""


def generate(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    batch_tokens: int,
    share: bool = True,
    done: Callable[[int, int], None] = lambda prompts, tokens: None,
) -> list[list[int]]:
    """Continue every prompt greedily, up to an end that the model or its tokenizer declares; as `generated`.

    Returns:
        Token ids written for each prompt, with the one that ended it.
    """
    found: list[list[int]] = [[] for _ in prompts]
    ends = end_tokens(decoder.model, tokenizer)
    for batch in generated(decoder, tokenizer, prompts, batch_tokens, ends=ends, share=share, done=done):
        for written in batch:
            found[written.prompt] = written.tokens
    return found


def generated(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    batch_tokens: int,
    *,
    ends: Collection[int],
    sampler: Sampler | None = None,
    adjust: Adjust | None = None,
    known: Collection[int] = (),
    share: bool = True,
    done: Callable[[int, int], None] = lambda prompts, tokens: None,
) -> Iterator[list[Completion]]:
    """Continue prompts, batch by batch. The batches follow from the prompts alone, never from what is known already.

    Args:
        decoder: The model. One that takes no masks of ours continues each prompt by itself.
        tokenizer: For the stop strings, which need not end where a token ends.
        prompts: What to continue, in any order.
        batch_tokens: Tokens of a batch at its longest, prompts and answers together.
        ends: Tokens that end a text, see `end_tokens`.
        sampler: Chooses tokens, by index of the prompt; None takes the most likely ones.
        adjust: Changes the logits of a row before a token is chosen; None leaves them as they are.
        known: Prompts that need no answer any more. A batch of such alone is not run.
        share: False runs shared beginnings again for each prompt.
        done: Called with prompts finished and tokens run.

    Yields:
        What was written in each batch that was run, in order of the batch.
    """
    sampler = sampler or Sampler(GREEDY)

    def write(batch: Sequence[int]) -> list[Completion]:
        tokens = [prompts[index].tokens for index in batch]
        shared = min(shared_length(tokens[0], each) for each in tokens)
        # The last token of a prompt must run with its row: its logits choose the first token written.
        shared = min(shared, min(map(len, tokens)) - 1)
        use = share and decoder.shares and len(batch) > 1 and shared >= SHORTEST_TRUNK
        trunk = decoder.trunk(tokens[0][:shared]) if use else None
        run = _Batch(decoder, trunk, [each[shared if use else 0 :] for each in tokens])
        done(0, run.tokens)
        sampler.begin(batch)
        written: dict[int, list[int]] = {index: [] for index in batch}
        ended: set[int] = set()
        live = list(batch)
        try:
            while live:
                logits = run.logits
                if adjust is not None:
                    rows = zip(live, logits, strict=True)
                    logits = torch.stack([adjust(index, written[index], row) for index, row in rows])
                chosen = sampler.choose(logits, live)
                for index, token in zip(live, chosen, strict=True):
                    written[index].append(token)
                ended |= {index for index in live if _ended(written[index], prompts[index], tokenizer, ends)}
                keep = [
                    number
                    for number, index in enumerate(live)
                    if index not in ended and len(written[index]) < prompts[index].most
                ]
                done(len(live) - len(keep), len(live))
                live = [live[number] for number in keep]
                if live:
                    run.step(keep, [chosen[number] for number in keep])
        except Exception:
            done(len(live) - len(batch), 0)  # none of them counts as finished
            raise
        return [Completion(index, written[index], index in ended) for index in batch]

    def longest(batch: Sequence[int]) -> int:
        return len(batch) * max(len(prompts[index].tokens) + prompts[index].most for index in batch)

    halving = Halving("answers", longest, partial(free, decoder.device))
    for batch in _batches(prompts, batch_tokens if decoder.shares else 0):
        if not all(index in known for index in batch):
            yield [each for piece in halving.run(write, batch) for each in piece]


def _batches(prompts: Sequence[Prompt], batch_tokens: int) -> Iterator[list[int]]:
    """Prompts that begin alike together, then by length."""
    order = sorted(range(len(prompts)), key=lambda index: prompts[index].tokens)
    runs: list[list[int]] = []
    for index in order:
        alike = runs and shared_length(prompts[runs[-1][-1]].tokens, prompts[index].tokens) >= SHORTEST_TRUNK
        if alike:
            runs[-1].append(index)
        else:
            runs.append([index])
    alone = [run[0] for run in runs if len(run) == 1]
    for run in [run for run in runs if len(run) > 1] + [alone]:
        batch: list[int] = []
        longest = 0
        for index in sorted(run, key=lambda index: (-len(prompts[index].tokens) - prompts[index].most, index)):
            longest = max(longest, len(prompts[index].tokens) + prompts[index].most)
            if batch and (len(batch) + 1) * longest > batch_tokens:
                yield batch
                batch, longest = [], len(prompts[index].tokens) + prompts[index].most
            batch.append(index)
        if batch:
            yield batch


def _ended(written: Sequence[int], prompt: Prompt, tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> bool:
    if written[-1] in ends:
        return True
    if not prompt.stops:
        return False
    # A token is at least one byte, so a stop string that has just been completed lies within these.
    tail = written[-max(len(stop.encode()) for stop in prompt.stops) - 4 :]
    text = tokenizer.decode(tail)
    return any(stop in text for stop in prompt.stops if stop)


class _Batch:
    """Rows being continued: left-padded prompts behind an optional trunk, and what has been written since.

    Attributes:
        tokens: Real tokens that the prompts took.
        logits: Of the next token of each row, shape [rows, vocabulary].
    """

    def __init__(self, decoder: Decoder, trunk: Trunk | None, prompts: Sequence[Sequence[int]]) -> None:
        self._decoder = decoder
        behind = trunk.length if trunk else 0
        width = max(map(len, prompts))
        padded = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        real = torch.tensor([[False] * (width - len(prompt)) + [True] * len(prompt) for prompt in prompts])
        depths = behind + (real.cumsum(1) - 1).clamp(min=0)
        rows = len(prompts)
        self._cache = trunk.copies(rows) if trunk else decoder.empty_cache()
        self._real = torch.cat([torch.ones(rows, behind, dtype=torch.bool), real], dim=1)
        self._depths = torch.cat([torch.arange(behind).expand(rows, -1), depths], dim=1)
        self.tokens = int(real.sum()) + behind
        allowed = torch.ones(width, behind + width, dtype=torch.bool).tril(behind) & self._real[:, None]
        allowed[:, :, behind:] |= torch.eye(width, dtype=torch.bool)
        self.logits = self._run(padded, depths, allowed)

    def step(self, keep: Sequence[int], tokens: Sequence[int]) -> None:
        """Drop the other rows, and run one more token of each row that is kept."""
        kept = torch.tensor(keep)
        if len(keep) < self._real.shape[0]:
            self._cache.batch_select_indices(kept.to(self._decoder.device))
            self._real, self._depths = self._real[kept], self._depths[kept]
        depths = self._depths[:, -1:] + 1
        self._real = torch.cat([self._real, torch.ones(len(keep), 1, dtype=torch.bool)], dim=1)
        self._depths = torch.cat([self._depths, depths], dim=1)
        self.logits = self._run(torch.tensor(tokens)[:, None], depths, self._real[:, None])

    def _run(self, tokens: torch.Tensor, depths: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        inputs: dict[str, Any] = {"past_key_values": self._cache}
        if self._decoder.shares:
            inputs["position_ids"] = depths.to(self._decoder.device)
            inputs["attention_mask"] = self._decoder.mask(allowed, depths, self._depths)
        last = torch.arange(tokens.shape[0]) * tokens.shape[1] + tokens.shape[1] - 1
        return self._decoder.forward(tokens, last, use_cache=True, **inputs)
