"""Answers that a model writes: once greedily, or several draws of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from lm_eval.api.instance import Instance
from transformers import PreTrainedTokenizerBase

from layersig.evaluating.decoding import Decoding
from layersig.evaluating.drawing import Drawing
from layersig.evaluating.kept import KeptAnswers, packed
from layersig.fast.decoder import Decoder
from layersig.generating.generation import generated
from layersig.generating.prompts import Completion, Prompt
from layersig.generating.sampling import Sampler
from layersig.recipe.schema import TokenBudget


class WritingRequest(NamedTuple):
    """A prompt and how it is answered.

    Attributes:
        prompt: The prompt.
        decoding: What is done to the logits.
        manner: All that decides the answer besides the tokens and the stop strings, as a text.
    """

    prompt: Prompt
    decoding: Decoding
    manner: str


@dataclass(frozen=True)
class Writer:
    """Lets a model write answers.

    Attributes:
        decoder: Runs the model.
        tokenizer: Its tokenizer.
        batch_tokens: As `generated` takes them.
        kept: Where answers are kept as they come.
        start: Told how many answers are to be written.
        done: Told of answers and tokens done.
    """

    decoder: Decoder
    tokenizer: PreTrainedTokenizerBase
    batch_tokens: TokenBudget
    kept: KeptAnswers
    start: Callable[[int], None]
    done: Callable[[int, int], None]

    def drawn(
        self, requests: Sequence[Instance], asked: Sequence[WritingRequest], ends: frozenset[int], drawing: Drawing
    ) -> list[Completion]:
        """The draw of each answer whose turn it is; at the first turn, all draws are written.

        Args:
            requests: The requests, as lm-eval has them.
            asked: The same requests with their prompts.
            ends: Tokens that end an answer.
            drawing: The draws.
        """
        if drawing.turn == 0:
            seeds = drawing.seeds(requests)
            draws = [
                request._replace(manner=f"{request.manner} {drawing.sampling} {seed}")
                for request, seed in zip(drawing.each(asked), seeds, strict=True)
            ]
            drawing.keep(requests, self.written(draws, ends, Sampler(drawing.sampling, seeds)))
        return drawing.given(requests)

    def written(
        self, asked: Sequence[WritingRequest], ends: frozenset[int], sampler: Sampler | None = None
    ) -> list[Completion]:
        """What the model writes after each prompt.

        Args:
            asked: The prompts.
            ends: Tokens that end an answer.
            sampler: What draws the tokens; None for greedy decoding.
        """

        def adjusted(index: int, written: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
            return asked[index].decoding.adjusted(asked[index].prompt.tokens, written, logits)

        self.start(len(asked))
        kept = self.kept.round(
            packed(request.prompt.tokens) + repr((request.prompt.stops, request.manner)).encode() for request in asked
        )
        self.done(len(kept.known), kept.tokens)
        found = {index: Completion(index, *answer) for index, answer in kept.known.items()}
        run = 0

        def done(finished: int, tokens: int) -> None:
            nonlocal run
            run += tokens
            self.done(finished, tokens)

        batches = generated(
            self.decoder,
            self.tokenizer,
            [request.prompt for request in asked],
            self.batch_tokens,
            ends=ends,
            sampler=sampler,
            adjust=None if all(request.decoding.plain for request in asked) else adjusted,
            known=kept.known,
            share=self.decoder.shares,
            state=self.kept.state,
            manner=repr((sorted(ends), [request.manner for request in asked])),
            done=done,
        )
        for batch in batches:
            kept.keep({answer.prompt: [answer.tokens, answer.ended] for answer in batch}, run)
            found |= {answer.prompt: answer for answer in batch}
            run = 0
        return [found[index] for index in range(len(asked))]
