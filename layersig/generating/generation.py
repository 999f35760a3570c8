"""Generation in batches: a key-value cache, shared beginnings run once, finished rows taken out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from layersig.distributed.world import world
from layersig.fast.decoder import Decoder, Trunk
from layersig.fast.sharing import SHORTEST_TRUNK, shared_length
from layersig.generating.ends import end_tokens
from layersig.generating.rows import Rows, Slots
from layersig.generating.sampling import GREEDY, Sampler
from layersig.generating.suspended import State, Suspension, Written
from layersig.models.devices import free
from layersig.stages.halving import Halving

_ROUND = 512
"""Prompts that share slots."""
_SPARE = 64
"""Tokens that a row must have room to grow by when it is begun."""
_BEGUN = 16_384
"""Tokens of prompts that are run at once where rows are begun in turn."""


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
    state: Path | None = None,
    done: Callable[[int, int], None] = lambda prompts, tokens: None,
) -> Iterator[list[Completion]]:
    """Continue prompts, batch by batch. The batches follow from the prompts alone, never from what is known already.

    Args:
        decoder: The model. One that takes no masks of ours continues each prompt by itself.
        tokenizer: For the stop strings, which need not end where a token ends.
        prompts: What to continue, in any order.
        batch_tokens: Tokens of a batch at its longest, prompts and answers together. On a GPU tokens of the cache: rows
            times those of the longest, as far as it has been written.
        ends: Tokens that end a text, see `end_tokens`.
        sampler: Chooses tokens, by index of the prompt; None takes the most likely ones.
        adjust: Changes the logits of a row before a token is chosen; None leaves them as they are.
        known: Prompts that need no answer any more. A batch of such alone is not run.
        share: False runs shared beginnings again for each prompt.
        state: File in which a batch that takes long is saved from time to time, and found by the next process.
        done: Called with prompts finished and tokens run.

    Yields:
        What was written in each batch that was run, in order of the batch.
    """
    writer = _Writer(tokenizer, prompts, ends, sampler or Sampler(GREEDY), adjust, done)
    refills = decoder.shares and decoder.refills
    suspension = Suspension(state, decoder.device)

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
                _write_in_turn(Slots(decoder, trunk), batch, writer, batch_tokens, suspension)
            else:
                _write_together(decoder, trunk, batch, writer, suspension)
        except Exception:
            writer.done(-writer.finished, 0)  # none of them counts as finished
            raise
        return [Completion(index, writer.written[index], index in writer.ended) for index in batch]

    def longest(batch: Sequence[int]) -> int:
        whole = len(batch) * max(len(prompts[index].tokens) + prompts[index].most for index in batch)
        return min(whole, batch_tokens) if refills else whole

    halving = Halving("answers", longest, partial(free, decoder.device))

    def run(own: Sequence[list[int]]) -> Iterator[tuple[list[Completion], int]]:
        for batch in own:
            before = writer.tokens
            yield [each for piece in halving.run(write, batch) for each in piece], writer.tokens - before

    cut = _rounds(prompts) if refills else _batches(prompts, batch_tokens if decoder.shares else 0)
    wanted = [batch for batch in cut if not all(index in known for index in batch)]
    for batch, (answers, tokens), here in world().shared(wanted, run):
        if not here:
            done(len(batch), tokens)
        yield answers


class _Writer:
    """What is written after prompts, row by row.

    Attributes:
        prompts: All of them.
        written: The tokens of each prompt of the batch that was begun last.
        ended: The prompts whose text has ended.
        finished: How many need no more tokens.
        tokens: How many have been run, for all batches.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Prompt],
        ends: Collection[int],
        sampler: Sampler,
        adjust: Adjust | None,
        done: Callable[[int, int], None],
    ) -> None:
        self.prompts = prompts
        self.written: dict[int, list[int]] = {}
        self.ended: set[int] = set()
        self.finished = 0
        self.tokens = 0
        self._ran = 0
        self._done = done
        self._tokenizer, self._ends, self._sampler, self._adjust = tokenizer, ends, sampler, adjust

    def done(self, prompts: int, tokens: int) -> None:
        """So many prompts are finished, and so many tokens were run."""
        self.tokens += tokens
        self._done(prompts, tokens)

    def begin(self, batch: Sequence[int]) -> None:
        """Forget what was written, for a new batch."""
        self._sampler.begin(batch)
        self.written = {index: [] for index in batch}
        self.ended = set()
        self.finished = 0
        self._ran = 0

    def restore(self, found: Written) -> None:
        """Be as the writer of a suspended batch was."""
        self.written = dict(found["written"])
        self.ended = set(found["ended"])
        for index, tokens in self.written.items():
            self._sampler.skip(index, len(tokens))
        finished = [index for index in self.written if self._is_finished(index)]
        self.finished = len(finished)
        self.ran(found["ran"], len(finished))

    def state(
        self, live: Iterable[tuple[int, int]], waiting: Iterable[int] = (), lengths: Sequence[int] = (), end: int = 0
    ) -> Written:
        """What `restore` needs, and the writing itself."""
        return Written(
            written=list(self.written.items()),
            ended=sorted(self.ended),
            live=list(live),
            waiting=list(waiting),
            lengths=list(lengths),
            end=end,
            ran=self._ran,
        )

    def ran(self, tokens: int, finished: int = 0) -> None:
        """So many tokens of the rows of this batch were run, and so many of its prompts need no more."""
        self._ran += tokens
        self.done(finished, tokens)

    def take(self, live: Sequence[int], logits: torch.Tensor, ran: int) -> list[int]:
        """Choose the next token of each row.

        Args:
            live: The prompts of the rows.
            logits: Of their next tokens, [rows, vocabulary].
            ran: Tokens that went through the model for them.

        Returns:
            Which rows go on, by place in `live`.
        """
        if self._adjust is not None:
            rows = zip(live, logits, strict=True)
            logits = torch.stack([self._adjust(index, self.written[index], row) for index, row in rows])
        for index, token in zip(live, self._sampler.choose(logits, live), strict=True):
            self.written[index].append(token)
        self.ended |= {index for index in live if self._has_ended(index)}
        keep = [place for place, index in enumerate(live) if not self._is_finished(index)]
        self.finished += len(live) - len(keep)
        self.ran(ran, len(live) - len(keep))
        return keep

    def _is_finished(self, index: int) -> bool:
        return index in self.ended or len(self.written[index]) >= self.prompts[index].most

    def _has_ended(self, index: int) -> bool:
        return _ended(self.written[index], self.prompts[index], self._tokenizer, self._ends)


def _write_together(
    decoder: Decoder, trunk: Trunk | None, batch: Sequence[int], writer: _Writer, suspension: Suspension
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
    slots: Slots, batch: Sequence[int], writer: _Writer, batch_tokens: int, suspension: Suspension
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
            if new and (len(new) + 1) * begun > _BEGUN:
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


def _length(writer: _Writer, index: int) -> int:
    return len(writer.prompts[index].tokens) + len(writer.written[index])


def _rounds(prompts: Sequence[Prompt]) -> Iterator[list[int]]:
    """As `_batches`, with so many prompts each that slots can be filled again and again."""
    for run in _alike(prompts):
        for start in range(0, len(run), _ROUND):
            yield run[start : start + _ROUND]


def _batches(prompts: Sequence[Prompt], batch_tokens: int) -> Iterator[list[int]]:
    """Prompts that begin alike together, then by length."""
    for run in _alike(prompts):
        batch: list[int] = []
        longest = 0
        for index in run:
            longest = max(longest, len(prompts[index].tokens) + prompts[index].most)
            if batch and (len(batch) + 1) * longest > batch_tokens:
                yield batch
                batch, longest = [], len(prompts[index].tokens) + prompts[index].most
            batch.append(index)
        if batch:
            yield batch


def _alike(prompts: Sequence[Prompt]) -> Iterator[list[int]]:
    """Prompts that begin alike, then those that begin like no other; the longest first."""
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
        yield sorted(run, key=lambda index: (-len(prompts[index].tokens) - prompts[index].most, index))


def _ended(written: Sequence[int], prompt: Prompt, tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> bool:
    if written[-1] in ends:
        return True
    if not prompt.stops:
        return False
    # A token is at least one byte, so a stop string that has just been completed lies within these.
    tail = written[-max(len(stop.encode()) for stop in prompt.stops) - 4 :]
    text = tokenizer.decode(tail)
    return any(stop in text for stop in prompt.stops if stop)
