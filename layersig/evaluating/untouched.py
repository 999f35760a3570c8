"""The stage that measures responses under the untouched model, for objectives that compare with it."""

from __future__ import annotations

from layersig.data.pairs import read_interleaved, write_before
from layersig.evaluating.kept import KeptAnswers
from layersig.evaluating.preferences import log_probabilities
from layersig.generating.arm_model import arm_model
from layersig.stages.job import Job
from layersig.stages.kinds import Untouched


def untouched(job: Job[Untouched]) -> None:
    """Write log-probabilities under the untouched model; see `Untouched`."""
    split, data = job.spec.split, job.cell.data or "data"
    sequences = read_interleaved(job.inputs["data"], split)
    job.reporter.start(f"untouched/{data}", len(sequences), "responses")

    def advance(amount: int, tokens: int) -> None:
        job.reporter.advance(amount, tokens=tokens)

    with arm_model(job) as arm:
        kept = KeptAnswers(job.work / "answers.jsonl")
        found = log_probabilities(
            arm.model, sequences, f"{split} side of {data}", job.spec.batch_tokens, advance, kept, arm.fast
        )
    write_before(job.out, split, found)
    job.cost.update(tokens=float(sequences.lengths.sum()), peak_memory=float(arm.memory.peak))
