"""The overlap stage: which benchmark items, questions and held-out conversations share words with the training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from layersig.data.examples import read_examples
from layersig.data.overlap import TaskOverlap, ngram_overlap
from layersig.data.questions import read_questions, sample
from layersig.evaluating.loading import ItemText, load_task
from layersig.models.load import load_tokenizer
from layersig.recipe.schema import TaskSettings
from layersig.stages.job import Job
from layersig.streams import Streams

SIZES = (8, 13)
"""Words in an n-gram: 8 after PaLM, 13 after GPT-3."""
HELDOUT = "heldout"
"""What the result calls the held-out conversations of the same data set."""
_IDS_TOLD = 20


def overlap(job: Job) -> None:
    """Write `overlap.json`.

    Roles: `data` (output of the data stage); `task/N` (what `tasks.resolve_task` found for `tasks[N]`);
    `questions/N` (the file of set N); `model` (a folder with the tokenizer of the data), only where held-out
    conversations are to be sought too.

    Parameters: `tasks` (a list of `TaskSettings`); `conversations` (a list of `name` and `limit`), where there are sets
    of questions: all turns of a question are one item.

    `overlap.json` holds by task `items` and, in `ngrams` by words of one, `hits` (items that share an n-gram with a
    training conversation), `share` (of the items that have n words), `too_short` (the other items), `covered` (items of
    whose n-grams at least 70 % occur) and `ids` (of the first 20 hits). Held-out conversations, a task of their own,
    show near duplicates across the split.

    Deviation: held-out conversations are read back from their tokens. They end at `max_tokens`, and the words of the
    chat template between their messages hide n-grams that run from one message into the next.
    """
    root = Streams(job.streams.root)
    items: dict[str, Sequence[ItemText]] = {}
    for number, entry in enumerate(job.params["tasks"]):
        settings = TaskSettings.model_validate(entry, strict=False)
        items.update(load_task(settings, job.inputs[f"task/{number}"], root).texts())
    for number, entry in enumerate(job.params.get("conversations", ())):
        every = read_questions(job.inputs[f"questions/{number}"])
        asked = sample(every, entry["name"], entry["limit"], job.streams.root)
        items[entry["name"]] = [ItemText(each.id, "\n".join(each.turns)) for each in asked]
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


def _heldout(job: Job) -> Iterator[ItemText]:
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
