"""The model card of what an arm of a run left: a README.md with a head that the hub reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from layersig.exporting.cells import seed_of
from layersig.exporting.chosen import Chosen
from layersig.findings.rows.layers import RANKED_LAYERS, SELECTIONS
from layersig.recipe.load import stored
from layersig.report.material import Material
from layersig.store.runfolder import SourceForm
from layersig.topics.brief import brief
from layersig.topics.render import material_of

_REPOSITORY = re.compile(r"hub:([A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)(?::[^@]*)?(?:@.*)?")


def model_card(run: Path, cell: Path, chosen: Chosen | None, *, adapter: bool, notes: Sequence[str]) -> str:
    """The card of an adapter or a checkpoint.

    Args:
        run: The analysed run.
        cell: Where the run keeps it: `ARM/DATA/seed-K`.
        chosen: What the arm trains; None for an arm that removes layers.
        adapter: Whether the card is that of an adapter; else of a checkpoint.
        notes: What was done to the weights, such as a merge.
    """
    from huggingface_hub import ModelCardData

    material, (arm, data, _) = material_of(run), cell.parts
    sources = material.files.manifest["sources"]
    model = next(source for source in sources if source["role"] == "model")
    repository = _repository(model)
    head = ModelCardData(
        base_model=repository,
        datasets=[name for source in sources if source["role"] == "data" and (name := _repository(source))] or None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["layersig", *(["lora"] if adapter else [])],
    )
    name = f"{material.findings.name}, {arm}"
    lines = [
        "---",
        head.to_yaml(),
        "---",
        "",
        f"# {name}",
        "",
        *_what(material, cell, chosen, repository or _public(model), adapter=adapter),
        *(f"- {note}." for note in notes),
        "",
        "## How well it does",
        "",
        "```text",
        brief(material) or "nothing was measured",
        "```",
        "",
        *(_layers(material, arm, data, chosen) if chosen is not None else ()),
        "## Licences",
        "",
        *_licences(sources),
        "",
        "## Recipe",
        "",
        f"Run `{material.findings.name}/{material.findings.id}` of layersig "
        f"{material.files.manifest['versions'].get('layersig', '')}; `layersig run recipe.toml` repeats it.",
        "",
        "```toml",
        (material.text("recipe.toml") or "").rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _what(material: Material, cell: Path, chosen: Chosen | None, model: str, *, adapter: bool) -> Iterator[str]:
    arm, data, _ = cell.parts
    trained = f"trained on `{data}` with seed {seed_of(cell)}"
    if chosen is None:
        yield f"A checkpoint made from `{model}`{_removed(material, cell)}."
        (own,) = (each for each in stored(material.files.path / "resolved.toml").arms if each.name == arm)
        if own.recover is not None:
            yield f"It was then {trained}, to recover."
    else:
        yield f"{'A LoRA adapter for' if adapter else 'A checkpoint made from'} `{model}`, {trained}."
        yield (
            f"Of its {len(chosen.of)} linear layers {len(chosen.layers)} were trained; every other weight is that of "
            "the base model."
        )
    for row in material.findings[SELECTIONS]:
        if row.arm == arm and row.data in (data, None):
            by = f" on the ranking by {', '.join(row.scorers)}" if row.scorers else ""
            then = f", and then: {row.action}" if chosen is not None else ""
            yield f"They were selected by the policy `{row.policy}`{by}{then}."
            break
    yield ""


def _removed(material: Material, cell: Path) -> str:
    """The blocks that an arm removes, by their numbers in the model as it was."""
    files, (arm, data, _) = material.files, cell.parts
    if files.layers is None:
        return ""
    for each in files.selections:
        place = each.cell
        if place.arm == arm and place.data in (files.label(data), None) and place.seed in (seed_of(cell), None):
            blocks = sorted({files.layers.by_name[name].block or 0 for name in each.selection.layers})
            numbers = ", ".join(map(str, blocks))
            return f" by removing {len(blocks)} of its {len(files.layers.blocks)} blocks: {numbers} (counted from 0)"
    return ""


def _layers(material: Material, arm: str, data: str, chosen: Chosen) -> Iterator[str]:
    scorers = {name for row in material.findings[SELECTIONS] if row.arm == arm for name in row.scorers}
    own = [row for row in material.findings[RANKED_LAYERS] if row.scorer in scorers and row.data in (data, None)]
    last = max((row.checkpoint or 0.0 for row in own), default=0.0)
    ranked = {row.layer: row for row in own if (row.checkpoint or 0.0) == last}
    kinds = Counter(layer.kind for layer in chosen.layers)
    every = Counter(layer.kind for layer in chosen.of)
    yield "## Layers"
    yield ""
    yield ", ".join(f"{kind} {count} of {every[kind]}" for kind, count in kinds.most_common()) + "."
    yield ""
    yield "<details><summary>All of them, with score and rank as means over seeds</summary>"
    yield ""
    yield "| layer | rank of LoRA | score | place |"
    yield "| --- | ---: | ---: | ---: |"
    for layer in chosen.layers:
        row = ranked.get(layer.name)
        score, place = (f"{row.score:.4g}", str(row.rank)) if row is not None else ("", "")
        yield f"| {layer.name} | {chosen.ranks.get(layer.name, '')} | {score} | {place} |"
    yield ""
    yield "</details>"
    yield ""


def _licences(sources: Sequence[SourceForm]) -> Iterator[str]:
    for source in sources:
        if source["role"] in ("model", "data"):
            yield f"- {source['role']} `{_public(source)}`: {source['licence'] or 'not stated by its publisher'}"
    yield ""
    yield "Both bind what is made from them. Name a licence of your own only if they allow it."


def _repository(source: SourceForm) -> str | None:
    found = _REPOSITORY.fullmatch(source["resolved"])
    return found[1] if found else None


def _public(source: SourceForm) -> str:
    """A name without the folders of this machine."""
    resolved = source["resolved"]
    local = re.match("(untrained:)?(path|file):", resolved)
    return resolved if local is None else f"{local[0]}{Path(resolved[local.end() :]).name}"
