"""The evaluation stage: a model, with or without an adapter, on held-out conversations and tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from transformers import PreTrainedModel

from layersig.data.examples import Examples, read_examples
from layersig.data.pairs import read_interleaved
from layersig.evaluating.definitions import check_apart
from layersig.evaluating.heldout import heldout_losses
from layersig.evaluating.kept import KeptAnswers
from layersig.evaluating.preferences import log_probabilities, preference_outcomes, preference_summary
from layersig.fast.budget import read_at_once
from layersig.generating.arm_model import arm_model
from layersig.jsonform import jsonl
from layersig.models.load import load_tokenizer
from layersig.objectives import objective_of
from layersig.records import CorpusValue, Outcome
from layersig.stages.job import Job
from layersig.stages.measurements import Evaluate
from layersig.streams import Streams

RESPONSES = "responses.jsonl"
_KEPT = "answers.jsonl"
FLOORS = "floors.jsonl"
CORPUS = "corpus.jsonl"
MEMORISATION = "memorisation.jsonl"


def evaluate(job: Job[Evaluate]) -> None:
    """Measure a model; see `Evaluate`.

    What the model answers is kept batch by batch in the stage's own folder, so that an interruption costs a batch.

    Raises:
        UserError: Two tasks give results of one name.
    """
    started = time.perf_counter()
    check_apart((task.source, job.inputs[f"task/{number}"]) for number, task in enumerate(job.spec.tasks))
    with arm_model(job) as arm:
        run = _Run(job, arm.model, fast=arm.fast)
        run.heldout()
        run.tasks()
    seconds = time.perf_counter() - started
    job.cost.update(tokens=float(run.tokens), evaluate_seconds=seconds, peak_memory=float(arm.memory.peak))
    job.write(
        "results.json",
        {
            "tasks": run.summary,
            "lm_eval": version("lm_eval"),
            "dtype": str(arm.dtype).removeprefix("torch."),
            "device": arm.device.type,
            "batch": {"tokens": run.batch_tokens, **run.policy},
        },
    )
    if run.floors:
        (job.out / FLOORS).write_text(jsonl([outcome.to_json() for outcome in run.floors]), encoding="utf-8")
    if run.corpus:
        (job.out / CORPUS).write_text(jsonl([value.to_json() for value in run.corpus]), encoding="utf-8")
    if run.probed:
        (job.out / MEMORISATION).write_text(jsonl(run.probed), encoding="utf-8")
    if run.responses:
        (job.out / RESPONSES).write_text(jsonl(run.responses), encoding="utf-8")
    (job.out / "items.jsonl").write_text(jsonl([outcome.to_json() for outcome in run.outcomes]), encoding="utf-8")


class _Run:
    """Everything measured on one model, in the order of the recipe."""

    def __init__(self, job: Job[Evaluate], model: PreTrainedModel, *, fast: bool) -> None:
        self.job = job
        self.model = model
        self.fast = fast
        self.batch_tokens = read_at_once(model, job.spec.batch_tokens)
        self.outcomes: list[Outcome] = []
        self.corpus: list[CorpusValue] = []
        self.responses: list[Mapping[str, Any]] = []
        self.floors: list[Outcome] = []
        self.probed: list[Mapping[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.policy: dict[str, Any] = {}
        self.tokens = 0
        self.kept = KeptAnswers(job.work / _KEPT)

    def heldout(self) -> None:
        """The loss on the held-out conversations of every data set, and on its pairs the preference too."""
        for role in self.job.inputs:
            if not role.startswith("data/"):
                continue
            name = role.removeprefix("data/")
            examples = read_examples(self.job.inputs[role], "heldout")
            if not len(examples):
                continue
            found = self._conversations(name, examples) if self.job.spec.objective is None else self._pairs(name)
            losses = [outcome for outcome in found if outcome.metric == "loss"]
            targets = sum(outcome.weight for outcome in losses)
            loss = sum(outcome.value * outcome.weight for outcome in losses) / targets
            self.outcomes += found
            self.summary[f"heldout/{name}"] = {
                "loss": loss,
                "n": len(losses),
                "target_tokens": int(targets),
                **preference_summary(found),
            }

    def _conversations(self, name: str, examples: Examples) -> list[Outcome]:
        self.job.reporter.start(f"heldout/{name}", len(examples), "conversations")
        return heldout_losses(self.model, examples, name, self.batch_tokens, self._advance, self.kept, self.fast)

    def _pairs(self, name: str) -> list[Outcome]:
        job, data = self.job, self.job.inputs[f"data/{name}"]
        assert job.spec.objective is not None
        component = objective_of(job.spec.objective["name"], job.components)
        objective, params = component.create(), component.parse(job.spec.objective["params"])
        pairs = objective.examples(params, data, "heldout", job.inputs.get(f"untouched/{name}"))
        job.reporter.start(f"heldout/{name}", 2 * len(pairs), "responses")
        found = log_probabilities(
            self.model,
            read_interleaved(data, "heldout"),
            f"heldout/{name}",
            job.spec.batch_tokens,
            self._advance,
            self.kept,
            self.fast,
        )
        return preference_outcomes(pairs, objective, params, name, found)

    def tasks(self) -> None:
        """lm-eval's tasks."""
        if not self.job.spec.tasks:
            return
        from layersig.evaluating.draws import score_draws
        from layersig.evaluating.items import floor_outcomes, score_task
        from layersig.evaluating.loading import load_task
        from layersig.evaluating.memorisation import probe
        from layersig.evaluating.model import SharedPrefixLM

        tokenizer = load_tokenizer(self.job.inputs["model"])
        model = SharedPrefixLM(
            self.model,
            tokenizer,
            batch_tokens=self.job.spec.batch_tokens,
            reporter=self.job.reporter,
            chat_template=self.job.spec.chat_template,
            kept=self.kept,
            share=self.fast,
        )
        self.policy = {"shared_prefixes": model.share, "max_length": model.max_length}
        root = Streams(self.job.streams.root)
        allow_code = self.job.spec.allow_code_execution
        for number, settings in enumerate(self.job.spec.tasks):
            task = load_task(settings, self.job.inputs[f"task/{number}"], root, self.job.spec.same_items)
            model.title = task.name
            if settings.draws is None:
                scored = score_task(task, model, allow_code=allow_code)
            else:
                scored = score_draws(task, model, settings, self.job.streams, allow_code=allow_code)
            self.outcomes += scored.outcomes
            self.corpus += scored.corpus
            self.responses += ({**line, **ended} for line, ended in zip(scored.responses, scored.endings, strict=True))
            if settings.floor:
                model.title = f"{task.name}, floor"
                floors = floor_outcomes(task, model, scored)
                self.floors += floors
                for label in scored.summary.keys() - {outcome.task for outcome in floors}:
                    self.job.reporter.warn(f"{label}: its floor was asked for and takes two items or more")
            if self.job.spec.memorisation:
                model.title = f"{task.name}, memorisation"
                self.probed += probe(task, model, root)
            for label, entry in scored.summary.items():
                incidents = scored.incidents[label]
                self.summary[label] = {**entry, "incidents": incidents.to_json()}
                for sentence in incidents.many(entry["n"]):
                    self.job.reporter.warn(f"{label}: {sentence}")
        self.tokens += model.tokens

    def _advance(self, amount: int, tokens: int) -> None:
        self.tokens += tokens
        self.job.reporter.advance(amount, tokens=tokens)
