"""The rigor card: the checklist that reviewers apply, filled in from the records of the run and never by hand."""

from __future__ import annotations

from layersig.findings.files import RunFiles
from layersig.findings.tables import Findings
from layersig.recipe.schema import Recipe
from layersig.topics.rigor import arms, rankings, stated
from layersig.topics.rigor import records as recorded
from layersig.topics.rigor.demand import Demand, Records, judged
from layersig.topics.rigor.rows import RigorRow


def rigor_rows(findings: Findings, files: RunFiles, recipe: Recipe) -> tuple[RigorRow, ...]:
    """Every item of the checklist with its evidence.

    Args:
        findings: Everything else that was found.
        files: The run's own records.
        recipe: What was declared.
    """
    run = Records(findings, files, recipe)
    no_judge = "No outcome of this run comes from a model that judges."
    return (
        judged("error bars", arms.error_bars(run), rankings.error_bars(run)),
        judged("tests", arms.tests(run), rankings.tests(run)),
        judged("correction for many tests", arms.corrections(run), rankings.corrections(run)),
        judged("declared before the run", *_declared(run)),
        judged("effect sizes", arms.effect_sizes(run), rankings.effect_sizes(run)),
        judged("n and seeds", arms.seeds(run), rankings.seeds(run)),
        judged("sample size chosen before", stated.sample_size(run)),
        judged("power", arms.power(run), rankings.power(run)),
        judged("untouched model as baseline", arms.untouched(run)),
        judged("baselines of equal budget", arms.equal_budget(run)),
        judged("equal search of hyper-parameters", arms.search(run)),
        judged("alternative explanations", arms.alternatives(run)),
        judged("overlap beside chance and noise", rankings.chance(run)),
        judged("validity of the outcome", stated.validity(run)),
        judged("environment and versions", recorded.environment(run)),
        judged("repeatable from the run folder", recorded.repeatable(run)),
        judged("raw data", recorded.raw_data(run)),
        judged("sources as declared and pinned", recorded.sources(run)),
        judged("licences", stated.licences(run)),
        judged("data description", recorded.data(run)),
        judged("selection apart from evaluation", recorded.apart(run)),
        judged("overlap of training data with benchmarks", recorded.overlap(run)),
        judged("pretraining and benchmarks", stated.pretraining(run)),
        judged("memorisation of benchmarks", recorded.memorisation(run)),
        judged("prompts", recorded.prompts(run)),
        judged("judge", recorded.judge(run), absent=no_judge),
        judged("cost", recorded.cost(run)),
        judged("inference cost", recorded.inference(run)),
        judged("scope named in every verdict", recorded.scope(run)),
        judged("generality: data sets and models", recorded.generality(run)),
        judged("limitations and threats", recorded.limitations(run)),
        judged("interests", stated.interests(run)),
        judged("funding", stated.funding(run)),
    )


def _declared(run: Records) -> list[Demand | None]:
    """What is asked of the declarations of a recipe; where it has none, of their absence."""
    made = [arms.declared(run), rankings.declared(run)]
    return made if any(made) else [rankings.undeclared(run)]
