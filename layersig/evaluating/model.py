"""The lm-eval model `layersig`: same tokens and same results as lm-eval's `hf`, less work.

    import layersig.evaluating.model  # registers it
    lm_eval.simple_evaluate(model="layersig", model_args={"pretrained": "HuggingFaceTB/SmolLM2-135M"}, tasks=[...])

or `python -m layersig.evaluating run --model layersig ...` for lm-eval's own command line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self, cast

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import (
    configure_pad_token,
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
    resolve_max_length,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from layersig.errors import UserError
from layersig.evaluating.decoding import Decoding
from layersig.evaluating.drawing import Drawing
from layersig.evaluating.incidents import IncidentLog
from layersig.evaluating.kept import KeptAnswers, packed
from layersig.evaluating.likelihoods import Answer, LikelihoodReader, TokenRequest
from layersig.evaluating.tokenization import Tokenization
from layersig.evaluating.writing import Writer, WritingRequest
from layersig.fast.budget import read_at_once
from layersig.fast.decoder import Decoder
from layersig.generating.ends import end_tokens
from layersig.generating.prompts import Prompt
from layersig.recipe.schema import TokenBudget
from layersig.stages.job import Reporter, Silent


@register_model("layersig")
class SharedPrefixLM(TemplateLM):  # type: ignore[misc]  # lm-eval is untyped
    """Scores and generates with a Hugging Face model in memory, running what requests share only once.

    Tokenisation, truncation and stop strings are those of lm-eval's `hf`; log-probabilities are taken in float32 (or
    above) whatever the model's dtype.

    Args:
        pretrained: A causal language model in eval mode, or a PEFT model around one.
        tokenizer: Its tokenizer.
        batch_tokens: Padded tokens that go through the model at once; "auto" leaves them to the device.
        max_length: Longest input in tokens; longer ones lose their beginning. None: what the model's config says.
        add_bos_token: Whether to put a BOS token first. None: the tokenizer's habit.
        share: False runs every sequence by itself (the plain twin of the fast path).
        reporter: Told of requests and real tokens done.
        chat_template: For tasks that ask in chats: `auto`, `plain`, or the text of a template.
        kept: Where answers are kept as they come, and found by the next process; None keeps none.

    Attributes:
        title: What the reporter calls the work.
        batch_tokens: What that comes to where nothing is written.
        tokens: Tokens run through the model so far, padding not counted.
        incidents: What happened to prompts and answers; grows with every request.
        kept: Where answers are kept as they come.
    """

    def __init__(
        self,
        pretrained: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_tokens: TokenBudget = "auto",
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
        self.batch_tokens = read_at_once(self.decoder.model, batch_tokens)
        self.share = self.decoder.shares
        self.max_length: int = max_length or resolve_max_length(pretrained.config, tokenizer)
        self.tokens = 0
        self.title = "lm-eval"
        self.incidents = IncidentLog()
        self._device = self.decoder.device
        self._reporter = reporter or Silent()
        self.kept = kept or KeptAnswers()
        self._tokenization = Tokenization(self.tokenizer, add_bos_token, chat_template)
        self._reader = LikelihoodReader(self.decoder, self.batch_tokens, self.max_length, self._done)
        self._writer = Writer(self.decoder, self.tokenizer, batch_tokens, self.kept, self._start, self._done)
        self._drawing: Drawing | None = None
        self._cut: list[bool] = []
        self._without_system: set[str] = set()

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
        return self._tokenization.prefix_token_id

    @property
    def tokenizer_name(self) -> str:
        """The name under which lm-eval caches requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of messages up to where the assistant is to write; or, without that, to continue the last one.

        As in lm-eval's `hf`, a template that refuses system messages gets none; but the date that some templates print
        is a fixed one, so that a prompt does not depend on the day.

        Raises:
            UserError: The template cannot render them.
        """

        def warn() -> None:
            if self.title not in self._without_system:
                self._without_system.add(self.title)
                self._reporter.warn(
                    f"{self.title}: the chat template takes no system message, so the task's description is left out, "
                    "as lm-eval does"
                )

        return self._tokenization.chat_text(chat_history, add_generation_prompt, warn)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids of a text; special tokens as lm-eval's `hf` puts them."""
        return self._tokenization.encode(string, add_special_tokens)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[Answer]:
        """Log-probability of each continuation after its context, and whether greedy decoding would say it."""
        strings = set()
        for context, continuation in (request.args for request in requests):
            if context:
                strings |= {context + continuation, context.rstrip() or context}
        with self._tokenization.encoded_ahead(strings):
            answers = cast(list[Answer], super().loglikelihood(requests, disable_tqdm=True))
        for request, cut in zip(requests, self._cut, strict=True):
            self.incidents.prompt(request, cut=cut)
        return answers

    def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[Answer]:
        asked = [TokenRequest(*request) for request in requests]
        self._cut = [self._reader.cut(request) for request in asked]
        self._start(len(asked))
        kept = self.kept.round(packed(request.context, request.continuation) for request in asked)
        answers: list[Answer | None] = [None] * len(asked)
        for index, answer in self._reader.answers(asked, kept):
            answers[index] = answer
            if (text := asked[index].text) is not None:
                self.cache_hook.add_partial("loglikelihood", text, answer)
        return cast(list[Answer], answers)

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
        asked: list[WritingRequest] = []
        known: dict[str, Decoding] = {}
        for request in requests:
            context, kwargs = request.args
            settings = normalize_gen_kwargs(kwargs)
            manner = repr(kwargs)
            if manner not in known:
                known[manner] = self._decoding(settings)
            prompt = self._prompt(request, context, settings, known[manner].stops)
            asked.append(WritingRequest(prompt, known[manner], manner))
        if self._drawing is None:
            answers = self._writer.written(asked, self._ends)
        else:
            answers = self._writer.drawn(requests, asked, self._ends, self._drawing)
        texts = []
        for request, (prompt, *_), written in zip(requests, asked, answers, strict=True):
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
        return end_tokens(self.decoder.model, self.tokenizer, self._tokenization.turn_end)

    def _text(self, tokens: Sequence[int], stops: Sequence[str]) -> str:
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return cast(str, postprocess_generated_text(text, list(stops), None))

    def _start(self, requests: int) -> None:
        self._reporter.start(self.title, requests, "requests")

    def _done(self, requests: int, tokens: int) -> None:
        self.tokens += tokens
        self._reporter.advance(requests, tokens=tokens)
