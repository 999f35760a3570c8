"""What is written after prompts, token by token: what each needs next, and when its text has ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from layersig.generating.prompts import Prompt
from layersig.generating.sampling import Sampler
from layersig.generating.suspended import Written

Adjust = Callable[[int, Sequence[int], torch.Tensor], torch.Tensor]
"""From the index of a prompt, the tokens written for it so far, and the logits of the next one to other logits."""


class Writer:
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


def _ended(written: Sequence[int], prompt: Prompt, tokenizer: PreTrainedTokenizerBase, ends: Collection[int]) -> bool:
    if written[-1] in ends:
        return True
    if not prompt.stops:
        return False
    # A token is at least one byte, so a stop string that has just been completed lies within these.
    tail = written[-max(len(stop.encode()) for stop in prompt.stops) - 4 :]
    text = tokenizer.decode(tail)
    return any(stop in text for stop in prompt.stops if stop)
