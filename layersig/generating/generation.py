"""Generation in batches: a key-value cache, shared beginnings run once, finished rows taken out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from layersig.distributed.world import world
from layersig.fast.budget import PROMPTS, written_at_once
from layersig.fast.decoder import Decoder
from layersig.fast.sharing import SHORTEST_TRUNK, shared_length
from layersig.fast.trunk import Trunk
from layersig.generating.ends import end_tokens
from layersig.generating.prompts import Completion, Prompt, batches, rounds
from layersig.generating.rows import Rows, Slots
from layersig.generating.sampling import GREEDY, Sampler
from layersig.generating.suspended import State, Suspension
from layersig.generating.writer import Adjust, Writer
from layersig.models.devices import free
from layersig.recipe.schema import TokenBudget
from layersig.stages.halving import Halving

_SPARE = 64
"""Tokens that a row must have room to grow by when it is begun."""


def generate(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    batch_tokens: TokenBudget,
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
    batch_tokens: TokenBudget,
    *,
    ends: Collection[int],
    sampler: Sampler | None = None,
    adjust: Adjust | None = None,
    known: Collection[int] = (),
    share: bool = True,
    state: Path | None = None,
    manner: str = "",
    done: Callable[[int, int], None] = lambda prompts, tokens: None,
) -> Iterator[list[Completion]]:
    """Continue prompts, batch by batch. The batches follow from the prompts alone, never from what is known already.

    Args:
        decoder: The model. One that takes neither masks of ours nor padding continues each prompt by itself.
        tokenizer: For the stop strings, which need not end where a token ends.
        prompts: What to continue, in any order.
        batch_tokens: Tokens of a batch at its longest, prompts and answers together. On a GPU tokens of the cache: rows
            times those of the longest, as far as it has been written. "auto" leaves them to the device.
        ends: Tokens that end a text, see `end_tokens`.
        sampler: Chooses tokens, by index of the prompt; None takes the most likely ones.
        adjust: Changes the logits of a row before a token is chosen; None leaves them as they are.
        known: Prompts that need no answer any more. A batch of such alone is not run.
        share: False runs shared beginnings again for each prompt.
        state: File in which a batch that takes long is saved from time to time, and found by the next process.
        manner: What decides the answers besides prompts and `ends`, where other answers may use the same file.
        done: Called with prompts finished and tokens run.

    Yields:
        What was written in each batch that was run, in order of the batch.
    """
    writer = Writer(tokenizer, prompts, ends, sampler or Sampler(GREEDY), adjust, done)
    refills = decoder.shares and decoder.refills
    suspension = Suspension(state, decoder.device, manner)
    budget = written_at_once(decoder.model, batch_tokens)

    def write(batch: Sequence[int]) -> list[Completion]:
        writer.begin(batch)
        tokens = [prompts[index].tokens for index in batch]
        shared = min(shared_length(tokens[0], each) for each in tokens)
        # The last token of a prompt must run with its row: its logits choose the first token written.
        shared = min(shared, min(map(len, tokens)) - 1)
        use = share and decoder.shares and len(batch) > 1 and shared >= SHORTEST_TRUNK
        trunk = decoder.trunk(tokens[0][:shared]) if use else None
        try:
            if refills:
                writer.done(0, trunk.length if trunk else 0)
                _write_in_turn(Slots(decoder, trunk), batch, writer, budget, suspension)
            else:
                _write_together(decoder, trunk, batch, writer, suspension)
        except Exception:
            writer.done(-writer.finished, 0)  # none of them counts as finished
            raise
        return [Completion(index, writer.written[index], index in writer.ended) for index in batch]

    def longest(batch: Sequence[int]) -> int:
        whole = len(batch) * max(len(prompts[index].tokens) + prompts[index].most for index in batch)
        return min(whole, budget) if refills else whole

    halving = Halving("answers", longest, partial(free, decoder.device))

    def run(own: Sequence[list[int]]) -> Iterator[tuple[list[Completion], int]]:
        for batch in own:
            before = writer.tokens
            yield [each for piece in halving.run(write, batch) for each in piece], writer.tokens - before

    together = decoder.shares or decoder.pads
    cut = rounds(prompts) if refills else batches(prompts, budget if together else 0)
    wanted = [batch for batch in cut if not all(index in known for index in batch)]
    for batch, (answers, tokens), here in world().shared(wanted, run):
        if not here:
            done(len(batch), tokens)
        yield answers
        if here:  # now that they are the caller's
            suspension.ended()


def _write_together(
    decoder: Decoder, trunk: Trunk | None, batch: Sequence[int], writer: Writer, suspension: Suspension
) -> None:
    """All prompts of a batch side by side, until the last one ends."""
    if (found := suspension.begun([(index, *writer.prompts[index]) for index in batch])) is not None:
        writer.restore(found.written)
        run, live = Rows.restored(decoder, found.tensors), [index for index, _ in found.written["live"]]
    else:
        behind = trunk.length if trunk else 0
        run, live = Rows(decoder, trunk, [writer.prompts[index].tokens[behind:] for index in batch]), list(batch)
        writer.ran(run.tokens)

    def state() -> State | None:
        tensors = run.state()
        return None if tensors is None else State(tensors, writer.state((index, 0) for index in live))

    while live:
        keep = writer.take(live, run.logits, len(live))
        live = [live[place] for place in keep]
        if live:
            run.step(keep, [writer.written[index][-1] for index in live])
            suspension.stepped(state)


def _write_in_turn(
    slots: Slots, batch: Sequence[int], writer: Writer, batch_tokens: int, suspension: Suspension
) -> None:
    """As many prompts side by side as `batch_tokens` holds of their tokens so far; the next one when there is room.

    Where rows outgrow it, the last one to come gives way: what it has written becomes part of its prompt, and it waits.
    """
    waiting = deque(batch)
    if (found := suspension.begun([(index, *writer.prompts[index]) for index in batch])) is not None:
        written = found.written
        writer.restore(written)
        waiting = deque(written["waiting"])
        slots.restore(found.tensors, written["live"], written["lengths"], written["end"])

    def state() -> State | None:
        tensors = slots.state()
        if tensors is None:
            return None
        return State(tensors, writer.state(slots.live.items(), waiting, slots.lengths, slots.end))

    def take(rows: Sequence[int], logits: torch.Tensor, ran: int) -> None:
        keep = writer.take(rows, logits, ran)
        slots.drop([index for place, index in enumerate(rows) if place not in set(keep)])

    while waiting or slots.live:
        new: list[int] = []
        width, begun = slots.width, 0
        while waiting:
            begun = max(begun, _length(writer, waiting[0]))
            longest = max(width, begun + _SPARE)
            if (slots.live or new) and (len(slots.live) + len(new) + 1) * longest > batch_tokens:
                break
            if new and (len(new) + 1) * begun > PROMPTS:
                break
            width = longest
            new.append(waiting.popleft())
        if new:
            prompts = [(*writer.prompts[index].tokens, *writer.written[index])[slots.behind :] for index in new]
            take(new, slots.admit(new, prompts), sum(map(len, prompts)) + len(new))
        while len(slots.live) > 1 and len(slots.live) * (slots.width + 1) > batch_tokens:
            last = next(reversed(slots.live))
            slots.drop([last])
            waiting.appendleft(last)
        if slots.live:
            live = list(slots.live)
            take(live, slots.step([writer.written[index][-1] for index in live]), len(live))
            suspension.stepped(state)


def _length(writer: Writer, index: int) -> int:
    return len(writer.prompts[index].tokens) + len(writer.written[index])
