"""What only the recipe can say, in its table `[about]`: the card quotes it, or asks for the key."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from layersig.findings.rows.arms import RESULTS
from layersig.findings.rows.layers import RANKINGS
from layersig.store.plans import PlannedForm
from layersig.topics.memorisation.rows import MEMORISATION
from layersig.topics.rigor import arms
from layersig.topics.rigor.benchmark_dates import published
from layersig.topics.rigor.demand import Demand, Records


def interests(records: Records) -> Demand:
    """Competing interests."""
    return _quoted(records.recipe.about.interests, "about.interests")


def funding(records: Records) -> Demand:
    """Who paid for the work."""
    return _quoted(records.recipe.about.funding, "about.funding")


def validity(records: Records) -> Demand | None:
    """Why the outcome stands for what is claimed."""
    if not records.findings[RESULTS]:
        return None
    outcomes = ", ".join(records.recipe.analyze.outcomes)
    said = _quoted(records.recipe.about.validity, "about.validity")
    return Demand(said.holds, f"The outcome is {outcomes}. {said.evidence}")


def sample_size(records: Records) -> Demand | None:
    """How seeds and items were chosen before the run, and whether the run's own error bears it out."""
    able, of = arms.able(records)
    said = _chosen(records)
    if not of:
        return said if any(records.findings[table] for table in (RANKINGS, RESULTS)) else None
    seen = f"By the error seen in the run, {able} of {of} declared comparisons detect their margin with 80 % power."
    return Demand(able == of if said.holds else said.holds, f"{said.evidence} {seen}")


def licences(records: Records) -> Demand:
    """Licences of the model, of the data, and of what is released."""
    said = records.recipe.about.licences
    sources = {
        "model" if source["role"] == "model" else source["name"]: source
        for source in records.files.manifest["sources"]
        if source["node"] == "source/model" or source["role"] == "data"
    }
    found = {name: source.get("licence") or said.get(name) for name, source in sources.items()}
    licences = "; ".join(f"{name}: {licence or 'not on record'}" for name, licence in found.items())
    missing = [f"`about.licences.{name}`" for name, licence in found.items() if licence is None]
    release = records.recipe.about.licence
    missing += [] if release else ["`about.licence` for what you release"]
    evidence = f"{licences}." + (f" What is released: {release}." if release else "")
    return Demand(
        None if missing else True, evidence + (f" State {', '.join(missing)} in the recipe." if missing else "")
    )


def pretraining(records: Records) -> Demand | None:
    """Whether benchmarks may be in the text that the model was pretrained on."""
    tasks = records.benchmarks
    if not tasks:
        return None
    about, probed = records.recipe.about, {row.task for row in records.findings[MEMORISATION]}
    cutoff, dates = about.training_cutoff, {task: published(task, about.published) for task in tasks}
    undated = [f"`about.published.{_key(task)}`" for task in tasks if dates[task] is None and task not in probed]
    if cutoff is None:
        keys = ", ".join(["`about.training_cutoff`", *undated])
        return Demand(
            None, f"Whether the model was pretrained on text with these benchmarks is not known. State {keys}."
        )
    if cutoff == "unknown":
        older, undated = list(tasks), []
        evidence = "The maker of the model does not state up to when its text reaches, so it may hold every benchmark."
    else:
        # Up to the precision of the cut-off: what was published in 2024 may be in text that reaches to 2024.
        older = [task for task, date in dates.items() if date is not None and date[: len(cutoff)] <= cutoff]
        earlier = ", ".join([f"{task} ({dates[task]})" for task in older])
        evidence = f"The model's text reaches to {cutoff}. Published by then: {earlier or 'none'}."
    unprobed = [task for task in older if task not in probed]
    if unprobed:
        remedy = "not probed; set `evaluate.memorisation = true`"
        evidence += f" Whether the model has seen {', '.join(unprobed)} is {remedy}."
    elif older:
        evidence += ' What probes show of them: see "memorisation of benchmarks".'
    evidence += f" State {', '.join(undated)}." if undated else ""
    return Demand(False if unprobed else None if undated else True, evidence)


def _chosen(records: Records) -> Demand:
    """What was planned before an outcome was measured, and what the recipe states."""
    text = records.recipe.about.sample_size
    said = _quoted(text, "about.sample_size")
    planned = _planned(records.files.manifest.get("plan", []))
    if planned is None:
        return said
    if planned.holds is None and text is None:
        ask = "These spreads are defaults: plan with `--pilot RUN`, or state `about.sample_size` in the recipe."
        return Demand(None, f"{planned.evidence} {ask}")
    holds = said.holds if planned.holds is None else planned.holds
    return Demand(holds, planned.evidence if text is None else f"{planned.evidence} {said.evidence}")


def _planned(plan: Sequence[PlannedForm]) -> Demand | None:
    """Whether every planned comparison would detect its margin; None where defaults alone say so, or no plan does."""
    found = [
        (member, member["detectable"], member["margin"])
        for member in plan
        if member["kind"] == "comparison" and member["margin"]
    ]
    if not found:
        return None
    able = [seen is not None and seen <= margin for _, seen, margin in found if margin]
    worst, detectable, margin = max(found, key=lambda each: inf if each[1] is None else each[1] / (each[2] or inf))
    least = "an unknown difference" if detectable is None else f"{detectable:.3g}"
    origins = ", ".join(dict.fromkeys(member["origin"] for member, *_ in found))
    assumed = any(member["assumed"] for member, *_ in found)
    evidence = (
        f"Planned before outcomes of arms were measured (spread: {origins}): {sum(able)} of {len(found)} declared "
        f"comparisons detect their margin with 80 % power; {worst['arm']} against {worst['reference']} on "
        f"{worst['task']} detects {least}, against a margin of {margin:.3g}."
    )
    return Demand(False if not all(able) else None if assumed else True, evidence)


def _key(task: str) -> str:
    return task.partition(">")[0]


def _quoted(text: str | None, key: str) -> Demand:
    if text is None:
        return Demand(None, f"State `{key}` in the recipe.")
    return Demand(True, f'The recipe states: "{text}".')
