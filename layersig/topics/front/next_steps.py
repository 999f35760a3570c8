"""What to do next, with the command for it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from layersig.analysis.sharing import MIN_SEEDS_FOR_SHARING
from layersig.findings.rows.arms import RESULTS
from layersig.findings.rows.layers import SELECTIONS
from layersig.recipe.bundled import bundled
from layersig.report.document import Step
from layersig.report.material import Material
from layersig.topics.front.standings import Place


def next_steps(material: Material, places: Sequence[Place]) -> tuple[Step, ...]:
    """At most three: resume the run, collect more evidence, use the answer."""
    if material.findings.smoke:
        return (Step("Run the study itself:", _run_again(material, without=("--smoke", "--json"))),)
    if material.findings.status in ("failed", "interrupted", "running", "stopped"):
        first = "Fix what failed, then resume" if material.findings.status == "failed" else "Resume"
        return (Step(f"{first} the run; completed stages are not repeated:", _run_again(material)),)
    return (*more_evidence(material, places), *_use(material, places))


def more_evidence(material: Material, places: Sequence[Place]) -> Iterator[Step]:
    """Steps towards a more certain answer; none if there are enough seeds and the arms are distinguishable."""
    if material.findings[SELECTIONS] and not material.findings[RESULTS] and _holds_out(material):
        measure = _run_again(material, "evaluate.heldout=true")
        yield Step("Nothing was measured on the arms. To measure their held-out loss, without training again:", measure)
        return
    seeds = max((place.lead.result.seeds for place in places), default=max((r.runs for r in material.lead), default=0))
    if seeds < MIN_SEEDS_FOR_SHARING and (places or material.lead):
        wanted = f"seeds=[{','.join(map(str, range(MIN_SEEDS_FOR_SHARING)))}]"
        times = f", for about {MIN_SEEDS_FOR_SHARING / max(1, seeds):.2g} times the work" if seeds else ""
        what = "learn whether a new run would give the same" if places and seeds <= 1 else "make the answer surer"
        yield Step(f"To {what}{times}:", _run_again(material, wanted))
    elif any(place.unstated or _open(place) for place in places):
        yield Step("To see what size of study could tell the arms apart:", _run_again(material, verb="plan"))


def _holds_out(material: Material) -> bool:
    """Whether there are conversations that no arm was trained on."""
    reports: Iterable[Mapping[str, Any]] = material.files.data_reports.values()
    return any(report.get("heldout", {}).get("conversations") for report in reports)


def _open(place: Place) -> bool:
    verdict = place.lead.verdict("random control")
    return verdict is not None and verdict.open


def _use(material: Material, places: Sequence[Place]) -> Iterator[Step]:
    if not places:
        return
    place = places[0]
    export = ["layersig", "export", f"{material.findings.name}/{material.findings.id}", place.lead.arm]
    # A folder of the run is called as the recipe calls the data set, also where a fallback stood in for it.
    data = ["--data", place.data.partition(">")[0]] if len(places) > 1 else []
    of = f" of {place.data}" if data else ""
    if place.prunes:
        seeds = material.manifest["seeds"][:1] if place.lead.result.seeds > 1 else []
        one = [word for seed in seeds for word in ("--seed", str(seed))]
        which = "".join(f", that of seed {seed} (--seed for another)" for seed in seeds)
        yield Step(f"The pruned checkpoint{of} for transformers{which}:", shlex.join([*export, "FOLDER", *data, *one]))
    else:
        tools = "axolotl, llamafactory, trl, unsloth, torchtune, names"
        runs = place.lead.selection.runs
        often = f" (those chosen most often over {runs} seeds)" if runs > 1 else ""
        yield Step(
            f"To train with these layers{of} elsewhere{often}; --to also takes {tools}:",
            shlex.join([*export, "--to", "peft", *data]),
        )


def _run_again(material: Material, *overrides: str, verb: str = "run", without: Sequence[str] = ("--json",)) -> str:
    """The command that made the run, with overrides; the recipe in its folder where another program made it."""
    typed = material.manifest["argv"]
    if typed[:1] != ["run"]:
        # Not where the run lies now: a report must read the same wherever it is rebuilt.
        typed = ["run", f"runs/{material.findings.name}/{material.findings.id}/recipe.toml"]
    keys = {override.partition("=")[0] for override in overrides}
    kept = [word for word in typed[1:] if word not in without and word.partition("=")[0] not in keys]
    if verb != "run":  # it knows recipes and overrides, and few options of `run`
        kept = [word for word in kept if not word.startswith("-") and _names_or_overrides(word)]
    return shlex.join(["layersig", verb, *kept, *overrides])


def _names_or_overrides(word: str) -> bool:
    return word.endswith(".toml") or "=" in word or bundled(word) is not None
