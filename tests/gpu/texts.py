"""Scoring and writing: ours beside lm-eval's `hf` and transformers' `generate`."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import torch

from layersig.fast.decoder import Decoder
from layersig.fast.lora import fast_lora
from layersig.generating.generation import generated
from layersig.generating.prompts import Prompt
from layersig.generating.sampling import Sampler, Sampling
from layersig.models.devices import free, peak_memory
from tests.benchmarks.harness import seconds_of
from tests.gpu.shapes import Setting, adapted
from tests.gpu.tables import Note, Row
from tests.tiny import SPECIAL_TOKENS, tiny_tokenizer


def evaluation(setting: Setting) -> Iterator[Row | Note]:
    """Log-likelihoods, by us and by lm-eval."""
    if not find_spec("lm_eval"):
        yield Note("lm-eval is not installed here: not measured.")
        return
    from lm_eval.models.huggingface import HFLM

    from layersig.evaluating.model import SharedPrefixLM

    model, tokenizer = setting.model("8B"), tiny_tokenizer()
    length = setting.few(2048, 250)
    for title, asked in (("MMLU-like, 5 shots", _mmlu(setting)), ("HellaSwag-like", _hellaswag(setting))):
        ours = SharedPrefixLM(model, tokenizer, batch_tokens=32_768, max_length=length)
        ours.loglikelihood(asked[:8])  # what starts up with the first pass
        scores: dict[str, list[tuple[float, bool]]] = {}
        own = _seconds(lambda lm=ours, asked=asked: lm.loglikelihood(asked), setting, scores, "layersig")
        others = {}
        for size in (16, 64):
            lm = HFLM(
                pretrained=model, tokenizer=tokenizer, batch_size=size, device=str(setting.device), max_length=length
            )
            name = f"batch {size}"
            others[name] = _seconds(
                lambda lm=lm, asked=asked: lm.loglikelihood(asked, disable_tqdm=True), setting, scores, name
            )
        best = min(others, key=lambda name: others[name])
        apart = max(abs(a[0] - b[0]) for a, b in zip(scores["layersig"], scores[best], strict=True))
        yield (
            title,
            f"{len(asked):,}",
            f"{own:.2f} s",
            f"{others[best]:.2f} s ({best})",
            f"{others[best] / own:.2f}",
            f"{apart:.1e}",
        )


def _seconds(work: Callable[[], list], setting: Setting, scores: dict[str, list], name: str) -> float:
    def run() -> None:
        scores[name] = work()

    return seconds_of(run, setting.device)


def _mmlu(setting: Setting) -> list:
    """Four subjects, whose items share five worked examples."""
    subjects, items, shots, question = (2, 2, 80, 10) if setting.tiny else (4, 60, 700, 90)
    draw, found = random.Random(0), []
    for _ in range(subjects):
        before = _words(draw, shots)
        for _ in range(items):
            context = before + _words(draw, question)
            found += [_request(context, f" {letter}", len(found) // 4) for letter in "ABCD"]
    return found


def _hellaswag(setting: Setting) -> list:
    """Items with four endings each."""
    items, context, ending = (3, 20, 8) if setting.tiny else (400, 70, 25)
    draw, found = random.Random(1), []
    for number in range(items):
        shown = _words(draw, context + draw.randrange(context))
        found += [_request(shown, " " + _words(draw, ending + draw.randrange(ending)), number) for _ in range(4)]
    return found


def _words(draw: random.Random, count: int) -> str:
    """A text of so many tokens: a byte is one."""
    return "".join(draw.choices(string.ascii_letters + " ", k=count - 1)) + "."


def _request(context: str, continuation: str, number: int):
    from lm_eval.api.instance import Instance

    return Instance("loglikelihood", {}, (context, continuation), number)


def decoding(setting: Setting) -> Iterator[Row]:
    """New tokens, by us and by transformers."""
    model, tokenizer = setting.model("8B"), tiny_tokenizer()
    rows, most = setting.few(64, 3), setting.few(128, 6)
    draw = random.Random(2)
    prompts = [
        Prompt(tuple(draw.choices(range(len(SPECIAL_TOKENS), 260), k=draw.randrange(20, 200))), (), most)
        for _ in range(rows)
    ]

    def ours(sampling: Sampling | None = None) -> Callable[[], None]:
        decoder = Decoder(model)
        sampler = None if sampling is None else Sampler(sampling, range(rows))
        return lambda: list(generated(decoder, tokenizer, prompts, 2**18, ends=frozenset(), sampler=sampler))

    def row(name: str, work: Callable[[], object]) -> tuple[str, ...]:
        work()
        with peak_memory(setting.device) as memory:
            seconds = seconds_of(work, setting.device)
        free(setting.device)
        return (
            name,
            f"{rows * most / seconds:,.0f}",
            f"{1000 * seconds / most:.1f}",
            f"{memory.peak / 2**30:.1f} GiB",
        )

    yield row("transformers `generate`, greedy", lambda: _generate(model, prompts, most))
    yield row("layersig, greedy", ours())
    yield row("layersig, temperature 0.8, top-p 0.95", ours(Sampling(0.8, 0.95)))
    model = adapted(model).eval()
    with fast_lora(model):
        yield row("layersig, greedy, with an adapter on all layers", ours())


def _generate(model, prompts: list[Prompt], most: int) -> None:
    width = max(len(prompt.tokens) for prompt in prompts)
    tokens = torch.tensor([[0] * (width - len(each.tokens)) + list(each.tokens) for each in prompts])
    mask = torch.tensor([[0] * (width - len(each.tokens)) + [1] * len(each.tokens) for each in prompts])
    model.generate(
        input_ids=tokens.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=most,
        min_new_tokens=most,
        do_sample=False,
        pad_token_id=0,
    )
