"""What the card demands of the records of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from layersig.analysis.claim import MIN_DATA_SETS_TO_GENERALISE, named_data_sets
from layersig.analysis.verdicts import Verdict
from layersig.findings.files import HELDOUT, model_name
from layersig.findings.leakage import leaking
from layersig.findings.rows.arms import COMPARISONS, RESULTS, ComparisonRow
from layersig.findings.rows.claims import CLAIMS, EVERY_TASK, ClaimRow
from layersig.findings.rows.layers import RANKINGS
from layersig.findings.tables import Findings
from layersig.recipe.schema import BASE
from layersig.report.numbers import plural
from layersig.topics.cost.rows import COMPUTE, COSTS, INFERENCE
from layersig.topics.judge.rows import JUDGES
from layersig.topics.memorisation.rows import MEMORISATION
from layersig.topics.rigor.demand import Demand, Records, span
from layersig.topics.rigor.rows import LIMITATIONS
from layersig.topics.stability.rows import SHARING

_INVALID_SHARE = 0.05
"""Share of invalid verdicts above which a judge is not fit for the study (ours)."""
_MODELS = 2
"""Least number of models for a claim about models in general (ours)."""
_LONG = "13"
"""Words in the n-grams that the card is about."""
_OF_CUDA = ("accelerator", "driver", "cuda")
_OF_EVERY_MACHINE = ("platform", "cpu", "memory_gib", "device", "dtype")


def environment(records: Records) -> Demand:
    """Every package with its version, and the machine with its accelerator."""
    manifest = records.files.manifest
    packages, machine = manifest.get("packages", {}), manifest["machine"]
    on_cuda = machine.get("device") == "cuda"
    wanted = (*_OF_EVERY_MACHINE, *(_OF_CUDA if on_cuda else ()))
    missing = [key for key in wanted if machine.get(key) in (None, "")]
    missing += [] if set(manifest["versions"]) - {"python"} <= packages.keys() else ["versions of all packages"]
    evidence = f"{len(packages)} packages with their versions, Python {manifest['versions'].get('python', 'unknown')}; "
    evidence += f"device {machine.get('accelerator') or machine.get('device')}, {machine.get('dtype')}"
    evidence += f", driver {machine.get('driver')}, CUDA {machine.get('cuda')}" if on_cuda else ""
    return Demand(not missing, evidence + (f"; not recorded: {', '.join(missing)}." if missing else "."))


def repeatable(records: Records) -> Demand:
    """Everything that the recipe reads from the machine lies in the run folder, or is public."""
    manifest = records.files.manifest
    inputs = manifest.get("inputs", [])
    left = [each["name"] for each in inputs if each["file"] is None]
    local = [s["label"] for s in manifest["sources"] if s["resolved"].startswith("path:")]
    kept = (records.files.path / "repeat" / "recipe.toml").is_file()
    evidence = (
        f"`layersig run repeat/recipe.toml` repeats the run; {len(inputs) - len(left)} local files (plugins, data, "
        "tasks) "
        "are kept with their digests"
        if kept
        else "The run folder holds no `repeat/recipe.toml`; run the recipe again to have it written"
    )
    evidence += f"; not kept, because of their size: {', '.join(left)}" if left else ""
    evidence += f"; a folder of this machine, and not public: {', '.join(local)}" if local else ""
    return Demand(kept and not left and not local, f"{evidence}.")


def raw_data(records: Records) -> Demand:
    """Outcomes of items and scores of layers, by digests that say whether they were changed."""
    manifest = records.files.manifest
    digests = manifest.get("files", {})
    items = sum(name.endswith(("/items.jsonl", "/judgements.jsonl")) for name in digests)
    scores = "scores.jsonl" in digests
    broken = [stage["id"] for stage in manifest["stages"] if stage["status"] != "done"]
    evidence = f"{len(digests)} records with their sha256: outcomes of {items} evaluations item by item, and "
    evidence += "the scores of every ranking. " if scores else "no scores. "
    evidence += f"{len(broken)} stages have no result. " if broken else ""
    return Demand(bool(digests) and not broken, evidence + "`layersig archive` packs them for others.")


def sources(records: Records) -> Demand | None:
    """Digests of all sources, none replaced."""
    found = records.files.manifest["sources"]
    if not found:
        return None
    pinned = sum(bool(source.get("digest")) for source in found)
    replaced = [source["name"] for source in found if source.get("fallback")]
    evidence = f"{pinned} of {len(found)} sources have a digest"
    evidence += f"; replaced by fallbacks: {', '.join(replaced)}." if replaced else "; none was replaced."
    return Demand(pinned == len(found) and not replaced, evidence)


def data(records: Records) -> Demand:
    """A record of what became of the rows of every data set."""
    files, declared = records.files, records.recipe.data
    described = [each.name for each in declared if files.label(each.name) in files.data_reports]
    names = ", ".join(described) or "none"
    return Demand(
        len(described) == len(declared), f"Rows, duplicates, cuts, tokens and template are recorded of: {names}."
    )


def apart(records: Records) -> Demand | None:
    """Scores that were not computed on what arms are evaluated on."""
    if not records.recipe.scorers:
        return None
    leaks = leaking(records.recipe)
    return Demand(
        not leaks,
        f"Computed on what arms are evaluated on: {', '.join(sorted(leaks))}."
        if leaks
        else "Scores are computed on the training side, or on task items that are not evaluated.",
    )


def overlap(records: Records) -> Demand | None:
    """Shared n-grams of the fine-tuning data with everything that is evaluated."""
    files = records.files
    tasks = [*records.benchmarks, *(each.label for each in records.recipe.evaluate.conversations)]
    pairs = [(task, files.label(each.name) or "") for each in records.recipe.data for task in tasks]
    if not pairs:
        return None
    overlaps = files.overlaps
    known = [(task, name) for task, name in pairs if task in overlaps.get(name, {})]
    evidence = (
        "Of the fine-tuning data, not of what the model was pretrained on: shared 8- and 13-grams are counted for "
        f"{len(known)} of {len(pairs)} pairs of benchmark and data"
    )
    compared = [(task, name) for task, name in known if overlaps[name][task]["ngrams"][_LONG]["hits"]]
    compared += [(HELDOUT, name) for name in overlaps if HELDOUT in overlaps[name]]
    found = [(f"{task} in {name}", overlaps[name][task]) for task, name in compared]
    hits = [f"{where} {record['ngrams'][_LONG]['hits']} of {record['items']}" for where, record in found]
    evidence += f"; items that share a 13-gram: {', '.join(hits)}." if hits else "; no item shares a 13-gram."
    return Demand(len(known) == len(pairs), evidence)


def memorisation(records: Records) -> Demand | None:
    """Probes of whether the untouched model has seen the items of the benchmarks."""
    tasks, rows = records.benchmarks, records.findings[MEMORISATION]
    if not tasks:
        return None
    if not rows:
        return Demand(None, "Not probed. Set `evaluate.memorisation = true` in the recipe.")
    held = sum(row.reordered > 0 for row in rows)
    evidence = f"{len(rows)} of {len(tasks)} benchmarks were probed, {held} of them against another order of choices. "
    holds = len(rows) == len(tasks) == held and not any(row.seen for row in rows)
    return Demand(holds, evidence + " ".join(row.sentence for row in rows))


def prompts(records: Records) -> Demand | None:
    """The text of a prompt of every benchmark, and a digest of all."""
    tasks = records.benchmarks
    if not tasks:
        return None
    recorded = records.files.task_records
    digests = sum(bool(recorded[task].get("prompts")) for task in tasks)
    texts = sum(any(recorded[task].get("prompt", {}).get("texts", ())) for task in tasks)
    evidence = (
        f"The text of a prompt, examples included, is kept for {texts} of {len(tasks)} benchmarks; a digest of every "
        f"prompt, shots and split for {digests}."
    )
    return Demand(texts == len(tasks) == digests, evidence)


def judge(records: Records) -> Demand | None:
    """A judge that stayed the same, was repeated, and saw pairs in both orders."""
    judges = records.findings[JUDGES]
    if not judges:
        return None
    named = {name for row in judges for name in row.answered_by}
    verdicts, invalid = sum(row.verdicts for row in judges), sum(row.invalid for row in judges)
    compared = any(row.what == "comparisons" for row in judges)
    evidence = (
        f"{judges[0].model}, by its endpoint {', '.join(sorted(named)) or 'without a name'}; {verdicts} verdicts with "
        f"their prompts are kept, {invalid} invalid; {span([row.repeats for row in judges])} repeats"
    )
    evidence += "; pairs in both orders." if compared else "; no pairs, so that a bias of position is not known."
    repeated = min(row.repeats for row in judges) > 1
    usable = invalid <= _INVALID_SHARE * verdicts
    return Demand(len(named) == 1 and compared and repeated and usable, evidence)


def cost(records: Records) -> Demand | None:
    """Hours in total on a named device, and the peak memory of every stage that runs a model."""
    rows = records.findings[COMPUTE]
    if not rows:
        return None
    stages = [row for row in records.findings[COSTS] if row.status == "done"]
    timed = sum(row.seconds is not None for row in stages)
    hours = "; ".join(f"{row.hours:.3g} hours on {row.device}" for row in rows)
    joules = sum((row.cpu_energy or 0.0) + (row.gpu_energy or 0.0) for row in rows)
    measured = sum(row.measured for row in rows)
    energy = f"{joules / 3.6e6:.3g} kWh, counted in {measured} of {len(stages)} stages" if measured else "not measured"
    return Demand(timed == len(stages), f"{hours}; {timed} of {len(stages)} stages have a time. Energy: {energy}.")


def inference(records: Records) -> Demand | None:
    """The speed of every evaluated arm, relative to the untouched model."""
    arms = dict.fromkeys(row.arm for row in records.findings[RESULTS])
    if not arms:
        return None
    rows = {row.arm: row for row in records.findings[INFERENCE]}
    known = [arm for arm in arms if arm in rows and rows[arm].ratio is not None]
    evidence = f"The speed of {len(known)} of {len(arms)} arms is known"
    ratios = [f"{arm} {rows[arm].ratio:.2f}" for arm in known if arm != BASE]
    evidence += f"; tokens per second over those of the untouched model: {', '.join(ratios)}" if ratios else ""
    return Demand(len(known) == len(arms), f"{evidence}.")


def scope(records: Records) -> Demand | None:
    """Bounded verdicts: every sentence names what was studied, so that none is read as a claim about more."""
    found = list(_verdicts(records.findings))
    if not found:
        return None
    lacking = [sentence for sentence, named in found if not all(_names(sentence, name) for name in named)]
    evidence = (
        f"{len(found) - len(lacking)} of {plural(len(found), 'verdict')} name their model and data sets in their "
        "sentence, and verdicts on arms S and n too"
    )
    return Demand(not lacking, evidence + (f'; this one does not: "{lacking[0]}"' if lacking else "."))


def _verdicts(findings: Findings) -> Iterator[tuple[str, list[str]]]:
    """The sentence of every verdict, and what it has to name."""
    compared = [row for row in findings[COMPARISONS] if row.verdict not in (None, Verdict.REFUSED)]
    on_arms: list[ComparisonRow | ClaimRow] = [*compared, *findings[CLAIMS]]
    for row in on_arms:
        yield row.sentence or "", [model_name(findings.model), *_data(row.data), f"S = {row.seeds}", f"n = {row.n}"]
    for each in findings[EVERY_TASK]:
        yield each.sentence, [model_name(findings.model), *_data(each.data)]
    for shared in findings[SHARING]:
        # Enough data sets to stand for more are counted and not named.
        several = shared.data is None and shared.data_sets >= MIN_DATA_SETS_TO_GENERALISE
        names = [named_data_sets(shared.cells)] if several else shared.cells if shared.data is None else [shared.data]
        yield shared.sentence, [model_name(findings.model), *names]


def _data(name: str | None) -> list[str]:
    """The data set to name; none of an arm that was tuned on none."""
    return [] if name is None else [name]


def _names(sentence: str, name: str) -> bool:
    """Whether it names it by itself, and not as a part of another name such as `heldout/NAME`."""
    return re.search(rf"(?<![\w/-]){re.escape(name)}(?![\w>-])", sentence) is not None


def generality(records: Records) -> Demand | None:
    """Enough data sets and models for claims beyond those studied."""
    if not records.findings[RESULTS] and not records.findings[RANKINGS]:
        return None
    found = [*(row.data for row in records.findings[RESULTS]), *(row.data for row in records.findings[RANKINGS])]
    names = set(found) - {None}
    models = sum(source["node"] == "source/model" for source in records.files.manifest["sources"])
    evidence = (
        f"{plural(models, 'model')}, {plural(len(names), 'data set')}. Claims about data sets in general take "
        f"{MIN_DATA_SETS_TO_GENERALISE}, claims about models {_MODELS} or more."
    )
    return Demand(len(names) >= MIN_DATA_SETS_TO_GENERALISE and models >= _MODELS, evidence)


def limitations(records: Records) -> Demand:
    """Limits and threats, written from records that are complete."""
    found = records.findings[LIMITATIONS]
    kinds = [row.kind for row in found]
    broken = [stage["id"] for stage in records.files.manifest["stages"] if stage["status"] != "done"]
    evidence = (
        f"{kinds.count('limitation')} limitations and {kinds.count('threat')} threats to validity are stated, each "
        "with "
        "its figure."
    )
    evidence += f" {len(broken)} stages without a result may hide others." if broken else ""
    return Demand(bool(found) and not broken, evidence)
