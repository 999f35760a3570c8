"""The overlap stage: which benchmark items, questions and held-out conversations share words with the training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from layersig.data.examples import read_examples
from layersig.data.overlap import TaskOverlap, ngram_overlap
from layersig.data.questions import read_questions, sample
from layersig.evaluating.loading import ItemText, load_task
from layersig.models.load import load_tokenizer
from layersig.stages.job import Job
from layersig.stages.measurements import Overlap
from layersig.streams import Streams

SIZES = (8, 13)
"""Words in an n-gram: 8 after PaLM, 13 after GPT-3."""
HELDOUT = "heldout"
"""What the result calls the held-out conversations of the same data set."""
_IDS_TOLD = 20


def overlap(job: Job[Overlap]) -> None:
    """Write `overlap.json`; see `Overlap`.

    Deviation: held-out conversations are read back from their tokens. They end at `max_tokens`, and the words of the
    chat template between their messages hide n-grams that run from one message into the next.
    """
    root = Streams(job.streams.root)
    items: dict[str, Sequence[ItemText]] = {}
    for number, settings in enumerate(job.spec.tasks):
        items.update(load_task(settings, job.inputs[f"task/{number}"], root, job.spec.same_items).texts())
    for number, entry in enumerate(job.spec.conversations):
        every = read_questions(job.inputs[f"questions/{number}"])
        asked = sample(every, entry.name, entry.limit, job.streams.root)
        items[entry.name] = [ItemText(each.id, "\n".join(each.turns)) for each in asked]
    if "model" in job.inputs:
        items[HELDOUT] = list(_heldout(job))
    training = (job.inputs["data"] / "train.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, dict[str, Any]] = {
        task: {"items": len(texts), "ngrams": {}} for task, texts in items.items() if texts
    }
    for n in SIZES:
        for each in ngram_overlap(training, {task: items[task] for task in found}, n):
            found[each.task]["ngrams"][str(n)] = _record(each)
    job.write("overlap.json", found)


def _heldout(job: Job[Overlap]) -> Iterator[ItemText]:
    tokenizer = load_tokenizer(job.inputs["model"])
    for example in read_examples(job.inputs["data"], "heldout"):
        yield ItemText(example.id, str(tokenizer.decode(example.tokens, skip_special_tokens=True)))


def _record(found: TaskOverlap) -> dict[str, Any]:
    return {
        "hits": len(found.hits),
        "share": found.share,
        "too_short": found.too_short,
        "covered": len(found.covered()),
        "ids": [hit.item for hit in found.hits[:_IDS_TOLD]],
    }
