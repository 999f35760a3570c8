"""The lm-eval model `layersig`: same tokens and same results as lm-eval's `hf`, less work.

    import layersig.evaluating.model  # registers it
    lm_eval.simple_evaluate(model="layersig", model_args={"pretrained": "HuggingFaceTB/SmolLM2-135M"}, tasks=[...])

or `python -m layersig.evaluating run --model layersig ...` for lm-eval's own command line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, NamedTuple, Self, cast

import torch
from jinja2 import TemplateError
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import (
    configure_pad_token,
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
    resolve_max_length,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from layersig.data.chat import ChatFormat
from layersig.errors import StageFailed, UserError, one_line
from layersig.evaluating.decoding import Decoding
from layersig.evaluating.drawing import Drawing
from layersig.evaluating.incidents import IncidentLog
from layersig.evaluating.kept import KeptAnswers, packed
from layersig.fast.decoder import Decoder, Trunk, positions
from layersig.fast.sharing import Row, ScoredSequence, batches, lines, plan
from layersig.generating.ends import end_tokens
from layersig.generating.generation import Completion, Prompt, generated
from layersig.generating.sampling import Sampler
from layersig.models.devices import free
from layersig.stages.halving import Halving
from layersig.stages.job import Reporter, Silent

Answer = tuple[float, bool]


class TokenRequest(NamedTuple):
    """A request as lm-eval's `TemplateLM` hands it on: its text (None for a window of a document) and its tokens."""

    text: tuple[str, str] | None
    context: list[int]
    continuation: list[int]


@register_model("layersig")
class SharedPrefixLM(TemplateLM):  # type: ignore[misc]  # lm-eval is untyped
    """Scores and generates with a Hugging Face model in memory, running what requests share only once.

    Tokenisation, truncation and stop strings are those of lm-eval's `hf`; log-probabilities are taken in float32 (or
    above) whatever the model's dtype.

    Args:
        pretrained: A causal language model in eval mode, or a PEFT model around one.
        tokenizer: Its tokenizer.
        batch_tokens: Padded tokens that go through the model at once.
        max_length: Longest input in tokens; longer ones lose their beginning. None: what the model's config says.
        add_bos_token: Whether to put a BOS token first. None: the tokenizer's habit.
        share: False runs every sequence by itself (the plain twin of the fast path).
        reporter: Told of requests and real tokens done.
        chat_template: For tasks that ask in chats: `auto`, `plain`, or the text of a template.
        kept: Where answers are kept as they come, and found by the next process; None keeps none.

    Attributes:
        title: What the reporter calls the work.
        tokens: Tokens run through the model so far, padding not counted.
        incidents: What happened to prompts and answers; grows with every request.
    """

    def __init__(
        self,
        pretrained: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_tokens: int = 8192,
        max_length: int | None = None,
        add_bos_token: bool | None = None,
        share: bool = True,
        reporter: Reporter | None = None,
        chat_template: str = "auto",
        kept: KeptAnswers | None = None,
    ) -> None:
        super().__init__()
        self.decoder = Decoder(pretrained, fast=share)
        self.tokenizer = configure_pad_token(tokenizer, model_config=pretrained.config)
        self.batch_tokens = batch_tokens
        self.share = self.decoder.shares
        self.max_length: int = max_length or resolve_max_length(pretrained.config, tokenizer)
        self.tokens = 0
        self._device = self.decoder.device
        self._halving: Halving[Row] = Halving("requests", _padded, partial(free, self._device))
        self._add_bos_token = add_bos_token
        self.title = "lm-eval"
        self._reporter = reporter or Silent()
        self._encoded: dict[str, list[int]] = {}
        self._chat_template = chat_template
        self._kept = kept or KeptAnswers()
        self._drawing: Drawing | None = None
        self._cut: list[bool] = []
        self._without_system: set[str] = set()
        self.incidents = IncidentLog()

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None) -> Self:
        """What lm-eval calls with the user's model arguments; loads `pretrained` by name or folder.

        lm-eval's `batch_size` is not used: batches hold `batch_tokens`.
        """
        arguments = dict(arg_dict)
        source = arguments.pop("pretrained", None)
        if not isinstance(source, str):
            raise UserError("model_args: `pretrained` must name a model or the folder of one")
        device = (additional_config or {}).get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        model = AutoModelForCausalLM.from_pretrained(source, dtype=arguments.pop("dtype", "auto")).to(device).eval()
        if peft := arguments.pop("peft", None):
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, peft).eval()
        return cls(model, AutoTokenizer.from_pretrained(arguments.pop("tokenizer", source)), **arguments)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict[str, Any] | None = None) -> Self:
        """As `create_from_arg_obj`, from `key=value,...`."""
        from lm_eval.utils import simple_parse_args_string

        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return cast(int, self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands for an empty context: BOS, or EOS for tokenizers without."""
        bos = self.tokenizer.bos_token_id
        return cast(int, self.tokenizer.eos_token_id if bos is None else bos)

    @property
    def tokenizer_name(self) -> str:
        """The name under which lm-eval caches requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    @cached_property
    def _chat(self) -> ChatFormat:
        return ChatFormat(self.tokenizer, self._chat_template)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of messages up to where the assistant is to write; or, without that, to continue the last one.

        As in lm-eval's `hf`, a template that refuses system messages gets none; but the date that some templates print
        is a fixed one, so that a prompt does not depend on the day.

        Raises:
            UserError: The template cannot render them.
        """
        try:
            return self._rendered(chat_history, add_generation_prompt)
        except TemplateError as error:
            spoken = [each for each in chat_history if each["role"] != "system"]
            if len(spoken) == len(chat_history):
                raise UserError(f"chat template: it cannot render this task's messages ({one_line(error)})") from error
            if self.title not in self._without_system:
                self._without_system.add(self.title)
                self._reporter.warn(
                    f"{self.title}: the chat template takes no system message, so the task's description is left out, "
                    "as lm-eval does"
                )
            return self._rendered(spoken, add_generation_prompt)

    def _rendered(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        try:
            rendered: str = self.tokenizer.apply_chat_template(
                messages,
                chat_template=self._chat.template.text,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        except TemplateError:
            raise
        except Exception as error:  # what a template computes may fail in any way
            raise UserError(f"chat template: it cannot render this task's messages ({one_line(error)})") from error
        return rendered

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids of a text; special tokens as lm-eval's `hf` puts them."""
        if add_special_tokens is None:
            if string in self._encoded:
                return self._encoded[string]
            add_special_tokens = self._special_tokens(string)
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return cast(list[int], self.tokenizer.encode(string, **options))

    def _special_tokens(self, string: str) -> bool | None:
        if has_bos_prefix(string, self.tokenizer.decode(self.prefix_token_id)):
            return False
        return self._add_bos_token

    def _encode_ahead(self, strings: set[str]) -> None:
        """Tokenises all strings at once, which a fast tokenizer does on every core."""
        for special in (None, True, False):
            chosen = sorted(string for string in strings if self._special_tokens(string) is special)
            if chosen:
                options = {} if special is None else {"add_special_tokens": special}
                self._encoded.update(zip(chosen, self.tokenizer(chosen, **options)["input_ids"], strict=True))

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[Answer]:
        """Log-probability of each continuation after its context, and whether greedy decoding would say it."""
        strings = set()
        for context, continuation in (request.args for request in requests):
            if context:
                strings |= {context + continuation, context.rstrip() or context}
        self._encode_ahead(strings)
        try:
            answers = cast(list[Answer], super().loglikelihood(requests, disable_tqdm=True))
        finally:
            self._encoded.clear()
        for request, cut in zip(requests, self._cut, strict=True):
            self.incidents.prompt(request, cut=cut)
        return answers

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[Answer]:
        asked = [TokenRequest(*request) for request in requests]
        self._cut = [len(each.context) + len(each.continuation) > self.max_length + 1 for each in asked]
        self._reporter.start(self.title, len(asked), "requests")
        kept = self._kept.round(packed(each.context, each.continuation) for each in asked)
        answers: list[Answer | None] = [None] * len(asked)
        for index, (likelihood, greedy) in kept.known.items():
            answers[index] = self._answer(asked[index], (likelihood, greedy))
        self._done(len(kept.known), kept.tokens)
        families = plan([self._scored(request) for request in asked], self.decoder.pair_cost, self.share)
        for family in families:
            if kept.has(index for row in family.rows for index in _indices(row)):
                continue
            trunk = self.decoder.trunk(family.trunk) if family.trunk else None
            tokens = len(family.trunk)
            self._done(0, tokens)
            with self.decoder.scoring() as lanes:
                # A known batch keeps its place: a lone one would be run with the threads of all lanes.
                def read(batch: Sequence[Row], trunk: Trunk | None = trunk) -> list[tuple[int, Answer]]:
                    if kept.has(index for row in batch for index in _indices(row)):
                        return []
                    pieces = self._halving.run(lambda rows: _read(rows, self.decoder.logits(rows, trunk), asked), batch)
                    return [each for piece in pieces for each in piece]

                cut = self._batches(family.rows, lanes.count)
                for batch, found in zip(cut, lanes.run(read, cut), strict=True):
                    if not found:
                        continue
                    own = sum(map(len, batch))
                    kept.keep(dict(found), tokens + own)
                    tokens = 0
                    for index, answer in found:
                        answers[index] = self._answer(asked[index], answer)
                    self._done(sum(len(row.readings) for row in batch), own)
        return cast(list[Answer], answers)

    def _answer(self, asked: TokenRequest, answer: Answer) -> Answer:
        if asked.text is not None:
            self.cache_hook.add_partial("loglikelihood", asked.text, answer)
        return answer

    def _batches(self, rows: Sequence[Row], lanes: int) -> list[list[Row]]:
        if self.decoder.flat:
            return lines(rows, self.batch_tokens // lanes, self.decoder.batch_targets // lanes, lanes)
        if not self.decoder.fast:
            return [[row] for row in rows]
        return list(batches(rows, self.batch_tokens, self.decoder.batch_targets, self.share))

    def _scored(self, request: TokenRequest) -> ScoredSequence:
        if not request.context or not 0 < len(request.continuation) <= self.max_length:
            raise UserError(
                f"{request.text}: {len(request.context)} tokens of context and {len(request.continuation)} of "
                f"continuation; at least one of each is needed, and at most {self.max_length} of continuation"
            )
        tokens = (request.context + request.continuation)[-(self.max_length + 1) : -1]
        return ScoredSequence(tuple(tokens), tuple(request.continuation))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Log-probability of each whole text, long ones in windows of `max_length` tokens."""
        windows: list[TokenRequest] = []
        counts = []
        for (text,) in (request.args for request in requests):
            found = get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.max_length, 1)
            pairs = [make_disjoint_window(pair) for pair in found]
            windows += [TokenRequest(None, context, continuation) for context, continuation in pairs]
            counts.append(len(pairs))
        answers = iter(self._loglikelihood_tokens(windows))
        sums = [math.fsum(next(answers)[0] for _ in range(count)) for count in counts]
        for request, total in zip(requests, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return sums

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """The text that the model writes after each context, greedily, up to a stop string or an end token.

        Tokens that end an answer are those of `end_tokens`. lm-eval's `hf` knows those of the `generation_config` and
        of the tokenizer, and writes on where a model ends its turn with another one. Within `drawing`, the text is one
        of several draws.
        """
        prompts: list[Prompt] = []
        decodings: list[Decoding] = []
        known: dict[str, Decoding] = {}
        for request in requests:
            context, kwargs = request.args
            settings = normalize_gen_kwargs(kwargs)
            if repr(kwargs) not in known:
                known[repr(kwargs)] = self._decoding(settings)
            decodings.append(known[repr(kwargs)])
            prompts.append(self._prompt(request, context, settings, decodings[-1].stops))
        kinds = [repr(request.args[1]) for request in requests]
        texts = []
        for request, prompt, written in zip(
            requests, prompts, self._answers(requests, prompts, decodings, kinds), strict=True
        ):
            texts.append(self._text(written.tokens, prompt.stops))
            self.incidents.answer(request, texts[-1], written)
            self.cache_hook.add_partial("generate_until", request.args, texts[-1])
        return texts

    @contextmanager
    def drawing(self, drawing: Drawing) -> Iterator[None]:
        """Within this context answers are drawn, and `drawing.turn` says which of them is given."""
        self._drawing = drawing
        try:
            yield
        finally:
            self._drawing = None

    def _answers(
        self, requests: Sequence[Instance], prompts: list[Prompt], decodings: list[Decoding], kinds: list[str]
    ) -> list[Completion]:
        drawing = self._drawing
        if drawing is None:
            return self._written(prompts, decodings, kinds)
        if drawing.turn == 0:
            seeds = drawing.seeds(requests)
            kinds = [f"{kind} {drawing.sampling} {seed}" for kind, seed in zip(drawing.each(kinds), seeds, strict=True)]
            sampler = Sampler(drawing.sampling, seeds)
            drawing.keep(requests, self._written(drawing.each(prompts), drawing.each(decodings), kinds, sampler))
        return drawing.given(requests)

    def _written(
        self,
        prompts: Sequence[Prompt],
        decodings: Sequence[Decoding],
        kinds: Sequence[str],
        sampler: Sampler | None = None,
    ) -> list[Completion]:
        """What the model writes after each prompt; `kinds` say how, for what is kept."""

        def adjusted(index: int, written: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
            return decodings[index].adjusted(prompts[index].tokens, written, logits)

        self._reporter.start(self.title, len(prompts), "requests")
        kept = self._kept.round(
            packed(prompt.tokens) + repr((prompt.stops, kind)).encode()
            for prompt, kind in zip(prompts, kinds, strict=True)
        )
        self._done(len(kept.known), kept.tokens)
        found = {index: Completion(index, *answer) for index, answer in kept.known.items()}
        run = 0

        def done(finished: int, tokens: int) -> None:
            nonlocal run
            run += tokens
            self._done(finished, tokens)

        batches = generated(
            self.decoder,
            self.tokenizer,
            prompts,
            self.batch_tokens,
            ends=self._ends,
            sampler=sampler,
            adjust=None if all(each.plain for each in decodings) else adjusted,
            known=kept.known,
            share=self.share,
            done=done,
        )
        for batch in batches:
            kept.keep({each.prompt: [each.tokens, each.ended] for each in batch}, run)
            found |= {each.prompt: each for each in batch}
            run = 0
        return [found[index] for index in range(len(prompts))]

    def _decoding(self, settings: Mapping[str, Any]) -> Decoding:
        if settings["do_sample"]:
            raise UserError(f"generation_kwargs {settings}: only greedy decoding is supported; set do_sample: false")
        return Decoding(self.decoder.model, settings)

    def _prompt(self, request: Instance, context: str, settings: Mapping[str, Any], stops: Sequence[str]) -> Prompt:
        most = settings["max_gen_toks"]
        room = self.max_length - most
        if room < 1:
            raise UserError(f"max_gen_toks {most} leaves no room of the {self.max_length} tokens")
        end = None if self.tokenizer.eos_token_id is None else self.tokenizer.decode(self.eot_token_id)
        tokens = self.tok_encode(context)
        self.incidents.prompt(request, cut=len(tokens) > room)
        return Prompt(tuple(tokens[-room:]), (*handle_stop_sequences(settings["until"], end), *stops), most)

    @cached_property
    def _ends(self) -> frozenset[int]:
        try:
            turn_end = self._chat.turn_end
        except UserError:  # of a template that cannot be used; a task that asks in chats has met it before
            turn_end = None
        return end_tokens(self.decoder.model, self.tokenizer, turn_end)

    def _text(self, tokens: Sequence[int], stops: Sequence[str]) -> str:
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return cast(str, postprocess_generated_text(text, list(stops), None))

    def _done(self, requests: int, tokens: int) -> None:
        self.tokens += tokens
        self._reporter.advance(requests, tokens=tokens)


def _padded(rows: Sequence[Row]) -> int:
    return len(rows) * max(map(len, rows))


def _indices(row: Row) -> Iterator[int]:
    """Numbers of the requests that a row answers."""
    return (index for index, _ in row.readings)


def _read(batch: Sequence[Row], logits: torch.Tensor, asked: Sequence[TokenRequest]) -> list[tuple[int, Answer]]:
    """Answers to the requests of a batch from its logits, by index of the request."""
    place: dict[tuple[int, int], int] = {}
    for number, row in enumerate(batch):
        for index in positions(row):
            place[number, index] = len(place)
    reads = [(index, number, where) for number, row in enumerate(batch) for index, where in row.readings]
    at = torch.tensor([place[number, each] for _, number, where in reads for each in where], device=logits.device)
    targets = torch.tensor(
        [token for index, _, _ in reads for token in asked[index].continuation], device=logits.device
    )
    log_probabilities = (logits[at, targets] - logits.logsumexp(-1)[at]).cpu().double()
    greedy = (logits.argmax(-1)[at] == targets).cpu()
    if not log_probabilities.isfinite().all():
        raise StageFailed("the model gives NaN or infinite log-likelihoods; its weights or its adapter are damaged")
    lengths = [len(where) for _, _, where in reads]
    sums = [float(part.sum()) for part in torch.split(log_probabilities, lengths)]
    exact = [bool(part.all()) for part in torch.split(greedy, lengths)]
    return [(index, answer) for (index, _, _), answer in zip(reads, zip(sums, exact, strict=True), strict=True)]
