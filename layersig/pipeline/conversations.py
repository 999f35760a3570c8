"""What arms answer in conversations, and what the judge says of it."""

from __future__ import annotations

from collections.abc import Iterator

from layersig.pipeline.evaluations import arm_inputs
from layersig.pipeline.graph import Input, Stage
from layersig.pipeline.study import Study
from layersig.recipe.schema import ALL_LAYERS, BASE
from layersig.records import Cell
from layersig.stages.measurements import Answer, Compare, Grade, Judging


def conversations(study: Study) -> Iterator[Stage]:
    """Every arm answers, then the judge is asked: what needs the model is done before anything is paid for."""
    if not study.recipe.evaluate.conversations or study.recipe.judge is None:
        return
    cells = list(_cells(study))
    yield from (answer(study, cell) for cell in cells)
    yield from (grade(study, cell) for cell in cells)
    if study.recipe.judge.pairwise:
        yield from _comparisons(study)


def answer(study: Study, cell: Cell) -> Stage:
    """The answers of an arm."""
    settings = study.recipe.evaluate
    return Stage(
        id=f"answer/{cell.key}",
        cell=cell,
        spec=Answer.of(
            conversations=study.question_sets,
            answers=settings.answers.model_dump(),
            chat_template=study.recipe.model.chat_template,
            batch_tokens=settings.batch_tokens,
            **study.reading,
        ),
        inputs={
            "model": Input("source/model"),
            **arm_inputs(study, cell),
            **study.question_inputs,
        },
        seed=cell.seed,
        files={"answers.jsonl": f"conversations/{cell.key}/answers.jsonl"},
    )


def grade(study: Study, cell: Cell) -> Stage:
    """The judge's grades of them."""
    return _asking(study, Grade, cell, {"answers": Input(answer(study, cell).id)}, f"judgements/{cell.key}")


def compare(study: Study, cell: Cell) -> Stage:
    """The judge's comparisons of an arm with the baseline, both trained on one data set with one seed."""
    theirs = Cell(arm=study.recipe.analyze.baseline, data=cell.data, seed=cell.seed)
    inputs = {
        role: Input(answer(study, study.evaluated(each.arm or "", each.data, each.seed)).id)
        for role, each in (("answers", cell), ("reference", theirs))
    }
    return _asking(study, Compare, cell, inputs, f"pairs/{cell.key}")


def _asking(study: Study, kind: type[Judging], cell: Cell, inputs: dict[str, Input], target: str) -> Stage:
    assert study.recipe.judge is not None
    return Stage(
        id=f"{kind.kind}/{cell.key}",
        cell=cell,
        spec=kind.of(**study.recipe.judge.model_dump(exclude={"pairwise"})),
        inputs=inputs,
        files={"": target},
    )


def _cells(study: Study) -> Iterator[Cell]:
    found = (study.evaluated(arm, data, seed) for data, seed in study.grid() for arm in _arms(study))
    yield from dict.fromkeys([Cell(arm=BASE), *found])


def _arms(study: Study) -> list[str]:
    """Every arm but the untouched base."""
    return [*((ALL_LAYERS,) if study.measures_all_layers else ()), *(arm.name for arm in study.recipe.arms)]


def _comparisons(study: Study) -> Iterator[Stage]:
    baseline = study.recipe.analyze.baseline
    arms = [arm for arm in (BASE, *_arms(study)) if arm != baseline]
    cells = (_compared(study, arm, baseline, data, seed) for data, seed in study.grid() for arm in arms)
    yield from (compare(study, cell) for cell in dict.fromkeys(cells))


def _compared(study: Study, arm: str, baseline: str, data: str, seed: int) -> Cell:
    """The cell of a comparison, which two models that know neither data nor seed need once."""
    once = all(study.evaluated(name, data, seed) == Cell(arm=name) for name in (arm, baseline))
    return Cell(arm=arm) if once else Cell(arm=arm, data=data, seed=seed)
